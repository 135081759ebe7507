# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153,SC2154 # variables are shared with the other parts
# LIO over Fibre Channel without hardware: for each port a veth pair iP--tP with
# an FCoE VN2VN port on each end. iP is the host's adapter, tP the array's port,
# exported by tcm_fc. fc_host and fc_remote_ports are real, frames are software.
#
#   lio_fc [ARRAY OPTION...] [--fast-io-fail S] [--dev-loss S]
#
# fast_io_fail_tmo (2 here; off by default in the kernel) and dev_loss_tmo (60)
# are set on every remote port.
#
# Everything is created and mapped while the links are down: a beacon that
# arrives while a port is being created can oops 6.12 in fcoe_ctlr_vn_recv.

lio_fc() {
    local rest=() p mac
    LAB_FC_FAST=2 LAB_FC_LOSS=60
    while [ $# -gt 0 ]; do
        case $1 in
            --fast-io-fail) LAB_FC_FAST=$2 ;;
            --dev-loss) LAB_FC_LOSS=$2 ;;
            *) rest+=("$1" "$2") ;;
        esac
        shift 2
    done
    LAB_TRANSPORT='fc'
    array_options ${rest[@]+"${rest[@]}"}
    modprobe -a veth libfc libfcoe fcoe tcm_fc sd_mod sg
    array_lus
    mkdir -p "$LAB_TARGET/fc"
    for p in $LAB_PORTS; do
        # Port names are derived from these addresses: they are the same in every run.
        mac=$(printf %02x "$p")
        ip link add "i$p" address "02:00:00:00:10:$mac" type veth \
            peer name "t$p" address "02:00:00:00:20:$mac"
        echo "i$p" >/sys/module/libfcoe/parameters/create_vn2vn
        echo "t$p" >/sys/module/libfcoe/parameters/create_vn2vn
    done
    for p in $LAB_PORTS; do
        wait_for 10 fc_host "i$p" || lab_die "no FC host on i$p"
        wait_for 10 fc_host "t$p" || lab_die "no FC host on t$p"
        fc_port_add "$p"
    done
    for p in $LAB_PORTS; do fc_up "$p"; done
    for p in $LAB_PORTS; do
        wait_for 60 fc_rport "$p" || lab_die "port $p: no remote port"
        fc_timeouts "$p"
        wait_for 20 path_is "$p" "$LAB_OPT_first" || lab_die "port $p: no disk"
    done
    lab_settle
}

# fc_host NETDEV: sets REPLY to /sys/class/fc_host/hostN of the FCoE port on it
fc_host() {
    local h name
    for h in /sys/class/fc_host/host*; do
        name=''
        { read -r name <"$h/symbolic_name"; } 2>/dev/null
        case $name in *" over $1") REPLY=$h; return ;; esac
    done
    return 1
}

# fc_wwpn NETDEV: sets REPLY to the WWPN with colons, as tcm_fc needs it
fc_wwpn() {
    local w
    fc_host "$1" || return
    read -r w <"$REPLY/port_name"
    w=${w#0x}
    REPLY=${w:0:2}:${w:2:2}:${w:4:2}:${w:6:2}:${w:8:2}:${w:10:2}:${w:12:2}:${w:14:2}
}

fc_tpg() { fc_wwpn "t$1"; REPLY=$LAB_TARGET/fc/$REPLY/tpgt_1; }

# tcm_fc has no demo mode: each LUN is mapped explicitly for the initiator.
fc_lun_map() { # TPG LU PORT
    local n=$(($2 - 1 + LAB_LUN_BASE)) acl
    lun_map "$@"
    fc_wwpn "i$3"
    acl=$1/acls/$REPLY/lun_$n
    mkdir -p "$acl"
    ln -s "$1/lun/lun_$n" "$acl/lu"
}
fc_lun_unmap() {
    local n=$(($2 - 1 + LAB_LUN_BASE)) acl
    fc_wwpn "i$3"
    acl=$1/acls/$REPLY/lun_$n
    [ ! -e "$acl/lu" ] || rm "$acl/lu"
    [ ! -d "$acl" ] || rmdir "$acl"
    lun_unmap "$1" "$2"
}

# lun_protect PORT LU 0|1: the array refuses writes to the LU through this port, without notifying the host.
lun_protect() {
    local t
    fc_tpg "$1"
    t=$REPLY
    fc_wwpn "i$1"
    echo "$3" >"$t/acls/$REPLY/lun_$(($2 - 1 + LAB_LUN_BASE))/write_protect"
}

fc_port_add() {
    local t
    fc_tpg "$1"
    t=$REPLY
    mkdir -p "$t"
    [ ! -f "$t/rtpi" ] || echo "$1" >"$t/rtpi"
    port_lus_map "$t" "$1"
    [ ! -f "$t/enable" ] || echo 1 >"$t/enable"
}

fc_port_remove() {
    local t lu
    fc_down "$1"
    fc_tpg "$1"
    t=$REPLY
    for lu in $LAB_LUS; do fc_lun_unmap "$t" "$lu" "$1"; done
    rmdir "$t"/acls/* "$t" "${t%/*}"
}

# Pulls the cable: both ends lose the link. New commands are dropped slightly
# earlier, because tcm_fc never ends a WRITE whose data does not arrive. Its
# session would wait for ever, and with it every FC port of the kernel
# (fc_rport_work is one ordered queue; seen on 6.12 and 7.2).
fc_down() {
    # Drop them where they arrive: on the sending side fcoe would queue frames it
    # cannot send, and hold back the data frames behind them. R_CTL is 14 bytes
    # behind the Ethernet header; 6 is an FCP command.
    tc qdisc add dev "t$1" clsact 2>/dev/null
    tc filter add dev "t$1" ingress protocol all u32 match u8 0x06 0xff at 14 action drop
    sleep_ms 300
    ip link set "t$1" down
}
fc_up() {
    tc filter del dev "t$1" ingress 2>/dev/null
    ip link set "i$1" up
    ip link set "t$1" up
}

# fc_rport PORT: sets REPLY to the array port's
# /sys/class/fc_remote_ports/rport-... as the host's adapter sees it
fc_rport() {
    local r host want name
    fc_host "t$1" || return
    read -r want <"$REPLY/port_name"
    fc_host "i$1" || return
    host=${REPLY##*/host}
    for r in "/sys/class/fc_remote_ports/rport-$host":*; do
        name=''
        { read -r name <"$r/port_name"; } 2>/dev/null
        [ "$name" = "$want" ] || continue
        REPLY=$r
        return
    done
    return 1
}

fc_timeouts() {
    fc_rport "$1" || return
    echo "$LAB_FC_FAST" >"$REPLY/fast_io_fail_tmo"
    echo "$LAB_FC_LOSS" >"$REPLY/dev_loss_tmo"
}

fc_dev() { # PORT LU
    local b r
    fc_rport "$1" || return
    r=$(readlink -f "$REPLY/device")
    for b in "$r"/target*/*:$(($2 - 1 + LAB_LUN_BASE))/block/*; do [ -e "$b" ] && echo "${b##*/}"; done
}
