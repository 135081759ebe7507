#!/bin/bash
# The agent's own program is on a map, its log is blocked, and all paths fail, as on a host with its root disk in the
# SAN.
. /lab/lib/lab.sh

# A program with debug information is large.
lio_loop --lus 1 --size 320 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 10 agent_quiet
agent_stop

own=/run/own
mkdir $own
check "a file system can be created on it" mkfs.ext4 -q "/dev/mapper/$naa"
mount "/dev/mapper/$naa" $own
program=$(command -v dm-psad)
mapfile -t libraries < <(ldd "$program" | grep -o '/[^ ]*')
cp -L "$program" "${libraries[@]}" $own && head -c 4M /dev/urandom >$own/unread || lab_die "the program and its libraries do not fit on the disk"
loader=$(printf '%s\n' "${libraries[@]##*/}" | grep '^ld-')

# From here on the agent's output goes through a pipe whose reader may stop.
mkfifo /run/lab/log
cat /run/lab/log >>$LAB_AGENT_LOG &
journal=$!
RUST_LOG=info $own/"$loader" --library-path $own $own/dm-psad 2>/run/lab/log &
AGENT_PID=$!
check "the agent runs from that disk" wait_for 30 agent_answers
check "the agent settles" wait_for 30 agent_quiet
check_eq "all mapped pages of the program and its libraries are in memory (KiB that are not)" 0 "$(
    awk '/^[0-9a-f]+-/ { own = $2 ~ /^r-/ && $6 ~ "^/run/own/" } own && /^Size:/ { n += $2 } own && /^Rss:/ { n -= $2 } END { print n }' \
        /proc/$AGENT_PID/smaps
)"

kill -STOP $journal
check "its log is blocked" python3 - <<'FILL'
import os
pipe = os.open("/run/lab/log", os.O_WRONLY | os.O_NONBLOCK)
for size in (4096, 1):
    try:
        while True:
            os.write(pipe, b"\n" * size)
    except BlockingIOError:
        pass
FILL
sync
echo 3 >/proc/sys/vm/drop_caches
path_down all
check "all paths are failed" wait_for 10 map_no_active "$naa"
cat $own/unread >/run/lab/unread &
reader=$!
echo 1 >/proc/sys/vm/drop_caches
sleep_ms 15000
check "nothing can be read from that disk" kill -0 $reader
check "the agent answers psactl" json_has "storage core device list -d $naa" '.[0].Status == "dead"'
path_up 3
check "the first path that returns is reinstated" wait_for 10 map_some_active "$naa"
path_up all
check "the other paths are reinstated" wait_for 10 map_all_active "$naa"
wait $reader
check "the waiting read returned the correct data" cmp $own/unread /run/lab/unread
check "the agent settles" wait_for 20 agent_quiet
kill -CONT $journal
check "the log continues" wait_for 10 grep -q PATH_STATE $LAB_AGENT_LOG
agent_stop
umount $own
