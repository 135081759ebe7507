#!/bin/bash
# Fibre Channel (FCoE VN2VN): links go down and come up, remote ports change state, LUNs are write-protected.
. /lab/lib/lab.sh

lio_fc --lus 1 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 90 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 20 agent_quiet
check_eq "four paths" 4 "$(psactl core path list -d "$naa" --formatter=json | jq length)"
check_eq "four adapters" 4 "$(psactl core adapter list --formatter=json | jq length)"
check "path UIDs contain the port names" sh -c "psactl core path list -d $naa | grep -q '^fcoe\.[0-9a-f]*:[0-9a-f]*-fcoe\.'"
check "the state of the remote port is shown" sh -c "psactl core path list -d $naa | grep -q 'State=Online'"
psactl core adapter list
dm_loads_start
fio_verify_start "$naa"
for ((i = 0; i < 2; i++)); do
    path_down 1 2
    check "I/O switches to the other controller" wait_for 20 map_uses "$naa" 1 3
    check "the remote port is shown as blocked" wait_for 10 sh -c "psactl core path list -d $naa | grep -q 'State=Blocked'"
    sleep_ms 3000
    path_up 1 2
    check "the paths return" wait_for 40 map_all_active "$naa"
    check "they carry I/O" wait_for 5 map_uses "$naa" 1 1
done
check_eq "no table was loaded" 0 "$(dm_loads_count)"
rules_decide "$naa" 4 "$(path_dev 1 1)"
check "0 errors" fio_verify_stop

note "the array write-protects the LUN on one of two ports in use: every second write fails, but no path does"
map_path "$naa"
map=$REPLY
# Small writes, each to another place, one after the other, as a file system's journal does.
writes() {
    local i failed=0
    for ((i = 0; i < 10; i++)); do
        dd if=/dev/zero of="$map" bs=4k count=1 seek=$((4096 + i)) oflag=direct status=none 2>/dev/null || failed=$((failed + 1))
    done
    REPLY=$failed
}
disk=$(path_dev 1 1)
dm_loads_start
lun_protect 1 1 1
writes
note "$REPLY of 10 writes fail before the agent knows"
# Without a rescan the agent asks one of four paths each minute, and so each path every four minutes, as tested below.
echo 1 >"/sys/block/$disk/device/rescan"
check "the mismatch is found when the disk is rescanned" wait_for 10 explains "$naa" "its disk is read-only, but"
check "PATH_MISMATCHED is reported" wait_for 5 has_events PATH_MISMATCHED 1
check "the path leaves the table" wait_for 10 not map_has "$naa" "$(cat "/sys/block/$disk/dev")"
writes
check_eq "every write succeeds" 0 "$REPLY"
lun_protect 1 1 0
check "the path returns by itself" wait_for 80 map_path_count "$naa" 4
check "PATH_MISMATCH_ENDED is reported" has_events PATH_MISMATCH_ENDED 1
check_eq "two tables were loaded" 2 "$(dm_loads_count)"
check_eq "the map was never read-only" 0 "$(cat "/sys/block/$(basename "$(readlink -f "$map")")/ro")"

note "write-protected on all ports: the map becomes read-only for the next open, not for those who have it open"
ro=/sys/block/$(basename "$(readlink -f "$map")")/ro
exec 7<"$map"
for p in 1 2 3 4; do lun_protect "$p" 1 1; done
all_protected() { local p; for p in 1 2 3 4; do file_is "/sys/block/$(path_dev "$p" 1)/ro" 1 || return; done; }
check "all disks are known to be read-only" wait_for 80 all_protected
agent_checks 2
check "the open map is not read-only" file_is "$ro" 0
exec 7<&-
check "the closed map is read-only" wait_for 20 file_is "$ro" 1
udevadm settle
check "the map has all its paths" wait_for 10 map_path_count "$naa" 4
check "the map can be read" dd if="$map" of=/dev/null bs=1M count=4 iflag=direct status=none
writes
check_eq "every write fails" 10 "$REPLY"
check "explain says that the map is read-only" explains "$naa" "read-only, as all its disks are"
for p in 1 2 3 4; do lun_protect "$p" 1 0; done
check "the map is writable again" wait_for 90 file_is "$ro" 0
check "the map has all its paths again" wait_for 10 map_path_count "$naa" 4
writes
check_eq "every write succeeds again" 0 "$REPLY"
