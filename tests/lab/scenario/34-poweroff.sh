#!/bin/bash
# The host shuts down while all paths are down, a writer waits, and a file system on the map has data not yet on disk.
# 34-poweroff.sh [running|stopped]: the state of the agent
#
# The scenario passes if the guest powers off.
# Guest: systemd poweroff
. /lab/lib/lab.sh
agent=${1:-running}

# Longer than a slow machine takes to begin the shutdown.
agent_setting 'apd_timeout_ms = 60000'
lio_loop --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
mkdir -p /mnt/a
check "the agent starts" agent_start
check "a map appears" wait_for 60 test -b "/dev/mapper/$naa"
check "the agent settles" wait_for 20 agent_quiet
check "a file system can be created on the map" mkfs.ext4 -qF "/dev/mapper/$naa"
mount "/dev/mapper/$naa" /mnt/a || lab_die "the file system cannot be mounted"
systemd-run -q --unit=writer sh -c 'while dd if=/dev/urandom of=/mnt/a/data bs=1M count=4 conv=fsync; do :; done'
check "a file is written" wait_for 20 test -s /mnt/a/data
if [ "$agent" = stopped ]; then check "the agent is stopped" timeout 60 systemctl stop dm-psa.service; fi
path_down all
check "all paths are failed" wait_for 20 map_no_active "$naa"
sleep_ms 2000
check "the map queues" map_queues "$naa"
note "the host shuts down while the agent is $agent"
# The lab observes the rest from outside.
echo "$LAB_PASSED passed, $LAB_FAILED failed"
trap - EXIT
[ $LAB_FAILED = 0 ] || exit 1
systemctl poweroff --no-block
exec sleep 1d
