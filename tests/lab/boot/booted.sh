#!/bin/bash
# In a guest that booted from a multipath map: booted.sh CASE. Called by scenario/40-boot.sh.
# shellcheck source=../lib/lab.sh
. /lab/lib/lab.sh
case=$1 paths=${2:-2} MAKER=${MAKER:-initramfs-tools}
wwid=35000c50015ea7100 twin=35000c50015ea7200

root_device() { readlink -f "$(findmnt -n -o SOURCE /)"; }
# The dm UUID of a device; nothing if it is none of device-mapper.
uuid_of() { cat "/sys/class/block/${1##*/}/dm/uuid" 2>/dev/null; }
# The dm UUIDs of a device and of those below it, from the top.
uuids_below() {
    local slave
    uuid_of "$1"
    for slave in "/sys/class/block/${1##*/}/slaves/"*; do [ ! -e "$slave" ] || uuids_below "$slave"; done
}
root_is_on_map() { uuids_below "$(root_device)" | grep -qx "part1-mpath-$wwid"; }
active_paths() { dmsetup status --target multipath | grep -o ' [0-9]*:[0-9]* A ' | wc -l; }
loads() { psactl metrics | awk '/^dm_psa_map_actions_total\{action="(create|reload)"\}/ { loads += $2 } END { print loads }'; }
mounted_from_disk() { dmesg | grep -E '(EXT4|XFS)-fs \(sd'; }

note "$(uptime -p), $(findmnt -n -o SOURCE /), $(cat /proc/cmdline)"
note "$(sed 's/^/boot.log: /' /run/dm-psa/boot.log 2>/dev/null | tail -5)"
if [ "$case" = nompath ]; then
    check_eq "the root file system is on a disk" '' "$(uuids_below "$(root_device)" | grep mpath)"
    check_eq "there is no map" '' "$(dmsetup ls --target multipath | grep -v '^No devices')"
    check "the agent does not run" not systemctl -q is-active dm-psa.service
    exit
fi
check "the agent runs" wait_for 60 systemctl -q is-active dm-psa.service
check "the agent settles" wait_for 60 agent_quiet
if [ "$case" = moved ]; then
    check_eq "the root file system is on a disk" '' "$(uuids_below "$(root_device)" | grep mpath)"
    check_eq "there is no map" '' "$(dmsetup ls --target multipath | grep -v '^No devices')"
    exit
fi
check "the root file system is on the partition of a map" root_is_on_map
check_eq "no file system was mounted from a single path" '' "$(mounted_from_disk)"
# A path whose reads fail is ready, so it is tried again and again.
[ "$case" = dead ] || check_eq "the map has its active paths" "$paths" "$(active_paths)"
check "the map queues" sh -c 'dmsetup table --target multipath | grep -q queue_if_no_path'
case $case in
    again | one) check_eq "the agent loaded no table" 0 "$(loads)" ;;
esac
failed_units() { systemctl list-units --failed --no-legend --plain | awk '{ print $1 }' | xargs; }
check_eq "no unit failed" '' "$(failed_units)"
case $case in
    first)
        check "its initramfs knew no device" sh -c "psactl boot status --formatter=json | jq -e '.[] | select(.\"This Boot\") | .\"Waits For\" == []'"
        case $MAKER in
            dracut) remake=(dracut --force "/boot/initrd.img-$(uname -r)" "$(uname -r)") ;;
            *) remake=(update-initramfs -u -k "$(uname -r)") ;;
        esac
        check "the initramfs is made again" "${remake[@]}"
        check_eq "it will wait for the device" "$wwid" \
            "$(psactl boot status --formatter=json | jq -r ".[] | select(.Kernel == \"$(uname -r)\" and (.\"This Boot\" | not)) | .\"Waits For\"[]")"
        cp "/boot/initrd.img-$(uname -r)" /share/initrd
        ;;
    dead)
        check_eq "no I/O failed on the map" 0 "$(dmesg | grep -c 'error.* dev dm-')"
        check_ge "reads failed by the first path" 1 "$(dmesg | grep -c 'I/O error, dev sd')"
        ;;
    goes)
        check_eq "no I/O failed on the map" 0 "$(dmesg | grep -c 'error.* dev dm-')"
        check "the path is gone from the host" sh -c "[ \"\$(lsblk -dno WWN /dev/sd? | grep -c 0x${wwid#3})\" = 1 ]"
        ;;
    twin)
        check "the copy has a map of its own" grep -qx "mpath-$twin" /sys/block/dm-*/dm/uuid
        check_eq "nothing is mounted from it" '' "$(findmnt -n -o SOURCE --raw | while read -r each; do uuids_below "$(readlink -f "$each")"; done | grep -F "$twin")"
        ;;
    again)
        check "the initramfs is up to date" psactl boot status
        echo '# changed' >>/etc/dm-psa/rules.toml
        check "it is stale after a change of the rules" not psactl boot status
        psactl boot status | grep -q 'rules.toml is not in it' && ok "the reason is shown" || fail "the reason is shown"
        systemctl restart dm-psa.service
        check "the agent reports it" wait_for 30 sh -c 'journalctl -u dm-psa.service | grep -q BOOT_FILES_DIFFER'
        rm /etc/dm-psa/rules.toml
        ;;
    lost | late)
        echo 'apd_timeout_ms = 20000' >/etc/dm-psa/dm-psa.toml
        systemctl restart dm-psa.service
        check "the agent settles" wait_for 60 agent_quiet
        states=()
        for disk in $(dmsetup deps -o devname "$(dmsetup ls --target multipath | cut -f1)" | grep -o '(sd[a-z]*)' | tr -d '()'); do
            states+=("/sys/block/$disk/device/state")
        done
        # From there on, bash may be killed because a page of its own cannot be read: a program on a tmpfs goes on.
        cp "$(command -v busybox)" /dev/shm/busybox
        cat >/dev/shm/last.sh <<'L'
case=$1; shift
/dev/shm/busybox sync
echo 3 >/proc/sys/vm/drop_caches
[ "$case" = lost ] || /usr/bin/systemctl poweroff --no-block
[ "$case" = lost ] || /dev/shm/busybox sleep 1
for state; do echo offline >"$state"; done
/dev/shm/busybox sleep 5
# As the power button does: systemd(1), SIGRTMIN+4.
[ "$case" != lost ] || kill -38 1
while :; do /dev/shm/busybox sleep 60; done
L
        trap - EXIT
        echo "$LAB_PASSED passed, $LAB_FAILED failed"
        [ $LAB_FAILED = 0 ] || exit 1
        exec /dev/shm/busybox sh /dev/shm/last.sh "$case" "${states[@]}"
        ;;
esac
