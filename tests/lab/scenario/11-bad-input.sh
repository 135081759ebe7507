#!/bin/bash
# Devices that give wrong answers or none: the agent reports them, and no other device is affected.
# Guest: shared
. /lab/lib/lab.sh

lio_loop --lus 1 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
scsi_debug_array --hosts 2 --luns 2
agent_start
check "maps appear" wait_for 20 maps_are 3
check "the agent settles" wait_for 20 agent_quiet
a=$(scsi_debug_path 1 0) b=$(scsi_debug_path 2 0)
map_name() { psactl nmp device list -d "$1" --formatter=json | jq -r '.[0]."Device Mapper Name"'; }
map=$(map_name "$a")
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
psactl_ms nmp path list
answer=$REPLY
fio_verify_start "$naa"

if [ -e "/sys/kernel/debug/scsi_debug/$(path_hctl "$a")/error" ]; then
    note "one path answers TEST UNIT READY with HARDWARE ERROR"
    error_inject "$a" 2 100 0 0 0 2 4 44 0
    check "the path is dead, and explain shows the sense" wait_for 15 explains "$a" "4/44/00"
    check "the kernel has failed the path" wait_for 5 map_some_failed "$map"
    error_clear "$a" 2 0
    check "the path is back" wait_for 10 map_all_active "$map"

    note "one path does not answer: its command never returns"
    error_inject "$b" 0 1 0
    error_inject "$b" 3 1 ff
    check "explain names the reason" wait_for 30 explains "$b" "no answer"
    psactl_ms nmp path list
    check_le "psactl is not slower than before, within normal variation (ms)" $((answer * 3 + 200)) "$REPLY"
    check "the other devices are checked on time" json_has "nmp path list -d $naa" 'all(.[]; ."Group State" | startswith("active"))'
    error_clear "$b" 0 0
    error_clear "$b" 3 ff
    check "the path answers again" wait_for 90 explains "$b" "standby ("

    note "the kernel sets a path offline, as its error handling does when it gives up"
    hctl=$(path_hctl "$a")
    echo offline >"/sys/block/$a/device/state"
    check "explain says so, and names the remedy" wait_for 15 explains "$a" "dead" "echo running > /sys/bus/scsi/devices/$hctl/state"
    echo running >"/sys/bus/scsi/devices/$hctl/state"
    check "the path recovers" wait_for 15 map_all_active "$map"

    note "one path refuses REPORT TARGET PORT GROUPS, in either form"
    error_inject "$a" 2 100 a3 0 0 2 5 20 0
    echo offline >"/sys/block/$a/device/state"
    check "(before: the path is down)" wait_for 15 explains "$a" "dead"
    echo running >"/sys/block/$a/device/state"
    check "explain names the reason" wait_for 15 explains "$a" "5/20/00"
    error_clear "$a" 2 a3
    check "the path serves as before" wait_for 15 map_all_active "$map"

    note "one path refuses VPD page 83h"
    error_inject "$a" 2 100 12 0 0 2 5 24 0
    echo offline >"/sys/block/$a/device/state"
    check "(before: the path is down)" wait_for 15 explains "$a" "dead"
    echo running >"/sys/block/$a/device/state"
    check "explain names the reason" wait_for 15 explains "$a" "5/24/00"
    check "a path without an identity is not used" map_some_failed "$map"
    error_clear "$a" 2 12
    check "it is back when it reports its identity" wait_for 15 map_all_active "$map"
else
    note "skipped: this kernel's scsi_debug cannot inject errors"
fi

note "another program holds the disks invisibly: the kernel refuses the table"
c=$(scsi_debug_path 1 1) d=$(scsi_debug_path 2 1)
other=$(map_name "$c")
agent_stop
dmsetup remove --retry "$other"
python3 -c 'import os, sys, time
for disk in sys.argv[1:]: os.open("/dev/" + disk, os.O_RDONLY | os.O_EXCL)
open("/run/lab/holds", "w").write("x")
time.sleep(3600)' "$c" "$d" &
holder=$!
wait_for 20 test -s /run/lab/holds
agent_start
check "explain names the reason of the refusal" wait_for 20 explains "$c" "opened exclusively by another program"
check "the other maps are unchanged" map_all_active "$map"
kill $holder
check "the map is created once they are free" wait_for 70 dmsetup info "$other"

note "a disk disappears"
for ((i = 0; i < 5; i++)); do
    hctl=$(path_hctl "$b")
    path_delete "$b"
    path_rescan "$hctl"
    wait_for 10 test -n "$(scsi_debug_path 2 0)"
    b=$(scsi_debug_path 2 0)
done
check "the map has both paths again" wait_for 20 map_path_count "$map" 2
check "both paths are in use" wait_for 20 map_all_active "$map"

note "another program changes the map"
dmsetup suspend --noflush "$map"
check "a suspended map is resumed" wait_for 15 not sh -c "dmsetup info -c --noheadings -o suspended $map | grep -qi suspended"
dmsetup message "$map" 0 "fail_path $(<"/sys/block/$a/dev")"
check "a path that was failed by message is checked and used again" wait_for 10 map_all_active "$map"
dmsetup message "$map" 0 fail_if_no_path
check "queueing is switched on again" wait_for 15 map_queues "$map"
dmsetup remove --retry "$map"
check "a map that was removed is created again" wait_for 20 dmsetup info "$map"

note "the agent cannot open files: what it cannot read does not count as gone"
check "(before: all paths are in use)" wait_for 20 map_all_active "$map"
loads=$(psactl status | sed -n 's/ *Tables Loaded: //p')
limits=$(awk '/Max open files/ {print $4 ":" $5}' "/proc/$AGENT_PID/limits")
# The limit applies to descriptor numbers, not to their count: below 3 no number is free.
prlimit --pid "$AGENT_PID" --nofile="3:${limits#*:}"
tells_pause() { grep -q DISCOVERY_PAUSED $LAB_AGENT_LOG; }
for disk in "$a" "$b"; do echo change >"/sys/block/$disk/uevent"; done
udevadm settle -t 60
check "DISCOVERY_PAUSED is reported" wait_for 10 tells_pause
sleep_ms 11000
check "the map keeps both paths" map_path_count "$map" 2
check "both paths are in use" map_all_active "$map"
check "the other map uses its paths too" map_all_active "$naa"
prlimit --pid "$AGENT_PID" --nofile="$limits"
check "the agent answers again" wait_for 20 psactl status
check_eq "no table was loaded for that" "$loads" "$(psactl status | sed -n 's/ *Tables Loaded: //p')"
check "the agent settles again" wait_for 20 agent_quiet
check "0 errors on the other device" fio_verify_stop
check "the agent still runs" agent_alive
check "no panic in the log" not grep -q panicked $LAB_AGENT_LOG
