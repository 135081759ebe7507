//! A single path: a device gets a map if there is evidence that it is multipath, and otherwise stays as it is.
//!
//! The disk is a volume of an iSCSI target that no rule names, as container runtimes attach them: sda = 8:0.

mod san;

use dm_psa::psa::adapter::Transport;
use dm_psa::psa::claim::{Rule, Ruleset};
use dm_psa::psa::event::Event;
use dm_psa::psa::facts::Usage;
use dm_psa::psa::names::Wwid;
use dm_psa::psa::rules::Rules;
use dm_psa::psa::satp::rules::{Group, SatpRule, SatpRules};
use dm_psa::psa::settings::{LonePaths, Settings};
use dm_psa::psa::units::{Hctl, Millis};
use dm_psa::sim::array::Unit;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::Kernel;
use dm_psa::sim::run::Simulation;
use san::*;
use std::collections::{BTreeMap, BTreeSet};

const UNIT: &str = "naa.6001405a000000000000000000000001";

const FIRST: Hctl = hctl(1);
const SECOND: Hctl = hctl(2);

const fn hctl(host: u32) -> Hctl {
    Hctl {
        host,
        channel: 0,
        target: 0,
        lun: 0,
    }
}

/// A unit with port groups and cables to two of its ports; the disks are not found yet.
fn host() -> Kernel {
    let mut kernel = steady();
    let unit = kernel.array.add(Unit::new(1, &[(1, AO)]));
    kernel.cable(FIRST, Transport::Iscsi, unit, 1, 1);
    kernel.cable(SECOND, Transport::Iscsi, unit, 1, 2);
    for path in [FIRST, SECOND] {
        kernel.inject(Millis(0), &Fault::Delete(path));
    }
    kernel
}

/// A host that has one path from the start.
fn with_one() -> Kernel {
    let mut kernel = host();
    kernel.inject(Millis(0), &Fault::Add(FIRST));
    kernel
}

fn mark(sim: &Simulation, path: Hctl) -> Option<bool> {
    sim.kernel.mark(sim.kernel.disk(path).unwrap().dev())
}

fn mounted(at: &str) -> Vec<Usage> {
    vec![Usage::Mounted {
        device: "sda".to_owned(),
        at: at.to_owned(),
    }]
}

fn satp_rule(group: Group, set: impl Fn(&mut SatpRule)) -> Rules {
    let mut rule = SatpRule {
        satp: "VMW_SATP_ALUA".to_owned(),
        group,
        ..SatpRule::default()
    };
    set(&mut rule);
    let mut rules = SatpRules::basic().rules().to_vec();
    rules.push(rule);
    Rules {
        satp: SatpRules::new(rules, BTreeMap::new()),
        ..Rules::default()
    }
}

fn claim_rule(matches: &str, plugin: &str) -> Rules {
    let matches = dm_psa::psa::claim::RuleSpec {
        plugin: plugin.to_owned(),
        ..toml::from_str(matches).unwrap()
    };
    let rule: Rule = matches.build(200).unwrap();
    Rules {
        claim: Ruleset::new([rule]),
        ..Rules::default()
    }
}

/// Whether the lone path gets a map with these rules, both from the start and if found later; and the text of
/// `explain`.
fn gets_map(rules: &Rules, settings: &Settings) -> (bool, String) {
    let mut sim = Simulation::start_with_rules(with_one(), settings.clone(), rules.clone());
    sim.run_for(seconds(10));
    let text = explained(&sim, UNIT);
    let mapped = sim.kernel.maps().count() == 1;
    assert_eq!(mark(&sim, FIRST), Some(mapped), "{text}");
    let mut later = Simulation::start_with_rules(host(), settings.clone(), rules.clone());
    later.run_for(seconds(10));
    later.inject(&Fault::Add(FIRST));
    later.run_for(seconds(10));
    assert_eq!(later.kernel.maps().count() == 1, mapped, "{text}");
    assert_eq!(mark(&later, FIRST), Some(mapped), "{text}");
    unharmed(&sim);
    (mapped, text)
}

#[test]
fn a_lone_path_of_an_unknown_array_stays_as_it_is() {
    let (mapped, text) = gets_map(&Rules::default(), &Settings::default());
    assert!(!mapped);
    let why = "left alone: only one path leads to it, and no rule names its array (vendor `SIM`, model `ARRAY`)";
    assert!(text.contains(why), "{text}");
    assert!(text.contains("lone_paths = \"all\""), "{text}");
}

