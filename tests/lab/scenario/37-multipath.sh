#!/bin/bash
# The programs of multipath-tools, answered by dm-psa: under verified I/O, by the programs of dm-psa and by multipathd's
# own client (of Debian 13), which asks the socket.
# Guest: systemd
# shellcheck source=../lib/lab.sh
. /lab/lib/lab.sh

# The guest has multipath-tools, so the names are links in a directory of their own.
own=/run/lab/own
mkdir -p $own
for name in multipath multipathd mpathpersist; do ln -s /usr/sbin/dm-psa-multipath $own/$name; done
# The program of multipath-tools as a client.
theirs() { /usr/sbin/multipathd "$@"; }
wwids() { grep -c "^/$1/$" /etc/multipath/wwids; }
sectors() { blockdev --getsz "/dev/mapper/$1"; }
# Whether the output of a command is exactly this.
prints() { local wanted=$1; shift; [ "$("$@" 2>/dev/null)" = "$wanted" ]; }
map_gone() { not dmsetup info "$1"; }

lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1) wwid=$(lu_wwid 1) second=$(lu_naa 2)
check "systemd accepts the units" systemd-analyze verify --man=no dm-psa-multipath.socket dm-psa-multipath.service
exposure=$(systemd-analyze security --no-pager dm-psa-multipath.service 2>/dev/null | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
note "systemd-analyze security: $exposure"
check "the exposure of the unit is 2.7 or less" awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 2.7) }'

note "before the agent runs"
check "the socket listens" systemctl start dm-psa-multipath.socket
check "a query fails, and says why" test "$($own/multipathd show status | sed -n 2p | grep -c 'not running')" = 1
check "multipathd is not started by it" not systemctl -q is-active multipathd.service

# As on a host that had multipathd.
mkdir -p /etc/multipath
systemctl start dm-psa.service
check "maps appear" wait_for 30 maps_are 2
check "the agent settles" wait_for 60 agent_quiet
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
kept() { [ "$(wwids "$wwid")" = 1 ]; }
check "LVM can know the WWID" wait_for 30 kept
fio_verify_start "$naa"
dm_loads_start

note "the same answers to both clients"
# Between two calls, a group may become active.
same() { [ "$(theirs "$@")" = "$($own/multipathd "$@")" ]; }
for command in 'show maps' 'show maps json' 'show topology' 'show status' 'show wildcards'; do
    # shellcheck disable=SC2086
    check "$command" wait_for 20 same $command
done
check "a format" wait_for 20 same show paths raw format '%d %t %T %m'
check "the daemon is there" test "$(theirs show daemon | grep -c '^pid [0-9]* idle$')" = 1
theirs show topology
check_eq "four paths are ready" 4 "$(theirs show paths raw format '%m %T' | grep -c "^$naa ready$")"
check "libdmmp's kind of JSON" test "$(theirs show maps json | jq -r '.major_version, (.maps | length), ([.maps[].path_groups[].paths[]] | length)' | xargs)" = '0 2 8'
check "a session" test "$(printf 'show maps\nquit\n' | theirs -k 2>/dev/null | grep -c "$naa")" = 1
check "multipath -ll has the words of dmsetup" test "$($own/multipath -ll "$naa" | grep -c 'active ready  *running')" = 4
check "... and finds the map by a disk" prints "$($own/multipath -ll "$naa")" $own/multipath -ll "/dev/$(path_dev 3 1)"
check "a path is one" $own/multipath -c "/dev/$(path_dev 1 1)"
check "a map is usable" $own/multipath -C "$naa"

note "a controller fails"
path_down 1 2
check "I/O switches to the other controller" wait_for 20 map_uses "$naa" 1 3
faulty() { [ "$(theirs show paths raw format '%m %t %T' | grep -c "^$naa failed faulty$")" = 2 ]; }
check "both clients see it" wait_for 20 faulty
$own/multipath -ll "$naa"
path_up 1 2
check "the paths return" wait_for 20 map_all_active "$naa"

note "an admin fails a path"
check "a path is failed" prints ok theirs fail path "$(path_dev 1 1)"
check "the map has a failed path" wait_for 20 map_some_failed "$naa"
sleep_ms 6000
check "checks do not bring it back" map_some_failed "$naa"
check "it is reinstated" prints ok theirs reinstate path "$(path_dev 1 1)"
check "the paths return" wait_for 20 map_all_active "$naa"

note "a user other than root"
as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
check "may look" test "$(as_nobody $own/multipathd show maps | grep -c "$naa")" = 1
check_eq "may change nothing" "permission deny: need to be root" "$(as_nobody $own/multipathd del map "$second" | sed -n 2p)"

note "a map is flushed and made again"
check "a map in use is not flushed" not $own/multipath -f "$naa"
check "a map that nobody uses is flushed" $own/multipath -f "$second"
check "it is gone" map_gone "$second"
sleep_ms 6000
check "it stays away" map_gone "$second"
check "multipath makes it again" test "$($own/multipath -v1 "/dev/$(path_dev 1 2)")" = "$second"
check "it is there" wait_for 20 map_all_active "$second"
check "its flush by multipathd's own client" prints ok theirs del map "$second"
check "reconfigure makes it again" prints ok theirs reconfigure
check "it is there" wait_for 20 map_all_active "$second"

note "a LUN grows"
before=$(sectors "$naa")
lu_grow 1 128
check "the map has the new size when the command returns" prints ok theirs resize map "$naa"
check "it is larger" test "$(sectors "$naa")" -gt "$before"

note "what LVM reads"
$own/multipath -a "/dev/$(path_dev 1 1)"
check_eq "the WWID is in the file" 1 "$(wwids "$wwid")"
check "it is removed" $own/multipath -w "$wwid"
check_eq "the WWID is no longer in the file" 0 "$(wwids "$wwid")"

note "what is not there"
check_eq "persistent reservations are refused" 15 "$($own/mpathpersist --in -k "/dev/mapper/$naa" 2>/dev/null; echo $?)"
check_eq "no table was loaded but for the maps made again and the new size" 3 "$(dm_loads_count)"

note "a driver removes a map by itself, then its disks (HPE's)"
disks=$(for path in 1 2 3 4; do path_dev $path 2; done)
dmsetup message "$second" 0 fail_if_no_path
check "the map is removed" dmsetup remove --force "$second"
for disk in $disks; do echo 1 >"/sys/block/$disk/device/delete"; done
check "no map is left" wait_for 30 map_gone "$second"
sleep_ms 3000
check "... and none comes back" map_gone "$second"
check "0 errors" fio_verify_stop
check "multipathd was never started" not pidof -s multipathd
