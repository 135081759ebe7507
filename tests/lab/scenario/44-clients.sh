#!/bin/bash
# Programs of others that call multipath and multipathd: OpenStack's os-brick, libblockdev, two Nagios plug-ins, sosreport,
# lsscsi, from Debian 13. They run against the agent, and each does its job.
# 44-clients.sh [--kernel 6.1|6.12|7]
# Guest: host
set -u
cd "$(dirname "$0")/../../.." || exit 1
kernel=6.12
[ "${1:-}" != --kernel ] || { kernel=$2; shift 2; }
lab=${DM_PSA_LAB_CACHE:-$PWD/target/lab}
if ! tests/lab/host/clients; then
    echo "not ok - the file system with the clients is built"
    echo "0 passed, 1 failed"
    exit 1
fi
# What is written to it must not stay.
disk=$(mktemp "$lab/clients.XXXXXX")
trap 'rm -f "$disk"' EXIT
cp --sparse=always "$lab/clients.ext4" "$disk"
tests/lab/run --kernel "$kernel" --systemd --timeout 1200 --disk "$disk" tests/lab/clients/guest.sh
