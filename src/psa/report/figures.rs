//! A snapshot of all counters, from which metrics are made.

use crate::psa::adapter::RuntimeName;
use crate::psa::evidence::PathState;
use crate::psa::state::device::Device;
use crate::psa::state::hints::IoErrors;
use crate::psa::state::outages::Apd;
use crate::psa::state::path::Path;
use crate::psa::state::statistics::{DeviceStatistics, PathStatistics, Statistics};
use crate::psa::state::{Counters, World};
use crate::psa::units::Millis;

/// All counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// What the agent did.
    pub counters: Counters,
    /// Counters of the world as a whole.
    pub statistics: Statistics,
    /// Number of maps.
    pub maps: u64,
    /// Whether everything that is known has been acted upon.
    pub settled: bool,
    /// In the order of their ids.
    pub devices: Vec<DeviceFigures>,
    /// Paths that belong to no device.
    pub alone: Vec<PathFigures>,
}

/// The figures of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFigures {
    /// `naa.6001...`
    pub id: String,
    /// ESXi's word for its status, or one of [`APD_STATES`] while all paths are down.
    pub state: &'static str,
    /// Counters.
    pub statistics: DeviceStatistics,
    /// How long I/O was queued because there was no path.
    pub queueing: Millis,
    /// How long there was no path, whether I/O was queued or not.
    pub without_path: Millis,
    /// The longest time without a path.
    pub longest_without_path: Millis,
    /// Number of moves to another controller that this host had the array make.
    pub takeovers_ordered: u64,
    /// Number of moves that other hosts or the array itself made.
    pub takeovers_seen: u64,
    /// Whether it is waiting for permission to have the array move it.
    pub waits_for_takeover: bool,
    /// Its paths.
    pub paths: Vec<PathFigures>,
}

/// The figures of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFigures {
    /// Its runtime name.
    pub name: RuntimeName,
    /// Its state.
    pub state: PathState,
    /// Counters.
    pub statistics: PathStatistics,
    /// Errors of ordinary I/O, by kind.
    pub io_errors: IoErrors,
}

/// The states while all paths are down: I/O is queued, or I/O fails.
pub(crate) const APD_STATES: [&str; 2] = ["apd", "apd timeout"];

impl World {
    /// All counters. `now` is the agent's time, for periods that have not ended yet.
    #[must_use]
    pub fn figures(&self, now: Millis) -> Figures {
        let now = self.now.max(now);
        let mut devices: Vec<DeviceFigures> = self
            .devices()
            .map(|device| self.device_figures(device, now))
            .collect();
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        let of_device = |id, path| self.device_of(path).is_some_and(|d| d.paths().contains(id));
        let alone = self.paths().filter(|(id, path)| !of_device(id, path));
        Figures {
            counters: self.counters,
            statistics: self.statistics.clone(),
            maps: u64::try_from(self.maps.len()).unwrap_or(u64::MAX),
            settled: self.is_settled(),
            devices,
            alone: alone.map(|(_, path)| figures_of(path)).collect(),
        }
    }

    fn device_figures(&self, device: &Device, now: Millis) -> DeviceFigures {
        let [queued, timed_out] = APD_STATES;
        let (queueing, without_path) = device.statistics.spans(device.apd(), now);
        DeviceFigures {
            id: device.id().to_string(),
            state: match device.apd() {
                Apd::No | Apd::Lost { .. } => self.device_status(device),
                Apd::Waiting { .. } => queued,
                Apd::TimedOut { .. } => timed_out,
            },
            queueing,
            without_path,
            longest_without_path: device.statistics.longest(now),
            takeovers_ordered: device.takeover.ordered(),
            takeovers_seen: device.takeover.seen(),
            waits_for_takeover: self.waits_for_takeover(device),
            statistics: device.statistics.clone(),
            paths: self.paths_of(device).map(figures_of).collect(),
        }
    }
}

fn figures_of(path: &Path) -> PathFigures {
    PathFigures {
        name: path.name(),
        state: path.state(),
        statistics: path.statistics,
        io_errors: path
            .hints
            .as_deref()
            .map_or(IoErrors::default(), |hints| hints.counts),
    }
}
