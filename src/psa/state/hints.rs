//! Errors of ordinary I/O: how many, of which kind, and when a path has to be examined because of them.
//!
//! `psa/check/hints.rs` decides what follows from a hint.

use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The least time between two examinations of a path because of hints, and between two failures that are counted
/// because of hints.
pub(in crate::psa) const PAUSE: Millis = Millis(100);

/// Errors of one kind that follow each other within this time are one series.
pub(in crate::psa) const SERIES: Millis = Millis::from_secs(60);

/// Errors of block requests (`blk_errors` in the kernel), with Linux's errno values.
const ENODEV: i32 = 19;

const EBADE: i32 = 52;

const ENODATA: i32 = 61;

const ENOLINK: i32 = 67;

const ETIMEDOUT: i32 = 110;

const EREMOTEIO: i32 = 121;

/// Kinds of errors of ordinary I/O, in the order of [`Hints::counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IoErrorKind {
    /// The target refuses the request or cannot carry it out (EREMOTEIO).
    Target,
    /// Another initiator holds a reservation (EBADE).
    Reservation,
    /// The medium has an error at this location (ENODATA).
    Medium,
    /// The target cannot be reached (ENOLINK, ENODEV).
    Transport,
    /// A request that ended with any other error.
    Other,
    /// The kernel's timer for a command expired.
    Timeout,
    /// A command ended with an error; the request may have succeeded later.
    Command,
    /// The driver did not accept a command.
    NotTaken,
}

impl IoErrorKind {
    /// All kinds, in order.
    pub(crate) const ALL: [IoErrorKind; 8] = [
        IoErrorKind::Target,
        IoErrorKind::Reservation,
        IoErrorKind::Medium,
        IoErrorKind::Transport,
        IoErrorKind::Other,
        IoErrorKind::Timeout,
        IoErrorKind::Command,
        IoErrorKind::NotTaken,
    ];

    /// The name of the kind.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            IoErrorKind::Target => "target error",
            IoErrorKind::Reservation => "reservation conflict",
            IoErrorKind::Medium => "medium error",
            IoErrorKind::Transport => "transport error",
            IoErrorKind::Other => "other error",
            IoErrorKind::Timeout => "timeout",
            IoErrorKind::Command => "failed command",
            IoErrorKind::NotTaken => "refused by the driver",
        }
    }

    pub(in crate::psa) fn of_errno(errno: i32) -> IoErrorKind {
        match errno {
            EREMOTEIO => IoErrorKind::Target,
            EBADE => IoErrorKind::Reservation,
            ENODATA => IoErrorKind::Medium,
            ENOLINK | ENODEV => IoErrorKind::Transport,
            ETIMEDOUT => IoErrorKind::Timeout,
            _ => IoErrorKind::Other,
        }
    }

    fn place(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

/// The number of errors of each kind in [`IoErrorKind::ALL`].
pub(crate) type IoErrors = [u64; IoErrorKind::ALL.len()];

/// The errors of ordinary I/O on a path. A path without errors has no such record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Hints {
    /// The number of errors of each kind in [`IoErrorKind::ALL`].
    pub counts: IoErrors,
    /// Time of the last error of each kind; 0 means never.
    pub(in crate::psa) last: [Millis; IoErrorKind::ALL.len()],
    /// The last error of any kind, as the kernel reports it.
    pub text: String,
    /// An error was reported, and the path has not been examined for it yet.
    pub(in crate::psa) pending: bool,
    /// When an examination was last sent because of a hint.
    pub(in crate::psa) asked_at: Millis,
    /// When a failure was last counted because of a hint.
    pub(in crate::psa) failed_at: Millis,
}

impl Hints {
    pub(in crate::psa) fn last(&self, kind: IoErrorKind) -> Option<Millis> {
        let last = self.last.get(kind.place()).copied();
        last.filter(|last| *last != Millis(0))
    }

    /// Records an error. Returns whether a series begins with it.
    pub(in crate::psa) fn take(
        &mut self,
        kind: IoErrorKind,
        count: u64,
        text: String,
        now: Millis,
    ) -> bool {
        let is_new = self.last(kind).is_none_or(|last| now.since(last) >= SERIES);
        if let Some(total) = self.counts.get_mut(kind.place()) {
            *total = total.saturating_add(count);
        }
        if let Some(last) = self.last.get_mut(kind.place()) {
            *last = now.max(Millis(1));
        }
        self.text = text;
        is_new
    }
}

/// The state of error reporting as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::psa) struct IoReports {
    /// SCSI hosts whose error handling began, each with the time at which its paths were checked for that. Entries last
    /// for [`SERIES`].
    pub(in crate::psa) recovering: BTreeMap<u32, Millis>,
    /// Until when every command that ends with an error is reported.
    pub(in crate::psa) closely_until: Millis,
    /// When users were last notified that reports were lost.
    pub(in crate::psa) lost_at: Option<Millis>,
}

impl Hints {
    /// The kinds with at least one error: name and count.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = IoErrorKind::ALL.iter().map(|kind| kind.as_str());
        all.zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// Time of the last error.
    #[must_use]
    pub(crate) fn last_error(&self) -> Option<Millis> {
        self.last
            .iter()
            .max()
            .copied()
            .filter(|last| *last != Millis(0))
    }

    /// When the path has to be examined because of a hint.
    pub(in crate::psa) fn due(&self, now: Millis) -> Option<Millis> {
        self.pending.then(|| self.asked_at.after(PAUSE).max(now))
    }

    /// An examination is being sent. Returns whether it has to prove the identity of the path because of a hint.
    pub(in crate::psa) fn is_asked(&mut self, now: Millis) -> bool {
        let asks = std::mem::take(&mut self.pending);
        if asks {
            self.asked_at = now;
        }
        asks
    }
}
