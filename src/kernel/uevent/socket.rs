//! Wraps the udev crate: a monitor that copies its messages and reports losses.
//!
//! libudev objects belong to one thread, so they are created and dropped in the thread that uses them.

use super::message::Message;
use nix::sys::socket::{setsockopt, sockopt};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use udev::{MonitorBuilder, MonitorSocket};

/// Receive buffer: messages wait here while facts are read. udevd uses the same size; the kernel uses memory only for
/// waiting messages.
const BUFFER: usize = 128 << 20;

/// This many failures in a row mean that the socket does not work, not that messages were lost.
const FAILURES: usize = 16;

/// The sender of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// The kernel, as things happen.
    Kernel,
    /// udev, after its rules have run.
    Udev,
}

/// A monitor that receives messages.
pub(super) struct Socket {
    inner: MonitorSocket,
}

impl Socket {
    /// Listens to messages of a group about these subsystems.
    ///
    /// # Errors
    /// The error of the kernel or of libudev, most likely ENOMEM or EMFILE.
    pub(super) fn listen(group: Group, subsystems: &[&str]) -> io::Result<Socket> {
        let mut builder = match group {
            Group::Kernel => MonitorBuilder::new_kernel()?,
            Group::Udev => MonitorBuilder::new()?,
        };
        for subsystem in subsystems {
            builder = builder.match_subsystem(subsystem)?;
        }
        let inner = builder.listen()?;
        let socket = Socket { inner };
        // Without the privilege to exceed it, the system's limit applies.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
        }
        Ok(socket)
    }

    /// Passes every waiting message to `take`. Returns whether any were lost.
    pub(super) fn drain(&self, mut take: impl FnMut(Message)) -> bool {
        let mut failures = 0;
        loop {
            match self.inner.iter().next() {
                Some(event) => take(copy(&event)),
                None => {
                    // libudev returns a null pointer both at the end of the queue and after an overflow. The reason is
                    // in errno, which nothing has changed since.
                    if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
                        return failures > 0;
                    }
                    failures += 1;
                    if failures >= FAILURES {
                        return true;
                    }
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the monitor, which `self` owns, and is open as long as the monitor exists.
        // JUSTIFICATION: the crate offers only another crate's `AsFd`, or the bare number.
        unsafe { BorrowedFd::borrow_raw(self.inner.as_raw_fd()) }
    }
}

fn copy(event: &udev::Event) -> Message {
    let text = |text: Option<&OsStr>| {
        text.map(|text| text.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let property = |name: &str| {
        event
            .property_value(name)
            .map(|value| value.to_string_lossy().into_owned())
    };
    Message {
        action: text(event.action()),
        subsystem: text(event.subsystem()),
        devtype: text(event.devtype()),
        name: text(Some(event.sysname())),
        devpath: event.devpath().into(),
        attention: property("SDEV_UA"),
        // The value is "0" if the writer gave no UUID.
        synthetic: property("SYNTH_UUID").is_some(),
        dm_uuid: property("DM_UUID"),
    }
}
