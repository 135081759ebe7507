#!/bin/bash
# Runs scenarios one after the other in one guest, each from a clean state, which it verifies. tests/lab/suite reads the
# lines of its output that begin with "==".
#
#   several.sh SECONDS SCENARIO[:ARG...]...     a scenario is a script in this directory without its .sh
#
# Exits with 96 if a scenario leaves something behind: results of later scenarios in this guest would mean nothing.
. /lab/lib/lab.sh
trap - EXIT
limit=$1
shift
# In /run/lab only files named several* survive the cleanup after a scenario.
LAB_SAID=/run/lab/several.said
before=/run/lab/several.state
lab_state >$before
as_before() { lab_state | cmp -s - $before; }

for word; do
    IFS=: read -ra words <<<"$word"
    name=${words[0]}
    started=$SECONDS
    echo "== begin $word"
    # Mark the start in the kernel's log too.
    echo "lab: $word" >/dev/kmsg
    mkdir -p $LAB_GROUP "/share/${name##*/}"
    (
        echo "$BASHPID" >$LAB_GROUP/cgroup.procs
        export LAB_SHARE=/share/${name##*/}
        exec timeout -k 20 "$limit" "/lab/$name.sh" "${words[@]:1}"
    )
    status=$?
    if [ $status = 124 ] || [ $status = 137 ]; then
        LAB_SHARE=/share/${name##*/} hang_report
    fi
    lab_restore
    # Disks disappear some time after their ports.
    if ! wait_for 60 as_before; then
        echo "not ok - it leaves nothing behind"
        lab_state | diff $before - | sed -n 's/^> /#   left: /p; s/^< /#   missing: /p'
        echo "== end $status $((SECONDS - started)) dirty"
        exit 96
    fi
    rmdir $LAB_GROUP
    echo "== end $status $((SECONDS - started)) clean"
done
