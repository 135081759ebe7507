#!/bin/bash
# How the cost of a command and the memory of a path grow with the number of paths, and the share of one core that the
# checks take. All in one guest, because another emulated guest may be twice as fast.
# growth.sh LUS...     dm-psad alone, four paths for each LU
# A phase that takes longer than its limit is recorded as late.
LAB_PATIENCE=1
. /lab/lib/lab.sh

stock_udev_rules_off
path_rules_off
rival_prepare dm-psad
modprobe -a dm_multipath dm_service_time dm_round_robin dm_queue_length scsi_dh_alua
# Thousands of disks keep udev busy for longer than all other steps take, and checks do not need it.
udev_end

# For new maps the facts of their paths are read once more, which is not part of the checks.
at_rest() {
    local before
    before=$(cost_threads "$RIVAL_PID" | grep uevent)
    sleep_ms 3000
    [ "$(cost_threads "$RIVAL_PID" | grep uevent)" = "$before" ]
}

RIVAL_PID=''
for lus; do
    # Not after the last number: removing thousands of disks takes minutes, and the guest ends anyway.
    if [ -n "$RIVAL_PID" ]; then
        rival_stop dm-psad
        rival_clear dm-psad
        rmmod scsi_debug
    fi
    t0=${EPOCHREALTIME/./}
    paths=$((lus * 4)) targets=$(((lus + 249) / 250))
    scsi_debug_array --hosts 4 --luns $(((lus + targets - 1) / targets)) --options "num_tgts=$targets"
    note "$(ls -d /sys/class/scsi_disk/* | wc -l) disks after $(((${EPOCHREALTIME/./} - t0) / 1000000)) s"
    rival_run dm-psad
    cost_watch "$RIVAL_PID"
    wait_for 600 maps_live "$lus" || lab_die "no $lus maps within 600 s"
    note "all maps after $LAB_WAITED ms"
    wait_for 120 agent_quiet || note "not settled within 120 s"
    wait_for 300 at_rest || note "discovery not at rest within 300 s"
    # One minute contains every command that dm-psad sends to a healthy path, and twelve rounds of checks. There are
    # several windows, because the speed of an emulated machine varies by a fifth from minute to minute.
    for window in 1 2 3; do
        cost_threads "$RIVAL_PID" >/run/lab/before
        cost_window 60000
        cost_threads "$RIVAL_PID" >/run/lab/after
        [ "$COST_COMMANDS" -gt 0 ] || lab_die "no commands in a minute"
        record growth_cpu_us $paths dm-psad "$window" $((COST_CPU_US / COST_COMMANDS))
        record core_permille $paths dm-psad "$window" $((COST_CPU_US / COST_MS))
        note "$((COST_COMMANDS * 1000 / COST_MS)) commands each second"
        paste /run/lab/before /run/lab/after | awk -v n="$COST_COMMANDS" '$4 == $2 { t[$2] += $3 - $1 } END { for (i in t) if (t[i] > n / 2) printf "#   %-14s %.1f us\n", i, t[i] / n }'
    done
    cost_memory "$RIVAL_PID"
    record growth_rss_kb $paths dm-psad 1 "$COST_RSS_KB"
done
