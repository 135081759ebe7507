#!/bin/bash
# Four paths, two of them optimized, give one map that every Linux tool recognizes.
# Guest: shared
. /lab/lib/lab.sh

lio_loop --lus 1 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
dm_loads_start
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 10 agent_quiet
check_eq "one table was loaded" 1 "$(dm_loads_count)"
check_eq "there is no other map" "$naa" "$(dmsetup ls --target multipath | cut -f1)"
check_eq "its UUID is mpath- and the WWID" "mpath-$(lu_wwid 1)" "$(dmsetup info -c --noheadings -o uuid "$naa")"
disk_reads "mapper/$naa" >/dev/null
check_eq "two groups, the optimized one first and in use, all paths active" "A:AA E:AA" "$(map_letters "$naa")"
dev() { cat "/sys/block/$(path_dev "$1" 1)/dev"; }
check_eq "the optimized paths are in the first group" "$(printf '%s\n' "$(dev 1)" "$(dev 2)" | sort -t: -k2n | xargs)" \
    "$(map_group "$naa" 1)"
check_eq "lsblk calls it a multipath map" mpath "$(lsblk -dno TYPE "/dev/mapper/$naa")"
check "the dm-uuid-mpath link leads to a disk" wait_for 60 test -b "/dev/disk/by-id/dm-uuid-mpath-$(lu_wwid 1)"
check "the wwn link leads to the map" wait_for 10 link_is "/dev/disk/by-id/wwn-0x${naa#naa.}" "/dev/mapper/$naa"

note "psactl"
check_eq "ESXi's device list names SATP and PSP" "VMW_SATP_ALUA VMW_PSP_MRU" \
    "$(psactl storage nmp device list --formatter=json | jq -r '.[] | select(."Working Paths" != []) | ."Storage Array Type" + " " + ."Path Selection Policy"')"
psactl storage nmp device list
psactl storage nmp path list | head -20
check_eq "four paths are listed" 4 "$(psactl storage core path list -d "$naa" --formatter=json | jq length)"
check_eq "four adapters are listed" 4 "$(psactl storage core adapter list --formatter=json | jq length)"
check_eq "the device is on" on "$(psactl storage core device list -d "$naa" --formatter=json | jq -r '.[0].Status')"
check "explain names the claim rule and the SATP rule that matched" explains "$naa" "rule 65535" VMW_SATP_ALUA
check "a path is explained by the name of its disk" explains "$(path_dev 3 1)" "rule 65535" "active unoptimized"

note "LVM"
check "LVM accepts the map" pvcreate -qq "/dev/mapper/$naa"
check_eq "LVM sees the map and not its paths" "/dev/mapper/$naa" "$(pvs --noheadings -o pv_name | xargs)"
check "a volume can be created and used" lvm_works "$naa"
