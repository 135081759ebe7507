#!/bin/bash
# Errors of ordinary I/O that the kernel reports: the agent checks the path immediately, whether dm-multipath acts on
# the error or not. The agent's tracefs instance is private, small, and does not outlive it.
. /lab/lib/lab.sh

TRACEFS=/sys/kernel/tracing
INSTANCE=$TRACEFS/instances/dm-psa
status_is() { json_has status ".\"I/O Errors Reported\" == \"$1\""; }
# reports DISK TEXT: whether the I/O errors that `core path stats get` lists for the path contain TEXT
reports() { json_has "core path stats get -p $1" ".[0].\"I/O Errors Reported\" | any(contains(\"$2\"))"; }
explains_status() { [[ $(psactl status) == *"$1"* ]]; }
read_fails() { ! timeout 60 dd if="/dev/$1" of=/dev/null bs=4k count=1 skip="${2:-1}" iflag=direct 2>/dev/null; }
enabled() { [ "$(<"$INSTANCE/events/$1/enable")" = 1 ]; }

note "a tracefs instance of another program, which has to stay as it is"
mkdir $TRACEFS/instances/other
echo 1 >$TRACEFS/instances/other/events/block/block_rq_error/enable

scsi_debug_array --hosts 4 --luns 1
agent_start
check "a map appears" wait_for 60 maps_are 1
check "the agent settles" wait_for 30 agent_quiet
map=$(psactl core device list --formatter=json | jq -r '[.[] | select(."Multipath Plugin" == "NMP")][0].Device')
check "errors are reported" wait_for 20 status_is errors
psactl status | grep -i "errors reported"
for event in block/block_rq_error scsi/scsi_dispatch_cmd_timeout scsi/scsi_dispatch_cmd_error scsi/scsi_eh_wakeup; do
    check "$event is switched on" enabled $event
done
check "the event for every completed command is switched off" not enabled scsi/scsi_dispatch_cmd_done
check_le "its buffers are small (KiB for each processor)" 16 "$(<"$INSTANCE/buffer_size_kb")"

# An error that dm-multipath would pass to the application.
bad=$(scsi_debug_path 1 0)
case $(uname -r) in
    6.1.*)
        note "scsi_debug has no error injection before 6.7: a medium error"
        kind="medium error"
        fail_read() { echo 2 >/sys/bus/pseudo/drivers/scsi_debug/opts; read_fails "$bad" 582; }
        ;;
    *)
        kind="target error"
        fail_read() { error_inject "$bad" 2 -1 28 0 0 2 4 44 0; read_fails "$bad"; }
        ;;
esac
# Exactly one read has to fail, and udev reads too.
udevadm settle -t 60
check "a read fails" fail_read
check "IO_ERROR is reported" wait_for 5 has_events IO_ERROR 1
note "after $LAB_WAITED ms"
agent_words | grep IO_ERROR | tail -1
check "the error is counted by kind" wait_for 5 reports "$bad" "1 $kind"
check "explain shows it" explains "$bad" "errors of ordinary I/O, reported by the kernel: 1 $kind"
check "metrics have the counter" eval "psactl metrics | grep -q 'dm_psa_path_io_errors_total{.*kind=\"$kind\"} 1'"
check "the path has proven itself and serves" wait_for 10 map_all_active "$map"
check "more events are read for a while" wait_for 5 status_is all
check "the filtered event is switched on" enabled scsi/scsi_dispatch_cmd_done
check "a second read fails" fail_read
check "it is counted with its command" wait_for 5 reports "$bad" "1 failed command"
check_eq "our own commands are not among them" 0 "$(psactl explain "$bad" | grep -c 'TEST UNIT READY: ')"
psactl explain "$bad" | grep "errors of ordinary"

