//! Worked examples of the decisions, one scenario each: what happens, and what the agent does about it.
//!
//! The host and the array are those of `sim/`; they do everything in a millisecond, so all longer times are the
//! agent's. Every scenario has a counterpart in `tests/lab`, on real kernels. Disks are sda = 8:0, sdb = 8:16, and so
//! on in the order of their paths; see `san` for which path leads where.

mod san;

use dm_psa::psa::action::Action;
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::event::{Event, Examination, Reply, UnitAttention};
use dm_psa::psa::evidence::PathState;
use dm_psa::psa::facts::Usage;
use dm_psa::psa::names::Wwid;
use dm_psa::psa::settings::{DeviceSettings, LonePaths, MapNames, PspKind, RoundRobin, Settings};
use dm_psa::psa::table::model::{Map, Message};
use dm_psa::psa::units::{Hctl, Millis, Sectors};
use dm_psa::psa::world::World;
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::inquiry::{StandardInquiry, Tpgs};
use dm_psa::scsi::outcome::Outcome;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::scsi::vpd::DEVICE_IDENTIFICATION;
use dm_psa::sim::array::{Answer, Unit};
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::Kernel;
use dm_psa::sim::run::Simulation;
use san::*;

/// The unit of the examples with one unit.
const UNIT: &str = "naa.6001405a000000000000000000000001";
const PAGE83: Command = Command::Vpd(DEVICE_IDENTIFICATION);

fn state(sim: &Simulation, path: Hctl) -> PathState {
    let found = sim.world.paths().find(|(id, _)| **id == path);
    found.map_or(PathState::Unknown, |(_, path)| path.state())
}

/// The number of notices with this code since this entry of the journal.
fn codes(sim: &Simulation, from: usize, code: &str) -> usize {
    notices(sim, from)
        .iter()
        .filter(|line| line.starts_with(code))
        .count()
}

/// Whether a path was sent this command since this entry of the journal.
fn asked(sim: &Simulation, from: usize, whom: Hctl, command: &Command) -> bool {
    let mut actions = sim.journal[from..].iter().flat_map(|entry| &entry.actions);
    actions.any(|action| matches!(action, Action::Examine(asked) if asked.path == whom && asked.commands.contains(command)))
}

// ---- the first table ------------------------------------------------------------------------------------------

#[test]
fn four_paths_become_one_map_with_two_groups_by_one_load() {
    let sim = running(four_paths());
    assert_eq!(
        steps(&sim, 0),
        ["create 3 queue_if_no_path pg_init_retries 50 2 alua 1 2 1 \
             service-time 0 2 1 8:0 1 8:32 1 service-time 0 2 1 8:16 1 8:48 1"]
    );
    assert_eq!(
        maps(&sim),
        [format!(
            "{UNIT}: 3 queue_if_no_path pg_init_retries 50 1 alua 2 1 \
             service-time 0 2 2 8:0 1 1 8:32 1 1 service-time 0 2 2 8:16 1 1 8:48 1 1 | AE AA AA"
        )]
    );
    let map = sim.kernel.map(UNIT).unwrap();
    assert_eq!(map.uuid, "mpath-36001405a000000000000000000000001");
    assert_eq!(sim.kernel.ledger.tables, 1);
    assert_eq!(sim.kernel.array.stpgs, []);
    for (_, disk) in sim.kernel.disks() {
        assert_eq!(sim.kernel.mark(disk.dev()), Some(true));
    }
    unharmed(&sim);
}

