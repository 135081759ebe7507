#!/bin/bash
# The demonstration of `make demo`: one of an array's two controllers fails under verified I/O.
# shellcheck source=lib/lab.sh
. /lab/lib/lab.sh
# No tally: the summary at the end is this script's result.
trap - EXIT

step() { printf '\n=== %s\n' "$*"; }
# show COMMAND...: prints the command as a user would type it, and its output
show() { printf '\n$ %s\n' "$*"; "$@" 2>&1 | sed 's/^/  /'; }
trouble=()
# must WHAT COMMAND...: if the command fails, the demonstration continues and the summary reports it
must() {
    local what=$1
    shift
    "$@" >/dev/null 2>&1 || { trouble+=("$what"); echo "  !! failed: $what"; }
}
# extract SED COMMAND...: like show, but prints only the relevant lines
extract() {
    local script=$1
    shift
    printf '\n$ %s\n' "$*"
    "$@" 2>&1 | sed -E "$script" | sed 's/^/  /'
}
# Right-aligned columns of the summary: a count, and milliseconds shown as seconds.
count() { printf '%12d' "$1"; }
seconds() { printf '%8d.%02d s' $(($1 / 1000)) $(($1 / 10 % 100)); }

step "An array with two controllers, two ports each: A serves the LU at full speed, B serves it too but slower"
lio_loop --lus 1 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
show lsscsi -tw
echo "  The four disks are one LU, by four paths. Ports 1 and 2 are controller A, 3 and 4 are controller B."

step "The agent starts"
must "the agent starts" agent_start
must "the map appears" wait_for 20 test -b "/dev/mapper/$naa"
made=$LAB_WAITED
must "the agent settles" wait_for 20 agent_quiet
echo "  the agent answers, and the map appeared $made ms later"
show psactl explain "$naa"
extract '/State:/{n;q}' psactl explain "$(path_dev 3 1)"

step "The map in the kernel, and in ESXi's commands"
show dmsetup table "$naa"
show dmsetup status "$naa"
show psactl storage nmp device list
extract '/^[a-z]|Runtime|Group State|Config/!d' psactl storage nmp path list
show lsblk -o NAME,TYPE,SIZE,FSTYPE

step "From now on: random writes, read back and compared by checksum"
fio_verify_start "$naa" 2>/dev/null
must "I/O goes through controller A" wait_for 10 map_uses "$naa" 1 1
sleep 3

step "Controller A fails: both of its ports are gone"
path_down 1 2
must "I/O switches to controller B" wait_for 15 map_uses "$naa" 1 3
switched=$LAB_WAITED
echo "  controller B has taken over after $switched ms"
show dmsetup status "$naa"
sleep 3

step "Controller A returns"
path_up 1 2
must "both paths are reinstated" wait_for 15 map_all_active "$naa"
reinstated=$LAB_WAITED
must "I/O is back on controller A" wait_for 15 map_uses "$naa" 1 1
back=$((reinstated + LAB_WAITED))
echo "  both paths are in use again after $reinstated ms"
show dmsetup status "$naa"
sleep 2
must "no I/O errors" fio_verify_stop

cat <<S

=============================================================
  One controller of two failed and returned under load
-------------------------------------------------------------
  I/Os, verified                              $(count "$FIO_IOS")
  I/O errors                                  $(count "$FIO_ERRORS")
  blocks read back with wrong data            $(count "$FIO_VERIFY_ERRORS")
  longest I/O, including the failure          $(seconds "$FIO_STALL_MS")
  until the other controller was used         $(seconds "$switched")
  until returned paths were reinstated        $(seconds "$reinstated")
  until I/O was back on the first controller  $(seconds "$back")
-------------------------------------------------------------
  Linux $(uname -r), in a virtual machine
=============================================================
S
[ ${#trouble[@]} = 0 ] || { printf 'FAILED: %s\n' "${trouble[@]}"; exit 1; }
