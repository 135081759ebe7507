//! Changes that an admin makes on a running host take effect under I/O, are remembered, and do no harm.

mod san;

use dm_psa::psa::action::Action;
use dm_psa::psa::adapter::RuntimeName;
use dm_psa::psa::change::Scope;
use dm_psa::psa::change::{Change, Refusal};
use dm_psa::psa::event::Event;
use dm_psa::psa::evidence::PathState;
use dm_psa::psa::names::DeviceId;
use dm_psa::psa::psp::PspKind;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::settings::{LimitType, RoundRobin};
use dm_psa::psa::units::{Hctl, Millis};
use dm_psa::sim::fault::Fault;
use dm_psa::sim::run::Simulation;
use san::{A1, A2, B1, B2, four_paths, maps, running, seconds, steps, tables, unharmed};

fn device(sim: &Simulation) -> DeviceId {
    sim.world.devices().next().unwrap().id().to_owned()
}

fn name(sim: &Simulation, path: Hctl) -> RuntimeName {
    sim.world.find_path(&path.to_string()).unwrap().name()
}

/// Makes a change that must be accepted, and waits until it has taken effect.
fn make(sim: &mut Simulation, change: Change) -> String {
    let effect = sim.world.check(&change).unwrap();
    sim.deliver(Event::Change(Box::new(change)));
    sim.run_for(seconds(3));
    assert!(sim.run_until_settled(seconds(10)));
    effect
}

fn psp(sim: &mut Simulation, psp: Option<PspKind>) -> String {
    let device = device(sim);
    make(sim, Change::Psp { device, psp })
}

/// What is set is stored by device id: under any other name of the device it would have no effect.
#[test]
fn a_change_that_names_the_device_by_its_wwid_is_refused() {
    let mut sim = running(four_paths());
    let wwid = sim.world.devices().next().unwrap().wwid().to_string();
    let device = DeviceId::from(wwid.clone());
    let changes = [
        Change::Psp {
            device: device.clone(),
            psp: Some(PspKind::Fixed),
        },
        Change::DeviceState {
            device: device.clone(),
            off: true,
            persist: true,
        },
        Change::EndQueueing { device },
    ];
    for change in changes {
        assert_eq!(
            sim.world.check(&change),
            Err(Refusal::NotFound(wwid.clone())),
            "{change:?}"
        );
        sim.deliver(Event::Change(Box::new(change)));
    }
    assert!(sim.world.memory().settings.is_empty());
    assert!(sim.world.memory().devices_off.is_empty());
}

#[test]
fn the_psp_of_a_device_in_use_changes() {
    let mut sim = running(four_paths());
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    psp(&mut sim, Some(PspKind::Fixed));
    assert!(
        maps(&sim)[0].ends_with("| AEEE A A A A"),
        "{:?}",
        maps(&sim)
    );
    psp(&mut sim, Some(PspKind::RoundRobin));
    assert!(
        maps(&sim)[0].contains("2 1 round-robin"),
        "{:?}",
        maps(&sim)
    );
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    let effect = psp(&mut sim, None);
    assert!(effect.ends_with("VMW_PSP_MRU (the default)"), "{effect}");
    assert!(maps(&sim)[0].contains("service-time"), "{:?}", maps(&sim));
    unharmed(&sim);
    sim.replay().unwrap();
}

#[test]
fn a_change_of_the_preferred_path_is_a_message() {
    let mut sim = running(four_paths());
    psp(&mut sim, Some(PspKind::Fixed));
    let mark = sim.journal.len();
    let (device, path) = (device(&sim), Some(name(&sim, B2)));
    make(
        &mut sim,
        Change::Preferred {
            device: device.clone(),
            path,
        },
    );
    assert_eq!(tables(&sim, mark), Vec::<String>::new());
    let dev = sim.world.find_path(&B2.to_string()).unwrap().dev().unwrap();
    let in_use = sim
        .world
        .in_use(sim.world.find_device(device.as_str()).unwrap());
    assert_eq!(in_use, [dev].into());
    // The preferred path is used again as soon as it returns, also after a restart.
    sim.inject(&Fault::RestartAgent);
    sim.inject(&Fault::LinkDown(B2));
    sim.run_for(seconds(10));
    sim.inject(&Fault::LinkUp(B2));
    sim.run_for(seconds(2));
    let in_use = sim
        .world
        .in_use(sim.world.find_device(device.as_str()).unwrap());
    assert_eq!(in_use, [dev].into());
    unharmed(&sim);
    let foreign = RuntimeName {
        adapter: 99,
        channel: 0,
        target: 0,
        lun: 0,
    };
    let foreign = Change::Preferred {
        device,
        path: Some(foreign),
    };
    assert!(matches!(
        sim.world.check(&foreign),
        Err(Refusal::Refused(_))
    ));
}

