#!/bin/bash
# The array shows another LU at the LUN of one of two paths; then 4 MiB are written to the map. How much of it goes to
# the wrong LU? remap.sh DAEMON
# A phase that takes longer than its limit is recorded as late.
LAB_PATIENCE=1
. /lab/lib/lab.sh
daemon=$1

lio_iscsi --lus 2 --groups '1:ao:1,2' --alua implicit
# The second LU only replaces the first one: the daemons must not know it as a disk of its own.
for port in 1 2; do other+=("$(path_dev $port 2)"); done
lu_remove 2
path_delete "${other[@]}"
lab_settle

map_in_one_group() { map_read "$map" && [ ${#MAP_GROUPS[@]} = 1 ]; }
rival_prepare "$daemon"
rival_run "$daemon"
check "a map appears" wait_for 60 map_exists
map=$(dmsetup ls --target multipath | cut -f1 | head -1)
check "the map has a node" wait_for 60 test -b "/dev/mapper/$map"
check "the map has both paths" wait_for 30 map_path_count "$map" 2
udevadm settle -t 60
# With two groups, the grouping alone would keep the data together.
check "both paths are in one group" map_in_one_group
sleep_ms 6000

# The LUN of LU 1 on port 2 leads to LU 2, after three seconds in which it is not mapped.
iscsi_tpg 2
lun=$REPLY/lun/lun_1
rm "$lun/lu"
sleep_ms 3000
ln -s "$LAB_TARGET/core/fileio_2/lu2" "$lun/lu"
echo g1 >"$lun/alua_tg_pt_gp"
sleep_ms 15000

tr '\0' w </dev/zero | head -c 4194304 >/run/lab/written
check "4 MiB are written" timeout 60 dd if=/run/lab/written of="/dev/mapper/$map" bs=64k oflag=direct
bytes() { tr -d '\0' <"$LAB_STORE/lu$1" | wc -c; }
record remap_wrong_bytes 2 "$daemon" 1 "$(bytes 2)"
record remap_right_bytes 2 "$daemon" 1 "$(bytes 1)"
{ dmsetup status "$map"; rival_list "$daemon"; } | sed 's/^/# /'
rival_stop "$daemon"
