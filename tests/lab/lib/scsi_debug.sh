# shellcheck shell=bash
# scsi_debug: many disks at low cost, and errors on demand.
#
#   scsi_debug_array [--hosts N] [--luns N] [--size MB] [--options 'K=V ...']
#       each LUN is one logical unit visible through every host (4 hosts, 1 LUN)
#   scsi_debug_bare [K=V ...]        units without disks and without udev, for tests of commands alone: many at low cost
#   udev_end                         stops udevd, and makes programs see that it does not run
#   scsi_debug_path HOST LUN         prints its sdX (HOST 1.. in order of creation)
#   scsi_debug_wwid LUN              prints the WWID that udev and multipath-tools use
#   error_inject HCTL|SDX TYPE COUNT CMD [ARG...]    from 6.7 on
#   error_clear  HCTL|SDX TYPE CMD
#
# Limits: all LUNs share one RAM store (so no test can verify whose data it is),
# and ALUA states follow from the host number and never change.
#
# error_inject: TYPE 0 no answer (timeout), 1 return value of queuecommand,
# 2 completion "host driver status key asc ascq", 3 abort fails, 4 LUN reset
# fails. COUNT -N for the next N commands, positive for all. CMD is a hex
# opcode, ff any. An error of type 2 with only a host byte still needs a sense
# key that is not 0, or sd repeats the command for ever.
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
    # With the host number in the designator every path would be a separate LU.
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
    # No sd: the kernel itself creates the nodes of sg and bsg.
    modprobe scsi_debug no_uld=1 vpd_use_hostno=0 "$@" || lab_die "scsi_debug does not load"
}

# The directories of its hosts, in order of creation.
scsi_debug_path() { # HOST LUN
    local h hosts
    mapfile -t hosts < <(for h in /sys/bus/pseudo/devices/adapter*/host*; do echo "${h##*/host}"; done | sort -n)
    hctl_dev "${hosts[$1 - 1]}:0:0:$2"
}
# With the rules of sg3-utils-udev (multipath-tools depends on them) a T10 id
# has priority over a locally assigned NAA id.
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
