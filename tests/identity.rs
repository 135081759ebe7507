//! Which logical unit is behind a path: worked examples of what ends the use of a path, and of what restores it.
//!
//! The host and the array are those of `sim/`, as in `tests/world.rs`. The transitions themselves are tested in
//! `src/psa/state/proof.rs`.

mod san;

use dm_psa::psa::action::Action;
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::event::{Event, UnitAttention};
use dm_psa::psa::evidence::PathState;
use dm_psa::psa::settings::{LonePaths, Settings};
use dm_psa::psa::table::parse::parse;
use dm_psa::psa::units::{Hctl, Millis, Sectors};
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::inquiry::{StandardInquiry, Tpgs};
use dm_psa::scsi::outcome::Outcome;
use dm_psa::scsi::vpd::{Association, CodeSet, DEVICE_IDENTIFICATION, Designator, DesignatorType};
use dm_psa::sim::array::{Answer, Unit, UnitId};
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::Kernel;
use dm_psa::sim::run::Simulation;
use san::*;

/// The unit of the examples with one unit.
const UNIT: &str = "naa.6001405a000000000000000000000001";
const PAGE83: Command = Command::Vpd(DEVICE_IDENTIFICATION);
/// Each path of a table is checked once in this time; answers take one or two milliseconds.
const INTERVAL: Millis = Millis(5_010);
const ALL: [Hctl; 4] = [A1, A2, B1, B2];

fn state(sim: &Simulation, path: Hctl) -> PathState {
    let found = sim.world.paths().find(|(id, _)| **id == path);
    found.map_or(PathState::Unknown, |(_, path)| path.state())
}

fn codes(sim: &Simulation, from: usize, code: &str) -> usize {
    let notices = notices(sim, from);
    notices.iter().filter(|line| line.starts_with(code)).count()
}

/// [`four_paths`], and another unit that no path leads to yet.
fn with_other() -> (Kernel, UnitId) {
    let mut kernel = four_paths();
    let other = kernel.array.add(Unit::new(77, &[(1, AO), (2, ANO)]));
    (kernel, other)
}

/// The map of [`UNIT`].
fn map(sim: &Simulation) -> String {
    let all = maps(sim);
    all.into_iter().find(|map| map.starts_with(UNIT)).unwrap()
}

// ---- nothing is behind the LUN --------------------------------------------------------------------------------

/// LIO's LUN 0: while nothing is mapped to it, its answers are in order except for PERIPHERAL QUALIFIER, and there is
/// no unit attention.
#[test]
fn a_lun_that_leads_nowhere_carries_no_io_until_it_is_proven_again() {
    let (mut kernel, other) = with_other();
    kernel.array.dummies = true;
    let mut sim = running(kernel);
    sim.inject(&Fault::Open(0, 1));
    sim.run_for(seconds(1));
    sim.io_every = None;
    let mark = sim.journal.len();
    sim.inject(&Fault::Remap(A1, None, false));
    sim.run_for(INTERVAL);
    assert_eq!(state(&sim, A1), PathState::Dead);
    assert_eq!(steps(&sim, mark), ["fail_path 8:0"]);
    let notices = explained(&sim, UNIT);
    assert!(
        notices
            .contains("dead: there is no logical unit behind this LUN (PERIPHERAL QUALIFIER 001b)"),
        "{notices}"
    );
    // Then it leads to another unit, and a writer starts.
    sim.inject(&Fault::Remap(A1, Some(other), false));
    sim.io_every = Some(Millis(10));
    sim.run_for(seconds(20));
    assert!(
        explained(&sim, "sda")
            .contains("quarantined: naa.6001405a00000000000000000000004d answers")
    );
    assert_eq!(codes(&sim, mark, "PATH_ABSENT"), 1);
    assert_eq!(codes(&sim, mark, "PATH_QUARANTINED"), 1);
    // Mapped back, it serves again.
    sim.inject(&Fault::Remap(A1, Some(0), false));
    sim.run_for(seconds(10));
    assert_eq!(state(&sim, A1), PathState::Active);
    unharmed(&sim);
}

