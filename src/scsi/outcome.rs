//! Classifies how a command ended.

use super::sense::Sense;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a command ended, from SAM status, host byte, driver byte and sense data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// GOOD, or CONDITION MET.
    Good,
    /// CHECK CONDITION with sense.
    CheckCondition(Sense),
    /// BUSY or TASK SET FULL: the device server responds but cannot accept the command now.
    Busy,
    /// RESERVATION CONFLICT: the path works.
    ReservationConflict,
    /// Another SAM status; also CHECK CONDITION (02h) with sense data that cannot be parsed.
    Status(u8),
    /// The host adapter reported a `DID_*` byte other than those below (kernel `scsi_status.h`).
    Host(u8),
    /// DID_NO_CONNECT, DID_BAD_TARGET, DID_TRANSPORT_FAILFAST: the path is down.
    NoConnect(u8),
    /// DID_TRANSPORT_DISRUPTED, DID_IMM_RETRY, DID_REQUEUE, DID_SOFT_ERROR, DID_RESET, DID_TRANSPORT_MARGINAL: try
    /// again.
    Retry(u8),
    /// DID_TIME_OUT: the timer of the kernel expired and the command was aborted.
    Timeout,
    /// The deadline of the agent passed; the command has not returned yet.
    Overdue,
    /// The device disappeared while the command was in flight (ENODEV, ENXIO).
    Gone,
    /// Sending failed with another errno.
    Errno(i32),
    /// The command was not sent because this host lacks a resource (file descriptors, memory, a free queue entry):
    /// errno. This says nothing about the path.
    NotSent(i32),
}

/// `driver_status` of sg: the sense buffer is filled. Since Linux 5.14 this is the only value besides 0.
const DRIVER_SENSE: u8 = 0x08;

impl Outcome {
    /// Classifies a completed command from what the kernel's pass-through reports: `status`, `host_status` and
    /// `driver_status` of `sg_io_hdr` (their low bytes), and the sense bytes that were written.
    ///
    /// The host byte takes precedence, as in the kernel's mid-layer (`scsi_decide_disposition`): if the host adapter
    /// reported an error, the status byte is meaningless. Sense data are used with CHECK CONDITION, or if the driver
    /// byte says that they are present.
    #[must_use]
    pub fn from_sg(status: u8, host_status: u8, driver_status: u8, sense: &[u8]) -> Outcome {
        match host_status {
            0x00 => Outcome::from_status(status, driver_status, sense),
            // DID_NO_CONNECT, DID_BAD_TARGET, DID_TRANSPORT_FAILFAST
            0x01 | 0x04 | 0x0f => Outcome::NoConnect(host_status),
            0x03 => Outcome::Timeout,
            // DID_RESET, DID_SOFT_ERROR, DID_IMM_RETRY, DID_REQUEUE, DID_TRANSPORT_DISRUPTED, DID_TRANSPORT_MARGINAL
            0x08 | 0x0b | 0x0c | 0x0d | 0x0e | 0x14 => Outcome::Retry(host_status),
            other => Outcome::Host(other),
        }
    }

    /// SAM-6, "Status codes". Bits 7 and 0 were vendor specific in SCSI-2 and are ignored.
    fn from_status(status: u8, driver_status: u8, sense: &[u8]) -> Outcome {
        match status & 0x7e {
            0x02 => Sense::parse(sense).map_or(Outcome::Status(0x02), Outcome::CheckCondition),
            0x00 | 0x04 if driver_status & 0x0f == DRIVER_SENSE => {
                Sense::parse(sense).map_or(Outcome::Good, Outcome::CheckCondition)
            }
            0x00 | 0x04 => Outcome::Good,
            0x08 | 0x28 => Outcome::Busy,
            0x18 => Outcome::ReservationConflict,
            other => Outcome::Status(other),
        }
    }