/// A copy of the LUN with the root volume group appears before a boot: a second map would offer the same volumes.
#[test]
fn in_an_initramfs_only_devices_that_had_a_map_get_one() {
    let mut kernel = four_paths();
    add_unit(&mut kernel, 1, &[(1, AO), (2, ANO)]);
    let wwid = running(kernel.clone())
        .kernel
        .memory
        .devices
        .first()
        .cloned()
        .unwrap();
    // Known by the memory, or only because the system runs from it: the initramfs was made before an agent ever ran.
    for is_remembered in [true, false] {
        let mut kernel = kernel.clone();
        let mut expected = BTreeSet::new();
        if is_remembered {
            kernel.memory.devices.insert(wwid.clone());
        } else {
            expected.insert(wwid.clone());
        }
        let mut sim = Simulation::start_in_initramfs(kernel, Settings::default(), expected, None);
        sim.run_for(seconds(20));
        let names: Vec<&String> = sim.kernel.maps().map(|(name, _)| name).collect();
        assert_eq!(names, [&wwid.to_string().replacen('3', "naa.", 1)]);
        // No mark: whatever hides the other paths stays in force.
        let marks = sim
            .kernel
            .disks()
            .map(|(_, disk)| sim.kernel.mark(disk.dev()));
        let marks: Vec<Option<bool>> = marks.collect();
        assert_eq!(marks.iter().filter(|mark| mark.is_none()).count(), 4);
        assert_eq!(marks.iter().filter(|mark| **mark == Some(true)).count(), 4);
        unharmed(&sim);
    }
}

/// A single path to a copy of the system, or a disk that the system needs besides the map: neither is offered at once.
#[test]
fn in_an_initramfs_a_disk_that_gets_no_map_is_released_last() {
    let missing = || BTreeSet::from([Wwid::from("36001405a0000000000000000000000ff")]);
    // What is expected does not come. The system may have been moved to this disk.
    let until = Some(seconds(30));
    let mut sim = Simulation::start_in_initramfs(with_one(), Settings::default(), missing(), until);
    sim.run_for(seconds(29));
    assert_eq!(mark(&sim, FIRST), None);
    sim.run_for(seconds(2));
    assert_eq!(mark(&sim, FIRST), Some(false));
    assert_eq!(sim.kernel.maps().count(), 0);
    unharmed(&sim);

    // A single run shows no disk, however long it takes: after it, `psactl activate` decides whether another run does.
    let mut sim = Simulation::start_in_initramfs(with_one(), Settings::default(), missing(), None);
    sim.run_for(seconds(60));
    assert_eq!(mark(&sim, FIRST), None);

    // What is expected is there: after a while, nothing takes the disk for it any more.
    let mut kernel = four_paths();
    let found = running(kernel.clone()).kernel.memory.devices.clone();
    let unit = kernel.array.add(Unit::new(7, &[]));
    let alone = Hctl { host: 9, ..FIRST };
    kernel.cable(alone, Transport::Sas, unit, 7, 1);
    let mut sim =
        Simulation::start_in_initramfs(kernel, Settings::default(), found, Some(seconds(30)));
    sim.run_for(seconds(4));
    assert_eq!(sim.kernel.maps().count(), 1);
    assert_eq!(mark(&sim, alone), None);
    sim.run_for(seconds(8));
    assert_eq!(mark(&sim, alone), Some(false));
    unharmed(&sim);
}

/// One of two devices that the system runs from is lost. The other one shows that the system was not moved, so a device that
/// may hold a copy still gets no map.
#[test]
fn in_an_initramfs_a_copy_gets_no_map_beside_an_expected_device() {
    let mut kernel = four_paths();
    let mut expected = running(kernel.clone()).kernel.memory.devices.clone();
    expected.insert(Wwid::from("36001405a0000000000000000000000ff"));
    add_unit(&mut kernel, 1, &[(1, AO), (2, ANO)]);
    let until = Some(seconds(30));
    let mut sim = Simulation::start_in_initramfs(kernel, Settings::default(), expected, until);
    sim.run_for(seconds(300));
    assert_eq!(sim.kernel.maps().count(), 1);
    let missing = |code: &str| sim.notices.iter().any(|(_, notice)| notice.code == code);
    assert!(!missing("BOOT_DEVICES_MISSING"));
    unharmed(&sim);
}

/// The system was restored to another LUN.
#[test]
fn in_an_initramfs_all_devices_get_maps_if_no_expected_one_is_found() {
    let missing = BTreeSet::from([Wwid::from("36001405a0000000000000000000000ff")]);
    let until = Some(seconds(30));
    let mut sim = Simulation::start_in_initramfs(four_paths(), Settings::default(), missing, until);
    sim.run_for(seconds(29));
    assert_eq!(sim.kernel.maps().count(), 0);
    sim.run_for(seconds(3));
    assert_eq!(sim.kernel.maps().count(), 1);
    assert!(
        sim.notices
            .iter()
            .any(|(_, notice)| notice.code == "BOOT_DEVICES_MISSING")
    );
    unharmed(&sim);
}

