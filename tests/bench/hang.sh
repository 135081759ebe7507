#!/bin/bash
# Every command to one of four HBAs hangs, and aborts and resets fail: how long does an answer take meanwhile, and are the
# paths of the other HBAs checked on time? hang.sh DAEMON SECONDS [LUS]
# A phase that takes longer than its limit is recorded as late.
LAB_PATIENCE=1
. /lab/lib/lab.sh
daemon=$1 seconds=$2 lus=${3:-25}

stock_udev_rules_off
path_rules_off
rival_prepare dm-psad
scsi_debug_array --hosts 4 --luns "$lus"
mapfile -t hosts < <(for h in /sys/bus/pseudo/devices/adapter*/host*; do echo "${h##*/host}"; done | sort -n)
rival_prepare "$daemon"
rival_run "$daemon"
check "all maps appear" wait_for 120 maps_live "$lus"
check "all maps are listed" wait_for 60 rival_lists "$daemon" "$lus"
udevadm settle -t 120
sleep_ms 10000

others_checks() { disks_commands "${hosts[@]:1}"; }
lists() { # WHAT SECONDS
    local took
    while read -r took; do record "$1" $((lus * 4)) "$daemon" 1 "$took"; done < <(python3 "$LAB_LIB/list.py" "$daemon" "$2")
}

others_checks; n0=$REPLY
now_ms t0
sleep_ms 20000
others_checks; n1=$REPLY
now_ms t1
usual=$(((n1 - n0) * 1000000 / (t1 - t0)))
lists list_quiet_ms 10

for ((l = 0; l < lus; l++)); do
    disk=${hosts[0]}:0:0:$l
    # No answer; then the abort and the reset of the unit fail.
    error_inject $disk 0 1 ff
    error_inject $disk 3 1 ff
    error_inject $disk 4 1 ff
done
for f in /sys/kernel/debug/scsi_debug/target*/fail_reset; do
    case $f in *target${hosts[0]}:*) echo Y >"$f" ;; esac
done
note "HBA ${hosts[0]} hangs"
others_checks; n0=$REPLY
now_ms t0
lists list_hang_ms "$seconds"
others_checks; n1=$REPLY
now_ms t1
record others_checked_pct $((lus * 4)) "$daemon" 1 $(((n1 - n0) * 1000000 / (t1 - t0) * 100 / usual))
note "host state: $(cat /sys/class/scsi_host/host${hosts[0]}/state); disks: $(cat /sys/class/scsi_device/${hosts[0]}:*/device/state | sort | uniq -c | tr '\n' ' ')"
# Commands that hang would delay the end of the guest.
for ((l = 0; l < lus; l++)); do
    for type in 0 3 4; do error_clear "${hosts[0]}:0:0:$l" $type ff; done
done
