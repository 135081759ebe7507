#!/bin/bash
# Many devices: every map is correct, each table is loaded once, and a restart loads none. tests/bench compares with
# multipathd.
# 08-scale.sh [LUS]
. /lab/lib/lab.sh
lus=${1:-100}

# The stock rules fork several programs for each disk; under emulation they would dominate every measurement.
for r in 55-scsi-sg3_id 60-persistent-storage 63-md-raid-arrays 64-btrfs 69-lvm; do ln -sf /dev/null /etc/udev/rules.d/$r.rules; done
udevadm control --reload
scsi_debug_array --hosts 4 --luns "$lus"

cpu_ms() { local s; read -r -a s <"/proc/$1/stat"; REPLY=$(((s[13] + s[14]) * 1000 / $(getconf CLK_TCK))); }
memory() { awk '/VmRSS|VmLck/{printf "%s %d MB ", $1, $2 / 1024}' "/proc/$1/status"; }

now_ms t0
agent_start
wait_for 120 maps_are "$lus" || true
now_ms t1
check "the agent settles" wait_for 60 agent_quiet
now_ms t2
note "dm-psa: all maps after $((t1 - t0)) ms, $(memory "$AGENT_PID"), settled after $((t2 - t0)) ms"
check_eq "every LU has a map" "$lus" "$(dmsetup ls --target multipath | wc -l)"
# The paths of each map in the order of its table, read without a program per map, which would take minutes.
declare -A disk_of held
while read -r major minor _ disk; do disk_of[$major:$minor]=$disk; done </proc/partitions
while read -r -a words; do
    disks=''
    for word in "${words[@]:3}"; do [[ $word != [0-9]*:[0-9]* ]] || disks+=" ${disk_of[$word]}"; done
    held[$disks]=1
done < <(dmsetup table --target multipath)
# Hosts 1 and 4 report optimized, 2 non-optimized, 3 standby.
hosts=()
for h in 1 4 2 3; do hosts+=("$(path_hctl "$(scsi_debug_path $h 0)")"); done
right=0 wrong=''
for ((l = 0; l < lus; l++)); do
    want=''
    for h in "${hosts[@]%%:*}"; do
        disk=("/sys/bus/scsi/devices/$h:0:0:$l/block/"*)
        want+=" ${disk##*/}"
    done
    if [ -n "${held[$want]:-}" ]; then right=$((right + 1)); else wrong+=" $l:$want"; fi
done
check_eq "every map has its own four disks, by state" "$lus" "$right"
[ -z "$wrong" ] || note "wrong:${wrong:0:500}; maps hold:${!held[*]}"
cpu_ms "$AGENT_PID"; c0=$REPLY
sleep_ms 30000
cpu_ms "$AGENT_PID"; c1=$REPLY
psactl_ms nmp path list
note "dm-psa: $((c1 - c0)) ms of CPU in 30 s of checks; nmp path list takes $REPLY ms"
loads=$(psactl status | sed -n 's/ *Tables Loaded: //p')
check_eq "one table was loaded for each map" "$lus" "$loads"
dm_loads_start
agent_stop
now_ms t0
agent_start
check "the agent settles after a restart" wait_for 60 agent_quiet
now_ms t1
check_eq "a restart loads no table" 0 "$(dm_loads_count)"
note "dm-psa: restart until settled $((t1 - t0)) ms"
agent_stop
