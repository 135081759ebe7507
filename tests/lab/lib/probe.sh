# shellcheck shell=bash
# Counting what the kernel is asked to do, with kprobes in tracefs. A count
# includes every process; probe_trace shows who and when.
#
#   dm_loads_start; ...; dm_loads_count       device-mapper table loads
#   stpg_count_start; ...; stpg_count         SET TARGET PORT GROUPS in LIO
#   probe_start NAME FUNCTION; probe_count NAME; probe_trace NAME; probe_stop NAME
#
# Counts are since the start. All of them are static functions reached through
# a table of pointers, so the compiler keeps them whole.

LAB_TRACING=/sys/kernel/tracing

probe_start() { # NAME FUNCTION
    probe_stop "$1" 2>/dev/null
    # Without "maxactive" or arguments: an entry probe is enough for a count.
    echo "p:lab/$1 $2" >>$LAB_TRACING/kprobe_events || lab_die "no probe on $2"
    echo 1 >"$LAB_TRACING/events/lab/$1/enable"
    # Both counters, so that a probe that lost hits shows.
    probe_count "$1" >/dev/null
}

# probe_count NAME: hits, also in REPLY; hits the probe missed would be silent
# errors of the test, so they end it.
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

# probe_mark: the moment from which probe_after counts. probe_after first|last NAME: milliseconds from the mark to the
# first or last hit of the probe since, in REPLY, by the kernel's clock: what the shell takes to look does not count.
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

# Unit attentions that the kernel tells of (sdev_evt_send), timed by the clock of stamp.py.
#
#   attention_start          from now on
#   attention_first          when the first came, in microseconds of the monotonic clock, in REPLY; fails if none did
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
