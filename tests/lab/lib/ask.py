#!/usr/bin/env python3
"""ask.py RESULT METHOD...: calls the agent over one connection, each method in turn, every 100 ms until SIGTERM.

At the end RESULT gets one line: calls, failures, longest and median answer in milliseconds, and how many of a thousand
took longer than 50 ms. What psactl takes to start is not in them.
"""
import json
import signal
import socket
import sys
import time

result, methods = sys.argv[1], sys.argv[2:]
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
peer.settimeout(60)
peer.connect("/run/dm-psa/io.dmpsa")
took, failures, rest = [], 0, b""
with open(result, "w") as out:
    print("started", file=out, flush=True)
    while not ended:
        for method in methods:
            call = json.dumps({"method": "io.dmpsa." + method, "parameters": {}}).encode() + b"\0"
            begun = time.monotonic()
            peer.sendall(call)
            while b"\0" not in rest:
                part = peer.recv(1 << 16)
                if not part:
                    sys.exit("the agent closed the connection")
                rest += part
            took.append(time.monotonic() - begun)
            reply, rest = rest.split(b"\0", 1)
            failures += "error" in json.loads(reply)
        time.sleep(0.1)
    took.sort()
    ms = [int(t * 1000) for t in (took[-1], took[len(took) // 2])]
    late = sum(t > 0.05 for t in took) * 1000 // len(took)
    print(len(took), failures, *ms, late, file=out, flush=True)
