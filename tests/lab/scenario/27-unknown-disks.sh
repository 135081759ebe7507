#!/bin/bash
# Maps with disks that the agent does not know: foreign disks, and disks that udev has not processed. The agent does not
# change such a map, and an agent that stops does not make an outage longer.
# Guest: shared
. /lab/lib/lab.sh

lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1) other=$(lu_naa 2)

note "maps over loop devices, which stand for NVMe disks and DASDs"
modprobe loop
for n in 1 2 3; do
    truncate -s 64M /dev/shm/foreign$n
    losetup /dev/loop$n /dev/shm/foreign$n
done
foreign() { # NAME DISK...
    dmsetup create "$1" --uuid "mpath-$1" --table "$(mpath_table '1 queue_if_no_path' 0 "${*:2}")"
}
foreign closed loop1
foreign open loop2
exec 7<>/dev/mapper/open
# The map of the second LU has a foreign disk among its members.
dmsetup create mixed --uuid "mpath-$(lu_wwid 2)" --table "$(mpath_table '1 queue_if_no_path' 0 "$(path_dev 1 2) loop3 $(path_dev 3 2)")"
table() { dmsetup table "$1"; dmsetup status --noflush "$1"; }
before_closed=$(table closed) before_open=$(table open) before_mixed=$(table mixed)
dm_messages_start
agent_start
check "its own map appears" wait_for 60 map_path_count "$naa" 4
check "it settles" wait_for 20 agent_quiet
for map in closed open mixed; do
    check "$map is known as foreign" wait_for 20 explains $map "foreign: its map holds loop"
done
# Wait for more than one check of each path.
sleep_ms 6000
path_down 1 3
check "paths of its own map fail" wait_for 20 map_some_failed "$naa"
sleep_ms 3000
path_up 1 3
check "and return" wait_for 20 map_all_active "$naa"
check_eq "the closed foreign map is as it was" "$before_closed" "$(table closed)"
check_eq "the open one" "$before_open" "$(table open)"
check_eq "the mixed one" "$before_mixed" "$(table mixed)"
check "it is told" tells MAP_FOREIGN 3
exec 7>&-
dmsetup remove --retry open
dmsetup remove --retry closed
dmsetup remove --retry mixed
check "without the foreign disk the second LU gets its map" wait_for 40 map_path_count "$other" 4
check "it settles" wait_for 20 agent_quiet

note "an agent that starts before udev has processed the disks"
agent_stop
udevadm settle
udevd=$(pidof systemd-udevd)
kill -STOP $udevd
for port in 1 2 3 4; do
    for lu in 1 2; do rm -f "/run/udev/data/b$(<"/sys/block/$(path_dev $port $lu)/dev")"; done
done
exec 7<>"/dev/mapper/$naa"
before=$(table "$naa")
dm_loads_start
dm_messages_start
agent_start
sleep_ms 6000
check_eq "nothing is done to an open map" "$before" "$(table "$naa")"
check "nor to a closed one" map_all_active "$other"
check_eq "no table is loaded" 0 "$(dm_loads_count)"
check_eq "no message is sent" 0 "$(dm_messages_count)"
kill -CONT $udevd
udevadm trigger --subsystem-match=block --action=add
udevadm settle
check "it settles when udev has come to them" wait_for 60 agent_quiet
sleep_ms 6000
check_eq "no table is loaded" 0 "$(dm_loads_count)"
check_eq "no message is sent" 0 "$(dm_messages_count)"
exec 7>&-

note "partitions on a LUN that goes away"
# A DOS partition table with two partitions of 16 MiB.
python3 - "/dev/mapper/$other" <<'MBR'
import struct, sys
entry = lambda start: struct.pack("<B3xB3xII", 0, 0x83, start, 32768)
table = bytes(446) + entry(2048) + entry(34816) + bytes(32) + b"\x55\xaa"
with open(sys.argv[1], "r+b") as disk:
    disk.write(table)
MBR
kpartx -a -p -part "/dev/mapper/$other"
check "it has partitions" wait_for 20 test -b "/dev/mapper/$other-part2"
exec 8<"/dev/mapper/$other-part1"
lu_remove 2
sleep_ms 10000
check "while one is open the map stays" dmsetup info "$other"
exec 8<&-
gone() { ! dmsetup info "$1" >/dev/null 2>&1; }
check "closed, the map goes" wait_for 60 gone "$other"
check "and its partitions" gone "$other-part1"
lu_add 2
check "mapped again, it is there again" wait_for 60 map_path_count "$other" 4
check "it settles" wait_for 20 agent_quiet

note "all paths down, a reader waits, and the agent is killed and started again and again"
agent_stop
agent_setting 'apd_timeout_ms = 12000'
agent_start
check "it settles" wait_for 20 agent_quiet
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
now_ms began
(disk_reads "mapper/$naa" >/run/lab/read 2>&1; echo "status $?" >>/run/lab/read) &
for _ in 1 2 3; do
    sleep_ms 2000
    agent_kill
    agent_start
done
check "the wait ends" wait_for 60 grep -q 'status 1' /run/lab/read
now_ms ended
note "the read failed $((ended - began)) ms after the paths"
check_ge "no sooner than the APD time" 10000 $((ended - began))
path_up all
check "all paths are back" wait_for 20 map_all_active "$naa"
check "it queues again" wait_for 10 map_queues "$naa"
