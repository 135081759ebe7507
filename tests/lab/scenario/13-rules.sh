#!/bin/bash
# Claim rules and SATP rules are added, loaded, applied to a map under verified I/O, and removed again.
. /lab/lib/lab.sh

# Over iSCSI, because tcm_loop does not find a deleted LUN again.
lio_iscsi --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1)
agent_start
check "maps appear" wait_for 20 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
name() { psactl core path list -p "$(path_dev "$1" "${2:-1}")" --formatter=json | jq -r '.[0]."Runtime Name"'; }
plugin() { psactl core path list -p "$1" --formatter=json | jq -r '.[0].Plugin'; }
IFS=: read -r a c t l <<<"$(name 1)"
location=(-A "$a" -C "${c#C}" -T "${t#T}" -L "${l#L}")
path=$(name 1)
disk=$(path_dev 1 1)
fio_verify_start "$naa"

note "the masking recipe: add, load, unclaim, run"
check "a rule is added" psactl storage core claimrule add -r 109 -P MASK_PATH -t location "${location[@]}"
check_eq "it is only in the file list" file "$(psactl core claimrule list --formatter=json | jq -r '.[] | select(.Rule == 109) | .Class')"
check "it is loaded" psactl storage core claimrule load
check_eq "it is in both lists" "runtime file" "$(psactl core claimrule list --formatter=json | jq -r '.[] | select(.Rule == 109) | .Class' | xargs)"
check "the map is unchanged" map_path_count "$naa" 4
check "its path is unclaimed" psactl storage core claiming unclaim -t location "${location[@]}"
check_eq "it is listed as unclaimed" unclaimed "$(plugin "$path")"
check "it stays in the map" map_path_count "$naa" 4
check "the rules are run" psactl storage core claimrule run
check "the path leaves the map" wait_for 10 map_path_count "$naa" 3
check_eq "it is masked" MASK_PATH "$(plugin "$path")"
check "explain names the rule" explains "$path" "rule 109" "MASK_PATH"
check "the other LU keeps its paths" map_path_count "$(lu_naa 2)" 4
gone() { [ ! -e "/sys/block/$1" ]; }
check "its disk is removed from the host" wait_for 10 gone "$disk"
check "it is listed as masked" json_has "core path list -p $path" '.[0].State == "masked" and .[0].Plugin == "MASK_PATH"'
agent_kill
agent_start
check "it stays masked after a restart" wait_for 10 explains "$path" "rule 109"
check "the agent settles" wait_for 20 agent_quiet
check "it is not in the map" map_path_count "$naa" 3
check "it is listed as masked" json_has "core path list -p $path" '.[0].State == "masked"'
host_rescan
check "a rescan finds its disk, and the agent withdraws it again" wait_for 20 has_events PATH_WITHDRAWN 2
check "the agent settles" wait_for 20 agent_quiet
check "it is not in the map" map_path_count "$naa" 3
check_eq "the rescan caused one withdrawal" 2 "$(agent_words | grep -c PATH_WITHDRAWN)"

note "unmasking"
check "the rule is removed" psactl storage core claimrule remove -r 109
check "the list is loaded" psactl storage core claimrule load
check "the path is unclaimed" psactl storage core claiming unclaim -t path -p "$path"
check "the rules are run" psactl storage core claimrule run
check "the path is back" wait_for 15 map_path_count "$naa" 4
check "it is in use" wait_for 10 map_all_active "$naa"

rules_decide "$naa" 4 "$(path_dev 1 1)"

note "a new SATP rule is applied to a device in use by a reclaim"
vendor=$(psactl core device list -d "$naa" --formatter=json | jq -r '.[0].Vendor' | xargs)
check "a rule is added" psactl storage nmp satp rule add -s VMW_SATP_ALUA -V "$vendor" -M '*' -c tpgs_on -P VMW_PSP_RR -O iops=1
check_eq "the PSP is unchanged before the reclaim" VMW_PSP_MRU "$(psactl nmp device list -d "$naa" --formatter=json | jq -r '.[0]."Path Selection Policy"')"
psactl storage core claiming reclaim -d "$naa"
selector() { [[ $(dmsetup table "$naa") == *" $1 "* ]]; }
check "the PSP is the rule's" wait_for 10 selector round-robin
check "0 errors" fio_verify_stop

note "a damaged file"
cp /etc/dm-psa/rules.toml /run/lab/rules.toml
printf '[[claim-rule]\n' >>/etc/dm-psa/rules.toml
check "it is refused, with the line of the error" sh -c 'psactl core claimrule load 2>&1 | grep -q "rules.toml.*line"'
agent_kill
agent_start
check "the agent keeps the rules that are loaded" wait_for 10 map_all_active "$naa"
cp /run/lab/rules.toml /etc/dm-psa/rules.toml
check "it is accepted once it is fixed" psactl core claimrule load

note "masked disks can stay on the host, hidden"
agent_setting 'remove_masked = false'
agent_kill
agent_start
check "a rule is added" psactl storage core claimrule add -r 109 -P MASK_PATH -t location "${location[@]}"
check "it is loaded" psactl storage core claimrule load
check "the device is reclaimed" psactl storage core claiming reclaim -d "$naa"
check "the path leaves the map" wait_for 10 map_path_count "$naa" 3
hidden() { udevadm info --query=property "/sys/block/$1" | grep -q DM_MULTIPATH_DEVICE_PATH=1; }
check "its disk is hidden" wait_for 20 hidden "$(path_dev 1 1)"
