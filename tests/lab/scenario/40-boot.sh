#!/bin/bash
# A Debian system boots from a multipath map, by an initramfs with dm-psa-boot.
# 40-boot.sh [--kernel 6.1|6.12|7] [--system ext4|lvm] [--maker initramfs-tools|dracut] [CASE...]
#
# The root file system is on a partition of the map, or on a logical volume on that partition.
#
#   first     the first boot after the installation: the initramfs knows no device yet
#   again     by the initramfs that was made on the map; it gets stale by a change of the rules
#   one       one path is missing
#   dead      every read on the first path fails
#   goes      the first path goes when the root file system has been mounted
#   twin      a LUN that the host never saw holds a copy of the system; for lvm only, because initramfs-tools looks for the
#             UUID of a file system on hidden disks, too (docs/boot.md)
#   moved     the system was restored to a disk with one path, but the initramfs waits for the map
#   nompath   multipathing is turned off on the kernel command line; not for lvm with dracut (docs/boot.md)
#
#   lost      all paths are lost, and then the host is shut down
#   late      all paths are lost while the host shuts down
# Guest: host
set -u
cd "$(dirname "$0")/../../.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
kernel=6.12 system=ext4 maker=initramfs-tools
while [ $# -gt 0 ]; do
    case $1 in
        --kernel) kernel=$2; shift 2 ;;
        --system) system=$2; shift 2 ;;
        --maker) maker=$2; shift 2 ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || set -- first again one dead goes nompath lost late
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
tally() { # LOG STATUS: adds the results of a guest
    local line
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$1" | tail -1)
    line=${line:-0 passed, 0 failed}
    passed=$((passed + ${line%% *}))
    line=${line#*, }
    line=${line%% *}
    [ "$2" = 0 ] || [ "$line" != 0 ] || line=1
    failed=$((failed + line))
    grep -v -E '^[0-9]+ passed, [0-9]+ failed$' "$1"
}

if ! tests/lab/host/boot-disk "$kernel" "$work" "$system" "$maker" >"$work/log" 2>&1; then
    cat "$work/log"
    echo "not ok - a disk with dm-psa is made"
    echo "0 passed, 1 failed"
    exit 1
fi
for case; do
    options=() arguments=("$case") wanted=0
    case $case in
        one) options=(--paths one) arguments+=(1) ;;
        dead) options=(--paths dead) ;;
        goes) options=(--append loglevel=7 --fail 'EXT4-fs (dm-'); arguments+=(1) ;;
        twin)
            cp --sparse=always "$work/disk.raw" "$work/twin.raw"
            options=(--extra "$work/twin.raw")
            arguments+=(4)
            ;;
        moved) options=(--paths moved --append dm_psa.wait=5) ;;
        nompath) options=(--append nompath) ;;
        # The guest ends before the script.
        lost | late) wanted=123 ;;
    esac
    echo "# $case, $system, $maker"
    tests/lab/run --kernel "$kernel" --boot "$work" --share "$work" --env "MAKER=$maker" "${options[@]}" tests/lab/boot/booted.sh "${arguments[@]}" >"$work/log" 2>&1
    status=$?
    if [ $status = $wanted ]; then status=0; elif [ $status = 0 ]; then status=1; fi
    rm -f "$work/twin.raw"
    tally "$work/log" $status
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
