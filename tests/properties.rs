//! The promises of the decision core, over random scripts of faults on small simulated hosts.
//!
//! Each property is an invariant of the design: convergence, idempotence, identity, exclusivity, no harm, order,
//! totality, round trip. What a host should look like when faults have stopped is worked out here, by [`oracle`], from
//! the state of the cables and the array alone. `PROPTEST_CASES` raises the number of cases.

mod san;

use dm_psa::psa::action::{Action, MapStep};
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::path::Usage;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::emit::emit;
use dm_psa::psa::table::model::{Message, Table};
use dm_psa::psa::table::parse::parse;
use dm_psa::psa::units::{DevT, Hctl, Millis};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Unit, UnitId};
use dm_psa::sim::dm::Series;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::{Disk, Kernel, Link, Pace};
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use san::seconds;
use std::collections::{BTreeMap, BTreeSet};

/// How long "all paths down" is waited for in these runs.
const APD: Millis = Millis(30_000);
/// Time after the last fault in which everything comes to rest: the longest pauses of the agent are a minute.
const REST: Millis = Millis(200_000);
/// The agent knows of a change within a check interval and the deadline of a check.
const LAG: Millis = Millis(12_000);

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            default.cases
        } else {
            cases
        },
        max_shrink_iters: 2000,
        ..default
    }
}

// ---- hosts and scripts ----------------------------------------------------------------------------------------

/// A unit: the states of its port groups, who may change them, and the group that each path leads to.
#[derive(Debug, Clone)]
struct UnitPlan {
    states: Vec<AccessState>,
    tpgs: Tpgs,
    paths: Vec<usize>,
    san: bool,
}

#[derive(Debug, Clone)]
struct Plan {
    units: Vec<UnitPlan>,
    series: Series,
    nexus_loss: bool,
    io: bool,
    seed: u64,
}

fn state() -> impl Strategy<Value = AccessState> {
    prop_oneof![
        4 => Just(AccessState::ActiveOptimized),
        4 => Just(AccessState::ActiveNonOptimized),
        2 => Just(AccessState::Standby),
        1 => Just(AccessState::Unavailable),
        1 => Just(AccessState::Transitioning),
        1 => Just(AccessState::Offline),
    ]
}

fn unit_plan() -> impl Strategy<Value = UnitPlan> {
    let tpgs = prop_oneof![
        2 => Just(Tpgs::None),
        2 => Just(Tpgs::Implicit),
        1 => Just(Tpgs::Explicit),
        4 => Just(Tpgs::Both),
    ];
    let states = prop::collection::vec(state(), 1..4);
    let paths = prop::collection::vec(0..3usize, 1..9);
    (states, tpgs, paths, prop::bool::weighted(0.85)).prop_map(|(states, tpgs, paths, san)| {
        let groups = states.len();
        UnitPlan {
            paths: paths.into_iter().map(|group| group % groups).collect(),
            states,
            tpgs,
            san,
        }
    })
}

