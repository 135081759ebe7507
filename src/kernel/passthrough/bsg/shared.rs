//! What the thread of the ring shares with its callers.

use super::books::Books;
use crate::kernel::passthrough::errno::errno_of;
use nix::sys::eventfd::EventFd;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What the thread shares with its callers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) books: Mutex<Books>,
    pub(super) wake: EventFd,
    /// Why no command can be sent this way any more, as an errno.
    pub(super) failure: OnceLock<i32>,
}

impl Shared {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        // The only possible failure is a full counter, and that wakes the thread too.
        let _ = self.wake.write(1);
    }

    pub(super) fn give_up(&self, error: &io::Error) {
        // The first reason is kept.
        let _ = self.failure.set(errno_of(error));
    }
}
