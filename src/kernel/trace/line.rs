//! Parses the lines of `trace_pipe`: what the kernel prints for the events in [`super::instance::EVENTS`].
//!
//! Pure functions: text in, errors of ordinary I/O out. Fields are found by name, so another order of fields, or
//! additional fields of later kernels, do not matter. A line that lacks a field is [`Line::Unreadable`].
//! Tests: here, with lines of three kernels in `testdata/`.

use crate::psa::event::IoTrouble;
use crate::psa::units::{DevT, Hctl};
use crate::scsi::outcome::{Outcome, host_byte};
use crate::scsi::sense::Sense;

/// The meaning of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// An error of ordinary I/O.
    Trouble(IoTrouble),
    /// This many events were overwritten before they were read.
    Lost(u64),
    /// Not about ordinary I/O, or not one of the agent's events.
    Other,
    /// One of the agent's events, with a field missing.
    Unreadable,
}

/// The operation codes of reads, writes and cache flushes: what file systems send to a disk. All others (TEST UNIT
/// READY, INQUIRY, REPORT TARGET PORT GROUPS, MODE SENSE, ...) come from the agent or from tools. Discards and zeroing
/// are left out too, because a device may refuse them although nothing is wrong.
const ORDINARY: [u8; 16] = [
    0x08, 0x0a, 0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x7f, 0x88, 0x89, 0x8a, 0x8e, 0x8f, 0x91, 0xa8, 0xaa,
];

/// Parses a line, without its newline.
pub(super) fn read(line: &str) -> Line {
    if let Some(count) = lost(line) {
        return Line::Lost(count);
    }
    // The name of the event may follow a process name, a time and more. A process name has at most 15 bytes, so it
    // cannot contain the name of an event.
    let fields = |event| line.split_once(event).map(|(_, fields)| fields);
    let found = if let Some(fields) = fields("block_rq_error: ") {
        given_up(fields)
    } else if let Some(fields) = fields("scsi_eh_wakeup: ") {
        number(fields, "host_no=").map(IoTrouble::HostRecovers)
    } else if let Some(fields) = fields("scsi_dispatch_cmd_timeout: ") {
        match ordinary(fields) {
            Some(false) => return Line::Other,
            known => known.and_then(|_| path(fields)).map(IoTrouble::TimedOut),
        }
    } else if let Some(fields) = fields("scsi_dispatch_cmd_error: ") {
        match ordinary(fields) {
            Some(false) => return Line::Other,
            known => known.and_then(|_| path(fields)).map(IoTrouble::NotTaken),
        }
    } else if let Some(fields) = fields("scsi_dispatch_cmd_done: ") {
        match (ordinary(fields), outcome(fields)) {
            (Some(false), _) | (_, Some(Outcome::Good)) => return Line::Other,
            (Some(true), Some(outcome)) => {
                path(fields).map(|path| IoTrouble::Ended { path, outcome })
            }
            _ => None,
        }
    } else {
        return Line::Other;
    };
    found.map_or(Line::Unreadable, Line::Trouble)
}

/// `CPU:1 [LOST 56 EVENTS]`; if there is no number, the kernel does not know it, and it counts as 1.
fn lost(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("CPU:")?;
    let (_, rest) = rest.split_once("[LOST ")?;
    let count = rest.split(' ').next()?;
    Some(count.parse().unwrap_or(1))
}

/// `8,16 RS () 8 + 8 be,0,4 [-121]`
fn given_up(fields: &str) -> Option<IoTrouble> {
    let (major, minor) = fields.split(' ').next()?.split_once(',')?;
    let disk = DevT {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    };
    let (_, error) = fields.rsplit_once('[')?;
    let error: i32 = error.trim_end().strip_suffix(']')?.parse().ok()?;
    let errno = error.checked_abs()?;
    Some(IoTrouble::GivenUp { disk, errno })
}

/// Whether the command is ordinary I/O, by the first byte of `raw=28 00 ...`.
fn ordinary(fields: &str) -> Option<bool> {
    let opcode = value(fields, "raw=")?;
    let opcode = u8::from_str_radix(opcode.get(..2)?, 16).ok()?;
    Some(ORDINARY.contains(&opcode))
}

fn path(fields: &str) -> Option<Hctl> {
    Some(Hctl {
        host: number(fields, "host_no=")?,
        channel: number(fields, "channel=")?,
        target: number(fields, " id=")?,
        // The kernel's events have only the lower 32 bits. Disks do not use longer LUNs.
        lun: u64::from(number(fields, " lun=")?),
    })
}

/// Parses `result=(driver=DRIVER_OK host=DID_OK message=COMMAND_COMPLETE status=SAM_STAT_CHECK_CONDITION)
/// sense=(key=0x5 asc=0x21 ascq=0x0)`; the kernel prints values without a name as numbers.
fn outcome(fields: &str) -> Option<Outcome> {
    let (_, result) = fields.split_once("result=(")?;
    let host = value(result, "host=")?;
    let host = host_byte(host).or_else(|| byte(host))?;
    let status = value(result, "status=")?;
    let status = status_byte(status).or_else(|| byte(status))?;
    let part = |name| value(result, name).and_then(byte);
    let sense = match (part("key="), part("asc="), part("ascq=")) {
        (Some(key), Some(asc), Some(ascq)) => Sense { key, asc, ascq }.to_fixed(),
        _ => Vec::new(),
    };
    Some(Outcome::from_sg(status, host, 0, &sense))
}

