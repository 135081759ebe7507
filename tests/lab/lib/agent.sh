# shellcheck shell=bash
# Runs the agent: dm-psad directly, or its unit if systemd runs.
#
#   agent_start [ARG...]   starts it and waits until it answers; LAB_WAITED is the time it took
#   agent_run [ARG...]     starts it without waiting for an answer
#   agent_stop             sends SIGTERM and waits until it has exited
#   agent_kill             kill -9
#   agent_alive            whether it runs (for wait_for)
#
# Its log is $LAB_AGENT_LOG if it runs directly (copied to the shared folder at the end), or else systemd's journal.
# AGENT_LOG is the RUST_LOG that it runs with.

AGENT_LOG=${AGENT_LOG:-info}
AGENT_PID=''
# Not in the shared folder: a write there takes milliseconds.
LAB_AGENT_LOG=/run/lab/dm-psad.log

agent_answers() { psactl storage nmp device list; }
agent_alive() { [ -n "$AGENT_PID" ] && running "$AGENT_PID"; }

agent_run() {
    if under_systemd; then
        systemctl start dm-psa.service || return
        AGENT_PID=$(systemctl show -p MainPID --value dm-psa.service)
    else
        mkdir -p /run/dm-psa
        RUST_LOG=$AGENT_LOG dm-psad "$@" >>$LAB_AGENT_LOG 2>&1 &
        AGENT_PID=$!
    fi
}
agent_start() {
    agent_run "$@" || return
    if ! wait_for 60 agent_answers; then
        note "dm-psad does not answer; the end of its log:"
        agent_words | tail -5 | sed 's/^/#   /'
        return 1
    fi
}
agent_words() { if under_systemd; then journalctl -o cat -u dm-psa.service; else cat $LAB_AGENT_LOG; fi; }

agent_stop() {
    if under_systemd; then systemctl stop dm-psa.service; return; fi
    kill -TERM "$AGENT_PID" || return
    wait_for 20 not agent_alive || return
    wait "$AGENT_PID"
}

agent_kill() {
    if under_systemd; then systemctl kill -s KILL dm-psa.service; return; fi
    kill -9 "$AGENT_PID"
    wait "$AGENT_PID" 2>/dev/null
    return 0
}

# What the agent reports, for check and wait_for:
#
#   agent_quiet               whether nothing waits to be identified, created or changed
#   agent_checks N            waits until it has made N more checks per path that it has
#   agent_setting LINE...     adds lines to its settings file; call it before the agent starts
#   explains SUBJECT TEXT...  whether `psactl explain` prints every TEXT
#   json_has WORDS FILTER     whether jq's FILTER is true for `psactl WORDS --formatter=json`
#   psactl_ms WORDS...        sets REPLY to the time psactl takes: the least of three, since other load only adds time
#   ask_start, ask_stop       asks for lists over one connection all the time; sets ASKED, ASK_FAILED, and in ms
#                             ASK_MEDIAN and ASK_LONGEST (ask.py)
#   has_events CODE N         whether its log has at least N lines with this code (count_events CODE: sets REPLY to
#                             their number)
#   checks_start DISK...      starts to record when these disks are sent commands
#   checks_stop               sets CHECK_GAP_MS, the longest time that a disk was sent none, and CHECK_GAP_DISK to it

agent_quiet() { [[ $(psactl status) == *"Settled: true"* ]]; }

checks_made() { REPLY=$(psactl metrics | awk '/^dm_psa_checks_total/ { n += $2 } END { print n + 0 }'); }
checks_reach() { checks_made; [ "$REPLY" -ge "$1" ]; }
agent_checks() {
    local paths
    paths=$(psactl core path list --formatter=json | jq length)
    checks_made
    wait_for $(($1 * 5 + 10)) checks_reach $((REPLY + $1 * paths))
}

agent_setting() {
    mkdir -p /etc/dm-psa
    printf '%s\n' "$@" >>/etc/dm-psa/dm-psa.toml
}

explains() {
    local said text
    said=$(psactl explain "$1") || return
    shift
    for text; do
        [[ $said == *"$text"* ]] || { printf 'no "%s" in:\n%s\n' "$text" "$said"; return 1; }
    done
}

# Adds rules 600 to 603 for MASK_PATH and 500 to 503 for NMP, by vendor, location, transport and driver, for a path of a
# map that has PATHS paths. Each MASK_PATH rule has to take away the paths that it matches, except the last path of a
# map in use. Each NMP rule has to give them back.
#
#   rules_decide MAP PATHS DISK

