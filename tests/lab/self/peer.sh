#!/bin/bash
# Tests multipath-tools as the peer: it does nothing until it is started, then it builds the maps, fails over and
# reinstates. When it is stopped it does nothing again.
. /lab/lib/lab.sh

lio_loop --lus 2
check_eq "no map exists before multipathd starts" "No devices found" "$(dmsetup ls --target multipath)"
check "multipathd does not run" not pidof multipathd

dm_loads_start
stpg_count_start
peer_multipathd_start 2
check "multipathd builds a map per LU" wait_for 20 peer_maps 2
note "... $LAB_WAITED ms after it answers, with $(dm_loads_count) table loads"
udevadm settle
check "its name is the WWID" dmsetup info "$(lu_wwid 1)"
m=$(lu_wwid 1)
dmsetup table "$m" | sed 's/^/# /'
check "disks are marked as members" sh -c "udevadm info /dev/$(path_dev 1 1) | grep -q DM_MULTIPATH_DEVICE_PATH=1"

fio_verify_start "$m"
path_down 1 2
sleep 1
path_up 1 2
check "both paths are reinstated" wait_for 10 sh -c "! dmsetup status $m | grep -q ' F '"
note "reinstated after $LAB_WAITED ms"
alua_set 1 ano; alua_set 2 ao
sleep 5
dmsetup status "$m" | sed 's/^/# /'
alua_status 1 | sed 's/^/# /'
note "$(stpg_count) STPGs, $(dm_loads_count) table loads"
check "no I/O error" fio_verify_stop

peer_multipathd_stop flush
check "the maps are gone" peer_maps 0
check "multipathd is gone" not pidof multipathd
check "its rules are overridden again" test -L /etc/udev/rules.d/60-multipath.rules
