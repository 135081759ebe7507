# shellcheck shell=bash
# Verified I/O, and how long it was held up.
#
#   fio_verify_start MAP...      writes and verifies (md5) all the time
#   fio_verify_stop              sets FIO_ERRORS FIO_VERIFY_ERRORS FIO_STALL_MS
#                                FIO_IOS, prints one line, fails on any error
#   fio_running                  whether it still runs (for wait_for)
#   stall_start MAP  stall_stop  a lighter meter: one reader and writer of one
#                                block; sets STALL_MS STALL_ERRORS STALL_IOS
#   stamp_start MAP [MIB [PAUSE_MS]]   a writer that stamps each block with its time (stamp.py)
#   stamp_read MAP...            reads beyond the writer's 4 MiB until stamp_read_stop, which sets READS and READ_ERRORS
#   stamp_stop                   sets STAMPS STAMP_ERRORS
#   stamp_find LU [SINCE]        finds stamped blocks in the LU's store: sets FOUND, LAST (the latest stamp) and LATE
#                                (those after SINCE); times in microseconds of the monotonic clock
#   mpath_create NAME [OPTION...] -- GROUP...   creates a dm-multipath map directly
#
# MAP is a name below /dev/mapper, or a path.

LAB_FIO=/run/lab/fio
FIO_RATE=${FIO_RATE:-150}

map_path() { case $1 in /*) REPLY=$1 ;; *) REPLY=/dev/mapper/$1 ;; esac; }

fio_verify_start() {
    local map n=0
    rm -rf $LAB_FIO
    mkdir -p $LAB_FIO
    {
        # The rate is limited, because an emulated processor has other work too.
        # verify_backlog reads back what was written a short time ago.
        cat <<J
[global]
ioengine=libaio
direct=1
rw=randwrite
bs=4k
iodepth=4
size=4m
verify=md5
verify_fatal=0
verify_backlog=32
verify_async=0
serialize_overlap=1
time_based=1
runtime=86400
rate_iops=$FIO_RATE
continue_on_error=all
error_dump=0
group_reporting=0
clocksource=clock_gettime
J
        for map; do
            n=$((n + 1))
            map_path "$map"
            printf '[verify%s]\nfilename=%s\n' $n "$REPLY"
        done
    } >$LAB_FIO/job
    map_path "$1"
    # udev creates the node some time after the map.
    local node=$REPLY
    wait_for 90 test -b "$node" || lab_die "no $node"
    REPLY=$node # sleeping in wait_for reads into it
    FIO_STAT=/sys/block/$(basename "$(readlink -f "$REPLY")")/stat
    map_writes
    FIO_BEFORE=$REPLY
    fio --output-format=json --output=$LAB_FIO/result $LAB_FIO/job >$LAB_FIO/said 2>&1 &
    FIO_PID=$!
    wait_for 20 fio_has_begun || { cat $LAB_FIO/said; lab_die "fio does not start"; }
}

# fio has begun when the first map has received writes.
fio_has_begun() { map_writes; [ "$REPLY" -gt "$FIO_BEFORE" ]; }
map_writes() { read -r _ _ _ _ REPLY _ <"$FIO_STAT"; }
fio_running() { running "$FIO_PID"; }

fio_verify_stop() {
    local status
    kill -INT "$FIO_PID" 2>/dev/null
    # I/O that is queued for ever must not block the test.
    if ! wait_for 60 not fio_running; then
        hang_report
        kill -9 "$FIO_PID"
        FIO_ERRORS=-1 FIO_VERIFY_ERRORS=-1 FIO_STALL_MS=-1 FIO_IOS=0
        note "fio: did not end within 60 s, its I/O hangs"
        return 1
    fi
    wait "$FIO_PID"
    status=$?
    # EILSEQ (84) is how fio reports a block that came back different.
    # fio puts a line about the signal before the JSON.
    read -r FIO_IOS FIO_ERRORS FIO_STALL_MS < <(sed -n '/^{/,$p' $LAB_FIO/result | jq -r '[
        ([.jobs[] | .read.total_ios + .write.total_ios] | add),
        ([.jobs[] | .total_err] | add),
        ([.jobs[] | .read.lat_ns.max, .write.lat_ns.max] | max / 1000000 | floor)
        ] | join(" ")')
    FIO_VERIFY_ERRORS=$(grep -c -i -E 'verify: bad|verify failed|verify: ' $LAB_FIO/said)
    note "fio: $FIO_IOS I/Os, $FIO_ERRORS errors, $FIO_VERIFY_ERRORS verify errors, longest $FIO_STALL_MS ms (exit $status)"
    [ "$FIO_ERRORS" = 0 ] && [ "$FIO_VERIFY_ERRORS" = 0 ] && [ "$FIO_IOS" -gt 0 ]
}

# Prints what helps if I/O hangs: maps, paths, requests in flight, and waiting processes.
hang_report() {
    local f
    {
        dmsetup table --target multipath
        dmsetup status --target multipath
        for f in /sys/block/sd*/device/{state,device_busy,device_blocked,access_state}; do
            echo "$f $(cat "$f" 2>&1)"
        done
        grep -H . /sys/kernel/debug/block/{sd*,dm-*}/hctx*/{busy,state,dispatch} /sys/kernel/debug/block/{sd*,dm-*}/requeue_list
        echo w >/proc/sysrq-trigger
        dmesg
    } >"${LAB_SHARE:-/share}/hang.txt" 2>&1
    note "see hang.txt in the shared folder"
}

