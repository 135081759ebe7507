#!/bin/bash
# Other programs and admins change maps, paths, udev, the clock and the agent: everything converges and is reported.
. /lab/lib/lab.sh

lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1) other=$(lu_naa 2)
note "maps of another program"
dmsetup create byhand --uuid OTHER-1 --table "$(mpath_table '1 queue_if_no_path' 0 "$(path_dev 1 1) $(path_dev 2 1) $(path_dev 3 1)")"
dmsetup create mpath-wrong-name --uuid "mpath-$(lu_wwid 2)" --table "$(mpath_table 0 0 "$(path_dev 1 2)")"
agent_start
check "a map with another UUID keeps its disks" wait_for 20 explains "$naa" "left alone"
check "explain names that map" explains "$naa" "byhand"
check "a map with our UUID is taken over" wait_for 20 map_path_count mpath-wrong-name 4
dmsetup remove --retry byhand
check "disks that are free again get their map" wait_for 30 map_path_count "$naa" 4
dmsetup rename mpath-wrong-name "$other"
check "maps appear" wait_for 60 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
check "the map has a node" wait_for 60 test -b "/dev/mapper/$naa"
dm_loads_start
dm_messages_start
loads() { REPLY=$(dm_loads_count); }
is_live() { [[ $(dmsetup info -c --noheadings -o suspended "$1") == Active ]]; }
# The agent checks maps closely once a minute, and for suspension every ten seconds.
well() { wait_for 20 is_live "$1" && wait_for 70 map_path_count "$1" 4 && wait_for 20 map_all_active "$1" && wait_for 20 agent_quiet; }
# A table of this map without one of its paths.
short_table() { mpath_table '1 queue_if_no_path' '1 alua' "$(path_dev 1 1)" "$(path_dev 3 1) $(path_dev 4 1)"; }
event() { # CODE WHAT...: the command makes the agent report it
    local before
    count_events "$1"
    before=$REPLY
    "${@:3}"
    check "$2: $1 is reported" wait_for 20 has_events "$1" $((before + 1))
}
fio_verify_start "$naa" "$other"

note "a map is renamed"
dmsetup rename "$naa" renamed
check "the map is listed with its new name" wait_for 10 json_has "nmp device list -d $naa" '.[0]."Device Mapper Name" == "renamed"'
path_down 1
check "a path that fails is found" wait_for 10 map_some_failed renamed
path_up 1
check "it is reinstated" wait_for 10 map_all_active renamed
dmsetup rename renamed "$naa"
check "the map is listed with its old name again" wait_for 10 json_has "nmp device list -d $naa" ".[0].\"Device Mapper Name\" == \"$naa\""

note "a map is suspended"
loads
before=$REPLY
event MAP_ACTION "a map that is left suspended" dmsetup suspend --noflush "$naa"
check "it is resumed" wait_for 10 is_live "$naa"
loads
check_eq "no table is loaded" "$before" "$REPLY"

note "a table is replaced, with a path missing"
short=$(short_table)
event TABLE_RELOAD "a foreign table" sh -c "dmsetup load '$naa' --table '$short' && dmsetup resume --noflush '$naa'"
check "all paths are back" well "$naa"

check "0 errors so far" fio_verify_stop

note "a map is removed"
event MAP_GONE "a map that was removed" dmsetup remove --retry "$other"
check "the map is created again" wait_for 30 map_path_count "$other" 4

note "a table that the kernel refuses: another program has a path open exclusively"
disk=$(path_dev 1 2)
agent_stop
dmsetup remove --retry "$other" 2>/dev/null
python3 -c "
import os, signal
fd = os.open('/dev/$disk', os.O_RDONLY | os.O_EXCL)
open('/run/lab/holds', 'w').write('x')
signal.pause()" &
holder=$!
wait_for 20 test -s /run/lab/holds
agent_start
check "explain names the reason" wait_for 30 explains "$other" "in use"
count_events MAP_ACTION_FAILED
sleep_ms 10000
first=$REPLY
count_events MAP_ACTION_FAILED
note "$((REPLY - first)) attempts in 10 s, $REPLY in all"
check_le "the attempts become less frequent (attempts)" 6 "$REPLY"
kill $holder
check "the map is created when the path is free" wait_for 70 map_path_count "$other" 4
check "all its paths are in use" well "$other"

note "a path returns as another disk"
exec 7<"/dev/$(path_dev 2 1)"
disk=$(path_dev 2 1) hctl=$(path_hctl "$disk")
event PATH_REMOVED "a deleted path" path_delete "$disk"
check "the old disk leaves the table" wait_for 10 map_path_count "$naa" 3
path_rescan "$hctl"
check "the new disk is found" wait_for 10 path_is 2 1
exec 7<&-
note "$disk is $(path_dev 2 1) now"
check "it is another disk" [ "$(path_dev 2 1)" != "$disk" ]
check "it is in the table" well "$naa"

note "a host adapter disappears and returns"
port_remove 3
check "its path leaves the first map" wait_for 20 map_path_count "$naa" 3
check "its path leaves the second map" wait_for 20 map_path_count "$other" 3
port_add 3
check "the path of the first map is back" well "$naa"
check "the path of the second map is back" well "$other"