#[test]
fn three_controllers_in_three_states_make_three_groups_for_each_of_eight_units() {
    let mut kernel = steady();
    for lun in 0..8 {
        let states = [(1, ANO), (2, STANDBY), (3, AO)];
        add_unit(&mut kernel, lun, &states);
    }
    let sim = running(kernel);
    assert_eq!(tables(&sim, 0).len(), 8);
    // The optimized group comes first, standby last, whatever their numbers.
    assert_eq!(
        steps(&sim, 0)[0],
        "create 3 queue_if_no_path pg_init_retries 50 2 alua 1 3 1 \
         service-time 0 2 1 8:32 1 8:80 1 service-time 0 2 1 8:0 1 8:48 1 service-time 0 2 1 8:16 1 8:64 1"
    );
    assert!(maps(&sim).iter().all(|map| map.ends_with("| AEE AA AA AA")));
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

#[test]
fn paths_that_appear_one_by_one_cause_one_table() {
    let mut kernel = four_paths();
    for path in [A1, A2, B1, B2] {
        kernel.inject(Millis(0), &Fault::Delete(path));
    }
    let mut sim = running(kernel);
    assert_eq!(maps(&sim), Vec::<String>::new());
    for path in [B2, A1, A2, B1] {
        sim.inject(&Fault::Add(path));
        sim.run_for(Millis(300));
    }
    sim.run_for(seconds(5));
    assert_eq!(tables(&sim, 0).len(), 1);
    assert!(maps(&sim)[0].ends_with("| AE AA AA"));
    unharmed(&sim);
}

// ---- what is left alone ---------------------------------------------------------------------------------------

/// A host with one disk behind a RAID controller or on the main board, and one disk of the SAN.
fn with_local(transport: Transport) -> Kernel {
    let mut kernel = four_paths();
    let unit = kernel.array.add(Unit::new(9, &[]));
    kernel.cable(path(0, 0, 0), transport, unit, 0, 1);
    kernel
}

#[test]
fn a_lone_local_disk_stays_as_it_is() {
    for transport in [Transport::Sata, Transport::Block, Transport::Usb] {
        let sim = running(with_local(transport));
        assert_eq!(maps(&sim).len(), 1);
        let local = sim.kernel.disk(path(0, 0, 0)).unwrap();
        assert_eq!(sim.kernel.mark(local.dev()), Some(false));
        let text = explained(&sim, "sde");
        assert!(
            text.contains("left alone: a local disk with one path (VMW_SATP_LOCAL) stays as it is")
                || transport == Transport::Usb && text.contains("left alone: "),
            "{text}"
        );
        unharmed(&sim);
    }
}

#[test]
fn disks_in_use_are_left_alone_and_the_reason_is_reported() {
    let mounted = Usage::Mounted {
        device: "sdb1".to_owned(),
        at: "/srv".to_owned(),
    };
    let held = Usage::Held {
        device: "sdc".to_owned(),
        by: "dm-3 (vg-root)".to_owned(),
    };
    for (usage, on, why) in [
        (mounted, B1, "left alone: in use: sdb1 is mounted at /srv"),
        (
            held,
            A2,
            "left alone: in use: sdc is held by dm-3 (vg-root)",
        ),
    ] {
        let mut kernel = four_paths();
        add_unit(&mut kernel, 1, &[(1, AO), (2, ANO)]);
        kernel.inject(Millis(0), &Fault::Use(on, vec![usage]));
        let mut sim = running(kernel);
        assert_eq!(maps(&sim).len(), 1, "only the other unit has a map");
        for (_, disk) in sim.kernel.disks().filter(|(id, _)| id.lun == 0) {
            assert_eq!(sim.kernel.mark(disk.dev()), Some(false));
        }
        let text = explained(&sim, UNIT);
        assert!(text.contains(why), "{text}");
        // When it is no longer in use, it is claimed.
        sim.inject(&Fault::Use(on, vec![]));
        sim.run_for(seconds(10));
        assert_eq!(maps(&sim).len(), 2);
        unharmed(&sim);
    }
}

/// Settings that leave masked paths on the host.
fn hiding() -> Settings {
    Settings {
        remove_masked: false,
        ..Settings::default()
    }
}

#[test]
fn an_access_lun_is_masked() {
    let mut kernel = four_paths();
    let unit = kernel.array.unit_mut(0).unwrap();
    unit.vendor = "DELL".to_owned();
    unit.product = "Universal Xport".to_owned();
    let sim = running(kernel.clone());
    assert_eq!(steps(&sim, 0), Vec::<String>::new());
    assert_eq!(state(&sim, A1), PathState::Masked);
    assert_eq!(sim.kernel.disks().count(), 0);
    let rule = "rule 101 (vendor=DELL model=Universal Xport) matches: MASK_PATH";
    let text = explained(&sim, &A1.to_string());
    assert!(text.contains(rule), "{text}");
    // With a setting that leaves its disks on the host, they stay.
    let sim = running_with(kernel, hiding());
    assert_eq!(sim.kernel.disks().count(), 4);
    let text = explained(&sim, UNIT);
    assert!(text.contains(rule), "{text}");
    let alone = "left alone: all its paths are masked";
    assert!(text.contains(alone), "{text}");
}

/// A path of an access LUN is remapped to a disk. Its INQUIRY says so before the path proves which disk it is: there is
/// no map for the access LUN, but one for the disk.
#[test]
fn an_access_lun_gets_no_map_for_a_path_that_leads_elsewhere() {
    let mut kernel = four_paths();
    let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
    let unit = kernel.array.unit_mut(0).unwrap();
    unit.vendor = "DELL".to_owned();
    unit.product = "Universal Xport".to_owned();
    let settings = Settings {
        lone_paths: LonePaths::All,
        ..hiding()
    };
    let mut sim = running_with(kernel, settings);
    let mark = sim.journal.len();
    sim.inject(&Fault::Remap(A1, Some(other), true));
    let end = sim.now().after(seconds(10));
    while !asked(&sim, mark, A1, &Command::Inquiry) {
        assert!(sim.step(end));
    }
    // The array reports another unit attention meanwhile, so the current answer proves nothing.
    let kind = UnitAttention::PowerOnResetOccurred;
    sim.deliver(Event::UnitAttention { path: A1, kind });
    sim.run_for(seconds(10));
    let all = maps(&sim);
    let of_other = "naa.6001405a00000000000000000000004d";
    assert!(all.len() == 1 && all[0].starts_with(of_other), "{all:?}");
}

// ---- failures and returns -------------------------------------------------------------------------------------

#[test]
fn a_controller_fails_and_returns_without_a_table() {
    let mut sim = running(four_paths());
    for _ in 0..10 {
        let mark = sim.journal.len();
        sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
        sim.run_for(seconds(20));
        // The kernel failed over by itself; a check may have come before the I/O.
        let steps = self::steps(&sim, mark);
        assert!(
            steps.iter().all(|s| s.starts_with("fail_path")),
            "{steps:?}"
        );
        assert!(maps(&sim)[0].ends_with("| EA FF AA"), "{:?}", maps(&sim));

        let mark = sim.journal.len();
        sim.inject_all(&[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
        sim.run_for(seconds(1));
        let steps = self::steps(&sim, mark);
        assert_eq!(
            steps.iter().filter(|s| s.starts_with("reinstate")).count(),
            2,
            "{steps:?}"
        );
        assert_eq!(
            steps.iter().filter(|s| *s == "switch_group 1").count(),
            1,
            "{steps:?}"
        );
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    }
    assert_eq!(sim.kernel.ledger.tables, 1);
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

/// Without I/O only the checks find a failure.
#[test]
fn an_idle_map_follows_its_paths_within_a_check_interval() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    sim.inject(&Fault::LinkDown(A2));
    sim.run_for(seconds(6));
    assert!(maps(&sim)[0].ends_with("| AE AF AA"), "{:?}", maps(&sim));
    sim.inject(&Fault::LinkUp(A2));
    sim.run_for(seconds(1));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    assert_eq!(sim.kernel.ledger.tables, 1);
}

#[test]
fn each_path_is_deleted_and_found_again() {
    let mut sim = running(four_paths());
    for path in [A1, A2, B1, B2] {
        let old = sim.kernel.disk(path).unwrap().dev();
        sim.inject(&Fault::Delete(path));
        sim.run_for(seconds(5));
        let map = &maps(&sim)[0];
        assert!(
            !map.contains(&format!(" {old} ")),
            "{path} is still in the table: {map}"
        );
        sim.inject(&Fault::Add(path));
        sim.run_for(seconds(5));
        let new = sim.kernel.disk(path).unwrap().dev();
        let map = &maps(&sim)[0];
        assert!(
            map.contains(&format!(" {new} ")),
            "{path} is not in the table: {map}"
        );
        assert!(map.ends_with(" AA AA"), "{map}");
    }
    // For each path, one table without it and one with it.
    assert_eq!(sim.kernel.ledger.tables, 1 + 4 * 2);
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

#[test]
fn a_hung_path_is_taken_out_of_use_and_delays_no_other() {
    let mut kernel = four_paths();
    add_unit(&mut kernel, 1, &[(1, AO), (2, ANO)]);
    let mut sim = running(kernel);
    sim.io_every = None;
    sim.inject(&Fault::Hang(A1));
    sim.run_for(seconds(15));
    assert_eq!(state(&sim, A1), PathState::Unknown);
    assert!(maps(&sim)[0].ends_with(" FA AA"), "{:?}", maps(&sim));
    assert!(maps(&sim)[1].ends_with(" AA AA"), "{:?}", maps(&sim));
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(1));
    assert!(maps(&sim)[0].ends_with(" AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// A bad cable: commands succeed, I/O does not.
#[test]
fn a_path_that_passes_checks_and_fails_io_does_not_flap() {
    for alone in [false, true] {
        let mut sim = running(four_paths());
        if alone {
            sim.inject_all(&[A2, B1, B2].map(Fault::LinkDown));
        }
        let mark = sim.journal.len();
        sim.inject(&Fault::Sicken(A1, true));
        sim.run_for(seconds(600));
        let tried = steps(&sim, mark)
            .iter()
            .filter(|step| *step == "reinstate_path 8:0")
            .count();
        // Less and less often, down to once a minute; once a second if there is no other path.
        let most = if alone { 600 } else { 20 };
        assert!(tried > 5 && tried <= most, "{tried}");
        sim.inject(&Fault::Sicken(A1, false));
        sim.run_for(seconds(61));
        assert!(maps(&sim)[0].contains("| AE A"), "{:?}", maps(&sim));
        // A single path ends no outage: I/O waits for the APD time, then fails until the path carries I/O again.
        let errors = std::mem::take(&mut sim.kernel.ledger.io_errors);
        let outage = seconds(10).0..seconds(620).0;
        assert_eq!(!errors.is_empty(), alone);
        let begin = outage.start + Settings::default().apd_timeout_ms.0;
        for (at, _) in errors {
            assert!(at.0 >= begin && at.0 < outage.end, "{at:?}");
        }
        unharmed(&sim);
    }
}

/// The number of checks of paths on this host in the next ten seconds.
fn asked_in_ten_seconds(sim: &mut Simulation, host: u32) -> usize {
    let mark = sim.journal.len();
    sim.run_for(seconds(10));
    let actions = sim.journal[mark..].iter().flat_map(|entry| &entry.actions);
    let of_host =
        |action: &&Action| matches!(action, Action::Examine(asked) if asked.path.host == host);
    actions.filter(of_host).count()
}

#[test]
fn at_most_a_thousand_paths_are_retried_each_second() {
    for (units, least, most) in [(20, 750, 850), (700, 9_000, 10_100)] {
        let mut kernel = steady();
        for lun in 0..units {
            add_unit(&mut kernel, lun, &[(1, AO), (2, ANO)]);
        }
        let mut sim = running(kernel);
        let down = |unit| [A1, B1].map(|path| Fault::LinkDown(Hctl { lun: unit, ..path }));
        let faults: Vec<Fault> = (0..u64::from(units)).flat_map(down).collect();
        sim.inject_all(&faults);
        sim.run_for(seconds(5));
        assert_eq!(A1.host, B1.host);
        let asked = asked_in_ten_seconds(&mut sim, A1.host);
        assert!((least..most).contains(&asked), "{units}: {asked}");
    }
}

#[test]
fn a_standby_controller_that_cannot_be_activated_is_not_tried_in_a_loop() {
    let mut kernel = steady();
    add_unit(&mut kernel, 0, &[(1, AO), (2, STANDBY)]);
    let mut sim = running_with(kernel, short_apd());
    for path in [B1, B2] {
        let refusal = Some(Answer::check(5, 0x26, 0));
        let set = Command::SetTargetPortGroups(vec![(2, AO)]);
        sim.inject(&Fault::Lie(path, set, refusal));
    }
    let mark = sim.journal.len();
    sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
    sim.run_for(seconds(50));
    let tried = steps(&sim, mark).len();
    // Limited by the takeover budget: the longer the array refuses, the less often it is asked.
    assert!(tried > 3 && tried < 25, "{tried}");
    sim.inject_all(&[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
    sim.run_for(seconds(2));
    assert!(maps(&sim)[0].contains("| AE AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// "Unknown" is no reason to fail the last path.
#[test]
fn when_every_path_hangs_the_last_one_is_not_failed() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::Hang));
    sim.run_for(seconds(300));
    // Paths that were silent while others still answered are failed; once none answers, no more are.
    let letters = maps(&sim)[0]
        .split(" | ")
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    assert!(letters.matches('A').count() > 1, "{letters}");
    assert_eq!(sim.kernel.ledger.queueing_ended, []);
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::LinkUp));
    sim.run_for(seconds(2));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

// ---- the array moves the unit ---------------------------------------------------------------------------------

#[test]
fn the_groups_follow_the_array_by_messages_without_stpg() {
    let mut sim = running(four_paths());
    for _ in 0..5 {
        for (a, b, group) in [(ANO, AO, 2), (AO, ANO, 1)] {
            let mark = sim.journal.len();
            sim.inject(&Fault::Access(0, vec![(1, a), (2, b)]));
            sim.run_for(Millis(500));
            assert_eq!(steps(&sim, mark), [format!("switch_group {group}")]);
            sim.run_for(seconds(20));
            assert_eq!(steps(&sim, mark).len(), 1, "{:?}", steps(&sim, mark));
        }
    }
    assert_eq!(sim.kernel.ledger.tables, 1);
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

/// While the array moves the unit it passes through states in which nothing is certain.
#[test]
fn a_transition_fails_no_path() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    let moving = AccessState::Transitioning;
    sim.inject(&Fault::Access(0, vec![(1, moving), (2, moving)]));
    sim.run_for(seconds(3));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    sim.inject(&Fault::Access(0, vec![(1, ANO), (2, AO)]));
    sim.run_for(seconds(10));
    assert_eq!(steps(&sim, mark), ["switch_group 2"]);
    assert_eq!(sim.kernel.ledger.tables, 1);
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

/// The host sees only controller B; another host moves the unit to A and back.
#[test]
fn the_host_follows_a_move_by_the_array() {
    let mut kernel = four_paths();
    kernel.array.set_access(
        0,
        &[(1, ANO), (2, AO)],
        dm_psa::scsi::tpgs::StatusCode::Implicit,
        None,
    );
    kernel.inject(Millis(0), &Fault::Delete(A1));
    kernel.inject(Millis(0), &Fault::Delete(A2));
    let mut sim = running(kernel);
    assert!(maps(&sim)[0].ends_with("| A AA"), "{:?}", maps(&sim));
    for _ in 0..5 {
        for (a, b) in [(AO, ANO), (ANO, AO)] {
            sim.inject(&Fault::Access(0, vec![(1, a), (2, b)]));
            sim.run_for(seconds(20));
            assert!(maps(&sim)[0].ends_with("| A AA"), "{:?}", maps(&sim));
        }
    }
    assert_eq!(sim.kernel.array.stpgs, []);
    assert_eq!(sim.kernel.ledger.tables, 1);
    unharmed(&sim);
}

#[test]
fn a_standby_controller_is_activated_when_no_other_path_is_left() {
    let mut kernel = steady();
    add_unit(&mut kernel, 0, &[(1, AO), (2, STANDBY)]);
    let mut sim = running(kernel);
    sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
    sim.run_for(seconds(10));
    // The kernel activated it on the I/O path.
    assert!(!sim.kernel.array.stpgs.is_empty());
    assert!(
        sim.kernel
            .array
            .stpgs
            .iter()
            .all(|stpg| stpg.groups == [(2, AO)])
    );
    assert!(maps(&sim)[0].ends_with("| EA FF AA"), "{:?}", maps(&sim));
    let count = sim.kernel.array.stpgs.len();
    sim.inject_all(&[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
    sim.run_for(seconds(30));
    // The unit is on B now, and stays there.
    assert_eq!(sim.kernel.array.stpgs.len(), count);
    assert!(maps(&sim)[0].ends_with("| EA AA AA"), "{:?}", maps(&sim));
    assert_eq!(sim.kernel.ledger.tables, 1);
    unharmed(&sim);
}

#[test]
fn an_unavailable_group_is_out_of_use_until_it_is_available() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Access(0, vec![(1, AccessState::Unavailable)]));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| EA FF AA"), "{:?}", maps(&sim));
    sim.inject(&Fault::Access(0, vec![(1, AO)]));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    assert_eq!(sim.kernel.ledger.tables, 1);
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

// ---- all paths down -------------------------------------------------------------------------------------------

fn short_apd() -> Settings {
    Settings {
        apd_timeout_ms: seconds(60),
        ..Settings::default()
    }
}

#[test]
fn io_is_queued_until_a_path_returns() {
    let mut sim = running_with(four_paths(), short_apd());
    let mark = sim.journal.len();
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::LinkDown));
    sim.run_for(seconds(55));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    sim.inject(&Fault::LinkUp(B2));
    sim.run_for(seconds(1));
    assert_eq!(steps(&sim, mark), ["reinstate_path 8:48"]);
    let notices = notices(&sim, mark);
    assert!(
        notices
            .iter()
            .any(|l| l == &format!("APD_START {UNIT} effect=I/O is queued for=60000 ms")),
        "{notices:?}"
    );
    assert!(
        notices
            .iter()
            .any(|l| l.starts_with(&format!("APD_EXIT {UNIT} after="))),
        "{notices:?}"
    );
    let stall = sim.kernel.ledger.longest_stall;
    assert!(stall > seconds(54) && stall < seconds(57), "{stall:?}");
    unharmed(&sim);
}

#[test]
fn after_the_apd_timer_io_fails_until_a_path_returns() {
    let mut sim = running_with(four_paths(), short_apd());
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::LinkDown));
    let gone = sim.now();
    let mark = sim.journal.len();
    sim.run_for(seconds(70));
    assert_eq!(steps(&sim, mark), ["fail_if_no_path"]);
    let (ended, _) = sim.kernel.ledger.queueing_ended[0];
    assert!(
        ended >= gone.after(seconds(60)) && ended < gone.after(seconds(62)),
        "{ended:?}"
    );
    assert!(!sim.kernel.ledger.io_errors.is_empty());

    let mark = sim.journal.len();
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(1));
    assert_eq!(
        steps(&sim, mark)[..2],
        ["queue_if_no_path", "reinstate_path 8:0"]
    );
    let errors = sim.kernel.ledger.io_errors.len();
    sim.run_for(seconds(10));
    assert_eq!(sim.kernel.ledger.io_errors.len(), errors);
    assert_eq!(sim.kernel.ledger.tables, 1);
}

/// A restarted agent does not queue again for a map whose outage has exceeded the APD time.
#[test]
fn after_the_apd_timer_a_restart_leaves_io_failing() {
    let mut sim = running_with(four_paths(), short_apd());
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::LinkDown));
    sim.run_for(seconds(70));
    for _ in 0..3 {
        sim.inject(&Fault::RestartAgent);
        sim.run_for(seconds(100));
        assert_eq!(steps(&sim, 0), Vec::<String>::new());
    }
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(1));
    assert_eq!(
        steps(&sim, 0)[..2],
        ["queue_if_no_path", "reinstate_path 8:0"]
    );
    assert_eq!(sim.kernel.ledger.tables, 1);
}

#[test]
fn an_open_map_stays_while_all_its_paths_are_removed_and_found_again() {
    let mut sim = running_with(four_paths(), short_apd());
    sim.inject(&Fault::Open(0, 1));
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::Delete));
    sim.run_for(seconds(30));
    assert_eq!(maps(&sim).len(), 1);
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::Add));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