#[test]
fn any_peripheral_qualifier_but_0_means_no_unit() {
    let page = four_paths().array.execute(A1, &PAGE83).data;
    let inquiry = StandardInquiry::build(Tpgs::Both, "SIM", "ARRAY", "1.0");
    for qualifier in 1..8 {
        let mut sim = running(four_paths());
        let says = |data: &[u8]| {
            let mut data = data.to_vec();
            data[0] = qualifier << 5;
            Some(Answer::good(data))
        };
        sim.inject(&Fault::Lie(A1, PAGE83, says(&page)));
        // INQUIRY is read after a unit attention.
        sim.inject(&Fault::Lie(B1, Command::Inquiry, says(&inquiry)));
        let kind = UnitAttention::PowerOnResetOccurred;
        sim.deliver(Event::UnitAttention { path: B1, kind });
        sim.run_for(INTERVAL);
        assert!(map(&sim).ends_with(" FA FA"), "{}", map(&sim));
        let text = format!("PERIPHERAL QUALIFIER {qualifier:03b}b");
        assert!(explained(&sim, "sda").contains(&text) && explained(&sim, "sdb").contains(&text));
        // An empty LUN has another vendor and product than the unit.
        sim.inject(&Fault::Lie(A1, PAGE83, None));
        sim.inject(&Fault::Lie(B1, Command::Inquiry, None));
        sim.run_for(seconds(3));
        assert!(map(&sim).ends_with(" AA AA"), "{}", map(&sim));
        unharmed(&sim);
    }
}

/// The last path too: it is known that nothing is there. I/O waits, as whenever all paths are down.
#[test]
fn io_waits_while_every_lun_leads_nowhere() {
    let mut kernel = four_paths();
    kernel.array.dummies = true;
    let mut sim = running(kernel);
    sim.io_every = None;
    let mark = sim.journal.len();
    for path in ALL {
        sim.inject(&Fault::Remap(path, None, false));
    }
    sim.run_for(INTERVAL);
    assert!(map(&sim).ends_with(" FF FF"), "{}", map(&sim));
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(130));
    assert_eq!(codes(&sim, mark, "APD_START"), 1);
    assert_eq!(codes(&sim, mark, "PDL_START"), 0);
    for path in ALL {
        sim.inject(&Fault::Remap(path, Some(0), false));
    }
    sim.run_for(seconds(5));
    assert!(map(&sim).ends_with(" AA AA"), "{}", map(&sim));
    assert_eq!(codes(&sim, mark, "APD_EXIT"), 1);
    unharmed(&sim);
}

// ---- another unit, and the array does not report it -----------------------------------------------------------

#[test]
fn no_byte_goes_to_the_wrong_disk_if_a_check_lies_between_swap_and_write() {
    for (gap, dummies, attention) in [
        (0, false, false),
        (100, true, false),
        (1_000, true, false),
        (3_000, true, false),
        (3_000, false, false),
        (7_000, true, false),
        (7_000, true, true),
    ] {
        let (mut kernel, other) = with_other();
        kernel.array.dummies = dummies;
        let mut sim = running(kernel);
        sim.io_every = None;
        if gap > 0 {
            sim.inject(&Fault::Remap(A1, None, false));
        }
        sim.run_for(Millis(gap));
        sim.inject(&Fault::Remap(A1, Some(other), attention));
        sim.run_for(INTERVAL);
        sim.io_every = Some(Millis(10));
        sim.run_for(seconds(20));
        assert!(!map(&sim).contains(" 8:0 "), "gap {gap}: {}", map(&sim));
        unharmed(&sim);
    }
}

// ---- nothing is said ------------------------------------------------------------------------------------------

/// A page without designators does not prove absence: the path is used as a last resort until it identifies its unit.
#[test]
fn a_path_that_cannot_prove_itself_is_used_only_while_no_other_serves() {
    let page = four_paths().array.execute(A1, &PAGE83).data;
    for says_nothing in [
        Answer::check(5, 0x24, 0),
        Answer::good(Vec::new()),
        Answer::good(page[..20].to_vec()),
        Answer::good(vec![0, 0x83, 0, 0]),
        Answer::good(vec![0, 0x80, 0, 2, b'1', b'2']),
    ] {
        let mut sim = running(four_paths());
        let mark = sim.journal.len();
        sim.inject(&Fault::Lie(A1, PAGE83, Some(says_nothing.clone())));
        sim.run_for(INTERVAL);
        sim.run_for(Millis(100));
        assert_eq!(steps(&sim, mark), ["fail_path 8:0"], "{says_nothing:?}");
        assert_eq!(state(&sim, A1), PathState::Unknown);
        assert_eq!(codes(&sim, mark, "PATH_UNPROVEN"), 1);
        // One such answer does not end its use, or one bad answer would move a unit between controllers.
        sim.inject(&Fault::Lie(A1, PAGE83, None));
        sim.run_for(seconds(3));
        assert!(map(&sim).ends_with(" AA AA"), "{}", map(&sim));
        for path in ALL {
            sim.inject(&Fault::Lie(path, PAGE83, Some(says_nothing.clone())));
        }
        // The paths that are found first are failed while others serve; the last ones are not.
        sim.run_for(seconds(300));
        assert!(map(&sim).ends_with('A'), "{}", map(&sim));
        assert_eq!(codes(&sim, mark, "APD_START"), 0);
        unharmed(&sim);
    }
}

