//! Reads the kernel's counters of disks, maps and SCSI devices.
//!
//! | counters | source | what is counted |
//! |---|---|---|
//! | [`IoCounters`] | `/sys/class/block/*/stat` (kernel `Documentation/block/stat.rst`) | completed reads and writes, whether they succeeded or not; no pass-through commands |
//! | [`CommandCounters`] | `/sys/class/scsi_device/*/device/io*_cnt` | every SCSI command, checks and INQUIRY included |
//!
//! All of them count from the creation of the device. Property tests are in `tests/host_tools.rs`.

use super::tree::{Sysfs, attribute};
use crate::psa::units::Hctl;

/// The fields of `stat` since Linux 2.6; later kernels append more.
const FIELDS: usize = 11;

/// What the block layer counts for a disk or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoCounters {
    /// Completed reads.
    pub reads: u64,
    /// Sectors of the reads, of 512 bytes regardless of the device's block size.
    pub sectors_read: u64,
    /// Completed writes.
    pub writes: u64,
    /// Sectors of the writes.
    pub sectors_written: u64,
    /// Total time of the reads in ms, from queueing to completion.
    pub read_ms: u64,
    /// Total time of the writes in ms.
    pub write_ms: u64,
    /// Reads and writes in flight now.
    pub in_flight: u64,
}

impl IoCounters {
    /// Parses a line of `stat`; `None` if it has fewer than 11 fields, or a field that is not a number.
    #[must_use]
    pub fn parse(line: &str) -> Option<IoCounters> {
        let fields = line
            .split_ascii_whitespace()
            .map(|field| field.parse().ok());
        let fields: Vec<u64> = fields.collect::<Option<_>>()?;
        match fields[..] {
            // Read: I/Os, merges, sectors, ticks. Write: the same. In flight, ticks, time in queue; more on later
            // kernels.
            [
                reads,
                _,
                sectors_read,
                read_ms,
                writes,
                _,
                sectors_written,
                write_ms,
                in_flight,
                ..,
            ] if fields.len() >= FIELDS => Some(IoCounters {
                reads,
                sectors_read,
                writes,
                sectors_written,
                read_ms,
                write_ms,
                in_flight,
            }),
            _ => None,
        }
    }

    /// The difference from an earlier reading; `None` if a counter went down, because these are counters of another
    /// disk.
    #[must_use]
    pub fn since(self, earlier: IoCounters) -> Option<IoCounters> {
        Some(IoCounters {
            reads: self.reads.checked_sub(earlier.reads)?,
            sectors_read: self.sectors_read.checked_sub(earlier.sectors_read)?,
            writes: self.writes.checked_sub(earlier.writes)?,
            sectors_written: self.sectors_written.checked_sub(earlier.sectors_written)?,
            read_ms: self.read_ms.checked_sub(earlier.read_ms)?,
            write_ms: self.write_ms.checked_sub(earlier.write_ms)?,
            in_flight: self.in_flight,
        })
    }

    /// The average time of a read or write in microseconds; `None` if none was completed.
    #[must_use]
    pub(crate) fn latency_us(self) -> Option<u64> {
        let ended = self.reads.saturating_add(self.writes);
        let took = self.read_ms.saturating_add(self.write_ms);
        took.saturating_mul(1000).checked_div(ended)
    }

    /// The sum of two sets of counters, saturating.
    #[must_use]
    pub fn plus(self, other: IoCounters) -> IoCounters {
        IoCounters {
            reads: self.reads.saturating_add(other.reads),
            sectors_read: self.sectors_read.saturating_add(other.sectors_read),
            writes: self.writes.saturating_add(other.writes),
            sectors_written: self.sectors_written.saturating_add(other.sectors_written),
            read_ms: self.read_ms.saturating_add(other.read_ms),
            write_ms: self.write_ms.saturating_add(other.write_ms),
            in_flight: self.in_flight.saturating_add(other.in_flight),
        }
    }
}

/// What the SCSI mid-layer counts for a device (`scsi_complete`, `scsi_timeout`). The kernel's counters have 32 bits
/// and wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandCounters {
    /// Commands that ended with GOOD.
    pub good: u64,
    /// Commands that ended with anything else: CHECK CONDITION, a host byte.
    pub failed: u64,
    /// Commands that the kernel's timer expired for; `None` before Linux 6.2.
    pub timed_out: Option<u64>,
}

