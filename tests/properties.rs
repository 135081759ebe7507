//! The guarantees of the decision core, over random scripts of faults on small simulated hosts.
//!
//! Each property is an invariant of the design: convergence, idempotence, identity, exclusivity, no harm, order, fairness,
//! totality, round trip. `san::oracle` derives what a host should look like when faults have stopped from the state of
//! the cables and the array alone. `PROPTEST_CASES` raises the number of cases.

mod san;

use dm_psa::psa::action::{Action, MapStep};
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::emit::emit;
use dm_psa::psa::table::model::Table;
use dm_psa::psa::table::parse::parse;
use dm_psa::psa::units::{Hctl, Millis};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Unit, UnitId};
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::{Link, Pace};
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use san::oracle::{Fate, fate, oracle};
use san::script::{
    APD, LAG, Plan, REST, Run, build, closing_op, doubt_op, gap_op, moving_op, op, plan,
};
use san::{config, seconds};
use std::collections::{BTreeMap, BTreeSet};

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
            MapStep::Create { table, .. } | MapStep::Reload { table, .. } => Some(table.clone()),
            _ => None,
        })
        .collect()
}

/// Checks that hold at any time.
fn always(run: &Run) -> Result<(), TestCaseError> {
    let ledger = &run.sim.kernel.ledger;
    prop_assert_eq!(&ledger.violations, &Vec::<String>::new());
    // The agent knows what a LUN leads to within a check interval of its change.
    prop_assert!(ledger.longest_exposure <= LAG, "{:?}", ledger.wrong_writes);
    let verdict = run.verdict();
    prop_assert!(verdict.harm.is_empty(), "{:#?}", verdict.harm);
    prop_assert!(verdict.order.is_empty(), "{:#?}", verdict.order);
    for table in tables(&run.sim) {
        let text = emit(&table);
        prop_assert!(text.is_ok(), "{:?} for {:?}", text, table);
        prop_assert_eq!(parse(table.length, &text.unwrap()).unwrap(), table);
    }
    Ok(())
}