#[test]
fn io_moves_to_the_path_with_the_higher_rank() {
    let mut sim = running(four_paths());
    let path = name(&sim, A2);
    make(&mut sim, Change::Rank { path, rank: 5 });
    assert!(maps(&sim)[0].ends_with("| AEE A A AA"), "{:?}", maps(&sim));
    let dev = sim.world.find_path(&A2.to_string()).unwrap().dev().unwrap();
    let in_use = sim.world.in_use(sim.world.devices().next().unwrap());
    assert_eq!(in_use, [dev].into());
    unharmed(&sim);
}

#[test]
fn round_robin_takes_its_settings() {
    let mut sim = running(four_paths());
    psp(&mut sim, Some(PspKind::RoundRobin));
    let set = RoundRobin {
        use_ano: Some(true),
        ..RoundRobin::default()
    };
    let device = device(&sim);
    make(
        &mut sim,
        Change::RoundRobin {
            device: device.clone(),
            set,
        },
    );
    assert!(maps(&sim)[0].ends_with("| A AAAA"), "{:?}", maps(&sim));
    let set = RoundRobin {
        limit_type: Some(LimitType::Latency),
        ..RoundRobin::default()
    };
    let effect = make(
        &mut sim,
        Change::RoundRobin {
            device: device.clone(),
            set,
        },
    );
    assert!(effect.contains("service-time"), "{effect}");
    assert!(maps(&sim)[0].contains("service-time"), "{:?}", maps(&sim));
    // Earlier settings stay.
    let found = sim.world.find_device(device.as_str()).unwrap();
    assert!(sim.world.device_settings(found).round_robin.use_ano());
    unharmed(&sim);
}

#[test]
fn a_path_that_is_off_stays_off_until_it_is_turned_on() {
    let mut sim = running(four_paths());
    let off = |sim: &Simulation, path, off| Change::PathState {
        path: name(sim, path),
        off,
        persist: true,
    };
    let change = off(&sim, A1, true);
    make(&mut sim, change);
    assert!(maps(&sim)[0].ends_with("| AE FA AA"), "{:?}", maps(&sim));
    sim.inject(&Fault::RestartAgent);
    sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkUp(A1)]);
    sim.run_for(seconds(30));
    assert!(maps(&sim)[0].ends_with("| AE FA AA"), "{:?}", maps(&sim));
    assert_eq!(
        sim.world.find_path(&A1.to_string()).unwrap().state(),
        PathState::Off
    );
    assert_eq!(steps(&sim, 0), Vec::<String>::new());
    // The last path cannot be turned off.
    for path in [A2, B1] {
        let change = off(&sim, path, true);
        make(&mut sim, change);
    }
    let refused = sim.world.check(&off(&sim, B2, true)).unwrap_err();
    assert!(
        matches!(&refused, Refusal::Refused(why) if why.contains("no other path")),
        "{refused:?}"
    );
    sim.deliver(Event::Change(Box::new(off(&sim, B2, true))));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("FF FA"), "{:?}", maps(&sim));
    for path in [A1, A2, B1] {
        let change = off(&sim, path, false);
        make(&mut sim, change);
    }
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// What `multipathd fail path` asks for before a program removes the disk.
#[test]
fn a_path_is_off_until_it_is_removed() {
    let mut sim = running(four_paths());
    let turn = |sim: &mut Simulation, off, persist| {
        let path = name(sim, A1);
        make(sim, Change::PathState { path, off, persist });
        sim.run_for(seconds(10));
        maps(sim)[0].clone()
    };
    let is_off = |map: String| map.ends_with("| AE FA AA");
    assert!(is_off(turn(&mut sim, true, false)));
    assert!(sim.world.memory().paths_off.is_empty());
    // It is turned on again by either.
    assert!(!is_off(turn(&mut sim, false, false)));
    assert!(is_off(turn(&mut sim, true, false)));
    assert!(!is_off(turn(&mut sim, false, true)));
    // Checks and outages do not end it; the removal does.
    assert!(is_off(turn(&mut sim, true, false)));
    sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkUp(A1)]);
    sim.run_for(seconds(30));
    assert!(is_off(maps(&sim)[0].clone()));
    assert!(san::explained(&sim, &A1.to_string()).contains("until it is removed"));
    sim.inject(&Fault::Delete(A1));
    sim.run_for(seconds(10));
    sim.inject(&Fault::Add(A1));
    sim.run_for(seconds(30));
    let path = sim.world.find_path(&A1.to_string()).unwrap();
    assert_eq!(path.state(), PathState::Active);
    // So does the end of the agent.
    turn(&mut sim, true, false);
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(30));
    let path = sim.world.find_path(&A1.to_string()).unwrap();
    assert_eq!(path.state(), PathState::Active);
    unharmed(&sim);
}

