#!/bin/bash
# The agent is killed at random times while paths fail under I/O. 06-restart.sh [KILLS]
# Guest: shared
. /lab/lib/lab.sh
kills=${1:-20}

lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "maps appear" wait_for 10 maps_are 2
check "the agent settles" wait_for 10 agent_quiet

note "the agent is killed while nothing happens"
dm_loads_start
for ((i = 0; i < 3; i++)); do
    agent_kill
    agent_start
    wait_for 10 agent_quiet
done
check_eq "restarts load no table" 0 "$(dm_loads_count)"

note "the agent is killed $kills times while paths fail"
fio_verify_start "$naa" "$(lu_naa 2)"
late=0 state=up
for ((i = 0; i < kills; i++)); do
    case $((i % 4)) in
        0) path_down 1 2; state=down ;;
        1) path_up 1 2; state=up ;;
        2) alua_set 1 ano; alua_set 2 ao ;;
        3) alua_set 2 ano; alua_set 1 ao ;;
    esac
    sleep_ms $((RANDOM % 900))
    agent_kill
    sleep_ms $((RANDOM % 300))
    agent_start
done
path_up all
wait_for 10 map_all_active "$naa" || late=$((late + 1))
wait_for 10 map_all_active "$(lu_naa 2)" || late=$((late + 1))
check_eq "all paths are in use after every round" 0 $late
check "0 errors" fio_verify_stop
check_eq "no table was loaded" 0 "$(dm_loads_count)"

note "a path that fails while no agent runs"
fio_verify_start "$naa"
agent_kill
path_down 1
wait_for 10 map_some_failed "$naa"
path_up 1
agent_start
check "the next agent reinstates the path" wait_for 5 map_all_active "$naa"
agent_kill
path_down 2
wait_for 10 map_some_failed "$naa"
agent_start
check "the next agent knows that the path is dead" wait_for 10 json_has "storage nmp path list -d $naa" 'any(.[]; ."Group State" == "dead")'
path_up 2
check "it is reinstated when it returns" wait_for 5 map_all_active "$naa"

note "SIGTERM"
agent_stop
check "I/O goes on without an agent" wait_for 5 fio_running
sleep_ms 1000
check "0 errors" fio_verify_stop
check_eq "the maps are still there" 2 "$(dmsetup ls --target multipath | grep -c naa)"
check_eq "no table was loaded after the start" 0 "$(dm_loads_count)"
