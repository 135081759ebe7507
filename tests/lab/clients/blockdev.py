#!/usr/bin/python3
"""libblockdev's multipath plug-in, as installers and udisks use it: blockdev.py DISK MAP"""
import sys

import gi

gi.require_version("BlockDev", "3.0")
from gi.repository import BlockDev

disk, name = sys.argv[1:]
plugin = BlockDev.PluginSpec()
plugin.name, plugin.so_name = BlockDev.Plugin.MPATH, "libbd_mpath.so.3"
if not BlockDev.init([plugin], None):
    sys.exit("the plug-in is not loaded")
members = BlockDev.mpath_get_mpath_members()
print("members", len(members), *sorted(members)[:3])
assert any(disk in member for member in members), members
assert BlockDev.mpath_is_mpath_member("/dev/" + disk)
assert not BlockDev.mpath_is_mpath_member("/dev/vdb")
assert BlockDev.mpath_is_tech_avail(BlockDev.MpathTech.BASE, BlockDev.MpathTechMode.QUERY)
assert BlockDev.mpath_set_friendly_names(False)
