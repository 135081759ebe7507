//! The live view of devices and their paths: what the agent reports, and what the kernel counted in an interval.
//!
//! Input: the records of `GetTopology` and two [`Reading`]s of `stat` in sysfs. Output: [`DeviceRow`]s, and from these
//! and a [`View`] the lines of a screen ([`screen`]). Invariants: no line is wider than the window, and no byte from a
//! device reaches the terminal as a control character. Tests: `tests/views.rs`, screens in `tests/golden/top/`.

pub mod screen;

use crate::api::types::{Topology, TopologyPath};
use crate::kernel::sysfs::Sysfs;
use crate::kernel::sysfs::statistics::IoCounters;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The counters of maps and paths at one time, by the kernel name of a map and the address of a path.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The time of the reading.
    pub at: Instant,
    /// The counters of maps (`dm-3`) and paths (`2:0:0:1`).
    pub counters: HashMap<String, IoCounters>,
}

impl Reading {
    /// Reads the counters of these devices.
    #[must_use]
    pub fn of(host: &Sysfs, devices: &[Topology]) -> Reading {
        let mut counters = HashMap::new();
        for device in devices {
            if let Some(map) = &device.map
                && let Some(io) = host.io_counters(map)
            {
                counters.insert(map.clone(), io);
            }
            for path in &device.paths {
                let disk = path.disk.as_deref();
                let address = path.hctl.parse().ok();
                if let (Some(disk), Some(address)) = (disk, address)
                    && let Some(io) = host.io_counters_of(address, disk)
                {
                    counters.insert(path.hctl.clone(), io);
                }
            }
        }
        let at = Instant::now();
        Reading { at, counters }
    }
}

/// The I/O in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Completed reads and writes per second.
    pub iops: f64,
    /// MB (10^6 bytes) per second.
    pub megabytes: f64,
    /// The average latency of a read or write, in ms; `None` if none was completed.
    pub latency: Option<f64>,
    /// The number of I/Os in flight now.
    pub in_flight: u64,
    /// The number of completed reads and writes.
    ended: u64,
}

impl Load {
    #[allow(clippy::cast_precision_loss, reason = "a few digits are shown")]
    fn between(before: &IoCounters, now: &IoCounters, time: Duration) -> Option<Load> {
        let seconds = time.as_secs_f64();
        let ios = |io: &IoCounters| io.reads.checked_add(io.writes);
        let sectors = |io: &IoCounters| io.sectors_read.checked_add(io.sectors_written);
        let millis = |io: &IoCounters| io.read_ms.checked_add(io.write_ms);
        // Counters that decreased belong to another disk.
        let ended = ios(now)?.checked_sub(ios(before)?)?;
        let sectors = sectors(now)?.checked_sub(sectors(before)?)?;
        let took = millis(now)?.checked_sub(millis(before)?)?;
        (seconds > 0.0).then(|| Load {
            iops: ended as f64 / seconds,
            megabytes: sectors as f64 * 512.0 / 1e6 / seconds,
            latency: (ended > 0).then(|| took as f64 / ended as f64),
            in_flight: now.in_flight,
            ended,
        })
    }
}

/// A device in the view.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceRow {
    /// `naa.6001...`
    pub name: String,
    /// Its status, or that it is in APD (all paths down).
    pub state: String,
    /// Whether it needs attention.
    pub is_problem: bool,
    /// The load of the map, or of the disk if the device has no map.
    pub load: Option<Load>,
    /// Its paths.
    pub paths: Vec<PathRow>,
}

/// A path in the view.
#[derive(Debug, Clone, PartialEq)]
pub struct PathRow {
    /// `vmhba2:C0:T0:L1`
    pub name: String,
    /// `sdc`; empty if it has none.
    pub disk: String,
    /// Its state.
    pub state: String,
    /// The load of its disk.
    pub load: Option<Load>,
    /// Its share of the I/O on all paths of the device, in percent.
    pub share: Option<u64>,
}

