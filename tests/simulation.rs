//! A large host for a long time: 1,000 units on 8,000 paths, a day of faults, with the guarantees checked along the
//! way.
//!
//! The seed is printed. It is the same every time, unless `DM_PSA_SEED` is set; `DM_PSA_HOURS` makes a run shorter or
//! longer. Healthy paths are checked every 300 s, as ESXi does: at the agent's 5 s a day has 138 million checks, and
//! nearly all of them find nothing. So faults are detected by I/O and unit attentions, as on a busy host, and by the
//! retries of failed paths, which are as frequent as usual.

mod san;

use dm_psa::psa::adapter::Transport;
use dm_psa::psa::evidence::PathState;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::model::{Message, Table};
use dm_psa::psa::units::{DevT, Hctl, Millis};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Unit, UnitId};
use dm_psa::sim::dm::Series;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::{Disk, Kernel, Link, Pace};
use dm_psa::sim::rng::Rng;
use dm_psa::sim::run::Simulation;
use san::{ANO, AO, seconds};
use std::collections::{BTreeMap, BTreeSet};

const UNITS: u32 = 1000;
/// HBAs and target ports; the ports of the first half belong to controller A (group 1), the others to B.
const HOSTS: u32 = 2;
const TARGETS: u32 = 4;

/// The default seed, so that the run is the same on every machine.
const SEED: u64 = 20_261_120;

const CHECK: Millis = Millis(300_000);
const IO: Millis = Millis(10_000);
/// How long I/O without a path is queued: the default.
const APD: Millis = Millis(140_000);

/// How long faults continue. Then all of them are fixed and everything must come to rest: the last fault ends a minute
/// later, a path that failed often is trusted again after two minutes, and the next check uses it.
const STORM: Millis = Millis(40 * 60_000);
const TAIL: Millis = Millis(60_000);
const REST: Millis = Millis(10 * 60_000);

/// Within this time an agent knows that paths are back, and has I/O queued again.
const LAG: Millis = Millis(15_000);

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}"))
    })
}

fn host(seed: u64) -> Kernel {
    let mut kernel = Kernel::new(Series::Linux6, Pace::VARIED, seed);
    kernel.nexus_loss = true;
    for lun in 0..UNITS {
        let owner = lun % 2;
        let states = if owner == 0 { [AO, ANO] } else { [ANO, AO] };
        let mut unit = Unit::new(lun + 1, &[(1, states[0]), (2, states[1])]);
        unit.tpgs = match lun % 5 {
            0 => Tpgs::None,
            1 => Tpgs::Implicit,
            _ => Tpgs::Both,
        };
        unit.named_by_text = lun % 7 == 3;
        let id = kernel.array.add(unit);
        for path in paths_of(id) {
            let group = if path.target < TARGETS / 2 { 1 } else { 2 };
            let port = (path.host * TARGETS + path.target) as u16;
            kernel.cable(path, Transport::Fc, id, group, port);
        }
    }
    kernel
}

fn paths_of(unit: UnitId) -> impl Iterator<Item = Hctl> {
    let all = (0..HOSTS).flat_map(|host| (0..TARGETS).map(move |target| (host, target)));
    all.map(move |(host, target)| san::path(host, target, unit.into()))
}

/// The unit that a path is cabled to.
fn unit_of(path: Hctl) -> UnitId {
    path.lun as UnitId
}

/// One event of a script.
enum Step {
    Fault(Fault),
    /// A user does I/O on a unit's map.
    Io(UnitId),
}

/// A period in which no path led to a unit.
struct Dark {
    since: Millis,
    /// When every path reported that the unit is permanently gone.
    gone: Option<Millis>,
    until: Option<Millis>,
}

impl Dark {
    /// Whether I/O may fail at that time.
    fn excuses(&self, at: Millis) -> bool {
        let over = self.until.is_some_and(|end| at > end.after(LAG));
        let gone = self.gone.is_some_and(|gone| gone <= at);
        !over && (gone || at >= self.since.after(APD))
    }
}

