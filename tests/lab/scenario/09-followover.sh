#!/bin/bash
# Another host moves the LU, and the agent follows. 09-followover.sh [ROUNDS]
# Guest: shared
. /lab/lib/lab.sh
rounds=${1:-5}

# This host sees only controller B; controller A is for others.
lio_loop --lus 1 --groups '1:ano:3,4 2:ao:1,2'
naa=$(lu_naa 1)
port_remove 3 4
lab_settle

moves() { # rounds of: LU to A and back, each under I/O
    local i
    for ((i = 0; i < rounds; i++)); do
        alua_set 2 ano; alua_set 1 ao
        # Leave the LU there long enough for checks to find it.
        sleep_ms "$1"
        took=$((took + $(alua_status 1 | grep -c explicit)))
        alua_set 1 ano; alua_set 2 ao
        sleep_ms 700
    done
}

note "multipathd with checks every 2 s"
peer_multipathd_start 2
check "multipathd makes its map" wait_for 60 map_exists
peer=$(dmsetup ls --target multipath | cut -f1 | head -1)
wait_for 90 test -b "/dev/mapper/$peer"
fio_verify_start "$peer"
stpg_count_start
took=0
moves 5000
peer_stpg=$(stpg_count) peer_took=$took
fio_verify_stop
peer_multipathd_stop flush
note "multipathd: $peer_stpg SET TARGET PORT GROUPS, LU taken back $peer_took of $rounds times"

note "dm-psa"
# Restore the array, by its own change: B optimized.
alua_set 1 ano; alua_set 2 ao
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 10 agent_quiet
fio_verify_start "$naa"
stpg_count_start
dm_loads_start
took=0
moves 5000
check_eq "0 STPG reach the target" 0 "$(stpg_count)"
check_eq "the LU is never taken back" 0 $took
check_eq "no table was loaded" 0 "$(dm_loads_count)"
check "no path failed" map_all_active "$naa"
check "0 errors" fio_verify_stop
check_eq "the array's decision stands" "1 1 ano implicit
1 2 ao implicit" "$(alua_status 1)"
note "longest I/O $FIO_STALL_MS ms"

note "the agent starts while the LU is on A"
alua_set 2 ano; alua_set 1 ao
agent_stop
dmsetup remove --retry "$naa"
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
fio_verify_start "$naa"
check "the path is checked" agent_checks 1
check "0 errors" fio_verify_stop
check_eq "0 STPG reach the target" 0 "$(stpg_count)"

note "four paths over both controllers"
port_add 3 4
check "all four paths are in use" wait_for 20 map_path_count "$naa" 4
wait_for 10 agent_quiet
fio_verify_start "$naa"
late=0
for ((i = 0; i < rounds; i++)); do
    alua_set 1 ano; alua_set 2 ao
    wait_for 5 map_uses "$naa" 1 1 || late=$((late + 1))
    alua_set 2 ano; alua_set 1 ao
    wait_for 5 map_uses "$naa" 1 3 || late=$((late + 1))
done
check_eq "the groups followed every time" 0 $late
check_eq "0 STPG reach the target" 0 "$(stpg_count)"
check "0 errors" fio_verify_stop
