#!/bin/bash
# In a guest with /dev/vdb, the file system with the clients. Called by scenario/44-clients.sh.
# shellcheck source=../lib/lab.sh
. /lab/lib/lab.sh

mkdir -p /clients && mount /dev/vdb /clients
for place in dev proc sys run; do mount --rbind /$place /clients/$place; done
# As the package dm-psa-multipath has it.
cp /usr/sbin/dm-psa-multipath /clients/usr/sbin/
for name in multipath multipathd mpathpersist mpathconf; do ln -sf dm-psa-multipath /clients/usr/sbin/$name; done
mkdir -p /clients/lab /etc/multipath && mount --bind /lab /clients/lab
mkdir -p /clients/etc/multipath && mount --bind /etc/multipath /clients/etc/multipath
client() { PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot /clients "$@"; }

# A dot in the name of a map is more than some of them can read.
agent_setting 'map_names = "wwid"'
lio_loop --lus 3 --groups '1:ao:1,2 2:ano:3,4' --size 64
wwid=$(lu_wwid 1) second=$(lu_wwid 2) third=$(lu_wwid 3)
check "the socket listens" systemctl start dm-psa-multipath.socket
systemctl start dm-psa.service
check "maps appear" wait_for 60 maps_are 3
check "the agent settles" wait_for 60 agent_quiet
check_eq "they are named by WWID" "$(printf '%s\n' "$wwid" "$second" "$third" | sort | xargs)" "$(dmsetup ls --target multipath | cut -f1 | sort | xargs)"
check "a map has a node" wait_for 90 test -b "/dev/mapper/$wwid"
check "... and its links" wait_for 90 test -e "/dev/disk/by-id/dm-uuid-mpath-$wwid"
udevadm settle
disks=$(for port in 1 2 3 4; do path_dev 1 $port; done | xargs)
note "disks of the first unit: $disks"

# Without --mdskip the first one wants a process of the name multipathd.
note "Nagios: check_multipath (Perl, parses multipath -ll), check_madrisan_multipath (C, asks the socket)"
nagios() { client "/usr/lib/nagios/plugins/$1" "${@:2}" >/run/lab/said 2>&1; local result=$?; sed 's/^/# /' /run/lab/said; return $result; }
said() { grep -qF -- "$1" /run/lab/said; }
check "check_multipath: all is well" nagios check_multipath --mdskip --min-paths 4 --ok-paths 4
check "check_madrisan_multipath: all is well" nagios check_madrisan_multipath
path_down 1 1
check "a path is lost" wait_for 30 sh -c "dmsetup status $wwid | grep -q ' F '"
nagios check_multipath --mdskip --min-paths 4 --ok-paths 4
check_eq "check_multipath: too few paths are critical" 2 $?
nagios check_madrisan_multipath
check_eq "check_madrisan_multipath: a faulty path is critical" 2 $?
path_up 1 1
check "the path returns" wait_for 30 map_all_active "$wwid"

note "lsscsi, libblockdev"
check "lsscsi sees the disks" sh -c "chroot /clients lsscsi -i | grep -q 36001405"
client python3 /lab/clients/blockdev.py "$(path_dev 1 1)" "$wwid" >/run/lab/said 2>&1
check_eq "libblockdev: members of maps, daemon, configuration" 0 $?
sed 's/^/# /' /run/lab/said

note "sosreport"
client sos report --batch --quiet -z gzip -o multipath --tmp-dir /tmp >/run/lab/sos.log 2>&1
report=$(find /clients/tmp -name '*.tar*' ! -name '*.sha256' | head -1)
check "a report is made" test -s "$report"

client tar xf "${report#/clients}" -C /run/lab
check "it has the topology of the maps" grep -rqs "$wwid" /run/lab/sosreport-*/sos_commands/multipath
find /run/lab/sosreport-*/sos_commands/multipath -type f -printf '# %f, %s bytes\n'

note "os-brick"
# The third unit is removed by it, the second one extended.
lu_grow 2 96
client python3 /lab/clients/brick.py "$wwid" "$second" "$third" >/run/lab/brick.log 2>&1
check_eq "os-brick ends well" 0 $?
while read -r result what; do
    case $result in
        ok) ok "os-brick: $what" ;;
        not-ok) fail "os-brick: $what" ;;
        *) note "$result $what" ;;
    esac
done </run/lab/brick.log
check "the map of the third unit is gone" not dmsetup info "$third"
check "... and so are its disks" sh -c "! lsscsi -i 2>/dev/null | grep -q $third"
check_eq "the others are there" "$(printf '%s\n' "$wwid" "$second" | sort | xargs)" "$(dmsetup ls --target multipath | cut -f1 | sort | xargs)"
check "all their paths work" map_all_active "$wwid"