#[test]
fn one_empty_page_takes_no_path_out_of_use() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.inject(&Fault::Lie(A1, PAGE83, Some(Answer::good(Vec::new()))));
    let end = sim.now().after(seconds(10));
    while sim
        .world
        .find_path("sda")
        .unwrap()
        .proof()
        .problem()
        .is_none()
    {
        assert!(sim.step(end));
    }
    sim.inject(&Fault::Lie(A1, PAGE83, None));
    sim.run_for(seconds(10));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    assert_eq!(codes(&sim, mark, "PATH_UNPROVEN"), 0);
}

/// TEST UNIT READY succeeds, but page 83h is not answered: the last proof is accepted for a minute.
#[test]
fn a_path_without_an_identity_page_is_out_of_use_after_a_minute() {
    for outcome in [Outcome::Busy, Outcome::Timeout, Outcome::Host(7)] {
        let mut sim = running(four_paths());
        let mark = sim.journal.len();
        sim.inject(&Fault::Lie(A1, PAGE83, Some(Answer::from(outcome.clone()))));
        sim.run_for(seconds(50));
        assert_eq!(steps(&sim, mark), Vec::<String>::new(), "{outcome:?}");
        sim.run_for(seconds(20));
        assert_eq!(steps(&sim, mark), ["fail_path 8:0"], "{outcome:?}");
        sim.inject(&Fault::Lie(A1, PAGE83, None));
        sim.run_for(seconds(10));
        assert!(map(&sim).ends_with(" AA AA"), "{}", map(&sim));
        unharmed(&sim);
    }
}

// ---- a LUN number that is given to another volume -------------------------------------------------------------

/// The LUNs lead to the other volume permanently: when the old map is closed, the paths join the other unit by
/// themselves.
#[test]
fn the_paths_of_a_closed_map_join_the_unit_that_they_lead_to() {
    let (mut kernel, other) = with_other();
    kernel.array.dummies = true;
    let mut sim = running(kernel);
    sim.io_every = None;
    sim.inject(&Fault::Open(0, 1));
    let mark = sim.journal.len();
    for path in ALL {
        sim.inject(&Fault::Remap(path, Some(other), false));
    }
    sim.run_for(seconds(60));
    // I/O that waits in the map must not reach the other volume while the map is open.
    assert_eq!(codes(&sim, mark, "PATH_QUARANTINED"), 4);
    assert_eq!(maps(&sim).len(), 1);
    assert!(map(&sim).ends_with(" FF FF"), "{}", map(&sim));
    sim.inject(&Fault::Open(0, 0));
    sim.run_for(seconds(20));
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(10));
    let all = maps(&sim);
    assert!(
        all.len() == 1
            && all[0].starts_with("naa.6001405a00000000000000000000004d")
            && all[0].ends_with(" AA AA"),
        "{all:?}"
    );
    assert_eq!(codes(&sim, mark, "PATH_QUARANTINE_ENDED"), 4);
    unharmed(&sim);
}

/// The old volume still has other paths: its map stays, open or not.
#[test]
fn one_path_of_a_closed_map_joins_the_other_unit_and_the_rest_stay() {
    let (mut kernel, other) = with_other();
    kernel.array.dummies = true;
    let settings = Settings {
        lone_paths: LonePaths::All,
        ..Settings::default()
    };
    let mut sim = running_with(kernel, settings);
    sim.inject(&Fault::Open(0, 1));
    sim.io_every = None;
    sim.inject(&Fault::Remap(A1, Some(other), false));
    sim.run_for(INTERVAL);
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(60));
    assert_eq!(maps(&sim).len(), 1);
    assert!(!map(&sim).contains(" 8:0 "), "{}", map(&sim));
    sim.inject(&Fault::Open(0, 0));
    sim.run_for(seconds(20));
    assert_eq!(maps(&sim).len(), 2, "{:?}", maps(&sim));
    assert!(maps(&sim).iter().any(|map| map.contains(" 8:0 ")));
    // It returns in the same way.
    sim.io_every = None;
    sim.inject(&Fault::Remap(A1, Some(0), false));
    sim.run_for(INTERVAL);
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(30));
    assert_eq!(maps(&sim).len(), 1, "{:?}", maps(&sim));
    assert!(map(&sim).ends_with(" AA AA"), "{}", map(&sim));
    unharmed(&sim);
}

