//! Sends SCSI commands through `/dev/bsg/H:C:T:L` with io_uring, on kernels that support this (Linux 7.1 and later).
//!
//! Input, output and contract are those of [`super::sg`], and the books are the same. Method: one ring and one thread
//! for all SCSI hosts. `io_uring_enter` does not wait for devices: a command that would wait (no free tag, a frozen
//! queue, no memory) goes to a bounded number of kernel threads. An open bsg device costs the kernel nothing, so all of
//! them stay open.
//!
//! Invariants, besides sg's:
//! - Memory that the kernel may write to is neither moved nor freed, and the thread does not end while a command is
//!   out. The kernel copies sense data in the thread that sent the command; if that thread has ended, it copies in a
//!   thread of its own, where the address belongs to another process (`scsi_bsg_uring_task_cb`; why `auto` does not
//!   take this transport, see `AUTO_TAKES_BSG`). The process as a whole ends immediately, even with commands out.
//! - The name of the node is the address of the path, so no device number can lead to another device.
//!
//! Unlike sg, bsg does not report that a device was removed under a command until the command is back, so the thread
//! checks once a second.
//!
//! Tests: the books in `books.rs`, the command in `command.rs`; the rest needs a kernel (`tests/lab/transports.rs`).

mod books;
mod command;
mod files;
mod ring;
mod shared;
mod slot;
mod worker;

use super::Sink;
use super::clock::Clock;
use crate::psa::action::Examine;
use crate::psa::event::Examination;
use crate::psa::units::Hctl;
use crate::scsi::outcome::Outcome;
use nix::sys::eventfd::{EfdFlags, EventFd};
use shared::Shared;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock};
use worker::Worker;

/// Sends commands down paths.
#[derive(Debug)]
pub(super) struct Transport {
    shared: Arc<Shared>,
    clock: Clock,
}

impl Transport {
    /// Starts a transport that puts its answers into `results`, if the kernel takes commands this way. `path` is probed
    /// first; any other SCSI device will do. This waits for no device and sends none a command.
    ///
    /// # Errors
    /// ENODEV if there is no SCSI device in `/dev/bsg`, EOPNOTSUPP or EINVAL if the kernel is too old, ENOSYS, EPERM or
    /// EACCES if it has no io_uring or denies us its use.
    pub(super) fn start(results: Sink, path: Hctl) -> io::Result<Transport> {
        let device = files::any(path)?;
        let shared = Arc::new(Shared {
            books: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            failure: OnceLock::new(),
        });
        let clock = Clock::start();
        let (started, result) = sync_channel(1);
        let its_shared = Arc::clone(&shared);
        crate::kernel::thread("bsg").spawn(move || {
            match Worker::new(its_shared, results, clock, &device) {
                Ok(worker) => {
                    // The receiver cannot be gone: it waits below.
                    let _ = started.send(Ok(()));
                    drop(device);
                    worker.run();
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        let gone = |_| io::Error::from_raw_os_error(libc::EIO);
        result.recv().map_err(gone)??;
        Ok(Transport { shared, clock })
    }

    /// Why no command can be sent this way any more.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let errno = self.shared.failure.get()?;
        Some(io::Error::from_raw_os_error(*errno))
    }

    /// Whether a path has an examination or an outstanding command.
    pub(super) fn has(&self, path: Hctl) -> bool {
        self.shared.books().has(path)
    }

    /// Like [`super::sg::Transport::examine`].
    ///
    /// # Errors
    /// See [`super::sg::Transport::examine`].
    pub(super) fn examine(&self, order: Examine) -> Result<(), Examination> {
        let mut books = self.shared.books();
        if books.closed {
            return Err(order.answer(Outcome::of_errno(libc::EAGAIN)));
        }
        let wake = books.accept(order, self.clock.now())?;
        drop(books);
        if wake {
            self.shared.wake();
        }
        Ok(())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.books().closed = true;
        self.shared.wake();
    }
}
