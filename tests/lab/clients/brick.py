#!/usr/bin/python3
"""What OpenStack's os-brick asks and orders when volumes are attached, extended and detached: brick.py FIRST SECOND THIRD

The arguments are WWIDs. Prints a line "ok NAME" or "not-ok NAME: why" for each method. The second unit has grown on the
array, and the third one is detached."""
import os
import sys
import time

from os_brick.initiator import linuxscsi
from os_brick.privileged import rootwrap


def execute(*words, **options):
    """Without privilege separation, which needs a daemon of its own: this runs as root."""
    for name in ("run_as_root", "root_helper"):
        options.pop(name, None)
    return rootwrap.custom_execute(*words, **options)


scsi = linuxscsi.LinuxSCSI("", execute=execute)
failed = 0


def case(name, run):
    global failed
    began = time.monotonic()
    try:
        reply = run()
        print(f"ok {name} ({time.monotonic() - began:.1f} s)", reply if isinstance(reply, str) else "")
    except Exception as why:
        failed += 1
        print(f"not-ok {name}: {type(why).__name__} {why}".replace("\n", " "))


def disks_of(wwid):
    dm = os.path.basename(os.path.realpath(f"/dev/mapper/{wwid}"))
    return sorted(os.listdir(f"/sys/block/{dm}/slaves"))


def equal(reply, wanted):
    assert reply == wanted, f"{reply!r}, not {wanted!r}"


def size(path):
    with open(path, "rb") as disk:
        return disk.seek(0, os.SEEK_END)


first, second, third = sys.argv[1:]
disks = disks_of(first)
dm = os.path.basename(os.path.realpath(f"/dev/mapper/{first}"))


def describes():
    found = scsi.find_multipath_device("/dev/" + disks[0])
    equal((found["device"], found["id"], found["name"]), (f"/dev/mapper/{first}", first, first))
    equal(sorted(d["device"] for d in found["devices"]), ["/dev/" + disk for disk in disks])


def extends():
    map_path = f"/dev/mapper/{second}"
    before = size(map_path)
    new = scsi.extend_volume(["/dev/" + disk for disk in disks_of(second)], use_multipath=True)
    assert int(new) > before and size(map_path) == int(new), f"{before} before, then {new}, the map {size(map_path)}"


def detaches():
    gone = disks_of(third)
    left = scsi.remove_connection(gone, exc=None, path_used=f"/dev/mapper/{third}", was_multipath=True)
    equal(left, None)
    equal([disk for disk in gone if os.path.exists("/dev/" + disk)], [])


case("is_multipath_running", lambda: equal(linuxscsi.LinuxSCSI.is_multipath_running("", execute=execute), True))
case("find_sysfs_multipath_dm", lambda: equal(scsi.find_sysfs_multipath_dm(disks), dm))
case("get_dm_name", lambda: equal(scsi.get_dm_name(dm), first))
case("get_sysfs_wwid", lambda: equal(scsi.get_sysfs_wwid(disks), first))
case("get_scsi_wwn", lambda: equal(scsi.get_scsi_wwn("/dev/" + disks[0]), first))
case("find_multipath_device", describes)
case("find_multipath_device_path", lambda: equal(scsi.find_multipath_device_path(first), f"/dev/disk/by-id/dm-uuid-mpath-{first}"))
case("wait_for_rw", lambda: scsi.wait_for_rw(first, f"/dev/mapper/{first}"))
case("wait_for_mpath_device", lambda: scsi.wait_for_mpath_device(dm))
case("multipath_add_wwid", lambda: equal(scsi.multipath_add_wwid(first), True))
case("multipath_add_path", lambda: equal(scsi.multipath_add_path("/dev/" + disks[0]), True))
case("multipath_reconfigure", lambda: equal(scsi.multipath_reconfigure().strip(), "ok"))
case("extend_volume", extends)
case("remove_connection", detaches)
sys.exit(1 if failed else 0)
