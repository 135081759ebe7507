#!/bin/bash
# The cases of 40-boot.sh with an initramfs of dracut.
# 42-boot-dracut.sh [--kernel 6.1|6.12|7] [CASE...]
# Guest: host
kernel=6.12
[ "${1:-}" != --kernel ] || { kernel=$2; shift 2; }
[ $# -gt 0 ] || set -- first again one nompath
exec "${0%/*}/40-boot.sh" --kernel "$kernel" --maker dracut "$@"
