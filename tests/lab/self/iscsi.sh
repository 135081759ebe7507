#!/bin/bash
# Tests the iSCSI array alone.
. /lab/lib/lab.sh

lio_iscsi --lus 2 --groups '1:ao:1 2:ano:2' --portals 2 --recovery 2

for p in 1 2; do
    for n in 1 2; do
        for l in 1 2; do
            d=$(path_dev $p $l $n)
            check "port $p portal $n LU $l is a disk ($d)" test -b "/dev/$d"
            check_eq "$d has the id of LU $l" "$(lu_naa $l)" "$(cat "/sys/block/$d/device/wwid")"
        done
    done
done
d=$(path_dev 1 1) o=$(path_dev 2 1)
iscsi_session 1
s=$REPLY
check_eq "the session has the requested recovery time" 2 "$(cat "$s/recovery_tmo")"
check "LU 1 takes reads" disk_reads "$d"

path_down 1
check "a port without network loses its session" wait_for 15 file_is "$s/state" FAILED
check "... whose path is blocked" file_is "/sys/block/$d/device/state" blocked
check "... and offline after the recovery time" wait_for 6 file_is "/sys/block/$d/device/state" transport-offline
note "offline after $LAB_WAITED ms"
check "... while the other portal group takes reads" disk_reads "$o"
path_up 1
check "up again, the session comes back" wait_for 20 file_is "$s/state" LOGGED_IN
note "logged in after $LAB_WAITED ms"
check "... with its disk" wait_for 5 file_is "/sys/block/$d/device/state" running
settle_path "$d"
check "... which takes reads" disk_reads "$d"

alua_set 2 standby
settle_path "$o"
check "a standby port rejects reads" not disk_reads "$o"
alua_set 2 ano
settle_path "$o"
check "... and takes them when non-optimized" wait_for 3 disk_reads "$o"

lu_remove 1 1
check "an unmapped LU stays a disk" test -b "/dev/$d"
check "... that answers 5/25/00" sh -c "sg_turs -l -v /dev/$d 2>&1 | grep -i 'logical unit not supported'"
lu_add 1 1
settle_path "$d"
check "mapped again it answers" wait_for 3 tur "$d"
check "... and takes reads" disk_reads "$d"

h=$(path_hctl "$o")
path_delete "$o"
check "$h is deleted" wait_for 5 gone "/sys/class/scsi_device/$h"
path_rescan "$h"
check "$h is found again" wait_for 5 test -d "/sys/class/scsi_device/$h/device/block"

port_remove 2
iscsi_session 2
s=$REPLY
check "a removed port loses its session" wait_for 5 file_is "$s/state" FAILED
port_add 2
check "... and logs in again when it is added" wait_for 20 file_is "$s/state" LOGGED_IN
