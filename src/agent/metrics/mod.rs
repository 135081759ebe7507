//! Metrics: formats the agent's counters as text for Prometheus and compatible collectors.
//!
//! The owner only copies its counters; the thread that asked turns them into text. The labels are `device`, `path` (the
//! runtime name) and `adapter`, so there are a few series for each device and each path of the host, and a fixed number
//! of others. Tests: `tests/metrics.rs`, with the text in `tests/golden/metrics/`.

mod exposition;
pub(crate) mod textfile;

pub use exposition::Dialect;

use crate::kernel::process::Usage;
use crate::psa::evidence::PathState;
use crate::psa::report::figures::{APD_STATES, DeviceFigures, Figures, PathFigures};
use crate::psa::state::hints::IoErrorKind;
use crate::psa::state::statistics::{CheckOutcome, LATENCY_BOUNDS};
use crate::psa::units::Millis;
use exposition::{Exposition, Kind};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Metrics of the agent itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Time since the agent started.
    pub uptime: Millis,
    /// Number of steps: batches of events, each with everything that followed from it immediately.
    pub steps: u64,
    /// Time that all steps took together.
    pub busy: Duration,
    /// Time that the longest step took.
    pub longest_step: Duration,
    /// Number of inputs that wait in the inbox.
    pub waiting: usize,
}

/// All metrics at one point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Metrics of the world.
    pub figures: Figures,
    /// Metrics of the agent.
    pub health: Health,
}

/// States that are always listed; any other state is listed only while a device has it.
const DEVICE_STATES: [&str; 6] = ["on", "degraded", "dead", "not connected", "unknown", "off"];

const PATH_STATES: [PathState; 7] = [
    PathState::Active,
    PathState::ActiveUnoptimized,
    PathState::Standby,
    PathState::Dead,
    PathState::Off,
    PathState::Unknown,
    PathState::Masked,
];

/// A duration in seconds, formatted with the resolution of its clock.
struct Seconds(Duration);

impl From<Millis> for Seconds {
    fn from(span: Millis) -> Seconds {
        Seconds(Duration::from_millis(span.0))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.as_secs(), self.0.subsec_micros());
        if micros % 1000 == 0 {
            write!(f, "{seconds}.{:03}", micros / 1000)
        } else {
            write!(f, "{seconds}.{micros:06}")
        }
    }
}

/// Formats all metrics.
#[must_use]
pub fn text(picture: &Picture, usage: &Usage, dialect: Dialect) -> String {
    let mut out = Exposition::new(dialect);
    agent(&mut out, picture, usage);
    totals(&mut out, &picture.figures);
    checks(&mut out, &picture.figures);
    devices(&mut out, &picture.figures.devices);
    paths(&mut out, &picture.figures);
    out.end()
}

