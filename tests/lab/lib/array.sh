# shellcheck shell=bash
# The parts that all LIO arrays share.
#
# An array has LUs 1..N, ports 1..M and target port groups. A LU has the same
# LUN on every port, and a group has the same id on every LU (LIO keeps groups
# per LU). lio_loop, lio_iscsi and lio_fc build one array each and take:
#
#   --lus N                 LUs (1)
#   --at 'LU:PORT[,PORT] ...'   these LUs instead, each on these ports only: a session then sees only its LU
#   --groups 'ID:STATE:PORT[,PORT...] ...'
#                           target port groups ('1:ao:1,2 2:ano:3,4')
#   --alua none|implicit|explicit|both    what the LUs offer (both)
#   --size MB               of each LU (64)
#   --first K               number of the first LU (1): a second array
#   --lun-base N            LUN of LU 1 (0 on tcm_loop, else 1). LIO never
#                           refuses LUN 0: if nothing is mapped there, a RAM
#                           disk answers, with PQ 1 and another identity, and
#                           accepts reads and writes. Only other LUNs fail with
#                           5/25/00 when they are unmapped.
#
# STATE is ao, ano, standby, unavailable, lba, offline or transitioning.
#
# Functions; ports and LUs are numbers, or "all":
#
#   path_down PORT...   path_up PORT...       a port stops answering, answers again
#   alua_set GROUP STATE [LU...]              implicit change, made by the array
#   alua_status [LU...]                       prints "LU GROUP STATE none|explicit|implicit",
#                                             where the last word says how the last change was made
#   lu_remove LU [PORT...]   lu_add LU [PORT...]   unmaps the LU, maps it again
#   lu_other N [SIZE_MB [SERIAL_OF]]          creates backstore N without any mapping; with SERIAL_OF it has the serial
#                                             number of that LU, and so claims to be that LU
#   lu_behind LU OTHER PORT                   from the next lu_add on, OTHER answers as LU on that port
#   lu_grow LU SIZE_MB                        gives the LU a larger size
#   lu_swap LU OTHER PORT                     as lu_behind, but unmaps and maps within a millisecond
#   port_remove PORT...  port_add PORT...     removes the port from the array, adds it again
#   path_dev PORT LU                          prints its sdX
#   path_delete SDX|H:C:T:L ...   path_rescan H:C:T:L ...    removes, rescans SCSI devices on the host
#   path_hctl SDX                             prints its H:C:T:L
#   lu_wwid LU   lu_naa LU                    prints 3600..., naa.600...
#
# The port functions act on the array that was created last (its transport is LAB_TRANSPORT).

LAB_TARGET=/sys/kernel/config/target
LAB_STORE=/dev/shm
LAB_TRANSPORT=''
# The group of each LUN, so that a LUN that is mapped again returns to its group.
declare -A LAB_PORT_GROUP=()
# The LUs of a port, if not all.
declare -A LAB_LUS_AT=()
# The backstore behind a LU on a port (LU:PORT), if it is not that of the LU.
declare -A LAB_BEHIND=()
LAB_LUS=''
LAB_PORTS=''
LAB_LUN_BASE=0

lab_die() { echo "lab: $*" >&2; exit 99; }

alua_code() {
    case $1 in
        ao) REPLY=0 ;; ano) REPLY=1 ;; standby) REPLY=2 ;; unavailable) REPLY=3 ;;
        lba) REPLY=4 ;; offline) REPLY=14 ;; transitioning) REPLY=15 ;;
        *) lab_die "no such ALUA state: $1" ;;
    esac
}

