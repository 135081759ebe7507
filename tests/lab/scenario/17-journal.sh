#!/bin/bash
# The reports of the agent while a controller fails under I/O and the agent is killed, and the journal of that: it can
# be replayed, and so can a copy of it in one file.
. /lab/lib/lab.sh

lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1) other=$(lu_naa 2)
agent_start
check "maps appear" wait_for 20 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
followed=/run/lab/followed
psactl events --follow --formatter=json >$followed 2>/run/lab/followed.err &
follower=$!
# psactl_has WORDS TEXT: psactl succeeds and prints TEXT. psactl_fails_with WORDS TEXT: it fails and prints TEXT.
psactl_has() {
    local said
    # shellcheck disable=SC2086
    said=$(psactl $1) || return
    [[ $said == *"$2"* ]]
}
psactl_fails_with() {
    local said
    # shellcheck disable=SC2086
    said=$(psactl $1 2>&1) && return 1
    [[ $said == *"$2"* ]]
}
starts_are() { [ "$(jq -s 'map(select(.Code == "AGENT_STARTED")) | length' $followed)" = "$1" ]; }
codes_known() {
    local code known
    known=$(psactl events codes)
    for code in $(jq -r .Code $followed | sort -u); do [[ $known == *"$code"* ]] || return; done
}
follower_printed() { jq -e "select($1)" $followed >/dev/null; }
check "the follower prints events that are older than itself" wait_for 10 follower_printed '.Code == "AGENT_READY"'

note "a controller fails under I/O"
fio_verify_start "$naa"
path_down 1 2
check "I/O switches to the other controller" wait_for 15 map_uses "$naa" 1 3
check "the follower sees the paths die" wait_for 10 follower_printed '.Code == "PATH_STATE" and .Severity == "warning"'
number=$(psactl events --formatter=json | jq '.[-1].Number')
path_up 1 2
check "the paths return" wait_for 15 map_all_active "$naa"
check "events after a number leave out earlier ones" not psactl_has "events --since $number" AGENT_STARTED
check "events after a number include the return" psactl_has "events --since $number" PATH_STATE

note "the agent is killed, and another starts"
agent_kill
agent_start
check "the agent settles" wait_for 20 agent_quiet
check "the follower sees the new agent" wait_for 10 starts_are 2
path_down 3
check "a path dies" wait_for 15 map_some_failed "$naa"
check "the follower goes on" wait_for 10 follower_printed '.Code == "PATH_STATE" and .Number > 2'
path_up 3
check "the path returns" wait_for 15 map_all_active "$naa"
check "0 errors" fio_verify_stop

note "filters of events"
check "events of a device have its paths" json_has "events -d $naa" 'any(.[]; .Code == "PATH_STATE")'
check "events of a device leave out those of the other" json_has "events -d $naa" "all(.[]; .Subject != \"$other\")"
check "a severity leaves out lower ones" json_has "events --severity warning" 'all(.[]; .Severity != "info")'
check "every code has its explanation" codes_known

note "the follower ends"
kill -INT $follower
wait $follower
check_eq "exit status after SIGINT" 0 $?
check_eq "one object on each line" 0 "$(jq -c . $followed | grep -vc '^{')"
psactl events --follow | head -1 >/dev/null
check_eq "exit status after a closed pipe" 0 "${PIPESTATUS[0]}"

note "the journal"
ls -l /run/dm-psa/journal
check_eq "only root can read it" "700 600" "$(stat -c %a /run/dm-psa/journal) $(stat -c %a /run/dm-psa/journal/* | sort -u)"
check "the journal of a running agent replays" psactl_has replay identical
agent_stop
cp -r /run/dm-psa/journal /share/journal
check "the journal replays after the agent's end" psactl_has replay identical
check "it is saved" psactl journal save /run/lab/saved
check "an existing file is not overwritten" not psactl journal save /run/lab/saved
cp /run/lab/saved /share/saved.journal
check "the saved journal replays" psactl_has "replay /run/lab/saved" identical
check "the replay shows what was done to the map" psactl_has "replay /run/lab/saved -d $naa" "queue_if_no_path"
check "the replay shows that paths died" psactl_has "replay /run/lab/saved -d $naa" "PATH_STATE"
psactl replay /run/lab/saved -d "$naa" | cut -c1-160 | tail -25
size=$(stat -c %s /run/lab/saved)
head -c $((size - 20)) /run/lab/saved >/run/lab/cut
check "a truncated journal replays up to the cut" psactl_has "replay /run/lab/cut" "is truncated in the block"
dd if=/dev/zero of=/run/lab/saved bs=1 count=8 seek=$((size - size / 4)) conv=notrunc status=none
psactl replay /run/lab/saved | tail -2
check "a damaged journal is refused, with the position" psactl_fails_with "replay /run/lab/saved" "cannot be read from byte"