/// Faults with their ends, in the order of time.
struct FaultSchedule {
    rng: Rng,
    pending: BTreeMap<(Millis, u32), Step>,
    count: u32,
    /// No fault of this storm ends later.
    latest: Millis,
    /// Units whose paths lead, or led, elsewhere until then. Only one such fault at a time: two together would make a
    /// LUN change hands under I/O without a gap, which cannot be detected in time.
    astray: BTreeMap<UnitId, Millis>,
    /// Paths whose LUN changes hands under I/O now, and those whose LUN ever did: the next check finds it.
    slipping: BTreeSet<Hctl>,
    slipped: BTreeSet<Hctl>,
    dark: BTreeMap<UnitId, Vec<Dark>>,
    /// The faults of this storm, to find out why something is wrong after it.
    history: Vec<(Millis, Fault)>,
    /// The number of faults of each kind.
    counts: BTreeMap<&'static str, u64>,
    /// The notices of all agents, counted by code.
    notices: BTreeMap<String, u64>,
}

impl FaultSchedule {
    fn new(seed: u64) -> FaultSchedule {
        FaultSchedule {
            rng: Rng::new(seed),
            pending: BTreeMap::new(),
            count: 0,
            latest: Millis(0),
            astray: BTreeMap::new(),
            slipping: BTreeSet::new(),
            slipped: BTreeSet::new(),
            dark: BTreeMap::new(),
            history: Vec::new(),
            counts: BTreeMap::new(),
            notices: BTreeMap::new(),
        }
    }

    fn schedule(&mut self, at: Millis, run_due: Step) {
        self.count += 1;
        self.pending.insert((at, self.count), run_due);
    }

    fn at(&mut self, at: Millis, fault: Fault) {
        self.schedule(at, Step::Fault(fault));
    }

    fn path(&mut self) -> Hctl {
        let (host, target) = (self.rng.below(HOSTS.into()), self.rng.below(TARGETS.into()));
        san::path(host as u32, target as u32, self.rng.below(UNITS.into()))
    }

    fn unit(&mut self) -> UnitId {
        self.rng.below(UNITS.into()) as UnitId
    }

    fn span(&mut self, low: u64, high: u64) -> Millis {
        Millis(self.rng.between(low, high))
    }

    /// Reserves a unit for a fault that makes its paths lead elsewhere.
    fn stray(&mut self, now: Millis, unit: UnitId, end: Millis) -> bool {
        let free = self.astray.get(&unit).is_none_or(|until| *until < now) && end <= self.latest;
        if free {
            // Commands that are outstanding when it ends have returned by then.
            self.astray.insert(unit, end.after(LAG));
        }
        free
    }

    fn links(&mut self, now: Millis, end: Millis, paths: impl Iterator<Item = Hctl>) {
        for path in paths {
            self.at(now, Fault::LinkDown(path));
            self.at(end, Fault::LinkUp(path));
        }
    }

