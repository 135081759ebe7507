#!/bin/bash
# All paths down: I/O waits for the APD time, then fails. A path that returns makes the map usable again.
# Guest: shared
. /lab/lib/lab.sh

# The second device has a short APD time. That of the first does not expire before its paths return, however slow the
# guest is.
agent_setting "[device.\"$(lu_naa 2)\"]" 'apd_timeout_ms = 6000'
lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 10 agent_quiet

psactl_ms nmp device list
answer=$REPLY

note "the paths return before the APD timeout"
fio_verify_start "$naa"
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
check "the map queues" map_queues "$naa"
check "psactl answers, and lists the device as dead" json_has "storage core device list -d $naa" '.[0].Status == "dead"'
dm_messages_start
path_up 3
probe_mark
check "the first path that returns is reinstated" wait_for 3 map_some_active "$naa"
probe_after first dm_message
# A failed path is checked every retry_interval_ms, later less often; all others every 5 s.
check_le "it is reinstated before its next regular check (ms)" 4000 "$REPLY"
path_up all
check "all paths are back" wait_for 5 map_all_active "$naa"
check "0 errors" fio_verify_stop

note "the paths do not return before the APD timeout"
naa=$(lu_naa 2)
check "the other device has its paths" wait_for 10 map_all_active "$naa"
now_ms down
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
(
    disk_reads "mapper/$naa" >/run/lab/read 2>&1
    status=$?
    now_ms end
    echo "status $status after $((end - down))" >>/run/lab/read
) &
check "a read fails" wait_for 12 grep -q 'status 1' /run/lab/read
check_ge "it does not fail before the APD timeout (ms since the paths failed)" 6000 "$(sed -n 's/^status.* //p' /run/lab/read)"
check "the map no longer queues" not map_queues "$naa"
check "explain says that I/O fails" explains "$naa" "I/O fails until a path returns"
path_up all
check "all paths are back" wait_for 5 map_all_active "$naa"
check "the map queues again" wait_for 2 map_queues "$naa"
check "the map can be read" disk_reads "mapper/$naa"

note "a device without paths does not slow psactl down"
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
psactl_ms nmp device list
check_le "psactl is not slower than before, within normal variation (ms)" $((answer * 3 + 200)) "$REPLY"
path_up all
