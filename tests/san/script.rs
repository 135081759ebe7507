//! Random hosts and random scripts of faults.

use super::audit::{Verdict, audit};
use super::oracle::{Fate, fate, is_repeated};
use super::{path, seconds};
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::facts::Usage;
use dm_psa::psa::settings::{LonePaths, Settings};
use dm_psa::psa::table::model::Message;
use dm_psa::psa::units::{DevT, Hctl, Millis};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::sense::Sense;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Unit, UnitId};
use dm_psa::sim::dm::Series;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::{Disk, Kernel, Pace};
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The APD timeout in these runs.
pub(crate) const APD: Millis = Millis(30_000);
/// The time after the last fault in which everything comes to rest: the longest pauses of the agent are one minute.
pub(crate) const REST: Millis = Millis(200_000);
/// The agent knows of a change after at most a check interval plus the deadline of a check.
pub(crate) const LAG: Millis = Millis(12_000);

/// A unit: the states of its port groups, who may change them, and the group that each path leads to.
#[derive(Debug, Clone)]
pub(crate) struct UnitPlan {
    pub states: Vec<AccessState>,
    pub tpgs: Tpgs,
    pub paths: Vec<usize>,
    pub san: bool,
    /// Whether it is an access LUN, which a claim rule masks.
    pub masked: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub units: Vec<UnitPlan>,
    pub series: Series,
    pub nexus_loss: bool,
    pub io: bool,
    pub seed: u64,
}

pub(crate) fn state() -> impl Strategy<Value = AccessState> {
    prop_oneof![
        4 => Just(AccessState::ActiveOptimized),
        4 => Just(AccessState::ActiveNonOptimized),
        2 => Just(AccessState::Standby),
        1 => Just(AccessState::Unavailable),
        1 => Just(AccessState::Transitioning),
        1 => Just(AccessState::Offline),
    ]
}

pub(crate) fn unit_plan() -> impl Strategy<Value = UnitPlan> {
    let tpgs = prop_oneof![
        2 => Just(Tpgs::None),
        2 => Just(Tpgs::Implicit),
        1 => Just(Tpgs::Explicit),
        4 => Just(Tpgs::Both),
    ];
    let states = prop::collection::vec(state(), 1..4);
    let paths = prop::collection::vec(0..3usize, 1..9);
    let flags = (prop::bool::weighted(0.85), prop::bool::weighted(0.1));
    (states, tpgs, paths, flags).prop_map(|(states, tpgs, paths, (san, masked))| {
        let groups = states.len();
        UnitPlan {
            paths: paths.into_iter().map(|group| group % groups).collect(),
            states,
            tpgs,
            san,
            masked,
        }
    })
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let units = prop::collection::vec(unit_plan(), 1..7);
    let series = prop::sample::select(vec![Series::Linux6, Series::Linux7]);
    (units, series, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |(units, series, nexus_loss, io, seed)| Plan {
            units,
            series,
            nexus_loss,
            io,
            seed,
        },
    )
}

/// Builds the host of a plan; returns its paths in order.
pub(crate) fn build(plan: &Plan) -> (Kernel, Vec<Hctl>) {
    let mut kernel = Kernel::new(plan.series, Pace::VARIED, plan.seed);
    // Half of the hosts have no tracing.
    kernel.reports_io = plan.seed.is_multiple_of(2);
    kernel.nexus_loss = plan.nexus_loss;
    kernel.array.dummies = plan.seed.is_multiple_of(2);
    kernel.staged = true;
    let mut paths = Vec::new();
    for (lun, unit_plan) in (0..).zip(&plan.units) {
        let groups: Vec<(u16, AccessState)> = (1..).zip(unit_plan.states.iter().copied()).collect();
        let mut unit = Unit::new(lun + 1, &groups);
        unit.tpgs = unit_plan.tpgs;
        unit.named_by_text = lun % 3 == 2;
        if unit_plan.masked {
            unit.vendor = "DELL".to_owned();
            unit.product = "Universal Xport".to_owned();
        }
        let id = kernel.array.add(unit);
        let transport = if unit_plan.san {
            Transport::Fc
        } else {
            Transport::Block
        };
        for (n, group) in (0..).zip(&unit_plan.paths) {
            let group = *group as u16 + 1;
            let path = path(n % 2, n / 2, u64::from(lun));
            kernel.cable(path, transport, id, group, group * 10 + n as u16);
            paths.push(path);
        }
    }
    (kernel, paths)
}

