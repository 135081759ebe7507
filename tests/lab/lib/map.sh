# shellcheck shell=bash
# The state of dm-multipath maps, read from the kernel. MAP is the name of a map, PORT a port of the array.
#
#   map_letters MAP          "A:AA E:AF": the letter of each group and those of its paths
#   map_group MAP N          device numbers of group N, ascending
#   map_disks MAP            sdX of all paths in table order, each preceded by a blank
#   map_uses MAP LU PORT     whether the group in use has that path, and the path is active
#   map_has MAP MAJ:MIN      whether the path is in the table
#   map_all_active, map_no_active, map_some_active, map_some_failed, map_queues MAP
#   map_path_count MAP N     whether N paths are in the table
#   maps_are N, map_exists   whether N multipath maps exist; whether one exists
#   link_is LINK DEVICE      whether both lead to the same device

# map_read MAP: sets MAP_GROUPS to letters, MAP_PATHS to "GROUP DEV LETTER" lines, MAP_NOW to the group in use
# One dmsetup per call, because forks are expensive in an emulated guest.
map_read() {
    local line words i groups paths g p sel info
    line=$(dmsetup status --noflush "$1" 2>/dev/null) || return
    read -ra words <<<"$line"
    # A map that is being created has no table yet; an unbound variable would end the script without a message.
    [ "${words[2]:-}" = multipath ] || return
    # 0 LENGTH multipath #features feature... #handler handler... #groups group_now
    i=3
    i=$((i + 1 + words[i]))
    i=$((i + 1 + words[i]))
    groups=${words[i]} MAP_NOW=${words[i + 1]}
    i=$((i + 2))
    MAP_GROUPS=() MAP_PATHS=()
    for ((g = 1; g <= groups; g++)); do
        MAP_GROUPS+=("${words[i]}")
        sel=${words[i + 1]}
        i=$((i + 2 + sel))
        paths=${words[i]} info=${words[i + 1]}
        i=$((i + 2))
        for ((p = 0; p < paths; p++)); do
            MAP_PATHS+=("$g ${words[i]} ${words[i + 1]}")
            i=$((i + 3 + info))
        done
    done
}

map_letters() {
    local g path out=''
    map_read "$1" || return
    for g in "${!MAP_GROUPS[@]}"; do
        out+=" ${MAP_GROUPS[g]}:"
        for path in "${MAP_PATHS[@]}"; do
            [ "${path%% *}" = $((g + 1)) ] && out+=${path##* }
        done
    done
    echo "${out# }"
}

map_group() {
    local path
    map_read "$1" || return
    for path in "${MAP_PATHS[@]}"; do
        read -r g dev _ <<<"$path"
        [ "$g" != "$2" ] || echo "$dev"
    done | sort -t: -k2n | xargs
}

map_disks() {
    local path dev out=''
    map_read "$1" || return
    for path in "${MAP_PATHS[@]}"; do
        read -r _ dev _ <<<"$path"
        out+=" $(basename "$(readlink -f "/sys/dev/block/$dev")")"
    done
    echo "$out"
}

map_letters_have() { # MAP LETTER: some path has it
    local path
    map_read "$1" || return
    for path in "${MAP_PATHS[@]}"; do [ "${path##* }" != "$2" ] || return 0; done
    return 1
}
map_some_active() { map_letters_have "$1" A; }
map_some_failed() { map_letters_have "$1" F; }
map_no_active() { map_read "$1" && ! map_letters_have "$1" A; }
map_all_active() { map_some_active "$1" && ! map_letters_have "$1" F; }

map_has() {
    local path dev
    map_read "$1" || return
    for path in "${MAP_PATHS[@]}"; do
        read -r _ dev _ <<<"$path"
        [ "$dev" != "$2" ] || return 0
    done
    return 1
}

map_path_count() { map_read "$1" && [ "${#MAP_PATHS[@]}" = "$2" ]; }

map_uses() {
    local path g dev letter wanted disk now
    disk=$(path_dev "$3" "$2")
    [ -n "$disk" ] || return
    wanted=$(<"/sys/block/$disk/dev")
    map_read "$1" || return
    now=$MAP_NOW
    for g in "${!MAP_GROUPS[@]}"; do [ "${MAP_GROUPS[g]}" != A ] || now=$((g + 1)); done
    for path in "${MAP_PATHS[@]}"; do
        read -r g dev letter <<<"$path"
        [ "$dev $letter $g" != "$wanted A $now" ] || return 0
    done
    return 1
}

map_queues() { [[ $(dmsetup table "$1") == *queue_if_no_path* ]]; }
maps_are() { [ "$(dmsetup ls --target multipath 2>/dev/null | grep -c '(')" = "$1" ]; }
map_exists() { not maps_are 0; }
link_is() { [ "$(readlink -f "$1")" = "$(readlink -f "$2")" ]; }

# lvm_works MAP: creates a volume group on it, a volume and a file system
lvm_works() {
    vgcreate -qq labvg "/dev/mapper/$1" && lvcreate -qq -y -L 16M -n v labvg && mkfs.ext4 -qF /dev/labvg/v &&
        mkdir -p /mnt/v && mount /dev/labvg/v /mnt/v && echo x >/mnt/v/x && umount /mnt/v && vgchange -qq -an labvg
}

udev_property() { [ "$(udevadm info -q property --property="$2" --value "/dev/$1")" = "$3" ]; }
