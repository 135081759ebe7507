#!/bin/bash
# What `make setup` says before it installs or removes a package, and that it removes none unless told to. apt-get is
# played by a script; nothing is installed.
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
# packages WORDS...: what it says, in $play/said; its status
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

check "where all is there nothing is done" packages sh=dash
check "... not even asked" not test -s "$play/calls"
printf 'Inst lacking (1)\nInst needed-by-it (2)\nConf lacking (1)\n' >"$play/plan"
check "what lacks is installed" packages no-such-command=lacking
check "... by apt-get" installs
check "... and named before, with what it needs" grep -q 'will be installed: lacking needed-by-it$' "$play/said"
printf 'Remv in-the-way [1]\nInst lacking (1)\n' >"$play/plan"
check "where a package would go, nothing is done unasked" not packages no-such-command=lacking
check "... by apt-get" not installs
check "... and it is named" grep -q 'WILL BE REMOVED.*: in-the-way$' "$play/said"
check "with REMOVE=yes it is done" env REMOVE=yes bash -c "$(declare -f packages); play=$play; packages no-such-command=lacking"
check "... by apt-get" installs
check "... and it is named all the same" grep -q 'WILL BE REMOVED.*: in-the-way$' "$play/said"
mv "$play/plan" "$play/later"
export REMOVE=yes
check "where the lists are old, they are refreshed" packages no-such-command=lacking
check "... and then it is installed" installs
exit $failed
