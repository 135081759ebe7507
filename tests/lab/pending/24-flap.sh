#!/bin/bash
# A path that fails and returns once a second is held back; the others serve.
. /lab/lib/lab.sh

lio_loop --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "it settles" wait_for 20 agent_quiet
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
told PATH_STATE
before=$REPLY
flap 20
messages=$(dm_messages_count)
flap 20
messages=$(($(dm_messages_count) - messages))
told PATH_STATE
note "40 s: $((REPLY - before)) lines PATH_STATE, $(dm_messages_count) messages, $messages of them in the second half"
check_le "no more than a quarter of its returns are believed in the second half (messages)" 5 "$messages"
check "explain says that it is held back" explains "$(path_dev 1 1)" "held back"
check_eq "no table was loaded" 0 "$(dm_loads_count)"
check "0 errors" fio_verify_stop
note "longest I/O $FIO_STALL_MS ms"
check "it serves again when it stays" wait_for 90 map_all_active "$naa"
note "after $LAB_WAITED ms"
