//! The columns of data that `psactl` reads from the kernel of this host itself: counters, readiness, open files,
//! offloads of maps. Names and order are those of ESXi 8.
//!
//! Values that Linux does not count are printed as `n/a`, never as 0: reservations and conflicts, blocks of failed I/O,
//! splits.

use super::decode;
use super::layout::{Column, Layout};
use super::record::{Style, Value};
use crate::api::types::DetachedDevice;
use crate::kernel::sysfs::statistics::{CommandCounters, IoCounters};
use crate::scsi::outcome::Outcome;

/// Counters of an object; `None` where they cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reads and writes.
    pub io: Option<IoCounters>,
    /// SCSI commands.
    pub commands: Option<CommandCounters>,
}

impl Counters {
    /// The sum of both; if one lacks a kind of counters, those of the other are used.
    #[must_use]
    pub fn plus(self, other: Counters) -> Counters {
        Counters {
            io: match (self.io, other.io) {
                (Some(a), Some(b)) => Some(a.plus(b)),
                (one, None) | (None, one) => one,
            },
            commands: match (self.commands, other.commands) {
                (Some(a), Some(b)) => Some(a.plus(b)),
                (one, None) | (None, one) => one,
            },
        }
    }

    fn of_io(&self, number: fn(IoCounters) -> u64) -> Value {
        count(self.io.map(number))
    }

    fn of_commands(&self, number: fn(CommandCounters) -> u64) -> Value {
        count(self.commands.map(number))
    }
}

fn count(number: Option<u64>) -> Value {
    number.map_or(NOT_COUNTED, Value::from)
}

/// The average latency of a read or write.
fn latency(us: Option<u64>) -> Value {
    us.map_or(NOT_COUNTED, |us| {
        Value::Text(format!("{}.{:03} ms", us / 1000, us % 1000))
    })
}

const NOT_COUNTED: Value = Value::Absent("n/a");

/// The columns of `stats get`, after those that identify the object.
macro_rules! columns {
    ($($first:expr),* $(; $($last:expr),*)?) => {
        &[
            $($first,)*
            ("Successful Commands", |s| s.counters.of_commands(|c| c.good)),
            // Blocks are sectors of 512 bytes.
            ("Blocks Read", |s| s.counters.of_io(|c| c.sectors_read)),
            ("Blocks Written", |s| s.counters.of_io(|c| c.sectors_written)),
            ("Read Operations", |s| s.counters.of_io(|c| c.reads)),
            ("Write Operations", |s| s.counters.of_io(|c| c.writes)),
            ("Reserve Operations", |_| NOT_COUNTED),
            ("Reservation Conflicts", |_| NOT_COUNTED),
            ("Failed Commands", |s| s.counters.of_commands(|c| c.failed)),
            ("Failed Blocks Read", |_| NOT_COUNTED),
            ("Failed Blocks Written", |_| NOT_COUNTED),
            ("Failed Read Operations", |_| NOT_COUNTED),
            ("Failed Write Operations", |_| NOT_COUNTED),
            ("Failed Reserve Operations", |_| NOT_COUNTED),
            ("Total Splits", |_| NOT_COUNTED),
            ("PAE Commands", |_| NOT_COUNTED),
            // Additional columns that ESXi does not have.
            ("Commands Timed Out", |s| {
                count(s.counters.commands.and_then(|c| c.timed_out))
            }),
            $($($last,)*)?
        ]
    };
}

/// A record of `core path stats get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStats {
    /// `fc.W:W-fc.W:W-naa.6001...`
    pub uid: String,
    /// `vmhba2:C0:T0:L1`
    pub runtime_name: String,
    /// Its counters.
    pub counters: Counters,
    /// The average latency of a read or write, in microseconds.
    pub latency_us: Option<u64>,
    /// Errors of ordinary I/O: `3 timeout`.
    pub io_errors: Vec<String>,
}

impl Layout for PathStats {
    const KIND: &'static str = "PathStats";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("UID");
    const COLUMNS: &'static [Column<Self>] = columns![
        ("Runtime Name", |s| (&s.runtime_name).into());
        ("Average Latency", |s| latency(s.latency_us)),
        // Errors that the block layer and the SCSI mid-layer reported since the agent started.
        ("I/O Errors Reported", |s| (&s.io_errors).into())
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.uid)
    }
}

/// A record of `core device stats get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStats {
    /// `naa.6001...`
    pub device: String,
    /// Its counters.
    pub counters: Counters,
}

impl Layout for DeviceStats {
    const KIND: &'static str = "DeviceStats";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Device");
    const COLUMNS: &'static [Column<Self>] = columns![("Device", |s| (&s.device).into())];

    fn heading(&self) -> Option<&str> {
        Some(&self.device)
    }
}

/// A record of `core adapter stats get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterStats {
    /// `vmhba2`
    pub adapter: String,
    /// Its counters.
    pub counters: Counters,
}

impl Layout for AdapterStats {
    const KIND: &'static str = "AdapterStats";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Adapter");
    const COLUMNS: &'static [Column<Self>] = columns![("Adapter", |s| (&s.adapter).into())];

    fn heading(&self) -> Option<&str> {
        Some(&self.adapter)
    }
}