/// One path was down when the LUN was given to another volume; it delays nothing.
#[test]
fn a_dead_path_does_not_keep_a_closed_map_whose_luns_were_remapped() {
    let (mut kernel, other) = with_other();
    kernel.nexus_loss = true;
    let mut sim = running(kernel);
    sim.io_every = None;
    sim.inject(&Fault::LinkDown(B2));
    sim.run_for(seconds(10));
    for path in ALL {
        sim.inject(&Fault::Remap(path, Some(other), false));
    }
    sim.run_for(seconds(30));
    sim.inject(&Fault::LinkUp(B2));
    sim.run_for(seconds(20));
    let all = maps(&sim);
    assert!(all.len() == 1 && all[0].ends_with(" AA AA"), "{all:?}");
    assert!(all[0].starts_with("naa.6001405a00000000000000000000004d"));
    unharmed(&sim);
}

// ---- an identity is what page 83h lists -----------------------------------------------------------------------

/// New firmware adds a designator that a new device would be named by.
#[test]
fn a_designator_that_is_added_while_a_map_is_in_use_changes_nothing() {
    let mut sim = running(four_paths());
    let mark = sim.journal.len();
    sim.kernel.array.unit_mut(0).unwrap().designators = vec![naa(9)];
    sim.run_for(seconds(20));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    // The name does not change after a restart either, nor after all paths were down.
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(20));
    for path in ALL {
        sim.inject(&Fault::LinkDown(path));
    }
    sim.run_for(seconds(10));
    for path in ALL {
        sim.inject(&Fault::LinkUp(path));
    }
    sim.run_for(seconds(10));
    assert!(
        maps(&sim).len() == 1 && map(&sim).ends_with(" AA AA"),
        "{:?}",
        maps(&sim)
    );
    assert_eq!(sim.kernel.ledger.tables, 1);
    unharmed(&sim);
}

