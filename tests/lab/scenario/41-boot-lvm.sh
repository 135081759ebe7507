#!/bin/bash
# The cases of 40-boot.sh with the root file system on a logical volume.
# 41-boot-lvm.sh [--kernel 6.1|6.12|7] [CASE...]
# Guest: host
kernel=6.12
[ "${1:-}" != --kernel ] || { kernel=$2; shift 2; }
[ $# -gt 0 ] || set -- first again one twin moved nompath
exec "${0%/*}/40-boot.sh" --kernel "$kernel" --system lvm "$@"