#[test]
fn a_map_without_paths_is_removed_after_its_last_close() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::Delete));
    sim.run_for(seconds(600));
    assert_eq!(maps(&sim).len(), 1);
    sim.inject(&Fault::Open(0, 0));
    sim.run_for(seconds(10));
    assert_eq!(maps(&sim), Vec::<String>::new());
    assert!(sim.world.devices().next().is_none());
}

// ---- restart --------------------------------------------------------------------------------------------------

#[test]
fn a_restart_changes_nothing() {
    let mut kernel = four_paths();
    for lun in 1..4 {
        add_unit(&mut kernel, lun, &[(1, ANO), (2, AO), (3, STANDBY)]);
    }
    let mut sim = running(kernel);
    let before = maps(&sim);
    for _ in 0..20 {
        sim.inject(&Fault::RestartAgent);
        sim.run_for(seconds(7));
        assert_eq!(steps(&sim, 0), Vec::<String>::new());
    }
    assert_eq!(maps(&sim), before);
    assert_eq!(sim.kernel.ledger.tables, 4);
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

#[test]
fn a_restart_with_dead_paths_changes_nothing() {
    for dead in [vec![A1], vec![B1, B2], vec![A1, A2], vec![A1, A2, B1, B2]] {
        let mut sim = running(four_paths());
        let faults: Vec<Fault> = dead.iter().copied().map(Fault::LinkDown).collect();
        sim.inject_all(&faults);
        sim.run_for(seconds(10));
        let before = maps(&sim);
        for _ in 0..3 {
            sim.inject(&Fault::RestartAgent);
            sim.run_for(seconds(20));
            assert_eq!(steps(&sim, 0), Vec::<String>::new(), "{dead:?}");
            assert_eq!(maps(&sim), before);
        }
        let faults: Vec<Fault> = dead.iter().copied().map(Fault::LinkUp).collect();
        sim.inject_all(&faults);
        sim.run_for(seconds(10));
        assert!(
            maps(&sim)[0].ends_with("| AE AA AA"),
            "{dead:?} {:?}",
            maps(&sim)
        );
        assert_eq!(sim.kernel.ledger.tables, 1);
        unharmed(&sim);
    }
}

/// Either may be first to notice a dead path, and each failure is counted once.
#[test]
fn failures_are_counted_by_who_failed_the_path() {
    let counts = |sim: &Simulation| {
        let figures = sim.world.figures(sim.now());
        let paths = figures.devices.iter().flat_map(|device| &device.paths);
        paths.fold((0, 0), |(kernel, agent), path| {
            let statistics = &path.statistics;
            (
                kernel + statistics.failed_by_kernel,
                agent + statistics.failed_by_agent,
            )
        })
    };
    // Without I/O, the next check finds it.
    let mut sim = running(four_paths());
    sim.io_every = None;
    sim.inject(&Fault::LinkDown(A2));
    sim.run_for(seconds(6));
    assert_eq!(steps(&sim, 0).last().unwrap(), "fail_path 8:32");
    assert_eq!(counts(&sim), (0, 1));
    sim.inject(&Fault::LinkUp(A2));
    sim.run_for(seconds(6));
    // Another program fails a path: for the agent this is the kernel.
    let dev = sim.kernel.disk(A1).unwrap().dev();
    sim.inject(&Fault::Message(0, Message::FailPath(dev)));
    sim.run_for(seconds(6));
    assert_eq!(counts(&sim), (1, 1));
}

#[test]
fn an_agent_picks_up_what_happened_before_it_started() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    // The kernel does not know of it either, because there was no I/O.
    sim.inject_all(&[Fault::LinkDown(A2), Fault::RestartAgent]);
    sim.run_for(seconds(6));
    assert_eq!(steps(&sim, 0), ["fail_path 8:32"]);
    // The path returned meanwhile.
    sim.inject_all(&[Fault::LinkUp(A2), Fault::RestartAgent]);
    sim.run_for(seconds(2));
    assert_eq!(steps(&sim, 0), ["reinstate_path 8:32"]);
    // The array moved the unit.
    sim.inject_all(&[
        Fault::Access(0, vec![(1, ANO), (2, AO)]),
        Fault::RestartAgent,
    ]);
    sim.run_for(seconds(6));
    assert_eq!(steps(&sim, 0), ["switch_group 2"]);
    // The disk returned under another number.
    sim.inject_all(&[Fault::Delete(B1), Fault::Add(B1), Fault::RestartAgent]);
    sim.run_for(seconds(6));
    assert_eq!(tables(&sim, 0).len(), 1);
    assert!(maps(&sim)[0].ends_with(" AA AA"), "{:?}", maps(&sim));
    assert_eq!(sim.kernel.ledger.tables, 2);
    assert_eq!(sim.kernel.array.stpgs, []);
    unharmed(&sim);
}

/// The agent is killed between any two of the steps that create a map.
#[test]
fn a_restart_at_any_moment_still_creates_the_map() {
    for moment in 0..400 {
        let mut sim = Simulation::start(four_paths(), Settings::default());
        for _ in 0..moment {
            sim.step(seconds(10));
        }
        sim.inject(&Fault::RestartAgent);
        sim.io_every = Some(Millis(100));
        sim.run_for(seconds(20));
        assert!(
            maps(&sim).len() == 1 && maps(&sim)[0].ends_with("| AE AA AA"),
            "{moment}: {:?}",
            maps(&sim)
        );
        unharmed(&sim);
        if sim.now() >= seconds(30) {
            break;
        }
    }
}

// ---- identity -------------------------------------------------------------------------------------------------

#[test]
fn a_path_that_leads_to_another_unit_never_carries_io_again() {
    let mut kernel = four_paths();
    let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
    let mut sim = running(kernel);
    sim.inject(&Fault::Open(0, 1));
    let mark = sim.journal.len();
    // The LUN is mapped to another unit while the path is down.
    sim.inject(&Fault::LinkDown(A1));
    sim.run_for(seconds(5));
    sim.inject_all(&[Fault::Remap(A1, Some(other), false), Fault::LinkUp(A1)]);
    sim.run_for(seconds(30));
    let map = &maps(&sim)[0];
    assert!(!map.contains(" 8:0 "), "{map}");
    let told_now = notices(&sim, mark);
    assert!(
        told_now.iter().any(|line| line.starts_with("PATH_QUARANTINED vmhba0:C0:T0:L0 reason=naa.6001405a00000000000000000000004d answers where 36001405a000000000000000000000001 is expected")),
        "{told_now:?}"
    );
    let text = explained(&sim, "sda");
    assert!(text.contains("quarantined: "), "{text}");
    // A restart does not change that: then the path simply belongs to the other unit.
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(30));
    let of_unit = maps(&sim)
        .into_iter()
        .find(|map| map.starts_with(UNIT))
        .unwrap();
    assert!(!of_unit.contains(" 8:0 "), "{of_unit}");
    unharmed(&sim);
}

#[test]
fn a_remapped_lun_that_the_array_reports_is_found_immediately() {
    let mut kernel = four_paths();
    let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
    let mut sim = running(kernel);
    sim.io_every = None;
    sim.inject(&Fault::Remap(B1, Some(other), true));
    sim.run_for(seconds(7));
    let map = &maps(&sim)[0];
    assert!(!map.contains(" 8:16 ") && map.ends_with("AA A"), "{map}");
    // Mapped back, it serves again.
    sim.inject(&Fault::Remap(B1, Some(0), true));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(5));
    unharmed(&sim);
}

