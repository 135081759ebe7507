#!/bin/bash
# The fabric reports problems of a port (FPIN): its paths are used last until it has reported none for a while. No
# software fabric sends such a notification, so the script posts the message as the kernel does (fc_host_fpin_rcv).
. /lab/lib/lab.sh

agent_setting 'marginal_recovery_ms = 8000'
lio_fc --lus 2 --groups '1:ao:1,2 2:ano:3,4'
naa=$(lu_naa 1) other=$(lu_naa 2)
agent_start
check "maps appear" wait_for 60 maps_are 2
check "the agent settles" wait_for 20 agent_quiet
wait_for 60 test -b "/dev/mapper/$naa"
fio_verify_start "$naa"

# fpin HOST WWPN TAG: posts link integrity (1) or peer congestion (3)
fpin() {
    python3 - "$@" <<'POST'
import socket, struct, sys
host, port, tag = int(sys.argv[1]), int(sys.argv[2], 16), 0x00020000 + int(sys.argv[3])
numbers = struct.pack(">II", 10, 11) if tag == 0x00020001 else struct.pack(">I", 10)
value = struct.pack(">QQHH", 1, 2, 1, 0) + numbers + struct.pack(">IQ", 1, port)
descriptors = struct.pack(">II", tag, len(value)) + value
els = struct.pack(">BxxxI", 0x16, len(descriptors)) + descriptors
body = struct.pack("=BBHHHQQHHII", 1, 1, 0xA1B2, 0x0100, 36 + len(els), 0, 0, host, len(els), 1, 0x501) + els
message = struct.pack("=IHHII", 16 + len(body), 0x11, 0, 0, 0) + body
post = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 18)
post.bind((0, 0))
try:
    post.sendto(message, (0, 1 << 3))
except OSError:
    pass  # The kernel, which gets a copy, has no use for it.
POST
}
disk=$(path_dev 1 1)
hctl=$(path_hctl "$disk")
host=${hctl%%:*}
rport=$(readlink -f "/sys/block/$disk/device" | grep -o 'rport-[0-9:-]*')
wwpn=$(<"/sys/class/fc_remote_ports/$rport/port_name")
note "$disk is behind host $host and port $wwpn"

fpin "$host" "${wwpn#0x}" 1
check "the path is marginal, and explain names the reason" wait_for 10 explains "$disk" "marginal: the fabric reports errors on the link (FPIN)"
check "PATH_MARGINAL is reported for both units" wait_for 10 has_events PATH_MARGINAL 2
check "the path is no longer in use" wait_for 20 map_uses "$naa" 1 2
check "other paths are unchanged" not explains "$(path_dev 2 1)" "FPIN"
check "PATH_MARGINAL_ENDED is reported when the fabric reports no more errors" wait_for 40 has_events PATH_MARGINAL_ENDED 2
fpin "$host" "${wwpn#0x}" 3
check "congestion makes the path marginal too" wait_for 10 explains "$disk" "congestion at the port (FPIN)"
fpin "$host" 5 1
fpin 999 "${wwpn#0x}" 1
check "the agent survives reports about an unknown port or host" agent_alive
check "0 errors" fio_verify_stop
check "the other map uses all its paths" map_all_active "$other"
