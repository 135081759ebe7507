#!/bin/bash
# A handover that is cut off: psactl is killed half way, or the agent is dead. Calling it again ends it, and no map is
# reloaded or renamed under verified I/O.
# Guest: systemd
# shellcheck source=../lib/lab.sh
. /lab/lib/lab.sh

# The image masks the rules of multipath-tools.
find /etc/udev/rules.d -lname /dev/null -delete
udevadm control --reload
printf 'defaults {\n find_multipaths greedy\n user_friendly_names yes\n}\n' >/etc/multipath.conf
lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
systemctl start multipathd.socket multipathd.service
check "multipathd makes the maps" wait_for 120 maps_are 2
udevadm settle
queueing_maps() { dmsetup table | grep -c queue_if_no_path; }
fio_verify_start mpatha
dm_loads_start

note "psactl is killed as soon as multipathd is stopped"
psactl adopt &
adopt=$!
check "multipathd stops" wait_for 60 not systemctl -q is-active multipathd.service
kill -9 $adopt
wait $adopt 2>/dev/null
note "multipathd is $(systemctl is-active multipathd.service), the agent $(systemctl is-active dm-psa.service)"
check_eq "both maps queue" 2 "$(queueing_maps)"
check "adopt, called again, succeeds" psactl adopt
check_eq "the agent runs" active "$(systemctl is-active dm-psa.service)"
check_eq "no table was loaded" 0 "$(dm_loads_count)"

note "the agent is dead when its maps are released"
systemctl stop dm-psa.service
check "release succeeds without an agent" psactl release
check_eq "the maps keep their names" 'mpatha mpathb' "$(dmsetup ls --target multipath | cut -f1 | sort | xargs)"
check_eq "both maps queue" 2 "$(queueing_maps)"
check "multipathd runs" systemctl -q is-active multipathd.service
check "no I/O failed" fio_verify_stop