fn agent(out: &mut Exposition, picture: &Picture, usage: &Usage) {
    let (health, figures) = (&picture.health, &picture.figures);
    let seconds = Some("seconds");
    out.family(Kind::Info, "dm_psa_agent", None, "The agent.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let help = "Time since the agent started.";
    out.family(Kind::Gauge, "dm_psa_agent_uptime_seconds", seconds, help)
        .sample(&[], Seconds::from(health.uptime));
    let help = "Whether the agent has acted on everything it knows.";
    out.family(Kind::Gauge, "dm_psa_agent_settled", None, help)
        .sample(&[], u8::from(figures.settled));
    let sizes = [
        (
            "dm_psa_agent_resident_memory_bytes",
            usage.resident,
            "Resident memory of the agent (VmRSS).",
        ),
        (
            "dm_psa_agent_locked_memory_bytes",
            usage.locked,
            "Locked memory of the agent, never paged out (VmLck).",
        ),
    ];
    for (name, value, help) in sizes {
        if let Some(value) = value {
            out.family(Kind::Gauge, name, Some("bytes"), help)
                .sample(&[], value);
        }
    }
    if let Some(value) = usage.open_files {
        let help = "File descriptors that the agent has open.";
        out.family(Kind::Gauge, "dm_psa_agent_open_fds", None, help)
            .sample(&[], value);
    }
    let help = "Inputs that wait for the agent's decision.";
    out.family(Kind::Gauge, "dm_psa_agent_inbox", None, help)
        .sample(&[], health.waiting);
    let help = "Decisions, each on a batch of events and their immediate consequences.";
    out.family(Kind::Counter, "dm_psa_agent_steps", None, help)
        .sample(&[], health.steps);
    let help = "Time that these decisions took.";
    out.family(Kind::Counter, "dm_psa_agent_step_seconds", seconds, help)
        .sample(&[], Seconds(health.busy));
    let name = "dm_psa_agent_longest_step_seconds";
    out.family(
        Kind::Gauge,
        name,
        seconds,
        "The longest of these decisions.",
    )
    .sample(&[], Seconds(health.longest_step));
    let help = "Events by kind.";
    let mut family = out.family(Kind::Counter, "dm_psa_agent_events", None, help);
    for (kind, count) in &figures.statistics.events {
        family.sample(&[("kind", kind)], count);
    }
    let help = "Reports of errors of ordinary I/O that the kernel overwrote before they were read.";
    out.family(Kind::Counter, "dm_psa_agent_lost_io_reports", None, help)
        .sample(&[], figures.statistics.lost_io_reports);
    let help = "Notices by code; the log has those that were not suppressed.";
    let mut family = out.family(Kind::Counter, "dm_psa_agent_notices", None, help);
    for (code, count) in &figures.statistics.notices {
        family.sample(&[("code", code)], count);
    }
}

fn totals(out: &mut Exposition, figures: &Figures) {
    let of_devices = figures.devices.iter().flat_map(|device| &device.paths);
    let all: Vec<&PathFigures> = of_devices.chain(&figures.alone).collect();
    let mut family = out.family(Kind::Gauge, "dm_psa_paths", None, "Paths by state.");
    for state in PATH_STATES {
        let count = all.iter().filter(|path| path.state == state).count();
        family.sample(&[("state", state.as_str())], count);
    }
    let help = "Devices by state: ESXi's states; apd while all paths are down and I/O is queued; then apd timeout.";
    let mut family = out.family(Kind::Gauge, "dm_psa_devices", None, help);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for state in DEVICE_STATES.into_iter().chain(APD_STATES) {
        counts.insert(state, 0);
    }
    for device in &figures.devices {
        *counts.entry(device.state).or_default() += 1;
    }
    for (state, count) in counts {
        family.sample(&[("state", state)], count);
    }
    out.family(Kind::Gauge, "dm_psa_maps", None, "Multipath maps.")
        .sample(&[], figures.maps);
    let counters = &figures.counters;
    let help = "Actions on maps.";
    let mut family = out.family(Kind::Counter, "dm_psa_map_actions", None, help);
    let reloads = counters.tables_loaded.saturating_sub(counters.maps_created);
    for (action, count) in [
        ("create", counters.maps_created),
        ("reload", reloads),
        ("message", counters.messages),
        ("resume", counters.resumes),
        ("remove", counters.removals),
    ] {
        family.sample(&[("action", action)], count);
    }
    let help = "Actions on maps that the kernel refused.";
    out.family(Kind::Counter, "dm_psa_map_action_failures", None, help)
        .sample(&[], counters.map_failures);
}

fn checks(out: &mut Exposition, figures: &Figures) {
    let of_adapters = figures.statistics.checks.iter();
    let checks: Vec<_> = of_adapters
        .map(|(adapter, checks)| (format!("vmhba{adapter}"), checks))
        .collect();
    let help = "Checks of paths by outcome.";
    let mut family = out.family(Kind::Counter, "dm_psa_checks", None, help);
    for (adapter, checks) in &checks {
        for (outcome, count) in CheckOutcome::ALL.iter().zip(checks.outcomes) {
            let labels = [("adapter", adapter.as_str()), ("outcome", outcome.as_str())];
            family.sample(&labels, count);
        }
    }
    let help = "Time from the first command of a check to its last answer.";
    let name = "dm_psa_check_latency_seconds";
    let mut family = out.family(Kind::Histogram, name, Some("seconds"), help);
    for (adapter, checks) in &checks {
        let adapter = ("adapter", adapter.as_str());
        let mut below = 0_u64;
        for (bound, count) in LATENCY_BOUNDS.iter().zip(checks.latency.buckets) {
            below = below.saturating_add(count);
            let bound = Seconds::from(*bound).to_string();
            family.part("_bucket", &[adapter, ("le", &canonical(&bound))], below);
        }
        let count = checks.latency.count;
        family.part("_bucket", &[adapter, ("le", "+Inf")], count);
        family.part("_count", &[adapter], count);
        family.part("_sum", &[adapter], Seconds::from(checks.latency.sum));
    }
}

/// Formats a bound as OpenMetrics requires: no trailing zeros after the point, except for a single one.
fn canonical(seconds: &str) -> String {
    let short = seconds.trim_end_matches('0');
    match short.ends_with('.') {
        true => format!("{short}0"),
        false => short.to_owned(),
    }
}

/// Extracts the value of a sample from a device.
type Of<T> = fn(&DeviceFigures) -> T;

fn devices(out: &mut Exposition, devices: &[DeviceFigures]) {
    let help = "1 for the current state of the device, as in dm_psa_devices.";
    let mut family = out.family(Kind::Gauge, "dm_psa_device_state", None, help);
    for device in devices {
        let known = DEVICE_STATES.into_iter().chain(APD_STATES);
        let other = Some(device.state).filter(|state| !known.clone().any(|one| one == *state));
        for state in known.chain(other) {
            let labels = [("device", device.id.as_str()), ("state", state)];
            family.sample(&labels, u8::from(state == device.state));
        }
    }
    let help = "Paths of the device by state.";
    let mut family = out.family(Kind::Gauge, "dm_psa_device_paths", None, help);
    for device in devices {
        for state in PATH_STATES {
            let count = device.paths.iter().filter(|path| path.state == state);
            let labels = [("device", device.id.as_str()), ("state", state.as_str())];
            family.sample(&labels, count.count());
        }
    }
    let counters: [(_, _, Of<u64>); 6] = [
        (
            "dm_psa_device_group_switches",
            "I/O switched to paths of another group.",
            |device| device.statistics.group_switches,
        ),
        (
            "dm_psa_device_apd_entries",
            "All paths went down.",
            |device| device.statistics.apd_entries,
        ),
        (
            "dm_psa_device_apd_timeouts",
            "All paths stayed down for longer than I/O is queued.",
            |device| device.statistics.apd_timeouts,
        ),
        (
            "dm_psa_device_permanent_losses",
            "All paths reported permanent loss of the logical unit.",
            |device| device.statistics.permanent_losses,
        ),
        (
            "dm_psa_device_takeovers_ordered",
            "This host had the array move the logical unit to another controller.",
            |device| device.takeovers_ordered,
        ),
        (
            "dm_psa_device_takeovers_seen",
            "Another host or the array moved the logical unit to another controller.",
            |device| device.takeovers_seen,
        ),
    ];
    for (name, help, value) in counters {
        let mut family = out.family(Kind::Counter, name, None, help);
        for device in devices {
            family.sample(&[("device", device.id.as_str())], value(device));
        }
    }
    let help = "Whether I/O is queued until this host may have the array move the logical unit.";
    let name = "dm_psa_device_waits_for_takeover";
    let mut family = out.family(Kind::Gauge, name, None, help);
    for device in devices {
        let waits = u8::from(device.waits_for_takeover);
        family.sample(&[("device", device.id.as_str())], waits);
    }
    let spans: [(_, _, _, Of<Millis>); 3] = [
        (
            Kind::Counter,
            "dm_psa_device_queueing_seconds",
            "Time in which I/O was queued because no path was usable.",
            |device| device.queueing,
        ),
        (
            Kind::Counter,
            "dm_psa_device_without_path_seconds",
            "Time without a usable path.",
            |device| device.without_path,
        ),
        (
            Kind::Gauge,
            "dm_psa_device_longest_without_path_seconds",
            "The longest time without a usable path.",
            |device| device.longest_without_path,
        ),
    ];
    for (kind, name, help, value) in spans {
        let mut family = out.family(kind, name, Some("seconds"), help);
        for device in devices {
            let value = Seconds::from(value(device));
            family.sample(&[("device", device.id.as_str())], value);
        }
    }
}

fn paths(out: &mut Exposition, figures: &Figures) {
    let of_devices = figures
        .devices
        .iter()
        .flat_map(|device| device.paths.iter().map(|path| (device.id.as_str(), path)));
    let alone = figures.alone.iter().map(|path| ("", path));
    let paths: Vec<_> = of_devices
        .chain(alone)
        .map(|(device, path)| {
            let adapter = format!("vmhba{}", path.name.adapter);
            (device, path.name.to_string(), adapter, path)
        })
        .collect();
    let help = "Whether the path serves I/O: it is active, optimized or not.";
    let mut family = out.family(Kind::Gauge, "dm_psa_path_serving", None, help);
    for (device, name, adapter, path) in &paths {
        let labels = [("device", *device), ("path", name), ("adapter", adapter)];
        family.sample(&labels, u8::from(path.state.serves_io()));
    }
    let help = "The path went out of use: the kernel failed it after an I/O error, or the agent after a check.";
    let mut family = out.family(Kind::Counter, "dm_psa_path_failures", None, help);
    for (device, name, adapter, path) in &paths {
        let statistics = &path.statistics;
        for (by, count) in [
            ("kernel", statistics.failed_by_kernel),
            ("agent", statistics.failed_by_agent),
        ] {
            let labels = [
                ("device", *device),
                ("path", name),
                ("adapter", adapter),
                ("by", by),
            ];
            family.sample(&labels, count);
        }
    }
    let help =
        "Errors of ordinary I/O on the path that the kernel reported; only kinds that occurred.";
    let mut family = out.family(Kind::Counter, "dm_psa_path_io_errors", None, help);
    for (device, name, adapter, path) in &paths {
        let kinds = IoErrorKind::ALL.iter().zip(path.io_errors);
        for (kind, count) in kinds.filter(|(_, count)| *count > 0) {
            let labels = [
                ("device", *device),
                ("path", name),
                ("adapter", adapter),
                ("kind", kind.as_str()),
            ];
            family.sample(&labels, count);
        }
    }
    let help = "The path came back into use.";
    let mut family = out.family(Kind::Counter, "dm_psa_path_reinstatements", None, help);
    for (device, name, adapter, path) in &paths {
        let labels = [("device", *device), ("path", name), ("adapter", adapter)];
        family.sample(&labels, path.statistics.reinstated);
    }
}