rules_decide() {
    local map=$1 paths=$2 path a c t l kind i left
    path=$(psactl core path list -p "$3" --formatter=json)
    IFS=: read -r a c t l < <(jq -r '.[0]."Runtime Name"' <<<"$path")
    local vendor driver transport
    vendor=$(psactl core device list -d "$map" --formatter=json | jq -r '.[0].Vendor' | xargs)
    transport=$(jq -r '.[0].Transport' <<<"$path")
    driver=$(psactl core adapter list --formatter=json | jq -r ".[] | select(.\"HBA Name\" == \"$a\") | .Driver")
    local kinds=("vendor -V $vendor -M *" "location -A $a -C ${c#C} -T ${t#T} -L ${l#L}" "transport -R $transport" "driver -D $driver")
    path=$a:$c:$t:$l
    for i in 0 1 2 3; do
        set -f
        # shellcheck disable=SC2086
        for rule in "60$i MASK_PATH" "50$i NMP"; do
            kind=${kinds[i]}
            note "rule ${rule% *}: -t $kind -P ${rule#* }"
            check "rule ${rule% *} is added" psactl storage core claimrule add -r ${rule% *} -P ${rule#* } -t $kind
            check "the rules are loaded" psactl storage core claimrule load
            check "the device is reclaimed" psactl storage core claiming reclaim -d "$map"
            left=$paths
            if [ "${rule#* }" = MASK_PATH ]; then
                left=1
                [ "$i" != 1 ] || left=$((paths - 1))
            fi
            check "$left paths stay in the map" wait_for 30 map_path_count "$map" $left
            check "explain names rule ${rule% *}" explains "$path" "rule ${rule% *}" "matches: ${rule#* }"
        done
        set +f
        check "rule 60$i is removed" psactl storage core claimrule remove -r "60$i"
        check "rule 50$i is removed" psactl storage core claimrule remove -r "50$i"
        check "the rules without them are loaded" psactl storage core claimrule load
        check "all paths are in use" wait_for 30 map_all_active "$map"
    done
}

json_has() {
    # shellcheck disable=SC2086
    psactl $1 --formatter=json | jq -e "$2"
}

psactl_ms() {
    local before after least=999999
    for _ in 1 2 3; do
        now_ms before
        psactl "$@" >/dev/null || return
        now_ms after
        [ $((after - before)) -ge $least ] || least=$((after - before))
    done
    REPLY=$least
}

ask_start() {
    rm -f /run/lab/ask
    python3 "$LAB_LIB/ask.py" /run/lab/ask ListNmpDevices ListNmpPaths ListCorePaths ListCoreDevices ListAdapters GetStatus &
    ASK_PID=$!
    wait_for 20 test -s /run/lab/ask
}
ask_stop() {
    kill -TERM $ASK_PID
    wait $ASK_PID || return
    local late
    read -r ASKED ASK_FAILED ASK_LONGEST ASK_MEDIAN late < <(tail -1 /run/lab/ask)
    note "$ASKED lists asked for, $ASK_FAILED failed, longest answer $ASK_LONGEST ms, median $ASK_MEDIAN ms, $late of 1000 above 50 ms"
}

# In systemd's journal a line begins with the code, in the agent's own log with the time.
count_events() { REPLY=$(agent_words | grep -c -E "(^| )$1 "); }
has_events() { count_events "$1"; [ "$REPLY" -ge "$2" ]; }

checks_start() {
    python3 - /run/lab/checks "$@" <<'WATCH' &
import signal, sys, time
result, disks = sys.argv[1], sys.argv[2:]
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
last, gap, whose = {}, 0, "-"
while True:
    now = time.monotonic()
    for disk in disks:
        with open(f"/sys/block/{disk}/device/iorequest_cnt") as file:
            count = file.read()
        before = last.get(disk)
        if before is None or before[0] != count:
            last[disk] = count, now
        elif now - before[1] > gap:
            gap, whose = now - before[1], disk
    if ended:
        break
    time.sleep(0.1)
with open(result, "w") as out:
    print(int(gap * 1000), whose, file=out)
WATCH
    CHECKS_PID=$!
}
checks_stop() {
    kill -TERM $CHECKS_PID
    wait $CHECKS_PID
    read -r CHECK_GAP_MS CHECK_GAP_DISK </run/lab/checks
}