#[test]
fn a_remapped_lun_that_the_array_does_not_report_is_found_within_a_check_interval() {
    let mut kernel = four_paths();
    let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
    let mut sim = running(kernel);
    sim.io_every = None;
    sim.inject(&Fault::Open(0, 1));
    sim.inject(&Fault::Remap(B1, Some(other), false));
    sim.run_for(Millis(5_010));
    assert_eq!(state(&sim, B1), PathState::Dead);
    sim.run_for(seconds(1));
    let map = &maps(&sim)[0];
    assert!(!map.contains(" 8:16 ") && map.ends_with("AA A"), "{map}");
}

/// INQUIRY is answered before the LUN is mapped back, and page 83h after it.
#[test]
fn a_unit_that_is_mapped_between_two_answers_keeps_its_own_facts() {
    let mut sim = running(four_paths());
    let mut nothing = StandardInquiry::build(Tpgs::None, "SIM", "NOTHING", "1.0");
    nothing[0] = 0x7f;
    let mark = sim.journal.len();
    for path in [A1, A2, B1, B2] {
        let answer = Some(Answer::good(nothing.clone()));
        sim.inject(&Fault::Lie(path, Command::Inquiry, answer));
        let kind = UnitAttention::InquiryDataHasChanged;
        sim.deliver(Event::UnitAttention { path, kind });
    }
    sim.run_for(seconds(3));
    assert!(asked(&sim, mark, A1, &Command::Inquiry) && asked(&sim, mark, A1, &PAGE83));
    assert_eq!(state(&sim, A1), PathState::Dead);
    for path in [A1, A2, B1, B2] {
        sim.inject(&Fault::Lie(path, Command::Inquiry, None));
    }
    sim.run_for(seconds(3));
    assert!(explained(&sim, UNIT).contains("SATP VMW_SATP_ALUA"));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
}

#[test]
fn a_report_on_any_path_checks_all_luns_of_its_target() {
    let mut sim = running(with_neighbour());
    let mark = sim.journal.len();
    let neighbour = path(A1.host, A1.target, 1);
    let kind = UnitAttention::ReportedLunsDataHasChanged;
    sim.deliver(Event::UnitAttention {
        path: neighbour,
        kind,
    });
    sim.run_for(Millis(100));
    assert!(asked(&sim, mark, A1, &PAGE83) && asked(&sim, mark, neighbour, &PAGE83));
    assert!(!asked(&sim, mark, B1, &PAGE83));
    sim.run_for(seconds(5));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
}

/// The kernel retries the I/O that was refused with the attention, and it would go to whatever unit is there now.
#[test]
fn a_path_whose_inquiry_data_changed_serves_again_once_proven() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    let kind = UnitAttention::InquiryDataHasChanged;
    sim.deliver(Event::UnitAttention { path: A1, kind });
    assert_eq!(steps(&sim, mark), ["fail_path 8:0"]);
    sim.run_for(Millis(200));
    assert_eq!(steps(&sim, mark), ["fail_path 8:0", "reinstate_path 8:0"]);
    // On all paths at the same time, as after new firmware: no path is better than another.
    let mark = sim.journal.len();
    for path in [A1, A2, B1, B2] {
        sim.deliver(Event::UnitAttention { path, kind });
    }
    sim.run_for(seconds(2));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    assert!(tables(&sim, mark).is_empty());
    unharmed(&sim);
}

/// The array reports a change while the path proves itself: its earlier answer does not count.
#[test]
fn a_lun_that_is_remapped_during_a_check_is_checked_again() {
    for late in 0..6 {
        let mut kernel = four_paths();
        let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
        let mut sim = running(kernel);
        sim.inject(&Fault::LinkDown(B1));
        sim.run_for(seconds(10));
        sim.io_every = None;
        sim.inject(&Fault::LinkUp(B1));
        let mark = sim.journal.len();
        let end = sim.now().after(seconds(10));
        while !asked(&sim, mark, B1, &PAGE83) {
            assert!(sim.step(end));
        }
        sim.run_for(Millis(late));
        sim.inject(&Fault::Remap(B1, Some(other), true));
        sim.run_for(seconds(7));
        let map = &maps(&sim)[0];
        assert!(
            !map.contains(" 8:16 ") || !map.ends_with("AA AA"),
            "{late} ms: {map}"
        );
    }
}

/// The answer to the first question already has the content of the second. Since it may be older than the second
/// attention it proves nothing, and the path must not be compared with it.
#[test]
fn a_remapped_lun_that_reports_two_attentions_is_found() {
    let page = |unit: u8| {
        let naa = [
            0x60, 0x01, 0x40, 0x5a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, unit,
        ];
        [&[0, 0x83, 0, 20, 1, 3, 0, 16][..], &naa].concat()
    };
    let sim = running(four_paths());
    let (mut world, now) = (sim.world.clone(), sim.now());
    let attention = |world: &mut World| {
        let kind = UnitAttention::ReportedLunsDataHasChanged;
        world.step(now, Event::UnitAttention { path: B1, kind })
    };
    // Every answer of the path is that of another unit.
    let answer = |world: &mut World, actions: &[Action]| {
        let asked = actions.iter().find_map(|action| match action {
            Action::Examine(asked) if asked.path == B1 => {
                Some((asked.ticket, asked.commands.clone()))
            }
            _ => None,
        });
        let (ticket, commands) = asked.expect("the path is checked");
        let asked = commands.iter().filter(|one| **one != Command::Inquiry);
        let replies = asked.map(|command| Reply {
            command: command.clone(),
            outcome: Outcome::Good,
            data: match command {
                Command::Vpd(_) => page(77),
                _ => Vec::new(),
            },
        });
        let examination = Examination {
            path: B1,
            ticket,
            replies: replies.collect(),
        };
        world.step(now, Event::Examined(examination))
    };
    let asked = attention(&mut world);
    attention(&mut world);
    let again = answer(&mut world, &asked);
    answer(&mut world, &again);
    let path = world.find_path(&B1.to_string()).unwrap();
    assert!(path.proof().is_quarantined(), "{:?}", path.proof());
}

#[test]
fn a_removed_unit_is_distinguished_from_a_dead_path() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.inject(&Fault::Remap(A1, None, false));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with(" FA AA"), "{:?}", maps(&sim));
    let notices = notices(&sim, mark);
    assert!(
        notices
            .iter()
            .any(|line| line.contains("permanent loss: 5/25/00 (logical unit not supported)")),
        "{notices:?}"
    );
    unharmed(&sim);
}

// ---- bad input ------------------------------------------------------------------------------------------------

/// Adds a second unit, which faults of the first must not affect.
fn with_neighbour() -> Kernel {
    let mut kernel = four_paths();
    add_unit(&mut kernel, 1, &[(1, AO), (2, ANO)]);
    kernel
}

fn neighbour_is_well(sim: &Simulation) {
    let maps = maps(sim);
    let map = maps
        .iter()
        .find(|map| map.starts_with("naa.6001405a000000000000000000000002"));
    assert!(
        map.is_some_and(|map| map.ends_with("| AE AA AA")),
        "{maps:?}"
    );
    unharmed(sim);
}

#[test]
fn a_path_without_an_identity_joins_no_map() {
    let truncated = {
        let mut kernel = four_paths();
        let mut data = kernel.array.execute(A1, &PAGE83).data;
        data.truncate(9);
        Answer::good(data)
    };
    let cases = [
        ("missing", Answer::check(5, 0x24, 0), "refuses"),
        ("truncated", truncated, "truncated"),
        ("empty", Answer::good(vec![]), "truncated"),
        (
            "another page",
            Answer::good(vec![0, 0x80, 0, 2, b'1', b'2']),
            "expected PAGE CODE 83h",
        ),
    ];
    for (case, answer, why) in cases {
        let mut kernel = with_neighbour();
        kernel.array.lie(A1, PAGE83, Some(answer));
        let sim = running(kernel);
        let map = maps(&sim)
            .into_iter()
            .find(|map| map.starts_with(UNIT))
            .unwrap();
        assert!(
            map.ends_with(" A AA") && !map.contains(" 8:0 "),
            "{case}: {map}"
        );
        let text = explained(&sim, "sda");
        assert!(
            text.contains(why) && text.contains("left alone"),
            "{case}: {text}"
        );
        assert!(
            notices(&sim, 0)
                .iter()
                .any(|line| line.starts_with("DEVICE_NAMELESS")),
            "{case}"
        );
        neighbour_is_well(&sim);
    }
}

#[test]
fn a_path_that_changes_its_identity_leaves_its_map() {
    let mut kernel = with_neighbour();
    let of_other = kernel.array.execute(path(1, 0, 1), &PAGE83).data;
    let mut sim = running(kernel);
    sim.inject_all(&[
        Fault::Open(0, 1),
        Fault::LinkDown(A1),
        Fault::Lie(A1, PAGE83, Some(Answer::good(of_other))),
    ]);
    sim.run_for(seconds(5));
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(20));
    let map = maps(&sim)
        .into_iter()
        .find(|map| map.starts_with(UNIT))
        .unwrap();
    assert!(!map.contains(" 8:0 "), "{map}");
    neighbour_is_well(&sim);
}

/// The path that was notified of a change refuses the extended header: it is asked immediately without it.
#[test]
fn a_refused_header_does_not_delay_a_state_change() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    let refusal = Some(Answer::check(5, 0x24, 0));
    sim.inject(&Fault::Lie(A2, Command::ReportTargetPortGroups, refusal));
    sim.run_for(Millis(10));
    let mark = sim.journal.len();
    sim.inject(&Fault::Access(0, vec![(1, ANO), (2, AO)]));
    sim.kernel.array.execute(A2, &Command::TestUnitReady); // A command of another program: it takes the unit attention.
    let kind = UnitAttention::AsymmetricAccessStateChanged;
    sim.deliver(Event::UnitAttention { path: A2, kind });
    sim.run_for(Millis(20));
    assert_eq!(steps(&sim, mark), ["switch_group 2"]);
}

#[test]
fn reports_of_the_wrong_length_change_nothing_and_are_reported() {
    let mut kernel = with_neighbour();
    let whole = kernel
        .array
        .execute(A1, &Command::ReportTargetPortGroups)
        .data;
    let mut sim = running(kernel);
    let mut cases = vec![vec![], vec![0, 0, 0, 200, 0x10], vec![0xff; 64]];
    cases.push(whole[..whole.len() - 3].to_vec());
    for data in cases {
        let mark = sim.journal.len();
        for path in [A1, A2, B1, B2] {
            let lie = Some(Answer::good(data.clone()));
            sim.inject(&Fault::Lie(path, Command::ReportTargetPortGroups, lie));
        }
        sim.run_for(seconds(65));
        assert_eq!(steps(&sim, mark), Vec::<String>::new(), "{data:?}");
        let notices = notices(&sim, mark);
        assert!(
            notices
                .iter()
                .any(|line| line.starts_with("PORT_GROUPS_UNREADABLE")),
            "{notices:?}"
        );
    }
    neighbour_is_well(&sim);
}

