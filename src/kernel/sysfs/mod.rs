//! Reads facts about paths from sysfs and procfs.
//!
//! Input: the file trees of the kernel and udev's database below a root directory (`/`, or a copy of parts of them in a
//! test). Output: [`PathFacts`]; for `psactl` also which names belong together, and [`statistics`]. Invariants: no
//! command is sent to a device and no device node is opened; an attribute that cannot be read costs only its own fact;
//! reading `n` paths costs `O(n)` small reads, because what many paths share (adapter, target port, mounts) is read
//! once per batch.
//!
//! Tests: `tests/sysfs_golden.rs` with trees captured from real kernels.

mod adapter;
mod facts;
mod lookup;
pub mod statistics;
mod target;
mod usage;

use crate::psa::adapter::TargetFacts;
use crate::psa::facts::{PathFacts, Usage};
use crate::psa::units::{DevT, Hctl};
use adapter::Host;
pub use lookup::number_of_node;
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use target::{TargetKey, TcmLoop};
use usage::Users;

/// The file trees that facts are read from.
#[derive(Debug, Clone)]
pub struct Sysfs {
    root: PathBuf,
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

    /// The directory with the timers of a path's target port: a Fibre Channel remote port or an iSCSI session; `None`
    /// for other transports.
    #[must_use]
    pub fn port_of(&self, path: Hctl) -> Option<Port> {
        let device = Device::find(self, path)?;
        let class = |class: &str, name: &str| self.sys(&format!("class/{class}/{name}"));
        let rport = device
            .below("rport-")
            .map(|name| class("fc_remote_ports", name));
        let session = device
            .below("session")
            .map(|name| class("iscsi_session", name));
        rport.map(Port::Remote).or(session.map(Port::Session))
    }

    /// All SCSI devices of any type, by one listing of the directory `/sys/class/scsi_device` (`scsi_sysfs_add_sdev`).
    /// A device that is being removed is no longer in it.
    ///
    /// # Errors
    /// The list is unknown because files or memory are short.
    pub fn list_paths(&self) -> Result<BTreeSet<Hctl>, Shortage> {
        SHORT.set(false);
        let names = names_in(&self.sys("class/scsi_device"));
        let paths = names.iter().filter_map(|name| name.parse().ok());
        if SHORT.get() {
            Err(Shortage)
        } else {
            Ok(paths.collect())
        }
    }

    /// The SCSI device below a disk or partition; `None` for any other block device (dm, md, nvme).
    #[must_use]
    pub fn path_of(&self, dev: DevT) -> Option<Hctl> {
        address_in(&fs::read_link(self.sys(&format!("dev/block/{dev}"))).ok()?)
    }

    /// Whether there is a SCSI device at this address, including a device that is being removed.
    #[must_use]
    pub fn has_device(&self, path: Hctl) -> bool {
        let device = self.sys(&format!("bus/scsi/devices/{path}"));
        fs::symlink_metadata(device).is_ok()
    }

    /// Like [`Sysfs::path_of`], by the kernel name of a disk or partition.
    #[must_use]
    pub fn path_named(&self, block: &str) -> Option<Hctl> {
        address_in(&fs::read_link(self.sys(&format!("class/block/{block}"))).ok()?)
    }

    /// The users of the disk with this kernel name, other than a multipath map over it. `None` if there is no such
    /// disk, or if its users are unknown because the mount table cannot be read.
    #[must_use]
    pub fn users_of(&self, disk: &str) -> Option<Vec<Usage>> {
        let dir = self.sys("block").join(disk);
        let dev = text_of(&dir.join("dev"))?.trim_end().parse().ok()?;
        File::open(self.proc("self/mountinfo")).ok()?;
        SHORT.set(false);
        let users = Users::read(self).of_disk(self, &dir, disk, dev);
        (!SHORT.get()).then_some(users)
    }

    /// The SCSI devices below a block device (dm, md), used directly or by their partitions: `slaves`.
    #[must_use]
    pub fn paths_below(&self, block: &str) -> Vec<Hctl> {
        names_in(&self.sys(&format!("class/block/{block}/slaves")))
            .iter()
            .filter_map(|slave| self.path_named(slave))
            .collect()
    }

    /// The SCSI host of an iSCSI session.
    #[must_use]
    pub fn host_of_session(&self, session: u32) -> Option<u32> {
        let class = self.sys(&format!("class/iscsi_session/session{session}"));
        host_in(&fs::read_link(class).ok()?)
    }

    /// Whether a device class exists, which means that its module is loaded.
    #[must_use]
    pub fn has_class(&self, class: &str) -> bool {
        self.sys("class").join(class).exists()
    }

