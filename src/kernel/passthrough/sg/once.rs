//! Sends one SCSI command to a named device and waits for it: the ioctl `SG_IO` with sg's version 3 header.
//!
//! It takes as long as the device takes: the kernel's timer counts from the dispatch of the command, and the abort that
//! follows may start error recovery of the whole HBA. So the agent must not use this.
//!
//! A name is looked up in sysfs before anything is opened: opening a device that is not SCSI can have side effects
//! (`/dev/watchdog`), and a partition would answer for its disk.

use super::header::sg_io;
use super::memory::Memory;
use crate::kernel::sysfs::{Sysfs, number_of_node};
use crate::psa::units::{DevT, Hctl, Millis};
use crate::scsi::cdb::{Command, Space};
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::SenseMeaning;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::PathBuf;

/// How often a command is repeated that a unit attention prevented; the same as in the agent.
const UNIT_ATTENTIONS: u32 = 3;
/// How often a command is repeated when the host adapter asks for it.
const RETRIES: u32 = 2;

/// An open SCSI device.
#[derive(Debug)]
pub(crate) struct PassThrough {
    file: File,
    /// Its device node, such as `/dev/sg3`.
    pub node: String,
    /// Its address.
    pub path: Hctl,
}

/// Why no command could be sent.
#[derive(Debug, thiserror::Error)]
pub enum PassThroughError {
    /// Nothing has this name.
    #[error("{0}: no such SCSI device; `psactl core path list` and `lsscsi -g` list them")]
    NoSuchDevice(String),
    /// It is a partition.
    #[error("{name} is a partition, which takes no SCSI commands; its disk is {disk}")]
    Partition {
        /// The name that was given.
        name: String,
        /// Kernel name of the disk.
        disk: String,
    },
    /// It is something else.
    #[error("{0} is not a SCSI device: give a path of it (sdc, sg3, 2:0:0:1, vmhba2:C0:T0:L1)")]
    NotScsi(String),
    /// Neither `sd` nor `sg` has bound to it.
    #[error("{0} has no device node; `modprobe sg` creates one")]
    NoNode(Hctl),
    /// The node cannot be opened.
    #[error("{node} cannot be opened: {source}; {remedy}")]
    Open {
        /// The node.
        node: String,
        /// Why.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The node belongs to another device.
    #[error(
        "{node} does not lead to the device {dev} that the kernel has under this name; `udevadm trigger` creates device nodes again"
    )]
    Stray {
        /// The node.
        node: String,
        /// The number that it should have.
        dev: DevT,
    },
    /// The kernel did not send it.
    #[error("{node}: {command} was not sent: {source}; {remedy}")]
    Send {
        /// The node.
        node: String,
        /// The command.
        command: Command,
        /// Why.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
}

/// The device that a name leads to, before it is opened.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    path: Hctl,
    /// `sg3`, `sdc`
    name: String,
    dev: DevT,
    /// Whether it is an sg device.
    generic: bool,
}

impl PassThrough {
    /// Opens a device by one of its names: `/dev/sdc`, `sdc`, `sg3`, `2:0:0:1`, or a link (`/dev/disk/by-path/...`).
    /// For an address, its sg device is preferred, because a wait there can be interrupted.
    ///
    /// # Errors
    /// The device does not exist, is not a SCSI device, or may not be opened.
    pub(crate) fn open(sysfs: &Sysfs, name: &str) -> Result<PassThrough, PassThroughError> {
        let found = find(sysfs, name)?;
        let node = sysfs.dev(&found.name);
        let shown = node.display().to_string();
        // When a disk that was opened for writing is closed, udev probes it again; for the ioctl, reading is enough.
        // O_NONBLOCK: waits neither for a medium nor for somebody who has opened sg exclusively.
        let file = OpenOptions::new()
            .read(true)
            .write(found.generic)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(&node)
            .map_err(|source| PassThroughError::Open {
                remedy: remedy_for(&source),
                node: shown.clone(),
                source,
            })?;
        let is_it = file.metadata().is_ok_and(|node| {
            let kind = node.file_type();
            let right_kind = if found.generic {
                kind.is_char_device()
            } else {
                kind.is_block_device()
            };
            right_kind && number_of_node(&node) == found.dev
        });
        if !is_it {
            return Err(PassThroughError::Stray {
                node: shown,
                dev: found.dev,
            });
        }
        Ok(PassThrough {
            file,
            node: shown,
            path: found.path,
        })
    }