    /// Classifies an `errno` from sending or fetching a command. The numbers are the same on every Linux architecture
    /// that Rust's standard library supports: EPERM is 1, ENXIO 6, EAGAIN 11, ENOMEM 12, EACCES 13, EBUSY 16, ENODEV 19,
    /// ENFILE 23, EMFILE 24. What this host does not permit or cannot do says nothing about the path.
    #[must_use]
    pub fn of_errno(errno: i32) -> Outcome {
        match errno {
            6 | 19 => Outcome::Gone,
            1 | 11 | 12 | 13 | 16 | 23 | 24 => Outcome::NotSent(errno),
            other => Outcome::Errno(other),
        }
    }

    /// Whether the command was carried out and its data may be used: GOOD, or sense data whose key is not an error.
    #[must_use]
    pub fn carried_out(&self) -> bool {
        match self {
            Outcome::Good => true,
            Outcome::CheckCondition(sense) => sense.carried_out(),
            _ => false,
        }
    }

    /// The sense data, if there are any.
    #[must_use]
    pub fn sense(&self) -> Option<Sense> {
        match self {
            Outcome::CheckCondition(sense) => Some(*sense),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Good => f.write_str("GOOD"),
            Outcome::CheckCondition(sense) => write!(f, "CHECK CONDITION {sense}"),
            Outcome::Busy => f.write_str("BUSY"),
            Outcome::ReservationConflict => f.write_str("RESERVATION CONFLICT"),
            Outcome::Status(status) => write!(f, "status {status:02X}h ({})", status_name(*status)),
            Outcome::Host(host) | Outcome::NoConnect(host) | Outcome::Retry(host) => {
                write!(f, "host status {host:02X}h ({})", host_name(*host))
            }
            Outcome::Timeout => f.write_str("host status 03h (DID_TIME_OUT)"),
            Outcome::Overdue => f.write_str("no answer yet"),
            Outcome::Gone => f.write_str("device gone"),
            Outcome::Errno(errno) => write!(f, "errno {errno}"),
            Outcome::NotSent(errno) => write!(f, "not sent, errno {errno}"),
        }
    }
}

/// Names of SAM status codes (SAM-6, "Status codes").
fn status_name(status: u8) -> &'static str {
    match status {
        0x00 => "GOOD",
        0x02 => "CHECK CONDITION without sense",
        0x04 => "CONDITION MET",
        0x08 => "BUSY",
        0x10 => "INTERMEDIATE",
        0x14 => "INTERMEDIATE-CONDITION MET",
        0x18 => "RESERVATION CONFLICT",
        0x22 => "COMMAND TERMINATED",
        0x28 => "TASK SET FULL",
        0x30 => "ACA ACTIVE",
        0x40 => "TASK ABORTED",
        _ => "unknown",
    }
}

/// Names of the kernel's host bytes (`include/scsi/scsi_status.h`).
fn host_name(host: u8) -> &'static str {
    match host {
        0x00 => "DID_OK",
        0x01 => "DID_NO_CONNECT",
        0x02 => "DID_BUS_BUSY",
        0x03 => "DID_TIME_OUT",
        0x04 => "DID_BAD_TARGET",
        0x05 => "DID_ABORT",
        0x06 => "DID_PARITY",
        0x07 => "DID_ERROR",
        0x08 => "DID_RESET",
        0x09 => "DID_BAD_INTR",
        0x0a => "DID_PASSTHROUGH",
        0x0b => "DID_SOFT_ERROR",
        0x0c => "DID_IMM_RETRY",
        0x0d => "DID_REQUEUE",
        0x0e => "DID_TRANSPORT_DISRUPTED",
        0x0f => "DID_TRANSPORT_FAILFAST",
        0x10 => "DID_TARGET_FAILURE",
        0x11 => "DID_NEXUS_FAILURE",
        0x12 => "DID_ALLOC_FAILURE",
        0x13 => "DID_MEDIUM_ERROR",
        0x14 => "DID_TRANSPORT_MARGINAL",
        _ => "unknown",
    }
}

