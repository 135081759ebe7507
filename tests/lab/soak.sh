#!/bin/bash
# Random faults under verified I/O, for any length of time. soak.sh [SECONDS [SEED]]
#
# One LU over tcm_loop and one over iSCSI, four paths each. In the first half the faults include killing the agent. In
# the second half the agent stays alive, so that its use of memory and file descriptors can be compared over time. The
# script prints the seed: the same seed gives the same faults in the same order, as far as the host's timing allows.
. /lab/lib/lab.sh
length=${1:-600} seed=${2:-$(($(date +%s) % 100000))}
RANDOM=$seed
note "soak of $length s, seed $seed"

lio_loop --groups '1:ao:1,2 2:ano:3,4'
lio_iscsi --first 2 --groups '1:ao:1,2 2:ano:3,4' --recovery 2
declare -A lu=([loop]=1 [iscsi]=2) size=([1]=64 [2]=64)
# on TRANSPORT FUNCTION...: calls a function for the array of this transport
on() {
    LAB_TRANSPORT=$1 LAB_LUS=" ${lu[$1]}" LAB_PORTS=' 1 2 3 4' LAB_LUN_BASE=1
    [ "$1" = iscsi ] || LAB_LUN_BASE=0
    "${@:2}"
}
agent_setting 'apd_timeout_ms = 140000'
agent_start
maps=("$(lu_naa 1)" "$(lu_naa 2)")
for map in "${maps[@]}"; do check "$map appears" wait_for 90 test -b "/dev/mapper/$map"; done
check "the agent settles" wait_for 30 agent_quiet
dm_loads_start
dm_messages_start
fio_verify_start "${maps[@]}"

