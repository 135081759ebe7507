#!/bin/bash
# With systemd and the real unit (run with --systemd).
# Guest: shared systemd
. /lab/lib/lab.sh

check "systemd is init" test -d /run/systemd/system
check "systemd-analyze accepts the unit" systemd-analyze verify --man=no /usr/lib/systemd/system/dm-psa.service
check "udevadm accepts the udev rules" udevadm verify /usr/lib/udev/rules.d/56-dm-psa-path.rules /usr/lib/udev/rules.d/56-dm-psa-map.rules
lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
systemctl start dm-psa.service
check_eq "the unit is active after its readiness notification" active "$(systemctl is-active dm-psa.service)"
check "maps appear" wait_for 20 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
check "the map has a dm-uuid link" wait_for 90 test -b "/dev/disk/by-id/dm-uuid-mpath-$(lu_wwid 1)"
disk=$(path_dev 1 1)
check "a path is marked for udev" wait_for 20 udev_property "$disk" DM_MULTIPATH_DEVICE_PATH 1
check "udev gives it the type mpath_member" udev_property "$disk" ID_FS_TYPE mpath_member
check "it is not ready for systemd" udev_property "$disk" SYSTEMD_READY 0
check_eq "journal lines have a priority" 6 "$(journalctl -u dm-psa.service -o json | jq -r 'select(.MESSAGE | tostring | startswith("AGENT_STARTED")) | .PRIORITY' | tail -1)"

note "failover under the unit's sandbox"
fio_verify_start "$naa"
path_down 1 2
check "I/O switches to the other controller" wait_for 10 map_uses "$naa" 1 3
path_up 1 2
check "the paths return" wait_for 10 map_all_active "$naa"
check "0 errors" fio_verify_stop

note "the agent is killed: systemd restarts it, and no table is loaded"
dm_loads_start
pid=$(systemctl show -p MainPID --value dm-psa.service)
kill -9 "$pid"
restarted() { local p; p=$(systemctl show -p MainPID --value dm-psa.service); [ "$p" != 0 ] && [ "$p" != "$pid" ]; }
check "the agent runs again" wait_for 20 restarted
check "the agent settles" wait_for 20 agent_quiet
check_eq "no table was loaded" 0 "$(dm_loads_count)"

note "a remembered disk is hidden before the agent runs"
systemctl stop dm-psa.service
rm -rf /run/dm-psa/paths
udevadm trigger --action=change "/sys/block/$disk" && udevadm settle
check "its mark comes from the agent's stored state" udev_property "$disk" DM_MULTIPATH_DEVICE_PATH 1
check "maps outlive the agent" maps_are 2
