#!/bin/bash
# Tests the I/O meters and the kernel's counters, on a map created directly.
. /lab/lib/lab.sh

lio_loop --groups '1:ao:1,2 2:ano:3,4'
a=$(path_dev 1 1) b=$(path_dev 2 1) c=$(path_dev 3 1) d=$(path_dev 4 1)

dm_loads_start
stpg_count_start
rtpg_count_start
mpath_create m1 '1 queue_if_no_path' '1 alua' "$a $b" "$c $d"
check_eq "one table load is counted" 1 "$(dm_loads_count)"
dmsetup status m1 | sed 's/^/# /'
wait_for 5 test -b /dev/mapper/m1

fio_verify_start m1
# Long enough to write the same blocks again: 1024 at 150 per second.
sleep 16
check "fio runs without an error" fio_verify_stop
check "... and wrote and read a lot" test "$FIO_IOS" -gt 2000
check_eq "no STPG was sent to a group that is optimized" 0 "$(stpg_count)"
n=$(rtpg_count)
check "RTPGs are counted ($n)" test "$n" -gt 0

note "both optimized paths down and up, under I/O"
fio_verify_start m1
stall_start m1
sleep 1
path_down 1 2
sleep 2
check "dm has failed both paths" sh -c "[ \$(dmsetup status m1 | grep -o ' F ' | wc -l) = 2 ]"
path_up 1 2
for x in "$a" "$b"; do dmsetup message m1 0 "reinstate_path $(cat /sys/block/$x/dev)"; done
sleep 1
stall_mark
note "longest by the stall meter $STALL_MS ms"
check "the stall meter saw no error" stall_stop
check "fio saw no error" fio_verify_stop

note "pg_init activates an explicit group that is not optimized"
alua_set 1 ano
n=$(dm_loads_count) s=$(stpg_count)
dmsetup load m1 --table "$(mpath_table '1 queue_if_no_path' '1 alua' "$a $b" "$c $d")"
dmsetup resume m1
disk_reads mapper/m1 >/dev/null
check_eq "the reload is counted" $((n + 1)) "$(dm_loads_count)"
check "the STPG that its first I/O sent is counted ($(stpg_count))" test "$(stpg_count)" -gt "$s"
check_eq "... and the array says who changed the state" "1 1 ao explicit" "$(alua_status 1 | head -1)"
probe_trace dm_load | sed 's/^/# /'

note "data that changes behind fio's back is a verify error"
fio_verify_start m1
sleep 1
dd if=/dev/urandom of=/dev/shm/lu1 bs=1M count=16 conv=notrunc 2>/dev/null
sleep 2
check "... and is reported" not fio_verify_stop
sed "s/^/# /" /run/lab/fio/said | head -5

note "no path and no queueing is an I/O error"
dmsetup message m1 0 fail_if_no_path
fio_verify_start m1
path_down all
sleep 2
path_up all
for x in "$a" "$b" "$c" "$d"; do dmsetup message m1 0 "reinstate_path $(cat /sys/block/$x/dev)"; done
check "... and is reported" not fio_verify_stop
sed "s/^/# /" /run/lab/fio/said | head -5
dmsetup remove --retry m1
