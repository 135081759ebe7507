#!/bin/bash
# Inside the sandbox of dm-psa.service everything that the agent has to do is possible, and what it must not do is not.
# Another program runs in the unit with all of the unit's other settings. Needs --systemd.
# shellcheck source=lib/lab.sh
# Guest: shared systemd
. /lab/lib/lab.sh

# Before the array exists: no SCSI disk has appeared yet, and DeviceAllow= has to work for disks that appear later.
mkdir -p /etc/systemd/system/dm-psa.service.d /home/user/disk /etc/dm-psa/state
cat >/etc/systemd/system/dm-psa.service.d/lab.conf <<'U'
[Service]
Type=exec
ExecStart=
ExecStart=/usr/bin/python3 /run/lab-inside
WatchdogSec=0
Restart=no
U
mkfifo /run/lab-ask /run/lab-answer
chmod 600 /run/lab-ask
# Runs each line that it receives in a shell, and answers with status and output in one line.
cat >/run/lab-inside <<'P'
import subprocess
while True:
    for line in open("/run/lab-ask"):
        r = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True)
        with open("/run/dm-psa/answer", "w") as f:
            f.write(f"{r.returncode} {(r.stdout + r.stderr).strip()!r}\n")
        open("/run/dm-psa/answered", "w").close()
P
systemctl daemon-reload
check "the unit starts" systemctl start dm-psa.service

# inside COMMAND: runs it in the sandbox
inside() {
    local status text
    rm -f /run/dm-psa/answered
    echo "$*" >/run/lab-ask
    wait_for 20 test -e /run/dm-psa/answered || { echo "no answer"; return 1; }
    read -r status text </run/dm-psa/answer
    echo "$text"
    return "$status"
}

lio_loop --groups '1:ao:1,2'
one=$(path_dev 1 1) size=$(cat "/sys/block/$(path_dev 1 1)/size") dev=$(cat "/sys/block/$(path_dev 1 1)/dev")
sg=$(basename "/sys/block/$one/device/scsi_generic/"*)

check "SCSI commands go through sg" inside "sg_turs -l /dev/$sg && sg_inq -p 0x83 /dev/$sg"
check "a multipath map is created over a disk that appeared later" \
    inside "dmsetup create --noudevsync lab --uuid mpath-3lab --table '0 $size multipath 0 0 1 1 service-time 0 1 1 $dev 1'"
check "... it is reloaded" inside "dmsetup reload lab --table '0 $size multipath 1 queue_if_no_path 0 1 1 service-time 0 1 1 $dev 1' && dmsetup resume --noudevsync lab"
check "... it takes messages" inside "dmsetup message lab 0 fail_path $dev && dmsetup message lab 0 reinstate_path $dev"
# udev opens the map while it processes the event of the map's creation.
check "... its removal waits on udev's semaphore" inside "dmsetup remove --retry lab"
check "uevents are raised" inside "echo change >/sys/block/$one/uevent"
check "states are written to sysfs" inside "echo running >/sys/block/$one/device/state"
check "state is stored" inside "echo '{}' >/etc/dm-psa/state/memory.json"
check "marks are stored" inside "mkdir -p /run/dm-psa/paths && echo 1 >/run/dm-psa/paths/8:0"
check "memory is locked" inside "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).mlockall(3))'"
check "PR_SET_IO_FLUSHER is allowed" inside "python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(57, 1, 0, 0, 0))'"
check "the kernel's queueing limit can be set" inside "p=/sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs; echo 200 >\$p && echo 0 >\$p"
check "the name of process 1 can be read" inside "grep -qx systemd /proc/1/comm"
check "real-time scheduling is allowed" inside "chrt -r 5 true"
check "udev's events arrive" inside "timeout 60 udevadm monitor -u -s block >/run/dm-psa/events & for i in {1..60}; do echo change >/sys/block/$one/uevent; sleep 0.5; grep -q change /run/dm-psa/events && kill \$! && break; done"

mkfs.ext4 -q "/dev/$one"
mount "/dev/$one" /home/user/disk
check "a mount below /home is visible" inside "grep -q ' /home/user/disk ' /proc/self/mountinfo"
umount /home/user/disk
check "... and so is its unmount" inside "! grep -q ' /home/user/disk ' /proc/self/mountinfo"

check "the rest of the system cannot be written" inside "! touch /usr/x && ! touch /etc/x && ! touch /home/x && ! touch /var/x"
check "other devices cannot be opened" inside "! head -c 1 /dev/vda && ! head -c 1 /dev/mem"
check "IP sockets cannot be opened" inside "! python3 -c 'import socket; socket.socket(socket.AF_INET)'"
check "mounting and loading modules fail" inside "! mount -t tmpfs x /run/dm-psa && ! modprobe dummy"

note "the unit is stopped"
systemctl stop dm-psa.service
check "/run/dm-psa is kept" test -e /run/dm-psa/paths/8:0