impl CommandCounters {
    /// Computes the counters from `iodone_cnt`, `ioerr_cnt` and `iotmo_cnt`.
    fn of(done: u32, errors: u32, timeouts: Option<u32>) -> CommandCounters {
        CommandCounters {
            // Both wrap around, but not at the same time.
            good: done.wrapping_sub(errors).into(),
            failed: errors.into(),
            timed_out: timeouts.map(u64::from),
        }
    }

    /// The sum of two sets of counters.
    #[must_use]
    pub fn plus(self, other: CommandCounters) -> CommandCounters {
        let timed_out = match (self.timed_out, other.timed_out) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (one, None) | (None, one) => one,
        };
        CommandCounters {
            good: self.good.saturating_add(other.good),
            failed: self.failed.saturating_add(other.failed),
            timed_out,
        }
    }
}

/// Parses a counter of a SCSI device: `0x1a`. The kernel prints it as a signed number (`show_sdev_iostat`), so a
/// counter of 2^31 or more has all upper bits set; the lower 32 are the counter.
#[must_use]
pub fn parse_command_counter(text: &str) -> Option<u32> {
    let digits = text.trim().strip_prefix("0x")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    u32::try_from(number & u64::from(u32::MAX)).ok()
}

impl Sysfs {
    /// The I/O counters of a block device, by its kernel name.
    #[must_use]
    pub(crate) fn io_counters(&self, block: &str) -> Option<IoCounters> {
        IoCounters::parse(&attribute(&self.sys(&format!("class/block/{block}/stat")))?)
    }

    /// The I/O counters of a path's disk. The file is found by the address, because the name of a removed disk is
    /// reused.
    #[must_use]
    pub(crate) fn io_counters_of(&self, path: Hctl, disk: &str) -> Option<IoCounters> {
        let file = self.device_file(path, &format!("block/{disk}/stat"));
        IoCounters::parse(&attribute(&file)?)
    }

    /// The command counters of a SCSI device.
    #[must_use]
    pub(crate) fn command_counters(&self, path: Hctl) -> Option<CommandCounters> {
        let counter =
            |name: &str| parse_command_counter(&attribute(&self.device_file(path, name))?);
        Some(CommandCounters::of(
            counter("iodone_cnt")?,
            counter("ioerr_cnt")?,
            counter("iotmo_cnt"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_every_kernel_is_read() {
        let wanted = IoCounters {
            reads: 8,
            sectors_read: 128,
            writes: 3,
            sectors_written: 24,
            read_ms: 12,
            write_ms: 35,
            in_flight: 0,
        };
        for line in [
            // Linux 2.6, 4.18 (discards), 5.5 (flushes).
            "       8        0      128       12        3        0       24       35        0       48       47\n",
            "8 0 128 12 3 0 24 35 0 48 47 0 0 0 0",
            "8 0 128 12 3 0 24 35 0 48 47 0 0 0 0 2 5",
        ] {
            assert_eq!(IoCounters::parse(line), Some(wanted), "{line}");
        }
        for line in [
            "",
            "8 0 128 12 3 0 24",
            "8 0 128 12 3 0 24 35 0 48 x",
            "a b",
        ] {
            assert_eq!(IoCounters::parse(line), None, "{line}");
        }
    }

    #[test]
    fn latency_is_that_of_the_io_between_two_readings() {
        let at = |reads, read_ms| IoCounters {
            reads,
            read_ms,
            writes: 5,
            ..IoCounters::default()
        };
        let (before, after) = (at(100, 40), at(120, 840));
        assert_eq!(before.latency_us(), Some(380));
        let between = after.since(before).unwrap();
        assert_eq!(between.latency_us(), Some(40_000));
        assert_eq!(before.since(before).unwrap().latency_us(), None);
        assert_eq!(before.since(after), None);
    }

    #[test]
    fn counters_of_commands_lose_their_sign() {
        assert_eq!(parse_command_counter("0x1a\n"), Some(26));
        assert_eq!(
            parse_command_counter("0xffffffff80000001"),
            Some(0x8000_0001)
        );
        for text in ["", "26", "0x", "0xg", "0x1ffffffffffffffff"] {
            assert_eq!(parse_command_counter(text), None, "{text}");
        }
        assert_eq!(CommandCounters::of(1, u32::MAX, None).good, 2);
    }
}