/// The same while a controller restarts with the firmware, so that its paths are deleted and come back.
#[test]
fn paths_that_come_back_with_an_added_designator_join_their_device() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    for paths in [[A1, A2], [B1, B2]] {
        for path in paths {
            sim.inject(&Fault::Delete(path));
        }
        sim.run_for(seconds(30));
        sim.kernel.array.unit_mut(0).unwrap().designators = vec![naa(9)];
        for path in paths {
            sim.inject(&Fault::Add(path));
        }
        sim.run_for(seconds(30));
        assert_eq!(maps(&sim).len(), 1, "{:?}", maps(&sim));
        assert_eq!(held(&sim).len(), 4);
    }
    assert!(maps(&sim)[0].starts_with(UNIT), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// A new device is named by the last of two designators, as udev does by the rules of sg3-utils.
#[test]
fn a_new_device_is_named_as_udev_names_its_disks() {
    let mut kernel = four_paths();
    kernel.array.unit_mut(0).unwrap().designators = vec![naa(9)];
    let sim = running(kernel);
    let all = maps(&sim);
    assert!(
        all.len() == 1 && all[0].starts_with("naa.60606060606060606060606060606009"),
        "{all:?}"
    );
}

/// Stray bytes after the designators: the kernel, udev and multipath-tools ignore them, and so does the map.
#[test]
fn trailing_bytes_of_the_page_are_reported_and_ignored() {
    let mut kernel = four_paths();
    for path in ALL {
        let mut page = kernel.array.execute(path, &PAGE83).data;
        page.extend([0; 3]);
        page[3] += 3;
        kernel.array.lie(path, PAGE83, Some(Answer::good(page)));
    }
    let mut sim = running(kernel);
    sim.run_for(seconds(20));
    assert!(map(&sim).ends_with(" AA AA"), "{}", map(&sim));
    assert_eq!(codes(&sim, 0, "IDENTIFICATION_MALFORMED"), 4);
    assert!(
        explained(&sim, "sda")
            .contains("a part of VPD page 83h was not read: designation descriptor, byte")
    );
}

// ---- one identity, two units ----------------------------------------------------------------------------------

/// Adds a unit with the identity of [`UNIT`].
fn twin(kernel: &mut Kernel, change: impl FnOnce(&mut Unit)) -> UnitId {
    let mut unit = Unit::new(1, &[(1, AO), (2, ANO)]);
    change(&mut unit);
    kernel.array.add(unit)
}

const SIZE: Sectors = Sectors(1 << 21);
const LARGER: Sectors = Sectors(1 << 22);

fn held(sim: &Simulation) -> Vec<Hctl> {
    let map = sim.kernel.map(UNIT).unwrap();
    let mut paths: Vec<Hctl> = map
        .table
        .unwrap()
        .paths()
        .filter_map(|path| sim.kernel.path_of(path.dev))
        .collect();
    paths.sort_unstable();
    paths
}

fn length(sim: &Simulation) -> Sectors {
    sim.kernel.map(UNIT).unwrap().table.unwrap().length
}

/// Clones, or firmware that gives each LUN the same name: the paths in the table lead to one unit, and a failover stays
/// on it.
#[test]
fn a_twin_of_another_size_or_product_shares_no_table() {
    let size: fn(&mut Unit) = |unit| unit.size = LARGER;
    let smaller: fn(&mut Unit) = |unit| unit.size = Sectors(1 << 20);
    let product: fn(&mut Unit) = |unit| unit.product = "OTHER".to_owned();
    let vendor: fn(&mut Unit) = |unit| unit.vendor = "OTHER".to_owned();
    for (change, why) in [
        (size, "4194304 sectors, the unit has 2097152"),
        (smaller, "1048576"),
        (
            product,
            "INQUIRY reports `SIM` `OTHER`, the unit is `SIM` `ARRAY`",
        ),
        (vendor, "INQUIRY reports `OTHER` `ARRAY`"),
    ] {
        let mut kernel = four_paths();
        let twin = twin(&mut kernel, change);
        // Another target with the same LUN number.
        for host in [1, 2] {
            kernel.cable(path(host, 2, 0), Transport::Fc, twin, 1, 30);
        }
        let mut sim = running(kernel);
        assert_eq!(held(&sim), [A1, B1, A2, B2], "{why}");
        let notices = notices(&sim, 0);
        assert_eq!(codes(&sim, 0, "PATH_MISMATCHED"), 2, "{why}: {notices:#?}");
        let text = explained(&sim, UNIT);
        assert!(text.contains(why), "{why}: {text}");
        for path in ALL {
            sim.inject(&Fault::LinkDown(path));
        }
        sim.run_for(seconds(100));
        for path in ALL {
            sim.inject(&Fault::LinkUp(path));
        }
        sim.run_for(seconds(10));
        assert_eq!(held(&sim), [A1, B1, A2, B2], "{why}");
        // The same if the paths of the unit disappear while its map is open.
        sim.inject(&Fault::Open(0, 1));
        sim.io_every = None;
        for path in ALL {
            sim.inject(&Fault::Delete(path));
        }
        sim.run_for(seconds(100));
        assert_eq!(held(&sim), [], "{why}");
        // When the map is closed, the twin is a unit like any other.
        sim.inject(&Fault::Open(0, 0));
        sim.run_for(seconds(20));
        let other = [path(1, 2, 0), path(2, 2, 0)];
        assert!(
            held(&sim) == other || why == "1048576",
            "{why}: {:?}",
            held(&sim)
        );
        unharmed(&sim);
    }
}

/// The members of the map decide which unit is used, not the address.
#[test]
fn a_twin_that_appears_later_stays_out_whatever_its_address() {
    let mut kernel = steady();
    let groups = [(1, AO), (2, ANO)];
    let unit = kernel.array.add(Unit::new(1, &groups));
    kernel.cable(path(2, 0, 5), Transport::Fc, unit, 1, 11);
    kernel.cable(path(3, 0, 5), Transport::Fc, unit, 1, 12);
    let twin = twin(&mut kernel, |unit| unit.size = LARGER);
    kernel.cable(path(1, 0, 5), Transport::Fc, twin, 1, 13);
    kernel.inject(Millis(0), &Fault::Delete(path(1, 0, 5)));
    let mut sim = running(kernel);
    sim.inject(&Fault::Add(path(1, 0, 5)));
    sim.run_for(seconds(20));
    assert_eq!(held(&sim), [path(2, 0, 5), path(3, 0, 5)]);
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(20));
    assert_eq!(held(&sim), [path(2, 0, 5), path(3, 0, 5)]);
    unharmed(&sim);
}

/// Behind each port a second LUN with the identity of the first.
fn with_second_luns() -> Kernel {
    let mut kernel = four_paths();
    let twin = twin(&mut kernel, |_| ());
    for (n, one) in ALL.iter().enumerate() {
        let group = if one.target == 0 { 1 } else { 2 };
        let second = Hctl { lun: 1, ..*one };
        kernel.cable(second, Transport::Fc, twin, group, n as u16);
    }
    kernel
}

