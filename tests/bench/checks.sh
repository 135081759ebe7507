#!/bin/bash
# What a path check costs, and where: by thread and, with STRACE=1, by system call.
# tests/lab/run tests/bench/checks.sh [LUS] [MILLISECONDS] [DAEMON...]   (100 LUs of 4 paths, 20000, dm-psad multipathd)
# With `tests/lab/run --count` and dm-psad alone, builds can be compared on a busy machine too: it counts instructions.
# The daemon "floor" sends the same commands by bare sg from one thread (floor.rs): the least that checks can cost.
# A phase that takes longer than its limit is recorded as late.
# Programs: floor
LAB_PATIENCE=1
. /lab/lib/lab.sh
lus=${1:-100} window=${2:-20000}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- dm-psad multipathd

stock_udev_rules_off
scsi_debug_array --hosts 4 --luns "$lus"
sleep_ms 3000
cost_window 10000
idle=$((COST_BUSY_US * 100 / COST_MS))
note "no daemon: the machine is busy for $((idle * 10)) us each second, $COST_COMMANDS commands"

measure() { # NAME PID
    # The events of a hundred new maps keep udev busy for a while.
    udevadm settle -t 300
    sleep_ms 12000
    cost_opcodes_start
    sleep_ms "$window"
    cost_opcodes /run/lab/opcodes
    cost_watch "$2"
    cost_threads "$2" >/run/lab/before
    cost_window "$window"
    cost_threads "$2" >/run/lab/after
    # Counting commands by opcode costs time for each command, so it is done before the measurement.
    local checks
    cost_checks /run/lab/opcodes "$COST_COMMANDS"; checks=$REPLY
    [ ! -d "${RIVAL_RESULTS%/*}" ] || record counted_us $((lus * 4)) "$1" 1 $((COST_CPU_US / checks))
    note "$1: $checks checks in $COST_MS ms; $((COST_CPU_US / checks)) us of its own per check, $(((COST_BUSY_US - COST_MS * idle / 100) / checks)) us of the machine's; commands in as long before: $(tr '\n' ';' </run/lab/opcodes)"
    paste /run/lab/before /run/lab/after | awk -v c="$checks" '$4 == $2 { printf "#   %-14s %6.1f us per check\n", $4, ($3 - $1) / c }'
    cost_memory "$2"
    cost_kernel_memory
    # Where its memory is: kilobytes resident and of address space, by mapping.
    awk '/^[0-9a-f]+-/ { name = $6 == "" ? "anonymous, " $1 : $6 } /^Size:/ { size[name] += $2 } /^Rss:/ { rss[name] += $2 }
        END { for (n in rss) if (rss[n] >= 100) printf "#   %6d of %6d kB %s\n", rss[n], size[n], n }' "/proc/$2/smaps" | sort -k2rn
    note "$1: RSS $COST_RSS_KB KiB, locked $COST_LOCKED_KB KiB; kernel in all $COST_KERNEL_KB KiB"
    [ -z "${STRACE:-}" ] || { timeout 11 strace -qq -f -c -p "$2" -o /run/lab/strace.log 2>/dev/null; head -20 /run/lab/strace.log; }
}

for daemon; do
    case $daemon in
        dm-psad)
            agent_start
            check "all maps appear" wait_for 120 maps_live "$lus"
            measure dm-psad "$AGENT_PID"
            agent_stop
            ;;
        multipathd)
            peer_multipathd_start
            check "all maps appear" wait_for 240 maps_live "$lus"
            measure multipathd "$PEER_PID"
            peer_multipathd_stop
            ;;
        floor)
            floor 5000 &
            floor_pid=$!
            measure floor $floor_pid
            kill $floor_pid
            wait $floor_pid 2>/dev/null
            ;;
    esac
    dmsetup remove_all --force >/dev/null 2>&1
    udevadm settle -t 300
done