#[test]
fn a_device_is_turned_off_and_on() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    let device = device(&sim);
    let off = |off| Change::DeviceState {
        device: device.clone(),
        off,
        persist: true,
    };
    // No event reports that a map was opened: the agent sees it with the next change.
    let look = |sim: &mut Simulation, users| {
        sim.inject(&Fault::Open(0, users));
        sim.inject(&Fault::LinkDown(A1));
        sim.run_for(seconds(10));
        sim.inject(&Fault::LinkUp(A1));
        sim.run_for(seconds(10));
    };
    look(&mut sim, 1);
    assert!(matches!(
        sim.world.check(&off(true)),
        Err(Refusal::Refused(_))
    ));
    look(&mut sim, 0);
    make(&mut sim, off(true));
    assert_eq!(maps(&sim), Vec::<String>::new());
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(30));
    assert_eq!(maps(&sim), Vec::<String>::new());
    let found = sim.world.find_device(device.as_str()).unwrap();
    assert_eq!(sim.world.device_status(found), "off");
    make(&mut sim, off(false));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

#[test]
fn a_change_without_persist_ends_with_the_agent() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    let device = device(&sim);
    let off = |off, persist| Change::DeviceState {
        device: device.clone(),
        off,
        persist,
    };
    let effect = make(&mut sim, off(true, false));
    assert!(effect.ends_with("until the agent ends"), "{effect}");
    assert_eq!(maps(&sim), Vec::<String>::new());
    assert_eq!(sim.world.devices_off(), [device.as_str()]);
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(30));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    // A temporary "on" for what is permanently "off".
    make(&mut sim, off(true, true));
    make(&mut sim, off(false, false));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    assert_eq!(sim.world.devices_off(), Vec::<&str>::new());
    // A device that has its map keeps it over a restart, until it is turned off again.
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(30));
    assert_eq!(sim.world.devices_off(), [device.as_str()]);
    unharmed(&sim);
    sim.replay().unwrap();
}

#[test]
fn a_flushed_device_gets_a_map_when_its_paths_have_returned() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    let device = device(&sim);
    let flush = Change::Flush {
        device: device.clone(),
    };
    // A map that is open stays until it is closed; no event reports either.
    sim.inject(&Fault::Open(0, 1));
    sim.deliver(Event::Change(Box::new(flush.clone())));
    sim.run_for(seconds(10));
    assert_eq!(maps(&sim).len(), 1);
    sim.inject(&Fault::Open(0, 0));
    make(&mut sim, flush.clone());
    assert_eq!(maps(&sim), Vec::<String>::new());
    // As long as a path is there, there is no map; not even when others come back.
    let all = [A1, A2, B1, B2];
    for path in &all[..3] {
        sim.inject(&Fault::Delete(*path));
    }
    sim.inject(&Fault::Add(A1));
    sim.run_for(seconds(30));
    assert_eq!(maps(&sim), Vec::<String>::new());
    for path in all {
        sim.inject(&Fault::Delete(path));
    }
    sim.run_for(seconds(10));
    assert_eq!(sim.world.devices_off(), Vec::<&str>::new());
    for path in all {
        sim.inject(&Fault::Add(path));
    }
    sim.run_for(seconds(30));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    // Turning it on ends it too.
    make(&mut sim, flush);
    let on = Change::DeviceState {
        device,
        off: false,
        persist: false,
    };
    make(&mut sim, on);
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
    sim.replay().unwrap();
}