/// Two LUNs of one port that are equal in everything that can be asked: that is reported, and one LUN is used. The
/// other adds nothing if it is the same unit, and it may be another one.
#[test]
fn a_second_lun_of_a_port_with_the_same_identity_is_reported_and_not_used() {
    let kernel = with_second_luns();
    let mut sim = running(kernel);
    assert_eq!(held(&sim), [A1, B1, A2, B2]);
    assert_eq!(codes(&sim, 0, "IDENTITY_REPEATED"), 1);
    let text = explained(&sim, UNIT);
    assert!(
        text.contains("1:0:0:0 and 1:0:0:1 are two LUNs of one target port"),
        "{text}"
    );
    assert!(text.contains("LUN 1 may be another unit"), "{text}");
    // The first LUN disappears while its map is open.
    sim.inject(&Fault::Open(0, 1));
    for path in ALL {
        sim.inject(&Fault::Delete(path));
        sim.run_for(seconds(10));
    }
    sim.run_for(seconds(50));
    assert_eq!(held(&sim), []);
    for path in ALL {
        sim.inject(&Fault::Add(path));
    }
    sim.run_for(seconds(10));
    assert_eq!(held(&sim), [A1, B1, A2, B2]);
    unharmed(&sim);
}

/// The unit fails while I/O runs, and the agent starts again. After `meanwhile` it gets time, and the unit returns. The table
/// has the paths of the unit throughout.
fn restart_during_an_outage(kernel: Kernel, meanwhile: impl FnOnce(&mut Simulation)) {
    let mut sim = running(kernel);
    sim.inject(&Fault::Open(0, 1));
    sim.inject_all(&ALL.map(Fault::LinkDown));
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(10));
    sim.inject(&Fault::RestartAgent);
    meanwhile(&mut sim);
    sim.run_for(seconds(30));
    assert_eq!(held(&sim), [A1, B1, A2, B2]);
    sim.inject_all(&ALL.map(Fault::LinkUp));
    sim.run_for(seconds(20));
    assert_eq!(held(&sim), [A1, B1, A2, B2]);
    unharmed(&sim);
}

/// The agent starts while the first LUN is down. Nothing of it has answered, but its disks are those of the map.
#[test]
fn a_second_lun_of_a_port_gets_no_queued_write_after_a_restart() {
    restart_during_an_outage(with_second_luns(), |_| ());
}

/// The agent starts while the unit is down, and a clone on another target answers. The kernel knows what the disks of the
/// map reported when it found them.
#[test]
fn a_twin_of_another_product_gets_no_queued_write_after_a_restart() {
    let product: fn(&mut Unit) = |unit| unit.product = "OTHER".to_owned();
    let vendor: fn(&mut Unit) = |unit| unit.vendor = "OTHER".to_owned();
    for change in [product, vendor] {
        for appears_later in [false, true] {
            let mut kernel = four_paths();
            let twin = twin(&mut kernel, change);
            let other = path(1, 2, 0);
            kernel.cable(other, Transport::Fc, twin, 1, 30);
            if appears_later {
                kernel.inject(Millis(0), &Fault::Delete(other));
            }
            restart_during_an_outage(kernel, |sim| {
                if appears_later {
                    sim.run_for(seconds(10));
                    sim.inject(&Fault::Add(other));
                }
            });
        }
    }
}

/// A path is down, and a clone with another size or product answers when the path returns.
#[test]
fn a_twin_that_answers_when_a_path_returns_is_detected() {
    for (change, attention) in [(true, false), (false, false), (true, true)] {
        let mut kernel = four_paths();
        let twin = twin(&mut kernel, |unit| {
            if change {
                unit.size = LARGER;
            } else {
                unit.product = "OTHER".to_owned();
            }
        });
        let mut sim = running(kernel);
        sim.inject(&Fault::LinkDown(A1));
        sim.run_for(seconds(10));
        sim.inject(&Fault::Remap(A1, Some(twin), attention));
        sim.inject(&Fault::LinkUp(A1));
        sim.run_for(seconds(20));
        assert_eq!(held(&sim), [B1, A2, B2]);
        assert_eq!(length(&sim), SIZE);
        // The right unit is back.
        sim.inject(&Fault::LinkDown(A1));
        sim.inject(&Fault::Remap(A1, Some(0), false));
        sim.run_for(seconds(10));
        sim.inject(&Fault::LinkUp(A1));
        sim.run_for(seconds(70));
        assert_eq!(held(&sim), [A1, B1, A2, B2]);
        unharmed(&sim);
    }
}

// ---- one unit, two sizes --------------------------------------------------------------------------------------

/// The unit grew, and the kernel has the old size for some of its paths: each path is asked, and they agree.
#[test]
fn a_new_map_takes_every_path_whatever_size_the_kernel_remembers() {
    for larger in [&[A1][..], &[B2], &[A1, B1], &[A1, A2, B1]] {
        let mut kernel = four_paths();
        kernel.array.unit_mut(0).unwrap().size = LARGER;
        for path in ALL {
            let size = if larger.contains(&path) { LARGER } else { SIZE };
            kernel.set_size(path, size);
        }
        let sim = running(kernel);
        assert_eq!(held(&sim), [A1, B1, A2, B2], "{larger:?}");
        assert_eq!(length(&sim), LARGER, "{larger:?}");
        assert!(sim.kernel.ledger.tables <= 2);
        assert_eq!(
            codes(&sim, 0, "PATH_MISMATCHED"),
            0,
            "{:?}",
            notices(&sim, 0)
        );
        unharmed(&sim);
    }
}