note "udevd is stopped, and events are lost"
udevd=$(pidof systemd-udevd)
kill -STOP $udevd
disk=$(path_dev 1 1) hctl=$(path_hctl "$disk")
path_delete "$disk"
check "a removal needs no udev" wait_for 10 map_path_count "$naa" 3
path_rescan "$hctl"
sleep_ms 1000
kill -CONT $udevd
check "disks that appeared meanwhile are used once udevd continues" well "$naa"
kill $udevd
wait_for 20 not pidof systemd-udevd
disk=$(path_dev 4 1) hctl=$(path_hctl "$disk")
path_delete "$disk"
check "a removed path leaves the map without udevd" wait_for 10 map_path_count "$naa" 3
path_rescan "$hctl"
wait_for 10 path_is 4 1
sleep_ms 2000
map_path_count "$naa" 4 && note "the path is back before udevd is"
/usr/lib/systemd/systemd-udevd --daemon
check "all paths are back with udevd" well "$naa"
path_down 2
check "checks continue" wait_for 15 json_has "nmp path list -d $naa" 'any(.[]; ."Group State" == "dead")'
path_up 2
check "the path is back" well "$naa"

# Changes that a stopped or absent agent misses.
meanwhile() {
    disk=$(path_dev 1 1) hctl=$(path_hctl "$disk")
    gone=$(<"/sys/block/$disk/dev")
    path_delete "$disk"
    alua_set 1 ano 2
    alua_set 2 ao 2
    lu_grow 2 $((size += 8))
    for p in 1 2 3 4; do echo 1 >"/sys/block/$(path_dev $p 2)/device/rescan"; done
    path_down 4
}
learned() {
    check "$1: the deleted path leaves its map" wait_for 20 not map_has "$naa" "$gone"
    check "$1: the other controller is followed" wait_for 20 map_uses "$other" 2 3
    check "$1: the map grows with its LU" wait_for 30 eval "[ \"\$(blockdev --getsz /dev/mapper/$other)\" = $((size * 2048)) ]"
    check "$1: a path that failed is listed as dead" wait_for 20 json_has "nmp path list -d $naa" 'any(.[]; ."Group State" == "dead")'
    path_rescan "$hctl"
    path_up 4
    alua_set 1 ao 2
    alua_set 2 ano 2
    check "$1: all paths of the first map are in use again" well "$naa"
    check "$1: all paths of the second map are in use again" well "$other"
}
size=64
check "the other map has a node" wait_for 60 test -b "/dev/mapper/$other"
fio_verify_start "$naa" "$other"
note "the agent is stopped (SIGSTOP) while paths and LUs change"
kill -STOP "$AGENT_PID"
meanwhile
sleep_ms 5000
kill -CONT "$AGENT_PID"
learned "after SIGCONT"
note "no agent runs while paths and LUs change"
agent_stop
meanwhile
agent_start
learned "after a start"

note "the clock jumps one day ahead and back"
loads
before=$REPLY
date -s '+1 day' >/dev/null
path_down 1
check "a path that fails is listed as dead" wait_for 10 json_has "nmp path list -d $naa" 'any(.[]; ."Group State" == "dead")'
path_up 1
check "its return is found" wait_for 5 map_all_active "$naa"
date -s '-1 day' >/dev/null
path_down 1
check "the same after the jump back" wait_for 10 json_has "nmp path list -d $naa" 'any(.[]; ."Group State" == "dead")'
path_up 1
check "its return is found after the jump back" wait_for 5 map_all_active "$naa"
loads
check_eq "no table was loaded" "$before" "$REPLY"

note "killed between load and resume"
agent_kill
table=$(dmsetup table "$naa" | sed 's/ retain_attached_hw_handler//; s/ multipath 4 / multipath 3 /')
dmsetup suspend --noflush "$naa"
check "the next table is loaded" dmsetup load "$naa" --table "$table"
loads
before=$REPLY
agent_start
check "the next agent resumes the map" wait_for 10 is_live "$naa"
wait_for 10 agent_quiet
loads
check_eq "no table was loaded" "$before" "$REPLY"
check "all paths are in use" well "$naa"
agent_kill
dmsetup load "$naa" --table "$table"
loads
before=$REPLY
agent_start
wait_for 10 agent_quiet
loads
note "with a table loaded and not live: $((REPLY - before)) loads, $(dmsetup info -c --noheadings -o tables_loaded "$naa")"
check "all paths are in use" well "$naa"

note "another program suspends the map, or replaces its table, once a second for 15 s"
loads
before=$REPLY messages=$(dm_messages_count)
count_events MAP_ACTION
actions=$REPLY
for ((i = 0; i < 15; i++)); do dmsetup suspend --noflush "$naa"; sleep_ms 900; done
check "all paths are in use in the end" well "$naa"
loads
count_events MAP_ACTION
note "15 suspends: $((REPLY - actions)) actions, $(($(dm_loads_count) - before)) loads, $(($(dm_messages_count) - messages)) messages"
check_le "no more actions than suspends" 16 $((REPLY - actions))
short=$(short_table)
tables_loaded() { psactl status --formatter=json | jq '."Tables Loaded"'; }
before=$(tables_loaded) foreign=0
# If the agent resumes the map at the same moment, the kernel refuses this resume (dm_swap_table: the map is not suspended any
# more) and drops the table: that round does not count.
for ((i = 0; i < 30 && foreign < 15; i++)); do
    dmsetup load "$naa" --table "$short" && dmsetup resume --noflush "$naa" && foreign=$((foreign + 1))
    sleep_ms 900
done
check_eq "15 foreign tables were loaded" 15 $foreign
ours=$(($(tables_loaded) - before))
check_le "the agent answers with fewer loads" 15 "$ours"
check "the table is correct in the end" well "$naa"
note "after $LAB_WAITED ms"
loads
before=$REPLY
for ((i = 0; i < 8; i++)); do
    dmsetup rename "$naa" other-name
    sleep_ms 500
    dmsetup rename other-name "$naa"
    sleep_ms 500
done
check "all paths are in use after 16 renames" well "$naa"
loads
check_eq "no table was loaded" "$before" "$REPLY"
check "0 errors" fio_verify_stop

