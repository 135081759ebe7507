#!/bin/bash
# The maps of a running multipathd (of Debian 13) are handed over to the agent, and back, under verified I/O on a mounted
# file system, with LVM, a partition and swap on maps.
# Guest: systemd
# shellcheck source=../lib/lab.sh
. /lab/lib/lab.sh

units() { systemctl show -p ActiveState,UnitFileState --value "$1" | xargs; }
names() { dmsetup ls --target multipath | cut -f1 | sort | xargs; }
members() { dmsetup deps -o devno "$1" | sed 's/.*: //' | tr -d '() ' ; }
# What udev says about a map, for its users.
properties() { udevadm info -q property "/dev/mapper/$1" | grep -E '^(DM_NAME|DM_UUID|MPATH_DEVICE_READY|ID_FS_TYPE|ID_FS_UUID|DM_WWN|DM_SERIAL|SYSTEMD_READY)=' | sort; }
links() { find /dev/disk /dev/mapper -lname '*dm-*' | sort; }
mounted() { findmnt -n -o SOURCE /mnt/fs; }
masks() { find /etc/udev/rules.d -lname /dev/null -printf '%f\n' | sed 's/\.rules$//' | sort | xargs; }
settings() { cat /etc/dm-psa/dm-psa.toml 2>/dev/null; }
# Sets REPLY to the milliseconds that a command took.
timed() { local from till; now_ms from; "$@" >/run/lab/said 2>&1; local result=$?; now_ms till; REPLY=$((till - from)); cat /run/lab/said; return $result; }
said() { grep -qF "$1" /run/lab/said; }

# The image masks the rules of multipath-tools.
find /etc/udev/rules.d -lname /dev/null -delete
udevadm control --reload
cat >/etc/multipath.conf <<'C'
defaults {
    find_multipaths greedy
    user_friendly_names yes
}
C
lio_loop --lus 3 --groups '1:ao:1,2 2:ano:3,4' --size 96
check "multipathd starts" systemctl start multipathd.socket multipathd.service
check "it makes the maps" wait_for 120 maps_are 3
udevadm settle
check_eq "they have its names" 'mpatha mpathb mpathc' "$(names)"