/// udev may report a new size late, and some callers cannot wait.
#[test]
fn the_paths_of_a_device_are_read_again_on_request() {
    let mut sim = running(four_paths());
    let device = device(&sim);
    let refresh = |device: DeviceId| Event::Change(Box::new(Change::Refresh { device }));
    let now = sim.now();
    let actions = sim.world.step(now, refresh(device));
    let mut read: Vec<Hctl> = actions
        .iter()
        .filter_map(|action| match action {
            Action::RefreshFacts(path) => Some(*path),
            _ => None,
        })
        .collect();
    read.sort();
    let mut all = [A1, A2, B1, B2];
    all.sort();
    assert_eq!(read, all);
    assert_eq!(sim.world.step(now, refresh("naa.9".into())), []);
}

#[test]
fn a_detached_device_is_listed_until_it_is_removed_from_the_list() {
    let mut sim = running(four_paths());
    sim.io_every = None;
    let device = device(&sim);
    let off = Change::DeviceState {
        device: device.clone(),
        off: true,
        persist: true,
    };
    make(&mut sim, off);
    let remove = |device: Option<&str>| Change::RemoveDetached {
        device: device.map(DeviceId::from),
    };
    assert!(matches!(
        sim.world.check(&remove(Some("naa.9"))),
        Err(Refusal::Refused(_))
    ));
    make(&mut sim, remove(Some(device.as_str())));
    assert!(maps(&sim)[0].ends_with("AA AA"), "{:?}", maps(&sim));
    assert_eq!(sim.world.devices_off(), Vec::<&str>::new());
    let effect = make(&mut sim, remove(None));
    assert_eq!(effect, "no device was detached");
    unharmed(&sim);
}

#[test]
fn a_device_has_the_name_that_the_admin_set() {
    let mut sim = running(four_paths());
    let device = device(&sim);
    let own = |sim: &Simulation| {
        let found = sim.world.find_device(device.as_str()).unwrap();
        sim.world.display_name(found)
    };
    let before = own(&sim);
    let named = |name: Option<&str>, persist| Change::DeviceName {
        device: device.clone(),
        name: name.map(str::to_owned),
        persist,
    };
    make(&mut sim, named(Some("payroll"), true));
    make(&mut sim, named(Some("for a while"), false));
    assert_eq!(own(&sim), "for a while");
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(5));
    assert_eq!(own(&sim), "payroll");
    make(&mut sim, named(None, true));
    assert_eq!(own(&sim), before);
    for name in ["", "two\nlines", &"x".repeat(256)] {
        let refused = sim.world.check(&named(Some(name), true));
        assert!(matches!(refused, Err(Refusal::Refused(_))), "{refused:?}");
    }
    unharmed(&sim);
}

#[test]
fn the_flags_of_a_device_are_remembered() {
    let mut sim = running(four_paths());
    let device = device(&sim);
    let flags = |perennially_reserved, shared_clusterwide| Change::DeviceFlags {
        device: device.clone(),
        perennially_reserved,
        shared_clusterwide,
    };
    make(&mut sim, flags(Some(true), None));
    let effect = make(&mut sim, flags(None, Some(false)));
    assert!(effect.contains("shared clusterwide: false"), "{effect}");
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(5));
    let found = sim.world.find_device(device.as_str()).unwrap();
    let settings = sim.world.device_settings(found);
    assert_eq!(settings.perennially_reserved, Some(true));
    assert_eq!(settings.shared_clusterwide, Some(false));
    unharmed(&sim);
}

fn rules(claim: &str) -> Box<dm_psa::psa::rules::Rules> {
    use dm_psa::psa::claim::{Rule, Ruleset};
    let mut rules = dm_psa::psa::rules::Rules::default();
    if !claim.is_empty() {
        let rule = Rule::new(200, claim.parse().unwrap(), "MASK_PATH");
        let basic = rules.claim.rules().to_vec();
        rules.claim = Ruleset::new(basic.into_iter().chain([rule]));
    }
    Box::new(rules)
}