/// An SPC-3 array refuses the extended header.
#[test]
fn an_array_that_knows_only_the_short_header_is_asked_with_it() {
    let mut kernel = with_neighbour();
    kernel.array.unit_mut(0).unwrap().short_header_only = true;
    let mut sim = running(kernel);
    assert!(
        maps(&sim).iter().all(|map| map.ends_with("| AE AA AA")),
        "{:?}",
        maps(&sim)
    );
    assert_eq!(maps(&sim).len(), 2);
    let mark = sim.journal.len();
    sim.inject(&Fault::Access(0, vec![(1, ANO), (2, AO)]));
    sim.run_for(seconds(20));
    assert_eq!(steps(&sim, mark), ["switch_group 2"]);
    neighbour_is_well(&sim);
}

#[test]
fn a_table_that_the_kernel_refuses_is_retried_ever_more_slowly() {
    let mut kernel = with_neighbour();
    kernel.inject(Millis(0), &Fault::RefuseTables(0, 22, 5));
    let mut sim = running(kernel);
    neighbour_is_well(&sim);
    let text = explained(&sim, UNIT);
    assert!(text.contains("the last action failed"), "{text}");
    sim.run_for(seconds(50));
    assert_eq!(
        tables(&sim, 0).len(),
        2 + 5,
        "one table for each unit, and five failed attempts"
    );
    assert_eq!(maps(&sim).len(), 2);
    assert!(!explained(&sim, UNIT).contains("the last action failed"));
    neighbour_is_well(&sim);
}

/// Messages do not restart the wait for a new table, or a program that keeps interfering would delay it for ever.
#[test]
fn messages_do_not_delay_a_new_table() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.inject(&Fault::Delete(B2));
    for _ in 0..10 {
        sim.inject(&Fault::Message(0, Message::SwitchGroup(2)));
        sim.run_for(Millis(300));
    }
    assert_eq!(tables(&sim, mark).len(), 1, "{:?}", steps(&sim, mark));
    unharmed(&sim);
}

/// A path that leads elsewhere has to leave the table, but then the path that would remain is gone.
#[test]
fn an_obsolete_change_is_not_waited_for() {
    let mut kernel = four_paths();
    let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
    let mut sim = running(kernel);
    sim.inject_all(&[Fault::Delete(B1), Fault::Delete(B2)]);
    sim.run_for(seconds(10));
    sim.inject(&Fault::LinkDown(A2));
    sim.run_for(seconds(10));
    sim.inject_all(&[Fault::Remap(A2, Some(other), false), Fault::LinkUp(A2)]);
    let mark = sim.journal.len();
    let end = sim.now().after(seconds(10));
    while !notices(&sim, mark)
        .iter()
        .any(|line| line.starts_with("PATH_QUARANTINED"))
    {
        assert!(sim.step(end));
    }
    sim.inject(&Fault::Delete(A1));
    sim.run_for(seconds(10));
    assert!(sim.world.is_settled());
    unharmed(&sim);
}

/// All paths of a new table are active at first: a path that is down might return as another unit at that time.
#[test]
fn a_new_table_leaves_out_the_paths_that_are_down_until_they_are_proven() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::LinkDown(B1));
    sim.run_for(seconds(10));
    let mark = sim.journal.len();
    sim.inject(&Fault::Delete(A2));
    sim.run_for(seconds(10));
    let table = "reload 3 queue_if_no_path pg_init_retries 50 2 alua 1";
    let one = format!("{table} 2 1 service-time 0 1 1 8:0 1 service-time 0 1 1 8:48 1");
    assert_eq!(steps(&sim, mark), ["fail_path 8:32", &one]);
    sim.inject(&Fault::LinkUp(B1));
    sim.run_for(seconds(10));
    let two = format!("{table} 2 1 service-time 0 1 1 8:0 1 service-time 0 2 1 8:16 1 8:48 1");
    assert_eq!(steps(&sim, mark)[2..], [two]);
    unharmed(&sim);
}

/// Queued I/O would be sent to such a path immediately.
#[test]
fn no_table_is_loaded_while_no_path_is_usable() {
    let mut sim = running(four_paths());
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::LinkDown));
    sim.run_for(seconds(10));
    let mark = sim.journal.len();
    sim.inject(&Fault::Delete(B2));
    sim.run_for(seconds(60));
    assert_eq!(tables(&sim, mark), Vec::<String>::new());
    assert!(sim.world.is_settled());
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(10));
    assert_eq!(tables(&sim, mark).len(), 1, "{:?}", steps(&sim, mark));
    assert!(
        maps(&sim)[0].contains(" 1 1 service-time 0 1 2 8:0 1 1 | A A"),
        "{:?}",
        maps(&sim)
    );
    unharmed(&sim);
}

/// Another program gives one map the name of another map, which gets a third name.
#[test]
fn maps_that_swap_their_names_are_not_confused() {
    let mut sim = running(with_neighbour());
    sim.io_every = None;
    let seen: Vec<Map> = sim.kernel.maps().map(|(_, map)| map.dm.observe()).collect();
    let [first, second] = &seen[..] else {
        panic!("{seen:?}")
    };
    let wwid = |map: &Map| Wwid::from(map.uuid.strip_prefix("mpath-").unwrap());
    let renamed = |map: &Map, name: &str| {
        let name = name.to_owned();
        Event::MapSeen(Box::new(Map {
            name,
            ..map.clone()
        }))
    };
    sim.deliver(renamed(second, &first.name));
    assert_eq!(sim.world.map_of(&wwid(first)), None);
    sim.deliver(renamed(first, "third"));
    for (map, name) in [(first, "third"), (second, &first.name)] {
        let known = sim.world.map_of(&wwid(map)).unwrap();
        assert_eq!((&known.uuid, known.name.as_str()), (&map.uuid, name));
    }
}

#[test]
fn paths_are_reinstated_although_a_table_was_refused() {
    let mut sim = running(with_neighbour());
    sim.inject_all(&[
        Fault::RefuseTables(0, 22, 1000),
        Fault::Delete(B1),
        Fault::LinkDown(A1),
    ]);
    sim.run_for(seconds(60));
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(1));
    let map = maps(&sim)
        .into_iter()
        .find(|map| map.starts_with(UNIT))
        .unwrap();
    assert!(map.contains("| AE AA "), "{map}");
    neighbour_is_well(&sim);
}

#[test]
fn a_disk_that_another_program_opens_first_is_left_alone() {
    let mut kernel = with_neighbour();
    kernel.inject(Millis(0), &Fault::RefuseTables(0, 16, 1000));
    let mut sim = running(kernel);
    let usage = vec![Usage::Held {
        device: "sda".to_owned(),
        by: "md0".to_owned(),
    }];
    sim.inject(&Fault::Use(A1, usage));
    sim.run_for(seconds(30));
    assert!(explained(&sim, UNIT).contains("left alone: in use: sda is held by md0"));
    neighbour_is_well(&sim);
}

#[test]
fn a_disk_too_small_for_its_map_is_dead_and_says_why() {
    let mut sim = running(with_neighbour());
    sim.inject(&Fault::Resize(0, Sectors(1 << 20)));
    sim.run_for(seconds(10));
    let text = explained(&sim, UNIT);
    assert!(text.contains("fewer than the 2097152 of the map"), "{text}");
    sim.inject(&Fault::Resize(0, Sectors(1 << 21)));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    neighbour_is_well(&sim);
}

/// The agent makes the kernel fail I/O on a lost port within seconds, unless a disk without a map is behind the port.
#[test]
fn ports_of_maps_get_short_timers() {
    let notices = |sim: &Simulation| -> Vec<Hctl> {
        let actions = sim.journal.iter().flat_map(|entry| &entry.actions);
        let mut notices: Vec<Hctl> = actions
            .filter_map(|action| match action {
                Action::SetPortTimers { path, timers } if timers.at_most => Some(*path),
                _ => None,
            })
            .collect();
        notices.sort_unstable();
        notices
    };
    let online = |kernel: &mut Kernel| {
        for path in [A1, A2, B1, B2] {
            kernel.set_port_state(path, "Online");
        }
    };
    let mut kernel = four_paths();
    online(&mut kernel);
    assert_eq!(notices(&running(kernel)), [A1, B1, A2, B2]);
    // A disk at another LUN of the port that A1 leads to is mounted directly.
    let mut kernel = four_paths();
    add_unit(&mut kernel, 9, &[(1, AO), (2, ANO)]);
    online(&mut kernel);
    let mounted = Hctl { lun: 9, ..A1 };
    let usage = Usage::Mounted {
        device: "sde".to_owned(),
        at: "/srv".to_owned(),
    };
    kernel.inject(Millis(0), &Fault::Use(mounted, vec![usage]));
    assert_eq!(notices(&running(kernel)), [B1, A2, B2]);
}

/// A unit grows: the array reports it on each path, and the map grows when the capacity of all of them was read again.
#[test]
fn a_map_grows_with_its_unit_and_never_shrinks() {
    let mut sim = running(with_neighbour());
    let mark = sim.journal.len();
    sim.inject(&Fault::LinkDown(B2));
    sim.run_for(seconds(10));
    sim.inject(&Fault::Resize(0, Sectors(1 << 22)));
    sim.run_for(seconds(20));
    // A path that is down has not grown yet, and the kernel would refuse the table.
    let length = |sim: &Simulation| {
        let device = sim.world.find_device(UNIT).unwrap();
        let map = sim.world.map_of(device.wwid()).unwrap();
        map.table.as_ref().unwrap().length
    };
    assert_eq!(length(&sim), Sectors(1 << 21));
    sim.inject(&Fault::LinkUp(B2));
    sim.run_for(seconds(20));
    assert_eq!(length(&sim), Sectors(1 << 22));
    assert_eq!(tables(&sim, mark).len(), 1, "{:?}", steps(&sim, mark));
    sim.inject(&Fault::Resize(0, Sectors(1 << 20)));
    sim.run_for(seconds(20));
    assert_eq!(length(&sim), Sectors(1 << 22));
    assert!(explained(&sim, UNIT).contains("fewer than the 4194304 of the map"));
    // Exception: a closed map that somebody removed is created again with the current size.
    sim.inject(&Fault::RemoveMap(0));
    sim.run_for(seconds(20));
    assert_eq!(length(&sim), Sectors(1 << 20));
    assert!(
        [A1, A2, B1, B2]
            .iter()
            .all(|path| state(&sim, *path).serves_io())
    );
    neighbour_is_well(&sim);
}

