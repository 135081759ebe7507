//! How the agent handles errors of ordinary I/O that the kernel reports: it checks, and does no harm meanwhile.
//!
//! The host and the array are those of `sim/`, as in `tests/world.rs`. A1 and A2 (8:0, 8:32) lead to the optimized
//! controller, B1 and B2 (8:16, 8:48) to the other. Lab: `tests/lab/scenario/28-io-errors.sh`.

mod san;

use dm_psa::psa::action::Action;
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::event::{Event, IoTrouble};
use dm_psa::psa::units::{DevT, Hctl, Millis};
use dm_psa::psa::world::World;
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::outcome::Outcome;
use dm_psa::scsi::sense::{ABORTED_COMMAND, HARDWARE_ERROR, ILLEGAL_REQUEST, Sense};
use dm_psa::scsi::vpd::DEVICE_IDENTIFICATION;
use dm_psa::sim::array::Unit;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::run::Simulation;
use san::*;
use std::collections::BTreeSet;

const PAGE83: Command = Command::Vpd(DEVICE_IDENTIFICATION);

const EIO: i32 = 5;
const ENODATA: i32 = 61;
const EREMOTEIO: i32 = 121;

/// LOGICAL BLOCK ADDRESS OUT OF RANGE: the answer of a smaller unit.
const OUT_OF_RANGE: Sense = Sense {
    key: ILLEGAL_REQUEST,
    asc: 0x21,
    ascq: 0,
};
/// INTERNAL TARGET FAILURE.
const TARGET_FAILURE: Sense = Sense {
    key: HARDWARE_ERROR,
    asc: 0x44,
    ascq: 0,
};

fn given_up(sim: &Simulation, path: Hctl, errno: i32) -> Event {
    let disk = sim.kernel.disk(path).unwrap().dev();
    let what = IoTrouble::GivenUp { disk, errno };
    Event::IoTrouble { what, count: 1 }
}

fn once(what: IoTrouble) -> Event {
    Event::IoTrouble { what, count: 1 }
}

/// The paths that were asked this since this entry of the journal.
fn asked(sim: &Simulation, from: usize, command: &Command) -> Vec<Hctl> {
    let actions = sim.journal[from..].iter().flat_map(|entry| &entry.actions);
    let asked = actions.filter_map(|action| match action {
        Action::Examine(asked) if asked.commands.contains(command) => Some(asked.path),
        _ => None,
    });
    asked.collect()
}

fn notices_of(sim: &Simulation, from: usize, code: &str) -> Vec<String> {
    let mut notices = notices(sim, from);
    notices.retain(|line| line.starts_with(code));
    notices
}

#[test]
fn a_path_with_a_target_error_rests_until_it_has_proven_itself() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.deliver(given_up(&sim, A1, EREMOTEIO));
    assert_eq!(steps(&sim, mark), ["fail_path 8:0"]);
    // A unit usually changes on all ports: the paths that take over are asked too, and serve meanwhile.
    assert_eq!(asked(&sim, mark, &PAGE83), [A1, B1, A2, B2]);
    sim.run_for(Millis(200));
    assert_eq!(steps(&sim, mark), ["fail_path 8:0", "reinstate_path 8:0"]);
    // Once each.
    assert_eq!(asked(&sim, mark, &PAGE83), [A1, B1, A2, B2]);
    let notices = notices_of(&sim, mark, "IO_ERROR");
    assert_eq!(notices.len(), 1);
    assert!(
        notices[0].contains("target error (errno 121)"),
        "{notices:?}"
    );
    unharmed(&sim);
}

