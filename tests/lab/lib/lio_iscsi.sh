# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # variables are shared with the other parts
# LIO over iSCSI, target and initiator in one kernel, over the loopback
# interface. There is one target. Each port is one of its portal groups (TPG)
# with one or more portals, and has its own address 10.99.0.PORT. The host has
# one session per portal. iscsid runs, so a lost session is logged in again.
#
#   lio_iscsi [ARRAY OPTION...] [--portals N] [--recovery S]
#
# --recovery is node.session.timeo.replacement_timeout: how long I/O waits for a
# lost session (3 here, 120 by default in open-iscsi).

LAB_IQN=iqn.2026-01.lab:array
LAB_PORTALS=1

lio_iscsi() {
    local rest=() recovery=3 port n
    LAB_PORTALS=1
    while [ $# -gt 0 ]; do
        case $1 in
            --portals) LAB_PORTALS=$2 ;;
            --recovery) recovery=$2 ;;
            *) rest+=("$1" "$2") ;;
        esac
        shift 2
    done
    LAB_TRANSPORT=iscsi
    array_options ${rest[@]+"${rest[@]}"}
    modprobe -a iscsi_target_mod iscsi_tcp sd_mod sg
    array_lus
    for port in $LAB_PORTS; do iscsi_port_add "$port"; done

    cat >/etc/iscsi/iscsid.conf <<C
node.startup = manual
node.session.timeo.replacement_timeout = $recovery
node.conn[0].timeo.login_timeout = 5
node.conn[0].timeo.noop_out_interval = 2
node.conn[0].timeo.noop_out_timeout = 2
node.session.err_timeo.abort_timeout = 5
node.session.scan = auto
C
    # iscsid must run before iscsiadm asks it for its settings: if the socket unit
    # still has to start it, iscsiadm silently uses the built-in settings.
    if under_systemd; then systemctl start iscsid.service; else pidof iscsid >/dev/null || iscsid_start; fi
    for port in $LAB_PORTS; do
        for ((n = 1; n <= LAB_PORTALS; n++)); do iscsi_login "$port" "$n" || lab_die "no iSCSI session to port $port"; done
    done
    lab_settle
}

iscsid_start() {
    iscsid -f -d 2 >/run/lab/iscsid.log 2>&1 &
    sleep 1
}

# iscsi_portal PORT N: sets REPLY to the TCP port of the N-th portal
iscsi_portal() { REPLY=$((3259 + ($1 - 1) * LAB_PORTALS + $2)); }
iscsi_address() { ip address "$2" "10.99.0.$1/32" dev lo; } # PORT add|del
iscsi_tpg() { REPLY=$LAB_TARGET/iscsi/$LAB_IQN/tpgt_$1; }
iscsi_lun_map() { lun_map "$@"; }
iscsi_lun_unmap() { lun_unmap "$1" "$2"; }

iscsi_port_add() {
    local t n
    iscsi_tpg "$1"
    t=$REPLY
    mkdir -p "$t"
    iscsi_address "$1" add 2>/dev/null
    for ((n = 1; n <= LAB_PORTALS; n++)); do
        iscsi_portal "$1" "$n"
        mkdir "$t/np/10.99.0.$1:$REPLY"
    done
    echo 0 >"$t/attrib/authentication"
    echo 1 >"$t/attrib/generate_node_acls"
    echo 0 >"$t/attrib/demo_mode_write_protect"
    echo 1 >"$t/attrib/cache_dynamic_acls"
    [ ! -f "$t/rtpi" ] || echo "$1" >"$t/rtpi"
    port_lus_map "$t" "$1"
    echo 1 >"$t/enable"
}

iscsi_port_remove() {
    local t
    iscsi_tpg "$1"
    t=$REPLY
    echo 0 >"$t/enable"
    lun_unmap_all "$t"
    rmdir "$t"/np/* "$t"
}

iscsi_login() {
    iscsi_portal "$1" "$2"
    local node=(iscsiadm -m node -T "$LAB_IQN" -p "10.99.0.$1:$REPLY,$1")
    "${node[@]}" -o new >/dev/null && "${node[@]}" --login >/dev/null
}
iscsi_logout() {
    iscsi_portal "$1" "$2"
    iscsiadm -m node -T "$LAB_IQN" -p "10.99.0.$1:$REPLY,$1" --logout >/dev/null
}

# The network to the port is down: sessions fail when their NOP-Outs are not answered, and log in again when it is back.
# (A disabled portal group would refuse logins, and then iscsid gives a session up permanently.)
iscsi_down() { iscsi_address "$1" del; }
iscsi_up() { iscsi_address "$1" add; }

# iscsi_session PORT [PORTAL]: sets REPLY to /sys/class/iscsi_session/sessionN
iscsi_session() {
    local c tcp
    iscsi_portal "$1" "${2:-1}"
    for c in /sys/class/iscsi_connection/connection*; do
        tcp=''
        { read -r tcp <"$c/persistent_port"; } 2>/dev/null
        [ "$tcp" = "$REPLY" ] || continue
        c=${c##*connection}
        REPLY=/sys/class/iscsi_session/session${c%:*}
        return
    done
    return 1
}

iscsi_dev() { # PORT LU [PORTAL]
    local b
    iscsi_session "$1" "${3:-1}" || return
    for b in "$REPLY"/device/target*/*:$(($2 - 1 + LAB_LUN_BASE))/block/*; do [ -e "$b" ] && echo "${b##*/}"; done
}

# host_rescan: scans the host for new LUs
host_rescan() {
    local h
    for h in /sys/class/scsi_host/host*; do echo '- - -' >"$h/scan"; done
    lab_settle
}