/// The array write-protects a LUN on one port without a report: writes fail there although other paths accept them. The
/// path is detected when it is asked, every four minutes, and carries nothing until it accepts writes again.
#[test]
fn a_path_that_takes_no_writes_is_not_used_while_another_does() {
    let mut sim = running(with_neighbour());
    let mark = sim.journal.len();
    let disk = sim.kernel.disk(A1).unwrap().dev();
    let holds = |sim: &Simulation| {
        sim.kernel
            .map(UNIT)
            .unwrap()
            .table
            .unwrap()
            .paths()
            .any(|p| p.dev == disk)
    };
    assert!(holds(&sim));
    sim.inject(&Fault::Protect(A1, true));
    sim.run_for(seconds(4 * 60 + 10));
    assert!(sim.kernel.ledger.refused_writes > 0);
    assert!(!holds(&sim));
    assert_eq!(state(&sim, A1), PathState::Dead);
    let notices = explained(&sim, UNIT);
    assert!(
        notices.contains("quarantined: its disk is read-only, but sd"),
        "{notices}"
    );
    assert_eq!(codes(&sim, mark, "PATH_MISMATCHED"), 1);
    let refused = sim.kernel.ledger.refused_writes;
    sim.run_for(seconds(200));
    assert_eq!(sim.kernel.ledger.refused_writes, refused);
    assert_eq!(tables(&sim, mark).len(), 1, "{:?}", steps(&sim, mark));
    sim.inject(&Fault::Protect(A1, false));
    sim.run_for(seconds(70));
    assert!(holds(&sim));
    assert_eq!(state(&sim, A1), PathState::Active);
    assert_eq!(codes(&sim, mark, "PATH_MISMATCH_ENDED"), 1);
    assert_eq!(tables(&sim, mark).len(), 2, "{:?}", steps(&sim, mark));
    assert!(!sim.kernel.map(UNIT).unwrap().read_only);
    neighbour_is_well(&sim);
}

/// An admin's rescan makes the kernel find the same before the path is asked: it is then known on all ports, and no
/// other rescan is needed when the array accepts writes again.
#[test]
fn a_path_that_a_rescan_finds_read_only_returns_by_itself() {
    let mut sim = running(with_neighbour());
    let mark = sim.journal.len();
    sim.inject(&Fault::Protect(A1, true));
    sim.inject(&Fault::Rescan(A1));
    sim.run_for(seconds(2));
    assert_eq!(state(&sim, A1), PathState::Dead);
    assert_eq!(codes(&sim, mark, "PATH_MISMATCHED"), 1);
    sim.inject(&Fault::Protect(A1, false));
    sim.run_for(seconds(70));
    assert_eq!(state(&sim, A1), PathState::Active);
    assert_eq!(codes(&sim, mark, "PATH_MISMATCH_ENDED"), 1);
    assert_eq!(tables(&sim, mark).len(), 2, "{:?}", steps(&sim, mark));

    sim.inject(&Fault::Protect(A1, true));
    sim.inject(&Fault::Protect(A2, true));
    sim.inject(&Fault::Rescan(A1));
    sim.run_for(seconds(2));
    let read_only = |id| {
        let block = &sim.kernel.disk(id).unwrap().facts().block;
        block.as_ref().unwrap().read_only
    };
    assert!(read_only(A1) && read_only(A2));
    neighbour_is_well(&sim);
}

/// A writable path that is down still counts: writers wait for it, and their disk does not become read-only.
#[test]
fn a_map_does_not_turn_read_only_because_its_writable_path_is_down() {
    let mut kernel = with_neighbour();
    for path in [A2, B1, B2] {
        kernel.inject(Millis(0), &Fault::Delete(path));
    }
    let mut sim = running(kernel);
    sim.inject(&Fault::Protect(A2, true));
    sim.inject(&Fault::Add(A2));
    sim.run_for(seconds(10));
    sim.inject(&Fault::LinkDown(A1));
    sim.run_for(seconds(60));
    let map = sim.kernel.map(UNIT).unwrap();
    assert!(!map.read_only && map.table.unwrap().features.queue_if_no_path);
    assert_eq!(sim.kernel.ledger.refused_writes, 0);
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(10));
    assert_eq!(state(&sim, A1), PathState::Active);
    assert_eq!(sim.kernel.ledger.io_errors, []);
    neighbour_is_well(&sim);
}

/// A unit that no path may write to gets a read-only map; when the unit becomes writable, so does the map.
#[test]
fn a_map_is_read_only_while_all_of_its_disks_are() {
    let mut kernel = with_neighbour();
    for path in [A1, A2, B1, B2] {
        kernel.inject(Millis(0), &Fault::Delete(path));
        kernel.inject(Millis(0), &Fault::Protect(path, true));
        kernel.inject(Millis(0), &Fault::Add(path));
    }
    let mut sim = running(kernel);
    assert!(explained(&sim, UNIT).contains("read-only, as all its disks are"));
    let read_only = |sim: &Simulation| sim.kernel.map(UNIT).unwrap().read_only;
    let all = |sim: &Simulation| sim.kernel.map(UNIT).unwrap().table.unwrap().paths().count() == 4;
    assert!(read_only(&sim) && all(&sim));
    for turn in [false, true, false] {
        for path in [A1, A2, B1, B2] {
            sim.inject(&Fault::Protect(path, turn));
        }
        sim.run_for(seconds(80));
        assert_eq!(read_only(&sim), turn);
        assert!(all(&sim));
    }
    // Not while the map is in use, in either direction.
    for turn in [true, false] {
        sim.inject(&Fault::Open(0, 1));
        for path in [A1, A2, B1, B2] {
            sim.inject(&Fault::Protect(path, turn));
        }
        sim.run_for(seconds(80));
        assert!(read_only(&sim) != turn && all(&sim));
        sim.inject(&Fault::Open(0, 0));
        sim.run_for(seconds(10));
        assert!(read_only(&sim) == turn && all(&sim));
    }
    let mark = sim.journal.len();
    sim.run_for(seconds(400));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
}

/// A path, all paths, or the map disappear between any two steps of the agent or the kernel, and return.
#[test]
fn a_device_may_disappear_between_any_two_steps() {
    let deleted = |paths: &[Hctl]| paths.iter().copied().map(Fault::Delete).collect::<Vec<_>>();
    let found = |paths: &[Hctl]| paths.iter().copied().map(Fault::Add).collect::<Vec<_>>();
    for victims in [&[A1][..], &[A1, A2, B1, B2]] {
        for moment in 0..1000 {
            let mut sim = Simulation::start(with_neighbour(), Settings::default());
            for _ in 0..moment {
                sim.step(seconds(2));
            }
            let over = sim.now() >= seconds(2);
            sim.inject_all(&deleted(victims));
            sim.io_every = Some(Millis(100));
            sim.run_for(seconds(20));
            neighbour_is_well(&sim);
            assert!(
                maps(&sim).iter().all(|map| !map.contains(" 8:0 ")),
                "{moment}: {:?}",
                maps(&sim)
            );
            sim.inject_all(&found(victims));
            sim.run_for(seconds(20));
            let all = maps(&sim);
            assert!(
                all.len() == 2 && all[0].ends_with(" AA AA"),
                "{moment}: {all:?}"
            );
            if over {
                break;
            }
        }
    }
}

#[test]
fn a_map_that_another_program_removes_is_created_again() {
    let mut sim = running(with_neighbour());
    sim.inject(&Fault::RemoveMap(0));
    sim.run_for(seconds(10));
    assert_eq!(maps(&sim).len(), 2);
    neighbour_is_well(&sim);
}

#[test]
fn changes_of_a_map_by_another_program_are_undone() {
    let mut sim = running(with_neighbour());
    let dev = sim.kernel.disk(A1).unwrap().dev();
    for meddling in [
        Fault::Message(0, Message::FailPath(dev)),
        Fault::Message(0, Message::SwitchGroup(2)),
        Fault::Message(0, Message::DisableGroup(1)),
        Fault::Suspend(0),
    ] {
        sim.inject(&meddling);
        sim.run_for(seconds(10));
        assert!(
            maps(&sim)[0].ends_with("| AE AA AA"),
            "{meddling:?}: {:?}",
            maps(&sim)
        );
    }
    assert_eq!(sim.kernel.ledger.tables, 2);
    neighbour_is_well(&sim);
}

/// The host lacks a resource (EMFILE): nothing was asked, so nothing is known.
#[test]
fn a_command_that_was_not_sent_is_not_evidence_about_its_path() {
    let mut sim = running(with_neighbour());
    let before = maps(&sim);
    let shortage = Some(Answer::from(Outcome::NotSent(24)));
    sim.inject(&Fault::Lie(A1, Command::TestUnitReady, shortage.clone()));
    sim.inject(&Fault::Lie(A1, PAGE83, shortage));
    sim.run_for(seconds(200));
    assert_eq!(maps(&sim), before);
    assert_eq!(sim.kernel.ledger.tables, 2);
    let notices = sim
        .notices
        .iter()
        .filter(|(_, n)| n.code == "CHECK_NOT_SENT");
    assert_eq!(notices.count(), 1);
    neighbour_is_well(&sim);
}

/// The module sg was loaded after the service had begun, or SELinux does not allow the device.
#[test]
fn a_host_that_does_not_permit_commands_keeps_its_paths() {
    let denied = |errno: i32| Some(Answer::from(Outcome::of_errno(errno)));
    for errno in [1, 13] {
        for restart in [false, true] {
            let mut sim = running(four_paths());
            sim.inject(&Fault::Open(0, 1));
            let before = maps(&sim);
            for path in [A1, A2, B1, B2] {
                for command in [Command::Inquiry, Command::TestUnitReady, PAGE83] {
                    sim.inject(&Fault::Lie(path, command, denied(errno)));
                }
            }
            if restart {
                sim.inject(&Fault::RestartAgent);
            }
            let mark = sim.journal.len();
            sim.run_for(seconds(200));
            assert_eq!(steps(&sim, mark), Vec::<String>::new(), "{errno} {restart}");
            assert_eq!(maps(&sim), before, "{errno} {restart}");
            unharmed(&sim);
        }
    }
}

