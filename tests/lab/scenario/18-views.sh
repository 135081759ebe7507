#!/bin/bash
# The output matches what happens: metrics while a controller fails, top under I/O, a graph of the failed paths.
. /lab/lib/lab.sh

textfile=/run/dm-psa/metrics/dm-psa.prom
agent_setting "metrics_textfile = \"$textfile\"" 'metrics_interval_ms = 1000'
lio_loop --lus 1 --groups '1:ao:1,2 2:ano:3,4' --alua implicit
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 10 agent_quiet

# metric SAMPLE [FILE]: sets REPLY to its value in `psactl metrics`, or in FILE
metric() {
    local text
    if [ $# = 2 ]; then text=$(<"$2"); else text=$(psactl metrics) || return; fi
    REPLY=$(grep -F "$1 " <<<"$text") || { echo "no $1"; return 1; }
    REPLY=${REPLY##* }
}
metric_is() { metric "$1" && [ "$REPLY" = "$2" ]; }
# of_paths NAME SUFFIX: sets REPLY to the sum over all paths of the host
of_paths() { REPLY=$(psactl metrics | grep "^$1{.*$2} " | awk '{ sum += $2 } END { print sum + 0 }'); }
of_paths_is() { of_paths "$1" "$2" && [ "$REPLY" = "$3" ]; }

note "metrics without faults"
check "the device is on" metric_is "dm_psa_device_state{device=\"$naa\",state=\"on\"}" 1
check "two paths are active" metric_is "dm_psa_device_paths{device=\"$naa\",state=\"active\"}" 2
check "one map was created" metric_is 'dm_psa_map_actions_total{action="create"}' 1
check "no table was reloaded" metric_is 'dm_psa_map_actions_total{action="reload"}' 0
check "the text ends as OpenMetrics does" eval '[[ $(psactl metrics | tail -1) == "# EOF" ]]'
check "the file for node_exporter is written" wait_for 5 test -s $textfile
metric dm_psa_agent_resident_memory_bytes
note "the agent has $((REPLY / 1024)) KiB"
metric dm_psa_agent_longest_step_seconds
note "its longest step took $REPLY s"
check "no temporary file is left" eval "[ \$(ls -A ${textfile%/*} | wc -l) = 1 ]"

note "top under I/O"
fio_verify_start "$naa"
check "I/O uses the first group" wait_for 5 map_uses "$naa" 1 1
# loads FILTER: whether jq's FILTER is true for the rows of one second
loads() { psactl top --batch --delay 1 -d "$naa" --formatter=json | jq -e "$1"; }
busy='[.[] | select(.Path != null and (.IOPS | tonumber) > 5)]'
check "two paths are busy, and they are active" loads "$busy | length == 2 and all(.State == \"active\")"
check "the shares add up to 100 %" loads "$busy | map(.\"Share (%)\") | add >= 98"
check "the device has its own counters" loads '.[0].Path == null and (.[0].IOPS | tonumber) > 10'
check_eq "three iterations print three tables" 3 "$(psactl top --batch --delay 0.2 --iterations 3 | grep -c '^Device ')"

note "a controller fails"
failures=$(psactl metrics | grep -c '^dm_psa_path_failures_total')
check_eq "four paths, by kernel and by agent" 8 "$failures"
path_down 1 2
check "I/O switches to the other controller" wait_for 10 map_uses "$naa" 1 3
check "the device is degraded" wait_for 5 metric_is "dm_psa_device_state{device=\"$naa\",state=\"degraded\"}" 1
check "two paths failed" wait_for 5 of_paths_is dm_psa_path_failures_total '' 2
check "one group switch was counted" metric_is "dm_psa_device_group_switches_total{device=\"$naa\"}" 1
check "no APD was counted" metric_is "dm_psa_device_apd_entries_total{device=\"$naa\"}" 0
file_says() { metric "dm_psa_device_state{device=\"$naa\",state=\"degraded\"}" $textfile && [ "$REPLY" = 1 ]; }
check "the file reports the state degraded too" wait_for 5 file_says
check "top shows the other paths busy" loads "$busy | length == 2 and all(.State == \"active unoptimized\")"
check "graph shows two dead paths" eval "[ \$(psactl graph $naa --format=dot | grep -c 'dead') = 2 ]"
check "graph shows two paths that carry I/O" eval "[ \$(psactl graph $naa --format=dot | grep -c ', I/O') = 2 ]"
check "the SVG shows the dead paths" eval "[ \$(psactl graph --all | grep -c '>dead</text>') = 3 ]"

note "the controller returns"
path_up 1 2
check "all paths are active" wait_for 10 map_all_active "$naa"
check "I/O goes back" wait_for 10 map_uses "$naa" 1 1
check "two paths were reinstated" wait_for 5 of_paths_is dm_psa_path_reinstatements_total '' 2
check "the device is on" wait_for 5 metric_is "dm_psa_device_state{device=\"$naa\",state=\"on\"}" 1
check "two group switches were counted" wait_for 5 metric_is "dm_psa_device_group_switches_total{device=\"$naa\"}" 2
check "0 errors" fio_verify_stop

note "all paths down"
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
check "metrics report the state apd" wait_for 5 metric_is "dm_psa_device_state{device=\"$naa\",state=\"apd\"}" 1
check "top shows the state apd" loads '.[0].State | startswith("apd ")'
path_up all
check "all paths are back" wait_for 10 map_all_active "$naa"
check "one APD was counted" wait_for 5 metric_is "dm_psa_device_apd_entries_total{device=\"$naa\"}" 1
metric "dm_psa_device_without_path_seconds_total{device=\"$naa\"}"
note "$REPLY s without a path"
check "the time in APD is counted" eval "[ ${REPLY%.*} -ge 1 ]"
note "all counters"
psactl metrics | grep -v '^#' >/share/metrics.txt
