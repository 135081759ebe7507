#!/bin/bash
# Fibre Channel (FCoE VN2VN): links go down and come up, remote ports change state.
. /lab/lib/lab.sh

lio_fc --lus 1 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 90 test -b "/dev/mapper/$naa"
check "it settles" wait_for 20 agent_quiet
check_eq "four paths" 4 "$(psactl core path list -d "$naa" --formatter=json | jq length)"
check_eq "four adapters" 4 "$(psactl core adapter list --formatter=json | jq length)"
check "UIDs are made of port names" sh -c "psactl core path list -d $naa | grep -q '^fcoe\.[0-9a-f]*:[0-9a-f]*-fcoe\.'"
check "the state of the remote port is shown" sh -c "psactl core path list -d $naa | grep -q 'State=Online'"
psactl core adapter list
dm_loads_start
fio_verify_start "$naa"
for ((i = 0; i < 2; i++)); do
    path_down 1 2
    check "I/O goes to the other controller" wait_for 20 map_uses "$naa" 1 3
    check "the remote port is shown as blocked" wait_for 10 sh -c "psactl core path list -d $naa | grep -q 'State=Blocked'"
    sleep_ms 3000
    path_up 1 2
    check "the paths return" wait_for 40 map_all_active "$naa"
    check "and are used" wait_for 5 map_uses "$naa" 1 1
done
check_eq "no table was loaded" 0 "$(dm_loads_count)"
rules_decide "$naa" 4 "$(path_dev 1 1)"
check "0 errors" fio_verify_stop
