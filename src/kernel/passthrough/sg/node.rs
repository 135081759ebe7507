//! An open sg device that was checked to belong to its path.

use super::header::{SG_GET_SCSI_ID, ScsiId};
use super::slot::Slot;
use crate::psa::units::{Hctl, Millis, Sg};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

/// An open sg device and the memory of its command.
#[derive(Debug)]
pub(super) struct Node {
    /// Dropped before the slot: after the file is closed, nothing writes to the slot any more.
    pub(super) file: File,
    pub(super) slot: Slot,
    pub(super) path: Hctl,
    pub(super) sg: Sg,
    /// When a command was last sent.
    pub(super) used: Millis,
    /// The device was removed while a command was out: its answer is not wanted any more.
    pub(super) zombie: bool,
}

nix::ioctl_read_bad!(sg_get_scsi_id, SG_GET_SCSI_ID, ScsiId);

impl Node {
    /// Opens `/dev/sgN` and checks that it belongs to `path`, because numbers of sg devices are reused.
    ///
    /// With `O_NONBLOCK` neither this nor a write waits for error recovery of the SCSI host.
    ///
    /// # Errors
    /// ENODEV if the node is missing or belongs to another path, otherwise the error of `open`.
    pub(super) fn open(path: Hctl, sg: Sg, now: Millis) -> io::Result<Node> {
        let gone = || io::Error::from_raw_os_error(libc::ENODEV);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(format!("/dev/{sg}"))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => gone(),
                _ => error,
            })?;
        if !is_path(&file, path)? {
            return Err(gone());
        }
        Ok(Node {
            file,
            slot: Slot::new(),
            path,
            sg,
            used: now,
            zombie: false,
        })
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether an open sg device has this address.
fn is_path(file: &File, path: Hctl) -> io::Result<bool> {
    let mut id = ScsiId::default();
    // SAFETY: SG_GET_SCSI_ID writes a `struct sg_scsi_id` of 32 bytes, which is ScsiId; any bytes are valid for it.
    // JUSTIFICATION: no wrapper has this ioctl.
    unsafe { sg_get_scsi_id(file.as_raw_fd(), &raw mut id) }?;
    let same = |reported: i32, wanted: u32| u32::try_from(reported) == Ok(wanted);
    // The driver truncates the logical unit number to an int; the sign has no meaning.
    let lun = u64::from(id.lun.cast_unsigned());
    Ok(same(id.host_no, path.host)
        && same(id.channel, path.channel)
        && same(id.scsi_id, path.target)
        && lun == path.lun & u64::from(u32::MAX))
}
