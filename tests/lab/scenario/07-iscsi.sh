#!/bin/bash
# iSCSI: sessions are lost and return, the LU is unmapped on one port.
. /lab/lib/lab.sh

lio_iscsi --lus 2 --groups '1:ao:1,2 2:ano:3,4' --recovery 2
naa=$(lu_naa 1)
agent_start
check "maps appear" wait_for 20 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
check_eq "all sessions are paths of one software adapter" 1 "$(psactl core adapter list --formatter=json | jq length)"
check_eq "the transport is iscsi" iscsi "$(psactl core path list -d "$naa" --formatter=json | jq -r 'map(.Transport) | unique | join(",")')"
check_eq "four runtime names" 4 "$(psactl core path list -d "$naa" --formatter=json | jq -r '.[]."Runtime Name"' | sort -u | wc -l)"
psactl core path list -d "$naa" | head -20
dm_loads_start
fio_verify_start "$naa"

# On a slow machine iscsid may give a session up permanently (a login times out halfway). Then an admin logs in again.
given_up=0
logged_in() {
    local port
    for port; do
        LAB_PATIENCE=1 wait_for 15 path_is "$port" 1 && continue
        note "iscsid gave up the session of port $port"
        given_up=$((given_up + 1))
        iscsi_login "$port" 1
    done
}

note "both optimized sessions are lost and log in again"
for ((i = 0; i < 2; i++)); do
    path_down 1 2
    check "I/O switches to the other controller" wait_for 30 map_uses "$naa" 1 3
    sleep_ms 4000
    path_up 1 2
    sleep_ms 3000
    logged_in 1 2
    check "all paths are in the table" wait_for 30 map_path_count "$naa" 4
    check "the paths return" wait_for 60 map_all_active "$naa"
    check "they carry I/O" wait_for 15 map_uses "$naa" 1 1
done
check "0 errors" fio_verify_stop

note "a session that is down is shown"
path_down 4
check "its path is dead" wait_for 20 json_has "nmp path list -d $naa" 'any(.[]; ."Group State" == "dead")'
check "the list shows the state of the session" wait_for 20 sh -c "psactl core path list -d $naa | grep -q 'State=FREE\|State=FAILED'"
path_up 4
sleep_ms 3000
logged_in 4
check "the path returns" wait_for 60 map_all_active "$naa"

note "LU 1 is unmapped on port 2 while LU 2 stays"
fio_verify_start "$naa" "$(lu_naa 2)"
lu_remove 1 2
check "its path is dead, and explain names the reason" wait_for 20 explains "$naa" "permanent loss: 5/25/00"
lu_add 1 2
check "the path returns" wait_for 20 map_all_active "$naa"
check "0 errors" fio_verify_stop
# A new session brings new disks, and each of them needs a table load.
[ $given_up != 0 ] || check_eq "no table was loaded after the start" 0 "$(dm_loads_count)"
