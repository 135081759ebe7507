# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # variables are shared with the other parts
# LIO over tcm_loop: each port is a SCSI host of its own, all in one kernel.

lio_loop() { # OPTION...: see array.sh
    LAB_TRANSPORT=loop
    array_options "$@"
    modprobe -a tcm_loop sd_mod sg
    array_lus
    local p
    for p in $LAB_PORTS; do loop_port_add "$p"; done
    lab_settle
}

loop_tpg() { printf -v REPLY '%s/loopback/naa.50014050000%05x/tpgt_1' "$LAB_TARGET" "$1"; }
loop_lun_map() { lun_map "$@"; }
loop_lun_unmap() { lun_unmap "$1" "$2"; }

loop_port_add() {
    local t
    loop_tpg "$1"
    t=$REPLY
    mkdir -p "$t"
    # From 6.12 on every port has relative id 0 until it is set.
    [ ! -f "$t/rtpi" ] || echo "$1" >"$t/rtpi"
    # One nexus name per path, so that each path is a separate registrant.
    printf 'naa.60014050000%05x\n' "$1" >"$t/nexus"
    port_lus_map "$t" "$1"
}

loop_port_remove() {
    local t
    loop_tpg "$1"
    t=$REPLY
    lun_unmap_all "$t"
    echo NULL >"$t/nexus"
    rmdir "$t" "${t%/*}"
}

loop_down() { loop_tpg "$1"; echo offline >"$REPLY/transport_status"; }
loop_up() { loop_tpg "$1"; echo online >"$REPLY/transport_status"; }

loop_dev() {
    local address
    loop_tpg "$1"
    read -r address <"$REPLY/address"
    hctl_dev "$address:$(($2 - 1 + LAB_LUN_BASE))"
}

# lio_loop_relink HOST TARGET LUN: unmaps and maps the LUN, which makes the kernel scan it
lio_loop_relink() {
    local p address
    for p in $LAB_PORTS; do
        loop_tpg "$p"
        read -r address <"$REPLY/address"
        [ "$address" = "$1:0:$2" ] || continue
        lun_unmap "$REPLY" $(($3 + 1 - LAB_LUN_BASE))
        lun_map "$REPLY" $(($3 + 1 - LAB_LUN_BASE)) "$p"
        return
    done
    lab_die "no tcm_loop port on host $1"
}
