#!/bin/bash
# A path fails and returns once a second. The agent accepts its returns more and more slowly, and then keeps the path in
# a group of last resort until it is stable. The other paths carry the I/O.
. /lab/lib/lab.sh

# The defaults need ten minutes; this takes one: 8 failures instead of 16, and 20 s without a failure instead of 120.
agent_setting 'marginal_failures = 8' 'marginal_recovery_ms = 20000'
lio_loop --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 20 agent_quiet
dm_loads_start
dm_messages_start
fio_verify_start "$naa"
flap() { # SECONDS
    local i
    for ((i = 0; i < $1; i++)); do
        path_down 1
        sleep_ms 500
        path_up 1
        sleep_ms 500
    done
}
disk=$(path_dev 1 1)
# in_group N: whether the flapping path is in that group
in_group() { [[ " $(map_group "$naa" "$1") " == *" $dev "* ]]; }
dev=$(<"/sys/block/$disk/dev")
count_events PATH_STATE
before=$REPLY
flap 20
messages=$(dm_messages_count)
flap 20
messages=$(($(dm_messages_count) - messages))
count_events PATH_STATE
note "40 s: $((REPLY - before)) lines PATH_STATE, $(dm_messages_count) messages, $messages of them in the second half"
# Each accepted return is a message, and the next failure may be another one.
check_le "at most a quarter of its 20 returns lead to a reinstatement in the second half (messages)" 10 "$messages"
check "PATH_MARGINAL is reported" wait_for 5 has_events PATH_MARGINAL 1
check "explain names the reason" explains "$disk" "marginal: it failed" "group of last resort"
check "the list of paths shows it" json_has "nmp path list -p $disk" '.[0]."Path Selection Policy Path Config" | contains("marginal")'
check "the path is in the last group" wait_for 10 in_group 3
check_eq "one table was loaded" 1 "$(dm_loads_count)"
check "it returns to its group when it is stable" wait_for 60 in_group 1
note "after $LAB_WAITED ms"
check "PATH_MARGINAL_ENDED is reported" has_events PATH_MARGINAL_ENDED 1
check_eq "one more table was loaded" 2 "$(dm_loads_count)"
check "all paths are in use" wait_for 20 map_all_active "$naa"
check "0 errors" fio_verify_stop
note "longest I/O $FIO_STALL_MS ms"

note "all paths flap: no single path may be the last resort"
for ((i = 0; i < 12; i++)); do
    path_down 1 2 3 4
    sleep_ms 300
    path_up all
    sleep_ms 700
done
check "all paths are in use" wait_for 60 map_all_active "$naa"
check "the map can be read" disk_reads "mapper/$naa"