    /// Injects one fault, which ends after a while.
    fn plan_fault(&mut self, now: Millis, kernel: &Kernel) {
        let long = if self.rng.chance(25) { 180_000 } else { 40_000 };
        let end = now.after(self.span(100, long)).min(self.latest);
        let kind = match self.rng.below(100) {
            0..20 => {
                let path = self.path();
                self.links(now, end, std::iter::once(path));
                "a link goes"
            }
            20..28 => {
                let path = self.path();
                // Some commands hang until the end of the storm, whatever timers say.
                let end = if self.rng.chance(50) {
                    end
                } else {
                    self.latest
                };
                self.at(now, Fault::Hang(path));
                self.at(end, Fault::LinkUp(path));
                "a path hangs"
            }
            28..36 => {
                let path = self.path();
                self.at(now, Fault::Delete(path));
                self.at(end, Fault::Add(path));
                "a device is deleted"
            }
            36..40 => {
                let path = self.path();
                self.at(now, Fault::Sicken(path, true));
                self.at(end, Fault::Sicken(path, false));
                "I/O fails and checks do not"
            }
            40..44 => self.flap(now),
            44..59 => self.balance(now),
            59..61 => {
                let (host, target) = (self.rng.below(HOSTS.into()), self.rng.below(TARGETS.into()));
                let port = |lun: u32| san::path(host as u32, target as u32, lun.into());
                let end = now.after(self.span(100, 30_000)).min(self.latest);
                self.links(now, end, (0..UNITS).map(port));
                "a target port goes"
            }
            61..62 => {
                let host = self.rng.below(HOSTS.into()) as u32;
                let all = (0..UNITS).flat_map(paths_of);
                let end = now.after(self.span(100, 20_000)).min(self.latest);
                self.links(now, end, all.filter(|path| path.host == host));
                "an HBA goes"
            }
            62..68 => {
                let path = self.path();
                if self.stray(now, unit_of(path), end) {
                    self.at(now, Fault::Remap(path, None, true));
                    self.at(end, Fault::Remap(path, Some(unit_of(path)), true));
                }
                "a LUN leads nowhere"
            }
            68..70 => self.mistake(now),
            70..72 => self.slip(now),
            72..78 => {
                let (unit, path) = (self.unit(), self.path());
                let own = paths_of(unit).nth(self.rng.below(8) as usize);
                let dev = |path| kernel.disk(path).map(Disk::dev);
                let dev = own.and_then(dev).or(dev(path));
                let dev = dev.unwrap_or(DevT { major: 8, minor: 0 });
                let group = self.rng.between(1, 2) as u32;
                let message = match self.rng.below(5) {
                    0 => Message::SwitchGroup(group),
                    1 => Message::DisableGroup(group),
                    2 => Message::ReinstatePath(dev),
                    _ => Message::FailPath(dev),
                };
                self.at(now, Fault::Message(unit, message));
                "a foreign message"
            }
            78..82 => {
                let (unit, times) = (self.unit(), self.rng.between(1, 3) as u32);
                self.at(now, Fault::RefuseTables(unit, 12, times));
                if let Some(path) = paths_of(unit).nth(self.rng.below(8) as usize) {
                    self.at(now, Fault::Delete(path));
                    self.at(end, Fault::Add(path));
                }
                "tables are refused"
            }
            82..85 => {
                let unit = self.unit();
                self.at(now, Fault::Suspend(unit));
                "a foreign suspend"
            }
            85..86 => {
                let unit = self.unit();
                self.at(now, Fault::Jam(unit, true));
                self.at(end, Fault::Jam(unit, false));
                "a map takes no step"
            }
            86..90 => {
                let unit = self.unit();
                let name = kernel.map_of(unit);
                let map = name.and_then(|name| kernel.map(&name));
                if let Some(table) = map.and_then(|map| map.table.ok()) {
                    let table = Box::new(self.other_table(table));
                    self.at(now, Fault::Table(unit, table));
                }
                "a foreign table"
            }
            90..93 => {
                let unit = self.unit();
                self.at(now, Fault::RemoveMap(unit));
                "a foreign removal"
            }
            93..96 => {
                let unit = self.unit();
                let high = if self.rng.chance(50) {
                    100_000
                } else {
                    200_000
                };
                let end = now.after(self.span(5_000, high)).min(self.latest);
                self.links(now, end, paths_of(unit));
                "all paths down"
            }
            96..99 => self.lose(now),
            _ => {
                self.at(now, Fault::RestartAgent);
                "the agent is killed"
            }
        };
        *self.counts.entry(kind).or_default() += 1;
    }

