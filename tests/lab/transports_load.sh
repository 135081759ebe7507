#!/bin/bash
# What checks by each transport cost next to each other, on one kernel: transports_load.sh [LUS of each of 4 hosts]
# Programs: transports
. /lab/lib/lab.sh

for r in 55-scsi-sg3_id 60-persistent-storage 63-md-raid-arrays 64-btrfs 69-lvm; do ln -sf /dev/null /etc/udev/rules.d/$r.rules; done
udevadm control --reload
scsi_debug_array --hosts 4 --luns "${1:-1000}"
udevadm control --stop-exec-queue
for paths in 400 $((4 * ${1:-1000})); do
    for transport in sg bsg; do
        check "$transport, $paths paths" transports "$transport" load "$paths"
        grep '^#' "$LAB_SAID"
    done
done