/// The host byte with this name, spelled as the kernel prints it: `DID_NO_CONNECT`.
#[must_use]
pub(crate) fn host_byte(name: &str) -> Option<u8> {
    (0..=u8::MAX).find(|host| host_name(*host) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSUPPORTED: Sense = Sense {
        key: 5,
        asc: 0x25,
        ascq: 0,
    };

    #[test]
    fn host_bytes() {
        for (host, outcome) in [
            (0x01, Outcome::NoConnect(0x01)),
            (0x04, Outcome::NoConnect(0x04)),
            (0x0f, Outcome::NoConnect(0x0f)),
            (0x03, Outcome::Timeout),
            (0x08, Outcome::Retry(0x08)),
            (0x0b, Outcome::Retry(0x0b)),
            (0x0c, Outcome::Retry(0x0c)),
            (0x0d, Outcome::Retry(0x0d)),
            (0x0e, Outcome::Retry(0x0e)),
            (0x14, Outcome::Retry(0x14)),
            (0x02, Outcome::Host(0x02)),
            (0x05, Outcome::Host(0x05)),
            (0x07, Outcome::Host(0x07)),
        ] {
            assert_eq!(Outcome::from_sg(0, host, 0, &[]), outcome);
            // The host byte decides, whatever the rest of the header says.
            assert_eq!(
                Outcome::from_sg(2, host, 8, &UNSUPPORTED.to_fixed()),
                outcome
            );
        }
    }

    #[test]
    fn statuses() {
        for (status, outcome) in [
            (0x00, Outcome::Good),
            (0x04, Outcome::Good),
            (0x08, Outcome::Busy),
            (0x28, Outcome::Busy),
            (0x18, Outcome::ReservationConflict),
            (0x02, Outcome::Status(0x02)),
            (0x30, Outcome::Status(0x30)),
            (0x40, Outcome::Status(0x40)),
        ] {
            assert_eq!(Outcome::from_sg(status, 0, 0, &[]), outcome);
            assert_eq!(Outcome::from_sg(status | 0x81, 0, 0, &[]), outcome);
        }
    }

    #[test]
    fn sense_counts_with_check_condition_or_driver_sense() {
        let sense = UNSUPPORTED.to_descriptor();
        let check = Outcome::CheckCondition(UNSUPPORTED);
        assert_eq!(Outcome::from_sg(2, 0, 0, &sense), check);
        assert_eq!(Outcome::from_sg(2, 0, 8, &sense), check);
        assert_eq!(Outcome::from_sg(0, 0, 8, &sense), check);
        assert_eq!(Outcome::from_sg(0, 0, 0, &sense), Outcome::Good);
        assert_eq!(Outcome::from_sg(0, 0, 8, &[]), Outcome::Good);
        let remark = Sense {
            key: 1,
            asc: 0x17,
            ascq: 0,
        };
        assert!(Outcome::from_sg(2, 0, 8, &remark.to_fixed()).carried_out());
        assert!(!check.carried_out());
        assert_eq!(check.sense(), Some(UNSUPPORTED));
    }

    #[test]
    fn host_bytes_have_names() {
        assert_eq!(host_byte("DID_OK"), Some(0));
        assert_eq!(host_byte("DID_TRANSPORT_DISRUPTED"), Some(0x0e));
        assert_eq!(host_byte("DID_NONE"), None);
    }

    #[test]
    fn errnos() {
        assert_eq!(Outcome::of_errno(19), Outcome::Gone);
        assert_eq!(Outcome::of_errno(6), Outcome::Gone);
        assert_eq!(Outcome::of_errno(5), Outcome::Errno(5));
    }

    #[test]
    fn texts() {
        let text = |outcome: Outcome| outcome.to_string();
        assert_eq!(
            text(Outcome::CheckCondition(UNSUPPORTED)),
            "CHECK CONDITION 5/25/00 (logical unit not supported)"
        );
        assert_eq!(
            text(Outcome::NoConnect(1)),
            "host status 01h (DID_NO_CONNECT)"
        );
        assert_eq!(text(Outcome::Status(0x40)), "status 40h (TASK ABORTED)");
        assert_eq!(text(Outcome::Overdue), "no answer yet");
    }
}
