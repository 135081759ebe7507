#!/bin/bash
# All paths down (APD), with the agent's timeout and with a device's own; a logical unit that is permanently lost (PDL).
. /lab/lib/lab.sh

agent_setting 'apd_timeout_ms = 8000' '' "[device.\"$(lu_naa 2)\"]" 'apd_timeout_ms = 20000'
lio_iscsi --lus 3 --groups '1:ao:1,2' --recovery 1
naa=$(lu_naa 1) patient=$(lu_naa 2) third=$(lu_naa 3)
agent_start
check "maps appear" wait_for 60 maps_are 3
check "the agent settles" wait_for 20 agent_quiet
for m in "$naa" "$patient" "$third"; do check "$m has a node" wait_for 60 test -b "/dev/mapper/$m"; done
device_status() { json_has "core device list -d $1" ".[0].Status == \"$2\""; }
reader() { # MAP: one read, its end in /run/lab/read-MAP
    rm -f "/run/lab/read-$1"
    (
        disk_reads "mapper/$1" >/dev/null 2>&1
        status=$?
        now_ms after
        echo "status $status after $((after - down)) ms" >"/run/lab/read-$1"
    ) &
}
after() { sed 's/.*after //; s/ ms//' "/run/lab/read-$1"; }
ended() { grep -q "status $2" "/run/lab/read-$1"; }
# iscsid may give a session up permanently when a login times out halfway.
log_in_again() {
    local p
    for p in 1 2; do LAB_PATIENCE=1 wait_for 10 path_is $p 1 || iscsi_login $p 1; done
}
check "before: the status is on" device_status "$naa" on

note "all paths fail, and return before the APD timeout"
fio_verify_start "$third"
started() { count_events APD_START; }
started
before=$REPLY
path_down all
check "APD_START is reported" wait_for 20 has_events APD_START $((before + 3))
check "the status is dead" device_status "$naa" dead
# On a loaded machine the 8 s may be over by now.
queues_or_timed_out() {
    map_queues "$naa" || { count_events APD_TIMEOUT; [ "$REPLY" != 0 ]; }
}
check "the map queues" queues_or_timed_out
path_up all
log_in_again
check "the paths are back" wait_for 40 map_all_active "$third"
count_events APD_TIMEOUT
if [ "$REPLY" = 0 ]; then
    check "0 errors" fio_verify_stop
else
    note "iSCSI took longer than 8 s to log in: $REPLY times out"
    fio_verify_stop
fi
check "APD_EXIT is reported" has_events APD_EXIT 3
check "the first map has its paths back" wait_for 30 map_all_active "$naa"
check "the patient map has its paths back" wait_for 30 map_all_active "$patient"

note "the paths do not return before the APD timeout"
count_events APD_TIMEOUT
before=$REPLY
now_ms down
path_down all
check "all paths are failed" wait_for 20 map_no_active "$naa"
check "all paths of the patient device are failed" wait_for 20 map_no_active "$patient"
reader "$naa"
reader "$patient"
check "a read fails" wait_for 12 ended "$naa" 1
check_ge "it does not fail before its 8 s (ms since the paths failed)" 8000 "$(after "$naa")"
check "APD_TIMEOUT is reported" wait_for 2 has_events APD_TIMEOUT $((before + 1))
check "explain says that I/O fails" explains "$naa" "I/O fails until a path returns"
check "I/O no longer waits" sh -c "timeout 60 dd if=/dev/mapper/$naa of=/dev/null bs=4k count=1 iflag=direct; [ \$? = 1 ]"
check "a read fails on the device with its own 20 s" wait_for 25 ended "$patient" 1
check_ge "it does not fail before its 20 s (ms since the paths failed)" 20000 "$(after "$patient")"
note "$(cat "/run/lab/read-$naa"), $(cat "/run/lab/read-$patient")"
path_up all
log_in_again
for m in "$naa" "$patient" "$third"; do
    check "the paths are back" wait_for 40 map_all_active "$m"
    check "the map queues again" wait_for 5 map_queues "$m"
    check "the map can be read" disk_reads "mapper/$m"
done
check "the status is on" wait_for 10 device_status "$naa" on

note "the unit is unmapped on the array, on all paths: 5/25/00"
exec 7<"/dev/mapper/$naa"
lu_remove 1 1 2
check "PDL_START is reported" wait_for 20 has_events PDL_START 1
check "the status is not connected" wait_for 5 device_status "$naa" "not connected"
check "explain names the reason" explains "$naa" "5/25/00"
now_ms since
disk_reads "mapper/$naa" >/dev/null 2>&1 7<&-
status=$?
now_ms now
check_eq "a read fails" 1 $status
check_le "it fails without waiting for the APD timeout (ms)" 7000 $((now - since))
check "the map is kept while it is open" test -b "/dev/mapper/$naa"
check "the other map is unchanged" map_all_active "$patient"
exec 7<&-
check "the map is removed once it is closed" wait_for 30 gone "/dev/mapper/$naa"
check "its SCSI devices are removed" wait_for 30 not path_is 1 1
lu_add 1 1 2
host_rescan
check "the map is back after mapping and a rescan" wait_for 60 map_path_count "$naa" 2
check "all its paths are in use" wait_for 20 map_all_active "$naa"