fn plan() -> impl Strategy<Value = Plan> {
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

/// The host of a plan, and its paths in order.
fn build(plan: &Plan) -> (Kernel, Vec<Hctl>) {
    let mut kernel = Kernel::new(plan.series, Pace::VARIED, plan.seed);
    kernel.nexus_loss = plan.nexus_loss;
    let mut paths = Vec::new();
    for (lun, unit_plan) in (0..).zip(&plan.units) {
        let groups: Vec<(u16, AccessState)> = (1..).zip(unit_plan.states.iter().copied()).collect();
        let mut unit = Unit::new(lun + 1, &groups);
        unit.tpgs = unit_plan.tpgs;
        let id = kernel.array.add(unit);
        let transport = if unit_plan.san {
            Transport::Fc
        } else {
            Transport::Block
        };
        for (n, group) in (0..).zip(&unit_plan.paths) {
            let group = *group as u16 + 1;
            let path = san::path(n % 2, n / 2, u64::from(lun));
            kernel.cable(path, transport, id, group, group * 10 + n as u16);
            paths.push(path);
        }
    }
    (kernel, paths)
}

/// A line of a script; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
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
    /// The path is down for long, and leads elsewhere when it returns.
    RemapInGap(usize, usize),
    /// The array tells of it.
    RemapTold(usize, usize),
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

fn wait() -> impl Strategy<Value = Op> {
    prop_oneof![0..100u64, 100..3000u64, 3000..50_000u64].prop_map(Op::Wait)
}

/// What may befall the links.
fn link_op() -> impl Strategy<Value = Op> {
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

fn op() -> impl Strategy<Value = Op> {
    let n = 0..64usize;
    prop_oneof![
        12 => link_op(),
        4 => (n.clone(), prop::collection::vec(state(), 1..4)).prop_map(|(u, s)| Op::Access(u, s)),
        1 => (n.clone(), 1..4u16).prop_map(|(u, g)| Op::Prefer(u, g)),
        1 => (n.clone(), n.clone()).prop_map(|(p, u)| Op::RemapInGap(p, u)),
        1 => (n.clone(), n.clone()).prop_map(|(p, u)| Op::RemapTold(p, u)),
        1 => n.clone().prop_map(Op::Use),
        1 => n.clone().prop_map(Op::Free),
        1 => (n.clone(), prop::sample::select(vec![12, 16, 22]), 1..6u32).prop_map(|(u, e, t)| Op::Refuse(u, e, t)),
        1 => (n.clone(), 0..3u32).prop_map(|(u, o)| Op::Open(u, o)),
        2 => (n.clone(), 0..7u8, n.clone()).prop_map(|(u, k, p)| Op::Meddle(u, k, p)),
        1 => n.clone().prop_map(Op::Suspend),
        1 => n.prop_map(Op::RemoveMap),
    ]
}

/// A simulation with what the oracle must know of its history.
struct Run {
    sim: Simulation,
    paths: Vec<Hctl>,
    units: usize,
    /// Paths that were led to another unit since they were found: their fate is not the oracle's.
    tainted: BTreeSet<Hctl>,
    /// For each unit, since when and until when a path might have served it.
    alive: BTreeMap<UnitId, Vec<(Millis, Option<Millis>)>>,
}

impl Run {
    fn new(plan: &Plan) -> Run {
        let (kernel, paths) = build(plan);
        let settings = Settings {
            apd_timeout_ms: APD,
            ..Settings::default()
        };
        let mut sim = Simulation::start(kernel, settings);
        sim.io_every = plan.io.then_some(Millis(500));
        let mut run = Run {
            sim,
            paths,
            units: plan.units.len(),
            tainted: BTreeSet::new(),
            alive: BTreeMap::new(),
        };
        run.note_alive();
        run
    }

    fn path(&self, n: usize) -> Hctl {
        self.paths[n % self.paths.len()]
    }

    fn unit(&self, n: usize) -> UnitId {
        (n % self.units) as UnitId
    }

    fn suffer(&mut self, fault: Fault) {
        self.sim.suffer(&fault);
        self.note_alive();
    }

    fn note_alive(&mut self) {
        let now = self.sim.now();
        for unit in 0..self.units as UnitId {
            let kernel = &self.sim.kernel;
            let mut disks = kernel.disks().filter(|(path, _)| {
                unit_of(kernel, **path) == Some(unit) && !self.tainted.contains(*path)
            });
            let alive = disks.any(|(path, disk)| {
                disk.usage().is_empty()
                    && match disk.link() {
                        // One that never answered is not known to lead there.
                        Link::Hung => kernel.holder(*path).is_some(),
                        Link::Down => false,
                        Link::Up => !matches!(
                            kernel.array.access(*path),
                            Some(AccessState::Unavailable | AccessState::Offline)
                        ),
                    }
            });
            let spans = self.alive.entry(unit).or_default();
            match (spans.last_mut(), alive) {
                (Some((_, end @ None)), false) => *end = Some(now),
                (Some((_, None)), true) | (None | Some((_, Some(_))), false) => {}
                (None | Some((_, Some(_))), true) => spans.push((now, None)),
            }
        }
    }

    fn play(&mut self, ops: &[Op]) {
        for op in ops {
            self.op(op);
        }
        for unit in 0..self.units as UnitId {
            self.suffer(Fault::RefuseTables(unit, 0, 0));
        }
    }

    fn op(&mut self, op: &Op) {
        match op {
            Op::Down(n) => self.suffer(Fault::LinkDown(self.path(*n))),
            Op::Up(n) => self.suffer(Fault::LinkUp(self.path(*n))),
            Op::Hang(n) => self.suffer(Fault::Hang(self.path(*n))),
            Op::Delete(n) => self.suffer(Fault::Delete(self.path(*n))),
            Op::Add(n) => {
                let path = self.path(*n);
                if self.sim.kernel.disk(path).is_none() {
                    self.tainted.remove(&path);
                }
                self.suffer(Fault::Add(path));
            }
            Op::HostDown(host) | Op::HostUp(host) => {
                let of_host: Vec<Hctl> = self
                    .paths
                    .iter()
                    .filter(|p| p.host == *host)
                    .copied()
                    .collect();
                for path in of_host {
                    self.suffer(match op {
                        Op::HostDown(_) => Fault::LinkDown(path),
                        _ => Fault::LinkUp(path),
                    });
                }
            }
            Op::Access(n, states) => {
                let states = (1..).zip(states.iter().copied()).collect();
                self.suffer(Fault::Access(self.unit(*n), states));
            }
            Op::Prefer(n, group) => self.suffer(Fault::Prefer(self.unit(*n), *group)),
            Op::RemapInGap(path, unit) => {
                let (path, unit) = (self.path(*path), self.unit(*unit));
                self.suffer(Fault::LinkDown(path));
                self.sim.run_for(LAG);
                self.tainted.insert(path);
                self.suffer(Fault::Remap(path, Some(unit), false));
                self.suffer(Fault::LinkUp(path));
            }
            Op::RemapTold(path, unit) => {
                let (path, unit) = (self.path(*path), self.unit(*unit));
                self.tainted.insert(path);
                self.suffer(Fault::Remap(path, Some(unit), true));
            }
            Op::Use(n) => {
                let usage = vec![Usage::Swap {
                    device: "sdx".to_owned(),
                }];
                self.suffer(Fault::Use(self.path(*n), usage));
            }
            Op::Free(n) => self.suffer(Fault::Use(self.path(*n), vec![])),
            Op::Refuse(n, errno, times) => {
                self.suffer(Fault::RefuseTables(self.unit(*n), *errno, *times));
            }
            Op::Open(n, users) => self.suffer(Fault::Open(self.unit(*n), *users)),
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
                self.suffer(Fault::Message(unit, message));
            }
            Op::Suspend(n) => self.suffer(Fault::Suspend(self.unit(*n))),
            Op::RemoveMap(n) => self.suffer(Fault::RemoveMap(self.unit(*n))),
            Op::Restart => self.suffer(Fault::RestartAgent),
            Op::Wait(time) => self.sim.run_for(Millis(*time)),
        }
    }

    /// The unit of a map, by its UUID.
    fn unit_of_map(&self, uuid: &str) -> Option<UnitId> {
        let mut units = self.sim.kernel.array.units();
        units
            .find(|(_, unit)| uuid == format!("mpath-{}", unit.wwid()))
            .map(|(id, _)| id)
    }
}

fn unit_of(kernel: &Kernel, path: Hctl) -> Option<UnitId> {
    kernel.array.lun(path).and_then(|lun| lun.unit)
}

// ---- what a host should look like at rest ---------------------------------------------------------------------

/// What can be said of a path by its cable and the array alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Serves; the lower the number, the better.
    Serves(u8),
    /// Standby, and nobody but the array can change that.
    Waits,
    Dead,
    /// Nothing is known of it: it hangs, or changes its state.
    Unknown,
}

