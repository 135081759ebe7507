//! All paths down: I/O waits until one deadline, and no longer.
//!
//! The deadline depends on what the kernel's map can use, whatever the checks say, and it survives a restart of the
//! agent.

mod san;

use dm_psa::psa::evidence::PathState;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::model::QueueMode;
use dm_psa::psa::table::parse::parse;
use dm_psa::psa::units::{Hctl, Millis, Sectors};
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::{
    AccessState, StatusCode, SupportedStates, TargetPortGroup, TargetPortGroups,
};
use dm_psa::sim::array::{Answer, Unit};
use dm_psa::sim::fault::Fault;
use dm_psa::sim::run::Simulation;
use san::*;

const UNIT: &str = "naa.6001405a000000000000000000000001";
const UUID: &str = "mpath-36001405a000000000000000000000001";
const ALL: [Hctl; 4] = [A1, A2, B1, B2];

fn settings() -> Settings {
    Settings {
        apd_timeout_ms: seconds(60),
        ..Settings::default()
    }
}

fn queues(sim: &Simulation) -> bool {
    maps(sim)[0].contains("queue_if_no_path")
}

fn count(sim: &Simulation, code: &str) -> usize {
    let notices = notices(sim, 0);
    notices.iter().filter(|line| line.starts_with(code)).count()
}

/// The first I/O error comes when the APD time expires, counted from the notice of the first outage.
fn fails_in_time(sim: &Simulation) {
    let first = sim.kernel.ledger.io_errors.first().map(|(at, _)| *at);
    let began = sim.notices.iter().find(|(_, n)| n.code == "APD_START");
    let began = began.map(|(at, _)| *at).unwrap();
    let (from, to) = (began.after(seconds(60)), began.after(seconds(63)));
    assert!(
        first >= Some(from) && first <= Some(to),
        "{first:?} {began:?}"
    );
}

/// Commands never return: the kernel fails each path after 30 s, and from then on no path is usable.
#[test]
fn silent_paths_are_an_outage_when_the_kernel_has_failed_them() {
    let mut sim = running_with(four_paths(), settings());
    sim.inject_all(&ALL.map(Fault::Hang));
    sim.run_for(seconds(600));
    assert_eq!(count(&sim, "APD_START"), 1);
    assert_eq!(count(&sim, "APD_TIMEOUT"), 1);
    fails_in_time(&sim);
    sim.inject_all(&ALL.map(Fault::LinkUp));
    sim.run_for(seconds(70));
    assert!(
        queues(&sim) && maps(&sim)[0].ends_with("AA AA"),
        "{:?}",
        maps(&sim)
    );
}

/// While the kernel holds I/O on a silent path, that I/O may still complete.
#[test]
fn a_silent_path_that_the_kernel_uses_is_not_an_outage() {
    let mut sim = running_with(four_paths(), settings());
    sim.io_every = None;
    sim.inject_all(&ALL.map(Fault::Hang));
    sim.run_for(seconds(600));
    assert_eq!(count(&sim, "APD_"), 0);
    assert!(queues(&sim));
}

fn implicit(states: &[(u16, AccessState)]) -> Simulation {
    let mut kernel = steady();
    let unit = Unit {
        tpgs: Tpgs::Implicit,
        ..Unit::new(1, states)
    };
    cable_unit(&mut kernel, 0, unit);
    running_with(kernel, settings())
}

#[test]
fn paths_in_standby_that_only_the_array_can_end_are_an_outage() {
    for io in [false, true] {
        let mut sim = implicit(&[(1, AO), (2, STANDBY)]);
        sim.io_every = io.then_some(Millis(100));
        sim.inject_all(&[A1, A2].map(Fault::LinkDown));
        sim.run_for(seconds(30));
        assert_eq!(count(&sim, "APD_START"), 1, "{io}");
        assert!(queues(&sim));
        sim.run_for(seconds(60));
        assert!(!queues(&sim), "{io} {:?}", maps(&sim));
        // The array takes over.
        sim.inject(&Fault::Access(0, vec![(1, STANDBY), (2, AO)]));
        sim.run_for(seconds(10));
        assert!(queues(&sim) && count(&sim, "APD_EXIT") == 1);
    }
}