    /// A path of a busy unit fails and returns every three seconds.
    fn flap(&mut self, now: Millis) -> &'static str {
        let path = self.path();
        let mut at = now;
        for _ in 0..24 {
            if at.after(Millis(3000)) > self.latest {
                break;
            }
            self.at(at, Fault::LinkDown(path));
            // Users on all paths of a group notice it.
            for n in 1..=4 {
                self.schedule(at.after(Millis(n)), Step::Io(unit_of(path)));
            }
            self.at(at.after(Millis(1000)), Fault::LinkUp(path));
            at = at.after(Millis(3000));
        }
        "a path comes and goes"
    }

    /// The array balances its load.
    fn balance(&mut self, now: Millis) -> &'static str {
        for _ in 0..self.rng.between(1, 20) {
            let unit = self.unit();
            let moving = AccessState::Transitioning;
            let slow = if self.rng.chance(10) { 20_000 } else { 3000 };
            let settled = now.after(self.span(0, slow));
            let states = if self.rng.chance(50) {
                [AO, ANO]
            } else {
                [ANO, AO]
            };
            self.at(now, Fault::Access(unit, vec![(1, moving), (2, moving)]));
            self.at(
                settled,
                Fault::Access(unit, vec![(1, states[0]), (2, states[1])]),
            );
        }
        "the array moves units"
    }

    /// Another unit answers for a while, as if an admin had chosen the wrong LUN.
    fn mistake(&mut self, now: Millis) -> &'static str {
        let (path, other) = (self.path(), self.unit());
        // An idle path is found down by its next check.
        let gone = now.after(CHECK).after(LAG);
        let back = gone.after(seconds(60));
        if self.stray(now, unit_of(path), back) {
            self.at(now, Fault::LinkDown(path));
            self.at(gone, Fault::Remap(path, Some(other), false));
            self.at(gone, Fault::LinkUp(path));
            // A new agent would take the path for one of the other unit, so it must be found again.
            self.at(back, Fault::Delete(path));
            self.at(back, Fault::Remap(path, Some(unit_of(path)), false));
            self.at(back, Fault::Add(path));
        }
        "a LUN leads elsewhere"
    }

    /// The same without a gap, under I/O, and the array reports nothing.
    fn slip(&mut self, now: Millis) -> &'static str {
        let (path, other) = (self.path(), self.unit());
        let back = now.after(CHECK).after(LAG).after(seconds(60));
        if other != unit_of(path) && self.stray(now, unit_of(path), back) {
            self.slipping.insert(path);
            self.slipped.insert(path);
            self.at(now, Fault::Remap(path, Some(other), false));
            self.at(back, Fault::Delete(path));
            self.at(back, Fault::Remap(path, Some(unit_of(path)), false));
            self.at(back, Fault::Add(path));
        }
        "a LUN changes hands unseen"
    }

    /// A unit is unmapped from this host and mapped again; a rescan finds the devices that were removed meanwhile.
    fn lose(&mut self, now: Millis) -> &'static str {
        let unit = self.unit();
        let end = now.after(self.span(5_000, 150_000)).min(self.latest);
        if self.stray(now, unit, end) {
            let open = self.rng.chance(50);
            if open {
                self.at(now, Fault::Open(unit, 1));
            }
            for path in paths_of(unit) {
                self.at(now, Fault::Remap(path, None, true));
                self.at(end, Fault::Remap(path, Some(unit), true));
                self.at(end, Fault::Add(path));
            }
            if open {
                self.at(end, Fault::Open(unit, 0));
            }
        }
        "a unit is lost"
    }

    /// A table that another program might load: one path less, all paths in one group, or another order of groups.
    fn other_table(&mut self, mut table: Table) -> Table {
        match self.rng.below(3) {
            0 => {
                let of = table.groups.len() as u64;
                let group = table.groups.get_mut(self.rng.below(of) as usize);
                if let Some(group) = group.filter(|group| group.paths.len() > 1) {
                    let place = self.rng.below(group.paths.len() as u64);
                    group.paths.remove(place as usize);
                }
            }
            1 => {
                let mut groups = std::mem::take(&mut table.groups).into_iter();
                if let Some(mut first) = groups.next() {
                    first.paths.extend(groups.flat_map(|group| group.paths));
                    table.groups.push(first);
                }
            }
            _ => table.groups.reverse(),
        }
        table.initial_group = 1;
        table
    }

    /// Injects the events that are due until then.
    fn run_due(&mut self, sim: &mut Simulation, end: Millis) {
        while let Some(entry) = self.pending.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            let run_due = entry.remove();
            sim.run_until(at);
            match run_due {
                Step::Io(unit) => {
                    if let Some(name) = sim.kernel.map_of(unit) {
                        sim.kernel.io(at, &name);
                    }
                }
                Step::Fault(fault) => self.inject(sim, &fault),
            }
        }
        sim.run_until(end);
    }

    fn inject(&mut self, sim: &mut Simulation, fault: &Fault) {
        // Other faults may have restored the link meanwhile; without a gap nobody can detect the change.
        if let Fault::Remap(path, Some(unit), false) = fault
            && *unit != unit_of(*path)
            && !is_gone(sim, *path)
            && !self.slipping.contains(path)
        {
            return;
        }
        if let Fault::Delete(path) = fault {
            self.slipping.remove(path);
        }
        if *fault == Fault::RestartAgent {
            self.listen(sim);
        }
        sim.inject(fault);
        self.history.push((sim.now(), fault.clone()));
        match fault {
            Fault::LinkDown(path)
            | Fault::LinkUp(path)
            | Fault::Hang(path)
            | Fault::Delete(path)
            | Fault::Add(path)
            | Fault::Remap(path, ..) => self.look(sim, unit_of(*path)),
            _ => {}
        }
    }

    /// What happened to a unit in this storm, and the agent's current view of it.
    fn account(&self, sim: &Simulation, unit: UnitId) -> String {
        let mut lines = Vec::new();
        for (at, fault) in &self.history {
            let befell = match fault {
                Fault::LinkDown(path)
                | Fault::LinkUp(path)
                | Fault::Hang(path)
                | Fault::Sicken(path, _)
                | Fault::Delete(path)
                | Fault::Add(path)
                | Fault::Remap(path, ..) => unit_of(*path) == unit,
                Fault::Access(id, _)
                | Fault::RefuseTables(id, ..)
                | Fault::Open(id, _)
                | Fault::Message(id, _)
                | Fault::Table(id, _)
                | Fault::Jam(id, _)
                | Fault::Suspend(id)
                | Fault::RemoveMap(id) => *id == unit,
                _ => true,
            };
            if befell {
                lines.push(format!("{} {fault:?}", at.0));
            }
        }
        let id = sim
            .kernel
            .array
            .unit(unit)
            .map(Unit::id)
            .unwrap_or_default();
        lines.push(san::explained(sim, &id));
        let paths = paths_of(unit).map(|path| san::explained(sim, &path.to_string()));
        lines.extend(paths);
        lines.join("\n")
    }

    /// Records whether any path leads to a unit.
    fn look(&mut self, sim: &Simulation, unit: UnitId) {
        let now = sim.now();
        let leads = |path: &Hctl| {
            let lun = sim.kernel.array.lun(*path);
            lun.is_some_and(|lun| lun.unit == Some(unit))
        };
        let disk = |path: &Hctl| sim.kernel.disk(*path);
        let alive = paths_of(unit)
            .any(|path| leads(&path) && disk(&path).is_some_and(|disk| disk.link() != Link::Down));
        let gone = !alive
            && paths_of(unit)
                .filter(|path| disk(path).is_some())
                .all(|path| !leads(&path));
        let spans = self.dark.entry(unit).or_default();
        let open = spans.last_mut().filter(|dark| dark.until.is_none());
        match open {
            Some(dark) if alive => dark.until = Some(now),
            Some(dark) if gone => dark.gone = dark.gone.or(Some(now)),
            None if !alive => spans.push(Dark {
                since: now,
                gone: gone.then_some(now),
                until: None,
            }),
            _ => {}
        }
    }

    /// Adds up the notices of an agent before it ends.
    fn listen(&mut self, sim: &Simulation) {
        for (code, count) in sim.world.figures(Millis(0)).statistics.notices {
            *self.notices.entry(code).or_default() += count;
        }
    }

    /// Those of these events of maps that no fault excuses.
    fn unexcused(&self, sim: &Simulation, events: Vec<(Millis, String)>) -> Vec<(Millis, String)> {
        let units: BTreeMap<String, UnitId> = sim
            .kernel
            .array
            .units()
            .map(|(id, unit)| (unit.id(), id))
            .collect();
        let excused = |(at, name): &(Millis, String)| {
            let spans = units.get(name).and_then(|unit| self.dark.get(unit));
            spans.is_some_and(|spans| spans.iter().any(|dark| dark.excuses(*at)))
        };
        let mut events = events;
        events.retain(|event| !excused(event));
        events
    }
}

