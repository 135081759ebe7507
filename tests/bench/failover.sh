#!/bin/bash
# Controllers fail and return, and the array moves the LU, under verified I/O: the longest stalls, how soon a returned
# path is in use again, how soon the groups follow. failover.sh ROUNDS CYCLES
# A phase that takes longer than its limit is recorded as late.
LAB_PATIENCE=1
. /lab/lib/lab.sh
note "$(dpkg-query -W -f '${Package} ${Version}' multipath-tools)"
rounds=$1 cycles=$2

# Implicit only, so that both daemons work on the same array: with explicit ALUA, multipathd's activations would make
# both controllers optimized, and later failovers would not have to activate anything.
lio_loop --lus 1 --groups '1:ao:1,2 2:ano:3,4' --alua implicit
dm_messages_start
dm_loads_start

# The last message or table load since the mark, before the change.
acted() {
    local message
    probe_after last dm_message
    message=$REPLY
    probe_after last dm_load
    [ "$REPLY" -gt "$message" ] || REPLY=$message
}

fall() { # MAP DAEMON ROUND NUMBER: both optimized paths go and return
    stall_mark
    path_down 1 2
    wait_for 10 map_uses "$1" 1 3 || note "not switched within 10 s"
    # Spreads the returns over the check interval.
    sleep_ms $((700 + 900 * ($4 % 5)))
    stall_mark && record stall_ms 4 "$2" "$3" "$STALL_MS"
    # The first path may be in use again before the second returns.
    probe_mark
    path_up 1 2
    if wait_for 30 map_all_active "$1"; then
        probe_after last dm_message
        record returned_ms 4 "$2" "$3" "$REPLY"
    else
        record_late returned_ms 4 "$2" "$3" 30
    fi
    wait_for 10 map_uses "$1" 1 1 || note "not back within 10 s"
    # More than sixteen failures a minute would make the paths marginal for dm-psad and falsify the measurement.
    sleep_ms 3000
    # When I/O returns to a group, the kernel first asks the array about it. That may take longer than leaving the other.
    stall_mark && record stall_back_ms 4 "$2" "$3" "$STALL_MS"
}

move() { # MAP DAEMON ROUND WHAT: the array moves the LU to the other controller and back
    local from=1 to=2 port=3 i
    for i in 1 2; do
        probe_mark
        alua_set $from ano
        alua_set $to ao
        if wait_for 20 map_uses "$1" 1 $port; then
            acted
            record "$4" 4 "$2" "$3" "$REPLY"
        else
            record_late "$4" 4 "$2" "$3" 20
        fi
        sleep_ms 700
        from=2 to=1 port=1
    done
}

measure() { # DAEMON ROUND
    local map i
    rival_prepare "$1"
    rival_run "$1"
    wait_for 60 map_exists || { note "$1 creates no map"; return; }
    map=$(dmsetup ls --target multipath | cut -f1 | head -1)
    wait_for 60 test -b "/dev/mapper/$map"
    udevadm settle -t 60
    fio_verify_start "$map"
    stall_start "$map"
    wait_for 10 map_uses "$map" 1 1
    for ((i = 0; i < cycles; i++)); do fall "$map" "$1" "$2" $i; done
    stall_stop
    fio_verify_stop
    record io_errors 4 "$1" "$2" $((FIO_ERRORS + FIO_VERIFY_ERRORS))
    fio_verify_start "$map"
    for i in 1 2; do move "$map" "$1" "$2" followed_ms; done
    fio_verify_stop
    record io_errors 4 "$1" "$2" $((FIO_ERRORS + FIO_VERIFY_ERRORS))
    move "$map" "$1" "$2" followed_idle_ms
    rival_stop "$1"
}

for ((round = 1; round <= rounds; round++)); do
    rival_order $round
    for daemon in $REPLY; do
        measure "$daemon" $round
        rival_clear "$daemon"
    done
done
