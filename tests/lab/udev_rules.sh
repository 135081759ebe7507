#!/bin/bash
# Tests the udev rules and the unit alone: no agent runs, this script plays its part.
# Needs --systemd: 99-systemd.rules, and udevd as on a real host.
# shellcheck source=lib/lab.sh
# Guest: shared systemd
. /lab/lib/lab.sh

rules=/usr/lib/udev/rules.d
check "udev accepts the rules" udevadm verify "$rules/56-dm-psa-path.rules" "$rules/56-dm-psa-map.rules"
check "systemd accepts the unit" systemd-analyze verify --man=no /usr/lib/systemd/system/dm-psa.service
check_eq "multipath-tools' rules are overridden" "/dev/null /dev/null" \
    "$(readlink /etc/udev/rules.d/56-dm-mpath.rules /etc/udev/rules.d/60-multipath.rules | xargs)"

property() { udevadm info -q property --property="$2" --value "/dev/$1"; }
# seen DEVICE NAME VALUE: the udev property has the value (for wait_for)
seen() { [ "$(property "$1" "$2")" = "$3" ]; }
link() { local l; l=$(readlink -f "/dev/disk/by-id/$1") && echo "${l##*/}"; }

lio_loop --groups '1:ao:1,2 2:ano:3,4'
wwid=$(lu_wwid 1)
paths=()
for p in 1 2 3 4; do paths+=("$(path_dev $p 1)"); done
one=${paths[0]}

note "paths"
check_eq "without agent, mark and stored state a disk is not a path" "0 unclaimed" \
    "$(property "$one" DM_MULTIPATH_DEVICE_PATH) $(property "$one" DM_PSA_REASON)"
check_eq "... and is ready for systemd" "" "$(property "$one" SYSTEMD_READY)"

# A partition table and a file system with a UUID, visible through the paths.
# The DOS label is written by hand (the guest has no fdisk): one Linux partition at sector 2048, 65536 sectors long.
{
    head -c 446 /dev/zero
    printf '\0\0\0\0\203\0\0\0\0\10\0\0\0\0\1\0'
    head -c 48 /dev/zero
    printf '\125\252'
} | dd of="/dev/$one" bs=512 iflag=fullblock conv=fsync status=none
lab_settle
blockdev --rereadpt "/dev/$one"
lab_settle
mkfs.ext4 -q -U 12345678-1234-1234-1234-123456789abc "/dev/${one}1"
lab_settle
check_eq "a partition of an unclaimed disk is found by its file system" ext4 "$(property "${one}1" ID_FS_TYPE)"

note "the host boots: an agent is enabled, but has not decided"
systemctl enable -q dm-psa.service
rm -f /run/dm-psa/decided
# drop_in UNIT LINE...: a section and its lines
drop_in() { mkdir -p "/run/systemd/system/$1.d"; printf '%s\n' "${@:2}" >"/run/systemd/system/$1.d/test.conf"; }
drop_in dm-psa.service '[Service]' ExecStart= ExecStart=/bin/false
drop_in dm-psa-undecided.timer '[Timer]' OnActiveSec= OnActiveSec=4
systemctl daemon-reload
all() { for name in DM_MULTIPATH_DEVICE_PATH DM_PSA_REASON ID_FS_TYPE SYSTEMD_READY; do printf '%s ' "$(property "$1" $name)"; done; }
udevadm trigger --settle --action=change "/dev/$one"
udevadm trigger --settle --action=change "/dev/${one}1"
check_eq "a disk of a storage network is hidden" '1 target-port-groups mpath_member 0 ' "$(all "$one")"
check_eq "its partitions stay, and are hidden" '1  none 0 ' "$(all "${one}1")"
udevadm monitor --udev --subsystem-match=block >/run/lab/shown &
monitor=$!
check "the agent cannot start" not systemctl start dm-psa.service
check "when the time is over, the end of the boot is noted" wait_for 60 test -e /run/dm-psa/decided
lab_settle
check "the console names the disk" wait_for 10 sh -c "journalctl -u dm-psa-undecided.service | grep -q 'Others may use them now:.* $one'"
check_eq "the disk is an ordinary disk" '0 unclaimed   ' "$(all "$one")"
check_eq "its partition is found by its file system" ext4 "$(property "${one}1" ID_FS_TYPE)"
for d in "$one" "${one}1"; do
    check "an add event of $d follows, by which lvm2 activates a volume group" wait_for 10 grep -q "add .*/$d " /run/lab/shown
done
lab_settle
check_eq "each has one" 2 "$(grep -c "add .*/$one" /run/lab/shown)"
kill $monitor
systemctl disable -q dm-psa.service
systemctl stop dm-psa.service dm-psa-undecided.timer
rm -r /run/systemd/system/dm-psa.service.d /run/systemd/system/dm-psa-undecided.timer.d
systemctl daemon-reload

