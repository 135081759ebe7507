#!/bin/bash
# Another logical unit answers at a LUN that a map uses: no byte goes to it. 20-remap.sh [iscsi|fc [ROUNDS]]
# Guest: shared
. /lab/lib/lab.sh
transport=${1:-iscsi} rounds=${2:-3}

if [ "$transport" = fc ]; then lio_fc --groups '1:ao:1,2'; else lio_iscsi --groups '1:ao:1,2'; fi
naa=$(lu_naa 1)
lu_other 9

fresh() { dd if=/dev/zero of="$LAB_STORE/lu9" bs=1M count=64 conv=notrunc status=none; }

agent_start
check "a map appears" wait_for 90 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 20 agent_quiet
# Keep the map open: otherwise the agent would move a path that leads elsewhere to the other unit.
exec 9<"/dev/mapper/$naa"

quarantined() { json_has "nmp path list -d $naa" 'any(.[]; ."Group State" == "dead")' && explains "$naa" "quarantined"; }
# wrong_bytes WHAT: reports the bytes written to the other unit, and those more than 100 ms after the unit attention.
# Sets FOUND, and `least` to the fewest such late blocks of all rounds, because other load only adds to them.
wrong_bytes() {
    local since
    attention_first || { note "no unit attention"; REPLY=0; }
    since=$REPLY
    stamp_find 9 $((since + 5000000))
    check_eq "no byte on the wrong disk more than 5 s after the unit attention" 0 "$LATE"
    stamp_find 9 $((since + 100000))
    note "$1: $((FOUND * 4096)) bytes on the wrong disk, $((LATE * 4096)) of them more than 100 ms after the attention, the last after $(((LAST - since) / 1000)) ms"
    [ "$LATE" -ge "$least" ] || least=$LATE
}
# several ROUND: runs the wanted number of rounds, and up to three more if none of them kept the limit
several() {
    local i
    least=999999
    for ((i = 0; i < rounds || (least > 0 && i < rounds + 3); i++)); do "$1" $i; done
    check_eq "no byte on the wrong disk more than 100 ms after the unit attention, in the best of $i rounds" 0 "$least"
}
# Maps the original unit to the LUN again.
put_back() {
    lu_behind 1 1 2
    lu_remove 1 2
    sleep_ms 1000
    lu_add 1 2
    check "put back, the path proves its identity" wait_for 20 map_all_active "$naa"
    check "it is active again" wait_for 20 json_has "nmp path list -d $naa" 'all(.[]; ."Group State" == "active")'
    wait_for 10 agent_quiet
}

note "with a gap in which a check finds that the LUN answers 5/25/00; then 4 MiB immediately"
gap() {
    fresh
    attention_start
    lu_behind 1 9 2
    lu_remove 1 2
    check "explain says that the LUN is gone" wait_for 10 explains "$naa" "5/25/00"
    lu_add 1 2
    stamp_start "$naa" 4
    check "4 MiB are written" stamp_end 60
    wrong_bytes "round $1"
    check_eq "no byte on the wrong disk" 0 "$FOUND"
    check "the path is quarantined" wait_for 10 quarantined
    psactl explain "$naa" | grep -i quarantin
    put_back
}
several gap
agent_words | grep -E "QUARANTINE|PATH_STATE|UNPROVEN" | tail -12

note "swapped without a gap under running writes"
under_writes() {
    fresh
    attention_start
    stamp_start "$naa" 0
    sleep_ms 1000
    count_events PATH_QUARANTINED
    before=$REPLY
    lu_swap 1 9 2
    check "the path is quarantined" wait_for 10 quarantined
    sleep_ms 1000
    check "the writer goes on" stamp_running
    stamp_stop
    check_eq "no write failed" 0 "$STAMP_ERRORS"
    wrong_bytes "round $1"
    check "the path is still quarantined" quarantined
    check "PATH_QUARANTINED is reported" has_events PATH_QUARANTINED $((before + 1))
    check "explain gives both names" explains "$naa" "quarantined: $(lu_naa 9) answers where"
    put_back
}
several under_writes

note "swapped without a gap while idle; then 4 MiB immediately"
idle() {
    fresh
    attention_start
    lu_swap 1 9 2
    stamp_start "$naa" 4
    check "4 MiB are written" stamp_end 60
    check_eq "no write failed" 0 "$STAMP_ERRORS"
    wrong_bytes "round $1"
    check "the path is quarantined" wait_for 10 quarantined
    put_back
}
several idle

note "swapped while idle, and the array reports nothing"
fresh
group=${LAB_PORT_GROUP[${LAB_TRANSPORT}2]}
LAB_PORT_GROUP[${LAB_TRANSPORT}2]=''
attention_start
lu_swap 1 9 2
LAB_PORT_GROUP[${LAB_TRANSPORT}2]=$group
check "the path is quarantined within a minute" wait_for 70 quarantined
note "after $LAB_WAITED ms; unit attention: $(attention_first && echo yes || echo none)"
put_back

note "the same unit, but smaller: no command may address a block beyond its end"
lu_other 10 32 1
lu_swap 1 10 2
# The INQUIRY data of the unit changed, so the kernel reads its capacity again.
check "the path is refused, with the reason" wait_for 20 explains "$naa" "fewer than the"
check "the end of the map can be read" sh -c "for i in 1 2 3 4; do dd if=/dev/mapper/$naa of=/dev/null bs=1M skip=60 count=2 iflag=direct status=none || exit 1; done"
put_back

note "the same unit, write-protected on one path"
disk=$(path_dev 2 1)
blockdev --setro "/dev/$disk"
agent_checks 2
psactl explain "$naa" | grep -i "read" | head -3
stamp_start "$naa" 4
stamp_end 60
check_eq "no write failed" 0 "$STAMP_ERRORS"
blockdev --setrw "/dev/$disk"