/// A disk behind two controllers of a virtual machine, or on two ports of a SAS expander, that lost one of them while the
/// host was off: the host boots from it by the name of its map.
#[test]
fn a_local_disk_that_had_a_map_gets_it_by_one_path() {
    for transport in [Transport::Block, Transport::Sas, Transport::Sata] {
        for remembered in [true, false] {
            let mut kernel = steady();
            let unit = kernel.array.add(Unit::new(1, &[]));
            kernel.cable(FIRST, transport, unit, 1, 1);
            if remembered {
                let wwid = UNIT.replace("naa.", "3");
                kernel.memory.devices.insert(wwid.as_str().into());
            }
            let mut sim = Simulation::start(kernel, Settings::default());
            sim.run_for(seconds(10));
            let text = explained(&sim, UNIT);
            assert_eq!(
                sim.kernel.maps().count() == 1,
                remembered,
                "{transport:?} {text}"
            );
            assert_eq!(mark(&sim, FIRST), Some(remembered), "{transport:?} {text}");
            unharmed(&sim);
        }
    }
}

#[test]
fn a_rule_that_matches_any_array_is_not_evidence() {
    use dm_psa::psa::pattern::Pattern;
    let any = || Some(Pattern::parse("*").unwrap());
    for group in [Group::System, Group::User] {
        for rules in [
            satp_rule(group, |rule| rule.claim_options = "tpgs_on".to_owned()),
            satp_rule(group, |rule| rule.transport = Some(Transport::Iscsi)),
            satp_rule(group, |rule| rule.driver = Some("simulated".to_owned())),
            satp_rule(group, |rule| (rule.vendor, rule.model) = (any(), any())),
            satp_rule(group, |rule| {
                rule.vendor = Some(Pattern::parse("^*").unwrap())
            }),
        ] {
            assert!(!gets_map(&rules, &Settings::default()).0, "{rules:?}");
        }
    }
    for matches in [
        "type = \"transport\"\ntransport = \"iscsi\"",
        "type = \"driver\"\ndriver = \"simulated\"",
        "type = \"vendor\"\nvendor = \"*\"\nmodel = \"*\"",
        "type = \"vendor\"\nvendor = \"OTHER\"\nmodel = \"*\"",
    ] {
        let rules = claim_rule(matches, "NMP");
        assert!(!gets_map(&rules, &Settings::default()).0, "{matches}");
    }
}

#[test]
fn a_rule_that_names_the_array_is_enough() {
    use dm_psa::psa::pattern::Pattern;
    let pattern = |text| Some(Pattern::parse(text).unwrap());
    for rules in [
        satp_rule(Group::System, |rule| rule.vendor = pattern("SIM")),
        satp_rule(Group::User, |rule| rule.model = pattern("^ARR*")),
        satp_rule(Group::User, |rule| rule.device = Some(UNIT.into())),
    ] {
        let (mapped, text) = gets_map(&rules, &Settings::default());
        assert!(mapped, "{text}");
        let why = "it gets a map, although only one path leads to it: its array is known: ";
        assert!(text.contains(why), "{text}");
    }
    for matches in [
        "type = \"vendor\"\nvendor = \"SIM\"\nmodel = \"*\"",
        "type = \"location\"\nadapter = \"vmhba0\"",
        &format!("type = \"device\"\ndevice = \"{UNIT}\""),
    ] {
        for plugin in ["NMP", "HPP"] {
            let rules = claim_rule(matches, plugin);
            let (mapped, text) = gets_map(&rules, &Settings::default());
            // What a rule for the device says is known after the first look.
            assert!(mapped, "{matches} {plugin}: {text}");
        }
    }
}

#[test]
fn lone_paths_all_gives_each_device_a_map() {
    let settings = Settings {
        lone_paths: LonePaths::All,
        ..Settings::default()
    };
    assert!(gets_map(&Rules::default(), &settings).0);
}

#[test]
fn the_reason_is_explained_before_there_is_a_map() {
    let settings = Settings {
        lone_paths: LonePaths::All,
        settle_ms: seconds(30),
        ..Settings::default()
    };
    let mut sim = Simulation::start(host(), settings);
    sim.run_for(seconds(1));
    sim.inject(&Fault::Add(FIRST));
    sim.run_for(seconds(1));
    let text = explained(&sim, UNIT);
    let why = "it gets a map, although only one path leads to it: lone_paths = \"all\" is set";
    assert!(text.contains(why), "{text}");
}

