# shellcheck shell=bash
# The agent: dm-psad by hand, or its unit where systemd runs.
#
#   agent_start [ARG...]   returns when it answers; LAB_WAITED is how long
#   agent_stop             SIGTERM, waits for its end
#   agent_kill             kill -9
#   agent_alive            (for wait_for)
#
# Its log goes to /share/dm-psad.log (by hand) or the journal, AGENT_LOG is the
# RUST_LOG it runs with.

AGENT_LOG=${AGENT_LOG:-info}
AGENT_PID=''

agent_answers() { psactl storage nmp device list; }
agent_alive() { [ -n "$AGENT_PID" ] && kill -0 "$AGENT_PID" 2>/dev/null; }

agent_start() {
    if under_systemd; then
        systemctl start dm-psa.service || return
        AGENT_PID=$(systemctl show -p MainPID --value dm-psa.service)
    else
        mkdir -p /run/dm-psa
        RUST_LOG=$AGENT_LOG dm-psad "$@" >>/share/dm-psad.log 2>&1 &
        AGENT_PID=$!
    fi
    if ! wait_for 60 agent_answers; then
        note "dm-psad does not answer; its last words:"
        agent_words | tail -5 | sed 's/^/#   /'
        return 1
    fi
}
agent_words() { if under_systemd; then journalctl -o cat -u dm-psa.service; else cat /share/dm-psad.log; fi; }

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