/// A line of a script; numbers are taken modulo the number of existing items.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Down(usize),
    Up(usize),
    Hang(usize),
    Delete(usize),
    Add(usize),
    /// A whole HBA.
    HostDown(u32),
    HostUp(u32),
    Access(usize, Vec<AccessState>),
    Prefer(usize, u16),
    /// The path is down for a long time, and leads to another unit when it returns.
    RemapInGap(usize, usize),
    /// The path is removed, and leads to another unit when it is found again.
    Replace(usize, usize),
    /// The unit is taken away from the host: its LUNs lead nowhere.
    Lose(usize),
    /// The unit is mapped again, and scanned for.
    Find(usize),
    /// I/O fails, but checks succeed.
    Sicken(usize, bool),
    /// Some I/Os end with errors that dm passes to the application.
    Trouble(usize, Sense, u32),
    /// The array reports the change.
    RemapTold(usize, usize),
    /// The LUN leads to another unit, or to nothing, without a gap and without a report.
    RemapSilently(usize, Option<usize>),
    Use(usize),
    Free(usize),
    Refuse(usize, i32, u32),
    Open(usize, u32),
    Meddle(usize, u8, usize),
    Suspend(usize),
    RemoveMap(usize),
    Restart,
    Wait(u64),
}

pub(crate) fn wait() -> impl Strategy<Value = Op> {
    prop_oneof![0..100u64, 100..3000u64, 3000..50_000u64].prop_map(Op::Wait)
}

/// Operations on links.
pub(crate) fn link_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..64usize).prop_map(Op::Down),
        4 => (0..64usize).prop_map(Op::Up),
        2 => (0..64usize).prop_map(Op::Hang),
        2 => (0..64usize).prop_map(Op::Delete),
        2 => (0..64usize).prop_map(Op::Add),
        1 => (0..2u32).prop_map(Op::HostDown),
        1 => (0..2u32).prop_map(Op::HostUp),
        1 => Just(Op::Restart),
        8 => wait(),
    ]
}

/// LOGICAL BLOCK ADDRESS OUT OF RANGE, INTERNAL TARGET FAILURE, UNRECOVERED READ ERROR.
fn trouble() -> impl Strategy<Value = Sense> {
    let senses = [(5, 0x21), (4, 0x44), (3, 0x11)];
    prop::sample::select(senses.to_vec()).prop_map(|(key, asc)| Sense { key, asc, ascq: 0 })
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let n = 0..64usize;
    prop_oneof![
        12 => link_op(),
        4 => (n.clone(), prop::collection::vec(state(), 1..4)).prop_map(|(u, s)| Op::Access(u, s)),
        1 => (n.clone(), 1..4u16).prop_map(|(u, g)| Op::Prefer(u, g)),
        1 => (n.clone(), n.clone()).prop_map(|(p, u)| Op::RemapInGap(p, u)),
        1 => (n.clone(), n.clone()).prop_map(|(p, u)| Op::RemapTold(p, u)),
        1 => (n.clone(), prop::option::of(n.clone())).prop_map(|(p, u)| Op::RemapSilently(p, u)),
        2 => (n.clone(), any::<bool>()).prop_map(|(p, sick)| Op::Sicken(p, sick)),
        1 => (n.clone(), trouble(), 1..40u32).prop_map(|(p, sense, times)| Op::Trouble(p, sense, times)),
        1 => n.clone().prop_map(Op::Use),
        1 => n.clone().prop_map(Op::Free),
        1 => (n.clone(), prop::sample::select(vec![12, 16, 22]), 1..6u32).prop_map(|(u, e, t)| Op::Refuse(u, e, t)),
        1 => (n.clone(), 0..3u32).prop_map(|(u, o)| Op::Open(u, o)),
        2 => (n.clone(), 0..7u8, n.clone()).prop_map(|(u, k, p)| Op::Meddle(u, k, p)),
        1 => n.clone().prop_map(Op::Suspend),
        1 => n.prop_map(Op::RemoveMap),
    ]
}

