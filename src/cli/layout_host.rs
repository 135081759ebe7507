//! The columns of what `psactl` reads from the kernel of this host itself: counters, readiness, open files, what a map
//! offloads. Names and order are ESXi 8's.
//!
//! What Linux does not count prints `n/a`, never 0: reservations and conflicts, blocks of I/O that failed, splits.

use super::decode;
use super::layout::{Column, Layout};
use super::record::{Style, Value};
use crate::api::types::DetachedDevice;
use crate::kernel::sysfs::statistics::{CommandCounters, IoCounters};
use crate::scsi::outcome::Outcome;

/// What is counted of something; `None` where it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reads and writes.
    pub io: Option<IoCounters>,
    /// SCSI commands.
    pub commands: Option<CommandCounters>,
}

impl Counters {
    /// These and others; what one of them lacks is that of the other.
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

/// What a read or write took on the average.
fn latency(us: Option<u64>) -> Value {
    us.map_or(NOT_COUNTED, |us| {
        Value::Text(format!("{}.{:03} ms", us / 1000, us % 1000))
    })
}

const NOT_COUNTED: Value = Value::Absent("n/a");

/// The columns of `stats get`, after those that say whose they are.
macro_rules! columns {
    ($($first:expr),* $(; $($last:expr),*)?) => {
        &[
            $($first,)*
            ("Successful Commands", |s| s.counters.of_commands(|c| c.good)),
            // In sectors of 512 bytes.
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
            // Ours.
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
    /// What is counted.
    pub counters: Counters,
    /// What a read or write took on the average, in microseconds.
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
        // Of the block layer and the SCSI mid-layer, since the agent started.
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
    /// What is counted.
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
    /// What is counted.
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
    /// How often it has the device open.
    pub count: u64,
    /// Name of the process; mount point, `swap`, or the map that is built on it.
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
    /// Whether zeroes are written by WRITE SAME; `None` if it cannot be told.
    pub zero: Option<bool>,
    /// Whether blocks are given back by UNMAP; `None` if it cannot be told.
    pub delete: Option<bool>,
}

impl Layout for Vaai {
    const KIND: &'static str = "VAAIStatus";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Device");
    const COLUMNS: &'static [Column<Self>] = &[
        // There are no VAAI plug-ins.
        ("VAAI Plugin Name", |_| "".into()),
        // dm-multipath passes neither COMPARE AND WRITE nor EXTENDED COPY on.
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
    /// WWID and further names.
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
    /// Bytes.
    pub physical: Option<u64>,
    /// Bytes.
    pub logical: Option<u64>,
    /// Of 512 bytes.
    pub sectors: Option<u64>,
    /// MiB.
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
    /// `dm-4`, `sda1`; the device itself by its own name.
    pub name: String,
    /// In sectors of 512 bytes; `None` where the kernel does not show it.
    pub start: Option<u64>,
    /// Of 512 bytes.
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
    /// What `core adapter list` says of it.
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
    /// Its node, `/dev/sg3`.
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