    /// The mount table and the swap table, to be polled for POLLPRI: the kernel then reports that they have changed
    /// since the last poll (`mounts_poll`, `swaps_poll`). Tables that cannot be opened are left out.
    #[must_use]
    pub fn usage_tables(&self) -> Vec<File> {
        let names = ["self/mountinfo", "swaps"];
        let open = |name| File::open(self.proc(name)).ok();
        names.into_iter().filter_map(open).collect()
    }

    /// Whether a udev daemon is running, by its control socket.
    #[must_use]
    pub fn udev_runs(&self) -> bool {
        self.root.join("run/udev/control").exists()
    }

    /// Whether udev has uevents to process (`/run/udev/queue` exists from the first to the last).
    #[must_use]
    pub fn udev_is_busy(&self) -> bool {
        self.root.join("run/udev/queue").exists()
    }

    /// Raises the uevent `add` of a disk again, without waiting for anything. Returns whether there is such a disk.
    ///
    /// # Errors
    /// The kernel's error for the write to its `uevent`.
    pub fn add_again(&self, path: Hctl) -> std::io::Result<bool> {
        let Some(name) = self.disk_of(path) else {
            return Ok(false);
        };
        let uevent = self.sys(&format!("class/block/{name}/uevent"));
        fs::write(uevent, "add").map(|()| true)
    }

    /// Whether udev's rules have run for a block device (the `I:` line of its record in udev's database).
    fn udev_knows(&self, dev: DevT) -> bool {
        self.udev_record(&format!("b{dev}"))
            .is_some_and(|record| record.lines().any(|line| line.starts_with("I:")))
    }

    /// The record of one device in udev's database.
    fn udev_record(&self, id: &str) -> Option<String> {
        text_of(&self.root.join("run/udev/data").join(id))
    }

    /// A file below `/sys`.
    fn sys(&self, path: &str) -> PathBuf {
        self.root.join("sys").join(path)
    }

    /// A file below `/proc`.
    fn proc(&self, path: &str) -> PathBuf {
        self.root.join("proc").join(path)
    }
}

/// Reads the facts of paths in batches.
///
/// What paths share is read at most once between two calls of [`Survey::begin`].
#[derive(Debug)]
pub struct Survey {
    sysfs: Sysfs,
    batch: Batch,
    limits: HashMap<Hctl, facts::Limits>,
    /// The users at the last comparison by [`Survey::usage_changes`].
    compared: Users,
}

/// What exists cannot be distinguished from what does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("out of file descriptors or memory")]
pub struct Shortage;

/// What the paths of one batch have in common.
#[derive(Debug, Default)]
struct Batch {
    udev_runs: Option<bool>,
    users: Option<Users>,
    hosts: HashMap<u32, Host>,
    targets: HashMap<TargetKey, TargetFacts>,
    ordinals: Option<HashMap<u32, u32>>,
    tcm_loop: Option<TcmLoop>,
}

impl Survey {
    /// Creates a survey that has read nothing.
    #[must_use]
    pub fn new(sysfs: Sysfs) -> Survey {
        Survey {
            sysfs,
            batch: Batch::default(),
            limits: HashMap::new(),
            compared: Users::default(),
        }
    }

    /// The file trees that it reads.
    #[must_use]
    pub fn sysfs(&self) -> &Sysfs {
        &self.sysfs
    }

    /// Begins a new batch: adapters, target ports, mounts and swaps are read again.
    pub fn begin(&mut self) {
        self.batch = Batch::default();
    }

    /// Forgets what is read only once per disk (its queue limits). To be called when the disk is removed.
    pub fn forget(&mut self, path: Hctl) {
        self.limits.remove(&path);
    }

    /// The facts of one path; `None` if there is no such SCSI device.
    ///
    /// `block` is set only after udev's rules have run for the disk, or if no udev daemon is running: before that,
    /// neither its links nor the mark that hides it from other users exist.
    ///
    /// # Errors
    /// The process is short of files or memory, so what exists cannot be distinguished from what does not exist. What
    /// was read in this batch is discarded.
    pub fn read(&mut self, path: Hctl) -> Result<Option<PathFacts>, Shortage> {
        SHORT.set(false);
        let facts = Device::find(&self.sysfs, path).map(|device| facts::read(self, &device));
        if SHORT.get() {
            self.begin();
            self.forget(path);
            return Err(Shortage);
        }
        Ok(facts)
    }

    /// The paths whose mounts or swap use have changed since the last call; in the first call, the paths that have any.
    #[must_use]
    pub fn usage_changes(&mut self) -> BTreeSet<Hctl> {
        let now = Users::read(&self.sysfs);
        let changed = now.changes_since(&self.compared, &self.sysfs);
        self.compared = now;
        changed
    }

    fn users(&mut self) -> &Users {
        self.batch
            .users
            .get_or_insert_with(|| Users::read(&self.sysfs))
    }

    fn udev_runs(&mut self) -> bool {
        *self
            .batch
            .udev_runs
            .get_or_insert_with(|| self.sysfs.udev_runs())
    }
}

