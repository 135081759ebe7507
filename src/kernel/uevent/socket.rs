//! The udev crate, wrapped: a monitor whose messages are copied out, and whose losses are told.
//!
//! libudev objects belong to one thread: these are made and dropped in the thread that uses them.

use super::message::Message;
use nix::sys::socket::{setsockopt, sockopt};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use udev::{MonitorBuilder, MonitorSocket};

/// Receive buffer: messages wait here while facts are read. This is what udevd itself takes; the kernel uses memory
/// only for what waits.
const BUFFER: usize = 128 << 20;

/// So many failures in one go are a socket that does not work rather than lost messages.
const FAILURES: usize = 16;

/// Whose messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// The kernel's: as things happen.
    Kernel,
    /// udev's: after its rules have run.
    Udev,
}

/// A monitor that receives.
pub(super) struct Socket {
    inner: MonitorSocket,
}

impl Socket {
    /// Listens to a group, to some subsystems only.
    ///
    /// # Errors
    /// What the kernel or libudev says; most likely ENOMEM or EMFILE.
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
        // Without the right to force it, the system's limit has to do.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
        }
        Ok(socket)
    }

    /// Hands every message that waits to `take`. Whether any were lost.
    pub(super) fn drain(&self, mut take: impl FnMut(Message)) -> bool {
        let mut failures = 0;
        loop {
            match self.inner.iter().next() {
                Some(event) => take(copy(&event)),
                None => {
                    // libudev tells the end of the queue and an overflow alike by a null pointer, and the reason in
                    // errno, which nothing has touched since.
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
        // SAFETY: the descriptor is the monitor's and open as long as the monitor, which `self` owns.
        // JUSTIFICATION: the crate gives `AsFd` of another crate's making, or the bare number.
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
        // "0" where the writer gave no UUID.
        synthetic: property("SYNTH_UUID").is_some(),
        dm_uuid: property("DM_UUID"),
    }
}
