//! The promises of the decision core, over random scripts of faults on small simulated hosts.
//!
//! Each property is an invariant of the design: convergence, idempotence, identity, exclusivity, no harm, order,
//! totality, round trip. What a host should look like when faults have stopped is worked out by `san::oracle`, from
//! the state of the cables and the array alone. `PROPTEST_CASES` raises the number of cases.

mod san;

use dm_psa::psa::action::{Action, MapStep};
use dm_psa::psa::table::emit::emit;
use dm_psa::psa::table::model::Table;
use dm_psa::psa::table::parse::parse;
use dm_psa::psa::units::Millis;
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::Link;
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use san::oracle::{Fate, fate, oracle};
use san::script::{APD, LAG, REST, Run, doubt_op, gap_op, moving_op, op, plan};
use san::{config, seconds};

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
        // The paths of a masked unit serve nobody. It has a map if one of its paths led elsewhere when it was claimed.
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

proptest! {
    #![proptest_config(config(300))]

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
        // Idempotence: from here on nothing is done but to check and to look. (The I/O may have activated a group, and a path
        // that says that it is well is believed after a minute at the latest.)
        run.sim.io_every = None;
        run.sim.run_for(seconds(70));
        let mark = run.sim.journal.len();
        run.sim.run_for(seconds(30));
        for entry in run.sim.journal.iter().skip(mark) {
            for action in &entry.actions {
                let idle = match action {
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

proptest! {
    #![proptest_config(config(150))]

    /// Invariant 3: a path that was away, and comes back as another unit, carries nothing for the one before.
    #[test]
    fn no_write_reaches_a_wrong_unit_after_a_gap(
        mut plan in plan(),
        ops in prop::collection::vec(gap_op(), 0..30),
    ) {
        plan.io = true;
        let mut run = Run::new(&plan);
        run.play(&ops);
        run.sim.run_for(seconds(30));
        prop_assert_eq!(&run.sim.kernel.ledger.wrong_writes, &vec![]);
        always(&run)?;
    }

    /// Invariant 5: while nothing more is known than that there is no answer, a map keeps a path.
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

    /// Invariant 6: where the array decides, this host sends no SET TARGET PORT GROUPS while a path serves.
    #[test]
    fn an_array_that_moves_units_is_followed_and_never_told(
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
