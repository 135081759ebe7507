#!/bin/bash
# HPP: path selection schemes, failover, and all paths down, under verified I/O.
. /lab/lib/lab.sh

lio_iscsi --lus 2 --groups '1:ao:1,2 2:ano:3,4' --alua implicit --recovery 2
naa=$(lu_naa 1) nmp=$(lu_naa 2)
psactl --root / core claimrule add -r 102 -P HPP -t device -d "$naa" --config-string "pss=LB-RR"
agent_setting 'apd_timeout_ms = 60000'
agent_start
check "maps appear" wait_for 20 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
table_has() { [[ $(dmsetup table "$1") == *" $2 "* ]]; }
check "the path selection scheme is that of the rule" table_has "$naa" round-robin
check "the other device is claimed by NMP" table_has "$nmp" service-time
check_eq "hpp device list has the device" "$naa" "$(psactl hpp device list --formatter=json | jq -r '.[].Device')"
check_eq "nmp device list has the other" "$nmp" "$(psactl nmp device list --formatter=json | jq -r '.[].Device')"
check_eq "four paths" 4 "$(psactl hpp path list --formatter=json | jq length)"
psactl hpp device list
fio_verify_start "$naa"

note "schemes"
for scheme in LB-IOPS:queue-length LB-BYTES:service-time LB-Latency:service-time LB-RR:round-robin; do
    psactl hpp device set -d "$naa" -P "${scheme%:*}"
    check "${scheme%:*} is ${scheme#*:}" wait_for 10 table_has "$naa" "${scheme#*:}"
done
has_groups() { [ "$(map_letters "$naa" | sed 's/.://g')" = "$1" ]; }
check "the groups are by state" has_groups "AA AA"
psactl hpp device set -d "$naa" --useano true
check "all paths are in one group with useano" wait_for 10 has_groups "AAAA"
psactl hpp device set -d "$naa" --useano false
check "there are two groups without it" wait_for 10 has_groups "AA AA"
psactl hpp device set -d "$naa" -P FIXED -p "$(path_dev 2 1)"
check "FIXED uses the preferred path" wait_for 10 map_uses "$naa" 1 2
psactl hpp device set -d "$naa" -P LB-RR
check "the groups are by state again with LB-RR" wait_for 10 has_groups "AA AA"

note "a controller fails and returns, and the array moves the unit"
path_down 1 2
check "I/O switches to the other controller" wait_for 20 map_uses "$naa" 1 3
path_up 1 2
check "the paths return" wait_for 40 map_all_active "$naa"
alua_set 1 ano 1
alua_set 2 ao 1
check "the groups follow" wait_for 20 map_uses "$naa" 1 3

note "all paths down, and a path that returns as a new disk: its table is loaded while I/O waits"
path_down all
check "all paths are failed" wait_for 30 map_no_active "$naa"
old=$(path_dev 3 1)
hctl=$(path_hctl "$old")
echo 1 >"/sys/block/$old/device/delete"
sleep_ms 1000
path_up 3
found() { path_rescan "$hctl" && test -e "/sys/class/scsi_device/$hctl"; }
check "the path is found again" wait_for 60 found
check "it is in use" wait_for 20 map_some_active "$naa"
path_up all
check "all paths return" wait_for 60 map_path_count "$naa" 4
check "0 errors" fio_verify_stop
check "four paths are in use" wait_for 40 map_all_active "$naa"

note "a device in use changes from NMP to HPP"
fio_verify_start "$nmp"
check "a rule is added" psactl core claimrule add -r 103 -P HPP -t device -d "$nmp" --config-string "pss=LB-IOPS"
check "plan shows the change" sh -c "psactl plan | grep -q 'HPP (LB-IOPS)'"
check "the rule is loaded" psactl core claimrule load
psactl core claiming reclaim -d "$nmp"
check "the device is claimed by HPP" wait_for 10 table_has "$nmp" queue-length
psactl inventory capture >/run/lab/host.json
check "explain of the captured host names the plug-in" sh -c "psactl explain $nmp --inventory /run/lab/host.json | grep -q 'LB-IOPS'"
agent_kill
agent_start
wait_for 20 agent_quiet
check "an agent that starts loads no table" json_has status '."Tables Loaded" == 0'
check "0 errors" fio_verify_stop