# Parse the options that all arrays share into LAB_OPT_*.
array_options() {
    local at=''
    LAB_OPT_lus=1 LAB_OPT_groups='1:ao:1,2 2:ano:3,4' LAB_OPT_alua=both LAB_OPT_size=64 LAB_OPT_first=1
    if [ "$LAB_TRANSPORT" = loop ]; then LAB_LUN_BASE=0; else LAB_LUN_BASE=1; fi
    while [ $# -gt 0 ]; do
        case $1 in
            --lus) LAB_OPT_lus=$2 ;;
            --at) at=$2 ;;
            --groups) LAB_OPT_groups=$2 ;;
            --alua) LAB_OPT_alua=$2 ;;
            --size) LAB_OPT_size=$2 ;;
            --first) LAB_OPT_first=$2 ;;
            --lun-base) LAB_LUN_BASE=$2 ;;
            *) lab_die "no such array option: $1" ;;
        esac
        shift 2
    done
    local group id ports port lu
    LAB_LUS='' LAB_PORTS='' LAB_LUS_AT=()
    for lu in $at; do
        LAB_LUS+=" ${lu%%:*}"
        ports=${lu#*:}
        for port in ${ports//,/ }; do LAB_LUS_AT[$port]+=" ${lu%%:*}"; done
    done
    [ -n "$at" ] || for ((id = LAB_OPT_first; id < LAB_OPT_first + LAB_OPT_lus; id++)); do LAB_LUS+=" $id"; done
    for group in $LAB_OPT_groups; do
        IFS=: read -r id _ ports <<<"$group"
        for port in ${ports//,/ }; do
            LAB_PORT_GROUP[$LAB_TRANSPORT$port]=$id
            LAB_PORTS+=" $port"
        done
    done
}

# Creates the backstores with their port groups.
array_lus() {
    local lu
    mkdir -p /etc/target/alua /etc/target/pr
    modprobe -a target_core_mod target_core_file
    for lu in $LAB_LUS; do array_lu "$lu" "$LAB_OPT_size" "$lu"; done
}

# array_lu NUMBER SIZE_MB SERIAL: creates one backstore
array_lu() {
    local group id state file type b
    case $LAB_OPT_alua in
        none) type=0 ;; implicit) type=1 ;; explicit) type=2 ;; both) type=3 ;;
        *) lab_die "--alua takes none, implicit, explicit or both" ;;
    esac
    b=$LAB_TARGET/core/fileio_$1/lu$1
    [ ! -d "$b" ] || return 0
    mkdir -p "$b"
    file=$LAB_STORE/lu$1
    truncate -s "$2M" "$file"
    echo "fd_dev_name=$file,fd_dev_size=$(($2 * 1048576)),fd_buffered_io=1" >"$b/control"
    # The NAA id consists of the first 25 hex digits of the serial number.
    printf '%08daabbccdd\n' "$3" >"$b/wwn/vpd_unit_serial"
    echo 1 >"$b/enable"
    for group in $LAB_OPT_groups; do
        IFS=: read -r id state _ <<<"$group"
        mkdir "$b/alua/g$id"
        echo "$id" >"$b/alua/g$id/tg_pt_gp_id"
        # A state can be written only while implicit changes are allowed.
        echo 3 >"$b/alua/g$id/alua_access_type"
        # The default delays every command of a non-optimized port by 100 ms.
        echo 0 >"$b/alua/g$id/nonop_delay_msecs"
        alua_code "$state"
        echo "$REPLY" >"$b/alua/g$id/alua_access_state"
        echo $type >"$b/alua/g$id/alua_access_type"
        # Reset the status, so that alua_status does not report this write.
        echo 0 >"$b/alua/g$id/alua_access_status"
    done
}

lu_other() { array_lu "$1" "${2:-$LAB_OPT_size}" "${3:-$1}"; }
# Only the array changes: LIO does not notify the host, which finds out when it rescans its paths.
lu_grow() {
    truncate -s "$2M" "$LAB_STORE/lu$1"
    echo "fd_dev_size=$(($2 * 1048576))" >"$LAB_TARGET/core/fileio_$1/lu$1/control"
}
lu_behind() { LAB_BEHIND[$1:$3]=$2; }

# One process does both, because a fork in between would leave a gap. The group is set last, as in lun_map.
lu_swap() {
    local l
    "${LAB_TRANSPORT}_tpg" "$3"
    l=$REPLY/lun/lun_$(($1 - 1 + LAB_LUN_BASE))
    lu_behind "$1" "$2" "$3"
    python3 - "$l" "$LAB_TARGET/core/fileio_$2/lu$2" "${LAB_PORT_GROUP[$LAB_TRANSPORT$3]:-}" <<'SWAP'
import glob, os, sys
lun, store, group = sys.argv[1:]
# tcm_fc: the initiator's own mapping of this LUN stands on it.
mapped = [link for link in glob.glob(lun + "/../../acls/*/" + os.path.basename(lun) + "/*") if os.path.islink(link)]
for link in mapped:
    os.unlink(link)
os.unlink(lun + "/lu")
os.symlink(store, lun + "/lu")
for link in mapped:
    os.symlink(lun, link)
if group:
    with open(lun + "/alua_tg_pt_gp", "w") as file:
        file.write("g" + group)
SWAP
}

# port_lus_map TPG_DIR PORT: maps all that a new port exports
port_lus_map() {
    local lu
    for lu in ${LAB_LUS_AT[$2]:-$LAB_LUS}; do "${LAB_TRANSPORT}_lun_map" "$1" "$lu" "$2"; done
}

# lun_map TPG_DIR LU PORT: exports the LU and puts it into its group
lun_map() {
    local l=$1/lun/lun_$(($2 - 1 + LAB_LUN_BASE)) group=${LAB_PORT_GROUP[$LAB_TRANSPORT$3]:-}
    local store=${LAB_BEHIND[$2:$3]:-$2}
    mkdir -p "$l" && ln -s "$LAB_TARGET/core/fileio_$store/lu$store" "$l/lu" || return
    [ -z "$group" ] || echo "g$group" >"$l/alua_tg_pt_gp"
}

lun_unmap() {
    local l=$1/lun/lun_$(($2 - 1 + LAB_LUN_BASE))
    [ ! -e "$l/lu" ] || rm "$l/lu"
    [ ! -d "$l" ] || rmdir "$l"
}