/// udev is not notified until the agent has waited for a second path; then it learns that the disk is the host's own.
#[test]
fn a_second_path_may_follow_the_first() {
    let mut sim = Simulation::start(host(), Settings::default());
    sim.run_for(seconds(10));
    sim.inject(&Fault::Add(FIRST));
    sim.run_for(Millis(300));
    assert_eq!(mark(&sim, FIRST), None);
    let text = explained(&sim, UNIT);
    assert!(text.contains("another one may follow"), "{text}");
    // The second path arrives: in between nobody was allowed to look at the bare disk.
    sim.inject(&Fault::Add(SECOND));
    sim.run_for(seconds(5));
    assert_eq!(maps(&sim).len(), 1);
    let marks: Vec<bool> = san::marks(&sim, FIRST);
    assert_eq!(marks, [true]);
    unharmed(&sim);
}

#[test]
fn a_lone_path_is_left_to_the_host_within_a_second() {
    let mut sim = Simulation::start(host(), Settings::default());
    sim.run_for(seconds(10));
    sim.inject(&Fault::Add(FIRST));
    sim.run_for(Millis(700));
    assert_eq!(mark(&sim, FIRST), Some(false));
    assert!(
        notices(&sim, 0)
            .iter()
            .any(|line| line.starts_with("DEVICE_LEFT_ALONE"))
    );
    // Nothing about it is stored: it is not hidden at the next boot either.
    sim.run_for(seconds(10));
    assert!(sim.kernel.memory.devices.is_empty());
}

#[test]
fn with_a_second_path_an_unused_disk_gets_its_map() {
    let mut sim = Simulation::start(with_one(), Settings::default());
    sim.run_for(seconds(60));
    assert_eq!(maps(&sim), Vec::<String>::new());
    sim.inject(&Fault::Add(SECOND));
    sim.run_for(seconds(5));
    assert_eq!(maps(&sim).len(), 1);
    assert_eq!(
        (mark(&sim, FIRST), mark(&sim, SECOND)),
        (Some(true), Some(true))
    );
    // The map stays with one path, and the device is known as multipath at the next start.
    sim.inject(&Fault::Delete(FIRST));
    sim.run_for(seconds(5));
    assert_eq!(maps(&sim).len(), 1);
    unharmed(&sim);
    let mut kernel = with_one();
    kernel.memory = sim.kernel.memory.clone();
    let again = running(kernel);
    assert_eq!(maps(&again).len(), 1);
    unharmed(&again);
}

#[test]
fn with_a_second_path_a_disk_in_use_is_left_alone_and_reported() {
    let mut sim = Simulation::start(with_one(), Settings::default());
    sim.run_for(seconds(10));
    sim.inject(&Fault::Use(FIRST, mounted("/var/lib/kubelet/volume")));
    sim.run_for(seconds(5));
    let from = sim.journal.len();
    sim.inject(&Fault::Add(SECOND));
    sim.run_for(seconds(30));
    assert_eq!(maps(&sim), Vec::<String>::new());
    assert_eq!(
        (mark(&sim, FIRST), mark(&sim, SECOND)),
        (Some(false), Some(false))
    );
    let text = explained(&sim, UNIT);
    let why = "left alone: in use: sda is mounted at /var/lib/kubelet/volume";
    assert!(text.contains(why), "{text}");
    assert!(
        notices(&sim, from)
            .iter()
            .all(|line| !line.starts_with("MAP_ACTION_FAILED"))
    );
    unharmed(&sim);
    // Its user is finished with it.
    sim.inject(&Fault::Use(FIRST, vec![]));
    sim.run_for(seconds(10));
    assert_eq!(maps(&sim).len(), 1);
}

#[test]
fn rules_that_are_loaded_later_apply() {
    use dm_psa::psa::pattern::Pattern;
    let mut sim = Simulation::start(with_one(), Settings::default());
    sim.run_for(seconds(10));
    let known = satp_rule(Group::User, |rule| {
        rule.vendor = Some(Pattern::parse("SIM").unwrap())
    });
    let plan = sim.world.plan(&known);
    let text = format!("{plan:?}");
    assert!(
        text.contains("map now:  none: only one path leads to it"),
        "{text}"
    );
    assert!(text.contains("map then: 0 2097152 multipath"), "{text}");
    sim.deliver(Event::RulesLoaded(Box::new(known)));
    sim.run_for(seconds(10));
    assert_eq!(maps(&sim).len(), 1);
    unharmed(&sim);
}

#[test]
fn of_two_paths_one_that_is_masked_does_not_count() {
    let rules = claim_rule("type = \"location\"\nadapter = \"vmhba1\"", "MASK_PATH");
    let mut sim = Simulation::start_with_rules(host(), Settings::default(), rules);
    sim.inject_all(&[Fault::Add(FIRST), Fault::Add(SECOND)]);
    sim.run_for(seconds(10));
    assert_eq!(maps(&sim), Vec::<String>::new());
}