/// Queueing never ended before the deadline, counted from the time at which the last path was lost.
fn queueing(run: &Run) -> Result<(), TestCaseError> {
    for (at, name) in &run.sim.kernel.ledger.queueing_ended {
        let Some(map) = run.sim.kernel.map(name) else {
            continue;
        };
        let Some(unit) = run.unit_of_map(&map.uuid) else {
            continue;
        };
        // The paths of a masked unit do not serve. It has a map if one of its paths led elsewhere when it was claimed.
        let unit_data = run.sim.kernel.array.unit(unit);
        if unit_data.is_some_and(|unit| unit.vendor == "DELL") {
            continue;
        }
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

/// What an agent did on a host while something hangs.
struct Hang {
    /// The actions on paths and maps of units that have nothing that hangs.
    actions: BTreeMap<String, Vec<(Millis, String)>>,
    /// For each path that does not hang, of all units, the longest time without a check.
    pauses: BTreeMap<Hctl, Millis>,
    violations: Vec<String>,
}

/// Makes paths hang and a map block, and injects other faults into the units that are not in `touched`.
fn hang(
    plan: &Plan,
    hung: &[usize],
    jammed: Option<usize>,
    touched: &[usize],
    touched_map: Option<usize>,
    others: &[(usize, u8, u64)],
) -> Hang {
    let (mut kernel, paths) = build(plan);
    // No random delays, because one more command would shift all of them.
    kernel.pace = Pace::STEADY;
    let mut sim = Simulation::start(kernel, Settings::default());
    sim.io_every = plan.io.then_some(Millis(500));
    sim.run_for(seconds(10));
    let path = |n: usize| paths[n % paths.len()];
    let unit = |n: usize| (n % plan.units.len()) as UnitId;
    let touched: BTreeSet<UnitId> = touched
        .iter()
        .map(|n| path(*n).lun as UnitId)
        .chain(touched_map.map(unit))
        .collect();
    let hung: BTreeSet<Hctl> = hung.iter().map(|n| path(*n)).collect();
    for path in &hung {
        sim.inject(&Fault::Hang(*path));
    }
    if let Some(n) = jammed {
        sim.inject(&Fault::Jam(unit(n), true));
    }
    let mark = sim.journal.len();
    let begin = sim.now();
    for (n, what, pause) in others {
        let path = path(*n);
        if !touched.contains(&(path.lun as UnitId)) {
            sim.inject(&match what {
                0 => Fault::LinkDown(path),
                1 => Fault::LinkUp(path),
                2 => Fault::Delete(path),
                _ => Fault::Add(path),
            });
        }
        sim.run_for(Millis(*pause));
    }
    sim.run_for(seconds(40));
    let mut actions: BTreeMap<String, Vec<(Millis, String)>> = BTreeMap::new();
    let mut asked: BTreeMap<Hctl, Vec<Millis>> = BTreeMap::new();
    for entry in sim.journal.iter().skip(mark) {
        for action in &entry.actions {
            let (subject, what) = match action {
                Action::Examine(order) => {
                    asked.entry(order.path).or_default().push(entry.at);
                    (order.path, format!("{:?}", order.commands))
                }
                Action::Map { map, steps, .. } => {
                    let units = sim.kernel.array.units();
                    let of = |(id, unit): (UnitId, &Unit)| unit.is_behind(&map.uuid).then_some(id);
                    let Some(unit) = units.into_iter().find_map(of) else {
                        continue;
                    };
                    (san::path(u32::MAX, 0, unit.into()), format!("{steps:?}"))
                }
                _ => continue,
            };
            if !touched.contains(&(subject.lun as UnitId)) {
                let notices = actions.entry(subject.to_string()).or_default();
                notices.push((entry.at, what));
            }
        }
    }
    let end = sim.now();
    let well = |path: &&Hctl| {
        let untouched = !touched.contains(&(path.lun as UnitId));
        !untouched && !hung.contains(path) && sim.kernel.disk(**path).is_some()
    };
    let pauses = paths.iter().filter(well).map(|path| {
        let times = asked.get(path).into_iter().flatten().copied();
        let times: Vec<Millis> = [begin].into_iter().chain(times).chain([end]).collect();
        let pause = times.windows(2).map(|pair| pair[1].since(pair[0])).max();
        (*path, pause.unwrap_or_default())
    });
    Hang {
        pauses: pauses.collect(),
        actions,
        violations: sim.kernel.ledger.violations.clone(),
    }
}

proptest! {
    #![proptest_config(config(300))]

    /// Invariants 1, 2, 4, 5, 7, 9, 10: after any faults the host ends up as it should be, stays so, and a new agent
    /// agrees.
    #[test]
    fn every_host_converges(plan in plan(), ops in prop::collection::vec(op(), 0..40)) {
        let mut run = Run::new(&plan);
        run.play(&ops);
        run.sim.run_for(REST);
        let san_units: Vec<bool> = plan.units.iter().map(|unit| unit.san).collect();
        prop_assert!(run.sim.run_until_settled(seconds(60)), "the world does not settle");
        always(&run)?;
        queueing(&run)?;
        let wrong = oracle(&mut run, &san_units);
        prop_assert!(wrong.is_empty(), "{:#?}", wrong);
        // Idempotence: from here on the agent only checks and reads. (The I/O may have activated a group, and a path
        // that passes its checks is accepted after a minute at the latest.)
        run.sim.io_every = None;
        run.sim.run_for(seconds(80));
        let mark = run.sim.journal.len();
        run.sim.run_for(seconds(30));
        for entry in run.sim.journal.iter().skip(mark) {
            for action in &entry.actions {
                let idle = match action {
                    Action::Examine(_) | Action::RefreshFacts(_) => true,
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
                let claim = path.owner().claim();
                prop_assert!(claim.is_some(), "{id} has no claim");
            }
        }
        // A restart changes nothing. (If a disk in use does not answer, it is not known whether it belongs to the
        // unit.)
        let unseen = run.sim.kernel.disks().any(|(_, disk)| !disk.usage().is_empty() && disk.link() != Link::Up);
        if run.tainted.is_empty() && !unseen {
            run.inject(Fault::RestartAgent);
            run.sim.run_for(seconds(60));
            prop_assert_eq!(san::tables(&run.sim, 0), Vec::<String>::new());
            // A new agent cannot know the state that a group had before its transition.
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

proptest! {
    #![proptest_config(config(150))]

    /// Invariant 3: a path that was away and returns as another unit carries nothing for the previous one, and no path
    /// gets I/O that has not proven its unit since it was in doubt.
    #[test]
    fn no_write_reaches_a_wrong_unit_after_a_gap(
        mut plan in plan(),
        ops in prop::collection::vec(gap_op(), 0..30),
    ) {
        plan.io = true;
        let good = [AccessState::ActiveOptimized, AccessState::ActiveNonOptimized];
        for unit in &mut plan.units {
            for (n, state) in unit.states.iter_mut().enumerate() {
                *state = good[n % 2];
            }
        }
        let mut run = Run::new(&plan);
        run.play(&ops);
        run.sim.run_for(seconds(30));
        prop_assert_eq!(&run.sim.kernel.ledger.wrong_writes, &vec![]);
        let verdict = run.verdict();
        prop_assert!(verdict.identity.is_empty(), "{:#?}", verdict.identity);
        always(&run)?;
    }

    /// Invariant 8: paths that hang and maps that block delay only themselves. All others are asked and changed to the
    /// millisecond as when nothing hangs. No path has two examinations at the same time (a violation).
    #[test]
    fn hung_paths_and_maps_delay_no_others(
        plan in plan(),
        hung in prop::collection::vec(0..64usize, 1..6),
        jammed in prop::option::of(0..64usize),
        others in prop::collection::vec((0..64usize, 0..4u8, 0..4000u64), 0..12),
    ) {
        let calm = hang(&plan, &[], None, &hung, jammed, &others);
        let stuck = hang(&plan, &hung, jammed, &hung, jammed, &others);
        prop_assert_eq!(&stuck.violations, &Vec::<String>::new());
        prop_assert_eq!(calm.actions, stuck.actions);
        // The unit of a hung path has other paths, which are asked as often as before.
        let interval = Settings::default().check_interval_ms;
        for (path, pause) in stuck.pauses {
            prop_assert!(pause <= interval.after(Millis(100)), "{path} was not checked for {pause:?}");
        }
    }

    /// Invariant 3: when an array write-protects LUNs on some ports and not on others, writers use the ports that
    /// accept writes. If none does, the map is read-only, and when all do again it accepts writes again.
    #[test]
    fn no_write_goes_to_a_port_that_refuses_it(
        mut plan in plan(),
        ops in prop::collection::vec((0usize..64, 0u8..6, 0u64..20_000), 0..20),
    ) {
        plan.io = true;
        for unit in &mut plan.units {
            unit.states.fill(AccessState::ActiveOptimized);
        }
        let mut run = Run::new(&plan);
        let paths = run.paths.clone();
        for (n, what, pause) in ops {
            let path = paths[n % paths.len()];
            run.inject(match what {
                0 | 1 => Fault::Protect(path, true),
                2 => Fault::Protect(path, false),
                3 => Fault::LinkDown(path),
                4 => Fault::Delete(path),
                _ => Fault::Add(path),
            });
            run.sim.run_for(Millis(pause));
        }
        for path in &paths {
            run.inject(Fault::Add(*path));
            run.inject(Fault::LinkUp(*path));
        }
        // Each path is asked every four minutes.
        run.sim.run_for(seconds(60 * 4 + 20));
        let refused = run.sim.kernel.ledger.refused_writes;
        run.sim.run_for(seconds(60));
        prop_assert_eq!(run.sim.kernel.ledger.refused_writes, refused);
        for (name, map) in run.sim.kernel.maps() {
            let array = &run.sim.kernel.array;
            let held: Vec<bool> = run.sim.kernel.disks()
                .filter(|(_, disk)| map.dm.devs().contains(&disk.dev()))
                .map(|(path, _)| array.is_write_protected(*path))
                .collect();
            prop_assert!(held.iter().all(|one| *one == map.dm.is_read_only()), "{name}: {held:?}");
        }
        for path in &paths {
            run.inject(Fault::Protect(*path, false));
        }
        run.sim.run_for(seconds(80));
        for (name, map) in run.sim.kernel.maps() {
            prop_assert!(!map.dm.is_read_only(), "{name} is still read-only");
        }
        prop_assert_eq!(&run.sim.kernel.ledger.wrong_writes, &vec![]);
        always(&run)?;
    }

    /// Invariant 5: while all that is known is that there is no answer, a map keeps one path.
    #[test]
    fn the_last_path_is_not_failed_on_unknown(
        mut plan in plan(),
        ops in prop::collection::vec(doubt_op(), 0..30),
    ) {
        plan.io = false;
        let good = [AccessState::ActiveOptimized, AccessState::ActiveNonOptimized];
        for unit in &mut plan.units {
            for (n, state) in unit.states.iter_mut().enumerate() {
                *state = good[n % 2];
            }
        }
        let mut run = Run::new(&plan);
        for op in &ops {
            run.op(op);
            let end = run.sim.now().after(Millis(50));
            while run.sim.step(end) {
                for (name, map) in run.sim.kernel.maps() {
                    let observed = map.dm.observe();
                    let Ok(status) = observed.status else { continue };
                    let mut paths = status.groups.iter().flat_map(|group| &group.paths);
                    prop_assert!(paths.any(|path| path.active), "{name} has no path left after {op:?}");
                }
            }
        }
        prop_assert_eq!(&run.sim.kernel.ledger.queueing_ended, &vec![]);
        always(&run)?;
    }

    /// Invariant 5: a map that was seen open is not removed, whatever happened to its paths and its unit. A closed map
    /// is removed if none of its paths is left.
    #[test]
    fn an_open_map_is_never_removed(
        mut plan in plan(),
        ops in prop::collection::vec(closing_op(), 0..30),
    ) {
        plan.io = false;
        let mut run = Run::new(&plan);
        run.play(&ops);
        run.sim.run_for(seconds(30));
        always(&run)?;
        for path in run.paths.clone() {
            run.inject(Fault::Delete(path));
        }
        run.sim.run_for(seconds(30));
        always(&run)?;
        for (name, map) in run.sim.kernel.maps() {
            prop_assert!(map.dm.open_count > 0, "{name} is left although nobody has it open");
        }
    }

    /// Invariant 6: if the array decides, this host sends no SET TARGET PORT GROUPS while a path serves.
    #[test]
    fn an_array_that_moves_units_is_followed_and_never_commanded(
        mut plan in plan(),
        ops in prop::collection::vec(moving_op(), 0..30),
    ) {
        plan.io = true;
        let good = [AccessState::ActiveOptimized, AccessState::ActiveNonOptimized];
        for unit in &mut plan.units {
            unit.tpgs = Tpgs::Both;
            for (n, state) in unit.states.iter_mut().enumerate() {
                *state = good[n % 2];
            }
        }
        let mut run = Run::new(&plan);
        run.play(&ops);
        run.sim.run_for(seconds(30));
        prop_assert_eq!(&run.sim.kernel.array.stpgs, &vec![]);
        prop_assert_eq!(&run.sim.kernel.ledger.io_errors, &vec![]);
        always(&run)?;
    }
}