#[test]
fn a_transition_without_an_end_becomes_an_outage() {
    let transitioning = AccessState::Transitioning;
    let mut sim = running_with(four_paths(), settings());
    sim.inject(&Fault::Access(
        0,
        vec![(1, transitioning), (2, transitioning)],
    ));
    sim.run_for(seconds(50));
    assert_eq!(count(&sim, "APD_"), 0);
    sim.run_for(seconds(30));
    assert_eq!(count(&sim, "APD_START"), 1);
    let text = explained(&sim, UNIT);
    assert!(
        text.contains("the transition of its access state does not end"),
        "{text}"
    );
    sim.run_for(seconds(60));
    assert!(!queues(&sim));
    sim.inject(&Fault::Access(0, vec![(1, AO), (2, ANO)]));
    sim.run_for(seconds(10));
    assert!(
        queues(&sim) && maps(&sim)[0].ends_with("AA AA"),
        "{:?}",
        maps(&sim)
    );
}

/// A transition that ends in time makes no I/O fail.
#[test]
fn a_transition_that_ends_is_not_an_outage() {
    let transitioning = AccessState::Transitioning;
    let mut sim = running_with(four_paths(), settings());
    for _ in 0..5 {
        sim.inject(&Fault::Access(
            0,
            vec![(1, transitioning), (2, transitioning)],
        ));
        sim.run_for(seconds(40));
        sim.inject(&Fault::Access(0, vec![(1, AO), (2, ANO)]));
        sim.run_for(seconds(20));
    }
    assert_eq!(count(&sim, "APD_"), 0);
    unharmed(&sim);
}

/// Checks succeed but I/O fails, either immediately or only after the kernel's timeout.
#[test]
fn a_last_path_whose_io_always_fails_does_not_end_the_outage() {
    let mut sim = running_with(four_paths(), settings());
    sim.inject_all(&[A2, B1, B2].map(Fault::LinkDown));
    sim.inject(&Fault::Sicken(A1, true));
    sim.run_for(seconds(300));
    fails_in_time(&sim);
    assert_eq!(count(&sim, "APD_TIMEOUT"), 1);
    sim.inject(&Fault::Sicken(A1, false));
    sim.run_for(seconds(30));
    assert!(queues(&sim));
    let errors = sim.kernel.ledger.io_errors.len();
    sim.run_for(seconds(100));
    assert_eq!(sim.kernel.ledger.io_errors.len(), errors);
}

/// An outage ends and another one begins later: each may last the whole APD time.
#[test]
fn a_path_that_carries_io_again_ends_the_outage_for_good() {
    let mut sim = running_with(four_paths(), settings());
    sim.inject_all(&[A2, B1, B2].map(Fault::LinkDown));
    for _ in 0..4 {
        sim.inject(&Fault::LinkDown(A1));
        sim.run_for(seconds(50));
        sim.inject(&Fault::LinkUp(A1));
        sim.run_for(seconds(70));
    }
    unharmed(&sim);
    sim.inject(&Fault::Sicken(A1, true));
    sim.run_for(seconds(40));
    sim.inject(&Fault::Sicken(A1, false));
    sim.run_for(seconds(90));
    sim.inject(&Fault::LinkDown(A1));
    sim.run_for(seconds(55));
    unharmed(&sim);
}

/// Repeated kills of the agent do not prolong an outage, and a first start does not shorten it.
#[test]
fn the_deadline_survives_a_restart_of_the_agent() {
    let mut sim = running_with(four_paths(), settings());
    sim.inject_all(&ALL.map(Fault::LinkDown));
    for _ in 0..12 {
        sim.run_for(seconds(4));
        sim.inject(&Fault::RestartAgent);
    }
    assert_eq!(sim.kernel.ledger.io_errors, vec![]);
    for _ in 0..10 {
        sim.run_for(seconds(4));
        sim.inject(&Fault::RestartAgent);
    }
    fails_in_time(&sim);
    sim.inject_all(&ALL.map(Fault::LinkUp));
    sim.run_for(seconds(20));
    assert!(queues(&sim));
    // An outage that ended is forgotten: the next one may last the whole APD time, also with a new agent.
    let errors = sim.kernel.ledger.io_errors.len();
    for restart in [false, true] {
        sim.inject_all(&ALL.map(Fault::LinkDown));
        if restart {
            sim.inject(&Fault::RestartAgent);
        }
        sim.run_for(seconds(55));
        assert_eq!(sim.kernel.ledger.io_errors.len(), errors, "{restart}");
        sim.inject_all(&ALL.map(Fault::LinkUp));
        sim.run_for(seconds(20));
    }
}

fn report(states: &[(u16, AccessState)]) -> Answer {
    let group = |(id, access_state): &(u16, AccessState)| TargetPortGroup {
        id: *id,
        access_state: *access_state,
        preferred: false,
        status_code: StatusCode::Implicit,
        supported: SupportedStates::from_byte(0xcf),
        vendor_specific: 0,
        relative_target_ports: vec![*id * 10 + 1, *id * 10 + 2],
    };
    let report = TargetPortGroups {
        implicit_transition_time: Some(0),
        groups: states.iter().map(group).collect(),
    };
    Answer::good(report.to_bytes())
}