/// Whether a path is down, and the agent knows it.
fn is_gone(sim: &Simulation, path: Hctl) -> bool {
    let known = sim.world.find_path(&path.to_string());
    sim.kernel
        .disk(path)
        .is_some_and(|disk| disk.link() == Link::Down)
        && known.is_some_and(|path| path.state() == PathState::Dead)
}

/// What is wrong at a time when every fault is fixed and everything has come to rest.
fn not_well(sim: &Simulation) -> BTreeMap<UnitId, String> {
    let units = sim.kernel.array.units();
    units
        .filter_map(|(id, unit)| Some((id, what_is_wrong(sim, id, unit)?)))
        .collect()
}

fn what_is_wrong(sim: &Simulation, id: UnitId, unit: &Unit) -> Option<String> {
    let map = sim.kernel.map_of(id).and_then(|name| sim.kernel.map(&name));
    let Some(map) = map else {
        return Some("there is no map".to_owned());
    };
    let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
        return Some(format!("{} has no table", map.name));
    };
    let own: BTreeSet<Option<DevT>> = paths_of(id)
        .map(|path| sim.kernel.disk(path).map(Disk::dev))
        .collect();
    let paths = || status.groups.iter().flat_map(|group| &group.paths);
    let groups = if unit.tpgs == Tpgs::None { 8 } else { 2 };
    let fine = paths().count() == 8
        && paths().all(|path| path.active && own.contains(&Some(path.dev)))
        && table.groups.len() == groups
        && table.features.queue_if_no_path
        && !map.suspended;
    if !fine {
        return Some(format!("{:?}: {}", unit.tpgs, san::line(&map)));
    }
    let used = usize::try_from(status.group_now).unwrap_or(0);
    let used = &status.groups[used.saturating_sub(1)];
    used.paths.iter().find_map(|path| {
        let at = sim.kernel.path_of(path.dev);
        let access = at.and_then(|at| sim.kernel.array.access(at));
        let wrong = access != Some(AO);
        wrong.then(|| {
            format!(
                "{}: I/O goes to {}, which is {access:?}",
                map.name, path.dev
            )
        })
    })
}

