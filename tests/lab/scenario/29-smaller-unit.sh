#!/bin/bash
# A LUN leads to a smaller unit, without a unit attention on its path: the first read beyond the end fails. The kernel
# reports the error, and the path is out of use before the next check. dm-multipath passes such errors to applications.
. /lab/lib/lab.sh

status_is() { json_has status ".\"I/O Errors Reported\" == \"$1\""; }
out_of_use() { explains "$naa" "quarantined"; }
read_end() { timeout 20 dd if="/dev/mapper/$naa" of=/dev/null bs=4k count=1 skip=10000 iflag=direct; }
reads_go_on() { local i; for ((i = 0; i < 20; i++)); do read_end || return; done; }

lio_iscsi --groups '1:ao:1,2'
naa=$(lu_naa 1)
lu_other 9 8
# Longer than the scenario, so that only the reported error, or a unit attention of the array, can cause a check.
agent_setting 'check_interval_ms = 60000'
agent_start
check "a map appears" wait_for 90 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 20 agent_quiet
check "errors are reported" wait_for 20 status_is errors
# Keep the map open: otherwise the path would leave it for the unit that its LUN leads to.
exec 8<"/dev/mapper/$naa"
# Errors within a minute count as one series: the path rests for the first, and is checked for each.
for round in 1 2 3; do
    note "round $round"
    lu_swap 1 9 2
    for ((i = 0; i < 20; i++)); do read_end 2>/dev/null || break; done
    check "the path is out of use" wait_for 5 out_of_use
    note "after $LAB_WAITED ms"
    check "reads continue on the other path" reads_go_on
    lu_behind 1 1 2
    lu_remove 1 2
    sleep_ms 1000
    lu_add 1 2
    check "put back, the path is active again" wait_for 90 json_has "nmp path list -d $naa" 'length == 2 and all(.[]; ."Group State" == "active")'
    wait_for 10 agent_quiet
done
check "the errors were reported" has_events IO_ERROR 1
agent_words | grep -E "IO_ERROR|QUARANTINE|INQUIRY data" | tail -9
