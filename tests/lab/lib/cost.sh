# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are shared with the other parts
# What a daemon costs: its own CPU time, that of the machine, commands to the devices, memory.
#
#   cost_watch PID           counts the CPU time of the process from now on, with all its threads and children
#   cost_window MS           measures for this long: COST_MS is the actual time, COST_CPU_US the CPU time of the daemon,
#                            COST_BUSY_US that of the machine (all time minus idle time), COST_COMMANDS the commands to
#                            all SCSI disks
#   cost_opcodes_start; cost_opcodes FILE     SCSI commands sent since then by opcode: lines "DECIMAL COUNT"
#   cost_checks FILE N       sets REPLY to the number of checks that N commands make, by the shares in such a file: each
#                            check has a TEST UNIT READY, an INQUIRY, or both
#   cost_threads PID         prints lines "MICROSECONDS NAME" of the live threads, since each was created
#   cost_memory PID          COST_RSS_KB, COST_LOCKED_KB
#   cost_kernel_memory       COST_KERNEL_KB: memory that is neither free, nor page cache, nor of a program; of this
#                            COST_SLAB_KB, COST_UNRECLAIMABLE_KB, COST_STACKS_KB, COST_PAGETABLES_KB
#   stock_udev_rules_off     turns off the rules that fork several programs for each disk; under emulation they would
#                            dominate every measurement
#   disks_commands [HOST...] sets REPLY to the number of commands that all SCSI disks, or those of these hosts, got
#   maps_live N              whether N dm devices have a size (for wait_for; does not fork)
#
# The CPU time of a control group is in microseconds and includes threads that have exited; /proc/PID/stat has only
# hundredths of a second.

COST_GROUP=/sys/fs/cgroup/cost

stock_udev_rules_off() {
    local r
    for r in 55-scsi-sg3_id 60-persistent-storage 63-md-raid-arrays 64-btrfs 69-lvm; do
        ln -sf /dev/null "/etc/udev/rules.d/$r.rules"
    done
    udevadm control --reload
}

cost_watch() {
    mkdir -p $COST_GROUP && echo "$1" >$COST_GROUP/cgroup.procs || lab_die "no control group for $1"
}

cost_cpu() {
    local key value
    while read -r key value; do
        [ "$key" != usage_usec ] || REPLY=$value
    done <$COST_GROUP/cpu.stat
}

# The idle time of all processors, in hundredths of a second. The kernel measures it, while it only samples the busy
# times at clock ticks.
cost_idle() {
    local _ idle wait
    read -r _ _ _ _ idle wait _ </proc/stat
    REPLY=$((idle + wait))
}

# shellcheck disable=SC2120 # some callers name hosts, some do not
disks_commands() {
    local f n host sum=0
    for host in "${@:-*}"; do
        # shellcheck disable=SC2086
        for f in /sys/class/scsi_disk/$host:*/device/iorequest_cnt; do
            read -r n <"$f" && sum=$((sum + n))
        done
    done 2>/dev/null
    REPLY=$sum
}

cost_window() {
    local t0 t1 idle cpu commands
    # Reading the counters of thousands of disks takes time; keep it outside the window.
    disks_commands; commands=$REPLY
    cost_idle; idle=$REPLY
    cpu=0
    [ ! -e $COST_GROUP/cpu.stat ] || { cost_cpu; cpu=$REPLY; }
    t0=${EPOCHREALTIME/./}
    sleep_ms "$1"
    t1=${EPOCHREALTIME/./}
    [ ! -e $COST_GROUP/cpu.stat ] || { cost_cpu; cpu=$((REPLY - cpu)); }
    cost_idle; idle=$(((REPLY - idle) * 10000))
    disks_commands
    COST_COMMANDS=$((REPLY - commands))
    COST_CPU_US=$cpu
    COST_MS=$(((t1 - t0) / 1000))
    COST_BUSY_US=$(((t1 - t0) * $(nproc) - idle))
}

COST_DISPATCH=/sys/kernel/tracing/events/scsi/scsi_dispatch_cmd_start
cost_opcodes_start() {
    grep -q '^hist' $COST_DISPATCH/trigger && echo '!hist:keys=opcode' >$COST_DISPATCH/trigger
    echo 'hist:keys=opcode' >$COST_DISPATCH/trigger || lab_die "no histogram of SCSI commands"
}
cost_opcodes() {
    sed -n 's/^{ opcode: *\([0-9]*\) } hitcount: *\([0-9]*\)$/\1 \2/p' $COST_DISPATCH/hist >"$1"
    echo '!hist:keys=opcode' >$COST_DISPATCH/trigger
}

cost_checks() {
    REPLY=$(awk -v all="$2" '($1 == 0 || $1 == 18) && $2 > most { most = $2 } { sum += $2 } END { printf "%d", sum ? all * most / sum : 0 }' "$1")
}

cost_threads() {
    local t name ns
    for t in "/proc/$1/task"/*; do
        { read -r name <"$t/comm" && read -r ns _ <"$t/schedstat"; } 2>/dev/null && echo "$((ns / 1000)) $name"
    done
}

cost_memory() {
    local key value
    while read -r key value _; do
        case $key in
            VmRSS:) COST_RSS_KB=$value ;;
            VmLck:) COST_LOCKED_KB=$value ;;
        esac
    done <"/proc/$1/status"
}

cost_kernel_memory() {
    local key value
    local -A m=()
    while read -r key value _; do m[${key%:}]=$value; done </proc/meminfo
    COST_KERNEL_KB=$((m[MemTotal] - m[MemFree] - m[Buffers] - m[Cached] - m[AnonPages]))
    COST_SLAB_KB=${m[Slab]} COST_UNRECLAIMABLE_KB=${m[SUnreclaim]}
    COST_STACKS_KB=${m[KernelStack]} COST_PAGETABLES_KB=${m[PageTables]}
}

maps_live() {
    local d size n=0
    for d in /sys/block/dm-*; do
        [ -e "$d" ] || break
        n=$((n + 1))
    done
    [ $n = "$1" ] || return
    for d in /sys/block/dm-*; do
        [ -e "$d" ] || return 0
        read -r size <"$d/size" && [ "$size" != 0 ] || return
    done
}