fn fate(kernel: &Kernel, path: Hctl, disk: &Disk) -> Fate {
    match disk.link() {
        Link::Hung => return Fate::Unknown,
        Link::Down => return Fate::Dead,
        Link::Up => {}
    }
    let explicit = kernel
        .array
        .unit_at(path)
        .is_some_and(|unit| unit.tpgs.explicit());
    match kernel.array.access(path) {
        Some(AccessState::ActiveOptimized) => Fate::Serves(0),
        Some(AccessState::ActiveNonOptimized | AccessState::LogicalBlockDependent) => {
            Fate::Serves(1)
        }
        Some(AccessState::Standby) if explicit => Fate::Serves(2),
        Some(AccessState::Standby) => Fate::Waits,
        Some(AccessState::Transitioning) => Fate::Unknown,
        _ => Fate::Dead,
    }
}

/// Whatever is wrong with the maps, now that everything is at rest.
fn oracle(run: &mut Run, san_units: &[bool]) -> Vec<String> {
    let mut wrong = Vec::new();
    let kernel = &run.sim.kernel;
    let mut holders: BTreeMap<DevT, Vec<String>> = BTreeMap::new();
    for (name, map) in kernel.maps() {
        let observed = map.dm.observe();
        let Ok(table) = &observed.table else { continue };
        for path in table.paths() {
            holders.entry(path.dev).or_default().push(name.clone());
        }
    }
    for (dev, names) in &holders {
        if names.len() > 1 {
            wrong.push(format!("{dev} is in the tables of {names:?}"));
        }
    }
    let mut names = Vec::new();
    for unit in 0..run.units as UnitId {
        names.extend(of_unit(run, unit, san_units[unit as usize], &mut wrong));
    }
    // I/O goes down one of the best paths.
    let now = run.sim.now();
    for (name, best) in names {
        let Some(best) = best else { continue };
        // An activation may make them better than they were when the group was chosen.
        let before: BTreeMap<Hctl, Fate> = run
            .sim
            .kernel
            .disks()
            .map(|(path, disk)| (*path, fate(&run.sim.kernel, *path, disk)))
            .collect();
        run.sim.kernel.io(now, &name);
        let map = run.sim.kernel.map(&name).unwrap();
        let status = map.status.unwrap();
        let group = status
            .groups
            .iter()
            .find(|g| g.state == dm_psa::psa::table::model::GroupState::Active)
            .or_else(|| status.groups.get(status.group_now as usize - 1))
            .unwrap();
        for path in group.paths.iter().filter(|path| path.active) {
            let Some(id) = run.sim.kernel.path_of(path.dev) else {
                continue;
            };
            let fate = before[&id];
            if !run.tainted.contains(&id) && fate != best && !matches!(fate, Fate::Unknown) {
                wrong.push(format!(
                    "{name}: I/O goes to {id}, which is {fate:?}, while others are {best:?}"
                ));
            }
        }
    }
    wrong
}

