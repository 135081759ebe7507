#!/bin/bash
# A logical unit grows while it is in use, and its map grows with it.
# Guest: shared
. /lab/lib/lab.sh

scsi_debug_array --hosts 2 --luns 1
agent_start
check "a map appears" wait_for 30 maps_are 1
check "the agent settles" wait_for 20 agent_quiet
map=$(psactl core device list --formatter=json | jq -r '.[] | select(.Device | startswith("t10") or startswith("naa")) | .Device' | head -1)
dm=$(psactl core device list -d "$map" --formatter=json | jq -r '.[0]."Devfs Path"')
check "the map has a node" wait_for 60 test -b "$dm"
sectors() { blockdev --getsz "$dm"; }
check_eq "the map has 8 MiB" 16384 "$(sectors)"
exec 7<"$dm"
echo 1 >/sys/bus/pseudo/drivers/scsi_debug/virtual_gb
grown() { [ "$(sectors)" = 2097152 ]; }
# The new size comes by udev, which may be far behind in a guest that emulates its processors beside others.
check "the map grows to 1 GiB" wait_for 120 grown
check "the new part can be read" sh -c "dd if=$dm of=/dev/null bs=4096 skip=200000 count=8 iflag=direct status=none"
exec 7<&-
check_eq "the growth took one table load" 2 "$(psactl status --formatter=json | jq '."Tables Loaded"')"