    /// Sends a command and waits for its end; `timeout` is the kernel's. The data are empty if the outcome carries
    /// none.
    ///
    /// # Errors
    /// The command was not sent.
    pub(crate) fn send(
        &self,
        command: &Command,
        timeout: Millis,
    ) -> Result<(Outcome, Vec<u8>), PassThroughError> {
        let not_sent = |source: io::Error| PassThroughError::Send {
            node: self.node.clone(),
            command: command.clone(),
            remedy: remedy_for(&source),
            source,
        };
        // Boxed for a stable address: the header points to the fields beside it.
        let mut memory = Box::new(Memory::new());
        memory
            .lay_out(command, Space::Longest, timeout, 0)
            .map_err(not_sent)?;
        // SAFETY: the header is initialised, and its pointers lead to `memory`, which stays in place until the call
        // returns. The kernel writes to it only during the call: if a signal ends the call early, the data of the
        // command are discarded (`bio_uncopy_user`).
        // JUSTIFICATION: no wrapper has this ioctl.
        unsafe { sg_io(self.file.as_raw_fd(), &raw mut memory.header) }
            .map_err(|errno| not_sent(errno.into()))?;
        let header = memory.header;
        Ok(memory.answer(&header))
    }

    /// Like [`PassThrough::send`], but repeats a command that was not carried out only because of a unit attention (up
    /// to three times) or because the transport asks for a retry (up to twice).
    ///
    /// # Errors
    /// As for [`PassThrough::send`].
    pub(crate) fn send_patiently(
        &self,
        command: &Command,
        timeout: Millis,
    ) -> Result<(Outcome, Vec<u8>), PassThroughError> {
        let (mut attentions, mut retries) = (UNIT_ATTENTIONS, RETRIES);
        loop {
            let answer = self.send(command, timeout)?;
            let left = match &answer.0 {
                Outcome::CheckCondition(sense)
                    if matches!(sense.meaning(), SenseMeaning::UnitAttention(_)) =>
                {
                    &mut attentions
                }
                Outcome::Retry(_) => &mut retries,
                _ => return Ok(answer),
            };
            if *left == 0 {
                return Ok(answer);
            }
            *left -= 1;
        }
    }
}

/// Finds the device that a name leads to.
fn find(sysfs: &Sysfs, name: &str) -> Result<Found, PassThroughError> {
    let unknown = || PassThroughError::NoSuchDevice(name.to_owned());
    if let Ok(path) = name.parse::<Hctl>() {
        if !sysfs.has_device(path) {
            return Err(unknown());
        }
        let node = sysfs.generic_of(path).or_else(|| sysfs.disk_of(path));
        let node = node.ok_or(PassThroughError::NoNode(path))?;
        return find_node(sysfs, name, &node);
    }
    let short = name.strip_prefix("/dev/").unwrap_or(name);
    if !short.contains('/') {
        return find_node(sysfs, name, short);
    }
    // A link to a node: the kernel name is the last component of the path that it leads to.
    let node: PathBuf = fs::canonicalize(name).map_err(|_| unknown())?;
    let last = node.file_name().and_then(|name| name.to_str());
    find_node(sysfs, name, last.ok_or_else(unknown)?)
}

/// Finds the device with a kernel name.
fn find_node(sysfs: &Sysfs, name: &str, node: &str) -> Result<Found, PassThroughError> {
    let unknown = || PassThroughError::NoSuchDevice(name.to_owned());
    if node.is_empty() || node.starts_with('.') {
        return Err(unknown());
    }
    let found = |generic, path| {
        let dev = sysfs.number_of(node, generic)?;
        Some(Found {
            path,
            name: node.to_owned(),
            dev,
            generic,
        })
    };
    if let Some(path) = sysfs.path_of_generic(node) {
        return found(true, path).ok_or_else(unknown);
    }
    if let Some(disk) = sysfs.disk_of_partition(node) {
        return Err(PassThroughError::Partition {
            name: name.to_owned(),
            disk,
        });
    }
    match sysfs.path_named(node) {
        Some(path) => found(false, path).ok_or_else(|| PassThroughError::NotScsi(name.to_owned())),
        None if sysfs.has_block(node) => Err(PassThroughError::NotScsi(name.to_owned())),
        None => Err(unknown()),
    }
}

