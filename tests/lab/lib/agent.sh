# shellcheck shell=bash
# The agent: dm-psad by hand, or its unit where systemd runs.
#
#   agent_start [ARG...]   returns when it answers; LAB_WAITED is how long
#   agent_stop             SIGTERM, waits for its end
#   agent_kill             kill -9
#   agent_alive            (for wait_for)
#
# Its log goes to $LAB_AGENT_LOG (by hand; kept in the shared folder at the end) or the journal, AGENT_LOG is the
# RUST_LOG it runs with.

AGENT_LOG=${AGENT_LOG:-info}
AGENT_PID=''
# Not in the shared folder: a write there takes milliseconds.
LAB_AGENT_LOG=/run/lab/dm-psad.log

agent_answers() { psactl storage nmp device list; }
agent_alive() { [ -n "$AGENT_PID" ] && running "$AGENT_PID"; }

agent_start() {
    if under_systemd; then
        systemctl start dm-psa.service || return
        AGENT_PID=$(systemctl show -p MainPID --value dm-psa.service)
    else
        mkdir -p /run/dm-psa
        RUST_LOG=$AGENT_LOG dm-psad "$@" >>$LAB_AGENT_LOG 2>&1 &
        AGENT_PID=$!
    fi
    if ! wait_for 60 agent_answers; then
        note "dm-psad does not answer; its last words:"
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

# What it tells, for check and wait_for:
#
#   agent_quiet               nothing waits to be identified, made or changed
#   agent_setting LINE...     into its settings file, before it starts
#   explains SUBJECT TEXT...  psactl explain has every TEXT
#   json_has WORDS FILTER     jq's FILTER is true of `psactl WORDS --formatter=json`
#   psactl_ms WORDS...        how long psactl takes, in REPLY

agent_quiet() { [[ $(psactl status) == *"Settled: true"* ]]; }

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

json_has() {
    # shellcheck disable=SC2086
    psactl $1 --formatter=json | jq -e "$2"
}

psactl_ms() {
    local before after
    now_ms before
    psactl "$@" >/dev/null || return
    now_ms after
    REPLY=$((after - before))
}
