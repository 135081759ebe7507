#!/bin/bash
# All paths gone: I/O waits for the APD time, then fails; a path that returns makes the map usable again.
# Guest: shared
. /lab/lib/lab.sh

agent_setting 'apd_timeout_ms = 6000'
lio_loop --lus 1 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "it settles" wait_for 10 agent_quiet

note "back before the time is over"
fio_verify_start "$naa"
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
check "the map queues" map_queues "$naa"
check "psactl calls it dead and still answers" json_has "storage core device list -d $naa" '.[0].Status == "dead"'
sleep_ms 1500
dm_messages_start
path_up 3
probe_mark
check "the first path back is taken at once" wait_for 3 map_some_active "$naa"
probe_after first dm_message
check_le "within a second (ms)" 1000 "$REPLY"
path_up all
check "all are back" wait_for 5 map_all_active "$naa"
check "0 errors" fio_verify_stop

note "not back in time"
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
(disk_reads "mapper/$naa" >/run/lab/read 2>&1; echo "status $?" >>/run/lab/read) &
sleep_ms 2000
check "before the time: the read waits" not grep -q status /run/lab/read
check "after the time: it fails" wait_for 12 grep -q 'status 1' /run/lab/read
check "the map no longer queues" not map_queues "$naa"
check "explain tells since when" explains "$naa" "I/O fails until one returns"
path_up all
check "all paths are back" wait_for 5 map_all_active "$naa"
check "it queues again" wait_for 2 map_queues "$naa"
check "it is usable" disk_reads "mapper/$naa"

note "one device down does not slow the others' lists"
path_down all
psactl_ms nmp device list
check_le "psactl answers within (ms, emulated)" 2000 "$REPLY"
path_up all
