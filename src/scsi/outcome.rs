//! How a command ended.

use super::sense::Sense;
use serde::{Deserialize, Serialize};

/// How a command ended, from SAM status, host byte, driver byte and sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// GOOD, or CONDITION MET.
    Good,
    /// CHECK CONDITION with sense.
    CheckCondition(Sense),
    /// BUSY, TASK SET FULL: the device server is there and has no room.
    Busy,
    /// RESERVATION CONFLICT: the path works.
    ReservationConflict,
    /// Another SAM status.
    Status(u8),
    /// The host adapter gave up: `DID_*` byte other than those below (kernel `scsi_status.h`).
    Host(u8),
    /// DID_NO_CONNECT, DID_BAD_TARGET, DID_TRANSPORT_FAILFAST: the path is down.
    NoConnect(u8),
    /// DID_TRANSPORT_DISRUPTED, DID_IMM_RETRY, DID_REQUEUE, DID_SOFT_ERROR, DID_RESET, DID_TRANSPORT_MARGINAL:
    /// try again.
    Retry(u8),
    /// DID_TIME_OUT: the kernel's timer ran out and the command was aborted.
    Timeout,
    /// The agent's own deadline passed; the command is still out.
    Overdue,
    /// The device went away under the command (ENODEV, ENXIO).
    Gone,
    /// Sending failed otherwise: errno.
    Errno(i32),
}
