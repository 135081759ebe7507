#!/bin/bash
# All paths down, data waits to be written by an unmount, and the agent is stopped or killed: every wait ends.
# Guest: shared systemd
. /lab/lib/lab.sh

# Long enough that even a slow machine stops the agent before it expires.
apd=20
agent_setting "apd_timeout_ms = ${apd}000"
lio_loop --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
mkdir -p /mnt/a
umount_ended() { ! running "$umount"; }
mounted() { grep -q " /mnt/a " /proc/self/mounts; }
# outage: creates data that is not on disk yet, takes all paths down, and starts an unmount that has to write the data
outage() {
    check "a file system can be created on the map" mkfs.ext4 -qF "/dev/mapper/$naa"
    # Only the unmount writes, and nothing is read while there is no path.
    mount -o commit=300 "/dev/mapper/$naa" /mnt/a || lab_die "the file system cannot be mounted"
    head -c 4M /dev/urandom >/mnt/a/data
    path_down all
    now_ms down
    umount /mnt/a 2>/run/lab/umount &
    umount=$!
    check "all paths are failed" wait_for 20 map_no_active "$naa"
    sleep_ms 1000
    check "unmounting waits" running $umount
}
# stopped: stops the agent while all paths are down
stopped() {
    check "the unit stops" timeout 60 systemctl stop dm-psa.service
    check_eq "the unit is inactive" inactive "$(systemctl is-active dm-psa.service)" ||
        journalctl -u dm-psa.service -o short-monotonic | tail -15
    check "the map still queues" map_queues "$naa"
}
# ended LIMIT WHAT: checks that the unmount has ended
ended() {
    check "unmounting ends: $2" wait_for "$1" umount_ended
    now_ms now
    note "after $((now - down)) ms without a path"
    wait_for 10 not mounted || umount -l /mnt/a
    umount_ended || hang_report
}
back() {
    path_up all
    [ "${1:-}" != start ] || check "the agent starts" agent_start
    check "the paths are back" wait_for 40 map_all_active "$naa"
    check "the map queues" wait_for 20 map_queues "$naa"
    check "the agent settles" wait_for 20 agent_quiet
}

check "the agent starts" agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 20 agent_quiet
limited() { [ "$(<$LAB_QUEUEING)" -gt $apd ] && [ "$(<$LAB_QUEUEING)" -lt 140 ]; }
check "the kernel's limit is set" wait_for 20 limited
note "the kernel's limit: $(<$LAB_QUEUEING) s"

note "the agent is stopped while all paths are down, and an admin ends the queueing"
outage
stopped
sleep_ms $((apd * 1000))
check "unmounting still waits without an agent" running $umount
check "psactl ends the queueing" timeout 60 psactl storage core device queueing end -d "$naa"
ended 30 "queueing was ended"
back start

note "the agent is killed repeatedly while all paths are down: systemd restarts it, and the deadline stays"
count_events APD_TIMEOUT
before=$REPLY
outage
for _ in 1 2 3; do
    agent_kill
    now_ms killed
    sleep_ms 2500
done
ended 60 "the APD time is over"
check_ge "not before the APD timeout (ms)" $((apd * 1000 - 500)) $((now - down))
check_le "the APD time does not start again with the agent (ms since the last kill)" $((apd * 1000)) $((now - killed))
check "APD_TIMEOUT is reported" wait_for 10 has_events APD_TIMEOUT $((before + 1))
check "the agent runs" wait_for 30 agent_answers
back

note "the agent is stopped, and the shutdown hook runs"
outage
stopped
check "the hook ends" timeout 60 /usr/lib/systemd/system-shutdown/dm-psa poweroff
ended 30 "the hook ended the queueing"
back start

note "the agent stays stopped: the kernel's limit applies"
check "the kernel's limit is set again" wait_for 20 limited
check "the unit stops" timeout 60 systemctl stop dm-psa.service
check "the limit stays" limited
outage
ended 60 "the kernel's limit is over"
check_ge "not before the APD time (ms)" $((apd * 1000)) $((now - down))
back start
systemctl stop dm-psa.service
