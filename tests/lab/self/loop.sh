#!/bin/bash
# Tests the tcm_loop array alone: disks, identities, states, functions.
. /lab/lib/lab.sh

lio_loop --lus 2 --groups '16:ao:1,2 17:ano:3,4'

devs=''
for p in 1 2 3 4; do
    for l in 1 2; do
        d=$(path_dev $p $l)
        devs+=" $d"
        check "port $p LU $l is a disk" test -b "/dev/$d"
        check_eq "$d has the id of LU $l" "$(lu_naa $l)" "$(cat "/sys/block/$d/device/wwid")"
        check_eq "udev gives $d the same id" "$(lu_wwid $l)" \
            "$(udevadm info -q property --property=ID_SERIAL --value "/dev/$d")"
    done
done

d1=$(path_dev 1 1) d3=$(path_dev 3 1)
rtpg() { sg_rtpg "/dev/$1" | awk '/target port group id/{split($0,a,"[ :,]+"); for(i in a) if (a[i] ~ /^0x/) {g=a[i]; break}} /asymmetric access state/{s=$NF; print g, s}'; }
check_eq "RTPG gives both groups with their states" "0x10 0x00
0x11 0x01" "$(rtpg "$d1")"
check_eq "disks on port 1 have the handler attached" alua "$(cat "/sys/block/$d1/device/dh_state")"

alua_set 17 standby 1
check_eq "an implicit change is reported" "1 16 ao none
1 17 standby implicit" "$(alua_status 1)"
settle_path "$d3"
check "a standby port rejects reads" not disk_reads "$d3"
alua_set 17 ano 1
settle_path "$d3"
check "a non-optimized port takes reads" wait_for 3 disk_reads "$d3"
sg_stpg --tp=17,16 --state=ao,an "/dev/$d3"
check_eq "an explicit change is reported as such" "1 16 ano explicit
1 17 ao explicit" "$(alua_status 1)"
check_eq "... and is per LU" "2 16 ao none
2 17 ano none" "$(alua_status 2)"

path_down 1
check "a port that is down rejects reads" not disk_reads "$d1"
check "... and other ports do not" disk_reads "$d3"
check "a port that is down fails a TUR" not tur "$d1"
path_up 1
check "a port that is up again takes reads" disk_reads "$d1"

for l in 1 2; do
    d=$(path_dev 2 $l); h=$(path_hctl "$d")
    path_delete "$d"
    check "$h (LU $l) is deleted" wait_for 5 gone "/sys/class/scsi_device/$h"
    path_rescan "$h"
    check "$h is found again" wait_for 5 test -d "/sys/class/scsi_device/$h/device/block"
done
lab_settle

lu_remove 2 1
check "an unmapped LU is gone from its port" test -z "$(path_dev 1 2)"
check "... and from no other" test -n "$(path_dev 2 2)"
lu_add 2 1
check "a LU mapped again is back" wait_for 5 path_is 1 2

n=$(ls -d /sys/class/scsi_host/host* | wc -l)
port_remove 4
check_eq "a removed port takes its SCSI host away" $((n - 1)) "$(ls -d /sys/class/scsi_host/host* | wc -l)"
port_add 4
lab_settle
check "a port that is added again has its disk" test -n "$(path_dev 4 1)"