/// The controller of A reports all groups as unavailable; the ports of B report their own state.
#[test]
fn a_report_by_another_port_takes_no_group_out_of_use() {
    let unavailable = AccessState::Unavailable;
    let mut sim = running_with(four_paths(), settings());
    for path in [A1, A2] {
        let lie = report(&[(1, unavailable), (2, unavailable)]);
        let ask = Command::ReportTargetPortGroups;
        sim.inject(&Fault::Lie(path, ask, Some(lie)));
    }
    let failed: std::cell::Cell<bool> = false.into();
    for _ in 0..300 {
        sim.run_for(seconds(1));
        for path in [B1, B2] {
            let state = sim.world.paths().find(|(id, _)| **id == path);
            let state = state.map(|(_, path)| path.state());
            failed.set(failed.get() || !state.is_some_and(PathState::serves_io));
        }
    }
    assert!(!failed.get(), "{:?}", maps(&sim));
    assert!(maps(&sim)[0].ends_with("AA"), "{:?}", maps(&sim));
    assert_eq!(count(&sim, "APD_"), 0);
    unharmed(&sim);
}

/// An adopted bio-based map fails the I/O that it queues at each table load.
#[test]
fn no_table_is_loaded_over_io_that_a_bio_based_map_queues() {
    let mut kernel = four_paths();
    let members = "8:0 1 1 8:16 1 1 8:32 1 1";
    let text = format!("3 queue_if_no_path queue_mode bio 0 1 1 service-time 0 3 2 {members}");
    let table = parse(Sectors(204_800), &text).unwrap();
    assert_eq!(table.features.queue_mode, Some(QueueMode::Bio));
    kernel.make_map(UNIT, UUID, &table).unwrap();
    for path in ALL {
        kernel.inject(Millis(0), &Fault::LinkDown(path));
    }
    kernel.open_map(UNIT, 1);
    let mut sim = Simulation::start(kernel, settings());
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(30));
    assert_eq!(tables(&sim, 0), Vec::<String>::new());
    // Only the path that is not in the table returns: no table is loaded before the queue is empty.
    sim.inject(&Fault::LinkUp(B2));
    sim.run_for(seconds(20));
    assert_eq!(tables(&sim, 0), Vec::<String>::new());
    assert_eq!(sim.kernel.ledger.io_errors, vec![]);
    // A path of the table returns, so a table can be loaded now.
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(60));
    assert_eq!(tables(&sim, 0).len(), 1);
    unharmed(&sim);
}

/// A map is resumed although the kernel refuses its table.
#[test]
fn a_suspended_map_is_resumed_while_its_table_is_refused() {
    let mut sim = running_with(four_paths(), settings());
    sim.inject(&Fault::RefuseTables(0, 22, 1000));
    // A change that needs a new table: the paths form other groups.
    sim.inject(&Fault::Access(0, vec![(1, AO), (2, AO)]));
    sim.run_for(seconds(100));
    for _ in 0..5 {
        let mark = sim.now();
        sim.inject(&Fault::Suspend(0));
        sim.run_for(seconds(2));
        let map = sim.kernel.map(UNIT).unwrap();
        assert!(!map.suspended, "since {mark:?}");
        sim.run_for(seconds(13));
    }
    unharmed(&sim);
}

/// The kernel fails a path right after a table load, which resets its failure counts: this still counts as a failure.
#[test]
fn a_path_that_fails_right_after_a_table_load_proves_itself_first() {
    let mut sim = running_with(four_paths(), settings());
    sim.run_for(seconds(5));
    // The kernel fails A1 once: its count is 1.
    sim.inject(&Fault::Sicken(A1, true));
    sim.run_for(Millis(300));
    sim.inject(&Fault::Sicken(A1, false));
    sim.run_for(seconds(90));
    // A new table, and the first I/O on A1 fails again before the agent reads the map: the count is 1 again.
    sim.inject(&Fault::Access(0, vec![(1, AO), (2, AO)]));
    sim.inject(&Fault::Sicken(A1, true));
    let mark = sim.journal.len();
    let loads = tables(&sim, 0).len();
    while tables(&sim, 0).len() == loads {
        sim.run_for(Millis(100));
    }
    sim.run_for(seconds(1));
    let notices = notices(&sim, mark);
    let seen = notices
        .iter()
        .filter(|line| line.starts_with("PATH_FAILED_BY_KERNEL"));
    assert!(seen.count() >= 1, "{notices:?}");
    unharmed(&sim);
}

