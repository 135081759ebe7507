#!/bin/bash
# `psactl activate` on a running system: what an admin does in a rescue shell, and what disks and files do to it.
# shellcheck source=../lib/lab.sh
. /lab/lib/lab.sh

# activates ARG...: runs it. REPLY is its exit code, TOOK the seconds that it took, and /run/lab/said has its output.
activates() {
    local from=$SECONDS
    psactl activate "$@" >/run/lab/said 2>&1
    REPLY=$? TOOK=$((SECONDS - from))
}
said() { grep -qF -- "$1" /run/lab/said; }
shown() { sed 's/^/# /' /run/lab/said; }
# udev has a map open while it handles its event, so that the removal may have to be repeated.
removed() { dmsetup remove_all --retry; maps_are 0; }
remove_maps() { wait_for 60 removed || fail "the maps can be removed"; }
uninterrupted() { [ "$(dmsetup info -c --noheadings -o suspended | sort -u)" = Active ]; }

scsi_debug_array --hosts 4 --luns 3
lab_settle
dm_loads_start

note "without a daemon"
activates
check_eq "it succeeds" 0 "$REPLY"
check "there are three maps with all paths" maps_live 3
check_eq "each was made by one table" 3 "$(dm_loads_count)"
check_eq "nobody is left" '' "$(pgrep -x dm-psad)"
activates
check_eq "a second run changes nothing" "0 3" "$REPLY $(dm_loads_count)"
check "no map is suspended" uninterrupted

note "two at once"
remove_maps
psactl activate >/run/lab/one 2>&1 &
activates
wait $!
check_eq "both succeed" "0 0" "$? $REPLY"
check "there are three maps with all paths" maps_live 3
check "no map is suspended" uninterrupted

note "a device that is not there"
activates --wait-for 36001405000000000000000000000dead --within 4
check_eq "it is reported" 5 "$REPLY"
check "... by its name" said 36001405000000000000000000000dead
check_le "... in time (s)" 14 "$TOOK"

note "files that are damaged"
mkdir -p /etc/dm-psa/state
echo '{ "devices": [ 7, "36' >/etc/dm-psa/state/memory.json
echo 'apd_timeout_ms = "soon"' >/etc/dm-psa/dm-psa.toml
echo '{' >/etc/dm-psa/boot.json
remove_maps
activates --initrd --within 20
check_eq "the maps are made nevertheless" 0 "$REPLY"
check "there are three maps with all paths" maps_live 3
check "the damaged record is named" said /etc/dm-psa/boot.json
check "the agent names the other files in its log" grep -q dm-psa.toml /run/dm-psa/boot.log
rm -rf /etc/dm-psa/boot.json /etc/dm-psa/dm-psa.toml /etc/dm-psa/state

note "another LUN than the initramfs expects"
remove_maps
wwid=$(scsi_debug_wwid 1)
record() { echo "{\"kernel\":\"x\",\"version\":\"0\",\"files\":{},\"wait_for\":[\"$1\"]}" >/etc/dm-psa/boot.json; }
mkdir -p /etc/dm-psa
record "$wwid"
activates --initrd --within 20
check_eq "of three devices, the expected one gets its map" "0 mpath-$wwid" "$REPLY $(dmsetup info -c --noheadings -o uuid)"
rm -rf /etc/dm-psa/state
remove_maps
record 36001405000000000000000000000dead
activates --initrd --within 4
check_eq "if it is not there, that is reported" 5 "$REPLY"
check "... and all devices get their maps" maps_live 3
rm -rf /etc/dm-psa/boot.json /etc/dm-psa/state

case $(uname -r) in
    6.1.*) note "scsi_debug has no error injection before 6.7" ;;
    *)
        note "a path that never answers"
        remove_maps
        hung=$(scsi_debug_path 1 0)
        error_inject "$hung" 3 1 ff
        error_inject "$hung" 4 1 ff
        error_inject "$hung" 0 1 ff
        activates --within 10
        shown
        check_le "it ends in time (s)" 30 "$TOOK"
        check "the other devices have their maps" sh -c 'test "$(dmsetup ls --target multipath | wc -l)" -ge 2'
        check "no map is suspended" uninterrupted
        error_clear "$hung" 0 ff
        error_clear "$hung" 3 ff
        error_clear "$hung" 4 ff
        ;;
esac

note "beside the agent"
agent_start
check "the agent has all maps" wait_for 120 maps_are 3
activates
check "nothing is done" said "dm-psad is running"
check_eq "and that is no failure" 0 "$REPLY"
