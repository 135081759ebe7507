# shellcheck shell=bash
# scsi_debug: many disks at no cost, and errors on demand.
#
#   scsi_debug_array [--hosts N] [--luns N] [--size MB] [--options 'K=V ...']
#       each LUN is one logical unit seen through every host (4 hosts, 1 LUN)
#   scsi_debug_bare [K=V ...]        units without disks and without udev: for commands alone, many at no cost
#   udev_end                         udevd ends, and nobody takes it for running
#   scsi_debug_path HOST LUN         its sdX (HOST 1.. in order of creation)
#   scsi_debug_wwid LUN              as udev and multipath-tools have it
#   error_inject HCTL|SDX TYPE COUNT CMD [ARG...]    from 6.7 on
#   error_clear  HCTL|SDX TYPE CMD
#
# What it cannot do: one RAM store is behind all LUNs (no test of whose data it
# is), ALUA states follow from the host number and never change.
#
# error_inject: TYPE 0 no answer (timeout), 1 return value of queuecommand,
# 2 completion "host driver status key asc ascq", 3 abort fails, 4 LUN reset
# fails. COUNT -N for the next N commands, positive for always. CMD is a hex
# opcode, ff any. Error 2 with a host byte alone still needs a sense key that
# is not 0, or sd repeats the command for ever.
#   error_inject sda 2 -1 0 0 0 2 6 2a 6      next TUR: ALUA state changed
#   error_inject sda 0 1 ff                   the path hangs

scsi_debug_array() {
    local hosts=4 luns=1 size=8 options=''
    while [ $# -gt 0 ]; do
        case $1 in
            --hosts) hosts=$2 ;;
            --luns) luns=$2 ;;
            --size) size=$2 ;;
            --options) options=$2 ;;
            *) lab_die "no such option: $1" ;;
        esac
        shift 2
    done
    modprobe -a sd_mod sg
    # The host number in the designator would make every path a LU of its own.
    # shellcheck disable=SC2086
    modprobe scsi_debug vpd_use_hostno=0 add_host="$hosts" max_luns="$luns" dev_size_mb="$size" $options ||
        lab_die "scsi_debug does not load"
    udevadm settle -t 600
}

udev_end() {
    udevadm control --exit
    wait_for 20 not pidof systemd-udevd
    rm -f /run/udev/control
}

scsi_debug_bare() {
    udev_end
    modprobe sg
    # No sd: sg and bsg have their nodes from the kernel itself.
    modprobe scsi_debug no_uld=1 vpd_use_hostno=0 "$@" || lab_die "scsi_debug does not load"
}

# The directories of its hosts, in order of creation.
scsi_debug_path() { # HOST LUN
    local h hosts
    mapfile -t hosts < <(for h in /sys/bus/pseudo/devices/adapter*/host*; do echo "${h##*/host}"; done | sort -n)
    hctl_dev "${hosts[$1 - 1]}:0:0:$2"
}
# With the rules of sg3-utils-udev (multipath-tools depends on them) a T10 id
# comes before a locally assigned NAA one.
scsi_debug_wwid() { printf '1Linux_scsi_debug_%d\n' $((2000 + $1)); }

lab_hctl() { case $1 in *:*) REPLY=$1 ;; *) REPLY=$(path_hctl "$1") ;; esac; }

error_inject() {
    lab_hctl "$1"
    shift
    echo "$*" >"/sys/kernel/debug/scsi_debug/$REPLY/error"
}
error_clear() {
    lab_hctl "$1"
    shift
    echo "- $*" >"/sys/kernel/debug/scsi_debug/$REPLY/error"
}
