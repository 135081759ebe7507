#!/bin/bash
# Many devices: every map right; time, CPU and memory next to multipathd's. 08-scale.sh [LUS]
. /lab/lib/lab.sh
lus=${1:-100}

# The stock rules fork several programs for each disk; under emulation they are all that one would measure.
for r in 55-scsi-sg3_id 60-persistent-storage 63-md-raid-arrays 64-btrfs 69-lvm; do ln -sf /dev/null /etc/udev/rules.d/$r.rules; done
udevadm control --reload
scsi_debug_array --hosts 4 --luns "$lus"

cpu_ms() { local s; read -r -a s <"/proc/$1/stat"; REPLY=$(((s[13] + s[14]) * 1000 / $(getconf CLK_TCK))); }
memory() { awk '/VmRSS|VmLck/{printf "%s %d MB ", $1, $2 / 1024}' "/proc/$1/status"; }

note "dm-psa"
now_ms t0
agent_start
wait_for 120 maps_are "$lus" || true
now_ms t1
check "they settle" wait_for 60 agent_quiet
now_ms t2
ours=$((t1 - t0))
ours_memory=$(memory "$AGENT_PID")
note "dm-psa: all maps after $ours ms, settled after $((t2 - t0)) ms"
check_eq "as many maps as LUs" "$lus" "$(dmsetup ls --target multipath | wc -l)"
# Hosts 1 and 4 report optimized, 2 non-optimized, 3 standby.
right=0 wrong=''
for ((l = 0; l < lus; l++)); do
    map=$(psactl nmp device list -d "$(scsi_debug_path 1 $l)" --formatter=json | jq -r '.[0]."Device Mapper Name"')
    want=" $(scsi_debug_path 1 $l) $(scsi_debug_path 4 $l) $(scsi_debug_path 2 $l) $(scsi_debug_path 3 $l)"
    if [ "$(map_disks "$map")" = "$want" ]; then right=$((right + 1)); else wrong+=" $l:$map:$(map_disks "$map")"; fi
done
check_eq "every map has its own four disks, by state" "$lus" "$right"
[ -z "$wrong" ] || note "wrong:${wrong:0:500}"
cpu_ms "$AGENT_PID"; c0=$REPLY
sleep_ms 30000
cpu_ms "$AGENT_PID"; c1=$REPLY
ours_cpu=$((c1 - c0))
psactl_ms nmp path list
note "dm-psa: $ours_cpu ms of CPU in 30 s of checks; nmp path list takes $REPLY ms"
loads=$(psactl status | sed -n 's/ *Tables Loaded: //p')
check_eq "each map was loaded once" "$lus" "$loads"
dm_loads_start
agent_stop
now_ms t0
agent_start
check "it settles after a restart" wait_for 60 agent_quiet
now_ms t1
ours_restart=$((t1 - t0))
check_eq "a restart loads no table" 0 "$(dm_loads_count)"
note "dm-psa: restart until settled $ours_restart ms"
agent_stop
dmsetup remove_all --force >/dev/null 2>&1
udevadm settle -t 600

note "multipathd"
now_ms t0
peer_multipathd_start
wait_for 240 peer_maps "$lus" || true
now_ms t1
theirs=$((t1 - t0))
wait_for 60 peer_answers || true
theirs_memory=$(memory "$PEER_PID")
note "multipathd: all maps after $theirs ms"
sleep_ms 10000
cpu_ms "$PEER_PID"; c0=$REPLY
sleep_ms 30000
cpu_ms "$PEER_PID"; c1=$REPLY
theirs_cpu=$((c1 - c0))
note "multipathd: $theirs_cpu ms of CPU in 30 s of checks"
# multipathd checks a healthy path every 5 s at first and every 20 s in the end, dm-psa every 5 s.
note "report ($lus LUs x 4 paths)      dm-psa | multipathd"
note "  start until all maps, ms       $ours | $theirs"
note "  CPU in 30 s of checks, ms      $ours_cpu | $theirs_cpu"
note "  memory                         $ours_memory| $theirs_memory"
