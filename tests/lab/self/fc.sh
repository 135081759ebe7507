#!/bin/bash
# Tests the Fibre Channel array alone.
. /lab/lib/lab.sh

lio_fc --groups '1:ao:1 2:ano:2' --fast-io-fail 2 --dev-loss 8
for p in 1 2; do
    d=$(path_dev $p 1)
    check "port $p has a disk ($d)" test -b "/dev/$d"
    check_eq "$d has the id of the LU" "$(lu_naa 1)" "$(cat "/sys/block/$d/device/wwid")"
    fc_rport $p
    check "its remote port is online" file_is "$REPLY/port_state" Online
    note "$(lsscsi -t | grep "/dev/$d ") roles: $(cat "$REPLY/roles")"
done
d=$(path_dev 1 1) o=$(path_dev 2 1)
check "reads go over port 1" disk_reads "$d"
check "reads go over port 2" disk_reads "$o"

mpath_create m1 '1 queue_if_no_path' '1 alua' "$d" "$o"
fio_verify_start m1
sleep 1
fc_rport 1
r=$REPLY
path_down 1
check "link down blocks the remote port" wait_for 5 file_is "$r/port_state" Blocked
note "after $LAB_WAITED ms"
check "... and its disk is offline after fast_io_fail" wait_for 6 file_is "/sys/block/$d/device/state" transport-offline
note "after $LAB_WAITED ms"
path_up 1
check "link up brings the remote port back" wait_for 15 file_is "$r/port_state" Online
note "after $LAB_WAITED ms"
check "... and its disk" wait_for 5 file_is "/sys/block/$d/device/state" running
check "... which takes reads" disk_reads "$d"
dmsetup message m1 0 "reinstate_path $(cat "/sys/block/$d/dev")"
note "each link fails and returns three times"
for p in 1 2 1 2 1 2; do
    fc_rport $p
    r=$REPLY
    path_down $p
    check "link $p down: blocked" wait_for 5 file_is "$r/port_state" Blocked
    sleep 3
    path_up $p
    check "link $p up: online" wait_for 15 file_is "$r/port_state" Online
    x=$(path_dev $p 1)
    check "... with its disk" wait_for 5 file_is "/sys/block/$x/device/state" running
    dmsetup message m1 0 "reinstate_path $(cat "/sys/block/$x/dev")"
done
check "fio saw no error" fio_verify_stop

# On a busy host the outage may have been longer than dev_loss, so the name may be new.
h=$(path_hctl "$(path_dev 1 1)")
path_down 1
check "a link that stays down loses its disk after dev_loss" wait_for 15 gone "/sys/class/scsi_device/$h"
path_up 1
check "... and gets a disk again when the link is up" wait_for 20 path_is 1 1
dmsetup remove --retry m1