mkdir -p /run/dm-psa/paths
# mark DISK 0|1: marks the disk as the agent does
mark() {
    echo "$2 $(cat "/sys/block/$1/diskseq")" >"/run/dm-psa/paths/$(cat "/sys/block/$1/dev")"
    echo change >"/sys/block/$1/uevent"
}
for d in "${paths[@]}"; do mark "$d" 1; done
lab_settle
for d in "${paths[@]}"; do
    check_eq "$d is a path for every program" "1 marked mpath_member 0" \
        "$(property "$d" DM_MULTIPATH_DEVICE_PATH) $(property "$d" DM_PSA_REASON) $(property "$d" ID_FS_TYPE) $(property "$d" SYSTEMD_READY)"
done
udevadm trigger --settle --action=change "/dev/${one}1" 2>/dev/null
if [ -b "/dev/${one}1" ]; then
    check_eq "a partition of a path inherits" "1 none 0" \
        "$(property "${one}1" DM_MULTIPATH_DEVICE_PATH) $(property "${one}1" ID_FS_TYPE) $(property "${one}1" SYSTEMD_READY)"
else
    ok "the partitions of a path are deleted (kpartx' 68-del-part-nodes.rules)"
fi
check "no by-uuid link leads to a path" test ! -e /dev/disk/by-uuid/12345678-1234-1234-1234-123456789abc

mv /usr/lib/udev/dm-psa-id /usr/lib/udev/dm-psa-id.away
udevadm trigger --settle --action=change "/dev/$one"
check_eq "if the helper fails, the last decision stands" "1 mpath_member" \
    "$(property "$one" DM_MULTIPATH_DEVICE_PATH) $(property "$one" ID_FS_TYPE)"
mv /usr/lib/udev/dm-psa-id.away /usr/lib/udev/dm-psa-id

mark "$one" 0
lab_settle
check_eq "a disk that is unclaimed is an ordinary disk again" "0 marked" \
    "$(property "$one" DM_MULTIPATH_DEVICE_PATH) $(property "$one" DM_PSA_REASON)"
check_eq "... and is ready for systemd" "" "$(property "$one" SYSTEMD_READY)"
check "... and has its partitions again" wait_for 10 test -b "/dev/${one}1"
lab_settle
check_eq "... which are found by their file systems" ext4 "$(property "${one}1" ID_FS_TYPE)"
mark "$one" 1
lab_settle

h=$(path_hctl "${paths[3]}")
n=$(cat "/sys/block/${paths[3]}/dev")
path_delete "$h"
wait_for 5 gone "/sys/class/scsi_device/$h"
lab_settle
check "the mark of a disk is removed with the disk" test ! -e "/run/dm-psa/paths/$n"
path_rescan "$h"
wait_for 5 path_is 4 1
lab_settle
paths[3]=$(path_dev 4 1)
mark "${paths[3]}" 1
lab_settle

note "the map"
dm() { cat "/sys/block/${paths[$1]}/dev"; }
size=$(cat "/sys/block/$one/size")
table() { echo "0 $size multipath 1 queue_if_no_path 0 2 1 service-time 0 2 1 $(dm 0) 1 $(dm 1) 1 service-time 0 2 1 $(dm 2) 1 $(dm 3) 1"; }
name=$(lu_naa 1)
dmsetup create "$name" --uuid "mpath-$wwid" --table "$(table)"
lab_settle
map=$(basename "$(readlink -f "/dev/mapper/$name")")
links() { echo "$(link "dm-uuid-mpath-$wwid") $(link "dm-name-$name") $(link "wwn-0x${wwid#3}") $(link "scsi-$wwid")"; }
check_eq "all links lead to the map" "$map $map $map $map" "$(links)"
check_eq "the map is announced" "1 0 1" \
    "$(property "$map" MPATH_DEVICE_READY) $(property "$map" MPATH_UNCHANGED) $(property "$map" DM_ACTIVATION)"
check "kpartx created its partition" wait_for 10 test -e "/dev/mapper/$name-part1"
lab_settle
part() { local l; l=$(readlink -f /dev/disk/by-uuid/12345678-1234-1234-1234-123456789abc) && echo "${l##*/}"; }
p1=$(basename "$(readlink -f "/dev/mapper/$name-part1")")
check_eq "the file system link leads to the partition" "$p1" "$(part)"
check_eq "a disk below a map is a path even without a mark" "1 in-map" "$(
    rm "/run/dm-psa/paths/$(dm 1)"
    udevadm trigger --settle --action=change "/dev/${paths[1]}"
    echo "$(property "${paths[1]}" DM_MULTIPATH_DEVICE_PATH) $(property "${paths[1]}" DM_PSA_REASON)"
)"
check "lsblk shows the type mpath" test "$(lsblk -ndo TYPE "/dev/$map")" = mpath
pvs() { LVM_SUPPRESS_FD_WARNINGS=1 command pvs --devicesfile '' -qo pv_name --noheadings -a 2>/dev/null | xargs; }
case " $(pvs) " in
    *"/dev/$one "*) fail "lvm2 does not see the paths: $(pvs)" ;;
    *) ok "lvm2 does not see the paths" ;;