fn of_unit(
    run: &Run,
    unit: UnitId,
    is_san: bool,
    wrong: &mut Vec<String>,
) -> Option<(String, Option<Fate>)> {
    let kernel = &run.sim.kernel;
    let members: Vec<(Hctl, &Disk, Fate)> = kernel
        .disks()
        .filter(|(path, _)| unit_of(kernel, **path) == Some(unit) && !run.tainted.contains(*path))
        .map(|(path, disk)| (*path, disk, fate(kernel, *path, disk)))
        .collect();
    let used = kernel.disks().any(|(path, disk)| {
        !disk.usage().is_empty()
            && (unit_of(kernel, *path) == Some(unit) || run.tainted.contains(path))
    });
    let Some(name) = kernel.map_of(unit) else {
        let ready = |(path, disk, fate): &&(Hctl, &Disk, Fate)| {
            matches!(fate, Fate::Serves(_) | Fate::Waits)
                && disk.usage().is_empty()
                && !run.tainted.contains(path)
        };
        // A local disk with one path is no reason for a map; one that never answered is not known of.
        let local = !is_san && members.iter().filter(ready).count() < 2;
        if let Some((path, ..)) = members.iter().find(ready)
            && !used
            && !local
        {
            wrong.push(format!("unit {unit} has no map although {path} serves it"));
        }
        return None;
    };
    let map = kernel.map(&name).unwrap();
    let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
        let hopeless = used
            || !members
                .iter()
                .any(|(_, _, fate)| matches!(fate, Fate::Serves(_)));
        if !hopeless {
            wrong.push(format!("{name} has no table"));
        }
        return None;
    };
    if map.suspended {
        wrong.push(format!("{name} is suspended"));
    }
    let active: BTreeMap<DevT, bool> = status
        .groups
        .iter()
        .flat_map(|g| &g.paths)
        .map(|p| (p.dev, p.active))
        .collect();
    let free = |(_, disk, _): &&(Hctl, &Disk, Fate)| disk.usage().is_empty();
    let serving: Vec<_> = members
        .iter()
        .filter(free)
        .filter(|(_, _, f)| matches!(f, Fate::Serves(_)))
        .collect();
    let sure = serving.iter().map(|(_, _, fate)| *fate).min();
    for (path, disk, fate) in members.iter().filter(free) {
        let is = active.get(&disk.dev());
        let bad = match fate {
            Fate::Serves(_) => is != Some(&true),
            // If nothing serves it cannot be told when they will join.
            Fate::Waits => is.is_none(),
            Fate::Dead => is == Some(&true),
            Fate::Unknown => disk.link() == Link::Hung && is == Some(&true) && sure.is_some(),
        };
        if bad {
            wrong.push(format!(
                "{name}: {path} ({}) is {fate:?} and {is:?}",
                disk.dev()
            ));
        }
    }
    // Nothing else is in the table, as soon as there is anything to go by.
    for dev in active.keys() {
        let member = kernel.path_of(*dev);
        let fine = member
            .is_some_and(|path| unit_of(kernel, path) == Some(unit) || run.tainted.contains(&path));
        if !fine && sure.is_some() {
            wrong.push(format!("{name}: {dev} does not belong to its table"));
        }
        if let Some(path) = member
            && unit_of(kernel, path) != Some(unit)
            && kernel
                .disk(path)
                .is_some_and(|disk| disk.link() == Link::Up)
            && active[dev]
        {
            wrong.push(format!("{name}: {path} leads elsewhere and is in use"));
        }
    }
    // Paths of one class stand together, others apart.
    let group_of = |dev: DevT| {
        table
            .groups
            .iter()
            .position(|g| g.paths.iter().any(|p| p.dev == dev))
    };
    // A SATP is chosen by the first path, which may have been another unit's when it was asked.
    let doubtful = kernel.disks().any(|(path, _)| run.tainted.contains(path));
    let alua = !doubtful
        && kernel
            .array
            .unit(unit)
            .is_some_and(|unit| unit.tpgs != Tpgs::None);
    for (a, disk_a, fate_a) in serving.iter().filter(|_| alua) {
        for (b, disk_b, fate_b) in &serving {
            let together = group_of(disk_a.dev()) == group_of(disk_b.dev());
            if (fate_a == fate_b) != together {
                wrong.push(format!(
                    "{name}: {a} is {fate_a:?}, {b} is {fate_b:?}, together: {together}"
                ));
            }
        }
    }
    let queues = table.features.queue_if_no_path;
    let hopeful = members.iter().any(|(_, _, fate)| *fate != Fate::Dead);
    if sure.is_some() && !queues {
        wrong.push(format!("{name} does not queue"));
    }
    if !members.is_empty() && !hopeful && queues && !doubtful {
        wrong.push(format!("{name} still queues although all paths are down"));
    }
    Some((name, sure))
}