#[test]
fn a_day_of_faults_on_thousands_of_paths() {
    let seed = number("DM_PSA_SEED", SEED);
    let hours = number("DM_PSA_HOURS", 24);
    println!("DM_PSA_SEED={seed} DM_PSA_HOURS={hours}");
    let settings = Settings {
        check_interval_ms: CHECK,
        apd_timeout_ms: APD,
        ..Settings::default()
    };
    let mut sim = Simulation::start(host(seed), settings);
    sim.keep_journal = false;
    sim.io_every = Some(IO);
    let mut faults = FaultSchedule::new(seed);
    sim.run_for(seconds(30));
    assert_eq!(not_well(&sim), BTreeMap::new(), "seed {seed}: at the start");
    assert_eq!(sim.kernel.ledger.tables, u64::from(UNITS));
    let mut errors = 0;
    let end = sim.now().after(seconds(hours * 3600));
    while sim.now() < end {
        let storm = sim.now().after(STORM);
        faults.latest = storm.after(TAIL);
        while sim.now() < storm {
            faults.plan_fault(sim.now(), &sim.kernel);
            let next = sim.now().after(faults.span(0, 60_000)).min(storm);
            faults.run_due(&mut sim, next);
        }
        faults.run_due(&mut sim, storm.after(REST));
        let at = sim.now();
        let wrong = not_well(&sim);
        if let Some((unit, _)) = wrong.first_key_value() {
            println!("{}", faults.account(&sim, *unit));
        }
        assert_eq!(wrong, BTreeMap::new(), "seed {seed} at {at:?}");
        faults.history.clear();
        let ledger = &mut sim.kernel.ledger;
        assert_eq!(
            ledger.violations,
            Vec::<String>::new(),
            "seed {seed} at {at:?}"
        );
        let slipped = |path: &Hctl| faults.slipped.contains(path);
        ledger.wrong_writes.retain(|(_, _, path)| !slipped(path));
        assert_eq!(ledger.wrong_writes, vec![], "seed {seed} at {at:?}");
        let exposure = ledger.longest_exposure;
        assert!(
            exposure <= CHECK.after(LAG),
            "seed {seed} at {at:?}: {exposure:?}"
        );
        let failed = std::mem::take(&mut ledger.io_errors);
        let given_up = std::mem::take(&mut ledger.queueing_ended);
        errors += failed.len();
        for events in [failed, given_up] {
            assert_eq!(
                faults.unexcused(&sim, events),
                vec![],
                "seed {seed} at {at:?}"
            );
        }
        assert_eq!(sim.kernel.array.stpgs, vec![], "seed {seed} at {at:?}");
    }
    faults.listen(&sim);
    let ledger = &sim.kernel.ledger;
    println!(
        "{} s: {} writes, {errors} excused errors, {} examinations, {} tables, {} messages, longest stall {} ms",
        sim.now().0 / 1000,
        ledger.writes,
        ledger.examinations,
        ledger.tables,
        ledger.messages,
        ledger.longest_stall.0
    );
    println!("{:?}", faults.counts);
    println!("{:?}", faults.notices);
    if hours >= 24 {
        // Faults without consequences would prove nothing.
        for code in [
            "APD_TIMEOUT",
            "MAP_GONE",
            "PATH_MARGINAL_ENDED",
            "PATH_QUARANTINED",
            "PDL_EXIT",
            "PDL_REMOVED",
            "PORT_GROUP_STATE",
            "TABLE_RELOAD",
        ] {
            assert!(
                faults.notices.contains_key(code),
                "{code} was never reported"
            );
        }
    }
}