/// The masking procedure of ESXi's guides under I/O, and its reversal.
#[test]
fn a_masked_path_leaves_its_map_and_comes_back() {
    for run in [true, false] {
        mask_and_unmask(run);
    }
}

/// `run`: the rules are run by command; otherwise by their interval.
fn mask_and_unmask(run: bool) {
    let mut sim = running(four_paths());
    let device = device(&sim);
    let name = name(&sim, A1);
    let mask = format!(
        "adapter=vmhba{} channel={} target={} lun={}",
        name.adapter, name.channel, name.target, name.lun
    );
    let mask = rules(&mask);
    let effect = sim.world.check_rules(&mask);
    assert_eq!((effect.paths, effect.devices), (1, 0));
    let mark = sim.journal.len();
    sim.deliver(Event::RulesLoaded(mask));
    sim.run_for(seconds(20));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    make(&mut sim, Change::Unclaim(Scope::Path(name.to_string())));
    assert_eq!(steps(&sim, mark), Vec::<String>::new());
    if run {
        make(&mut sim, Change::RunRules(None));
    } else {
        sim.run_for(seconds(300));
    }
    assert!(maps(&sim)[0].ends_with("| AE A AA"), "{:?}", maps(&sim));
    sim.run_for(seconds(5));
    // The disk is gone from the host, but the path is still listed, also after a restart and a rescan.
    let masked = |sim: &Simulation| {
        let path = sim.world.find_path(&name.to_string()).unwrap();
        assert_eq!(path.state(), PathState::Masked);
        assert!(sim.kernel.disk(A1).is_none());
    };
    masked(&sim);
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(10));
    masked(&sim);
    sim.inject(&Fault::Add(A1));
    sim.run_for(seconds(10));
    let again = rules(&format!("device={device}"));
    sim.deliver(Event::RulesLoaded(again));
    sim.deliver(Event::RulesLoaded(rules("")));
    // Unclaimed, and the rules not run yet: no path returns before the interval ends.
    make(&mut sim, Change::Unclaim(Scope::Path(name.to_string())));
    let run = Change::RunRules(Some(Scope::Path(name.to_string())));
    assert!(sim.world.check(&run).unwrap().starts_with("1 unclaimed"));
    make(&mut sim, run);
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    assert!(sim.kernel.disk(A1).is_some());
    assert!(sim.world.memory().masked.is_empty());
    unharmed(&sim);
    sim.replay().unwrap();
}

/// A masked disk that is in use stays, and is removed once nobody uses it.
#[test]
fn a_masked_disk_in_use_stays_on_the_host() {
    let mut sim = running(four_paths());
    let name = name(&sim, A1);
    sim.deliver(Event::RulesLoaded(rules("transport=fc")));
    sim.inject(&Fault::Open(0, 1));
    make(&mut sim, Change::Unclaim(Scope::Path(name.to_string())));
    make(&mut sim, Change::RunRules(None));
    sim.run_for(seconds(10));
    assert!(sim.kernel.disk(A1).is_none());
    let device = device(&sim);
    make(&mut sim, Change::Reclaim { device });
    sim.run_for(seconds(70));
    // The last path stays in the table of the open map, and so do its disks.
    let left = [A2, B1, B2].map(|path| sim.kernel.disk(path).is_some());
    assert_eq!(left.iter().filter(|left| **left).count(), 1);
    unharmed(&sim);
}