# lun_unmap_all TPG_DIR
lun_unmap_all() {
    local l
    for l in "$1"/lun/lun_*; do
        [ ! -d "$l" ] || lun_unmap "$1" $((${l##*lun_} + 1 - LAB_LUN_BASE))
    done
}

lab_ports() { if [ $# = 0 ] || [ "$1" = all ]; then echo "$LAB_PORTS"; else echo "$*"; fi; }

path_down() { local p; for p in $(lab_ports "$@"); do "${LAB_TRANSPORT}_down" "$p"; done; }
path_up() { local p; for p in $(lab_ports "$@"); do "${LAB_TRANSPORT}_up" "$p"; done; }
port_remove() { local p; for p in $(lab_ports "$@"); do "${LAB_TRANSPORT}_port_remove" "$p"; done; }
port_add() { local p; for p in $(lab_ports "$@"); do "${LAB_TRANSPORT}_port_add" "$p"; done; }
path_dev() { "${LAB_TRANSPORT}_dev" "$@"; }

lu_remove() {
    local lu=$1 p; shift
    for p in $(lab_ports "$@"); do "${LAB_TRANSPORT}_tpg" "$p"; "${LAB_TRANSPORT}_lun_unmap" "$REPLY" "$lu" "$p"; done
}
lu_add() {
    local lu=$1 p; shift
    for p in $(lab_ports "$@"); do "${LAB_TRANSPORT}_tpg" "$p"; "${LAB_TRANSPORT}_lun_map" "$REPLY" "$lu" "$p"; done
}

alua_set() {
    local group=$1 state=$2 lu
    shift 2
    alua_code "$state"
    if [ $# = 0 ] || [ "$1" = all ]; then
        # shellcheck disable=SC2086
        set -- $LAB_LUS
    fi
    for lu; do echo "$REPLY" >"$LAB_TARGET/core/fileio_$lu/lu$lu/alua/g$group/alua_access_state"; done
}

alua_status() {
    local lu g state status
    if [ $# = 0 ] || [ "$1" = all ]; then
        # shellcheck disable=SC2086
        set -- $LAB_LUS
    fi
    for lu; do
        for g in "$LAB_TARGET/core/fileio_$lu/lu$lu"/alua/g[0-9]*; do
            read -r state <"$g/alua_access_state"
            read -r status <"$g/alua_access_status"
            case $state in
                0) state=ao ;; 1) state=ano ;; 2) state=standby ;; 3) state=unavailable ;;
                4) state=lba ;; 14) state=offline ;; 15) state=transitioning ;;
            esac
            # The kernel prints "None", "Altered by Explicit STPG" or
            # "Altered by Implicit ALUA".
            case $status in *xplicit*) status=explicit ;; *mplicit*) status=implicit ;; *) status=none ;; esac
            echo "$lu ${g##*/g} $state $status"
        done
    done
}

lu_wwid() { printf '36001405%08daabbccdd000000000\n' "$1"; }
lu_naa() { printf 'naa.6001405%08daabbccdd000000000\n' "$1"; }

path_hctl() { local d; d=$(readlink "/sys/block/$1/device") && echo "${d##*/}"; }

# path_is PORT LU: whether that path is a disk (for wait_for)
path_is() { [ -n "$(path_dev "$1" "$2")" ]; }

hctl_dev() { local b; for b in "/sys/class/scsi_device/$1/device/block/"*; do [ -e "$b" ] && echo "${b##*/}"; done; }

path_delete() {
    local x
    for x; do
        case $x in *:*) echo 1 >"/sys/class/scsi_device/$x/device/delete" ;; *) echo 1 >"/sys/block/$x/device/delete" ;; esac
    done
}

path_rescan() {
    local x h c t l
    for x; do
        IFS=: read -r h c t l <<<"$x"
        if [ "$(<"/sys/class/scsi_host/host$h/proc_name")" = tcm_loopback ]; then
            # This host's max_lun is 0: it refuses every LUN number, and a scan
            # of all of them finds LUN 0 only.
            if [ "$l" = 0 ]; then
                echo "$c $t -" >"/sys/class/scsi_host/host$h/scan"
            else
                lio_loop_relink "$h" "$t" "$l"
            fi
        else
            echo "$c $t $l" >"/sys/class/scsi_host/host$h/scan"
        fi
    done
}

# disk_reads SDX: whether a read reaches the medium
disk_reads() { dd if="/dev/$1" of=/dev/null bs=4k count=1 iflag=direct 2>&1; }
# tur SDX: sends one TEST UNIT READY. Without -l, sg_turs of sg3-utils 1.48
# sends no command at all and still exits with 0.
tur() { sg_turs -l "/dev/$1"; }
# settle_path SDX: takes the pending unit attentions of the path
settle_path() { tur "$1" >/dev/null 2>&1; tur "$1" >/dev/null 2>&1; }

# Waits until the disks that a transport has just found have their device nodes and links.
lab_settle() { udevadm settle -t 240; }