#[test]
fn errors_of_the_transport_name_no_unit_and_prove_nothing() {
    for outcome in [
        Outcome::Timeout,
        Outcome::Busy,
        Outcome::Host(7),
        Outcome::Retry(14),
        Outcome::Gone,
        Outcome::Errno(5),
    ] {
        let mut sim = running(with_neighbour());
        let lie = Some(Answer::from(outcome.clone()));
        sim.inject_all(&[Fault::LinkDown(A1), Fault::Lie(A1, PAGE83, lie)]);
        sim.run_for(seconds(5));
        sim.inject(&Fault::LinkUp(A1));
        sim.run_for(seconds(20));
        let map = maps(&sim)
            .into_iter()
            .find(|map| map.starts_with(UNIT))
            .unwrap();
        assert!(
            map.ends_with(" FA AA"),
            "{outcome:?}: not proven, so not in use: {map}"
        );
        sim.inject(&Fault::Lie(A1, PAGE83, None));
        sim.run_for(seconds(2));
        assert!(
            maps(&sim)[0].ends_with(" AA AA"),
            "{outcome:?}: {:?}",
            maps(&sim)
        );
        neighbour_is_well(&sim);
    }
}

// ---- policies -------------------------------------------------------------------------------------------------

fn settings(device: DeviceSettings) -> Settings {
    Settings {
        device: [(UNIT.into(), device)].into(),
        ..Settings::default()
    }
}

/// An array whose ports are all equal.
fn symmetric() -> Kernel {
    let mut kernel = four_paths();
    let unit = kernel.array.unit_mut(0).unwrap();
    unit.tpgs = Tpgs::None;
    unit.groups.clear();
    let mut again = steady();
    let unit = again.array.add(Unit::new(1, &[]));
    for (port, path) in (1..).zip([A1, A2, B1, B2]) {
        again.cable(path, Transport::Fc, unit, 1, port);
    }
    again
}

#[test]
fn fixed_returns_to_the_preferred_path() {
    let wanted = settings(DeviceSettings {
        psp: Some(PspKind::Fixed),
        preferred: Some("vmhba1:C0:T0:L0".parse().unwrap()),
        ..DeviceSettings::default()
    });
    let mut sim = running_with(symmetric(), wanted);
    let preferred = sim.kernel.disk(A2).unwrap().dev();
    assert_eq!(
        tables(&sim, 0),
        [format!(
            "create 1 queue_if_no_path 0 4 1 service-time 0 1 1 {preferred} 1 service-time 0 1 1 8:0 1 \
             service-time 0 1 1 8:32 1 service-time 0 1 1 8:48 1"
        )]
    );
    for _ in 0..3 {
        sim.inject(&Fault::LinkDown(A2));
        sim.run_for(seconds(5));
        assert!(
            maps(&sim)[0].ends_with("| EAEE F A A A"),
            "{:?}",
            maps(&sim)
        );
        let mark = sim.journal.len();
        sim.inject(&Fault::LinkUp(A2));
        sim.run_for(seconds(1));
        assert_eq!(
            steps(&sim, mark),
            [
                format!("reinstate_path {preferred}"),
                "switch_group 1".to_owned()
            ]
        );
        assert!(
            maps(&sim)[0].ends_with("| AEEE A A A A"),
            "{:?}",
            maps(&sim)
        );
    }
    assert_eq!(sim.kernel.ledger.tables, 1);
    unharmed(&sim);
}

#[test]
fn fixed_without_a_preferred_path_keeps_its_path() {
    let mut sim = running(symmetric());
    assert!(explained(&sim, UNIT).contains("VMW_PSP_FIXED (default of the SATP)"));
    sim.inject(&Fault::LinkDown(A1));
    sim.run_for(seconds(5));
    assert!(
        maps(&sim)[0].ends_with("| EAEE F A A A"),
        "{:?}",
        maps(&sim)
    );
    let mark = sim.journal.len();
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(10));
    assert_eq!(steps(&sim, mark), ["reinstate_path 8:0"]);
    assert!(
        maps(&sim)[0].ends_with("| EAEE A A A A"),
        "{:?}",
        maps(&sim)
    );
    // The same after a restart.
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(10));
    assert_eq!(steps(&sim, 0), Vec::<String>::new());
    unharmed(&sim);
}

#[test]
fn mru_prefers_higher_ranks_within_a_state() {
    let wanted = settings(DeviceSettings {
        ranks: [
            ("vmhba1:C0:T0:L0".parse().unwrap(), 5),
            ("vmhba0:C0:T1:L0".parse().unwrap(), 9),
        ]
        .into(),
        ..DeviceSettings::default()
    });
    let mut sim = running_with(four_paths(), wanted);
    // A2 (8:32), A1 (8:0), then B1 (8:16) although its rank is the highest, then B2 (8:48).
    assert!(
        tables(&sim, 0)[0].ends_with(
            "4 1 service-time 0 1 1 8:32 1 service-time 0 1 1 8:0 1 service-time 0 1 1 8:16 1 service-time 0 1 1 8:48 1"
        ),
        "{:?}",
        tables(&sim, 0)
    );
    sim.inject(&Fault::LinkDown(A2));
    sim.run_for(seconds(5));
    assert!(
        maps(&sim)[0].ends_with("| EAEE F A A A"),
        "{:?}",
        maps(&sim)
    );
    sim.inject(&Fault::LinkUp(A2));
    sim.run_for(seconds(2));
    assert!(
        maps(&sim)[0].ends_with("| AEEE A A A A"),
        "{:?}",
        maps(&sim)
    );
    assert_eq!(sim.kernel.ledger.tables, 1);
    unharmed(&sim);
}

#[test]
fn round_robin_uses_non_optimized_paths_only_with_useano() {
    for (use_ano, groups) in [
        (
            false,
            "2 1 round-robin 0 2 1 8:0 1 8:32 1 round-robin 0 2 1 8:16 1 8:48 1",
        ),
        (true, "1 1 round-robin 0 4 1 8:0 1 8:16 1 8:32 1 8:48 1"),
    ] {
        let wanted = settings(DeviceSettings {
            psp: Some(PspKind::RoundRobin),
            round_robin: RoundRobin {
                use_ano: Some(use_ano),
                ..RoundRobin::default()
            },
            ..DeviceSettings::default()
        });
        let mut sim = running_with(four_paths(), wanted);
        assert!(
            tables(&sim, 0)[0].ends_with(groups),
            "{:?}",
            tables(&sim, 0)
        );
        sim.inject(&Fault::Access(0, vec![(1, ANO), (2, AO)]));
        sim.run_for(seconds(10));
        sim.inject(&Fault::RestartAgent);
        sim.run_for(seconds(10));
        assert_eq!(sim.kernel.ledger.tables, 1);
        assert_eq!(sim.kernel.array.stpgs, []);
        unharmed(&sim);
    }
}