#[test]
fn a_lun_that_leads_elsewhere_is_found_by_its_first_error() {
    let run = |reports| {
        let mut kernel = four_paths();
        kernel.reports_io = reports;
        let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
        let mut sim = running(kernel);
        sim.io_every = Some(Millis(20));
        sim.inject(&Fault::Open(0, 1));
        let mark = sim.journal.len();
        // No unit attention, and only the first I/O is refused.
        sim.inject_all(&[
            Fault::Remap(A1, Some(other), false),
            Fault::Refuse(A1, OUT_OF_RANGE, 1),
        ]);
        sim.run_for(seconds(4));
        let wrong = sim.kernel.ledger.wrong_writes.len();
        (wrong, notices_of(&sim, mark, "PATH_QUARANTINED"))
    };
    let (wrong, quarantined) = run(true);
    assert_eq!(wrong, 0);
    assert_eq!(quarantined.len(), 1, "{quarantined:?}");
    assert!(
        run(false).0 > 0,
        "without reports no write goes wrong, so the example shows nothing"
    );
}

#[test]
fn the_only_path_is_checked_and_stays_in_use() {
    let mut sim = running(four_paths());
    sim.inject_all(&[A2, B1, B2].map(Fault::LinkDown));
    sim.run_for(seconds(20));
    let mark = sim.journal.len();
    for what in [
        given_up(&sim, A1, EREMOTEIO),
        once(IoTrouble::TimedOut(A1)),
        once(IoTrouble::HostRecovers(A1.host)),
    ] {
        sim.deliver(what);
        sim.run_for(Millis(300));
    }
    assert!(asked(&sim, mark, &PAGE83).contains(&A1));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
}

/// Failing the last optimized path would make the other controller take over, and on many arrays move the unit.
#[test]
fn a_hint_moves_no_unit_to_another_controller() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::LinkDown(A2));
    sim.run_for(seconds(10));
    let mark = sim.journal.len();
    sim.deliver(given_up(&sim, A1, EREMOTEIO));
    sim.deliver(once(IoTrouble::TimedOut(A1)));
    sim.run_for(seconds(1));
    assert!(asked(&sim, mark, &PAGE83).contains(&A1));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    // All optimized paths have errors at the same time: one of them stays.
    sim.inject(&Fault::LinkUp(A2));
    sim.run_for(seconds(20));
    let mark = sim.journal.len();
    sim.run_for(seconds(60));
    for path in [A1, A2, B1, B2] {
        sim.deliver(given_up(&sim, path, EREMOTEIO));
    }
    let failed = steps(&sim, mark);
    assert!(
        !(failed.contains(&"fail_path 8:0".to_owned())
            && failed.contains(&"fail_path 8:32".to_owned())),
        "{failed:?}"
    );
    sim.run_for(seconds(1));
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

#[test]
fn a_storm_of_errors_costs_little_and_no_path_flaps() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    let (mark, before) = (sim.journal.len(), sim.kernel.ledger.examinations);
    // Every path has them: errors of the unit itself, as from an application that reads beyond the end.
    for _ in 0..2_000 {
        for path in [A1, A2, B1, B2] {
            sim.deliver(given_up(&sim, path, EREMOTEIO));
        }
        sim.run_for(Millis(5));
    }
    let examinations = sim.kernel.ledger.examinations - before;
    // Ten seconds: one every 100 ms for each path, plus the regular ones.
    assert!((40..=4 * 105).contains(&examinations), "{examinations}");
    let steps = steps(&sim, mark);
    // Three of them rested once, because one had to stay in use.
    assert!(steps.len() <= 6, "{steps:?}");
    assert_eq!(
        notices_of(&sim, mark, "PATH_MARGINAL"),
        Vec::<String>::new()
    );
    assert!(notices_of(&sim, mark, "IO_ERROR").len() <= 4);
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    assert!(explained(&sim, "1:0:0:0").contains("2000 target error"));
}

/// dm passes such errors to the application and keeps the path, and TEST UNIT READY succeeds.
#[test]
fn a_path_that_alone_has_medium_errors_is_the_last_resort() {
    let errors = |reports| {
        let mut kernel = four_paths();
        kernel.reports_io = reports;
        let mut sim = running(kernel);
        sim.io_every = Some(Millis(50));
        let mark = sim.journal.len();
        sim.inject(&Fault::Refuse(A1, TARGET_FAILURE, u32::MAX));
        sim.run_for(seconds(60));
        let notices = notices_of(&sim, mark, "PATH_MARGINAL").len();
        (notices, sim.kernel.ledger.io_errors.len())
    };
    let (notices, with) = errors(true);
    assert_eq!(notices, 1);
    let (notices, without) = errors(false);
    assert_eq!(notices, 0);
    assert!(with < 60 && without > 500, "{with} of {without}");
}

