//! Maps with disks that are not paths of this agent: an unknown disk is neither gone nor the agent's.
//!
//! A disk can be in a table and unknown to discovery because it is not a SCSI disk, because udev has not processed it,
//! or because it was removed while no agent ran. Only in the last case may it lose its place.

mod san;

use dm_psa::psa::action::Action;
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::change::{Change, Refusal};
use dm_psa::psa::event::Event;
use dm_psa::psa::facts::Usage;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::model::Table;
use dm_psa::psa::table::parse::parse;
use dm_psa::psa::units::{DevT, Millis, Sectors};
use dm_psa::sim::array::Unit;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::Kernel;
use dm_psa::sim::run::Simulation;
use san::*;

const UNIT: &str = "naa.6001405a000000000000000000000001";
const UUID: &str = "mpath-36001405a000000000000000000000001";

fn table(paths: &[&str]) -> Table {
    let members: Vec<String> = paths.iter().map(|dev| format!("{dev} 1 1")).collect();
    let text = format!(
        "1 queue_if_no_path 0 1 1 service-time 0 {} 2 {}",
        paths.len(),
        members.join(" ")
    );
    parse(Sectors(204_800), &text).unwrap()
}

fn dev(text: &str) -> DevT {
    text.parse().unwrap()
}

/// A map over disks that are not SCSI disks, such as native NVMe paths, DASDs and zoned disks.
fn foreign(disks: &[(&str, &str)], users: u32) -> Simulation {
    let mut kernel = four_paths();
    for (number, what) in disks {
        kernel.add_other(dev(number), what);
    }
    let numbers: Vec<&str> = disks.iter().map(|(number, _)| *number).collect();
    let uuid = "mpath-nvme.0001-aa";
    kernel.make_map("mpatha", uuid, &table(&numbers)).unwrap();
    kernel.open_map("mpatha", users);
    Simulation::start(kernel, Settings::default())
}

#[test]
fn a_map_over_foreign_disks_is_left_as_it_is() {
    let disks = [
        ("259:0", "nvme0n1, which is not a SCSI disk"),
        ("259:1", "nvme1n1, which is not a SCSI disk"),
    ];
    for users in [0, 1] {
        let mut sim = foreign(&disks, users);
        sim.io_every = Some(Millis(100));
        let before = sim.kernel.map("mpatha").unwrap().table;
        sim.run_for(seconds(600));
        // The agent's own device got its map; nothing else was changed.
        assert_eq!(steps(&sim, 0).len(), 1, "{:?}", steps(&sim, 0));
        let after = sim.kernel.map("mpatha").unwrap();
        assert_eq!(after.table, before);
        let text = explained(&sim, "mpatha");
        let why = "foreign: its map contains nvme0n1, which is not a SCSI disk";
        assert!(text.contains(why), "{text}");
        assert!(
            notices(&sim, 0)
                .iter()
                .any(|line| line.starts_with("MAP_FOREIGN "))
        );
        unharmed(&sim);
    }
}

/// multipath-tools names a map by `uid_attribute`, which may be `ID_WWN`, a serial number of page 80h or a value from a
/// udev rule. Page 83h neither proves nor disproves such a name.
#[test]
fn a_map_that_is_not_named_by_page_83h_is_left_as_it_is() {
    for name in [
        "0x6001405a000000000000000000000001",
        "SSIM_ARRAY_1234",
        "82003-01.com.example:disk",
        "db-1",
    ] {
        for users in [0, 1] {
            let mut kernel = four_paths();
            let uuid = format!("mpath-{name}");
            let all = table(&["8:0", "8:16", "8:32", "8:48"]);
            kernel.make_map("mpatha", &uuid, &all).unwrap();
            kernel.open_map("mpatha", users);
            let mut sim = Simulation::start(kernel, Settings::default());
            sim.run_for(seconds(100));
            sim.inject(&Fault::RestartAgent);
            sim.run_for(seconds(300));
            assert_eq!(steps(&sim, 0), Vec::<String>::new(), "{name} {users}");
            assert!(maps(&sim)[0].ends_with("AAAA"), "{:?}", maps(&sim));
            let text = explained(&sim, "mpatha");
            let why = "foreign: its map contains sda, whose VPD page 83h does not list the name of the map";
            assert!(text.contains(why), "{text}");
            unharmed(&sim);
        }
    }
}

