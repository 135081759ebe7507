#!/bin/bash
# Discovery, checks, lists, restart and memory, dm-psad next to multipathd on the disks of scsi_debug.
# scale.sh LUS ROUNDS LIMIT [DAEMON]     LIMIT in seconds for each phase, four paths for each LU
# A phase that takes longer than its limit is recorded as late.
LAB_PATIENCE=1
. /lab/lib/lab.sh
note "$(dpkg-query -W -f '${Package} ${Version}' multipath-tools)"
lus=$1 rounds=$2 limit=$3 only=${4:-}
paths=$((lus * 4))
# A whole minute, because dm-psad sends some commands to a healthy path only once a minute.
window=${WINDOW:-60000}

# More than 256 LUNs of a target would need another addressing method, so there are several targets.
targets=$(((lus + 249) / 250))
stock_udev_rules_off
path_rules_off
rival_prepare dm-psad
scsi_debug_array --hosts 4 --luns $(((lus + targets - 1) / targets)) --options "num_tgts=$targets"
modprobe -a dm_multipath dm_service_time dm_round_robin dm_queue_length scsi_dh_alua
note "$(ls -d /sys/class/scsi_disk/* | wc -l) disks"

# The load of the idle machine.
sleep_ms 3000
cost_window 10000
idle=$((COST_BUSY_US * 100 / COST_MS))
note "no daemon: the machine is busy for $((idle * 10)) us each second"

measure() { # DAEMON ROUND
    local checks i before now quiet
    rival_prepare "$1"
    udevadm settle -t "$limit"
    cost_kernel_memory
    before=$COST_KERNEL_KB

    now_ms t0
    rival_run "$1"
    cost_watch "$RIVAL_PID"
    cost_cpu; cpu=$REPLY
    if ! wait_for "$limit" maps_live "$lus"; then
        record_late discovery_ms $paths "$1" "$2" "$limit"
        rival_stop "$1"
        return
    fi
    record discovery_ms $paths "$1" "$2" "$LAB_WAITED"
    cost_cpu
    record discovery_cpu_ms $paths "$1" "$2" $(((REPLY - cpu) / 1000))
    wait_for "$limit" rival_lists "$1" "$lus" || record_late list_ms $paths "$1" "$2" "$limit"
    # The events of the new maps keep udev and the daemons busy for a while. The cost of checks can be measured only
    # after that.
    quiet=1
    udevadm settle -t 300 || { quiet=0; note "udev has not settled within 300 s: no figures of checks for $1"; }
    record map_paths $paths "$1" "$2" "$(dmsetup table --target multipath | grep -o ' [0-9]*:[0-9]* ' | wc -l)"
    sleep_ms 10000

    # Counting commands by opcode costs time for each command, so it is done before the measurement.
    cost_opcodes_start
    sleep_ms "$window"
    cost_opcodes /run/lab/opcodes
    cost_window "$window"
    cost_checks /run/lab/opcodes "$COST_COMMANDS"; checks=$REPLY
    record checks_per_s_x100 $paths "$1" "$2" $((checks * 100000 / COST_MS))
    if [ "$checks" -gt 0 ] && [ $quiet = 1 ]; then
        record check_cpu_us $paths "$1" "$2" $((COST_CPU_US / checks))
        record check_machine_us $paths "$1" "$2" $(((COST_BUSY_US - COST_MS * idle / 100) / checks))
        record check_commands_x100 $paths "$1" "$2" $((COST_COMMANDS * 100 / checks))
        record core_permille $paths "$1" "$2" $((COST_CPU_US / COST_MS))
    fi
    cost_memory "$RIVAL_PID"
    record rss_kb $paths "$1" "$2" "$COST_RSS_KB"
    record locked_kb $paths "$1" "$2" "$COST_LOCKED_KB"
    cost_kernel_memory
    record kernel_kb $paths "$1" "$2" $((COST_KERNEL_KB - before))
    for i in 1 2 3; do
        now_ms t0
        rival_list "$1" >/dev/null
        now_ms now
        record list_ms $paths "$1" "$2" $((now - t0))
    done

    dm_loads_start
    rival_stop "$1"
    rival_run "$1"
    if wait_for "$limit" rival_lists "$1" "$lus"; then
        record restart_ms $paths "$1" "$2" "$LAB_WAITED"
    else
        record_late restart_ms $paths "$1" "$2" "$limit"
    fi
    sleep_ms 5000
    record restart_loads $paths "$1" "$2" "$(dm_loads_count)"
    rival_stop "$1"
}

for ((round = 1; round <= rounds; round++)); do
    rival_order $round
    for daemon in ${only:-$REPLY}; do
        measure "$daemon" $round
        rival_clear "$daemon"
    done
done
