//! The file trees of the kernel, and how attributes, directories and names in them are read.

use crate::psa::units::{DevT, Hctl};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The file trees that facts are read from.
#[derive(Debug, Clone)]
pub struct Sysfs {
    pub(super) root: PathBuf,
}

impl Sysfs {
    /// The trees below `root`: `sys`, `proc/self/mountinfo`, `proc/swaps`, `run/udev`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Sysfs {
        Sysfs { root: root.into() }
    }

    /// The trees of the running kernel.
    #[must_use]
    pub fn of_this_host() -> Sysfs {
        Sysfs::new("/")
    }

    /// All SCSI devices of any type, by one listing of the directory `/sys/class/scsi_device` (`scsi_sysfs_add_sdev`).
    /// A device that is being removed is no longer in it.
    ///
    /// # Errors
    /// The list is unknown because the directory cannot be read: files or memory are short, say. A part of the list would mean
    /// that the other paths are gone.
    pub fn list_paths(&self) -> Result<BTreeSet<Hctl>, Shortage> {
        let entries = match fs::read_dir(self.sys("class/scsi_device")) {
            // The host has no SCSI.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            other => other.map_err(|_| Shortage)?,
        };
        let mut paths = BTreeSet::new();
        for entry in entries {
            let name = entry.map_err(|_| Shortage)?.file_name();
            paths.extend(name.to_str().and_then(|name| name.parse::<Hctl>().ok()));
        }
        Ok(paths)
    }

    /// The SCSI device below a disk or partition; `None` for any other block device (dm, md, nvme).
    #[must_use]
    pub fn path_of(&self, dev: DevT) -> Option<Hctl> {
        address_in(&fs::read_link(self.sys(&format!("dev/block/{dev}"))).ok()?)
    }

    /// Whether there is a SCSI device at this address, including a device that is being removed.
    #[must_use]
    pub(crate) fn has_device(&self, path: Hctl) -> bool {
        let device = self.sys(&format!("bus/scsi/devices/{path}"));
        fs::symlink_metadata(device).is_ok()
    }

    /// Like [`Sysfs::path_of`], by the kernel name of a disk or partition.
    #[must_use]
    pub(crate) fn path_named(&self, block: &str) -> Option<Hctl> {
        address_in(&fs::read_link(self.sys(&format!("class/block/{block}"))).ok()?)
    }

    /// The SCSI devices below a block device (dm, md), used directly or by their partitions: `slaves`.
    #[must_use]
    pub(crate) fn paths_below(&self, block: &str) -> Vec<Hctl> {
        names_in(&self.sys(&format!("class/block/{block}/slaves")))
            .iter()
            .filter_map(|slave| self.path_named(slave))
            .collect()
    }

    /// The SCSI host of an iSCSI session.
    #[must_use]
    pub(crate) fn host_of_session(&self, session: u32) -> Option<u32> {
        let class = self.sys(&format!("class/iscsi_session/session{session}"));
        host_in(&fs::read_link(class).ok()?)
    }

    /// Whether a device class exists, which means that its module is loaded.
    #[must_use]
    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.sys("class").join(class).exists()
    }

    /// The mount table and the swap table, to be polled for POLLPRI: the kernel then reports that they have changed
    /// since the last poll (`mounts_poll`, `swaps_poll`). Tables that cannot be opened are left out.
    #[must_use]
    pub(crate) fn usage_tables(&self) -> Vec<File> {
        let names = ["self/mountinfo", "swaps"];
        let open = |name| File::open(self.proc(name)).ok();
        names.into_iter().filter_map(open).collect()
    }

    /// Whether a udev daemon is running, by its control socket.
    #[must_use]
    pub(crate) fn udev_runs(&self) -> bool {
        self.root.join("run/udev/control").exists()
    }

    /// Whether udev has uevents to process (`/run/udev/queue` exists from the first to the last).
    #[must_use]
    pub(crate) fn udev_is_busy(&self) -> bool {
        self.root.join("run/udev/queue").exists()
    }

    /// Raises the uevent `add` of a disk again, without waiting for anything. Returns whether there is such a disk.
    ///
    /// # Errors
    /// The kernel's error for the write to its `uevent`.
    pub(crate) fn add_again(&self, path: Hctl) -> std::io::Result<bool> {
        let Some(name) = self.disk_of(path) else {
            return Ok(false);
        };
        let uevent = self.sys(&format!("class/block/{name}/uevent"));
        fs::write(uevent, "add").map(|()| true)
    }

    /// Whether udev's rules have run for a block device (the `I:` line of its record in udev's database).
    pub(super) fn udev_knows(&self, dev: DevT) -> bool {
        self.udev_record(&format!("b{dev}"))
            .is_some_and(|record| record.lines().any(|line| line.starts_with("I:")))
    }

    /// The record of one device in udev's database.
    pub(super) fn udev_record(&self, id: &str) -> Option<String> {
        text_of(&self.root.join("run/udev/data").join(id))
    }

    /// A file below `/sys`.
    pub(super) fn sys(&self, path: &str) -> PathBuf {
        self.root.join("sys").join(path)
    }

    /// A file below `/proc`.
    pub(super) fn proc(&self, path: &str) -> PathBuf {
        self.root.join("proc").join(path)
    }
}

/// What exists cannot be distinguished from what does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("out of file descriptors or memory")]
pub struct Shortage;

/// The names below `/sys/devices` in a sysfs link.
pub(super) fn names_of(link: &str) -> Vec<String> {
    link.split('/')
        .skip_while(|name| *name != "devices")
        .skip(1)
        .map(str::to_owned)
        .collect()
}

