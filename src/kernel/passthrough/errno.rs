//! The errors of the kernel as outcomes of commands.

use crate::scsi::outcome::Outcome;
use std::io;

/// The number of an error; EIO if it has none.
pub(in crate::kernel) fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// The outcome of a command that was not sent.
pub(in crate::kernel) fn outcome_of(error: &io::Error) -> Outcome {
    Outcome::of_errno(errno_of(error))
}