#[test]
fn without_autoclaim_new_paths_wait_for_claimrule_run() {
    let mut sim = running(four_paths());
    make(&mut sim, Change::Autoclaim { on: false });
    sim.inject(&Fault::Delete(A1));
    sim.run_for(seconds(2));
    sim.inject(&Fault::Add(A1));
    sim.run_for(seconds(400));
    assert!(maps(&sim)[0].ends_with("| AE A AA"), "{:?}", maps(&sim));
    let path = sim.world.find_path(&A1.to_string()).unwrap();
    assert!(
        path.judgement()
            .reason
            .contains("automatic claiming is off")
    );
    make(&mut sim, Change::RunRules(None));
    sim.run_for(seconds(5));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    // Autoclaim stays off over a restart, and existing paths keep their claims: also those that were down.
    for down in [&[][..], &[A1], &[A1, A2, B1, B2]] {
        sim.inject(&Fault::Open(0, 1));
        for path in down {
            sim.inject(&Fault::LinkDown(*path));
        }
        sim.run_for(seconds(10));
        sim.inject(&Fault::RestartAgent);
        sim.run_for(seconds(20));
        for path in down {
            sim.inject(&Fault::LinkUp(*path));
        }
        sim.run_for(seconds(20));
        assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
        unharmed(&sim);
    }
}

#[test]
fn a_device_in_use_keeps_a_path_whatever_the_rules_match() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    sim.inject(&Fault::LinkDown(A1));
    sim.run_for(seconds(10));
    sim.inject(&Fault::LinkUp(A1));
    sim.run_for(seconds(10));
    sim.deliver(Event::RulesLoaded(rules("vendor=* model=*")));
    let device = device(&sim);
    make(
        &mut sim,
        Change::Reclaim {
            device: device.clone(),
        },
    );
    assert_eq!(maps(&sim).len(), 1);
    let kept = sim
        .world
        .paths()
        .filter(|(_, path)| path.state() != PathState::Masked);
    assert_eq!(kept.count(), 1);
    unharmed(&sim);
    // A restarted agent removes no more paths.
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(60));
    assert_eq!(maps(&sim).len(), 1);
    unharmed(&sim);
    // Once nobody uses the device, the remaining path goes too, and the map with it.
    sim.io_every = None;
    sim.inject(&Fault::Open(0, 0));
    sim.inject(&Fault::LinkDown(B2));
    sim.run_for(seconds(10));
    sim.inject(&Fault::LinkUp(B2));
    sim.run_for(seconds(10));
    make(&mut sim, Change::Reclaim { device });
    sim.run_for(seconds(20));
    assert_eq!(maps(&sim), Vec::<String>::new());
}

/// A reclaim applies a new SATP rule to a device in use, without disturbing its I/O.
#[test]
fn a_new_satp_rule_is_applied_by_a_reclaim() {
    use dm_psa::psa::satp::rules::{SatpRule, SatpRules};
    let mut sim = running(four_paths());
    let mut new = rules("");
    let rule = SatpRule {
        satp: "VMW_SATP_ALUA".to_owned(),
        psp: Some("VMW_PSP_RR".to_owned()),
        psp_options: "iops=1;useANO=1".to_owned(),
        claim_options: "tpgs_on".to_owned(),
        ..SatpRule::default()
    };
    new.satp = SatpRules::new(vec![rule], std::collections::BTreeMap::new());
    let effect = sim.world.check_rules(&new);
    assert_eq!((effect.paths, effect.devices), (0, 1));
    sim.deliver(Event::RulesLoaded(new));
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].contains("service-time"), "{:?}", maps(&sim));
    let device = device(&sim);
    let effect = make(&mut sim, Change::Reclaim { device });
    assert!(effect.ends_with("VMW_SATP_ALUA and VMW_PSP_RR"), "{effect}");
    assert!(
        maps(&sim)[0].contains("round-robin 0 4"),
        "{:?}",
        maps(&sim)
    );
    unharmed(&sim);
}

/// Rules that were loaded but not applied take no disk away from its users when the next agent starts.
#[test]
fn rules_that_mask_everything_leave_a_device_in_use_alone_across_a_restart() {
    let mut sim = running(four_paths());
    sim.inject(&Fault::Open(0, 1));
    sim.deliver(Event::RulesLoaded(rules("vendor=* model=*")));
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(60));
    assert_eq!(steps(&sim, 0), Vec::<String>::new());
    let device = device(&sim);
    make(&mut sim, Change::Reclaim { device });
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| A A"), "{:?}", maps(&sim));
    unharmed(&sim);
}

