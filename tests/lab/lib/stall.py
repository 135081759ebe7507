#!/usr/bin/env python3
"""stall.py DEVICE RESULT: write and read one block of DEVICE over and over.

On SIGUSR1 a line "I/Os errors longest-ms" since the last line goes to RESULT.
An I/O still under way counts with its age, so a stall is seen before it ends.
"""
import mmap
import os
import signal
import sys
import threading
import time

device, result = sys.argv[1:3]
fd = os.open(device, os.O_RDWR | os.O_DIRECT)
buffer = mmap.mmap(-1, 4096)
# The last block, so that it does not disturb tests that write the beginning.
offset = (os.lseek(fd, 0, os.SEEK_END) // 4096 - 1) * 4096

count = errors = 0
longest = 0.0
since = None
mark = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: mark.set())


def work():
    global count, errors, longest, since
    n = 0
    while True:
        n += 1
        buffer[0:8] = n.to_bytes(8, "little")
        since = time.monotonic()
        try:
            os.pwritev(fd, [buffer], offset)
            os.preadv(fd, [buffer], offset)
            if int.from_bytes(buffer[0:8], "little") != n:
                errors += 1
        except OSError:
            errors += 1
        took, since = time.monotonic() - since, None
        longest = max(longest, took)
        count += 2
        time.sleep(0.002)


threading.Thread(target=work, daemon=True).start()
with open(result, "w") as out:
    print(0, 0, 0, file=out, flush=True)
    while True:
        signal.pause() if not mark.is_set() else None
        mark.clear()
        begun = since
        now = max(longest, time.monotonic() - begun if begun else 0)
        print(count, errors, int(now * 1000), file=out, flush=True)
        count = errors = 0
        longest = 0.0