note "a storm of errors"
[ -d "/sys/kernel/debug/scsi_debug/$(path_hctl "$bad")" ] && error_inject "$bad" 2 -400 28 0 0 2 4 44 0
for ((i = 0; i < 40; i++)); do fail_read || break; done
check "the agent answers" agent_answers
check "the path is in use again or marginal" wait_for 20 eval "map_all_active $map || has_events PATH_MARGINAL 1"
case $(uname -r) in
    6.1.*) echo 0 >/sys/bus/pseudo/drivers/scsi_debug/opts ;;
    *)
        error_clear "$bad" 2 28
        note "a command without an answer"
        silent=$(scsi_debug_path 2 0)
        echo 2 >"/sys/block/$silent/device/timeout"
        error_inject "$silent" 0 -1 28
        read_fails "$silent"
        check "the timeout is reported" wait_for 10 has_events IO_TIMEOUT 1
        check "the timeout is counted" reports "$silent" "1 timeout"
        ;;
esac

note "the agent is killed: the instance stays, with its events switched on"
agent_kill
check "the instance is still there" enabled block/block_rq_error
echo 'error == -1' >$INSTANCE/events/block/block_rq_error/filter
agent_start
check "the next agent takes it over" wait_for 20 status_is errors
check "with new filters" eval "[ \$(<$INSTANCE/events/block/block_rq_error/filter) = none ]"
check "errors are reported again" eval "fail_read && wait_for 5 has_events IO_ERROR 2"
case $(uname -r) in 6.1.*) echo 0 >/sys/bus/pseudo/drivers/scsi_debug/opts ;; esac

agent_stop
check "an agent that is stopped removes the instance" eval "[ ! -d $INSTANCE ]"
check "the instance of the other program is unchanged" eval "[ \$(<$TRACEFS/instances/other/events/block/block_rq_error/enable) = 1 ]"

# Sets REPLY to the mean of eight instances: their buffers and objects. Free memory says less: since Linux 6.7, processors keep
# megabytes of pages that were freed, such as those of a buffer that was made smaller.
instance_memory() {
    local i event before buffers
    sleep_ms 1000
    cost_kernel_memory
    before=$COST_SLAB_KB
    for i in {1..8}; do
        mkdir "$INSTANCE-$i"
        echo 8 >"$INSTANCE-$i/buffer_size_kb"
        for event in block/block_rq_error scsi/scsi_dispatch_cmd_timeout scsi/scsi_dispatch_cmd_error scsi/scsi_eh_wakeup; do
            echo 1 >"$INSTANCE-$i/events/$event/enable"
        done
    done
    sleep_ms 1000
    cost_kernel_memory
    read -r buffers _ <"$INSTANCE-1/buffer_total_size_kb"
    REPLY=$(((COST_SLAB_KB - before) / 8 + buffers))
    for i in {1..8}; do rmdir "$INSTANCE-$i"; done
}
# The median of three: the rest of the kernel takes and gives back memory, too.
for _ in 1 2 3; do
    instance_memory
    echo "$REPLY"
done >/run/lab/memory
each=$(sort -n /run/lab/memory | sed -n 2p)
note "an instance takes $each KiB of the kernel's memory"
# Linux 6.1 creates files for each event in each instance, later kernels create them when they are looked up.
case $(uname -r) in
    6.1.*) check_le "kernel memory of an instance (KiB)" 12288 $each ;;
    *) check_le "kernel memory of an instance (KiB)" 1024 $each ;;
esac
mkdir $INSTANCE

note "another process has the instance open"
timeout 600 cat $INSTANCE/trace_pipe >/dev/null &
holder=$!
agent_start
check "status says why errors are not watched" wait_for 10 explains_status "another process has it open"
check "IO_WATCH_OFF is reported" wait_for 5 has_events IO_WATCH_OFF 1
check "the agent settles nevertheless" wait_for 30 agent_quiet
agent_stop
kill $holder

note "no tracefs"
rmdir $INSTANCE $TRACEFS/instances/other
umount $TRACEFS
agent_start
check "status says why errors are not watched" wait_for 10 explains_status "tracefs is not mounted"
check "the agent settles nevertheless" wait_for 30 agent_quiet
agent_stop
mount -t tracefs tracefs $TRACEFS

note "turned off by a setting"
agent_setting 'watch_io = "off"'
agent_start
check "status names the setting" wait_for 10 explains_status "watch_io is off in dm-psa.toml"
check "there is no instance" eval "[ ! -d $INSTANCE ]"
agent_stop
rm -f /etc/dm-psa/dm-psa.toml
dmsetup remove --retry "$map"
