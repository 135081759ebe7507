//! A large host for a long time: 250 units on 2000 paths, some hours of faults, the promises checked along the way.
//!
//! The seed is printed. It is the same every time, unless `DM_PSA_SEED` is another; `DM_PSA_HOURS` makes a run longer.

mod san;

use dm_psa::psa::adapter::Transport;
use dm_psa::psa::path::PathState;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::model::Message;
use dm_psa::psa::units::{Hctl, Millis};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Unit, UnitId};
use dm_psa::sim::dm::Series;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::{Disk, Kernel, Link, Pace};
use dm_psa::sim::rng::Rng;
use dm_psa::sim::run::Simulation;
use san::{ANO, AO, seconds};
use std::collections::BTreeMap;

const UNITS: u32 = 250;
/// HBAs and target ports; the ports of the first half belong to controller A (group 1), the others to B.
const HOSTS: u32 = 2;
const TARGETS: u32 = 4;

/// The same run on every machine.
const SEED: u64 = 20_261_120;

/// Faults go on for so long; then everything is mended and must come to rest.
const STORM: Millis = Millis(20 * 60_000);
const REST: Millis = Millis(4 * 60_000);

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
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
        let id = kernel.array.add(unit);
        for host in 0..HOSTS {
            for target in 0..TARGETS {
                let group = if target < TARGETS / 2 { 1 } else { 2 };
                let port = (host * TARGETS + target) as u16;
                let path = san::path(host, target, u64::from(lun));
                kernel.cable(path, Transport::Fc, id, group, port);
            }
        }
    }
    kernel
}

/// Faults with their ends, in the order of time.
struct Weather {
    rng: Rng,
    pending: BTreeMap<(Millis, u32), Fault>,
    count: u32,
}

impl Weather {
    fn at(&mut self, at: Millis, fault: Fault) {
        self.count += 1;
        self.pending.insert((at, self.count), fault);
    }

    fn path(&mut self) -> Hctl {
        let (host, target) = (self.rng.below(HOSTS.into()), self.rng.below(TARGETS.into()));
        san::path(host as u32, target as u32, self.rng.below(UNITS.into()))
    }

    fn unit(&mut self) -> UnitId {
        self.rng.below(UNITS.into()) as UnitId
    }

    /// One misfortune, which is over after a while.
    fn strike(&mut self, now: Millis, kernel: &Kernel) {
        let end = now.after(Millis(self.rng.between(100, 40_000)));
        match self.rng.below(100) {
            0..30 => {
                let path = self.path();
                self.at(now, Fault::LinkDown(path));
                self.at(end, Fault::LinkUp(path));
            }
            30..40 => {
                let path = self.path();
                self.at(now, Fault::Hang(path));
                self.at(end, Fault::LinkUp(path));
            }
            40..50 => {
                let path = self.path();
                self.at(now, Fault::Delete(path));
                self.at(end, Fault::Add(path));
            }
            50..70 => {
                // The array balances its load.
                for _ in 0..self.rng.between(1, 20) {
                    let unit = self.unit();
                    let moving = AccessState::Transitioning;
                    let settled = now.after(Millis(self.rng.between(0, 3000)));
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
            }
            70..78 => {
                // A target port goes, for all units.
                let (host, target) = (self.rng.below(HOSTS.into()), self.rng.below(TARGETS.into()));
                for lun in 0..UNITS {
                    let path = san::path(host as u32, target as u32, lun.into());
                    self.at(now, Fault::LinkDown(path));
                    self.at(end, Fault::LinkUp(path));
                }
            }
            78..80 => {
                // An HBA goes.
                let host = self.rng.below(HOSTS.into()) as u32;
                for target in 0..TARGETS {
                    for lun in 0..UNITS {
                        let path = san::path(host, target, lun.into());
                        self.at(now, Fault::LinkDown(path));
                        self.at(end, Fault::LinkUp(path));
                    }
                }
            }
            80..85 => {
                let path = self.path();
                self.at(now, Fault::Remap(path, None, true));
                self.at(end, Fault::Remap(path, Some(path.lun as UnitId), true));
            }
            85..90 => {
                let (unit, path) = (self.unit(), self.path());
                let dev = kernel.disk(path).map(Disk::dev);
                let group = self.rng.between(1, 2) as u32;
                let message = match self.rng.below(4) {
                    0 => Message::SwitchGroup(group),
                    1 => Message::DisableGroup(group),
                    _ => Message::FailPath(
                        dev.unwrap_or(dm_psa::psa::units::DevT { major: 8, minor: 0 }),
                    ),
                };
                self.at(now, Fault::Message(unit, message));
            }
            90..94 => {
                let unit = self.unit();
                self.at(
                    now,
                    Fault::RefuseTables(unit, 12, self.rng.clone().between(1, 3) as u32),
                );
            }
            94..97 => self.at(now, Fault::RestartAgent),
            _ => {
                // Another unit answers for a while, as if somebody had mistaken the LUN.
                let (path, other) = (self.path(), self.unit());
                let gone = now.after(seconds(40));
                let back = gone.after(seconds(60));
                self.at(now, Fault::LinkDown(path));
                self.at(gone, Fault::Remap(path, Some(other), false));
                self.at(gone, Fault::LinkUp(path));
                // An agent that started meanwhile takes it for a path of the other: it must be found anew.
                self.at(back, Fault::Delete(path));
                self.at(back, Fault::Remap(path, Some(path.lun as UnitId), false));
                self.at(back, Fault::Add(path));
            }
        }
    }

    /// Carries out what is due until then.
    fn blow(&mut self, sim: &mut Simulation, end: Millis) {
        while let Some(entry) = self.pending.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            let fault = entry.remove();
            sim.run_until(at);
            // Other faults may have mended the link meanwhile; where there is no gap nobody can notice.
            let wrong =
                |path: &Hctl, unit: &UnitId| *unit != path.lun as UnitId && !is_gone(sim, *path);
            if let Fault::Remap(path, Some(unit), false) = &fault
                && wrong(path, unit)
            {
                continue;
            }
            sim.suffer(&fault);
        }
        sim.run_until(end);
    }
}

