# shellcheck shell=bash
# multipath-tools as the owner of the maps, for comparison.
#
#   peer_multipathd_start [SECONDS]   polling_interval (5); its own udev rules
#                                     are active, those of dm-psa are not
#   peer_take_over [SECONDS [quiet]]; peer_run    the two halves of that: set up rules and settings, and notify
#                                     the disks unless "quiet"; start the daemon without waiting for it
#   peer_multipathd_stop [flush]      stops it; "flush" removes its maps too
#   peer_maps COUNT                   whether it has that many maps (for wait_for)
#
# Stop the agent first: the two must not run at the same time.

PEER_PID=''
# Not in the shared folder: a write there takes milliseconds.
LAB_PEER_LOG=/run/lab/multipathd.log
# Rules of multipath-tools that the image overrides with links to /dev/null.
peer_rules() { find /usr/lib/udev/rules.d -name '*multipath*.rules' -o -name '*dm-mpath*.rules'; }
psa_rules() { find /usr/lib/udev/rules.d /lib/udev/rules.d -name '*dm-psa*.rules'; }

peer_take_over() {
    local r
    for r in $(peer_rules); do rm -f "/etc/udev/rules.d/${r##*/}"; done
    for r in $(psa_rules); do ln -sf /dev/null "/etc/udev/rules.d/${r##*/}"; done
    cat >/etc/multipath.conf <<C
defaults {
    find_multipaths greedy
    user_friendly_names no
    polling_interval ${1:-5}
    max_polling_interval ${1:-5}
}
C
    udevadm control --reload
    # The existing disks get the variables of the rules that are active now.
    [ "${2:-}" = quiet ] || udevadm trigger --action=change --subsystem-match=block
    udevadm settle
    modprobe -a dm_multipath dm_service_time
}
peer_run() {
    multipathd -d -s -v2 >>$LAB_PEER_LOG 2>&1 &
    PEER_PID=$!
}
peer_multipathd_start() {
    peer_take_over "$@"
    peer_run
    wait_for 60 peer_answers || { tail -5 "$LAB_PEER_LOG"; lab_die "multipathd does not answer"; }
}
peer_answers() { multipathd show daemon | grep -q -E 'idle|running'; }
peer_maps() { [ "$(dmsetup ls --target multipath 2>/dev/null | grep -c '(')" = "$1" ]; }

peer_multipathd_stop() {
    multipathd shutdown >/dev/null
    wait_for 20 not running "$PEER_PID"
    wait "$PEER_PID" 2>/dev/null
    [ "${1:-}" != flush ] || multipath -F
    peer_give_back
}
# Activates the rules of dm-psa again.
peer_give_back() {
    local r
    for r in $(peer_rules); do ln -sf /dev/null "/etc/udev/rules.d/${r##*/}"; done
    for r in $(psa_rules); do rm -f "/etc/udev/rules.d/${r##*/}"; done
    udevadm control --reload
}
