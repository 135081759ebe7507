#!/bin/bash
# A LUN leads to another unit after a gap, and 4 MiB are written some time later. LUN 0: LIO's own RAM disk answers in
# the gap. LUN 3: commands are refused in the gap. 30-repointed.sh [all] [multipathd]
#
#   all           every gap with and without reads and a unit attention; otherwise only the most different cases
#   multipathd    the same with multipathd first, for comparison: nothing is required of it
#
# No byte may go to the other unit if the path was checked between the change and the writes (checks are 5 s apart), or
# if a command failed in the gap. In other cases the script shows the bytes, and how long the path stayed in use.
# Guest: shared
. /lab/lib/lab.sh

rounds=(100:idle:none:2000 1000:reads:none:2000 3000:idle:none:2000 3000:reads:ua:2000 7000:idle:none:2000 100:idle:none:6500)
daemons=(dm-psad)
for word; do
    case $word in
        all)
            rounds=()
            for gap in 100 1000 3000 7000; do
                for io in idle reads; do rounds+=("$gap:$io:none:2000" "$gap:$io:ua:2000"); done
            done
            rounds+=(100:idle:none:6500 100:reads:none:6500 1000:idle:ua:6500)
            ;;
        multipathd) daemons=(multipathd dm-psad) ;;
        *) lab_die "no such argument: $word" ;;
    esac
done

# Separate sessions, because LIO reports a change of one LUN by a unit attention on all other LUNs of the session.
lio_iscsi --lun-base 0 --at '1:1,2 4:3,4' --groups '1:ao:1,2 2:ao:3,4'
lus=(1 4)
# The port of the path that is repointed, by LU, and the unit that it then leads to.
declare -A port=([1]=2 [4]=4) other=([1]=9 [4]=10) disk=() writer=() mover=()
lu_other 9
lu_other 10
for lu in "${lus[@]}"; do disk[$lu]=$(path_dev ${port[$lu]} $lu); done