/// Every table that the agent asked for since it started.
fn tables(sim: &Simulation) -> Vec<Table> {
    let actions = sim.journal.iter().flat_map(|entry| &entry.actions);
    actions
        .filter_map(|action| match action {
            Action::Map { steps, .. } => Some(steps),
            _ => None,
        })
        .flatten()
        .filter_map(|step| match step {
            MapStep::Create(table) | MapStep::Reload { table, .. } => Some(table.clone()),
            _ => None,
        })
        .collect()
}

/// Checks that hold at any time.
fn always(run: &Run) -> Result<(), TestCaseError> {
    let ledger = &run.sim.kernel.ledger;
    prop_assert_eq!(&ledger.violations, &Vec::<String>::new());
    for table in tables(&run.sim) {
        let text = emit(&table);
        prop_assert!(text.is_ok(), "{:?} for {:?}", text, table);
        prop_assert_eq!(parse(table.length, &text.unwrap()).unwrap(), table);
    }
    Ok(())
}

/// Queueing never ended before the deadline, counted from the moment at which the last path went.
fn queueing(run: &Run) -> Result<(), TestCaseError> {
    for (at, name) in &run.sim.kernel.ledger.queueing_ended {
        let Some(map) = run.sim.kernel.map(name) else {
            continue;
        };
        let Some(unit) = run.unit_of_map(&map.uuid) else {
            continue;
        };
        let (from, to) = (at.since(APD).after(LAG), at.since(LAG));
        for (start, end) in &run.alive[&unit] {
            let end = end.unwrap_or(*at);
            let seen = end.since(*start) > LAG && *start < to && end > from;
            prop_assert!(
                !seen,
                "{name} stopped queueing at {at:?}, alive from {start:?} to {end:?}"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(150))]

    /// Invariants 1, 2, 4, 5, 7, 9, 10: whatever happened, when it is over the host is as it should be, stays so,
    /// and a new agent agrees.
    #[test]
    fn everything_comes_to_rest_as_it_should_be(plan in plan(), ops in prop::collection::vec(op(), 0..40)) {
        let mut run = Run::new(&plan);
        run.play(&ops);
        run.sim.run_for(REST);
        let san_units: Vec<bool> = plan.units.iter().map(|unit| unit.san).collect();
        prop_assert!(run.sim.run_until_settled(seconds(60)), "not settled");
        always(&run)?;
        queueing(&run)?;
        let wrong = oracle(&mut run, &san_units);
        prop_assert!(wrong.is_empty(), "{:#?}", wrong);
        // Idempotence: from here on nothing is done but to check. (The I/O may have activated a group.)
        run.sim.run_for(seconds(30));
        let mark = run.sim.journal.len();
        run.sim.io_every = None;
        run.sim.run_for(seconds(30));
        for entry in run.sim.journal.iter().skip(mark) {
            for action in &entry.actions {
                let idle = match action {
                    // What is down is checked, and looked at in sysfs as well.
                    Action::Examine { .. } | Action::RefreshFacts(_) => true,
                    Action::Map { steps, .. } => steps.iter().all(|step| *step == MapStep::Observe),
                    _ => false,
                };
                prop_assert!(idle, "{:?} for {:?}", action, entry.event);
            }
        }
        let replayed = run.sim.replay();
        prop_assert!(replayed.is_ok(), "{:?}", replayed);
        // Totality: every disk that was asked has one claim, with its reasons.
        for (id, path) in run.sim.world.paths() {
            if run.sim.kernel.disk(*id).is_some_and(|disk| disk.link() == Link::Up) {
                let claim = path.claim.as_ref();
                prop_assert!(claim.is_some(), "{id} has no claim");
            }
        }
        // A restart changes nothing. (A disk in use that does not answer cannot be told to belong to the unit.)
        let unseen = run.sim.kernel.disks().any(|(_, disk)| !disk.usage().is_empty() && disk.link() != Link::Up);
        if run.tainted.is_empty() && !unseen {
            run.suffer(Fault::RestartAgent);
            run.sim.run_for(seconds(60));
            prop_assert_eq!(san::tables(&run.sim, 0), Vec::<String>::new());
            // What a group was before it began to change, a new agent cannot know.
            let kernel = &run.sim.kernel;
            let certain = kernel.disks().all(|(path, disk)| fate(kernel, *path, disk) != Fate::Unknown);
            if certain {
                prop_assert_eq!(san::steps(&run.sim, 0), Vec::<String>::new());
            }
            always(&run)?;
            let wrong = oracle(&mut run, &san_units);
            prop_assert!(wrong.is_empty(), "after a restart: {:#?}", wrong);
        }
    }
}