stall_start() {
    map_path "$1"
    rm -f /run/lab/stall
    python3 "$LAB_LIB/stall.py" "$REPLY" /run/lab/stall &
    STALL_PID=$!
    wait_for 10 test -s /run/lab/stall || lab_die "the stall meter does not start"
}

# stall_mark: sets STALL_MS to the longest I/O since the last mark or the start
stall_mark() {
    local before
    before=$(wc -l </run/lab/stall)
    kill -USR1 "$STALL_PID"
    wait_for 30 stall_has $((before + 1)) || return
    read -r STALL_IOS STALL_ERRORS STALL_MS < <(tail -1 /run/lab/stall)
}
stall_has() { [ "$(wc -l </run/lab/stall)" -ge "$1" ]; }

stall_stop() {
    stall_mark
    kill -9 "$STALL_PID"
    wait "$STALL_PID" 2>/dev/null
    note "stall meter: $STALL_IOS I/Os, $STALL_ERRORS errors, longest $STALL_MS ms"
    [ "$STALL_ERRORS" = 0 ]
}

stamp_start() {
    map_path "$1"
    rm -f /run/lab/stamp
    python3 "$LAB_LIB/stamp.py" write "$REPLY" /run/lab/stamp "${@:2}" &
    STAMP_PID=$!
    wait_for 20 test -s /run/lab/stamp || lab_die "the stamping writer does not start"
}
stamp_running() { running "$STAMP_PID"; }
stamp_stop() {
    kill -TERM "$STAMP_PID" 2>/dev/null
    stamp_end 60
}
# stamp_end SECONDS: waits until it has written everything
stamp_end() {
    if ! wait_for "$1" not stamp_running; then
        hang_report
        kill -9 "$STAMP_PID"
        return 1
    fi
    wait "$STAMP_PID"
    read -r STAMPS STAMP_ERRORS < <(tail -1 /run/lab/stamp)
    note "stamping writer: $STAMPS blocks, $STAMP_ERRORS errors"
}
stamp_read() {
    local map
    STAMP_READERS=()
    for map; do
        map_path "$map"
        rm -f "/run/lab/reads${#STAMP_READERS[@]}"
        python3 "$LAB_LIB/stamp.py" read "$REPLY" "/run/lab/reads${#STAMP_READERS[@]}" &
        wait_for 20 test -s "/run/lab/reads${#STAMP_READERS[@]}" || lab_die "the reader does not start"
        STAMP_READERS+=($!)
    done
}
stamp_read_stop() {
    local i reads errors
    READS=0 READ_ERRORS=0
    for i in "${!STAMP_READERS[@]}"; do
        kill -TERM "${STAMP_READERS[i]}"
        if ! wait_for 60 not running "${STAMP_READERS[i]}"; then
            hang_report
            kill -9 "${STAMP_READERS[i]}"
            return 1
        fi
        wait "${STAMP_READERS[i]}"
        read -r reads errors < <(tail -1 "/run/lab/reads$i")
        READS=$((READS + reads)) READ_ERRORS=$((READ_ERRORS + errors))
    done
}
stamp_find() { read -r FOUND LAST LATE < <(python3 "$LAB_LIB/stamp.py" find "$LAB_STORE/lu$1" "${2:-0}"); }

# mpath_create NAME FEATURES HANDLER GROUP...: creates a dm-multipath map, where
# each GROUP is a list of disks in one word. FEATURES and HANDLER as in the
# table, such as '1 queue_if_no_path' and '1 alua' or '0'.
mpath_create() { dmsetup create "$1" --uuid "mpath-lab-$1" --table "$(mpath_table "${@:2}")"; }
mpath_table() {
    local features=$1 handler=$2 group disk n=0 groups=''
    shift 2
    for group; do
        n=0
        for disk in $group; do n=$((n + 1)); done
        groups+=" service-time 0 $n 1"
        for disk in $group; do groups+=" $(<"/sys/block/$disk/dev") 1"; done
    done
    for disk in $1; do break; done
    echo "0 $(<"/sys/block/$disk/size") multipath $features $handler $# 1$groups"
}
