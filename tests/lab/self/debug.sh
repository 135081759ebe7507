#!/bin/bash
# Tests scsi_debug alone.
. /lab/lib/lab.sh

scsi_debug_array --hosts 4 --luns 3
for l in 0 1 2; do
    ids=$(for h in 1 2 3 4; do cat "/sys/block/$(scsi_debug_path $h $l)/device/wwid"; done | sort -u)
    note "LUN $l: the kernel says $ids, udev $(udevadm info -q property --property=ID_SERIAL --value "/dev/$(scsi_debug_path 1 $l)")"
    check_eq "LUN $l has one id through all hosts for udev" "$(scsi_debug_wwid $l)" \
        "$(for h in 1 2 3 4; do udevadm info -q property --property=ID_SERIAL --value "/dev/$(scsi_debug_path $h $l)"; done | sort -u)"
done
a=$(scsi_debug_path 1 1) b=$(scsi_debug_path 2 1)
settle_path "$a"
check "a path answers" tur "$a"
for h in 1 2 3 4; do note "host $h: $(sg_rtpg "/dev/$(scsi_debug_path $h 1)" | grep -E 'group id|state :' | tr -s ' \n' ' ')"; done

case $(uname -r) in
    6.1.*) note "no error injection before 6.7"; exit ;;
esac
error_inject "$a" 2 -1 0 0 0 2 2 4 3
check "an injected NOT READY is answered once" not tur "$a"
check "... and only once" tur "$a"
error_inject "$a" 2 1 0 0xf 0 0 5 0 0
check "an injected transport error is answered" not tur "$a"
check "... by this path only" tur "$b"
error_clear "$a" 2 0
check "... until it is cleared" tur "$a"
error_inject "$a" 0 1 0
check "an injected hang ends with the command's timeout" not timeout 20 sg_turs -l -T 2 "/dev/$a"
error_clear "$a" 0 0
check "... and the path answers afterwards" wait_for 10 tur "$a"