#[test]
fn queueing_of_a_foreign_map_is_not_ended() {
    let mut sim = foreign(&[("259:0", "nvme0n1, which is not a SCSI disk")], 1);
    sim.run_for(seconds(10));
    let found = sim
        .world
        .devices()
        .find(|d| d.wwid().as_str() == "nvme.0001-aa");
    let device = found.unwrap().id().to_owned();
    let why = sim
        .world
        .check(&Change::EndQueueing { device })
        .unwrap_err();
    assert!(
        matches!(&why, Refusal::Refused(why) if why.contains("the agent does not change such a map")),
        "{why:?}"
    );
    // Neither at shutdown, nor by the kernel's timeout, which applies to all maps.
    let kept = sim.world.kept_maps();
    assert!(kept.others && kept.ours.iter().all(|uuid| uuid == UUID));
    let queueing = sim.world.queueing_maps();
    assert!(
        queueing.iter().all(|map| map.id.uuid == UUID),
        "{queueing:?}"
    );
}

#[test]
fn one_foreign_member_makes_the_map_foreign() {
    let mut kernel = four_paths();
    kernel.add_other(dev("94:0"), "dasda, which is not a SCSI disk");
    let mixed = table(&["8:0", "94:0", "8:32"]);
    kernel.make_map(UNIT, UUID, &mixed).unwrap();
    kernel.open_map(UNIT, 1);
    let mut sim = Simulation::start(kernel, Settings::default());
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(10));
    sim.inject_all(&[A1, A2].map(Fault::LinkDown));
    sim.run_for(seconds(600));
    assert_eq!(steps(&sim, 0), Vec::<String>::new());
    // Its SCSI paths stay unchanged for udev, too.
    for path in [A1, A2, B1, B2] {
        let disk = sim.kernel.disk(path).unwrap().dev();
        assert_eq!(sim.kernel.mark(disk), None);
    }
    let text = explained(&sim, UNIT);
    assert!(text.contains("foreign: its map contains dasda"), "{text}");
}

/// A host whose map was made by an initramfs, and whose disks udev has not processed yet.
fn before_udev(late: &[dm_psa::psa::units::Hctl]) -> Kernel {
    let mut sim = running(four_paths());
    sim.kernel.open_map(UNIT, 1);
    for path in late {
        sim.kernel
            .inject(Millis(0), &Fault::Unprocessed(*path, true));
    }
    sim.kernel
}

#[test]
fn an_agent_that_starts_before_udev_touches_no_map() {
    for late in [vec![A1, A2, B1, B2], vec![A1], vec![B1, B2]] {
        for wait in [5, 20, 300] {
            let kernel = before_udev(&late);
            let mut sim = Simulation::start(kernel, Settings::default());
            sim.io_every = Some(Millis(100));
            sim.run_for(seconds(wait));
            // A process that waits for the agent thereby waits for udev, but not without limit.
            assert_eq!(sim.world.is_settled(), wait > 30, "{late:?} {wait}");
            assert_eq!(steps(&sim, 0), Vec::<String>::new(), "{late:?} {wait}");
            assert!(!notices(&sim, 0).iter().any(|line| line.starts_with("APD_")));
            for path in &late {
                sim.inject(&Fault::Unprocessed(*path, false));
            }
            sim.run_for(seconds(30));
            assert_eq!(steps(&sim, 0), Vec::<String>::new(), "{late:?} {wait}");
            assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
            unharmed(&sim);
        }
    }
}

