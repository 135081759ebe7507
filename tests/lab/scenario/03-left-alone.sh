#!/bin/bash
# Disks that are not shared, or are in use, are left alone, and the agent reports why.
# Guest: shared
. /lab/lib/lab.sh

# A lone local disk: scsi_debug with one host does not report port groups.
modprobe scsi_debug dev_size_mb=16 vpd_use_hostno=1
# Three LUs with two ports each. One is mounted and one is held by another device before the agent starts.
lio_loop --lus 3 --groups '1:ao:1,2'
lab_settle
local_disk=$(scsi_debug_path 1 0)
mounted=$(path_dev 1 1) held=$(path_dev 1 2)
mkfs.ext4 -qF "/dev/$mounted"
mkdir -p /mnt/lab && mount "/dev/$mounted" /mnt/lab
dmsetup create other --table "0 $(<"/sys/block/$held/size") linear /dev/$held 0"
agent_start
check "the LU that is not in use gets a map" wait_for 60 test -b "/dev/mapper/$(lu_naa 3)"
check "the rest settles" wait_for 10 agent_quiet
check_eq "there is no other map" "$(lu_naa 3)" "$(dmsetup ls --target multipath | cut -f1)"
check "the local disk is explained" explains "$local_disk" "left alone: a local disk" VMW_SATP_LOCAL
check "the mounted disk is explained" explains "$mounted" "left alone: in use: $mounted is mounted at /mnt/lab"
check "the held disk is explained" explains "$held" "left alone: in use: $held is held by"
check "the other path of the mounted disk is explained too" explains "$(path_dev 2 1)" "is mounted at /mnt/lab"
check "the local disk is listed nevertheless" json_has "storage core path list" "any(.[]; .\"Linux Disk\" == \"$local_disk\")"
check "the file system still works" sh -c 'echo x >/mnt/lab/x && sync'
check "udev does not call the local disk a path" udev_property "$local_disk" DM_MULTIPATH_DEVICE_PATH 0

note "the disk is no longer in use: it gets a map"
umount /mnt/lab
check "the LU that was mounted has a map" wait_for 90 test -b "/dev/mapper/$(lu_naa 1)"