/// The SCSI address in a path of the device tree: the last component that is an address.
#[must_use]
pub(crate) fn address_in(path: &Path) -> Option<Hctl> {
    path.iter()
        .rev()
        .filter_map(OsStr::to_str)
        .find_map(|name| name.parse().ok())
}

/// The host number in a path of the device tree: that of the first `hostN`.
#[must_use]
pub(crate) fn host_in(path: &Path) -> Option<u32> {
    path.iter()
        .filter_map(OsStr::to_str)
        .find_map(|name| numbered(name, "host"))
}

/// `N` of `prefixN`.
pub(super) fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

thread_local! {
    /// Set when a read on this thread failed because this host is short of files or memory.
    pub(super) static SHORT: Cell<bool> = const { Cell::new(false) };
}

/// The result of a read; `None` if it failed. Sets `SHORT` if the reason is a shortage.
fn noting_shortage<T>(read: io::Result<T>) -> Option<T> {
    read.inspect_err(|error| {
        if let Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) = error.raw_os_error() {
            SHORT.set(true);
        }
    })
    .ok()
}

/// The text of an attribute without surrounding blanks; `None` if it cannot be read. One read returns all of it: the
/// kernel prints an attribute into a page, and those used here are one line.
pub(super) fn attribute(path: &Path) -> Option<String> {
    let mut bytes = [0; 1024];
    let length = noting_shortage(File::open(path).and_then(|mut file| file.read(&mut bytes)))?;
    let text = String::from_utf8_lossy(bytes.get(..length)?);
    Some(text.trim().to_owned())
}

/// Like [`attribute`], but `None` for the placeholders that drivers use for no value.
pub(super) fn given(path: &Path) -> Option<String> {
    attribute(path).filter(|text| is_given(text))
}

/// Whether a text of the iSCSI class or of a driver is a value and not a placeholder.
fn is_given(text: &str) -> bool {
    !matches!(text, "" | "(null)" | "<NULL>" | "<null>" | "unknown")
}

/// The digits of `0x5000...`; `None` if there is no name or all its digits are 0.
pub(super) fn hex(text: Option<String>) -> Option<String> {
    let text = text?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    (good && digits.bytes().any(|b| b != b'0')).then(|| digits.to_ascii_lowercase())
}

/// The text of a file that is longer than an attribute; `None` if it cannot be read.
pub(super) fn text_of(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    noting_shortage(
        File::open(path).and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut bytes)),
    )?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A limit that no sane file exceeds: 16 MiB is a mount table of 100,000 lines.
const LONGEST_FILE: u64 = 16 << 20;

/// Raises a `change` uevent of a disk, whose sysfs directory this is, and of its partitions: their properties follow
/// from those of the disk. udev processes the events of a partition after those of its disk.
///
/// # Errors
/// The event of the disk cannot be raised. A partition may disappear at any time.
pub(crate) fn raise_change(disk: &Path) -> io::Result<()> {
    fs::write(disk.join("uevent"), "change")?;
    for entry in fs::read_dir(disk)?.flatten() {
        let partition = entry.path();
        if partition.join("partition").exists() {
            let _ = fs::write(partition.join("uevent"), "change");
        }
    }
    Ok(())
}

/// The names in a directory, in order; empty if it cannot be read.
pub(super) fn names_in(dir: &Path) -> BTreeSet<String> {
    noting_shortage(fs::read_dir(dir))
        .map(|entries| {
            entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_hosts_are_found_in_device_paths() {
        let path = Path::new("/devices/platform/host7/session1/target7:0:0/7:0:0:1/block/sdc/sdc1");
        assert_eq!(address_in(path), "7:0:0:1".parse().ok());
        assert_eq!(host_in(path), Some(7));
        assert_eq!(host_in(Path::new("/devices/pci0000:00/hostile")), None);
        assert_eq!(address_in(Path::new("/devices/virtual/block/dm-3")), None);
    }

    #[test]
    fn a_list_that_cannot_be_read_is_not_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        let sysfs = Sysfs::new(root.path());
        assert_eq!(sysfs.list_paths(), Ok(BTreeSet::new()));
        let class = root.path().join("sys/class");
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("scsi_device"), "").unwrap();
        assert!(sysfs.list_paths().is_err());
        fs::remove_file(class.join("scsi_device")).unwrap();
        fs::create_dir_all(class.join("scsi_device/1:0:0:0")).unwrap();
        assert_eq!(sysfs.list_paths().unwrap().len(), 1);
    }

    #[test]
    fn numbers_need_digits() {
        assert_eq!(numbered("ata12", "ata"), Some(12));
        assert_eq!(numbered("ata", "ata"), None);
        assert_eq!(numbered("ata+1", "ata"), None);
        assert_eq!(numbered("hostess", "host"), None);
    }

    #[test]
    fn world_wide_names_lose_their_prefix() {
        let hex = |text: &str| hex(Some(text.to_owned()));
        assert_eq!(
            hex("0x21000024FF8AF5C0").as_deref(),
            Some("21000024ff8af5c0")
        );
        assert_eq!(hex("500140500000000a").as_deref(), Some("500140500000000a"));
        assert_eq!(hex("0x0"), None);
        assert_eq!(hex("<not available>"), None);
    }

    #[test]
    fn unreadable_is_distinguished_from_absent() {
        SHORT.set(false);
        assert_eq!(
            noting_shortage::<()>(Err(io::ErrorKind::NotFound.into())),
            None
        );
        assert!(!SHORT.get());
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            SHORT.set(false);
            assert_eq!(
                noting_shortage::<()>(Err(io::Error::from_raw_os_error(errno))),
                None
            );
            assert!(SHORT.get(), "{errno}");
        }
    }
}