/// The unit grew without a report. Then a path is found again: the others are asked, and the map grows.
#[test]
fn a_path_that_is_found_again_shows_that_the_unit_grew() {
    let mut sim = running(four_paths());
    sim.kernel.array.unit_mut(0).unwrap().size = LARGER;
    sim.inject(&Fault::Delete(B2));
    sim.run_for(seconds(10));
    sim.inject(&Fault::Add(B2));
    sim.run_for(seconds(10));
    assert_eq!(held(&sim), [A1, B1, A2, B2]);
    assert_eq!(length(&sim), LARGER);
    assert_eq!(
        codes(&sim, 0, "PATH_MISMATCHED"),
        0,
        "{:?}",
        notices(&sim, 0)
    );
    unharmed(&sim);
}

/// Old arrays refuse READ CAPACITY (16): the kernel reads the capacity again.
#[test]
fn a_unit_without_read_capacity_16_grows_too() {
    let mut kernel = four_paths();
    kernel.array.unit_mut(0).unwrap().size = LARGER;
    for path in ALL {
        let refused = Answer::check(5, 0x20, 0);
        kernel
            .array
            .lie(path, Command::ReadCapacity16, Some(refused));
        kernel.set_size(path, if path == A1 { LARGER } else { SIZE });
    }
    let mut sim = running(kernel);
    sim.run_for(seconds(70));
    assert_eq!(held(&sim), [A1, B1, A2, B2]);
    assert_eq!(length(&sim), LARGER);
    unharmed(&sim);
}

/// An array moves a unit to other disks, and its product name changes while it is in use: every path reports the new
/// name.
#[test]
fn a_new_product_that_every_path_reports_is_accepted() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    sim.kernel.array.unit_mut(0).unwrap().product = "RAID 10".to_owned();
    let kind = UnitAttention::InquiryDataHasChanged;
    sim.deliver(Event::UnitAttention { path: A1, kind });
    sim.run_for(seconds(20));
    assert_eq!(held(&sim), [A1, B1, A2, B2]);
    assert!(map(&sim).ends_with(" AA AA"), "{}", map(&sim));
    unharmed(&sim);
}

// ---- two names of one kind, one of which is shared by two units -----------------------------------------------------

/// Two units, each with its own NAA identifier and a shared one after it: the last identifier of a kind is the name.
#[test]
fn a_name_that_two_units_share_proves_nothing_once_the_other_name_changed() {
    let shared = shared_name();
    let mut kernel = steady();
    let mut units = [1, 77].map(|number| Unit::new(number, &[(1, AO), (2, ANO)]));
    for unit in &mut units {
        unit.designators.push(shared.clone());
    }
    let [first, second] = units;
    cable_unit(&mut kernel, 0, first);
    let other = kernel.array.add(second);
    let mut sim = running(kernel);
    sim.kernel
        .open_map("naa.60606060606060605a5a5a5a5a5a5a5a", 1);
    sim.io_every = None;
    sim.inject(&Fault::Remap(A1, Some(other), false));
    // However often the path is asked.
    for _ in 0..20 {
        sim.run_for(INTERVAL);
        assert_eq!(state(&sim, A1), PathState::Dead);
    }
    sim.inject(&Fault::Remap(A1, Some(0), false));
    sim.run_for(seconds(10));
    assert_eq!(state(&sim, A1), PathState::Active);
}

/// The name of the map of units that share a name, see [`shared_name`].
const SHARED: &str = "naa.60606060606060605a5a5a5a5a5a5a5a";

fn shared_name() -> Designator {
    Designator {
        protocol_identifier: None,
        code_set: CodeSet::Binary,
        association: Association::LogicalUnit,
        designator_type: DesignatorType::Naa,
        bytes: [[0x60; 8], [0x5a; 8]].concat(),
    }
}

