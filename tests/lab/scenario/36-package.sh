#!/bin/bash
# The Debian package: beside a running multipathd; installed, upgraded, removed and purged under verified I/O; with the
# package that has multipathd's names. dpkg checks the dependencies against the packages of the guest.
# Guest: systemd
# Packages: yes
# shellcheck source=../lib/lab.sh
. /lab/lib/lab.sh

dpkg_() { dpkg "$@" >/run/lab/dpkg 2>&1; }
said() { grep -qF "$1" /run/lab/dpkg; }
state() { systemctl show -p UnitFileState,ActiveState --value "$1" | xargs; }
# The rules that are masked, without the .rules.
masks() { find /etc/udev/rules.d -lname /dev/null -printf '%f\n' | sed 's/\.rules$//' | sort | xargs; }
all='11-dm-mpath 56-dm-mpath 56-multipath 60-multipath 62-multipath'
# Files and directories of dm-psa, except those of dpkg itself and of this scenario.
ours() { find / -xdev \( -path /lab -o -path /share -o -path /packages \) -prune -o -path '*dm-psa*' -print -o -name '*psactl*' -print | grep -v '^/var/lib/dpkg/info/' | sort; }
ours_run() { find /run -path '*dm-psa*'; }
# Sets REPLY to the milliseconds from when the last agent began to stop until this one was ready.
agent_away() {
    local left back
    left=$(systemctl show -p ActiveExitTimestampMonotonic --value dm-psa.service)
    back=$(systemctl show -p ActiveEnterTimestampMonotonic --value dm-psa.service)
    REPLY=$(((back - left) / 1000))
}

check "the guest has no file of dm-psa" not test "$(ours)"
# The image excludes documentation from every package, and masks rules that the package has to mask itself.
rm -f /etc/dpkg/dpkg.cfg.d/99mmdebstrap
find /etc/udev/rules.d -lname /dev/null -delete
udevadm control --reload
lio_loop --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)

note "multipathd runs, and the admin has a rules file that the package would mask"
mine=/etc/udev/rules.d/60-multipath.rules
echo '# mine' >$mine
check "multipathd starts" systemctl start multipathd.socket multipathd.service
check "the package is installed" dpkg_ -i /packages/old.deb
check "a message says what to do" said 'dpkg-reconfigure dm-psa'
check_eq "no rules are masked" "" "$(masks)"
check_eq "the agent is neither enabled nor started" "inactive disabled" "$(state dm-psa.service)"
check_eq "multipathd still runs" active "$(systemctl is-active multipathd.service)"
check "multipathd stops, but its socket does not" systemctl stop multipathd.service
check_eq "the socket can start multipathd" active "$(systemctl is-active multipathd.socket)"
dpkg-reconfigure dm-psa >/run/lab/dpkg 2>&1
check "the message says to stop the socket too" said 'multipathd.socket'
check_eq "no rules are masked" "" "$(masks)"
check "multipathd stops" systemctl disable --now multipathd.socket multipathd.service
dpkg-reconfigure dm-psa >/run/lab/dpkg 2>&1
check_eq "then dpkg-reconfigure masks the rules, except the admin's file" "${all/60-multipath /}" "$(masks)"
check "... which is named" said "$mine exists"
check "the package is purged" dpkg_ -P dm-psa
check_eq "no rules are masked" "" "$(masks)"
check_eq "the admin's file is unchanged" '# mine' "$(cat $mine)"
rm -f $mine

note "make install has installed dm-psa"
mkdir /usr/lib/dm-psa
touch /usr/lib/dm-psa/installed
check "the package is refused" not dpkg_ -i /packages/old.deb
check "... with a reason" said 'make uninstall'
rm -r /usr/lib/dm-psa

note "the package is installed"
check "the package is installed" dpkg_ -i /packages/old.deb
check_eq "its files are complete" "" "$(dpkg --verify dm-psa)"
check "systemd accepts the unit" systemd-analyze verify --man=no dm-psa.service
check_eq "the rules are masked" "$all" "$(masks)"
check_eq "the agent is neither enabled nor started" "inactive disabled" "$(state dm-psa.service)"
check "no map exists" maps_are 0
check "the agent is enabled and started" systemctl enable --now dm-psa.service
check "maps appear" wait_for 60 maps_are 2
check "the agent settles" wait_for 60 agent_quiet
limit=$LAB_QUEUEING
check "the kernel's queueing limit is set" wait_for 20 not file_is $limit 0
fio_verify_start "$naa"