/// The rows for these devices, with the I/O between two readings.
#[must_use]
pub fn rows(devices: &[Topology], before: Option<&Reading>, now: &Reading) -> Vec<DeviceRow> {
    let load = |key: &str| {
        let before = before?;
        let time = now.at.checked_duration_since(before.at)?;
        Load::between(before.counters.get(key)?, now.counters.get(key)?, time)
    };
    devices.iter().map(|device| row(device, &load)).collect()
}

fn row(device: &Topology, load: &impl Fn(&str) -> Option<Load>) -> DeviceRow {
    let loads: Vec<(&TopologyPath, Option<Load>)> = device
        .paths
        .iter()
        .map(|path| (path, load(&path.hctl)))
        .collect();
    let all: u64 = loads
        .iter()
        .filter_map(|(_, load)| load.map(|load| load.ended))
        .fold(0, u64::saturating_add);
    let state = match (device.apd_seconds, device.queueing) {
        (Some(seconds), true) => format!("apd {seconds}s queue"),
        (Some(seconds), false) => format!("apd {seconds}s fail"),
        (None, _) => device.status.clone(),
    };
    let own = match &device.map {
        Some(map) => load(map),
        None => loads.first().and_then(|(_, load)| *load),
    };
    DeviceRow {
        name: device.device.clone(),
        is_problem: !matches!(device.status.as_str(), "on" | "off") || device.apd_seconds.is_some(),
        state,
        load: own,
        paths: loads
            .into_iter()
            .map(|(path, load)| PathRow {
                name: path.runtime_name.clone(),
                disk: path.disk.clone().unwrap_or_default(),
                state: path.state.clone(),
                share: load.and_then(|load| load.ended.saturating_mul(100).checked_div(all)),
                load,
            })
            .collect(),
    }
}

/// The sort order of devices; devices that compare equal are sorted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Sort {
    /// I/Os per second, highest first.
    #[default]
    Iops,
    /// Bytes per second, highest first.
    Throughput,
    /// Latency, highest first.
    Latency,
    /// I/O in flight, highest first.
    Inflight,
    /// Devices with a problem first.
    State,
    /// Name.
    Name,
}

impl Sort {
    /// The next order, for the key `s`.
    #[must_use]
    pub fn next(self) -> Sort {
        match self {
            Sort::Iops => Sort::Throughput,
            Sort::Throughput => Sort::Latency,
            Sort::Latency => Sort::Inflight,
            Sort::Inflight => Sort::State,
            Sort::State => Sort::Name,
            Sort::Name => Sort::Iops,
        }
    }

    /// The name of the order.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Sort::Iops => "iops",
            Sort::Throughput => "throughput",
            Sort::Latency => "latency",
            Sort::Inflight => "inflight",
            Sort::State => "state",
            Sort::Name => "name",
        }
    }

    /// Sorts devices.
    pub fn sort(self, rows: &mut [DeviceRow]) {
        let key = |row: &DeviceRow| {
            let load = row.load.unwrap_or_default();
            match self {
                Sort::Iops => load.iops,
                Sort::Throughput => load.megabytes,
                Sort::Latency => load.latency.unwrap_or(-1.0),
                #[allow(clippy::cast_precision_loss, reason = "an order")]
                Sort::Inflight => load.in_flight as f64,
                Sort::State => f64::from(u8::from(row.is_problem)),
                Sort::Name => 0.0,
            }
        };
        rows.sort_by(|a, b| match key(b).total_cmp(&key(a)) {
            Ordering::Equal => a.name.cmp(&b.name),
            order => order,
        });
    }
}

/// What the user chose to see.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The sort order.
    pub sort: Sort,
    /// Only devices with a problem.
    pub problems: bool,
    /// No new readings are taken.
    pub paused: bool,
    /// Show the help instead of the devices.
    pub help: bool,
    /// Number of rows scrolled past.
    pub skipped: usize,
    /// The time between two readings.
    pub delay: Duration,
    /// Why the agent does not answer.
    pub trouble: Option<String>,
}
