#!/bin/bash
# Commands that never return, host adapters in error recovery, blocked ports: nothing else waits for them.
. /lab/lib/lab.sh

# Checks the answers of the agent and the checks of other paths while something hangs.
nobody_waits() {
    ask_stop || fail "the agent answers throughout"
    check_eq "no list fails" 0 "$ASK_FAILED"
    # The agent answers from memory. If a list waited for a device, it would take seconds each time. The benchmark
    # measures how fast the answers are, because it has the machine for itself.
    note "the median of its answers: $ASK_MEDIAN ms; the agent's own longest step: $(psactl metrics | sed -n 's/^dm_psa_agent_longest_step_seconds //p') s"
    check_le "the median of its answers (ms)" 1000 "$ASK_MEDIAN"
    check_le "its longest answer (ms)" 4000 "$ASK_LONGEST"
    checks_stop
    # Checks are 5 s apart. A path that waited for the hanging one would have had no check at all.
    check_le "the longest time without a check of another path (ms, $CHECK_GAP_DISK)" 15000 "$CHECK_GAP_MS"
}
# hangs_for SECONDS: waits until it has hung for this long, so that others have had time to show that they do not wait
hangs_for() { while [ $((SECONDS - hangs_since)) -lt "$1" ]; do sleep_ms 500; done; }
# Whether dm may send I/O to that disk. It may not if the path is failed, or left out of a new table as not proven.
carries() { [[ $(dmsetup status "$1") == *" $(<"/sys/block/$2/dev") A "* ]]; }
reloaded() { [ "$(dm_loads_count)" -gt "$1" ]; }
# reloads MAP: changes a setting that needs another table
reloads() {
    local before
    before=$(dm_loads_count)
    psactl storage nmp device set -d "$1" -P VMW_PSP_FIXED || return
    wait_for 5 reloaded "$before"
}

dm_loads_start
case $(uname -r) in
    6.1.*) note "scsi_debug has no error injection before 6.7" ;;
    *)
        note "scsi_debug: host 1 never answers for LUN 0, and aborts fail: its error handling takes minutes"
        scsi_debug_array --hosts 4 --luns 3
        agent_start
        check "maps appear" wait_for 90 maps_are 3
        check "the agent settles" wait_for 30 agent_quiet
        maps=(x x x)
        for l in 0 1 2; do
            disk=$(scsi_debug_path 1 $l)
            maps[l]=$(psactl core path list -p "$disk" --formatter=json | jq -r '.[0].Device')
        done
        hung=$(scsi_debug_path 1 0)
        others=()
        for l in 0 1 2; do for h in 2 3 4; do others+=("$(scsi_debug_path $h $l)"); done; done
        wait_for 60 test -b "/dev/mapper/${maps[0]}"
        stall_start "${maps[0]}"
        error_inject "$hung" 3 1 ff
        error_inject "$hung" 4 1 ff
        error_inject "$hung" 0 1 ff
        hangs_since=$SECONDS
        ask_start
        checks_start "${others[@]}"
        check "explain names the reason" wait_for 30 explains "$hung" "no answer"
        in_recovery() { grep -q recovery /sys/class/scsi_host/host*/state; }
        check "its host goes into error handling" wait_for 60 in_recovery
        check "another map takes a new table meanwhile" reloads "${maps[1]}"
        check "so does the map of the hung path" reloads "${maps[0]}"
        hangs_for 30
        in_recovery && note "the host is still in recovery"
        nobody_waits
        stall_stop
        check_eq "I/O of the map goes on by other paths" 0 "$STALL_ERRORS"
        error_clear "$hung" 0 ff
        error_clear "$hung" 3 ff
        error_clear "$hung" 4 ff
        check "the host leaves its error handling" wait_for 120 not in_recovery
        check "LUN 1 returns by itself" wait_for 30 map_all_active "${maps[1]}"
        check "LUN 2 returns by itself" wait_for 30 map_all_active "${maps[2]}"
        state=$(<"/sys/block/$hung/device/state")
        note "the kernel left the hung device as '$state'"
        if [ "$state" = offline ]; then
            check "explain names the command" explains "$hung" "echo running > /sys/bus/scsi/devices/$(path_hctl "$hung")/state"
            echo running >"/sys/block/$hung/device/state"
        fi
        check "the hung path is back" wait_for 30 map_all_active "${maps[0]}"
        check "the agent settles" wait_for 20 agent_quiet
        agent_stop
        for map in "${maps[@]}"; do dmsetup remove --retry "$map"; done
        # udev opens disks for a moment when their maps are removed.
        check "its module can be unloaded" wait_for 30 eval 'rmmod scsi_debug 2>/dev/null'
        ;;
esac

agent_setting 'fast_io_fail_tmo = 0'

note "a blocked iSCSI session, for which the kernel waits without limit"
lio_iscsi --lus 2 --groups '1:ao:1,2 2:ano:3,4' --recovery 600
naa=$(lu_naa 1)
agent_start
check "maps appear" wait_for 60 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
wait_for 60 test -b "/dev/mapper/$naa"
others=()
for p in 2 3 4; do others+=("$(path_dev $p 1)" "$(path_dev $p 2)"); done
path_down 1
hangs_since=$SECONDS
ask_start
checks_start "${others[@]}"
blocked() { grep -q blocked "/sys/block/$1/device/state"; }
disk=$(path_dev 1 1)
check "the device is blocked" wait_for 20 blocked "$disk"
check "explain names the reason" wait_for 20 explains "$disk" "no answer"
check "explain says that the kernel blocks the device" explains "$disk" "blocked"
check "another map takes a new table meanwhile" reloads "$(lu_naa 2)"
check "so does the map of the blocked path" reloads "$naa"
check "the path is not used" wait_for 10 not carries "$naa" "$disk"
hangs_for 30
nobody_waits
path_up 1
LAB_PATIENCE=1 wait_for 15 path_is 1 1 || iscsi_login 1 1
check "the path returns by itself" wait_for 60 map_all_active "$naa"
check "the agent settles" wait_for 20 agent_quiet
agent_stop
for m in "$naa" "$(lu_naa 2)"; do dmsetup remove --retry "$m"; done
for p in 1 2 3 4; do iscsi_logout $p 1; done

note "a blocked remote port, fast_io_fail off"
lio_fc --first 3 --lus 2 --groups '1:ao:1,2 2:ano:3,4' --fast-io-fail off --dev-loss 600
naa=$(lu_naa 3)
agent_start
check "maps appear" wait_for 60 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
others=()
for p in 2 3 4; do others+=("$(path_dev $p 3)" "$(path_dev $p 4)"); done
disk=$(path_dev 1 3)
path_down 1
hangs_since=$SECONDS
ask_start
checks_start "${others[@]}"
check "the device is blocked" wait_for 20 blocked "$disk"
check "explain names the reason" wait_for 20 explains "$disk" "no answer"
check "another map takes a new table meanwhile" reloads "$(lu_naa 4)"
check "so does the map of the blocked path" reloads "$naa"
check "the path is not used" wait_for 10 not carries "$naa" "$disk"
hangs_for 30
nobody_waits
path_up 1
check "the path returns by itself" wait_for 60 map_all_active "$naa"
check "the agent settles" wait_for 20 agent_quiet