/// The map is named by another name of the unit than a new device would be: by an older designator, or by a name that page
/// 83h does not list. The answers come before udev has processed the disks, or before the map is known.
#[test]
fn a_map_of_another_name_is_the_same_map_whatever_is_known_first() {
    let all = [A1, A2, B1, B2];
    for listed in [true, false] {
        for users in [0, 1] {
            for late in [&all[..], &[A1], &[]] {
                let mut kernel = before_udev(late);
                if listed {
                    let unit = kernel.array.unit_mut(0).unwrap();
                    unit.designators = vec![naa(9)];
                } else {
                    kernel = four_paths();
                    for path in late {
                        kernel.inject(Millis(0), &Fault::Unprocessed(*path, true));
                    }
                    let all = table(&["8:0", "8:16", "8:32", "8:48"]);
                    kernel.make_map(UNIT, "mpath-db-1", &all).unwrap();
                }
                kernel.open_map(UNIT, users);
                let mut sim = Simulation::start(kernel, Settings::default());
                // The simulation knows the units of maps by names of page 83h only.
                sim.io_every = listed.then_some(Millis(100));
                sim.run_for(seconds(5));
                for path in late {
                    sim.inject(&Fault::Unprocessed(*path, false));
                }
                sim.run_for(seconds(300));
                let what = format!("{listed} {users} {late:?}: {:?}", maps(&sim));
                assert_eq!(steps(&sim, 0), Vec::<String>::new(), "{what}");
                assert_eq!(maps(&sim).len(), 1, "{what}");
                unharmed(&sim);
            }
        }
    }
}

/// The map of another name is removed: its disks are those of a device like any other.
#[test]
fn the_disks_of_a_map_of_another_name_are_free_when_it_is_gone() {
    for name in ["db-1", "3600140500000000000000000000000ff"] {
        let mut kernel = four_paths();
        let all = table(&["8:0", "8:16", "8:32", "8:48"]);
        let uuid = format!("mpath-{name}");
        kernel.make_map("other", &uuid, &all).unwrap();
        kernel.open_map("other", 1);
        let mut sim = Simulation::start(kernel, Settings::default());
        sim.run_for(seconds(30));
        sim.kernel.open_map("other", 0);
        sim.kernel.remove("other");
        sim.deliver(Event::MapGone("other".to_owned()));
        sim.run_for(seconds(60));
        let what = format!("{name}: {:?}", maps(&sim));
        assert!(maps(&sim)[0].starts_with(UNIT), "{what}");
        assert!(maps(&sim)[0].ends_with("AA AA"), "{what}");
        unharmed(&sim);
    }
}

/// A map that appears over disks which the agent has identified and left alone.
#[test]
fn a_map_that_appears_over_identified_disks_is_left_as_it_is() {
    for name in ["db-1", "3600140500000000000000000000000ff"] {
        {
            let mut settings = Settings::default();
            settings.default_device.map = Some(false);
            let mut sim = Simulation::start(four_paths(), settings);
            sim.run_for(seconds(20));
            let mark = sim.journal.len();
            let all = table(&["8:0", "8:16", "8:32", "8:48"]);
            sim.kernel
                .make_map("other", &format!("mpath-{name}"), &all)
                .unwrap();
            sim.kernel.open_map("other", 1);
            let seen = sim.kernel.map("other").unwrap();
            sim.deliver(Event::MapSeen(Box::new(seen)));
            sim.run_for(seconds(300));
            assert_eq!(steps(&sim, mark), Vec::<String>::new(), "{name}");
            assert_eq!(maps(&sim).len(), 1);
            let text = explained(&sim, "other");
            assert!(
                text.contains("foreign: its map contains sda, which is a path of naa."),
                "{text}"
            );
            unharmed(&sim);
        }
    }
}

