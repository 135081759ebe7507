//! Statistics for users: counters that the world increments as things happen, and a snapshot of all of them.
//!
//! No decision depends on them. The counters of a device or path start from zero again after it is forgotten. Times are
//! those given to [`crate::psa::world::World::step`]. `agent/metrics` formats a
//! [`crate::psa::report::figures::Figures`] as text. Tests: `tests/metrics.rs`.

use crate::psa::event::{Event, Reply};
use crate::psa::evidence::{Link, link_from};
use crate::psa::state::outages::Apd;
use crate::psa::table::model::{GroupState, GroupStatus, Map};
use crate::psa::units::{DevT, Millis};
use crate::scsi::cdb::Command;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The result of a check, in the order of [`Checks::outcomes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckOutcome {
    /// The logical unit answers through the path.
    Up,
    /// The target port refuses: standby, unavailable, in transition.
    Refused,
    /// The logical unit is not ready.
    NotReady,
    /// The logical unit is gone permanently.
    PermanentLoss,
    /// No answer within the deadline.
    NoAnswer,
    /// No command gets through.
    Down,
}

impl CheckOutcome {
    /// All outcomes, in order.
    pub(crate) const ALL: [CheckOutcome; 6] = [
        CheckOutcome::Up,
        CheckOutcome::Refused,
        CheckOutcome::NotReady,
        CheckOutcome::PermanentLoss,
        CheckOutcome::NoAnswer,
        CheckOutcome::Down,
    ];

    /// The name of the outcome.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CheckOutcome::Up => "up",
            CheckOutcome::Refused => "refused",
            CheckOutcome::NotReady => "not ready",
            CheckOutcome::PermanentLoss => "permanent loss",
            CheckOutcome::NoAnswer => "no answer",
            CheckOutcome::Down => "down",
        }
    }

    /// The result of TEST UNIT READY, or of the last command if the check did not include it.
    fn of(replies: &[Reply]) -> Option<CheckOutcome> {
        let ready = |reply: &&Reply| reply.command == Command::TestUnitReady;
        let reply = replies.iter().find(ready).or_else(|| replies.last())?;
        Some(match link_from(&reply.outcome) {
            Link::Up => CheckOutcome::Up,
            Link::Refused(..) => CheckOutcome::Refused,
            Link::NotReady(_) => CheckOutcome::NotReady,
            Link::PermanentLoss(_) => CheckOutcome::PermanentLoss,
            Link::NoAnswer(_) | Link::Unchecked(_) => CheckOutcome::NoAnswer,
            Link::Down(_) => CheckOutcome::Down,
        })
    }
}

/// Upper bounds of the buckets of a [`Histogram`]. A longer duration is in no bucket, only in its `count`.
pub(crate) const LATENCY_BOUNDS: [Millis; 13] = [
    Millis(1),
    Millis(2),
    Millis(5),
    Millis(10),
    Millis(20),
    Millis(50),
    Millis(100),
    Millis(200),
    Millis(500),
    Millis(1_000),
    Millis(2_000),
    Millis(5_000),
    Millis(10_000),
];

/// Durations, in the resolution of the agent's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// How many took at most the bound at the same index of [`LATENCY_BOUNDS`], and more than the bound before.
    pub buckets: [u64; LATENCY_BOUNDS.len()],
    /// The number of durations.
    pub count: u64,
    /// The sum of the durations.
    pub sum: Millis,
}

impl Histogram {
    fn add(&mut self, took: Millis) {
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.after(took);
        let place = LATENCY_BOUNDS.iter().position(|bound| took <= *bound);
        if let Some(bucket) = place.and_then(|place| self.buckets.get_mut(place)) {
            *bucket = bucket.saturating_add(1);
        }
    }
}

/// The checks through an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checks {
    /// How many ended with each outcome in [`CheckOutcome::ALL`].
    pub outcomes: [u64; CheckOutcome::ALL.len()],
    /// From sending the first command to the last answer.
    pub latency: Histogram,
}

/// Counters of the world as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// By adapter number.
    pub checks: BTreeMap<u32, Checks>,
    /// By [`Event::kind`].
    pub events: BTreeMap<String, u64>,
    /// By event code.
    pub notices: BTreeMap<String, u64>,
    /// Reports of errors of ordinary I/O that the kernel overwrote before they were read.
    #[serde(default)]
    pub lost_io_reports: u64,
}

impl Statistics {
    pub(in crate::psa) fn event(&mut self, event: &Event) {
        let kind = event.kind();
        match self.events.get_mut(kind) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.events.insert(kind.to_owned(), 1)),
        }
    }

    pub(in crate::psa) fn notice(&mut self, code: &str) {
        match self.notices.get_mut(code) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.notices.insert(code.to_owned(), 1)),
        }
    }

    pub(in crate::psa) fn check(&mut self, adapter: u32, took: Millis, replies: &[Reply]) {
        let Some(outcome) = CheckOutcome::of(replies) else {
            return;
        };
        let checks = self.checks.entry(adapter).or_default();
        checks.latency.add(took);
        let place = CheckOutcome::ALL.iter().position(|one| *one == outcome);
        if let Some(count) = place.and_then(|place| checks.outcomes.get_mut(place)) {
            *count = count.saturating_add(1);
        }
    }
}

/// Counters of a path, as seen in its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PathStatistics {
    /// The kernel failed it because I/O on it failed.
    pub failed_by_kernel: u64,
    /// The agent failed it by message because a check found it dead.
    pub failed_by_agent: u64,
    /// It returned to use.
    pub reinstated: u64,
}

impl PathStatistics {
    pub(in crate::psa) fn failed(&mut self, by_kernel: bool) {
        let count = match by_kernel {
            true => &mut self.failed_by_kernel,
            false => &mut self.failed_by_agent,
        };
        *count = count.saturating_add(1);
    }

    pub(in crate::psa) fn reinstated(&mut self) {
        self.reinstated = self.reinstated.saturating_add(1);
    }
}

/// Counters of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceStatistics {
    /// Tables that the agent loaded. Not in a journal: journals of this format were written without it.
    #[serde(skip)]
    pub tables_loaded: u64,
    /// I/O switched to paths of another group.
    pub group_switches: u64,
    /// All paths went down.
    pub apd_entries: u64,
    /// They stayed down for longer than I/O is queued.
    pub apd_timeouts: u64,
    /// The array removed the logical unit permanently.
    pub permanent_losses: u64,
    /// The total time in which I/O was queued, up to the end of the last such period.
    queueing: Millis,
    /// The periods without a path, up to the end of the last one: their total, and the longest.
    without_path: Millis,
    longest_without_path: Millis,
    /// Since when there has been no path.
    down_since: Option<Millis>,
    /// The disks of the group that carried I/O last.
    carrier: BTreeSet<DevT>,
}

impl DeviceStatistics {
    /// The APD state changed.
    pub(in crate::psa) fn apd(&mut self, before: Apd, next: Apd, now: Millis) {
        if before == next {
            return;
        }
        let (queueing, without_path) = self.spans(before, now);
        self.queueing = queueing;
        if next == Apd::No {
            self.longest_without_path = self.longest(now);
            self.without_path = without_path;
            self.down_since = None;
        } else if self.down_since.is_none() {
            self.down_since = Some(now);
        }
        let count = match (before, next) {
            (Apd::No | Apd::Waiting { .. }, Apd::TimedOut { .. }) => {
                // After a restart of the agent, this transition is all that is seen of the outage.
                self.apd_entries = self.apd_entries.saturating_add((before == Apd::No).into());
                &mut self.apd_timeouts
            }
            (Apd::No, Apd::Waiting { .. }) => &mut self.apd_entries,
            (_, Apd::Lost { .. }) => &mut self.permanent_losses,
            _ => return,
        };
        *count = count.saturating_add(1);
    }

    /// How long I/O was queued, and how long there was no path, up to now.
    pub(crate) fn spans(&self, apd: Apd, now: Millis) -> (Millis, Millis) {
        let queued = match apd {
            Apd::Waiting { since, .. } => now.since(since),
            Apd::No | Apd::TimedOut { .. } | Apd::Lost { .. } => Millis(0),
        };
        let without = self.without_path.after(self.down(now));
        (self.queueing.after(queued), without)
    }

    pub(in crate::psa) fn longest(&self, now: Millis) -> Millis {
        self.longest_without_path.max(self.down(now))
    }

    /// How long there has been no path; 0 if there is one.
    fn down(&self, now: Millis) -> Millis {
        self.down_since.map_or(Millis(0), |since| now.since(since))
    }

    pub(in crate::psa) fn table_loaded(&mut self) {
        self.tables_loaded = self.tables_loaded.saturating_add(1);
    }

    /// Counts a switch of the group that carries I/O, or will carry the next I/O, as the map shows it.
    pub(in crate::psa) fn carried_by(&mut self, map: &Map) {
        let Some(group) = carrier(map) else {
            return;
        };
        let now: BTreeSet<DevT> = group.paths.iter().map(|path| path.dev).collect();
        if now == self.carrier {
            return;
        }
        // A newly loaded table may have some of the same paths in other groups.
        if !self.carrier.is_empty() && self.carrier.is_disjoint(&now) {
            self.group_switches = self.group_switches.saturating_add(1);
        }
        self.carrier = now;
    }
}

/// The group that the kernel uses for the next I/O (`choose_pgpath`): the one in use, or requested, as long as it has a
/// path; otherwise the first group that has one, with bypassed groups last.
fn carrier(map: &Map) -> Option<&GroupStatus> {
    let status = map.status.as_ref().ok()?;
    let usable = |group: &&GroupStatus| group.paths.iter().any(|path| path.active);
    let now = usize::try_from(status.group_now).ok();
    let now = now.and_then(|now| status.groups.get(now.checked_sub(1)?));
    let mut others = status.groups.iter().filter(usable);
    let first = others
        .clone()
        .find(|group| group.state != GroupState::Disabled);
    now.filter(usable).or(first).or_else(|| others.next())
}