#[test]
fn a_path_on_which_a_command_times_out_rests_until_it_answers() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.deliver(once(IoTrouble::TimedOut(A1)));
    assert_eq!(steps(&sim, mark), ["fail_path 8:0"]);
    assert_eq!(asked(&sim, mark, &PAGE83), [A1]);
    sim.run_for(Millis(200));
    assert_eq!(steps(&sim, mark), ["fail_path 8:0", "reinstate_path 8:0"]);
    assert_eq!(notices_of(&sim, mark, "IO_TIMEOUT").len(), 1);
    // A silent path stays out of use from the time on when the kernel knew it.
    let mark = sim.journal.len();
    sim.run_for(seconds(61));
    sim.inject(&Fault::Hang(A2));
    sim.deliver(once(IoTrouble::TimedOut(A2)));
    sim.run_for(seconds(30));
    assert_eq!(steps(&sim, mark), ["fail_path 8:32"]);
    unharmed(&sim);
}

#[test]
fn paths_of_a_recovering_host_are_checked_and_stay_in_use() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    let recovers = || once(IoTrouble::HostRecovers(A1.host));
    sim.deliver(recovers());
    assert_eq!(asked(&sim, mark, &Command::TestUnitReady), [A1, B1]);
    sim.run_for(Millis(500));
    sim.deliver(recovers());
    assert_eq!(asked(&sim, mark, &Command::TestUnitReady), [A1, B1]);
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    assert_eq!(notices_of(&sim, mark, "HOST_RECOVERY").len(), 1);
    // A host without paths of the agent.
    sim.deliver(once(IoTrouble::HostRecovers(9)));
    assert_eq!(notices_of(&sim, mark, "HOST_RECOVERY").len(), 1);
}

#[test]
fn errors_that_dm_handles_itself_are_only_counted() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.deliver(given_up(&sim, A1, EIO));
    sim.deliver(once(IoTrouble::NotTaken(A1)));
    let busy = once(IoTrouble::Ended {
        path: A1,
        outcome: Outcome::Busy,
    });
    sim.deliver(busy);
    assert!(
        sim.journal[mark..]
            .iter()
            .all(|entry| entry.actions.is_empty())
    );
    let explained = explained(&sim, "1:0:0:0");
    assert!(
        explained.contains("1 other error, 1 failed command, 1 refused by the driver"),
        "{explained}"
    );
    assert!(
        explained.contains("failed command: BUSY") || explained.contains("failed command: "),
        "{explained}"
    );
}

#[test]
fn a_medium_error_causes_a_check_and_no_rest() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.deliver(given_up(&sim, A1, ENODATA));
    sim.run_for(Millis(200));
    assert_eq!(asked(&sim, mark, &PAGE83), [A1]);
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
}

#[test]
fn aborted_commands_and_timeouts_count_as_failures_of_a_path() {
    let aborted = Outcome::CheckCondition(Sense {
        key: ABORTED_COMMAND,
        asc: 0x4b,
        ascq: 0,
    });
    for what in [
        IoTrouble::Ended {
            path: A1,
            outcome: aborted,
        },
        IoTrouble::TimedOut(A1),
    ] {
        let mut sim = running(four_paths());
        let mark = sim.journal.len();
        for number in 0..16 {
            let marginal = notices_of(&sim, mark, "PATH_MARGINAL");
            assert_eq!(marginal, Vec::<String>::new(), "{what:?}: {number}");
            sim.deliver(once(what.clone()));
            sim.run_for(Millis(500));
        }
        assert_eq!(notices_of(&sim, mark, "PATH_MARGINAL").len(), 1, "{what:?}");
    }
}

