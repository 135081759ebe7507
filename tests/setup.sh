#!/bin/bash
# `make setup` names packages before it installs or removes them, and removes none without consent. A script stands in
# for apt-get; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

play=$(mktemp -d)
trap 'rm -rf "$play"' EXIT
failed=0
# The calls go to $play/calls. A simulation answers with $play/plan, and fails without one until lists are refreshed.
cat >"$play/apt-get" <<A
#!/bin/bash
echo "\$*" >>$play/calls
case " \$* " in
    *' update '*) [ ! -e $play/later ] || mv $play/later $play/plan ;;
    *' -s '*) cat $play/plan ;;
esac
A
printf '#!/bin/sh\n"$@"\n' >"$play/sudo"
chmod +x "$play/apt-get" "$play/sudo"
# packages WORDS...: writes its output to $play/said; returns its status
packages() {
    : >"$play/calls"
    PATH=$play:$PATH tests/lab/host/packages "$@" </dev/null >"$play/said" 2>&1
}
installs() { grep -q ' -y install' "$play/calls"; }
check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@"; then echo "ok - $what"; else
        failed=1
        echo "not ok - $what"
        sed 's/^/#   /' "$play/said" "$play/calls"
    fi
}
not() { ! "$@"; }

check "if nothing is missing, nothing is done" packages sh=dash
check "... and apt-get is not called" not test -s "$play/calls"
printf 'Inst lacking (1)\nInst needed-by-it (2)\nConf lacking (1)\n' >"$play/plan"
check "a missing package is installed" packages no-such-command=lacking
check "... by apt-get" installs
check "... and named before, with its dependencies" grep -q 'will be installed: lacking needed-by-it$' "$play/said"
printf 'Remv in-the-way [1]\nInst lacking (1)\n' >"$play/plan"
check "if a package would be removed, nothing is done without consent" not packages no-such-command=lacking
check "... and apt-get installs nothing" not installs
check "... and the package is named" grep -q 'WILL BE REMOVED.*: in-the-way$' "$play/said"
check "with REMOVE=yes the missing package is installed" env REMOVE=yes bash -c "$(declare -f packages); play=$play; packages no-such-command=lacking"
check "... by apt-get" installs
check "... and the package that goes is still named" grep -q 'WILL BE REMOVED.*: in-the-way$' "$play/said"
mv "$play/plan" "$play/later"
export REMOVE=yes
check "if the package lists are old, they are refreshed" packages no-such-command=lacking
check "... and then the package is installed" installs
exit $failed
