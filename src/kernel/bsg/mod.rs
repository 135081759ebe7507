//! SCSI commands through `/dev/bsg/H:C:T:L` by io_uring, for kernels that take them so (Linux 7.1 and later).
//!
//! Input, output and contract are those of [`super::sg`], and the books are the same. Method: one ring and one thread
//! for all SCSI hosts. `io_uring_enter` does not wait for devices: what would (no tag free, a frozen queue, no memory)
//! goes to a bounded number of threads of the kernel's own. A bsg device costs the kernel nothing while it is open, so
//! all of them stay open.
//!
//! Invariants, besides sg's:
//! - memory that the kernel may write to is neither moved nor freed, and the thread does not end while a command is
//!   out: the kernel copies sense in the thread that sent the command, and if that has ended, in one of its own, where
//!   the address is another process's (`scsi_bsg_uring_task_cb`; why `auto` does not take this transport, see
//!   `AUTO_TAKES_BSG`). The process as a whole ends at once, with whatever is out;
//! - a path is its node's name, so no number can lead to another device.
//!
//! Unlike sg, bsg does not tell that a device was removed under a command until that is back; the thread looks once a
//! second.
//!
//! Tests: the books in `books.rs`, the command in `command.rs`; the rest needs a kernel (`tests/lab/transports.rs`).

mod books;
mod command;
mod files;
mod ring;
mod slot;
mod worker;

use super::Sink;
use super::transport::book::Order;
use super::transport::clock::Clock;
use crate::psa::event::Examination;
use crate::psa::units::Hctl;
use crate::scsi::outcome::Outcome;
use books::Books;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use worker::Worker;

/// Sends commands down paths.
#[derive(Debug)]
pub(super) struct Transport {
    desk: Arc<Desk>,
    clock: Clock,
}

/// What the thread shares with the others.
#[derive(Debug)]
struct Desk {
    books: Mutex<Books>,
    wake: EventFd,
    /// Why no command can be sent this way any more: errno.
    failure: OnceLock<i32>,
}

impl Desk {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The only failure is a full counter, and that wakes too.
        let _ = self.wake.write(1);
    }

    fn give_up(&self, error: &io::Error) {
        // The first reason stays.
        let _ = self.failure.set(error.raw_os_error().unwrap_or(libc::EIO));
    }
}

impl Transport {
    /// A transport that puts its answers into `results`, if the kernel takes commands this way; `path` is tried first,
    /// any other SCSI device is as good. No device is waited for, and none gets a command.
    ///
    /// # Errors
    /// ENODEV if there is no SCSI device in `/dev/bsg`, EOPNOTSUPP or EINVAL if the kernel is too old, ENOSYS, EPERM or
    /// EACCES if it has no io_uring or does not let us have it.
    pub(super) fn start(results: Sink, path: Hctl) -> io::Result<Transport> {
        let device = files::any(path)?;
        let desk = Arc::new(Desk {
            books: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            failure: OnceLock::new(),
        });
        let clock = Clock::start();
        let (told, result) = sync_channel(1);
        let its_desk = Arc::clone(&desk);
        super::thread("bsg").spawn(move || {
            match Worker::new(its_desk, results, clock, &device) {
                Ok(worker) => {
                    // Nobody can have hung up: it is waited for.
                    let _ = told.send(Ok(()));
                    drop(device);
                    worker.run();
                }
                Err(error) => drop(told.send(Err(error))),
            }
        })?;
        let gone = |_| io::Error::from_raw_os_error(libc::EIO);
        result.recv().map_err(gone)??;
        Ok(Transport { desk, clock })
    }

    /// Why no command can be sent this way any more.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let errno = self.desk.failure.get()?;
        Some(io::Error::from_raw_os_error(*errno))
    }

    /// Whether a path has an examination or a command that is out.
    pub(super) fn has(&self, path: Hctl) -> bool {
        self.desk.books().has(path)
    }

    /// As [`super::sg::Transport::examine`].
    ///
    /// # Errors
    /// As [`super::sg::Transport::examine`].
    pub(super) fn examine(&self, order: Order) -> Result<(), Examination> {
        let mut books = self.desk.books();
        if books.closed {
            return Err(order.answer(Outcome::from_errno(libc::EAGAIN)));
        }
        let wake = books.accept(order, self.clock.now())?;
        drop(books);
        if wake {
            self.desk.wake();
        }
        Ok(())
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.desk.books().closed = true;
        self.desk.wake();
    }
}
