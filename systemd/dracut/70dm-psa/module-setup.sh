#!/bin/bash
# dracut: puts dm-psa into the initramfs. The agent runs there as a service, ends before the switch to the root file
# system, and starts again from it. The maps stay.

# The incumbent's module would recognize the maps as its own, and start multipathd.
# /usr/lib/dracut/dracut.conf.d/50-dm-psa.conf leaves it out.

check() {
    require_binaries dm-psad psactl dmsetup kpartx || return 1
    # For a host-only image: only if a file system that it mounts is on a multipath map. The first image of a host that runs
    # from a single disk needs `dracut -f --add dm-psa`.
    [[ $hostonly ]] || [[ $mount_needs ]] || return 0
    dm_psa_is_map() {
        local uuid=
        read -r uuid 2>/dev/null <"/sys/dev/block/$1/dm/uuid"
        [[ $uuid == mpath-* ]]
    }
    for_each_host_dev_and_slaves dm_psa_is_map || return 255
}

depends() {
    echo rootfs-block dm systemd
}

installkernel() {
    hostonly='' instmods dm_multipath dm_service_time dm_round_robin dm_queue_length sd_mod sg \
        scsi_dh_alua scsi_dh_rdac scsi_dh_emc scsi_dh_hp_sw
}

install() {
    # shellcheck disable=SC2154 # dracut sets these
    local unit=$systemdsystemunitdir/dm-psa.service file
    inst_multiple dm-psad psactl dmsetup kpartx
    inst_multiple -o /usr/lib/udev/dm-psa-id /usr/lib/udev/kpartx_id partx modprobe
    inst_rules 56-dm-psa-path.rules 11-dm-psa-map.rules 56-dm-psa-map.rules 11-dm-parts.rules 56-dm-parts.rules \
        60-kpartx.rules 66-kpartx.rules 68-del-part-nodes.rules
    for file in /etc/dm-psa/dm-psa.toml /etc/dm-psa/rules.toml /etc/dm-psa/state/memory.json /usr/lib/dm-psa/*.toml; do
        [[ ! -e $dracutsysrootdir$file ]] || inst_simple "$file"
    done
    # kdump and a rescue system have images of the same kernel, under other names. The host does not boot from them.
    local not_booted=
    # shellcheck disable=SC2154
    [[ ! ${IN_KDUMP-} && ${outfile##*/} != *kdump* && ${outfile##*/} != *rescue* ]] || not_booted=--not-booted
    # shellcheck disable=SC2086,SC2154
    psactl boot record --kernel "$kernel" --image "$initdir" $not_booted

    # The agent, and the timer that ends the time in which disks are hidden.
    inst_multiple "$unit" "$systemdsystemunitdir/dm-psa-undecided.service" "$systemdsystemunitdir/dm-psa-undecided.timer"
    inst_multiple cp rm
    mkdir -p "$initdir$unit.d"
    cat >"$initdir$unit.d/initrd.conf" <<U
[Unit]
ConditionKernelCommandLine=!rd.multipath=0
Before=cryptsetup-pre.target dracut-initqueue.service

[Service]
# Maps of what the system runs from; a copy of its volumes must not be offered beside them.
ExecStart=
ExecStart=$(command -v dm-psad) --known-devices-first
# For the agent of the root file system, which compares it with its own files.
ExecStartPre=-$(command -v cp) /etc/dm-psa/boot.json /run/dm-psa/boot.json
# That agent has not decided yet.
ExecStopPost=-$(command -v rm) -f /run/dm-psa/decided
U
    # shellcheck disable=SC2154
    $SYSTEMCTL -q --root "$initdir" add-wants sysinit.target dm-psa.service dm-psa-undecided.timer
}