note "an upgrade while I/O runs"
# In an emulated guest a restart alone takes seconds. An upgrade may take 2 s, or three times as long as a restart.
systemctl restart dm-psa.service
agent_away
most=$((REPLY > 667 ? 3 * REPLY : 2000))
check "the agent settles" wait_for 60 agent_quiet
pid=$(systemctl show -p MainPID --value dm-psa.service)
dm_loads_start
check "the package is upgraded" dpkg_ -i /packages/new.deb
check_eq "the version is the new one" "$(dpkg-deb -f /packages/new.deb Version)" "$(dpkg-query -W -f '${Version}' dm-psa)"
check_eq "the agent runs, and is still enabled" "active enabled" "$(state dm-psa.service)"
check "it was restarted" not test "$pid" = "$(systemctl show -p MainPID --value dm-psa.service)"
agent_away
check_le "time without an agent (ms)" $most "$REPLY"
check "the agent settles" wait_for 60 agent_quiet
check_eq "no table was loaded" 0 "$(dm_loads_count)"
check_eq "the rules are masked" "$all" "$(masks)"
path_down 1 2
check "I/O switches to the other controller" wait_for 20 map_uses "$naa" 1 3
path_up 1 2
check "the paths return" wait_for 20 map_all_active "$naa"
check "I/O runs" fio_running

note "the package is removed while I/O runs"
check "the package is removed" dpkg_ -r dm-psa
check "a message says that the maps stay" said 'Its maps stay'
check "no agent runs" not pidof dm-psad
check_eq "no rules are masked" "" "$(masks)"
check "the maps stay" maps_are 2
check "I/O runs" fio_running
check_eq "only the settings and the state are left" "" "$(ours | grep -v '^/etc/dm-psa')"
check "the state is left" test -d /etc/dm-psa/state
check "the kernel's queueing limit is reset" file_is $limit 0

note "the package is purged while I/O runs"
check "the package is purged" dpkg_ -P dm-psa
check_eq "nothing is left" "" "$(ours)$(ours_run)"
check "the maps stay" maps_are 2
check "I/O runs" fio_running

note "the package is installed again"
dm_loads_start
check "the package is installed" dpkg_ -i /packages/new.deb
check_eq "the agent is neither enabled nor started" "inactive disabled" "$(state dm-psa.service)"
check "the agent starts" agent_start
check "the agent settles" wait_for 60 agent_quiet
check_eq "it finds its maps: no table was loaded" 0 "$(dm_loads_count)"
check "the kernel's queueing limit is set" wait_for 20 not file_is $limit 0

note "dm-psa-multipath replaces multipath-tools"
named() { systemctl is-active multipathd.service; }
programs=(/packages/dm-psa-multipath_*+1_all.deb)
systemctl mask multipathd.service multipathd.socket >/run/lab/dpkg 2>&1 # as psactl adopt does
agent=$(pidof -s dm-psad)
check "the package is installed" dpkg_ -i "${programs[0]}"
check_eq "multipath-tools is not" "" "$(dpkg -l multipath-tools | grep '^ii')"
check_eq "multipathd.service is active" active "$(named)"
check_eq "the agent was not stopped" "$agent" "$(pidof -s dm-psad)"
daemon=$(pidof -s multipathd)
check "a process has the name" test -n "$daemon"
check_eq "pgrep finds the process" "$daemon" "$(pgrep -x multipathd)"
check_eq "... and clients have its number" "pid $daemon idle" "$(multipathd show daemon)"
check_eq "no unit failed" "" "$(systemctl --failed --plain --no-legend)"
sleep_ms 70000
check_eq "it stays although nobody asks it anything" "$daemon" "$(pidof -s multipathd)"
systemctl restart dm-psa.service
check "the agent settles" wait_for 60 agent_quiet
check_eq "both run after a restart of the agent" "active active" "$(systemctl is-active dm-psa.service) $(named)"
systemctl restart multipathd.service
check_eq "both run after a restart of multipathd.service" "active active" "$(systemctl is-active dm-psa.service) $(named)"
check "the agent's package is installed again" dpkg_ -i /packages/new.deb
check "it does not take its own unit for multipathd" not said 'multipathd is in use'
systemctl stop dm-psa.service
check "the name is not active without the agent" not systemctl -q is-active multipathd.service
check "no process has it" not pidof -s multipathd
check "the agent starts" agent_start
check_eq "... and multipathd.service with it" active "$(named)"
check "the package is removed" dpkg_ -r dm-psa-multipath
check "no process multipathd is left" not pidof -s multipathd
check_eq "the name is masked again" masked "$(systemctl is-enabled multipathd.service)"
check_eq "the agent runs" active "$(systemctl is-active dm-psa.service)"
check "the sockets are still served" test -S /run/multipathd.socket
check "0 errors" fio_verify_stop
