#!/usr/bin/env python3
"""stamp.py write DEVICE RESULT [MIB [PAUSE_MS [FIFO]]]: blocks of 4 KiB by direct I/O, each with its time and number.

One after the other from the start of DEVICE, and round again: MIB of them, or until SIGTERM if MIB is 0. With a FIFO
it is ready when "started" is in RESULT, and begins when somebody opens the FIFO to write.
RESULT gets one line at the end: blocks written, errors.

stamp.py read DEVICE RESULT: reads blocks of 4 KiB beyond the first 4 MiB, which the writers write, until SIGTERM. RESULT
gets one line at the end: reads, errors.

stamp.py find FILE [SINCE]: which stamped blocks FILE holds, as "BLOCKS LAST LATE": how many, the time of the youngest,
and how many were written after SINCE. Times are CLOCK_MONOTONIC in microseconds, as in a trace with `trace_clock mono`.
"""
import mmap
import os
import signal
import struct
import sys
import time

MAGIC = b"dm-psa lab stamp"
BLOCK = 4096


def now():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def write(device, result, mib="0", pause="0", fifo=""):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    buffer = mmap.mmap(-1, BLOCK)
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    blocks = min(os.lseek(fd, 0, os.SEEK_END) // BLOCK, 4 * 1048576 // BLOCK)
    wanted, done, errors = int(mib) * 1048576 // BLOCK, 0, 0
    with open(result, "w") as out:
        print("started", file=out, flush=True)
        if fifo:
            os.close(os.open(fifo, os.O_RDONLY))
        while not ended and (not wanted or done < wanted):
            buffer[: len(MAGIC) + 16] = MAGIC + struct.pack("<QQ", now(), done)
            try:
                os.pwritev(fd, [buffer], done % blocks * BLOCK)
            except OSError:
                errors += 1
            done += 1
            if int(pause):
                time.sleep(int(pause) / 1000)
        print(done, errors, file=out, flush=True)


def read(device, result):
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    buffer = mmap.mmap(-1, BLOCK)
    fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
    blocks = os.lseek(fd, 0, os.SEEK_END) // BLOCK
    written = 4 * 1048576 // BLOCK
    done = errors = 0
    with open(result, "w") as out:
        print("started", file=out, flush=True)
        while not ended:
            try:
                os.preadv(fd, [buffer], (written + done * 61 % (blocks - written)) * BLOCK)
            except OSError:
                errors += 1
            done += 1
            time.sleep(0.005)
        print(done, errors, file=out, flush=True)


def find(path, since="0"):
    found = last = late = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            if not block.startswith(MAGIC):
                continue
            at, _ = struct.unpack_from("<QQ", block, len(MAGIC))
            found += 1
            last = max(last, at)
            late += at > int(since)
    print(found, last, late)


{"write": write, "read": read, "find": find}[sys.argv[1]](*sys.argv[2:])
