#!/bin/bash
# An admin changes PSP, preferred path, ranks, round robin and path states of a map under verified I/O.
. /lab/lib/lab.sh

lio_loop --lus 1 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 20 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 20 agent_quiet
name() { psactl core path list -p "$(path_dev "$1" 1)" --formatter=json | jq -r '.[0]."Runtime Name"'; }
port1=$(name 1) port2=$(name 2) port4=$(name 4)
# The letters of the map's groups and paths, without the letter for the group in use: "AA AA".
groups() { map_letters "$naa" | sed 's/.://g'; }
has_groups() { [ "$(groups)" = "$1" ]; }
selector() { [[ $(dmsetup table "$naa") == *" $1 "* ]]; }
fio_verify_start "$naa"

note "FIXED: one path is in use, with failback to the preferred one"
psactl nmp device set -d "$naa" -P VMW_PSP_FIXED
check "each path has its own group" wait_for 10 has_groups "A A A A"
psactl nmp psp fixed deviceconfig set -d "$naa" -p "$port2"
check "the preferred path is used" wait_for 5 map_uses "$naa" 1 2
psactl nmp psp fixed deviceconfig get -d "$naa"
path_down 2
check "another path is used while it is down" wait_for 10 map_uses "$naa" 1 1
path_up 2
check "the preferred path is used again" wait_for 10 map_uses "$naa" 1 2

note "MRU with ranks"
psactl nmp device set -d "$naa" -P VMW_PSP_MRU
check "the groups are by state" wait_for 10 has_groups "AA AA"
psactl nmp psp generic pathconfig set -p "$port1" -c rank=3
check "the path with the rank has its own group" wait_for 10 has_groups "A A AA"
check "that group is used" wait_for 5 map_uses "$naa" 1 1
check_eq "the rank is shown" "rank: 3}" "$(psactl nmp psp generic pathconfig get -p "$port1" | sed 's/.*rank/rank/')"
psactl nmp psp generic pathconfig set -p "$port1" -c rank=0

note "RR"
psactl nmp device set -d "$naa" -P VMW_PSP_RR
check "the selector is round-robin" wait_for 10 selector round-robin
psactl nmp psp roundrobin deviceconfig set -d "$naa" --type iops --iops 1 --useano true
check "all paths are in one group" wait_for 10 has_groups "AAAA"
psactl nmp psp roundrobin deviceconfig get -d "$naa"
psactl nmp psp roundrobin deviceconfig set -d "$naa" --type latency --useano false
check "policy latency uses the selector service-time" wait_for 10 selector service-time
check "the groups are by state" wait_for 5 has_groups "AA AA"

note "a path is turned off and on"
psactl core path set -p "$port1" --state off
check "the path is off" wait_for 5 map_some_failed "$naa"
agent_kill
agent_start
check "it is still off after a restart" wait_for 10 explains "$port1" "off"
agent_checks 2
check "it is still off after two checks" map_some_failed "$naa"
psactl core path set -p "$port1" --state active
check "the path is on" wait_for 5 map_all_active "$naa"
for p in 1 2 3; do psactl core path set -p "$(name $p)" --state off; done
check "the last path cannot be turned off" not psactl core path set -p "$port4" --state off
for p in 1 2 3; do psactl core path set -p "$(name $p)" --state active; done
check "all paths are on" wait_for 10 map_all_active "$naa"

note "permissions and refusals"
check "another user can list" setpriv --reuid 65534 --clear-groups psactl nmp device list -d "$naa"
check "another user cannot change settings" not setpriv --reuid 65534 --clear-groups psactl nmp device set -d "$naa" -P VMW_PSP_MRU
check "a device in use cannot be turned off" not psactl core device set -d "$naa" --state off
psactl nmp device set -d "$naa" --default
check "the selector is the default again" wait_for 10 selector service-time
check "0 errors" fio_verify_stop

note "the device is turned off and on"
check "a device that is not in use can be turned off" wait_for 15 psactl core device set -d "$naa" --state off
check "the map is gone" wait_for 10 not dmsetup info "$naa"
agent_kill
agent_start
wait_for 20 agent_quiet
check "it is still off after a restart" not dmsetup info "$naa"
check_eq "it is listed as off" off "$(psactl core device list -d "$naa" --formatter=json | jq -r '.[0].Status')"
psactl core device set -d "$naa" --state on
check "the map is back" wait_for 10 test -b "/dev/mapper/$naa"