/// An error that is reported while the path is being asked may be newer than the answers.
#[test]
fn a_path_is_checked_again_after_an_error_during_its_check() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.deliver(given_up(&sim, A1, ENODATA));
    sim.deliver(given_up(&sim, A1, ENODATA));
    sim.run_for(Millis(150));
    assert_eq!(asked(&sim, mark, &PAGE83), [A1, A1]);
    sim.run_for(Millis(500));
    assert_eq!(asked(&sim, mark, &PAGE83), [A1, A1]);
}

#[test]
fn more_is_reported_for_a_while_after_an_error() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    for _ in 0..300 {
        sim.deliver(given_up(&sim, A1, EREMOTEIO));
        sim.run_for(Millis(1_000));
    }
    let actions = sim.journal[mark..].iter().flat_map(|entry| &entry.actions);
    let orders = actions.filter(|action| matches!(action, Action::WatchClosely(_)));
    // Continuous errors are one series.
    assert_eq!(orders.count(), 1);
    sim.run_for(seconds(61));
    let mark = sim.journal.len();
    sim.deliver(given_up(&sim, A1, EREMOTEIO));
    let mut actions = sim.journal[mark..].iter().flat_map(|entry| &entry.actions);
    assert!(actions.any(|action| matches!(action, Action::WatchClosely(_))));
}

#[test]
fn unknown_addresses_are_ignored_and_errors_of_disks_left_to_the_host_are_only_counted() {
    let mut kernel = four_paths();
    let unit = kernel.array.add(Unit::new(9, &[]));
    let local = path(5, 0, 0);
    kernel.cable(local, Transport::Sata, unit, 1, 1);
    let mut sim = running(kernel);
    let mark = sim.journal.len();
    sim.deliver(given_up(&sim, local, EREMOTEIO));
    let disk = DevT {
        major: 253,
        minor: 0,
    };
    for what in [
        IoTrouble::GivenUp {
            disk,
            errno: EREMOTEIO,
        },
        IoTrouble::TimedOut(path(1, 0, u64::from(u32::MAX))),
        IoTrouble::TimedOut(local),
    ] {
        sim.deliver(once(what));
    }
    assert!(
        sim.journal[mark..]
            .iter()
            .all(|entry| entry.actions.is_empty())
    );
    assert!(explained(&sim, "5:0:0:0").contains("1 target error, 1 timeout"));
}

#[test]
fn lost_reports_are_reported_once_a_minute() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    for _ in 0..100 {
        sim.deliver(Event::IoTroubleLost(7));
        sim.run_for(Millis(50));
    }
    let notices = notices_of(&sim, mark, "IO_REPORTS_LOST");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(sim.world.figures(Millis(0)).statistics.lost_io_reports, 700);
}

/// One of the lost reports may say that a LUN leads to another unit, while I/O writes to it.
#[test]
fn after_lost_reports_each_path_proves_itself() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    sim.run_for(seconds(20));
    let mark = sim.journal.len();
    sim.deliver(Event::IoTroubleLost(1));
    sim.run_for(Millis(200));
    let asked: BTreeSet<Hctl> = asked(&sim, mark, &PAGE83).into_iter().collect();
    assert_eq!(asked, BTreeSet::from([A1, A2, B1, B2]));
    unharmed(&sim);
}

#[test]
fn errors_are_replayed() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Refuse(A1, OUT_OF_RANGE, 3));
    sim.io_every = Some(Millis(20));
    sim.run_for(seconds(2));
    assert!(
        sim.journal
            .iter()
            .any(|entry| matches!(entry.event, Event::IoTrouble { .. }))
    );
    assert_eq!(sim.replay(), Ok(()));
    // The journal stores the world as JSON, and continues from there.
    let text = serde_json::to_string(&sim.world).unwrap();
    let copy: World = serde_json::from_str(&text).unwrap();
    assert_eq!(copy.explain("1:0:0:0"), sim.world.explain("1:0:0:0"));
}