note "users of the maps"
# The first carries verified I/O on a file system; the second a partition with swap; the third a volume group.
mkfs.ext4 -q /dev/mapper/mpatha && mkdir -p /mnt/fs && mount /dev/mapper/mpatha /mnt/fs
check "a file system is mounted" test "$(mounted)" = /dev/mapper/mpatha
# One partition of 64 MiB at 1 MiB: the guest has no program that partitions disks.
{ head -c 446 /dev/zero; printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\0\002\0'; head -c 48 /dev/zero; printf '\125\252'; } |
    dd of=/dev/mapper/mpathb bs=512 conv=fsync status=none
kpartx -a -p -part /dev/mapper/mpathb; udevadm settle
mkswap -q /dev/mapper/mpathb-part1 && swapon /dev/mapper/mpathb-part1
check "swap is on a partition" grep -q dm- /proc/swaps
have_lvm=''
if command -v vgcreate >/dev/null && vgcreate -q vg /dev/mapper/mpathc >/dev/null 2>&1 && lvcreate -q -L 16M -n lv vg >/dev/null 2>&1; then have_lvm=1; fi
note "LVM: ${have_lvm:-not in this guest}"
fio --name=verify --filename=/mnt/fs/data --size=24m --rw=randwrite --bs=4k --direct=1 --verify=crc32c --verify_backlog=64 \
    --time_based --runtime=600 --rate_iops=60 --output-format=json --output=/run/lab/fio.json >/dev/null 2>&1 &
fio=$!
# A device that is not there now.
echo 'mpathz 36001405000000000000000000000dead' >>/etc/multipath/bindings
names_before=$(names) links_before=$(links) settings_before=$(settings)
for map in mpatha mpathb mpathc; do properties $map >"/run/lab/$map"; done
dm_loads_start

note "what would be done"
check "a dry run succeeds" timed psactl adopt --dry-run
check "it names the maps" said 'mpatha (36001405'
check "it says what is not imported" said 'find_multipaths greedy'
foreseen() { grep -c "$1" /run/lab/said; }
check_eq "it foresees that no table is loaded" "3 0" "$(foreseen 'no table would be loaded') $(foreseen 'then: ')"
( ulimit -n 12; psactl adopt --dry-run >/run/lab/said 2>&1 )
check_eq "also with few files, fewer than there are paths" "3 0" "$(foreseen 'no table would be loaded') $(foreseen 'not known')"
check "it changes nothing" test "$(units multipathd.service)" = 'active disabled'
check_eq "it writes nothing" "$settings_before" "$(settings)"
check "a rule that asks for other tables" psactl storage nmp satp set --satp VMW_SATP_ALUA --default-psp VMW_PSP_RR
timed psactl adopt --dry-run
check_eq "... is seen in what would be loaded" "3 3" "$(foreseen 'a table would be loaded') $(foreseen 'then: .* round-robin ')"
rm /etc/dm-psa/rules.toml
check_eq "no table was loaded" 0 "$(dm_loads_count)"

note "from multipathd to dm-psa"
check "psactl adopt" timed psactl adopt
took=$REPLY
check_eq "the agent runs, and will at the next boot" 'active enabled' "$(units dm-psa.service)"
check_eq "multipathd does not, and cannot" 'inactive masked' "$(units multipathd.service)"
check "dm-psa serves its socket" test "$(multipathd show maps raw format '%n' | sort | xargs)" = "$names_before"
check "its socket does not start it" not systemctl -q is-active multipathd.socket
loads=$(dm_loads_count)
check_eq "no table was loaded" 0 "$loads"
check "the agent says so" said 'tables loaded: 0'
check_eq "names are the same" "$names_before" "$(names)"
check_eq "links are the same" "$links_before" "$(links)"
for map in mpatha mpathb mpathc; do check_eq "udev says the same about $map" "$(cat "/run/lab/$map")" "$(properties $map)"; done
for map in mpatha mpathb mpathc; do check "$map queues" map_queues $map; done
check "names are a setting now" grep -qx 'map_names = "mpath"' /etc/dm-psa/dm-psa.toml
check "... also of devices that are not there" grep -qx 'map_name = "mpathz"' /etc/dm-psa/dm-psa.toml
multipathd show config >/run/lab/said
check "... and callers see it" said 'user_friendly_names "yes"'
check "I/O runs" running $fio
check "a path is hidden from others" udev_property "$(path_dev 1 1)" DM_MULTIPATH_DEVICE_PATH 1
note "handed over in $took ms"
path_down 1 2
check "the agent fails over" wait_for 20 map_uses mpatha 1 3
path_up 1 2
check "the paths return" wait_for 20 map_all_active mpatha
check "a second adopt is refused, and says why" not timed psactl adopt
check "... the agent runs" said 'the agent runs already'

note "and back"
dm_loads_start
check "a dry run succeeds" timed psactl release --dry-run
check_eq "it changes nothing" 'active enabled' "$(units dm-psa.service)"
check "psactl release" timed psactl release
took=$REPLY
check_eq "multipathd runs, and will at the next boot" 'active enabled' "$(units multipathd.service)"
check_eq "the agent does not" 'inactive disabled' "$(units dm-psa.service)"
check_eq "names are the same" "$names_before" "$(names)"
note "handed back in $took ms, with $(dm_loads_count) table loads"
dmsetup table --target multipath
for map in mpatha mpathb mpathc; do check "$map queues" map_queues $map; done
check "multipathd knows the maps" test "$(multipathd show maps raw format '%n' | sort | xargs)" = "$names_before"
check "a path is hidden from others" wait_for 60 udev_property "$(path_dev 1 1)" DM_MULTIPATH_DEVICE_PATH 1
check "I/O runs" running $fio

check_eq "only the rules of dm-psa are masked" '11-dm-psa-map 56-dm-psa-map 56-dm-psa-path' "$(masks)"
check_eq "the kernel's limit of queueing is reset" 0 "$(cat $LAB_QUEUEING)"

note "an adoption that fails is undone"
masks=$(masks)
rm /etc/dm-psa/dm-psa.toml
mkdir -p /run/systemd/system/dm-psa.service.d
printf '[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n' >/run/systemd/system/dm-psa.service.d/broken.conf
systemctl daemon-reload
check "psactl adopt fails" not timed psactl adopt
check "it says that it was undone" said 'were undone'
check_eq "nothing was imported" '' "$(settings)"
check_eq "multipathd runs" active "$(systemctl is-active multipathd.service)"
check_eq "the same rules are masked as before" "$masks" "$(masks)"
check_eq "multipathd starts at the next boot" 'active enabled' "$(units multipathd.service)"
check_eq "names are the same" "$names_before" "$(names)"
for map in mpatha mpathb mpathc; do check "$map queues" map_queues $map; done

kill -INT $fio; wait $fio
# fio puts a line about the signal before the JSON.
result() { sed -n '/^{/,$p' /run/lab/fio.json | jq "$1"; }
errors=$(result '[.jobs[].error, .jobs[].total_err] | add')
longest=$(result '[.jobs[].write.clat_ns.max, .jobs[].read.clat_ns.max] | max / 1000000 | floor')
check_eq "0 errors" 0 "$errors"
note "longest I/O: $longest ms"
check "the file system is whole" sh -c 'umount /mnt/fs && fsck.ext4 -fn /dev/mapper/mpatha >/dev/null 2>&1'
swapoff -a
[ -z "$have_lvm" ] || check "the volume group is there" lvs vg/lv