map_of() { if [ "$daemon" = multipathd ]; then lu_wwid "$1"; else lu_naa "$1"; fi; }
failed_commands() { REPLY=$(($(<"/sys/block/$1/device/ioerr_cnt"))); }
# Sets the clock of the agent's log (wall) and that of the stamps (mono), in ms.
clocks() {
    local up
    now_ms wall
    read -r up _ </proc/uptime
    up=${up/./}
    mono=$((10#$up * 10))
}
# out_of_use LU: sets REPLY to when the agent took a path of that LU out of use, in ms after the other unit appeared
out_of_use() {
    local since at
    printf -v since '%(%Y-%m-%dT%H:%M:%S)T.%03d' $((removed / 1000)) $((removed % 1000))
    at=$(agent_words | awk -v since="$since" -v device="device=\"$(lu_naa "$1")\"" \
        '$1 >= since && $3 == "PATH_STATE" && index($0, device) && /from="active"/ { print $1; exit }')
    REPLY=''
    [ -n "$at" ] && REPLY=$(($(date -d "$at" +%s%3N) - added))
}
both() { map_path_count "$1" 2 && map_all_active "$1"; }
all_serve() { json_has "nmp path list -d $(lu_naa "$1")" 'length == 2 and all(.[]; ."Group State" == "active")'; }

# move LU GAP ATTENTION: makes its LUN lead to the other unit. Writes the times, and the number of commands that failed
# in the gap, to a file.
move() {
    local lu=$1 p=${port[$1]} removed added before failed
    lu_behind "$lu" ${other[$lu]} "$p"
    # LIO sends a unit attention if the LUN gets its port group after the unit.
    [ "$3" = ua ] || LAB_PORT_GROUP[iscsi$p]=''
    failed_commands "${disk[$lu]}"
    before=$REPLY
    now_ms removed
    lu_remove "$lu" "$p"
    sleep_ms "$2"
    failed_commands "${disk[$lu]}"
    failed=$((REPLY - before))
    lu_add "$lu" "$p"
    now_ms added
    echo "$removed $added $failed" >/run/lab/moved$lu
}
# repoint GAP IO ATTENTION WAIT
repoint() {
    local gap=$1 io=$2 attention=$3 wait=$4 lu removed added failed wrote wall mono exposure maps=()
    for lu in "${lus[@]}"; do
        dd if=/dev/zero of="$LAB_STORE/lu${other[$lu]}" bs=1M count=8 conv=notrunc status=none
        maps+=("$(map_of "$lu")")
    done
    # Start the writers now and let them wait for the signal, because Python starts slowly.
    for lu in "${lus[@]}"; do
        rm -f /run/lab/{wrote,go,moved}$lu
        mkfifo /run/lab/go$lu
        timeout 300 python3 "$LAB_LIB/stamp.py" write "/dev/mapper/$(map_of "$lu")" /run/lab/wrote$lu 4 0 /run/lab/go$lu &
        writer[$lu]=$!
        wait_for 20 test -s /run/lab/wrote$lu || lab_die "the writer of LU $lu does not start"
    done
    [ "$io" = idle ] || stamp_read "${maps[@]}"
    clocks
    for lu in "${lus[@]}"; do move "$lu" "$gap" "$attention" & mover[$lu]=$!; done
    for lu in "${lus[@]}"; do wait "${mover[$lu]}"; done
    sleep_ms "$wait"
    now_ms wrote
    for lu in "${lus[@]}"; do : >/run/lab/go$lu; done
    for lu in "${lus[@]}"; do wait "${writer[$lu]}" || fail "the writer of LU $lu ends without a failure"; done
    [ "$io" = idle ] || stamp_read_stop || fail "the readers end without a failure"
    for lu in "${lus[@]}"; do
        read -r removed added failed </run/lab/moved$lu
        [ "$daemon" = multipathd ] || check_eq "all blocks were written without an error" "1024 0" "$(tail -1 /run/lab/wrote$lu)"
        stamp_find ${other[$lu]}
        exposure=''
        if [ "$daemon" = dm-psad ]; then
            # The agent may not have found the change yet.
            wait_for 10 out_of_use "$lu"
            out_of_use "$lu"
            if [ -z "$REPLY" ]; then exposure=', in use still'
            elif [ "$REPLY" -le 0 ]; then exposure=", out of use $((-REPLY)) ms before the other unit came"
            else exposure=", in use for $REPLY ms"; fi
        fi
        [ "$FOUND" = 0 ] || exposure+=", the last byte after $((LAST / 1000 - mono + wall - added)) ms"
        printf -v REPLY '%-10s LUN %s, gap %4s ms (%4s), %-5s, attention %-4s, written %s ms after: %7s bytes wrong, %s commands failed in the gap%s' \
            "$daemon" $((lu - 1)) "$gap" $((added - removed)) "$io" "$attention" $((wrote - added)) $((FOUND * 4096)) "$failed" "$exposure"
        note "$REPLY"
        if [ "$daemon" = dm-psad ] && { [ $((wrote - removed)) -ge 6000 ] || [ "$failed" -gt 0 ]; }; then
            check_eq "LUN $((lu - 1)), gap $gap ms, $io, attention $attention, written after $wait ms: no byte on the wrong disk" 0 "$FOUND"
        fi
    done
    for lu in "${lus[@]}"; do
        lu_behind "$lu" "$lu" ${port[$lu]}
        lu_remove "$lu" ${port[$lu]}
    done
    sleep_ms 1000
    for lu in "${lus[@]}"; do lu_add "$lu" ${port[$lu]}; done
    if [ "$daemon" = dm-psad ]; then
        for lu in "${lus[@]}"; do
            check "put back, the path is active again" wait_for 30 all_serve "$lu"
        done
        wait_for 10 agent_quiet
    else
        # After a unit attention multipathd gave the path to a map of the other unit; a change event brings it back.
        for lu in "${lus[@]}"; do
            wait_for 3 both "$(map_of "$lu")" || udevadm trigger --action=change "/sys/block/${disk[$lu]}"
            wait_for 15 both "$(map_of "$lu")" || note "multipathd has not taken the path of LUN $((lu - 1)) back"
        done
    fi
}

for daemon in "${daemons[@]}"; do
    if [ "$daemon" = multipathd ]; then peer_multipathd_start; else agent_start; fi
    check "maps appear" wait_for 60 maps_are 2
    for lu in "${lus[@]}"; do check "the map has two paths" wait_for 60 map_path_count "$(map_of $lu)" 2; done
    for lu in "${lus[@]}"; do check "the map has a node" wait_for 90 test -b "/dev/mapper/$(map_of $lu)"; done
    [ "$daemon" = multipathd ] || check "the agent settles" wait_for 20 agent_quiet
    # Keep the maps open: otherwise the agent would move a path that leads elsewhere to the other unit.
    exec 8<"/dev/mapper/$(map_of 1)" 9<"/dev/mapper/$(map_of 4)"
    for round in "${rounds[@]}"; do
        IFS=: read -r gap io attention wait <<<"$round"
        repoint "$gap" "$io" "$attention" "$wait"
    done
    exec 8<&- 9<&-
    [ "$daemon" != multipathd ] || peer_multipathd_stop flush
done
agent_words | grep -E "QUARANTINE|PATH_STATE|IO_ERROR" | tail -12
