#!/bin/bash
# What psactl does itself: SCSI commands, counters, rescans, processes that have a device open, names, detached devices.
. /lab/lib/lab.sh

lio_iscsi --lus 2 --groups '1:ao:1,2 2:ano:3 3:standby:4'
scsi_debug_array --hosts 1 --luns 1
naa=$(lu_naa 1)
disk=$(path_dev 1 1) standby=$(path_dev 4 1) debug=$(scsi_debug_path 1 0)
hctl=$(path_hctl "$disk")
sg=$(readlink "/sys/block/$disk/device/generic") && sg=${sg##*/}
# field JSON NAME: prints the first value with that name, in any structure
field() { jq -r --arg name "$2" '[.[] | .[$name]? | select(. != null)][0] | if type == "array" then join(",") else . end' <<<"$1"; }
json() { psactl --formatter=json "$@"; }
has() { [[ $1 == *"$2"* ]] || { printf 'no "%s" in:\n%s\n' "$2" "$1"; return 1; }; }
# refused STATUS TEXT WORDS...: whether psactl exits with STATUS and prints TEXT
refused() {
    local status=$1 text=$2 said
    shift 2
    said=$(psactl "$@" 2>&1)
    [ $? = "$status" ] && has "$said" "$text"
}

note "SCSI commands, without an agent"
check_eq "INQUIRY by the disk" LIO-ORG "$(field "$(json scsi inquiry "/dev/$disk")" "T10 VENDOR IDENTIFICATION")"
for name in "$disk" "$sg" "/dev/$sg" "$hctl"; do
    check_eq "INQUIRY by $name" LIO-ORG "$(field "$(json scsi inquiry "$name")" "T10 VENDOR IDENTIFICATION")"
done
link=$(find /dev/disk/by-path -lname "*/$disk" | head -1)
check_eq "INQUIRY by a link of udev" LIO-ORG "$(field "$(json scsi inquiry "$link")" "T10 VENDOR IDENTIFICATION")"
check_eq "page 83h is the default, with the identity" "$naa" "$(field "$(json scsi vpd "$disk")" Device)"
pages=$(field "$(json scsi vpd "$disk" --page 00)" "VPD PAGE LIST")
note "pages: $pages"
for page in 80 83 b0; do check "page $page is in the list" has "$pages" "${page^^}h"; done
for page in 80 b0 b2; do check "page ${page}h is decoded" psactl scsi vpd "$disk" --page $page; done
check_eq "page b0h in fields: LIO accepts COMPARE AND WRITE of one block" 1 "$(field "$(json scsi vpd "$disk" --page b0)" "MAXIMUM COMPARE AND WRITE LENGTH")"
psactl scsi vpd "$debug" --page b0
check_eq "page b1h of scsi_debug in fields: it does not rotate" 1 "$(field "$(json scsi vpd "$debug" --page 0xb1)" "MEDIUM ROTATION RATE")"
check "a missing page is an error with command and sense" refused 1 "INQUIRY page C7h: CHECK CONDITION 5/24/00" scsi vpd "$disk" --page c7
psactl scsi rtpg "$disk"
groups=$(json scsi rtpg "$disk")
check_eq "three port groups" "1 2 3" "$(jq -r '[.[]."TARGET PORT GROUP" | select(. != null)] | sort | join(" ")' <<<"$groups")"
# LIO leaves the last port out of its extended answer.
check_eq "the port groups have all their ports" "1 2 3 4" "$(jq -r '[.[]."RELATIVE TARGET PORT IDENTIFIER"? | select(. != null)[]] | map(tonumber) | sort | join(" ")' <<<"$groups")"
check_eq "the sg device gives the same" "$groups" "$(json scsi rtpg "$sg")"
settle_path "$disk"
settle_path "$standby"
check "an optimized path is ready" psactl scsi tur "$disk"
said=$(psactl scsi tur "$standby")
check_eq "a standby path is not, by exit code" 1 $?
check "the error says so in words" has "$said" "the target port is in standby"
echo "$said"
check "the error for another user says that root is needed" sh -c "setpriv --reuid 65534 --clear-groups psactl scsi tur $disk 2>&1 | grep -q 'only root can do this'"
check "a disk that is not a SCSI device is refused" refused 1 "not a SCSI device" scsi tur vda
check "a disk that does not exist is refused" refused 4 "no such SCSI device" scsi tur sdzz

note "STPG"
stpg_count_start
check "it is refused without --force, and the error names the consequence" refused 2 "for every host that uses the array" scsi stpg "$disk" --group 3 --state nonoptimized
check "it is refused for an array without explicit ALUA" refused 1 "INQUIRY TPGS" scsi stpg "$debug" --group 1 --state active --force
check "a group that does not exist is refused" refused 1 "use one of 1, 2, 3" scsi stpg "$disk" --group 9 --state active --force
check_eq "none of these reached the array" 0 "$(stpg_count)"
said=$(json scsi stpg "$disk" --group 3 --state nonoptimized --force)
check_eq "with --force the group changes, and the groups are printed" "1h (active/non-optimized)" \
    "$(jq -r '.[] | select(."TARGET PORT GROUP" == 3) | ."ASYMMETRIC ACCESS STATE"' <<<"$said")"
check_eq "the array confirms the state" "1 3 ano explicit" "$(alua_status 1 | grep '^1 3 ')"
settle_path "$standby"
check "its path is ready" psactl scsi tur "$standby"
check "the group is set back through the sg device" psactl scsi stpg "$sg" --group 3 --state standby --force
check_eq "the array confirms the state" "1 3 standby explicit" "$(alua_status 1 | grep '^1 3 ')"

agent_start
has_map() { dmsetup info "$1"; }
check "maps appear" wait_for 30 has_map "$naa"
check "the other LU has a map too" wait_for 30 has_map "$(lu_naa 2)"
check "the agent settles" wait_for 30 agent_quiet
check "the map has a node" wait_for 90 test -b "/dev/mapper/$naa"
name() { json core path list -p "$(path_dev "$1" "${2:-1}")" | jq -r '.[0]."Runtime Name"'; }
path=$(name 1) adapter=$(name 1) && adapter=${adapter%%:*}
settle_path "$disk"
check "a path can be named by its runtime name" psactl scsi tur "$path"
check "a map is refused: it has several paths" refused 1 "give a path of it" scsi tur "$(basename "$(readlink -f "/dev/mapper/$naa")")"

note "counters"
# counts WORDS...: prints reads, blocks read, writes, blocks written, commands
counts() { json core "$@" | jq -r '.[0] | [."Read Operations", ."Blocks Read", ."Write Operations", ."Blocks Written", ."Successful Commands"] | join(" ")'; }
# grew BEFORE AFTER READS WRITES: whether it grew by this many I/Os of 4 KiB, or slightly more (udev reads after writes)
grew() {
    local b a
    read -ra b <<<"$1"
    read -ra a <<<"$2"
    echo "$1 -> $2"
    [ $((a[0] - b[0])) -ge "$3" ] && [ $((a[1] - b[1])) -ge $(($3 * 8)) ] && [ $((a[2] - b[2])) -ge "$4" ] &&
        [ $((a[3] - b[3])) -ge $(($4 * 8)) ] && [ $((a[4] - b[4])) -ge $(($3 + $4)) ]
}
# paths_sum: the sum over the paths of LU 1
paths_sum() {
    local p
    for p in 1 2 3 4; do counts path stats get -p "$(name $p)"; done |
        awk '{ for (i = 1; i <= NF; i++) sum[i] += $i } END { print sum[1], sum[2], sum[3], sum[4], sum[5] }'
}
device=$(counts device stats get -d "$naa") paths=$(paths_sum) hba=$(counts adapter stats get -A "$adapter")
dd if="/dev/mapper/$naa" of=/dev/null bs=4k count=100 iflag=direct status=none
dd if=/dev/zero of="/dev/mapper/$naa" bs=4k count=50 oflag=direct status=none
check "the counters of the device grow" grew "$device" "$(counts device stats get -d "$naa")" 100 50
check "the counters of its paths grow" grew "$paths" "$(paths_sum)" 100 50
check "the counters of the adapter grow" grew "$hba" "$(counts adapter stats get -A "$adapter")" 100 50
check_eq "a counter that does not exist is null" null "$(json core device stats get -d "$naa" | jq '.[0]."Reservation Conflicts"')"
failed() { json core path stats get -p "$(name 4)" | jq '.[0]."Failed Commands"'; }
before=$(failed)
psactl scsi tur "$standby" >/dev/null
check "a command that the standby path refuses is counted as failed" [ "$(failed)" -gt "$before" ]
psactl core path stats get -p "$path"

note "which processes have the device open"
mkfifo /run/lab/fifo
exec 9<>/run/lab/fifo
dd if=/run/lab/fifo of="/dev/mapper/$naa" conv=notrunc status=none &
dd_pid=$!
worlds() { json core device world list -d "$naa" | jq -r '.[] | "\(."World ID") \(."Open Count") \(."World Name")"'; }
has_world() { worlds | grep -qx "$1"; }
check "dd is named with its process id" wait_for 10 has_world "$dd_pid 1 dd"
psactl core device world list
kill "$dd_pid"
wait "$dd_pid" 2>/dev/null
check "it is not listed after its end" wait_for 10 not has_world "$dd_pid 1 dd"
mkfs.ext4 -qF "/dev/mapper/$naa" && mkdir -p /mnt/w && mount "/dev/mapper/$naa" /mnt/w
check "a mount is world 0" has_world "0 1 /mnt/w"
check "the list warns another user that it is incomplete" sh -c "setpriv --reuid 65534 --clear-groups psactl core device world list 2>&1 | grep -q 'try with sudo'"
umount /mnt/w
check_eq "the list is empty" '' "$(worlds)"

note "VAAI status"
# supported MAP LIMIT: prints what the map's queue reports
supported() {
    local limit
    limit=$(<"/sys/class/block/$(basename "$(readlink -f "/dev/mapper/$1")")/queue/$2")
    if [ "$limit" -gt 0 ]; then echo supported; else echo unsupported; fi
}
vaai=$(json core device vaai status get -d "$naa")
check_eq "the Zero status is that of the map's queue" "$(supported "$naa" write_zeroes_max_bytes)" "$(field "$vaai" "Zero Status")"
check_eq "the Delete status is that of the map's queue" "$(supported "$naa" discard_max_bytes)" "$(field "$vaai" "Delete Status")"
psactl core device vaai status get -d "$naa"

note "names and flags"
shown() { json core device list -d "$naa" | jq -r --arg name "$1" '.[0][$name]'; }
psactl core device set -d "$naa" --name payroll
psactl core device setconfig -d "$naa" --perennially-reserved=true --shared-clusterwide=false
psactl core device set -d "$naa" --name 'for a while' --no-persist
check_eq "the name is shown" "for a while" "$(shown "Display Name")"
agent_kill
agent_start
check_eq "after a restart the persistent name is shown" payroll "$(shown "Display Name")"
check_eq "the flags survive the restart" "true false" "$(shown "Is Perennially Reserved") $(shown "Is Shared Clusterwide")"
check "options without a Linux equivalent are accepted with a warning" sh -c "psactl core device set -d $naa -s 32 -q 8 2>&1 | grep -q 'without effect'"
check "the program of the modules exists" test -x "$(field "$(json core plugin registration list)" "Full Path")"
check "a third-party plug-in is refused" refused 1 "does not support third-party" core plugin registration add -m x -N MP -P X

note "a device is detached"
other=$(lu_naa 2)
check "the device is turned off" wait_for 15 psactl core device set -d "$other" --state off
check "its map is gone" wait_for 15 not has_map "$other"
check_eq "it is listed" "$other off" "$(json core device detached list | jq -r '.[] | "\(."Device UID") \(.State)"')"
check "it is removed from the list" psactl core device detached remove -d "$other"
check "its map is back" wait_for 30 has_map "$other"
check_eq "the list is empty" '[]' "$(json core device detached list)"

note "a rescan finds a new LU"
LAB_LUS+=' 3'
array_lus
# This LU accepts UNMAP, the others do not (7.x kernels make no use of that).
echo 1 >"$LAB_TARGET/core/fileio_3/lu3/attrib/emulate_tpu"
lu_add 3
new=$(lu_naa 3)
said=$(psactl core adapter rescan -A "$adapter" -t add)
echo "$said"
check_eq "each of the adapter's four SCSI hosts finds it" 4 "$(grep -c "^$adapter (host.*): scanned, new: .*:0:0:3$" <<<"$said")"
check "the new LU has a map" wait_for 60 has_map "$new"
check "the map has all its paths" wait_for 30 map_path_count "$new" 4
check "the map has a node" wait_for 90 test -b "/dev/mapper/$new"
unmap=$(supported "$new" discard_max_bytes)
check_eq "its Delete status is that of its queue: $unmap" "$unmap" "$(field "$(json core device vaai status get -d "$new")" "Delete Status")"
check "the agent settles" wait_for 60 agent_quiet
said=$(psactl core adapter rescan -A "$adapter" -t update -F 2>&1)
echo "$said"
check_eq "12 paths are read again" 4 "$(grep -c ': 3 paths read again$' <<<"$said")"
check "the option for file system scans is reported as without effect" has "$said" "--skip-fs-scan"

note "a rescan removes dead paths that are not in use"
exec 8<"/dev/mapper/$new"
lu_remove 3
dead() { [ "$(json core path list -d "$new" | jq '[.[] | select(.State == "dead")] | length')" = "$1" ]; }
check "the LU is unmapped: its paths are dead" wait_for 60 dead 4
said=$(psactl core adapter rescan -A "$adapter" -t delete 2>&1)
echo "$said"
check_eq "a map in use keeps its dead paths" 4 "$(grep -c "is dead but was not removed: its map $new is in use" <<<"$said")"
check "the dead paths are still listed" dead 4
exec 8<&-
disks() { local b n=0; for b in /sys/class/scsi_device/*:0:0:3; do [ ! -e "$b" ] || n=$((n + 1)); done; [ $n = "$1" ]; }
said=$(psactl core adapter rescan -A "$adapter")
echo "$said"
check_eq "paths of a closed map are removed" 4 "$(grep -o "removed $adapter:C0:T[0-9]*:L3" <<<"$said" | wc -l)"
check "their disks are gone" wait_for 30 disks 0
check "the map is gone" wait_for 60 not has_map "$new"
check "the other map has all its paths" map_path_count "$naa" 4
check "the other map can be read" disk_reads "mapper/$naa"
lu_add 3
check "a rescan of all adapters finds the LU when it is mapped again" psactl core adapter rescan --all --type add
check "the LU has its map again" wait_for 60 has_map "$new"