/// Links that fail and return, and LUNs that lead elsewhere when they return.
pub(crate) fn gap_op() -> impl Strategy<Value = Op> {
    let n = 0..64usize;
    prop_oneof![
        6 => link_op(),
        2 => (n.clone(), n.clone()).prop_map(|(p, u)| Op::RemapInGap(p, u)),
        1 => (n.clone(), n.clone()).prop_map(|(p, u)| Op::Replace(p, u)),
        2 => (n.clone(), any::<bool>()).prop_map(|(p, sick)| Op::Sicken(p, sick)),
        1 => (n.clone(), trouble(), 1..40u32).prop_map(|(p, sense, times)| Op::Trouble(p, sense, times)),
        1 => (n.clone(), n).prop_map(|(u, p)| Op::Meddle(u, 2, p)),
    ]
}

/// Maps that are opened and closed while their paths and units disappear.
pub(crate) fn closing_op() -> impl Strategy<Value = Op> {
    let n = 0..64usize;
    prop_oneof![
        3 => (n.clone(), 0..3u32).prop_map(|(u, users)| Op::Open(u, users)),
        3 => n.clone().prop_map(Op::Delete),
        1 => n.clone().prop_map(Op::Add),
        2 => n.clone().prop_map(Op::Lose),
        1 => n.prop_map(Op::Find),
        1 => Just(Op::Restart),
        4 => wait(),
    ]
}

/// Paths that do not answer, and groups that are between two states: their state is not known.
pub(crate) fn doubt_op() -> impl Strategy<Value = Op> {
    let n = 0..64usize;
    let state = prop::sample::select(vec![
        AccessState::ActiveOptimized,
        AccessState::ActiveNonOptimized,
        AccessState::Transitioning,
    ]);
    prop_oneof![
        4 => n.clone().prop_map(Op::Hang),
        2 => n.clone().prop_map(Op::Up),
        1 => (n, prop::collection::vec(state, 1..4)).prop_map(|(u, s)| Op::Access(u, s)),
        1 => Just(Op::Restart),
        6 => wait(),
    ]
}

/// An array that moves units between its controllers, also on request of other hosts, and links that fail while at
/// least one path of each unit remains.
pub(crate) fn moving_op() -> impl Strategy<Value = Op> {
    let n = 0..64usize;
    let state = prop::sample::select(vec![
        AccessState::ActiveOptimized,
        AccessState::ActiveNonOptimized,
    ]);
    prop_oneof![
        4 => (n.clone(), prop::collection::vec(state, 1..4)).prop_map(|(u, s)| Op::Access(u, s)),
        2 => Just(Op::HostDown(1)),
        2 => Just(Op::HostUp(1)),
        1 => Just(Op::Restart),
        6 => wait(),
    ]
}

/// A simulation, with what the oracle must know of its history.
pub(crate) struct Run {
    pub sim: Simulation,
    pub paths: Vec<Hctl>,
    pub units: usize,
    /// Paths that were led to another unit since they were found: the oracle does not judge them.
    pub tainted: BTreeSet<Hctl>,
    /// What earlier agents had no right to do.
    verdict: Verdict,
    /// Paths that are known to serve their unit.
    known: BTreeSet<Hctl>,
    /// For each unit, the periods in which a path might have served it.
    pub alive: BTreeMap<UnitId, Vec<(Millis, Option<Millis>)>>,
}

impl Run {
    pub(crate) fn new(plan: &Plan) -> Run {
        let (kernel, paths) = build(plan);
        let settings = Settings {
            apd_timeout_ms: APD,
            lone_paths: LonePaths::All,
            ..Settings::default()
        };
        let mut sim = Simulation::start(kernel, settings);
        sim.io_every = plan.io.then_some(Millis(500));
        let mut run = Run {
            sim,
            paths,
            units: plan.units.len(),
            tainted: BTreeSet::new(),
            verdict: Verdict::default(),
            known: BTreeSet::new(),
            alive: BTreeMap::new(),
        };
        run.note_alive();
        run
    }