/// A standby path that only the array can activate does no harm while others serve.
#[test]
fn a_waiting_path_that_failed_is_reinstated_once_another_serves() {
    let mut kernel = steady();
    let unit = add_unit(&mut kernel, 0, &[(1, AO), (2, STANDBY)]);
    if let Some(unit) = kernel.array.unit_mut(unit) {
        unit.tpgs = dm_psa::scsi::inquiry::Tpgs::Implicit;
    }
    let mut sim = running(kernel);
    let all = [A1, A2, B1, B2];
    sim.inject_all(&all.map(Fault::LinkDown));
    sim.run_for(seconds(10));
    sim.inject_all(&[Fault::LinkUp(B1), Fault::LinkUp(B2)]);
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("FF FF"), "{:?}", maps(&sim));
    sim.inject_all(&[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

fn strict() -> Settings {
    Settings {
        marginal_failures: 8,
        ..Settings::default()
    }
}

/// Its link fails and returns every five seconds, and the unit proves itself each time.
#[test]
fn a_path_that_fails_repeatedly_is_the_last_resort_until_it_is_stable() {
    let mut sim = running_with(four_paths(), strict());
    let is_last = |sim: &Simulation| {
        let map = maps(sim).remove(0);
        map.find(" 8:0 ") > map.find(" 8:16 ")
    };
    assert!(!is_last(&sim), "{:?}", maps(&sim));
    for _ in 0..9 {
        sim.inject(&Fault::LinkDown(A1));
        sim.run_for(seconds(2));
        sim.inject(&Fault::LinkUp(A1));
        sim.run_for(seconds(3));
    }
    sim.run_for(seconds(10));
    assert!(is_last(&sim), "{:?}", maps(&sim));
    assert!(says(&sim, "PATH_MARGINAL "));
    sim.run_for(seconds(140));
    assert!(says(&sim, "PATH_MARGINAL_ENDED "));
    assert!(!is_last(&sim), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// Neither checks at regular times nor the delay after each return may make it look stable.
#[test]
fn a_path_that_flaps_is_the_last_resort_for_as_long_as_it_does() {
    for phase in [0, 250, 500, 750] {
        let mut sim = running_with(four_paths(), strict());
        sim.run_for(Millis(phase));
        for _ in 0..400 {
            sim.inject(&Fault::LinkDown(A1));
            sim.run_for(Millis(500));
            sim.inject(&Fault::LinkUp(A1));
            sim.run_for(Millis(500));
        }
        assert!(says(&sim, "PATH_MARGINAL "));
        assert!(!says(&sim, "PATH_MARGINAL_ENDED "));
        let explained = |sim: &Simulation, words: &str| {
            let (_, sections) = sim.world.explain(&A1.to_string()).expect("a path");
            let mut lines = sections.iter().flat_map(|(_, lines)| lines);
            lines.any(|line| line.contains("marginal: ") && line.contains(words))
        };
        assert!(explained(&sim, "ms while other paths serve"));
        sim.run_for(seconds(6));
        assert!(explained(&sim, "until it has worked for another"));
        assert!(!explained(&sim, "while other paths serve"));
        sim.run_for(seconds(140));
        assert!(says(&sim, "PATH_MARGINAL_ENDED "));
        unharmed(&sim);
    }
}

#[test]
fn the_only_path_is_not_marginal() {
    let mut sim = running_with(four_paths(), strict());
    sim.inject_all(&[A2, B1, B2].map(Fault::LinkDown));
    for _ in 0..9 {
        sim.inject(&Fault::LinkDown(A1));
        sim.run_for(seconds(2));
        sim.inject(&Fault::LinkUp(A1));
        sim.run_for(seconds(3));
    }
    assert!(!says(&sim, "PATH_MARGINAL "));
    unharmed(&sim);
}

#[test]
fn a_permanently_lost_unit_fails_immediately_and_is_removed_when_closed() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    // I/O that the device itself refuses does not count as a failure of the agent.
    sim.io_every = None;
    sim.inject_all(&[A1, A2, B1, B2].map(|path| Fault::Remap(path, None, false)));
    sim.run_for(seconds(12));
    assert!(says(&sim, &format!("PDL_START {UNIT} ")));
    assert!(!says(&sim, "APD_TIMEOUT "));
    assert!(
        !maps(&sim)[0].contains("queue_if_no_path"),
        "{:?}",
        maps(&sim)
    );
    sim.run_for(seconds(60));
    assert_eq!(maps(&sim).len(), 1, "it is open");
    sim.inject(&Fault::Open(0, 0));
    sim.run_for(seconds(60));
    assert_eq!(maps(&sim), [""; 0]);
    assert!(says(&sim, &format!("PDL_REMOVED {UNIT} ")));
    assert_eq!(sim.world.paths().count(), 0);
    unharmed(&sim);
}

#[test]
fn a_unit_that_is_mapped_again_serves_again() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    sim.io_every = None;
    sim.inject_all(&[A1, A2, B1, B2].map(|path| Fault::Remap(path, None, false)));
    sim.run_for(seconds(12));
    sim.inject_all(&[A1, A2, B1, B2].map(|path| Fault::Remap(path, Some(0), false)));
    sim.run_for(seconds(12));
    assert!(says(&sim, &format!("PDL_EXIT {UNIT} ")));
    assert!(
        maps(&sim)[0].contains("queue_if_no_path"),
        "{:?}",
        maps(&sim)
    );
    assert!(maps(&sim)[0].contains("AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// A rescan may find the unit again before the agent's next check, which is far off after ten minutes.
#[test]
fn an_admins_rescan_keeps_the_devices_of_a_unit_that_is_mapped_again() {
    let settings = Settings {
        check_interval_ms: seconds(60),
        ..Settings::default()
    };
    let mut sim = running_with(four_paths(), settings);
    sim.inject(&Fault::Open(0, 1));
    sim.io_every = None;
    sim.inject_all(&[A1, A2, B1, B2].map(|path| Fault::Remap(path, None, false)));
    sim.run_for(seconds(690));
    assert!(says(&sim, &format!("PDL_START {UNIT} ")));
    sim.inject_all(&[A1, A2, B1, B2].map(|path| Fault::Remap(path, Some(0), false)));
    sim.inject(&Fault::Open(0, 0));
    sim.run_for(seconds(30));
    assert!(!says(&sim, "PDL_REMOVED "));
    assert_eq!(sim.world.paths().count(), 4);
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// Whether a line of the log begins with this text.
fn says(sim: &Simulation, begin: &str) -> bool {
    notices(sim, 0).iter().any(|line| line.starts_with(begin))
}

#[test]
fn a_map_that_another_program_named_has_its_name_after_a_reboot() {
    let mut sim = running(four_paths());
    let id = sim.kernel.maps().next().unwrap().0.clone();
    sim.kernel.rename_map(&id, "mpatha");
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(10));
    let wwid = sim.kernel.memory.devices.first().cloned().unwrap();
    assert_eq!(
        sim.kernel.memory.names.get(&wwid).map(String::as_str),
        Some("mpatha")
    );

    let mut kernel = four_paths();
    kernel.memory = sim.kernel.memory.clone();
    let rebooted = running(kernel.clone());
    let names: Vec<&String> = rebooted.kernel.maps().map(|(name, _)| name).collect();
    assert_eq!(names, ["mpatha"]);
    unharmed(&rebooted);

    // The admin gives the map its own name again: that is stored too.
    let mut sim = rebooted;
    sim.kernel.rename_map("mpatha", &id);
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(10));
    assert!(sim.kernel.memory.names.is_empty());
}

#[test]
fn a_map_that_has_the_id_of_another_device_as_its_name_does_not_keep_it() {
    let mut kernel = four_paths();
    add_unit(&mut kernel, 1, &[(1, AO), (2, ANO)]);
    let mut sim = running(kernel.clone());
    let ids: Vec<String> = sim.kernel.maps().map(|(name, _)| name.clone()).collect();
    sim.kernel.rename_map(&ids[0], "mpatha");
    sim.kernel.rename_map(&ids[1], &ids[0]);
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(10));
    kernel.memory = sim.kernel.memory.clone();
    let rebooted = running(kernel);
    let names: Vec<&String> = rebooted.kernel.maps().map(|(name, _)| name).collect();
    assert_eq!(names, ["mpatha", &ids[1]]);
    unharmed(&rebooted);
}

/// An admin edits memory.json, or two hosts' files were merged.
#[test]
fn a_stored_name_that_cannot_be_used_is_ignored() {
    let mut kernel = four_paths();
    add_unit(&mut kernel, 1, &[(1, AO), (2, ANO)]);
    let known = running(kernel.clone());
    let ids: Vec<String> = known.kernel.maps().map(|(name, _)| name.clone()).collect();
    let wwids: Vec<_> = known.kernel.memory.devices.iter().cloned().collect();
    let long = "x".repeat(200);
    for (first, second, expected) in [
        ("a/b", "control", [ids[0].as_str(), ids[1].as_str()]),
        ("", &*long, [ids[0].as_str(), ids[1].as_str()]),
        (&*ids[1], &*ids[0], [ids[0].as_str(), ids[1].as_str()]),
        ("mpatha", "mpathb", ["mpatha", "mpathb"]),
    ] {
        let mut kernel = kernel.clone();
        for (wwid, name) in wwids.iter().zip([first, second]) {
            kernel.memory.names.insert(wwid.clone(), name.to_owned());
        }
        let sim = running(kernel);
        let names: Vec<&str> = sim.kernel.maps().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected, "{first:?} {second:?}");
        unharmed(&sim);
    }
    // Both have the same name: one device gets it, and the other one its id.
    for wwid in &wwids {
        kernel.memory.names.insert(wwid.clone(), "data".to_owned());
    }
    let mut sim = running(kernel);
    sim.run_for(seconds(60));
    let names: Vec<&str> = sim.kernel.maps().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"data"), "{names:?}");
    unharmed(&sim);
}

fn names_by(settings: Settings, kernel: Kernel) -> (Vec<String>, Simulation) {
    let sim = running_with(kernel, settings);
    let names = sim.kernel.maps().map(|(name, _)| name.clone());
    (names.collect(), sim)
}

#[test]
fn new_maps_are_named_by_the_setting_and_known_ones_keep_their_names() {
    let by = |map_names| Settings {
        map_names,
        ..Settings::default()
    };
    let mut two = four_paths();
    add_unit(&mut two, 1, &[(1, AO), (2, ANO)]);
    let (ids, known) = names_by(by(MapNames::Naa), two.clone());
    let wwids = known.kernel.memory.devices.iter();
    let wwids: Vec<String> = wwids.map(ToString::to_string).collect();
    assert!(known.kernel.memory.names.is_empty());
    for (map_names, expected) in [
        (MapNames::Naa, ids.clone()),
        (MapNames::Wwid, wwids.clone()),
        (
            MapNames::Mpath,
            vec!["mpatha".to_owned(), "mpathb".to_owned()],
        ),
    ] {
        let (names, sim) = names_by(by(map_names), two.clone());
        assert_eq!(names, expected, "{map_names:?}");
        unharmed(&sim);
        // Whatever the setting says at the next boot, each device has the name that it had.
        for other in [MapNames::Naa, MapNames::Wwid, MapNames::Mpath] {
            let mut kernel = two.clone();
            kernel.memory = sim.kernel.memory.clone();
            let (again, rebooted) = names_by(by(other), kernel);
            assert_eq!(again, expected, "{map_names:?}, then {other:?}");
            unharmed(&rebooted);
        }
    }

    // A name goes to no other device, although the device that had it is not there.
    let (_, sim) = names_by(by(MapNames::Mpath), four_paths());
    let mut other = steady();
    add_unit(&mut other, 1, &[(1, AO), (2, ANO)]);
    other.memory = sim.kernel.memory.clone();
    let (names, _) = names_by(by(MapNames::Mpath), other);
    assert_eq!(names, ["mpathb"]);
}

/// An admin named a device-mapper device of another kind `mpatha`: a linear map, a volume, an encrypted disk. The agent
/// does not see it, and the kernel refuses the name.
#[test]
fn a_name_that_a_device_of_another_kind_has_does_not_stop_a_map() {
    let settings = || Settings {
        map_names: MapNames::Mpath,
        ..Settings::default()
    };
    let (ids, known) = names_by(Settings::default(), four_paths());
    let mut kernel = four_paths();
    kernel.take_name("mpatha");
    let (names, sim) = names_by(settings(), kernel.clone());
    assert_eq!(names, ids);
    unharmed(&sim);
    // So it is with a stored name.
    kernel.memory = known.kernel.memory.clone();
    let wwid = kernel.memory.devices.first().cloned().unwrap();
    kernel.memory.names.insert(wwid, "mpatha".to_owned());
    let (names, sim) = names_by(settings(), kernel);
    assert_eq!(names, ids);
    unharmed(&sim);
}

#[test]
fn a_map_gets_the_name_in_the_file_unless_another_map_has_it() {
    let mut two = four_paths();
    add_unit(&mut two, 1, &[(1, AO), (2, ANO)]);
    let (ids, _) = names_by(Settings::default(), two.clone());
    let named = |names: &[(&String, &str)]| {
        let mut settings = Settings {
            map_names: MapNames::Mpath,
            ..Settings::default()
        };
        for (id, name) in names {
            let device = settings.device.entry(id.as_str().into()).or_default();
            device.map_name = Some((*name).to_owned());
        }
        settings
    };
    let (names, sim) = names_by(named(&[(&ids[1], "mpatha")]), two.clone());
    assert_eq!(names, ["mpatha", "mpathb"]);
    unharmed(&sim);
    let map = sim.kernel.map("mpatha").unwrap();
    let wwid = sim.kernel.memory.devices.last().cloned().unwrap();
    assert_eq!(map.uuid, format!("mpath-{wwid}"));
    // The file changes: the map in use keeps its name, the next one gets the new one.
    let mut sim = sim;
    sim.kernel
        .memory
        .names
        .insert(wwid.clone(), "old".to_owned());
    let memory = sim.kernel.memory.clone();
    let mut kernel = two.clone();
    kernel.memory = memory;
    let (names, _) = names_by(named(&[(&ids[1], "data")]), kernel);
    assert_eq!(names, ["data", "mpathb"]);
    // Names that device-mapper does not accept, or that are the id of another device, do not stop a map.
    for wrong in ["a/b", "", "control", &*ids[0]] {
        let (names, sim) = names_by(named(&[(&ids[1], wrong)]), two.clone());
        assert_eq!(names, ["mpatha", "mpathb"], "{wrong}");
        unharmed(&sim);
    }
    // Only one of two devices gets a name that the file gives to both.
    let (names, sim) = names_by(named(&[(&ids[0], "x"), (&ids[1], "x")]), two);
    assert!(
        names.contains(&"x".to_owned()) && names.len() == 2,
        "{names:?}"
    );
    unharmed(&sim);
}