/// SAM status codes by the kernel's names.
fn status_byte(name: &str) -> Option<u8> {
    let status = match name.strip_prefix("SAM_STAT_")? {
        "GOOD" => 0x00,
        "CHECK_CONDITION" => 0x02,
        "CONDITION_MET" => 0x04,
        "BUSY" => 0x08,
        "INTERMEDIATE" => 0x10,
        "INTERMEDIATE_CONDITION_MET" => 0x14,
        "RESERVATION_CONFLICT" => 0x18,
        "COMMAND_TERMINATED" => 0x22,
        "TASK_SET_FULL" => 0x28,
        "ACA_ACTIVE" => 0x30,
        "TASK_ABORTED" => 0x40,
        _ => return None,
    };
    Some(status)
}

fn byte(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("0x")?;
    u8::from_str_radix(hex, 16).ok()
}

fn number(fields: &str, name: &str) -> Option<u32> {
    value(fields, name)?.parse().ok()
}

/// The text after `name`, up to a space or a bracket.
fn value<'a>(fields: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = fields.split_once(name)?;
    rest.split([' ', ')']).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPTURED: [(&str, &str); 3] = [
        ("6.1", include_str!("testdata/pipe-6.1.txt")),
        ("6.12", include_str!("testdata/pipe-6.12.txt")),
        ("7", include_str!("testdata/pipe-7.txt")),
    ];

    fn hctl(text: &str) -> Hctl {
        text.parse().unwrap()
    }

    fn given_up(minor: u32, errno: i32) -> Line {
        let disk = DevT { major: 8, minor };
        Line::Trouble(IoTrouble::GivenUp { disk, errno })
    }

    #[test]
    fn every_line_of_three_kernels_is_understood() {
        for (kernel, text) in CAPTURED {
            for line in text.lines() {
                assert_ne!(read(line), Line::Unreadable, "{kernel}: {line}");
            }
        }
    }

    #[test]
    fn each_ending_of_a_read_is_distinguished() {
        let lines: Vec<Line> = CAPTURED[1].1.lines().map(read).collect();
        let path = hctl("0:0:0:1");
        let ended = |outcome| Line::Trouble(IoTrouble::Ended { path, outcome });
        let check = |key, asc, ascq| ended(Outcome::CheckCondition(Sense { key, asc, ascq }));
        let wanted = [
            check(5, 0x21, 0),
            given_up(16, 121),
            check(5, 0x25, 0),
            given_up(16, 5),
            check(4, 0x44, 0),
            given_up(16, 121),
            check(3, 0x11, 0),
            given_up(16, 61),
            check(2, 4, 3),
            given_up(16, 5),
            check(7, 0x27, 0),
            given_up(16, 121),
            ended(Outcome::NoConnect(1)),
            given_up(16, 5),
            ended(Outcome::Retry(0x0e)),
            ended(Outcome::Retry(0x14)),
            given_up(16, 67),
            ended(Outcome::ReservationConflict),
            given_up(16, 52),
            ended(Outcome::Busy),
            Line::Trouble(IoTrouble::NotTaken(path)),
            Line::Trouble(IoTrouble::TimedOut(path)),
            Line::Trouble(IoTrouble::HostRecovers(0)),
            // Without process names, and after reports were overwritten.
            Line::Lost(56),
            Line::Trouble(IoTrouble::Ended {
                path: hctl("1:0:0:1"),
                outcome: Outcome::CheckCondition(Sense {
                    key: 3,
                    asc: 0x11,
                    ascq: 0,
                }),
            }),
            given_up(48, 61),
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn commands_that_are_not_ordinary_io_are_left_out() {
        let line = CAPTURED[1].1.lines().next().unwrap();
        for opcode in ["00", "12", "a3", "1a", "9e", "42", "93"] {
            let other = line.replace("raw=28", &format!("raw={opcode}"));
            assert_eq!(read(&other), Line::Other, "{opcode}");
            let timeout = other.replace("cmd_done", "cmd_timeout");
            assert_eq!(read(&timeout), Line::Other, "{opcode}");
        }
    }

    #[test]
    fn a_line_without_a_field_is_not_misread() {
        for line in [
            "block_rq_error: 8 RS () 8 + 8 [-5]",
            "block_rq_error: 8,16 RS () 8 + 8 be,0,4",
            "block_rq_error: 8,16 [-2147483648]",
            "scsi_eh_wakeup: host=1",
            "scsi_dispatch_cmd_timeout: host_no=1 channel=0 lun=1 cmnd=(READ_10 raw=28 00)",
            "scsi_dispatch_cmd_done: host_no=1 channel=0 id=0 lun=1 cmnd=(READ_10 raw=28)",
        ] {
            assert_eq!(read(line), Line::Unreadable, "{line}");
        }
        assert_eq!(read("CPU:1 [LOST EVENTS]"), Line::Lost(1));
        assert_eq!(read("sched_switch: prev_comm=x"), Line::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&String::from_utf8_lossy(&bytes));
        }

        /// Lines with damage anywhere.
        #[test]
        fn damaged_lines_are_read(
            kernel in 0..3_usize,
            number in any::<prop::sample::Index>(),
            from in any::<prop::sample::Index>(),
            cut in 0..40_usize,
            put in "\\PC{0,12}",
        ) {
            let lines: Vec<&str> = CAPTURED[kernel].1.lines().collect();
            let line: Vec<char> = lines[number.index(lines.len())].chars().collect();
            let from = from.index(line.len());
            let until = (from + cut).min(line.len());
            let damaged: String = line[..from].iter().copied().chain(put.chars()).chain(line[until..].iter().copied()).collect();
            let _ = read(&damaged);
        }
    }
}
