#!/usr/bin/env python3
"""list.py DAEMON SECONDS: how long DAEMON (dm-psad or multipathd) takes to answer a list of its paths.

It is asked at its socket twice a second for SECONDS; each answer is a line of milliseconds, or "late SECONDS".
What a command line takes to start is in neither's figures.
"""
import json
import socket
import struct
import sys
import time

LIMIT = 70
AGENT, RIVAL = "/run/dm-psa/io.dmpsa", "\0/org/kernel/linux/storage/multipathd"


def exactly(peer, length):
    parts = b""
    while len(parts) < length:
        part = peer.recv(length - len(parts))
        if not part:
            raise ConnectionError("the daemon closed the connection")
        parts += part
    return parts


def ask_agent(peer):
    """Varlink: a call is JSON and a zero byte, and so is its reply."""
    peer.sendall(json.dumps({"method": "io.dmpsa.ListNmpPaths", "parameters": {}}).encode() + b"\0")
    reply = b""
    while not reply.endswith(b"\0"):
        part = peer.recv(1 << 16)
        if not part:
            raise ConnectionError("the daemon closed the connection")
        reply += part
    return "error" not in json.loads(reply[:-1])


def ask_rival(peer):
    """multipathd: the length in native byte order, then the bytes, the last of them zero; the reply likewise."""
    words = b"show paths\0"
    peer.sendall(struct.pack("@Q", len(words)) + words)
    reply = exactly(peer, struct.unpack("@Q", exactly(peer, 8))[0])
    # Its own limit is 4 s; asked again, like an admin would, it may answer.
    return b"timeout" not in reply[:40]


def main():
    daemon, seconds = sys.argv[1], float(sys.argv[2])
    address, ask = (AGENT, ask_agent) if daemon == "dm-psad" else (RIVAL, ask_rival)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        answered = False
        while not answered and time.monotonic() - begun < LIMIT:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                    peer.settimeout(LIMIT)
                    peer.connect(address)
                    answered = ask(peer)
            except OSError:
                time.sleep(0.1)
        took = time.monotonic() - begun
        print(int(took * 1000) if answered else f"late {LIMIT}", flush=True)
        time.sleep(0.5)


main()