    pub(crate) fn path(&self, n: usize) -> Hctl {
        self.paths[n % self.paths.len()]
    }

    pub(crate) fn unit(&self, n: usize) -> UnitId {
        (n % self.units) as UnitId
    }

    /// What all agents had no right to do.
    pub(crate) fn verdict(&self) -> Verdict {
        let Verdict {
            mut identity,
            mut harm,
            mut order,
        } = self.verdict.clone();
        let present = audit(&self.sim.journal);
        identity.extend(present.identity);
        harm.extend(present.harm);
        order.extend(present.order);
        Verdict {
            identity,
            harm,
            order,
        }
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        if fault == Fault::RestartAgent {
            // A new agent begins a new journal.
            self.verdict = self.verdict();
        }
        self.sim.inject(&fault);
        self.note_alive();
    }

    /// Records which units have a path that is known to serve them.
    fn note_alive(&mut self) {
        let now = self.sim.now();
        let kernel = &self.sim.kernel;
        for path in &self.paths {
            // A path that hangs, or fails I/O although checks succeed, does not count: the map may give up on it.
            let known = kernel.disk(*path).is_some_and(|disk| {
                let fine = disk.usage().is_empty() && !self.tainted.contains(path);
                fine && matches!(fate(kernel, *path, disk), Fate::Serves(_))
            });
            if known {
                self.known.insert(*path);
            } else {
                self.known.remove(path);
            }
        }
        for unit in 0..self.units as UnitId {
            let kernel = &self.sim.kernel;
            let alive = self
                .known
                .iter()
                .any(|path| unit_of(kernel, *path) == Some(unit));
            let alive = alive && !is_repeated(kernel, unit);
            let spans = self.alive.entry(unit).or_default();
            match (spans.last_mut(), alive) {
                (Some((_, end @ None)), false) => *end = Some(now),
                (Some((_, None)), true) | (None | Some((_, Some(_))), false) => {}
                (None | Some((_, Some(_))), true) => spans.push((now, None)),
            }
        }
    }

    pub(crate) fn play(&mut self, ops: &[Op]) {
        for op in ops {
            self.op(op);
        }
        for unit in 0..self.units as UnitId {
            self.inject(Fault::RefuseTables(unit, 0, 0));
        }
        let troubled = ops.iter().filter_map(|op| match op {
            Op::Trouble(n, sense, _) => Some((self.path(*n), *sense)),
            _ => None,
        });
        let troubled: Vec<(Hctl, Sense)> = troubled.collect();
        for (path, sense) in &troubled {
            self.inject(Fault::Refuse(*path, *sense, 0));
        }
        if !troubled.is_empty() {
            // A path that alone had many errors is marginal for two minutes.
            self.sim.run_for(seconds(130));
        }
    }