esac

# quiet WHAT: the last event notified the layers above of nothing, and removed nothing
quiet() {
    check_eq "$1: not announced" "1 1 0" \
        "$(property "$map" MPATH_DEVICE_READY) $(property "$map" MPATH_UNCHANGED) $(property "$map" DM_ACTIVATION)"
    check_eq "... and all links stay" "$map $map $map $map $p1" "$(links) $(part)"
}
message() { dmsetup message "$name" 0 "$@"; lab_settle; }
message "fail_path $(dm 0)"
quiet "a path fails"
message "reinstate_path $(dm 0)"
quiet "it returns"

# resume FLAGS: what a dm worker does: makes a loaded table live, with these udev flags.
# The numbers are those of struct dm_ioctl and DM_DEV_SUSPEND in linux/dm-ioctl.h.
resume() {
    python3 - "$name" "$1" <<'P'
import fcntl, struct, sys
name, flags = sys.argv[1], int(sys.argv[2], 16)
# 0x40: DM_UDEV_PRIMARY_SOURCE_FLAG; the cookie itself is nobody's semaphore.
event = (flags | 0x40) << 16 | 0x4d50
SKIP_LOCKFS, NOFLUSH = 1 << 10, 1 << 11
data = struct.pack("=3I7IQ128s129s7x", 4, 0, 0, 312, 312, 0, 0, SKIP_LOCKFS | NOFLUSH, event, 0, 0, name.encode(), b"")
with open("/dev/mapper/control", "rb") as control:
    fcntl.ioctl(control, 0xC138FD06, bytearray(data))
P
    lab_settle
}
dmsetup load "$name" --table "$(table)"
resume 0x100
quiet "a reload"

# The last path fails although the kernel's count in the event says otherwise:
# the rules must believe only the map's status.
note "the map has no path"
for k in 0 1 2 3; do dmsetup message "$name" 0 "fail_path $(dm $k)"; done
lab_settle
check_eq "without a path no other rule opens the map" "0 1 1 1" \
    "$(property "$map" MPATH_DEVICE_READY) $(property "$map" DM_UDEV_DISABLE_OTHER_RULES_FLAG) $(property "$map" MPATH_UNCHANGED) $(property "$map" DM_PSA_OWED)"
check_eq "... and all links stay" "$map $map $map $map $p1" "$(links) $(part)"
before=$SECONDS
udevadm trigger --action=change "/dev/$map"
check "... and a triggered event does not hang" timeout 130 udevadm settle -t 120
note "settled after $((SECONDS - before)) s"
check_eq "... and is not announced either" "0 1" "$(property "$map" MPATH_DEVICE_READY) $(property "$map" DM_UDEV_DISABLE_OTHER_RULES_FLAG)"
message "reinstate_path $(dm 2)"
check_eq "when a path is back, the map is announced again" "1 0 1" \
    "$(property "$map" MPATH_DEVICE_READY) $(property "$map" MPATH_UNCHANGED) $(property "$map" DM_ACTIVATION)"
check_eq "... and no notification is outstanding" "" "$(property "$map" DM_PSA_OWED)"
for k in 0 1 3; do message "reinstate_path $(dm $k)"; done

dmsetup load "$name" --table "$(table)"
resume 0x500
check_eq "a reload without a usable path (flag of the agent) is not announced" "0 1 1" \
    "$(property "$map" MPATH_DEVICE_READY) $(property "$map" DM_UDEV_DISABLE_OTHER_RULES_FLAG) $(property "$map" DM_PSA_OWED)"
dmsetup load "$name" --table "$(table)"
resume 0x100
check_eq "... and a reload with one is announced" "1 0 1 " \
    "$(property "$map" MPATH_DEVICE_READY) $(property "$map" MPATH_UNCHANGED) $(property "$map" DM_ACTIVATION) $(property "$map" DM_PSA_OWED)"

note "coldplug"
udevadm trigger --settle --action=add "/dev/$map"
check_eq "a coldplug announces the map" "1 0 1" \
    "$(property "$map" MPATH_DEVICE_READY) $(property "$map" MPATH_UNCHANGED) $(property "$map" DM_ACTIVATION)"
dmsetup suspend --noflush --nolockfs "$name"
udevadm trigger --settle --action=add "/dev/$map"
check_eq "a coldplug of a suspended map leaves a notification outstanding" 1 "$(property "$map" DM_PSA_OWED)"
check_eq "... and all links stay" "$map $map $map $map $p1" "$(links) $(part)"
resume 0x100
check_eq "... and is announced when it is resumed" "1 0 1 " \
    "$(property "$map" MPATH_DEVICE_READY) $(property "$map" MPATH_UNCHANGED) $(property "$map" DM_ACTIVATION) $(property "$map" DM_PSA_OWED)"
check_eq "... and all links stay" "$map $map $map $map $p1" "$(links) $(part)"