/// The directory of a target port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// `/sys/class/fc_remote_ports/rport-H:C-N`
    Remote(PathBuf),
    /// `/sys/class/iscsi_session/sessionN`
    Session(PathBuf),
}

/// A SCSI device in the device tree.
#[derive(Debug)]
struct Device {
    hctl: Hctl,
    /// Its directory.
    dir: PathBuf,
    /// The names from `/sys/devices` down to the device itself.
    names: Vec<String>,
    /// Index of `hostN` in `names`.
    host: usize,
}

impl Device {
    fn find(sysfs: &Sysfs, hctl: Hctl) -> Option<Device> {
        // The class link is the shortest way to the device, and is the first to vanish when it is removed:
        // ../../devices/platform/host7/session1/target7:0:0/7:0:0:1/scsi_device/7:0:0:1
        let link = fs::read_link(sysfs.sys(&format!("class/scsi_device/{hctl}"))).ok()?;
        let names: Vec<String> = names_of(&link.parent()?.parent()?.to_string_lossy());
        let host = names
            .iter()
            .position(|name| *name == format!("host{}", hctl.host))?;
        let dir = sysfs.sys("devices").join(names.join("/"));
        Some(Device {
            hctl,
            dir,
            names,
            host,
        })
    }

    /// The names above the SCSI host: bus, function, port.
    fn above_host(&self) -> &[String] {
        self.names.get(..self.host).unwrap_or_default()
    }

    /// The names between the SCSI host and the device: remote port, session, end device, target.
    fn below_host(&self) -> &[String] {
        self.names.get(self.host + 1..).unwrap_or_default()
    }

    /// The first of the names below the host that begins with `prefix`: `rport-7:0-2`, `session1`.
    fn below(&self, prefix: &str) -> Option<&str> {
        let mut names = self.below_host().iter();
        names
            .find(|name| name.starts_with(prefix))
            .map(String::as_str)
    }

    /// An attribute of the device.
    fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.dir.join(name))
    }
}

/// The names below `/sys/devices` in a sysfs link.
fn names_of(link: &str) -> Vec<String> {
    link.split('/')
        .skip_while(|name| *name != "devices")
        .skip(1)
        .map(str::to_owned)
        .collect()
}

/// The SCSI address in a path of the device tree: the last component that is an address.
#[must_use]
pub fn address_in(path: &Path) -> Option<Hctl> {
    path.iter()
        .rev()
        .filter_map(OsStr::to_str)
        .find_map(|name| name.parse().ok())
}

/// The host number in a path of the device tree: that of the first `hostN`.
#[must_use]
pub fn host_in(path: &Path) -> Option<u32> {
    path.iter()
        .filter_map(OsStr::to_str)
        .find_map(|name| numbered(name, "host"))
}

/// `N` of `prefixN`.
fn numbered(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

thread_local! {
    /// Set when a read on this thread failed because this host is short of files or memory.
    static SHORT: Cell<bool> = const { Cell::new(false) };
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
fn attribute(path: &Path) -> Option<String> {
    let mut bytes = [0; 1024];
    let length = noting_shortage(File::open(path).and_then(|mut file| file.read(&mut bytes)))?;
    let text = String::from_utf8_lossy(bytes.get(..length)?);
    Some(text.trim().to_owned())
}

/// Like [`attribute`], but `None` for the placeholders that drivers use for no value.
fn given(path: &Path) -> Option<String> {
    attribute(path).filter(|text| is_given(text))
}

/// Whether a text of the iSCSI class or of a driver is a value and not a placeholder.
fn is_given(text: &str) -> bool {
    !matches!(text, "" | "(null)" | "<NULL>" | "<null>" | "unknown")
}

/// The digits of `0x5000...`; `None` if there is no name or all its digits are 0.
fn hex(text: Option<String>) -> Option<String> {
    let text = text?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    (good && digits.bytes().any(|b| b != b'0')).then(|| digits.to_ascii_lowercase())
}

/// The text of a file that is longer than an attribute; `None` if it cannot be read.
fn text_of(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    noting_shortage(
        File::open(path).and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut bytes)),
    )?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A limit that no sane file exceeds: 16 MiB is a mount table of 100,000 lines.
const LONGEST_FILE: u64 = 16 << 20;

/// The names in a directory, in order; empty if it cannot be read.
fn names_in(dir: &Path) -> BTreeSet<String> {
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

    #[test]
    fn an_empty_root_has_no_paths() {
        let sysfs = Sysfs::new("/nonexistent");
        assert!(sysfs.list_paths().unwrap().is_empty());
        assert!(!sysfs.udev_runs());
        let mut survey = Survey::new(sysfs);
        assert_eq!(survey.read("0:0:0:0".parse().unwrap()), Ok(None));
        assert!(survey.usage_changes().is_empty());
    }
}
