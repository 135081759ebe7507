# shellcheck shell=bash
# The same functions for dm-psad and multipathd, to measure them one after the other in one guest. DAEMON is its name.
#
#   rival_prepare DAEMON      activates its udev rules and settings, and notifies the disks
#   rival_run DAEMON          starts it without waiting; sets RIVAL_PID
#   rival_stop DAEMON         stops it; its maps stay
#   rival_clear DAEMON        removes its maps and waits for udev
#   rival_lists DAEMON N      whether its command line answers and lists N maps (for wait_for)
#   rival_list DAEMON         lists all its paths, as an admin would
#   rival_order ROUND         sets REPLY to the order of both in this round: they take turns
#   path_rules_off            from the next rival_prepare on, neither has udev rules for its paths
#   record WHAT PATHS DAEMON ROUND VALUE    adds a result to the report: a number, or "late N" for "not within N s"
#   record_late WHAT PATHS DAEMON ROUND SECONDS

RIVAL_PID=''
RIVAL_PATH_RULES=1
RIVAL_RESULTS=/share/results.tsv

rival_prepare() {
    local r
    if [ "$1" = multipathd ]; then
        # Without rules for paths, nothing changes for the disks.
        peer_take_over 5 "${RIVAL_PATH_RULES:-quiet}"
    fi
    if [ -z "$RIVAL_PATH_RULES" ]; then
        for r in 56-dm-psa-path 60-multipath; do ln -sf /dev/null "/etc/udev/rules.d/$r.rules"; done
        udevadm control --reload
    fi
}
path_rules_off() { RIVAL_PATH_RULES=''; }

rival_run() {
    if [ "$1" = multipathd ]; then peer_run && RIVAL_PID=$PEER_PID; else agent_run && RIVAL_PID=$AGENT_PID; fi
}

rival_stop() {
    case $1 in
        multipathd)
            multipathd shutdown >/dev/null
            wait_for 30 not running "$PEER_PID" || kill -9 "$PEER_PID"
            wait "$PEER_PID" 2>/dev/null
            ;;
        *) agent_stop || agent_kill ;;
    esac
}

rival_clear() {
    dmsetup remove_all --force >/dev/null 2>&1
    udevadm settle -t 120
    if [ "$1" = multipathd ]; then peer_give_back; fi
}

rival_lists() {
    local lines
    if [ "$1" = multipathd ]; then
        mapfile -t lines < <(multipathd show maps raw format '%n' 2>/dev/null)
        [ ${#lines[@]} = "$2" ] && [[ ${lines[0]} != *timeout* ]]
    else
        # The first line has the column titles.
        mapfile -t lines < <(psactl storage nmp device list --formatter=csv 2>/dev/null)
        [ ${#lines[@]} = $(($2 + 1)) ]
    fi
}

rival_list() {
    if [ "$1" = multipathd ]; then multipathd show paths; else psactl storage nmp path list; fi
}

rival_order() { if [ $(($1 % 2)) = 1 ]; then REPLY='dm-psad multipathd'; else REPLY='multipathd dm-psad'; fi; }

record() {
    printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$RIVAL_RESULTS"
    note "$3, $2 paths, round $4: $1 $5"
}
record_late() { record "$1" "$2" "$3" "$4" "late $5"; }