/// Memory is short when the map is read after a load: its disks are still in use.
#[test]
fn a_map_that_could_not_be_read_keeps_its_disks() {
    let mut sim = running_with(four_paths(), settings());
    sim.inject(&Fault::Open(0, 1));
    sim.run_for(seconds(20));
    sim.inject(&Fault::Access(0, vec![(1, AO), (2, AO)]));
    sim.kernel.unreadable_maps = 1;
    while sim.kernel.unreadable_maps > 0 {
        sim.run_for(Millis(1));
    }
    sim.run_for(Millis(50));
    let device = sim.world.devices().next().unwrap();
    let map = sim.world.map_of(device.wwid()).unwrap();
    assert!(map.status.is_err() && map.table.is_ok(), "{map:?}");
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with(" AAAA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

#[test]
fn partitions_that_are_not_open_are_removed_with_their_map() {
    let mut sim = running_with(four_paths(), settings());
    sim.io_every = None;
    sim.inject(&Fault::Partitions(0, vec![0, 1]));
    for path in ALL {
        sim.inject(&Fault::Remap(path, None, false));
    }
    sim.run_for(seconds(120));
    assert!(sim.kernel.map(UNIT).is_some(), "a partition is open");
    sim.inject(&Fault::Partitions(0, vec![0, 0]));
    sim.run_for(seconds(30));
    assert!(sim.kernel.map(UNIT).is_none());
}

/// The link is down now and then, and no I/O succeeds while it is up. A check that finds the link down says nothing
/// about the I/O.
#[test]
fn a_path_that_comes_and_goes_and_fails_all_io_does_not_end_the_outage() {
    for (up, down) in [(4_000, 1_000), (2_500, 1_500), (1_500, 3_500)] {
        let mut sim = running_with(four_paths(), settings());
        sim.inject_all(&[A2, B1, B2].map(Fault::LinkDown));
        sim.inject(&Fault::Sicken(A1, true));
        for _ in 0..60 {
            sim.inject(&Fault::LinkDown(A1));
            sim.run_for(Millis(down));
            sim.inject(&Fault::LinkUp(A1));
            sim.run_for(Millis(up));
        }
        let first = sim.kernel.ledger.io_errors.first();
        assert!(first.is_some(), "{up} {down}");
    }
}

/// The outage began before the agent started: the remaining time to queue is shorter than the hold of a takeover budget
/// with an unknown history.
#[test]
fn a_waiting_path_that_returns_near_the_deadline_is_tried_before_io_fails() {
    for left in [20, 9, 6] {
        let mut kernel = steady();
        let unit = Unit {
            tpgs: Tpgs::Explicit,
            ..Unit::new(1, &[(1, AO), (2, STANDBY)])
        };
        cable_unit(&mut kernel, 0, unit);
        let mut sim = running_with(kernel, settings());
        sim.inject(&Fault::Open(0, 1));
        sim.inject_all(&ALL.map(Fault::LinkDown));
        sim.run_for(seconds(60 - left - 3));
        sim.restart_agent();
        sim.run_for(seconds(3));
        sim.inject_all(&[B1, B2].map(Fault::LinkUp));
        sim.run_for(seconds(60));
        assert!(
            sim.kernel.ledger.io_errors.is_empty(),
            "{left}: {:#?}",
            notices(&sim, 0)
        );
    }
}

/// The id of a unit that is named by text does not follow from the UUID of its map. The agent stores it, so that it
/// finds what is set for the device if it starts while no path answers.
#[test]
fn an_agent_that_starts_during_an_outage_knows_the_apd_timeout_of_the_device() {
    for named_by_text in [false, true] {
        let mut kernel = four_paths();
        kernel.array.unit_mut(0).unwrap().named_by_text = named_by_text;
        let mut settings = settings();
        let device = settings.device.entry(UNIT.into()).or_default();
        device.apd_timeout_ms = Some(seconds(20));
        let mut sim = running_with(kernel, settings);
        sim.run_for(seconds(60));
        sim.inject_all(&ALL.map(Fault::LinkDown));
        sim.inject(&Fault::RestartAgent);
        sim.run_for(seconds(90));
        let began = sim.notices.iter().find(|(_, n)| n.code == "APD_START");
        let (began, notice) = began.unwrap();
        assert_eq!(notice.subject, UNIT);
        let first = sim.kernel.ledger.io_errors.first().unwrap().0;
        assert!(
            first >= began.after(seconds(20)) && first <= began.after(seconds(23)),
            "{named_by_text}: {first:?} {began:?}"
        );
        assert!(sim.world.find_device(UNIT).is_some());
    }
}
