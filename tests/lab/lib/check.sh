# shellcheck shell=bash
# Test results, in the format of a test runner, and time.
#
# An emulated guest is slow: a fork costs 5 to 10 ms. Functions that are called
# often do not fork, and return their result in a variable.

LAB_PASSED=0
LAB_WAITED=0
LAB_SAID=/run/lab/said.$$
LAB_FAILED=0

ok() { LAB_PASSED=$((LAB_PASSED + 1)); echo "ok $((LAB_PASSED + LAB_FAILED)) - $*"; }

fail() { LAB_FAILED=$((LAB_FAILED + 1)); echo "not ok $((LAB_PASSED + LAB_FAILED)) - $*"; }

# note prints a remark that is not a result, such as figures or the current step.
# Its output is visible even from a command that `check` runs.
exec {LAB_OUT}>&1
note() { echo "# $*" >&"$LAB_OUT"; }

# check DESCRIPTION COMMAND...: one result. The command and its output are shown
# only if it fails.
check() {
    local what=$1 status
    shift
    # No subshell: COMMAND may set variables (LAB_WAITED, REPLY).
    "$@" >"$LAB_SAID" 2>&1
    status=$?
    if [ $status = 0 ]; then
        ok "$what"
    else
        fail "$what"
        echo "#   $* -> $status"
        sed 's/^/#   /' "$LAB_SAID"
    fi
    return $status
}

# check_eq DESCRIPTION WANTED GOT
check_eq() {
    if [ "$2" = "$3" ]; then ok "$1"; return; fi
    fail "$1"
    printf '#   wanted: %s\n#   got:    %s\n' "${2//$'\n'/$'\n'#           }" "${3//$'\n'/$'\n'#           }"
    return 1
}

# check_le DESCRIPTION LIMIT GOT: passes if the whole number GOT is not above LIMIT. check_ge: if it is not below LIMIT.
check_le() {
    if [ "$3" -le "$2" ] 2>/dev/null; then ok "$1 ($3, limit $2)"; return; fi
    fail "$1 ($3, limit $2)"
    return 1
}
check_ge() {
    if [ "$3" -ge "$2" ] 2>/dev/null; then ok "$1 ($3, at least $2)"; return; fi
    fail "$1 ($3, at least $2)"
    return 1
}

# Prints the tally however the script ends; a script that ends early counts as a failure.
lab_tally() {
    local status=$?
    trap - EXIT
    cp /run/lab/*.log "${LAB_SHARE:-/share}/" 2>/dev/null
    echo "$LAB_PASSED passed, $LAB_FAILED failed"
    [ $status != 0 ] || [ $LAB_FAILED = 0 ] || status=1
    exit $status
}
trap lab_tally EXIT

# A pipe that nobody writes to: `read` with a timeout on it sleeps without a fork.
exec {LAB_SLEEP}<> <(:)
sleep_ms() { local s; printf -v s '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); read -rt "$s" -u "$LAB_SLEEP" || true; }

# now_ms VARIABLE: milliseconds since 1970
now_ms() { printf -v "$1" %s $((${EPOCHREALTIME/./} / 1000)); }

# wait_for SECONDS COMMAND...: waits until COMMAND succeeds; tries every 20 ms.
# Sets LAB_WAITED to the milliseconds it took. COMMAND should not fork if the
# time matters.
#
# SECONDS is for an idle machine. A guest that shares its processors with others
# needs more, so the limit is LAB_PATIENCE times SECONDS. The limit ends a wait
# that would never succeed; it does not test speed.
LAB_PATIENCE=${LAB_PATIENCE:-4}
wait_for() {
    local limit=$(($1 * LAB_PATIENCE)) start now
    shift
    now_ms start
    while :; do
        if "$@" >/dev/null 2>&1; then
            now_ms now
            LAB_WAITED=$((now - start))
            return 0
        fi
        now_ms now
        LAB_WAITED=$((now - start))
        [ $LAB_WAITED -lt $((limit * 1000)) ] || return 1
        sleep_ms 20
    done
}

# median NUMBER...: sets REPLY to the median, the lower one if there are two
median() {
    local sorted
    mapfile -t sorted < <(printf '%s\n' "$@" | sort -n)
    REPLY=${sorted[(${#sorted[@]} - 1) / 2]}
}

# file_is FILE VALUE, file_has FILE PATTERN: conditions for wait_for that do not fork
file_is() { local v; read -r v <"$1" && [ "$v" = "$2" ]; } 2>/dev/null
file_has() { local v; v=$(<"$1") && [[ $v == *$2* ]]; } 2>/dev/null
under_systemd() { [ -d /run/systemd/system ]; }
not() { ! "$@"; }
gone() { [ ! -e "$1" ]; }
# running PID: whether it runs; a zombie child does not count. bash reaps children when it forks, so a loop without
# forks may wait for ever for `kill -0` to fail.
running() {
    local stat
    read -r stat <"/proc/$1/stat" || return
    stat=${stat##*) }
    [ "${stat%% *}" != Z ]
} 2>/dev/null
