//! What the ways to send SCSI commands down paths share.
//!
//! [`book`] decides what is sent when and what becomes of an answer, the rest is memory and time. Pure but for
//! [`lent`], which holds what the kernel may write to.

pub(super) mod book;
pub(super) mod buffers;
pub(super) mod clock;
pub(super) mod lent;

use crate::scsi::outcome::Outcome;
use std::io;

/// How a command ended that was not sent.
pub(super) fn outcome_of(error: &io::Error) -> Outcome {
    Outcome::from_errno(error.raw_os_error().unwrap_or(libc::EIO))
}