/// Two units that share one of two identifiers, on different ports: a table has paths of only one of them, even if
/// another agent made a table with both.
#[test]
fn units_that_share_a_name_from_the_start_share_no_table() {
    for adopted in [false, true] {
        let mut kernel = steady();
        let mut units = [1, 77].map(|number| Unit::new(number, &[(1, AO), (2, ANO)]));
        for unit in &mut units {
            unit.designators.push(shared_name());
        }
        let [one, two] = units;
        cable_unit(&mut kernel, 0, one);
        let other = kernel.array.add(two);
        for path in [B1, B2] {
            kernel.array.remap(path, Some(other), false);
        }
        if adopted {
            let all = "1 queue_if_no_path 0 1 1 service-time 0 4 1 8:0 1 8:16 1 8:32 1 8:48 1";
            let table = parse(Sectors(1 << 21), all).unwrap();
            let uuid = format!("mpath-3{}", &SHARED[4..]);
            kernel.make_map(SHARED, &uuid, &table).unwrap();
        }
        let mut sim = Simulation::start(kernel, Settings::default());
        sim.run_for(seconds(20));
        for (faults, back) in [
            ([A1, A2].map(Fault::LinkDown), false),
            ([A1, A2].map(Fault::LinkUp), true),
        ] {
            let map = sim.kernel.map(SHARED).unwrap();
            let status = map.status.unwrap();
            let paths = status.groups.iter().flat_map(|group| &group.paths);
            let active = paths.filter(|path| path.active);
            let mut active: Vec<Hctl> = active.filter_map(|p| sim.kernel.path_of(p.dev)).collect();
            active.sort_unstable();
            let expected = if back { vec![] } else { vec![A1, A2] };
            assert_eq!(active, expected, "{adopted}");
            sim.inject_all(&faults);
            sim.run_for(seconds(20));
        }
        unharmed(&sim);
    }
}

/// The commands that each path was asked since this entry of the journal, with their times.
fn asked(sim: &Simulation, from: usize) -> Vec<(Millis, Hctl, Vec<Command>)> {
    let entries = sim.journal.iter().skip(from);
    let examined = entries.flat_map(|entry| {
        entry.actions.iter().filter_map(|action| match action {
            Action::Examine(asked) => Some((entry.at, asked.path, asked.commands.to_vec())),
            _ => None,
        })
    });
    examined.collect()
}

/// Each path proves its identity with each check. The paths of a device take turns to report readiness: each within ten
/// seconds, and one of them with each check.
#[test]
fn readiness_is_checked_in_turns_and_identity_always() {
    let mut sim = running(four_paths());
    sim.run_for(seconds(20));
    let mark = sim.journal.len();
    sim.run_for(seconds(120));
    let asked = asked(&sim, mark);
    let is_ready = |commands: &[Command]| commands.contains(&Command::TestUnitReady);
    for path in ALL {
        let own: Vec<_> = asked.iter().filter(|(_, id, _)| *id == path).collect();
        assert!(own.len() >= 23, "{path}: {}", own.len());
        let proof = Command::Vpd(DEVICE_IDENTIFICATION);
        assert!(own.iter().all(|(_, _, commands)| commands.contains(&proof)));
        let ready = own.iter().filter(|(_, _, commands)| is_ready(commands));
        let times: Vec<Millis> = ready.map(|(at, ..)| *at).collect();
        assert!(times.len() <= 16, "{path}: {times:?}");
        let pauses = times.windows(2).map(|pair| pair[1].since(pair[0]));
        assert!(pauses.max().unwrap() <= seconds(11), "{path}: {times:?}");
    }
    let ready = asked.iter().filter(|(_, _, commands)| is_ready(commands));
    let times: Vec<Millis> = ready.map(|(at, ..)| *at).collect();
    let pauses = times.windows(2).map(|pair| pair[1].since(pair[0]));
    assert!(pauses.max().unwrap() <= seconds(6), "{times:?}");
}

/// A path that does not identify its unit is immediately asked whether it is ready.
#[test]
fn a_path_that_is_lost_while_idle_is_found_with_its_next_check() {
    for path in ALL {
        let mut sim = running(four_paths());
        sim.io_every = None;
        sim.run_for(seconds(21));
        sim.inject(&Fault::LinkDown(path));
        sim.run_for(seconds(6));
        assert_eq!(state(&sim, path), PathState::Dead);
        sim.inject(&Fault::LinkUp(path));
        sim.run_for(seconds(6));
        assert_ne!(state(&sim, path), PathState::Dead);
    }
}

/// An idle path still identifies its unit but is not ready any more, on an array that reports nothing: it is found when
/// it is its turn, and its device loses no path because of it.
#[test]
fn an_idle_path_that_is_not_ready_is_found_in_its_turn() {
    for path in ALL {
        let mut sim = running(four_paths());
        sim.io_every = None;
        sim.run_for(seconds(20));
        let answer = Answer::check(2, 0x04, 0x03);
        sim.inject(&Fault::Lie(path, Command::TestUnitReady, Some(answer)));
        sim.run_for(seconds(11));
        assert_eq!(state(&sim, path), PathState::Dead);
        assert_eq!(held(&sim), [A1, B1, A2, B2]);
        unharmed(&sim);
    }
}