    pub(crate) fn op(&mut self, op: &Op) {
        match op {
            Op::Down(n) => self.inject(Fault::LinkDown(self.path(*n))),
            Op::Up(n) => self.inject(Fault::LinkUp(self.path(*n))),
            Op::Hang(n) => self.inject(Fault::Hang(self.path(*n))),
            Op::Delete(n) => self.inject(Fault::Delete(self.path(*n))),
            Op::Add(n) => {
                let path = self.path(*n);
                if self.sim.kernel.disk(path).is_none() {
                    self.tainted.remove(&path);
                }
                self.inject(Fault::Add(path));
            }
            Op::HostDown(host) | Op::HostUp(host) => {
                let of_host: Vec<Hctl> = self
                    .paths
                    .iter()
                    .filter(|p| p.host == *host)
                    .copied()
                    .collect();
                for path in of_host {
                    self.inject(match op {
                        Op::HostDown(_) => Fault::LinkDown(path),
                        _ => Fault::LinkUp(path),
                    });
                }
            }
            Op::Access(n, states) => {
                let states = (1..).zip(states.iter().copied()).collect();
                self.inject(Fault::Access(self.unit(*n), states));
            }
            Op::Prefer(n, group) => self.inject(Fault::Prefer(self.unit(*n), *group)),
            Op::RemapInGap(path, unit) => {
                let (path, unit) = (self.path(*path), self.unit(*unit));
                self.inject(Fault::LinkDown(path));
                self.sim.run_for(LAG);
                self.tainted.insert(path);
                self.inject(Fault::Remap(path, Some(unit), false));
                self.inject(Fault::LinkUp(path));
            }
            Op::Replace(path, unit) => {
                let (path, unit) = (self.path(*path), self.unit(*unit));
                self.inject(Fault::Delete(path));
                self.inject(Fault::Remap(path, Some(unit), false));
                self.tainted.remove(&path);
                self.inject(Fault::Add(path));
            }
            Op::Lose(n) | Op::Find(n) => {
                let unit = self.unit(*n);
                let leads = matches!(op, Op::Find(_)).then_some(unit);
                let own = |path: &&Hctl| path.lun == u64::from(unit);
                let own: Vec<Hctl> = self.paths.iter().filter(own).copied().collect();
                for path in own {
                    self.inject(Fault::Remap(path, leads, true));
                    if leads.is_some() {
                        self.inject(Fault::Add(path));
                    }
                }
            }
            Op::Trouble(n, sense, times) => {
                self.inject(Fault::Refuse(self.path(*n), *sense, *times));
            }
            Op::Sicken(n, sick) => self.inject(Fault::Sicken(self.path(*n), *sick)),
            Op::RemapSilently(path, unit) => {
                let path = self.path(*path);
                let unit = unit.map(|unit| self.unit(unit));
                self.tainted.insert(path);
                self.inject(Fault::Remap(path, unit, false));
            }
            Op::RemapTold(path, unit) => {
                let (path, unit) = (self.path(*path), self.unit(*unit));
                self.tainted.insert(path);
                self.inject(Fault::Remap(path, Some(unit), true));
            }
            Op::Use(n) => {
                let usage = vec![Usage::Swap {
                    device: "sdx".to_owned(),
                }];
                self.inject(Fault::Use(self.path(*n), usage));
            }
            Op::Free(n) => self.inject(Fault::Use(self.path(*n), vec![])),
            Op::Refuse(n, errno, times) => {
                self.inject(Fault::RefuseTables(self.unit(*n), *errno, *times));
            }
            Op::Open(n, users) => self.inject(Fault::Open(self.unit(*n), *users)),
            Op::Meddle(n, kind, k) => {
                let unit = self.unit(*n);
                let dev = self.sim.kernel.disk(self.path(*k)).map(Disk::dev);
                let dev = dev.unwrap_or(DevT { major: 8, minor: 0 });
                let group = *k as u32 % 4;
                let message = match kind {
                    0 => Message::QueueIfNoPath,
                    1 => Message::FailIfNoPath,
                    2 => Message::FailPath(dev),
                    3 => Message::ReinstatePath(dev),
                    4 => Message::SwitchGroup(group),
                    5 => Message::DisableGroup(group),
                    _ => Message::EnableGroup(group),
                };
                self.inject(Fault::Message(unit, message));
            }
            Op::Suspend(n) => self.inject(Fault::Suspend(self.unit(*n))),
            Op::RemoveMap(n) => self.inject(Fault::RemoveMap(self.unit(*n))),
            Op::Restart => self.inject(Fault::RestartAgent),
            Op::Wait(time) => self.sim.run_for(Millis(*time)),
        }
    }

    /// The unit of the map with this UUID.
    pub(crate) fn unit_of_map(&self, uuid: &str) -> Option<UnitId> {
        let mut units = self.sim.kernel.array.units();
        units
            .find(|(_, unit)| uuid == format!("mpath-{}", unit.wwid()))
            .map(|(id, _)| id)
    }
}

pub(crate) fn unit_of(kernel: &Kernel, path: Hctl) -> Option<UnitId> {
    kernel.array.lun(path).and_then(|lun| lun.unit)
}
