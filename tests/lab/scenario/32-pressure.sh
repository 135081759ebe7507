#!/bin/bash
# Swap on a map that queues, memory pressure, and all paths down for some seconds: the agent reinstates them without
# reading a page of its own from disk, and everything continues. 32-pressure.sh [OUTAGES [SECONDS]]
. /lab/lib/lab.sh
outages=${1:-3} long=${2:-8}

# The store of scsi_debug is in kernel memory: a tmpfs file would be swapped to itself.
scsi_debug_array --hosts 2 --luns 1 --size 320 --options 'delay=0'
agent_start
check "a map appears" wait_for 60 maps_are 1
check "the agent settles" wait_for 30 agent_quiet
map=$(psactl core device list --formatter=json | jq -r '[.[] | select(."Multipath Plugin" == "NMP")][0].Device')
dm=/dev/mapper/$map
check "the map has a node" wait_for 90 test -b "$dm"
disks=("$(scsi_debug_path 1 0)" "$(scsi_debug_path 2 0)")
check "a swap area can be created on it" mkswap "$dm"
check "the swap area can be used" swapon "$dm"

# Take memory away as huge pages that nothing else can use, so that the rest is too small for the hog and all others.
echo 3 >/proc/sys/vm/drop_caches
available=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
echo $(((available - 160) / 2)) >/proc/sys/vm/nr_hugepages
left=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
note "available: $available MiB, then $left MiB"

# Each page contains its number and round, and is verified in the next round.
cat >/run/lab/hog.py <<'P'
import mmap, struct, sys
pages, result = int(sys.argv[1]) * 256, sys.argv[2]
memory = mmap.mmap(-1, pages * 4096)
wrong = rounds = 0
with open(result, "r+b", buffering=0) as out:
    while True:
        for page in range(pages):
            at = page * 4096
            if rounds and struct.unpack_from("<QQ", memory, at) != (page, rounds):
                wrong += 1
            struct.pack_into("<QQ", memory, at, page, rounds + 1)
            if page % 4096 == 0:
                out.seek(0)
                out.write(b"%d %d %d\n" % (rounds, page, wrong))
        rounds += 1
P
# Takes the paths away and gives them back. It must not wait for a page that is swapped to those paths.
cat >/run/lab/outage.py <<'P'
import ctypes, os, sys, time
long, result, disks = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
assert ctypes.CDLL(None).mlockall(3) == 0
states = [os.open(f"/sys/block/{disk}/device/state", os.O_RDWR) for disk in disks]
swap = [os.open(f"/sys/class/block/{disk}/stat", os.O_RDONLY) for disk in disks]
out = os.open(result, os.O_WRONLY)
def done():
    return sum(int(os.pread(fd, 400, 0).split()[n]) for fd in swap for n in (0, 4))
def state(value):
    for fd in states:
        os.pwrite(fd, value, 0)
before = done()
time.sleep(1)
moving = done() - before
state(b"offline\n")
time.sleep(1)
before = done()
time.sleep(long - 1)
during = done() - before
back = time.monotonic()
state(b"running\n")
before = done()
# The bound ends a wait for what does not come.
while done() == before and time.monotonic() < back + 120:
    time.sleep(0.01)
after = int((time.monotonic() - back) * 1000) if done() != before else -1
if after < 0:
    with open("/sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs", "w") as limit:
        limit.write("1")
    with open("/proc/sysrq-trigger", "w") as key:
        key.write("w")
os.write(out, b"%d %d %d\n" % (moving, during, after))
P
hog_at() { read -r rounds page wrong </run/lab/hog; }
hog_moves() { hog_at; [ "$rounds.$page" != "$1" ]; }
# counted NAME N: whether the counter in /proc/vmstat is at least N, in pages
counted() {
    local name value
    while read -r name value; do [ "$name" != "$1" ] || [ "$value" -lt "$2" ] || return 0; done </proc/vmstat
    return 1
}
# Sets REPLY to the major page faults of a process: field 12 of its stat.
major_faults() { local stat; stat=$(<"/proc/$1/stat"); stat=${stat##*) }; read -ra stat <<<"$stat"; REPLY=${stat[9]}; }

agent_pid=$AGENT_PID
major_faults "$agent_pid"
faults=$REPLY
printf '%-64s' '0 0 0' >/run/lab/hog
python3 /run/lab/hog.py $((left + 120 < 300 ? left + 120 : 300)) /run/lab/hog &
hog=$!
echo 1000 >/proc/$hog/oom_score_adj
check "memory is short: pages are swapped out" wait_for 30 counted pswpout 5000
check "pages are swapped in again" wait_for 30 counted pswpin 2000
major_faults "$agent_pid"
note "the agent's major faults so far: $REPLY, $faults of them from its start; swapped: $(awk '/^SwapTotal:/ { t = $2 } /^SwapFree:/ { print int((t - $2) / 1024) }' /proc/meminfo) MiB"
count_events APD_START
apd=$REPLY
for ((i = 1; i <= outages; i++)); do
    : >/run/lab/outage
    timeout 300 python3 /run/lab/outage.py "$long" /run/lab/outage "${disks[@]}"
    read -r moving during after </run/lab/outage
    note "outage $i: $moving requests in the second before, $during from one second after the paths went, the first after the paths $after ms"
    check_ge "outage $i: swapping ran before it" 1 "$moving"
    check_ge "outage $i: swapping continues (ms)" 0 "$after"
    check "outage $i: all paths are in use" wait_for 30 map_all_active "$map"
    hog_at
    check "outage $i: the process that was swapped continues" wait_for 60 hog_moves "$rounds.$page"
done
check "APD_START is reported for each outage" has_events APD_START $((apd + outages))
check "the agent was not restarted" agent_alive
major_faults "$agent_pid"
check_eq "the agent waited for no page (major faults)" "$faults" "$REPLY"
grep -E '^Vm(Lck|Swap)' /proc/$agent_pid/status
check_eq "no page of the agent is swapped (kB)" 0 "$(awk '/^VmSwap:/ { print $2 }' /proc/$agent_pid/status)"
check "psactl answers" wait_for 30 agent_answers
hog_at
check_eq "no page was swapped in with wrong data" 0 "$wrong"
note "$rounds rounds of the hog"
check "the hog runs" running $hog
kill -9 $hog
echo 0 >/proc/sys/vm/nr_hugepages
check "swapping to the map can be ended" timeout 120 swapoff "$dm"
check "the agent settles" wait_for 30 agent_quiet
