//! How much of the kernel the agent uses: open sg devices, and outstanding commands per host.

use crate::kernel::passthrough::book::WINDOW;
use crate::kernel::privilege::open_files;
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::path::Path;

/// Kernel memory of an open sg device besides its reserved buffer, in bytes: `sg_add_sfp`, and a table of 2,048
/// segments. Measured with two buffer sizes: 56 KiB with a buffer of 32, 29 KiB with 4.
const OPEN_COSTS: u64 = 25 << 10;

/// The size of the reserved buffer without module options, `SG_DEF_RESERVED_SIZE`.
const BUFFER: u64 = 32 << 10;

/// Open sg devices may take 1/32 of the host's memory.
const OF_MEMORY: u64 = 32;

/// The largest window of a host that has the tags for it. With a larger one, a round of checks would be one burst.
pub(super) const MOST_AT_ONCE: usize = 2 * WINDOW;

/// How many sg devices may be open, on all hosts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The most devices that stay open between examinations.
    ///
    /// Opening a device for each check costs several times as much as the check. Above this limit a device is closed
    /// after its examination, and the devices that are already open stay open: in a round over more paths than this,
    /// closing the oldest would close each device just before its turn.
    pub(super) kept: usize,
    /// The most devices that may be open at all: three quarters of the files. Otherwise a round of checks would leave
    /// no file for reading sysfs, loading a table or answering a call.
    pub(super) most: usize,
}

impl Limits {
    /// The limits of this process on this host.
    pub(super) fn here() -> Limits {
        let buffer = buffer(Path::new("/sys/module/sg/parameters"));
        Limits::of(host_memory(), OPEN_COSTS + buffer, open_files())
    }

    /// The limits of a process that may open `files` files, on a host with `memory` bytes, where an open device costs
    /// `each` bytes.
    fn of(memory: u64, each: u64, files: usize) -> Limits {
        let affordable = usize::try_from(memory / OF_MEMORY / each.max(1)).unwrap_or(usize::MAX);
        Limits {
            kept: affordable.min(files / 2),
            most: files / 4 * 3,
        }
    }
}

/// The host's memory in bytes; 0 where the C library does not know it, and then no device stays open.
fn host_memory() -> u64 {
    let of = |what| {
        sysconf(what)
            .ok()
            .flatten()
            .and_then(|n| u64::try_from(n).ok())
    };
    let pages = of(SysconfVar::_PHYS_PAGES).unwrap_or(0);
    pages.saturating_mul(of(SysconfVar::PAGE_SIZE).unwrap_or(0))
}

/// The reserved buffer of an open device in bytes, by the module's parameters (kernel `sg_build_reserve`): whole
/// elements.
fn buffer(parameters: &Path) -> u64 {
    let bytes = |name| number(&parameters.join(name)).filter(|bytes| *bytes > 0);
    let asked = bytes("def_reserved_size").unwrap_or(BUFFER);
    asked.max(bytes("scatter_elem_sz").unwrap_or(BUFFER))
}

/// How many commands of a host may be outstanding at the same time: half of what the host takes (`can_queue`), so that
/// checks never take all tags from I/O. A host with a few hundred tags gets a window that its whole round of checks
/// fits into: a smaller one would cut the round in two, and each part costs a wake-up of every thread involved.
pub(super) fn window(host: u32) -> usize {
    window_of(Path::new("/sys/class/scsi_host"), host)
}

fn window_of(hosts: &Path, host: u32) -> usize {
    let tags = number(&hosts.join(format!("host{host}/can_queue")));
    let half = tags.map(|tags| usize::try_from(tags / 2).unwrap_or(usize::MAX));
    half.unwrap_or(WINDOW).clamp(1, MOST_AT_ONCE)
}

/// The content of a sysfs file, if it is a non-negative number.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_stay_open_as_memory_and_files_allow() {
        let kept = |memory, each, files| Limits::of(memory, each, files).kept;
        // A host with 16 GiB keeps a disk array of ten thousand paths open with the options of systemd/modprobe.d.
        assert_eq!(kept(16 << 30, 29 << 10, 65_536), 18_078);
        assert_eq!(kept(16 << 30, 57 << 10, 65_536), 9_198);
        assert_eq!(kept(512 << 20, 29 << 10, 65_536), 564);
        assert_eq!(kept(1 << 40, 29 << 10, 1_024), 512);
        assert_eq!(kept(0, 29 << 10, 65_536), 0);
        assert_eq!(Limits::of(0, 0, 65_536).most, 49_152);
        assert!(host_memory() > 64 << 20);
    }

    #[test]
    fn the_buffer_size_is_that_of_the_module() {
        let folder = tempfile::tempdir().unwrap();
        let buffer_is = |elements, reserved| {
            fs::write(folder.path().join("scatter_elem_sz"), elements).unwrap();
            fs::write(folder.path().join("def_reserved_size"), reserved).unwrap();
            buffer(folder.path())
        };
        assert_eq!(buffer_is("32768\n", "-1\n"), 32 << 10);
        assert_eq!(buffer_is("4096\n", "4096\n"), 4 << 10);
        assert_eq!(buffer_is("4096\n", "65536\n"), 64 << 10);
        assert_eq!(buffer(Path::new("/nonexistent")), 32 << 10);
    }

    #[test]
    fn half_of_the_tags_are_for_io() {
        let hosts = tempfile::tempdir().unwrap();
        let window_is = |tags| {
            fs::create_dir_all(hosts.path().join("host3")).unwrap();
            fs::write(hosts.path().join("host3/can_queue"), tags).unwrap();
            window_of(hosts.path(), 3)
        };
        assert_eq!(window_is("128\n"), 64);
        assert_eq!(window_is("4096\n"), 128);
        assert_eq!(window_is("1\n"), 1);
        assert_eq!(window_is("?\n"), WINDOW);
        assert_eq!(window_of(hosts.path(), 4), WINDOW);
    }
}