/// A record of `core device world list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// `naa.6001...`
    pub device: String,
    /// Process id; 0 is the kernel.
    pub id: u32,
    /// How many times it has the device open.
    pub count: u64,
    /// The name of the process; a mount point, `swap`, or the map that is built on the device.
    pub name: String,
}

impl Layout for World {
    const KIND: &'static str = "DeviceWorld";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device", |w| (&w.device).into()),
        ("World ID", |w| w.id.into()),
        ("Open Count", |w| w.count.into()),
        ("World Name", |w| (&w.name).into()),
    ];
}

/// A record of `core device vaai status get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vaai {
    /// `naa.6001...`
    pub device: String,
    /// Whether zeroes are written by WRITE SAME; `None` if this is not known.
    pub zero: Option<bool>,
    /// Whether blocks are released by UNMAP; `None` if this is not known.
    pub delete: Option<bool>,
}

impl Layout for Vaai {
    const KIND: &'static str = "VAAIStatus";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Device");
    const COLUMNS: &'static [Column<Self>] = &[
        // There are no VAAI plug-ins.
        ("VAAI Plugin Name", |_| "".into()),
        // dm-multipath does not pass on COMPARE AND WRITE or EXTENDED COPY.
        ("ATS Status", |_| support(Some(false))),
        ("Clone Status", |_| support(Some(false))),
        ("Zero Status", |v| support(v.zero)),
        ("Delete Status", |v| support(v.delete)),
    ];

    fn heading(&self) -> Option<&str> {
        Some(&self.device)
    }
}

fn support(supported: Option<bool>) -> Value {
    match supported {
        Some(true) => "supported".into(),
        Some(false) => "unsupported".into(),
        None => "unknown".into(),
    }
}

impl Layout for DetachedDevice {
    const KIND: &'static str = "DetachedDevice";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device UID", |d| (&d.device).into()),
        ("State", |d| (&d.state).into()),
    ];
}

/// A record of `core device uid list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceUid {
    /// `naa.6001...`
    pub device: String,
    /// The WWID and additional names.
    pub other: Vec<String>,
}

impl Layout for DeviceUid {
    const KIND: &'static str = "DeviceUid";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device UID", |d| (&d.device).into()),
        ("Other UIDs", |d| Value::List(d.other.clone())),
    ];
}

/// A record of `core device capacity list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// `naa.6001...`
    pub device: String,
    /// Physical block size in bytes.
    pub physical: Option<u64>,
    /// Logical block size in bytes.
    pub logical: Option<u64>,
    /// Number of sectors of 512 bytes.
    pub sectors: Option<u64>,
    /// Size in MiB.
    pub size_mib: u64,
}

impl Layout for Capacity {
    const KIND: &'static str = "DeviceCapacity";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device", |c| (&c.device).into()),
        ("Physical Blocksize", |c| count(c.physical)),
        ("Logical Blocksize", |c| count(c.logical)),
        ("Logical Block Count", |c| {
            let blocks = |bytes: u64| c.sectors?.checked_mul(512)?.checked_div(bytes);
            count(c.logical.and_then(blocks))
        }),
        ("Size (MiB)", |c| c.size_mib.into()),
    ];
}

/// A record of `core device partition list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// `naa.6001...`
    pub device: String,
    /// `dm-4`, `sda1`; for the device itself, its own name.
    pub name: String,
    /// First sector, in units of 512 bytes; `None` where the kernel does not show it.
    pub start: Option<u64>,
    /// Number of sectors of 512 bytes.
    pub sectors: u64,
}

impl Layout for Partition {
    const KIND: &'static str = "DevicePartition";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device", |p| (&p.device).into()),
        ("Partition", |p| (&p.name).into()),
        ("Start Sector", |p| count(p.start)),
        ("End Sector", |p| {
            count(p.start.and_then(|start| start.checked_add(p.sectors)))
        }),
        ("Size", |p| count(p.sectors.checked_mul(512))),
    ];
}

/// A record of `core adapter device list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterDevice {
    /// `vmhba2`
    pub adapter: String,
    /// `naa.6001...`
    pub device: String,
}

impl Layout for AdapterDevice {
    const KIND: &'static str = "AdapterDevice";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("HBA", |p| (&p.adapter).into()),
        ("Device UID", |p| (&p.device).into()),
    ];
}

/// A record of `core adapter capabilities list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// `vmhba2`
    pub adapter: String,
    /// Its capabilities, as in `core adapter list`.
    pub capabilities: String,
}

impl Layout for Capabilities {
    const KIND: &'static str = "AdapterCapabilities";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("HBA", |c| (&c.adapter).into()),
        ("Capabilities", |c| (&c.capabilities).into()),
    ];
}

/// The answer to TEST UNIT READY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Its device node, `/dev/sg3`.
    pub device: String,
    /// Its address, `2:0:0:1`.
    pub address: String,
    /// How the command ended.
    pub outcome: Outcome,
}

impl Layout for Readiness {
    const KIND: &'static str = "Readiness";
    const STYLE: Style = Style::Sheet;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Device", |r| (&r.device).into()),
        ("Linux Address", |r| (&r.address).into()),
        ("State", |r| {
            let ready = r.outcome.carried_out();
            Value::State((if ready { "ready" } else { "not ready" }).to_owned())
        }),
        ("Status", |r| (&r.outcome.to_string()).into()),
        ("Meaning", |r| decode::advice(&r.outcome).into()),
    ];
}
