#!/bin/bash
# Eight LUs behind six ports in three groups of three states.
# Guest: shared
. /lab/lib/lab.sh

lio_loop --lus 8 --groups '1:ao:1,2 2:ano:3,4 3:standby:5,6'
agent_start
check "eight maps appear" wait_for 30 maps_are 8
check "the agent settles" wait_for 10 agent_quiet
for lu in 1 2 3 4 5 6 7 8; do
    naa=$(lu_naa $lu)
    wait_for 90 test -b "/dev/mapper/$naa"
    check "LU $lu can be read" disk_reads "mapper/$naa"
    # Standby is disabled: the kernel must not prefer it to the non-optimized group.
    check_eq "LU $lu: three groups, the optimized one in use" "A:AA E:AA" "$(map_letters "$naa" | cut -d' ' -f1,2)"
    want=''
    for port in 1 2 3 4 5 6; do want+=" $(path_dev $port $lu)"; done
    check_eq "LU $lu: its own disks, by group" "$want" "$(map_disks "$naa")"
done
check_eq "states as the array reports them" "16 active, 16 active unoptimized, 16 standby" "$(psactl storage nmp path list --formatter=json |
    jq -r '[.[]."Group State"] | group_by(.) | map("\(length) \(.[0])") | join(", ")')"