# pick WORD...: sets REPLY to a random one of them
pick() { local words=("$@"); REPLY=${words[RANDOM % $#]}; }
declare -A count=()
counted() { count[$1]=$((${count[$1]:-0} + 1)); }

# iscsid may give a session up permanently when a login times out halfway. An admin would then log in again.
log_in_again() {
    local port
    for port in 1 2 3 4; do
        on iscsi iscsi_session "$port" || on iscsi iscsi_login "$port" 1
    done
} >/dev/null 2>&1

# One or more paths of one array fail for a while; sometimes all of them, for less than the APD time.
fault_path() {
    local transport ports i
    pick loop loop iscsi
    transport=$REPLY
    ports=''
    for ((i = 1; i <= 4; i++)); do [ $((RANDOM % 2)) = 0 ] || ports+=" $i"; done
    [ -n "$ports" ] || ports=1
    # shellcheck disable=SC2086
    on "$transport" path_down $ports
    sleep_ms $((200 + RANDOM % 3000))
    on "$transport" path_up all 2>/dev/null
    if [ $transport = iscsi ]; then counted session; else counted path; fi
}
fault_alua() {
    pick 1 2
    local unit=$REPLY states
    pick 'ao ano' 'ano ao' 'ao standby' 'standby ao' 'ao ao'
    states=$REPLY
    alua_set 1 "${states% *}" "$unit"
    alua_set 2 "${states#* }" "$unit"
    counted alua
}
fault_kill() {
    agent_kill
    sleep_ms $((RANDOM % 2000))
    agent_start || fail "the agent starts again"
    counted kill
}
# As an admin does it: the array grows the LU, and each path is rescanned.
fault_grow() {
    local transport unit port disk
    pick loop iscsi
    transport=$REPLY unit=${lu[$REPLY]}
    size[$unit]=$((${size[$unit]} + 4))
    lu_grow "$unit" "${size[$unit]}"
    for port in 1 2 3 4; do
        disk=$(on "$transport" path_dev "$port" "$unit")
        [ -z "$disk" ] || echo 1 >"/sys/block/$disk/device/rescan"
    done 2>/dev/null
    counted grow
}
# Another program suspends a map, and may or may not resume it.
fault_suspend() {
    local map
    pick "${maps[@]}"
    map=$REPLY
    timeout 20 dmsetup suspend --noflush "$map" 2>/dev/null
    sleep_ms $((RANDOM % 500))
    [ $((RANDOM % 2)) = 0 ] || timeout 20 dmsetup resume "$map" 2>/dev/null
    counted suspend
}
fault_delete() {
    local port disk hctl
    port=$((RANDOM % 4 + 1))
    disk=$(on loop path_dev $port 1)
    [ -n "$disk" ] || return
    hctl=$(path_hctl "$disk")
    path_delete "$disk"
    sleep_ms $((RANDOM % 1500))
    on loop path_rescan "$hctl"
    counted delete
}

# sample: records "SECONDS PID RSS_KB FDS" of the agent every few seconds
samples=/run/lab/samples
sample() {
    local rss fds pid=$AGENT_PID
    agent_alive || return
    rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status") || return
    fds=("/proc/$pid/fd/"*)
    [ -z "$rss" ] || echo "$SECONDS $pid $rss ${#fds[@]}" >>$samples
}

begun=$SECONDS half=$((SECONDS + length / 2)) end=$((SECONDS + length)) shown_at=$SECONDS
faults=(path path path alua alua suspend grow delete)
while [ $SECONDS -lt $end ]; do
    if [ $SECONDS -lt $half ]; then pick "${faults[@]}" kill; else pick "${faults[@]}"; fi
    "fault_$REPLY"
    sample
    sleep_ms $((RANDOM % 1500))
    log_in_again
    if [ $((SECONDS - shown_at)) -ge 60 ]; then
        shown_at=$SECONDS
        note "$((SECONDS - begun)) s: $(for f in "${!count[@]}"; do printf '%s %s, ' "$f" "${count[$f]}"; done)agent $(tail -1 $samples)"
        fio_running || { fail "fio still runs"; break; }
    fi
done
note "faults: $(for f in "${!count[@]}"; do printf '%s %s, ' "$f" "${count[$f]}"; done)$(dm_loads_count) table loads, $(dm_messages_count) messages"

for unit in 1 2; do
    alua_set 1 ao "$unit"
    alua_set 2 ano "$unit"
done
on loop path_up all
on iscsi path_up all 2>/dev/null
sleep_ms 4000
log_in_again
for transport in loop iscsi; do
    map=$(lu_naa "${lu[$transport]}")
    check "$transport: all four paths are in the table" wait_for 60 map_path_count "$map" 4
    check "$transport: all paths are in use" wait_for 60 map_all_active "$map"
    check_eq "$transport: the map has the size of its unit" $((${size[${lu[$transport]}]} * 2048)) "$(blockdev --getsz "/dev/mapper/$map")"
done
check "the agent settles" wait_for 30 agent_quiet
check "every path is listed as active" json_has "nmp path list" 'all(.[]; ."Group State" | startswith("active"))'
check "0 I/O errors, 0 verify errors" fio_verify_stop
note "longest I/O: $FIO_STALL_MS ms"
check_eq "no map is left suspended" 0 "$(dmsetup info -c --noheadings -o suspended | grep -c Suspended)"
check "the kernel log has no warnings" not sh -c "dmesg | grep -E 'WARNING:|BUG:|Oops|blocked for more than|Call Trace'"

# Compare what the last agent used in the first and in the last third of the time without kills.
awk -v half=$half -v end=$end '
    $1 >= half { if ($1 < half + (end - half) / 3) { a++; ra += $3; fa += $4 } else if ($1 >= end - (end - half) / 3) { b++; rb += $3; fb += $4 } }
    END { if (a && b) printf "%d %d %d %d\n", ra / a, rb / b, fa / a * 10, fb / b * 10 }' $samples >/run/lab/thirds
read -r rss_first rss_last fds_first fds_last </run/lab/thirds
note "without kills: RSS $rss_first kB then $rss_last kB, descriptors $((fds_first / 10)) then $((fds_last / 10)); $(wc -l <$samples) samples"
check_le "the agent's memory does not grow (kB in the last third; limit: first third + 10 % + 512)" $((rss_first * 11 / 10 + 512)) "$rss_last"
check_le "the agent's file descriptors do not grow (tenths; limit: first third + 4)" $((fds_first + 40)) "$fds_last"
cp $samples /share/ 2>/dev/null
agent_words | grep -oE ' (ERROR|WARN|INFO) [A-Z_]+' | sort | uniq -c | sort -rn | head -20 | sed 's/^/# /'
