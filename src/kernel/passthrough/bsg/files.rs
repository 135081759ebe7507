//! Keeps bsg devices open.

use crate::kernel::privilege::open_files;
use crate::psa::units::{Hctl, Millis};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the kernel has the device nodes, named by address.
const NODES: &str = "/dev/bsg";

/// The most devices that stay open between examinations; half of what the process may open is a further limit. An open
/// bsg device costs the kernel no more than the file itself.
const MOST: usize = 16_384;

/// A device that was not used for this long is closed, because an open file keeps the remains of a removed device.
const IDLE: Millis = Millis::from_secs(60);

/// Identifies a device node. The number of a device is not used again while somebody has it open, and its inode is
/// created with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// An open device.
#[derive(Debug)]
struct Open {
    file: Arc<File>,
    identity: Identity,
    used: Millis,
}

/// A device to send a command to.
#[derive(Debug)]
pub(super) struct Device {
    /// Stays open while anyone holds this.
    pub(super) file: Arc<File>,
    /// It was already open.
    pub(super) known: bool,
    pub(super) identity: Identity,
}

/// The open devices.
#[derive(Debug)]
pub(super) struct Files {
    open: BTreeMap<Hctl, Open>,
    most: usize,
}

impl Files {
    pub(super) fn new() -> Files {
        Files {
            open: BTreeMap::new(),
            most: MOST.min(open_files() / 2),
        }
    }

    /// Returns the device of a path, and opens it if need be.
    ///
    /// # Errors
    /// ENODEV if there is no such node, otherwise the error of `open`.
    pub(super) fn get(&mut self, path: Hctl, now: Millis) -> io::Result<Device> {
        use std::collections::btree_map::Entry;
        let (open, known) = match self.open.entry(path) {
            Entry::Occupied(entry) => (entry.into_mut(), true),
            Entry::Vacant(entry) => {
                let (file, identity) = open(path)?;
                let fresh = Open {
                    file: Arc::new(file),
                    identity,
                    used: now,
                };
                (entry.insert(fresh), false)
            }
        };
        open.used = now;
        Ok(Device {
            file: Arc::clone(&open.file),
            known,
            identity: open.identity,
        })
    }

    /// Closes the device of a path, once no command uses it any more.
    pub(super) fn close(&mut self, path: Hctl) {
        self.open.remove(&path);
    }

    /// Closes the device of a path whose examination has ended, if too many are open.
    pub(super) fn ended(&mut self, path: Hctl) {
        if self.open.len() > self.most {
            self.close(path);
        }
    }

    /// Closes the devices that were not used for [`IDLE`].
    pub(super) fn close_idle(&mut self, now: Millis) {
        self.open.retain(|_, open| open.used.after(IDLE) > now);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Whether the node of a path is still the one that `identity` describes.
pub(super) fn is_there(path: Hctl, identity: Identity) -> bool {
    fs::metadata(node(path)).is_ok_and(|metadata| identify(&metadata) == identity)
}

/// Opens a bsg device to probe: that of `path`, or else that of any SCSI device.
///
/// # Errors
/// ENODEV if there is none, otherwise the error of `open`.
pub(super) fn any(path: Hctl) -> io::Result<File> {
    let gone = match open(path) {
        Ok((file, _)) => return Ok(file),
        Err(error) => error,
    };
    let others = fs::read_dir(NODES).map_err(|_| no_such_device())?;
    others
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<Hctl>().ok())
        .find_map(|other| open(other).ok())
        .map_or(Err(gone), |(file, _)| Ok(file))
}

fn node(path: Hctl) -> PathBuf {
    Path::new(NODES).join(path.to_string())
}

/// Opens the device of a path. This neither waits for the device nor sends it anything (`bsg_open`).
fn open(path: Hctl) -> io::Result<(File, Identity)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(node(path))
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => no_such_device(),
            _ => error,
        })?;
    let metadata = file.metadata()?;
    if !metadata.file_type().is_char_device() {
        return Err(no_such_device());
    }
    let identity = identify(&metadata);
    Ok((file, identity))
}

fn identify(metadata: &Metadata) -> Identity {
    Identity {
        device: metadata.rdev(),
        inode: metadata.ino(),
    }
}

fn no_such_device() -> io::Error {
    io::Error::from_raw_os_error(libc::ENODEV)
}
