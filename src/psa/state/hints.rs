//! Errors of ordinary I/O: how many, of which kind, and when a path is to be asked because of them.
//!
//! What a hint leads to is decided in `psa/check/hints.rs`.

use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Between two examinations of a path that hints ask for, and between two failures that are counted for them.
pub(in crate::psa) const PAUSE: Millis = Millis(100);

/// Errors of one kind that come closer together than this are one series.
pub(in crate::psa) const SERIES: Millis = Millis::from_secs(60);

/// Errors of block requests (`blk_errors` in the kernel) by their numbers, which are Linux's.
const ENODEV: i32 = 19;

const EBADE: i32 = 52;

const ENODATA: i32 = 61;

const ENOLINK: i32 = 67;

const ETIMEDOUT: i32 = 110;

const EREMOTEIO: i32 = 121;

/// Kinds of errors of ordinary I/O. The order is that of [`Hints::counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoErrorKind {
    /// The target refuses the request or cannot carry it out (EREMOTEIO).
    Target,
    /// Another initiator holds a reservation (EBADE).
    Reservation,
    /// The medium has an error there (ENODATA).
    Medium,
    /// No way to the target (ENOLINK, ENODEV).
    Transport,
    /// Any other end of a request.
    Other,
    /// The kernel's timer for a command ran out.
    Timeout,
    /// A command ended with an error; the request it was for may have succeeded later.
    Command,
    /// The driver did not take a command.
    NotTaken,
}

impl IoErrorKind {
    /// All of them, in order.
    pub const ALL: [IoErrorKind; 8] = [
        IoErrorKind::Target,
        IoErrorKind::Reservation,
        IoErrorKind::Medium,
        IoErrorKind::Transport,
        IoErrorKind::Other,
        IoErrorKind::Timeout,
        IoErrorKind::Command,
        IoErrorKind::NotTaken,
    ];

    /// Its words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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

/// How many errors of each of [`IoErrorKind::ALL`].
pub type IoErrors = [u64; IoErrorKind::ALL.len()];

/// The errors of ordinary I/O on a path; a path that never had one has none of this.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hints {
    /// How many there were of each of [`IoErrorKind::ALL`].
    pub counts: IoErrors,
    /// When each came last; 0 is never.
    pub(in crate::psa) last: [Millis; IoErrorKind::ALL.len()],
    /// The last error of all, as the kernel reports it.
    pub text: String,
    /// Something was reported that has not been asked about yet.
    pub(in crate::psa) pending: bool,
    /// When an examination was sent for a hint.
    pub(in crate::psa) asked_at: Millis,
    /// When a failure was counted for a hint.
    pub(in crate::psa) failed_at: Millis,
}

impl Hints {
    pub(in crate::psa) fn last(&self, kind: IoErrorKind) -> Option<Millis> {
        let last = self.last.get(kind.place()).copied();
        last.filter(|last| *last != Millis(0))
    }

    /// Takes an error in; whether a series begins with it.
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

/// What is known of the reports as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::psa) struct IoReports {
    /// SCSI hosts whose error handling began, and when their paths were checked for that; for [`SERIES`].
    pub(in crate::psa) recovering: BTreeMap<u32, Millis>,
    /// Until when every command that ends with an error is reported.
    pub(in crate::psa) closely_until: Millis,
    /// When the loss of reports was notified last.
    pub(in crate::psa) lost_at: Option<Millis>,
}

impl Hints {
    /// The kinds that there were, by their words, and how many.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = IoErrorKind::ALL.iter().map(|kind| kind.as_str());
        all.zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// When the last error was reported.
    #[must_use]
    pub fn last_error(&self) -> Option<Millis> {
        self.last
            .iter()
            .max()
            .copied()
            .filter(|last| *last != Millis(0))
    }

    /// When the path is to be asked because of a hint.
    pub(in crate::psa) fn due(&self, now: Millis) -> Option<Millis> {
        self.pending.then(|| self.asked_at.after(PAUSE).max(now))
    }

    /// An examination is sent; whether it is to ask who the path is.
    pub(in crate::psa) fn is_asked(&mut self, now: Millis) -> bool {
        let asks = std::mem::take(&mut self.pending);
        if asks {
            self.asked_at = now;
        }
        asks
    }
}
