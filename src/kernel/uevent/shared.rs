//! What the thread of discovery shares with its callers.

use crate::psa::units::Hctl;
use nix::sys::eventfd::EventFd;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long uevents of paths are collected before facts are read.
pub(crate) const QUIET: Duration = Duration::from_millis(20);

/// Shared with the thread: requests, and the means to wake it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) inbox: Mutex<Inbox>,
    pub(super) wake: EventFd,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Bounded by `ASKED`.
    pub(super) asked: BTreeSet<Hctl>,
    pub(super) enumerate: bool,
    pub(super) stop: bool,
}

impl Shared {
    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        // The only possible failure is a full counter, and that wakes the thread too.
        let _ = self.wake.write(1);
    }
}
