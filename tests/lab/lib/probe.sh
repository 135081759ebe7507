# shellcheck shell=bash
# Counts calls of kernel functions with kprobes in tracefs. A count includes
# every process; probe_trace shows which process called, and when.
#
#   dm_loads_start; ...; dm_loads_count       device-mapper table loads
#   stpg_count_start; ...; stpg_count         SET TARGET PORT GROUPS in LIO
#   probe_start NAME FUNCTION; probe_count NAME; probe_trace NAME; probe_stop NAME
#
# Counts begin at the start. All probed functions are static and reached through
# a table of pointers, so the compiler neither inlines nor splits them.

LAB_TRACING=/sys/kernel/tracing

probe_start() { # NAME FUNCTION
    probe_stop "$1" 2>/dev/null
    # Without "maxactive" or arguments: an entry probe is enough for a count.
    echo "p:lab/$1 $2" >>$LAB_TRACING/kprobe_events || lab_die "no probe on $2"
    echo 1 >"$LAB_TRACING/events/lab/$1/enable"
    # Both counters, so that a probe that lost hits shows.
    probe_count "$1" >/dev/null
}

# probe_count NAME: prints the hits, also in REPLY. Missed hits would falsify the
# test silently, so they end it.
probe_count() {
    local name hits missed
    while read -r name hits missed; do
        [ "$name" = "$1" ] || continue
        [ "$missed" = 0 ] || lab_die "the probe $1 missed $missed hits"
        REPLY=$hits
        echo "$hits"
        return
    done <$LAB_TRACING/kprobe_profile
    return 1
}

probe_trace() { grep " $1: " $LAB_TRACING/trace; }

probe_stop() {
    [ -d "$LAB_TRACING/events/lab/$1" ] || return 0
    echo 0 >"$LAB_TRACING/events/lab/$1/enable"
    echo "-:lab/$1" >>$LAB_TRACING/kprobe_events
}

# probe_mark: sets the time from which probe_after counts. probe_after first|last NAME: sets REPLY to the milliseconds
# from the mark to the first or last hit of the probe, by the kernel's clock, so the time of the shell does not count.
probe_mark() {
    : >$LAB_TRACING/trace
    echo lab-mark >$LAB_TRACING/trace_marker
}
probe_after() {
    REPLY=$(awk -v which="$1" -v probe="$2:" '
        { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+[.][0-9]+:$/) { t = $i + 0; break } }
        /lab-mark/ { mark = t; next }
        mark && index($0, " " probe) && (which == "last" || !hit) { hit = t }
        END { if (hit) printf "%d", (hit - mark) * 1000; else print -1 }' $LAB_TRACING/trace)
}

dm_loads_start() { modprobe dm_mod; probe_start dm_load dm_mod:table_load; }
dm_loads_count() { probe_count dm_load; }
dm_messages_start() { modprobe dm_multipath; probe_start dm_message dm_multipath:multipath_message; }
dm_messages_count() { probe_count dm_message; }
stpg_count_start() { probe_start stpg target_core_mod:target_emulate_set_target_port_groups; }
stpg_count() { probe_count stpg; }
rtpg_count_start() { probe_start rtpg target_core_mod:target_emulate_report_target_port_groups; }
rtpg_count() { probe_count rtpg; }

# Unit attentions that the kernel reports (sdev_evt_send), with the clock of stamp.py.
#
#   attention_start          starts to record them
#   attention_first          sets REPLY to the time of the first, in microseconds of the monotonic clock; fails if there
#                            was none
attention_start() {
    echo mono >$LAB_TRACING/trace_clock
    probe_start attention scsi_mod:sdev_evt_send
    : >$LAB_TRACING/trace
}
attention_first() {
    REPLY=$(awk '/ attention: / { for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+[.][0-9]+:$/) { printf "%d", $i * 1000000; exit } }' \
        $LAB_TRACING/trace)
    [ -n "$REPLY" ]
}
