#!/bin/bash
# Ten thousand disks of scsi_debug, dm-psad alone, single paths without maps: what its checks cost.
# ten_thousand.sh [LUNS OF EACH OF 40 TARGETS]
. /lab/lib/lab.sh
luns=${1:-250}
paths=$((luns * 40))

stock_udev_rules_off
path_rules_off
rival_prepare dm-psad
# So many disks keep udev busy for longer than all the rest takes, and checks do not need it.
udev_end
now_ms t0
# Four HBAs of ten targets. The disks are units of their own: a lone disk gets no map.
scsi_debug_array --hosts 4 --luns "$luns" --options 'num_tgts=10 vpd_use_hostno=1'
now_ms t1
note "$(ls -d /sys/class/scsi_disk/* | wc -l) disks after $(((t1 - t0) / 1000)) s"
cost_window 10000
idle=$((COST_BUSY_US * 100 / COST_MS))

listed() { [[ $(psactl status) == *"Paths: $paths"* ]]; }
rival_run dm-psad
cost_watch "$RIVAL_PID"
if wait_for 300 listed; then record discovery_ms $paths dm-psad 1 "$LAB_WAITED"; else record_late discovery_ms $paths dm-psad 1 300; fi
wait_for 120 agent_quiet || note "not settled within 120 s"
sleep_ms 20000
# To count commands by kind costs some time with each of them, so it is done before.
cost_opcodes_start
sleep_ms 60000
cost_opcodes /run/lab/opcodes
cost_threads "$RIVAL_PID" >/run/lab/before
cost_window 60000
cost_threads "$RIVAL_PID" >/run/lab/after
cost_checks /run/lab/opcodes "$COST_COMMANDS"; checks=$REPLY
record checks_per_s_x100 $paths dm-psad 1 $((checks * 100000 / COST_MS))
record core_permille $paths dm-psad 1 $((COST_CPU_US / COST_MS))
if [ "$checks" -gt 0 ]; then
    record check_cpu_us $paths dm-psad 1 $((COST_CPU_US / checks))
    record check_machine_us $paths dm-psad 1 $(((COST_BUSY_US - COST_MS * idle / 100) / checks))
fi
cost_memory "$RIVAL_PID"
record rss_kb $paths dm-psad 1 "$COST_RSS_KB"
record locked_kb $paths dm-psad 1 "$COST_LOCKED_KB"
paste /run/lab/before /run/lab/after | awk '$4 == $2 { printf "#   %-14s %d ms\n", $4, ($3 - $1) / 1000 }'
for _ in 1 2 3; do psactl_ms status; record status_ms $paths dm-psad 1 "$REPLY"; done
