# shellcheck shell=bash
# Restores the guest to its state before a scenario, for scenarios that share one guest (several.sh).
#
#   lab_state     lists what a scenario may leave behind, one per line: two equal lists mean that nothing was left
#   lab_restore   removes what the library creates: processes, maps, arrays, agents and their files
#
# Both read only the kernel and files, not the variables of a scenario, because it may have ended at any point.

# The control group holds all processes of a scenario, whatever happened to their parents.
LAB_GROUP=/sys/fs/cgroup/scenario
# Without the agent's record in /run, the next agent would take this limit for one that an admin set.
LAB_QUEUEING=/sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs

lab_state() {
    local f
    {
        dmsetup ls | sed -n 's/^\(.*\)\t(.*/map \1/p'
        for f in dm-psad multipathd iscsid fio; do ! pidof "$f" >/dev/null || echo "process $f"; done
        for f in /sys/class/scsi_device/*; do [ ! -e "$f" ] || echo "SCSI device ${f##*/}"; done
        find "$LAB_TARGET" -mindepth 2 -maxdepth 2 -type d ! -path '*/core/alua' -printf 'target %P\n'
        [ ! -d /sys/module/scsi_debug ] || echo "module scsi_debug"
        cut -d' ' -f1,2 /proc/mounts | grep -E '^/dev/(mapper/|dm-|sd|loop)|/mnt/' | sed 's/^/mount of /'
        sed -n '2,$ s/ .*//p' /proc/swaps | sed 's/^/swap on /'
        losetup -nO NAME | sed 's/^/loop device /'
        ip -o address show dev lo | sed -n 's/.* \(10\.99\.[^ ]*\).*/address \1/p'
        ip -o link | sed -n 's/^[0-9]*: \([^:@]*\).*/network device \1/p'
        find /etc/dm-psa /run/dm-psa /etc/target /etc/systemd/system/dm-psa.service.d $LAB_STORE -mindepth 1 ! -type d -printf 'file %p\n'
        find /etc/udev/rules.d /run/udev/rules.d -mindepth 1 -printf 'file %p %l\n'
        find /etc/multipath.conf /etc/lvm/devices/system.devices -printf 'file %p\n'
        sed 's/^/probe /' $LAB_TRACING/kprobe_events
        sed -n 's/^[1-9]/limit of queueing &/p' $LAB_QUEUEING
    } 2>/dev/null | sort
}

lab_restore() {
    local name f
    # shellcheck disable=SC2046
    kill -CONT $(pidof systemd-udevd)
    ! under_systemd || systemctl stop dm-psa.service
    while read -r name _; do
        dmsetup resume "$name"
        # Otherwise I/O would wait for a path, and its process could not exit.
        dmsetup message "$name" 0 fail_if_no_path
    done < <(dmsetup ls | grep '(')
    # iscsid is still needed for the logout below.
    restore_end iscsid
    while read -r _ f _; do
        case $f in /mnt/* | /run/own) umount "$f" ;; esac
    done </proc/mounts
    # A map may lie on another one: the upper maps are removed in an earlier round.
    for _ in 1 2 3; do
        while read -r name _; do dmsetup remove --retry "$name"; done < <(dmsetup ls | grep '(')
    done
    losetup -D
    if pidof iscsid; then
        iscsiadm -m node --logoutall=all
        iscsiadm -m node -o delete
    fi
    restore_end
    ip -o address show dev lo | grep -o '10\.99\.[0-9.]*/32' | while read -r f; do ip address del "$f" dev lo; done
    [ ! -d /sys/module/scsi_debug ] || wait_for 30 rmmod scsi_debug
    restore_targets
    rm -rf /etc/dm-psa/* /run/dm-psa /etc/target/*/* "${LAB_STORE:?}"/* /etc/multipath.conf /etc/lvm/devices/system.devices
    rmdir /mnt/* /run/own
    mkdir -p /etc/dm-psa/state
    find /run/lab -mindepth 1 -maxdepth 1 ! -name args ! -name env ! -name limit ! -name out ! -name 'several*' -exec rm -rf {} +
    peer_give_back
    if under_systemd; then
        rm -rf /etc/systemd/system/dm-psa.service.d /run/lab-*
        systemctl daemon-reload
        systemctl reset-failed dm-psa.service
    fi
    for f in $LAB_TRACING/events/lab/*/enable; do [ ! -e "$f" ] || echo 0 >"$f"; done
    [ ! -d $LAB_TRACING/events/lab ] || echo >$LAB_TRACING/kprobe_events
    [ ! -e $LAB_QUEUEING ] || echo 0 >$LAB_QUEUEING
    echo local >$LAB_TRACING/trace_clock
    : >$LAB_TRACING/trace
    udevadm settle -t 120
} >/dev/null 2>&1

# restore_end [COMM]: kills the scenario's processes, except those with this name.
restore_end() {
    local pid
    while restore_process "$@"; do
        pid=$REPLY
        kill -9 "$pid"
        wait_for 60 not running "$pid" || return
    done
}
# Sets REPLY to a process of the scenario that does not have this name.
restore_process() {
    local pid comm
    while read -r pid; do
        read -r comm <"/proc/$pid/comm" && [ "$comm" != "${1:-}" ] && running "$pid" && REPLY=$pid && return
    done <$LAB_GROUP/cgroup.procs
    return 1
}

restore_targets() {
    local l t
    for t in "$LAB_TARGET"/iscsi/*/tpgt_*; do [ ! -e "$t/enable" ] || echo 0 >"$t/enable"; done
    for t in "$LAB_TARGET"/{loopback,iscsi}/*/tpgt_*; do
        [ -d "$t" ] || continue
        for l in "$t"/lun/lun_*; do
            [ ! -d "$l" ] || { find "$l" -maxdepth 1 -type l -delete; rmdir "$l"; }
        done
        [ ! -e "$t/nexus" ] || echo NULL >"$t/nexus"
        rmdir "$t"/np/* "$t"
    done
    for t in "$LAB_TARGET"/{loopback,iscsi}; do
        [ ! -d "$t" ] || rmdir "$t"/naa.* "$t"/iqn.* "$t"
    done
    for t in "$LAB_TARGET"/core/fileio_*; do
        [ ! -d "$t" ] || rmdir "$t"/*/alua/g[0-9]* "$t"/* "$t"
    done
}