/// multipath-tools with `allow_usb_devices`: the path is proven like any other, because the map was named by its page.
#[test]
fn a_path_by_usb_that_is_in_a_map_is_proven() {
    let mut kernel = steady();
    let unit = kernel.array.add(Unit::new(1, &[]));
    kernel.cable(A1, Transport::Usb, unit, 1, 1);
    kernel.make_map(UNIT, UUID, &table(&["8:0"])).unwrap();
    kernel.open_map(UNIT, 1);
    let mut sim = Simulation::start(kernel, Settings::default());
    sim.run_for(seconds(20));
    sim.inject(&Fault::LinkDown(A1));
    sim.run_for(seconds(20));
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(20));
    assert!(maps(&sim)[0].ends_with(" A"), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// A disk that udev never processes keeps its place for ever; the known members next to it are kept up to date.
#[test]
fn an_unknown_member_is_kept_while_its_neighbours_fail_and_return() {
    let kernel = before_udev(&[A1]);
    let mut sim = Simulation::start(kernel, Settings::default());
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(60));
    let others = [A2, B1, B2];
    sim.inject_all(&others.map(Fault::LinkDown));
    sim.run_for(seconds(300));
    assert_eq!(tables(&sim, 0), Vec::<String>::new());
    assert!(!steps(&sim, 0).contains(&"fail_path 8:0".to_owned()));
    sim.inject_all(&others.map(Fault::LinkUp));
    sim.run_for(seconds(30));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

#[test]
fn a_member_that_was_removed_while_no_agent_ran_leaves_the_table() {
    let mut sim = running(four_paths());
    sim.kernel.open_map(UNIT, 1);
    sim.kernel.inject(sim.now(), &Fault::Delete(B2));
    let mut sim = Simulation::start(sim.kernel, Settings::default());
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(60));
    assert!(maps(&sim)[0].ends_with("| AE AA A"), "{:?}", maps(&sim));
    unharmed(&sim);
}

#[test]
fn a_closed_map_whose_disks_are_all_gone_is_removed_and_one_of_unknown_disks_is_not() {
    let mut kernel = four_paths();
    let gone = table(&["8:160", "8:176"]);
    kernel.add_other(dev("8:160"), "");
    kernel.add_other(dev("8:176"), "");
    kernel.make_map("old", "mpath-3600a", &gone).unwrap();
    kernel.remove_other(dev("8:160"));
    kernel.remove_other(dev("8:176"));
    let mut sim = Simulation::start(kernel, Settings::default());
    sim.run_for(seconds(60));
    assert!(sim.kernel.map("old").is_none());

    let mut kernel = before_udev(&[A1, A2, B1, B2]);
    kernel.open_map(UNIT, 0);
    let mut sim = Simulation::start(kernel, Settings::default());
    sim.run_for(seconds(600));
    assert!(sim.kernel.map(UNIT).is_some());
    assert_eq!(steps(&sim, 0), Vec::<String>::new());
}

/// A disk may be mounted although udev has no record of it yet.
#[test]
fn a_masked_path_is_not_deleted_before_its_disk_is_known() {
    let mut kernel = four_paths();
    let unit = kernel.array.unit_mut(0).unwrap();
    unit.vendor = "DELL".to_owned();
    unit.product = "Universal Xport".to_owned();
    let mounted = Usage::Mounted {
        device: "sdb".to_owned(),
        at: "/srv".to_owned(),
    };
    kernel.inject(Millis(0), &Fault::Use(B1, vec![mounted]));
    kernel.inject(Millis(0), &Fault::Unprocessed(A1, true));
    kernel.inject(Millis(0), &Fault::Unprocessed(B1, true));
    let mut sim = running(kernel);
    sim.run_for(seconds(300));
    let deleted = sim.journal.iter().flat_map(|entry| &entry.actions);
    let deleted: Vec<_> = deleted
        .filter_map(|action| match action {
            Action::DeleteDevice { path, .. } => Some(*path),
            _ => None,
        })
        .collect();
    assert!(
        !deleted.contains(&A1) && !deleted.contains(&B1),
        "{deleted:?}"
    );
    for path in [A1, B1] {
        sim.inject(&Fault::Unprocessed(path, false));
    }
    sim.run_for(seconds(120));
    assert!(sim.kernel.disk(A1).is_none());
    assert!(sim.kernel.disk(B1).is_some(), "it is mounted");
    unharmed(&sim);
}
