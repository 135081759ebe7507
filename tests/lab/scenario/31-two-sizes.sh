#!/bin/bash
# Two units of different size with the same identity: a cloned target behind ports 3 and 4, and a second LUN of ports 1
# and 2. A map has only one of them. No I/O goes to the other unit or beyond an end, and the agent reports why.
# Guest: shared
. /lab/lib/lab.sh

lio_loop --size 64 --groups '1:ao:1,2,3,4'
naa=$(lu_naa 1)
lu_other 10 32 1
lu_other 11 128 1
for lu in 1 10 11; do yes "unit $lu" | head -c 32M | dd of="$LAB_STORE/lu$lu" conv=notrunc status=none; done
sum() { cksum <"$LAB_STORE/lu$1"; }
small=$(sum 10) large=$(sum 11)
# behind_others OTHER: makes ports 3 and 4 lead to that unit
behind_others() {
    local p
    lu_remove 1 3 4
    wait_for 30 not path_is 3 1
    for p in 3 4; do lu_behind 1 "$1" $p; done
    lu_add 1 3 4
    for p in 3 4; do wait_for 30 path_is $p 1; done
    lab_settle
}
# only PORT...: whether the table has the paths of these ports and no others
only() {
    local p disk wanted=''
    for p; do disk=$(path_dev "$p" 1) && wanted+="$(<"/sys/block/$disk/dev")"$'\n'; done
    map_read "$naa" && [ "$(sort <<<"${wanted%$'\n'}" | xargs)" = "$(map_devs | sort | xargs)" ]
}
map_devs() { local path; for path in "${MAP_PATHS[@]}"; do path=${path#* }; echo "${path% *}"; done; }
# Whether the map has the size of each of its disks.
one_size() {
    local disk sizes
    sizes=$(for disk in $(map_disks "$naa"); do cat "/sys/block/$disk/size"; done | sort -u)
    [ "$sizes" = "$(blockdev --getsz "/dev/mapper/$naa")" ] || { echo "disks: $sizes"; return 1; }
}
# refused PORT TEXT...: whether the path of that port is out of the table, and explain gives the reason
refused() { explains "$(path_dev "$1" 1)" "${@:2}"; }
untouched() {
    check_eq "the smaller unit is unchanged" "$small" "$(sum 10)"
    check_eq "the larger unit is unchanged" "$large" "$(sum 11)"
    check_eq "no command addressed a block beyond the end of a unit" 0 "$(dmesg | sed '1,/lab: two sizes/d' | grep -c -i -E 'beyond end|target error|out of range')"
}
failover() {
    path_down 1
    check "a path fails" wait_for 20 map_some_failed "$naa"
    sleep_ms 2000
    path_up 1
    check "the path returns" wait_for 20 map_all_active "$naa"
}
echo "lab: two sizes" >/dev/kmsg

note "all paths exist when the agent starts: the smaller unit behind ports 3 and 4"
behind_others 10
agent_start
check "a map appears" wait_for 60 map_path_count "$naa" 2
check "the agent settles" wait_for 30 agent_quiet
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
check "the map holds the unit of the first path" only 1 2
check "its disks have its size" one_size
for p in 3 4; do check "the path of port $p is left out, and explain names the reason" wait_for 20 refused $p "65536 sectors" "131072"; done
check "PATH_MISMATCHED is reported" has_events PATH_MISMATCHED 2
psactl explain "$(path_dev 3 1)" | grep -m1 sectors
fio_verify_start "$naa"
failover
check "0 errors" fio_verify_stop
check "the end of the map can be read" dd if="/dev/mapper/$naa" of=/dev/null bs=1M skip=60 iflag=direct status=none
untouched

note "all paths of the map fail: the other unit does not replace it"
exec 8<"/dev/mapper/$naa"
stamp_start "$naa" 0
path_down 1 2
check "all paths are failed" wait_for 20 map_no_active "$naa"
sleep_ms 6000
check "the writer waits" stamp_running
check "the table is unchanged" only 1 2
path_up 1 2
check "the paths return" wait_for 20 map_all_active "$naa"
sleep_ms 1000
stamp_stop
check_eq "0 errors" 0 "$STAMP_ERRORS"
stamp_find 10
check_eq "no block was written to the other unit" 0 "$FOUND"
check "the table is unchanged" only 1 2

note "the agent starts again"
dm_loads_start
agent_stop
agent_start
check "the agent settles" wait_for 30 agent_quiet
check "the table is unchanged" only 1 2
check "the path to the other unit is left out" wait_for 20 refused 3 "65536 sectors"
check_eq "no table is loaded" 0 "$(dm_loads_count)"

note "a larger unit behind ports 3 and 4, while the map is in use"
fio_verify_start "$naa"
behind_others 11
for p in 3 4; do check "the path of port $p is left out, and explain names the reason" wait_for 30 refused $p "262144 sectors" "131072"; done
check "the table is unchanged" only 1 2
failover
check "0 errors" fio_verify_stop
check "its disks have its size" one_size

note "the smaller unit as LUN 1 of ports 1 and 2"
fio_verify_start "$naa"
for p in 1 2; do lu_behind 2 10 $p; done
lu_add 2 1 2
for p in 1 2; do check "a disk appears" wait_for 30 path_is $p 2; done
check "the repeated identity is reported" wait_for 30 has_events IDENTITY_REPEATED 1
for p in 1 2; do check "the second LUN of port $p is left out" wait_for 20 explains "$(path_dev $p 2)" "the same identity"; done
check "the table is unchanged" only 1 2
failover
check "0 errors" fio_verify_stop
check "its disks have its size" one_size
untouched
psactl explain "$naa" | head -12

note "the map's own unit behind all ports again"
lu_remove 2 1 2
behind_others 1
check "all four paths are in the table" wait_for 40 only 1 2 3 4
exec 8<&-