/// Whether a path is down, and the agent knows.
fn is_gone(sim: &Simulation, path: Hctl) -> bool {
    let known = sim.world.find_path(&path.to_string());
    sim.kernel
        .disk(path)
        .is_some_and(|disk| disk.link() == Link::Down)
        && known.is_some_and(|path| path.state() == PathState::Dead)
}

/// What is wrong at a moment at which every fault is mended and everything has come to rest.
fn not_well(sim: &Simulation) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, unit) in sim.kernel.array.units() {
        let Some(map) = sim.kernel.map_of(id).and_then(|name| sim.kernel.map(&name)) else {
            wrong.push(format!("unit {id} has no map"));
            continue;
        };
        let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
            wrong.push(format!("{} has no table", map.name));
            continue;
        };
        let paths = || status.groups.iter().flat_map(|group| &group.paths);
        let groups = if unit.tpgs == Tpgs::None { 8 } else { 2 };
        let fine = paths().count() == 8
            && paths().all(|path| path.active)
            && table.groups.len() == groups
            && table.features.queue_if_no_path
            && !map.suspended;
        if !fine {
            wrong.push(format!("{:?}: {}", unit.tpgs, san::line(&map)));
            continue;
        }
        let used = usize::try_from(status.group_now)
            .unwrap_or(0)
            .saturating_sub(1);
        for path in &status.groups[used].paths {
            let at = sim.kernel.path_of(path.dev);
            let access = at.and_then(|at| sim.kernel.array.access(at));
            if access != Some(AO) {
                wrong.push(format!(
                    "{}: I/O goes to {}, which is {access:?}",
                    map.name, path.dev
                ));
            }
        }
    }
    wrong
}

#[test]
fn hours_of_faults_on_thousands_of_paths() {
    let seed = number("DM_PSA_SEED", SEED);
    let hours = number("DM_PSA_HOURS", 2);
    println!("DM_PSA_SEED={seed} DM_PSA_HOURS={hours}");
    let settings = Settings {
        check_interval_ms: seconds(30),
        ..Settings::default()
    };
    let mut sim = Simulation::start(host(seed), settings);
    sim.keep_journal = false;
    sim.io_every = Some(seconds(2));
    let mut weather = Weather {
        rng: Rng::new(seed),
        pending: BTreeMap::new(),
        count: 0,
    };
    sim.run_for(seconds(30));
    assert_eq!(
        not_well(&sim),
        Vec::<String>::new(),
        "seed {seed}: at the start"
    );
    assert_eq!(sim.kernel.ledger.tables, u64::from(UNITS));
    let end = sim.now().after(seconds(hours * 3600));
    while sim.now() < end {
        let storm = sim.now().after(STORM);
        while sim.now() < storm {
            weather.strike(sim.now(), &sim.kernel);
            let pause = Millis(weather.rng.between(0, 20_000));
            let next = sim.now().after(pause);
            weather.blow(&mut sim, next);
        }
        let rest = sim.now().after(REST);
        weather.blow(&mut sim, rest);
        let at = sim.now();
        let ledger = &sim.kernel.ledger;
        assert_eq!(
            not_well(&sim),
            Vec::<String>::new(),
            "seed {seed} at {at:?}"
        );
        assert_eq!(
            ledger.violations,
            Vec::<String>::new(),
            "seed {seed} at {at:?}"
        );
        assert_eq!(ledger.wrong_writes, vec![], "seed {seed} at {at:?}");
        assert_eq!(ledger.io_errors, vec![], "seed {seed} at {at:?}");
        assert_eq!(sim.kernel.array.stpgs, vec![], "seed {seed} at {at:?}");
    }
    let ledger = &sim.kernel.ledger;
    println!(
        "{} s: {} writes, {} examinations, {} tables, {} messages, longest stall {} ms",
        sim.now().0 / 1000,
        ledger.writes,
        ledger.examinations,
        ledger.tables,
        ledger.messages,
        ledger.longest_stall.0
    );
}