/// The same if udev has not processed the disks when the rules run: then it is not known yet that a map has them.
#[test]
fn rules_that_mask_everything_leave_a_device_in_use_alone_before_udev() {
    let all = [A1, A2, B1, B2];
    for late in [&all[..], &[A1]] {
        let mut sim = running(four_paths());
        sim.inject(&Fault::Open(0, 1));
        for path in late {
            sim.kernel
                .inject(Millis(0), &Fault::Unprocessed(*path, true));
        }
        let rules = rules("vendor=* model=*");
        let mut sim = Simulation::start_with_rules(sim.kernel, Settings::default(), *rules);
        sim.run_for(seconds(5));
        for path in late {
            sim.inject(&Fault::Unprocessed(*path, false));
        }
        sim.run_for(seconds(60));
        assert_eq!(steps(&sim, 0), Vec::<String>::new(), "{late:?}");
        unharmed(&sim);
    }
}

fn end_queueing(sim: &Simulation) -> Change {
    let device = device(sim);
    Change::EndQueueing { device }
}

#[test]
fn the_admin_ends_queueing_until_a_path_serves_again() {
    let mut sim = running(four_paths());
    let why = sim.world.check(&end_queueing(&sim)).unwrap_err();
    assert!(
        matches!(&why, Refusal::Refused(why) if why.contains("has a path that the kernel uses")),
        "{why:?}"
    );
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::LinkDown));
    sim.run_for(seconds(5));
    assert!(
        maps(&sim)[0].contains("queue_if_no_path"),
        "{:?}",
        maps(&sim)
    );
    let from = sim.journal.len();
    let change = end_queueing(&sim);
    let effect = make(&mut sim, change);
    assert!(effect.contains("I/O fails now"), "{effect}");
    assert_eq!(steps(&sim, from), ["fail_if_no_path"]);
    let said = san::notices(&sim, from);
    assert!(said[0].starts_with("QUEUEING_ENDED "), "{said:?}");
    assert!(said[1].starts_with("APD_TIMEOUT "), "{said:?}");
    // The map stays like this, and there is no queueing left to end.
    sim.run_for(seconds(60));
    assert_eq!(steps(&sim, from), ["fail_if_no_path"]);
    let why = sim.world.check(&end_queueing(&sim)).unwrap_err();
    assert!(
        matches!(&why, Refusal::Refused(why) if why.contains("does not queue")),
        "{why:?}"
    );
    // When a path returns everything is as before, also at the next loss of all paths.
    sim.inject(&Fault::LinkUp(B1));
    sim.run_for(seconds(10));
    assert!(
        maps(&sim)[0].contains("queue_if_no_path"),
        "{:?}",
        maps(&sim)
    );
    sim.inject(&Fault::LinkDown(B1));
    sim.run_for(seconds(60));
    assert!(
        maps(&sim)[0].contains("queue_if_no_path"),
        "{:?}",
        maps(&sim)
    );
    sim.replay().unwrap();
}

#[test]
fn the_admin_ends_queueing_where_path_states_are_unknown() {
    let mut sim = running(four_paths());
    // I/O fails, so that the kernel has no path; then commands do not return, so that no state is known.
    sim.inject_all(&[A1, A2, B1, B2].map(|path| Fault::Sicken(path, true)));
    sim.run_for(Millis(300));
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::Hang));
    sim.run_for(seconds(60));
    let change = end_queueing(&sim);
    make(&mut sim, change);
    assert!(
        !maps(&sim)[0].contains("queue_if_no_path"),
        "{:?}",
        maps(&sim)
    );
}

#[test]
fn kept_maps_are_those_of_devices_with_a_map() {
    let mut sim = running(four_paths());
    assert!(sim.world.has_started() && !sim.new_world().has_started());
    let kept = sim.world.kept_maps();
    assert_eq!(kept.ours.len(), 1);
    assert!(kept.ours.iter().all(|uuid| uuid.starts_with("mpath-3")));
    assert!(!kept.others && kept.longest == seconds(140));
    assert_eq!(sim.world.queueing_maps().len(), 1);
    sim.inject_all(&[A1, A2, B1, B2].map(Fault::LinkDown));
    sim.run_for(seconds(5));
    let change = end_queueing(&sim);
    make(&mut sim, change);
    assert_eq!(sim.world.queueing_maps(), []);
    assert_eq!(sim.world.kept_maps().ours.len(), 1);
}