/// What the user can do about an error of a device node.
fn remedy_for(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => "only root can do this: try with sudo",
        Some(libc::ENOENT) => "`udevadm trigger` creates device nodes again",
        Some(libc::ENXIO | libc::ENODEV) => "it is offline or gone: see `psactl core path list`",
        Some(libc::ENOTTY) => "it does not accept SCSI commands",
        Some(libc::EBUSY) => "another process has exclusive access: try again",
        _ => "the kernel's log may say more (dmesg)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A host with a disk sdc (sg3) at 2:0:0:1, its partition, a tape without sg, and a map.
    fn host() -> (tempfile::TempDir, Sysfs) {
        let root = tempfile::tempdir().unwrap();
        let make = |dir: &str, files: &[(&str, &str)]| {
            let dir = root.path().join(dir);
            fs::create_dir_all(&dir).unwrap();
            for (name, text) in files {
                fs::write(dir.join(name), text).unwrap();
            }
        };
        let link = |to: &str, from: &str| {
            let from = root.path().join(from);
            fs::create_dir_all(from.parent().unwrap()).unwrap();
            symlink(Path::new(to), from).unwrap();
        };
        let device = "sys/devices/pci0/host2/target2:0:0/2:0:0:1";
        make(device, &[]);
        make(&format!("{device}/block/sdc"), &[("dev", "8:32\n")]);
        make(
            &format!("{device}/block/sdc/sdc1"),
            &[("dev", "8:33\n"), ("partition", "1\n")],
        );
        make(&format!("{device}/scsi_generic/sg3"), &[("dev", "21:3\n")]);
        link("scsi_generic/sg3", &format!("{device}/generic"));
        make("sys/devices/pci0/host2/target2:0:1/2:0:1:0", &[]);
        make("sys/devices/virtual/block/dm-3", &[("dev", "253:3\n")]);
        for path in ["target2:0:0/2:0:0:1", "target2:0:1/2:0:1:0"] {
            let name = path.split('/').next_back().unwrap();
            link(
                &format!("../../../devices/pci0/host2/{path}"),
                &format!("sys/bus/scsi/devices/{name}"),
            );
            fs::create_dir_all(
                root.path()
                    .join(format!("sys/devices/pci0/host2/{path}/scsi_device/{name}")),
            )
            .unwrap();
            link(
                &format!("../../devices/pci0/host2/{path}/scsi_device/{name}"),
                &format!("sys/class/scsi_device/{name}"),
            );
        }
        let below = "../../devices/pci0/host2/target2:0:0/2:0:0:1";
        link(&format!("{below}/block/sdc"), "sys/class/block/sdc");
        link(&format!("{below}/block/sdc/sdc1"), "sys/class/block/sdc1");
        link(
            &format!("{below}/scsi_generic/sg3"),
            "sys/class/scsi_generic/sg3",
        );
        link("../../devices/virtual/block/dm-3", "sys/class/block/dm-3");
        let sysfs = Sysfs::new(root.path());
        (root, sysfs)
    }

    #[test]
    fn every_name_of_a_path_leads_to_its_node() {
        let (_root, sysfs) = host();
        let path: Hctl = "2:0:0:1".parse().unwrap();
        let sg = |name: &str| find(&sysfs, name).unwrap();
        for name in ["2:0:0:1", "sg3", "/dev/sg3"] {
            let found = sg(name);
            assert_eq!((found.path, found.generic), (path, true), "{name}");
            assert_eq!((found.name.as_str(), found.dev.major), ("sg3", 21));
        }
        for name in ["sdc", "/dev/sdc"] {
            let found = sg(name);
            assert_eq!((found.path, found.generic), (path, false), "{name}");
            assert_eq!((found.name.as_str(), found.dev.minor), ("sdc", 32));
        }
    }

    #[test]
    fn other_names_are_refused_before_anything_is_opened() {
        let (_root, sysfs) = host();
        for (name, words) in [
            ("sdc1", "sdc1 is a partition"),
            ("/dev/sdc1", "its disk is sdc"),
            ("dm-3", "dm-3 is not a SCSI device: give a path"),
            ("sdz", "sdz: no such SCSI device; `psactl core path list`"),
            ("9:0:0:0", "no such SCSI device"),
            ("watchdog", "no such SCSI device"),
            ("/dev/disk/by-path/nothing", "no such SCSI device"),
            ("", "no such SCSI device"),
            ("..", "no such SCSI device"),
            ("2:0:1:0", "`modprobe sg`"),
        ] {
            let why = find(&sysfs, name).unwrap_err().to_string();
            assert!(why.contains(words), "{name}: {why}");
        }
    }

    #[test]
    fn a_node_that_cannot_be_opened_is_reported_with_a_remedy() {
        let (root, sysfs) = host();
        let why = PassThrough::open(&sysfs, "sg3").unwrap_err().to_string();
        assert!(why.contains("/dev/sg3 cannot be opened"), "{why}");
        assert!(why.contains("`udevadm trigger`"), "{why}");
        // Another file in place of the node is not the device.
        fs::create_dir_all(root.path().join("dev")).unwrap();
        fs::write(root.path().join("dev/sg3"), "").unwrap();
        let why = PassThrough::open(&sysfs, "sg3").unwrap_err().to_string();
        assert!(why.contains("does not lead to the device 21:3"), "{why}");
    }

    #[test]
    fn a_file_that_accepts_no_commands_is_reported() {
        let device = PassThrough {
            file: File::open("/dev/null").unwrap(),
            node: "/dev/null".to_owned(),
            path: "0:0:0:0".parse().unwrap(),
        };
        let why = device.send_patiently(&Command::TestUnitReady, Millis(1000));
        let why = why.unwrap_err().to_string();
        assert!(
            why.contains("/dev/null: TEST UNIT READY was not sent"),
            "{why}"
        );
        assert!(why.contains("it does not accept SCSI commands"), "{why}");
    }
}
