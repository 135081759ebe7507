//! Arrays without ALUA, and HPP instead of NMP: which paths serve, which table results, and how a device changes its
//! controller.

mod san;

use dm_psa::config::rules::built_in;
use dm_psa::psa::change::{Change, Refusal};
use dm_psa::psa::claim::{Rule, Ruleset};
use dm_psa::psa::event::Event;
use dm_psa::psa::evidence::PathState;
use dm_psa::psa::mpp::Plugin;
use dm_psa::psa::names::DeviceId;
use dm_psa::psa::psp::PspKind;
use dm_psa::psa::rules::Rules;
use dm_psa::psa::settings::Scheme;
use dm_psa::psa::settings::{DeviceSettings, RoundRobin, Settings};
use dm_psa::psa::units::{Hctl, Millis};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Trespass, Unit};
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::Kernel;
use dm_psa::sim::run::Simulation;
use san::{
    A1, A2, B1, B2, cable_unit, explained, four_paths, maps, seconds, steady, tables, unharmed,
};

const AO: AccessState = AccessState::ActiveOptimized;
const STANDBY: AccessState = AccessState::Standby;

/// An agent with the built-in rules and these claim rules before them, with user I/O running.
fn running(kernel: Kernel, claim: &[(u32, &str, &str, &str)]) -> Simulation {
    let mut rules: Rules = built_in().in_force();
    let more = claim.iter().map(|(number, matches, plugin, config)| Rule {
        config: (*config).to_owned(),
        ..Rule::new(*number, matches.parse().unwrap(), plugin)
    });
    rules.claim = Ruleset::new(rules.claim.rules().iter().cloned().chain(more));
    let mut sim = Simulation::start_with_rules(kernel, Settings::default(), rules);
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(15));
    sim
}

/// An array that predates target port groups: controller A serves, B is standby.
fn older(vendor: &str, product: &str, trespass: Trespass) -> Kernel {
    let mut unit = Unit::new(1, &[(1, AO), (2, STANDBY)]);
    vendor.clone_into(&mut unit.vendor);
    product.clone_into(&mut unit.product);
    unit.tpgs = Tpgs::None;
    unit.trespasses = Some(trespass);
    let mut kernel = steady();
    cable_unit(&mut kernel, 0, unit);
    kernel
}

fn states(sim: &Simulation) -> Vec<PathState> {
    let state = |path: Hctl| sim.world.find_path(&path.to_string()).unwrap().state();
    [A1, A2, B1, B2].map(state).to_vec()
}

fn satp(sim: &Simulation) -> &'static str {
    let device = sim.world.devices().next().unwrap();
    device.selection().unwrap().satp.name()
}

fn device(sim: &Simulation) -> DeviceId {
    sim.world.devices().next().unwrap().id().to_owned()
}

fn make(sim: &mut Simulation, change: Change) -> Result<String, Refusal> {
    let effect = sim.world.check(&change)?;
    sim.deliver(Event::Change(Box::new(change)));
    sim.run_for(seconds(3));
    assert!(sim.run_until_settled(seconds(10)));
    Ok(effect)
}

#[test]
fn a_waiting_controller_takes_over_and_the_groups_follow() {
    use PathState::{Active, Standby};
    for (vendor, product, trespass, name) in [
        ("DGC", "RAID 5", Trespass::Clariion, "VMW_SATP_CX"),
        ("IBM", "1814      FAStT", Trespass::Rdac, "VMW_SATP_LSI"),
        ("HP", "MSA VOLUME", Trespass::StartUnit, "VMW_SATP_MSA"),
    ] {
        let mut sim = running(older(vendor, product, trespass), &[]);
        assert_eq!(satp(&sim), name);
        assert_eq!(states(&sim), [Active, Active, Standby, Standby], "{name}");
        let handler = format!("1 {} 2 1 service-time 0 2 2", trespass.handler());
        assert!(maps(&sim)[0].contains(&handler), "{:?}", maps(&sim));
        assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
        // Controller A is lost: the kernel makes B take over, and the agent sees that B serves.
        let loads = tables(&sim, 0).len();
        sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
        sim.run_for(seconds(10));
        assert_eq!(states(&sim)[2..], [Active, Active], "{name}");
        // A returns as standby: MRU leaves the I/O where it is.
        sim.inject_all(&[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
        sim.run_for(seconds(20));
        assert_eq!(states(&sim), [Standby, Standby, Active, Active], "{name}");
        assert!(maps(&sim)[0].contains("| EA AA AA") || maps(&sim)[0].ends_with("| AE AA AA"));
        assert_eq!(
            tables(&sim, 0).len(),
            loads,
            "{name}: {:?}",
            tables(&sim, 0)
        );
        unharmed(&sim);
        sim.replay().unwrap();
    }
}

#[test]
fn a_page_that_cannot_be_read_is_reported_and_fails_no_path() {
    use dm_psa::scsi::cdb::Command;
    use dm_psa::sim::array::Answer;
    let mut sim = running(older("DGC", "RAID 5", Trespass::Clariion), &[]);
    for path in [A1, A2] {
        let answer = Answer::check(5, 0x24, 0);
        sim.kernel.array.lie(path, Command::Vpd(0xc0), Some(answer));
    }
    sim.run_for(seconds(20));
    assert_eq!(states(&sim)[..2], [PathState::Active; 2]);
    assert!(explained(&sim, &A1.to_string()).contains("cannot be read"));
    unharmed(&sim);
}

#[test]
fn clariions_with_alua_get_alua_cx() {
    let mut kernel = four_paths();
    let unit = kernel.array.units().next().unwrap().0;
    let unit = kernel.array.unit_mut(unit).unwrap();
    "DGC".clone_into(&mut unit.vendor);
    "VRAID".clone_into(&mut unit.product);
    let sim = running(kernel, &[]);
    assert_eq!(satp(&sim), "VMW_SATP_ALUA_CX");
    let device = sim.world.devices().next().unwrap();
    assert_eq!(sim.world.psp_of(device), PspKind::RoundRobin);
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    unharmed(&sim);
}

const HPP: (u32, &str, &str, &str) = (102, "vendor=SIM model=*", "HPP", "");

/// An array that reports itself which ports are optimized.
fn implicit() -> Kernel {
    let mut kernel = four_paths();
    let unit = kernel.array.units().next().unwrap().0;
    kernel.array.unit_mut(unit).unwrap().tpgs = Tpgs::Implicit;
    kernel
}

fn hpp(sim: &Simulation, set: DeviceSettings) -> Change {
    Change::Hpp {
        device: device(sim),
        set: Box::new(set),
        no_preferred: false,
    }
}

#[test]
fn hpp_selects_paths_by_its_scheme() {
    let mut sim = running(implicit(), &[HPP]);
    let wanted = " 1 alua 2 1 round-robin 0 2 1 ";
    assert!(maps(&sim)[0].contains(wanted), "{:?}", maps(&sim));
    for (scheme, selector) in [
        (Scheme::Iops, "queue-length 0 2 1"),
        (Scheme::Bytes, "service-time 0 2 2 "),
        (Scheme::RoundRobin, "round-robin 0 2 1"),
    ] {
        let set = DeviceSettings {
            scheme: Some(scheme),
            ..DeviceSettings::default()
        };
        let change = hpp(&sim, set);
        let effect = make(&mut sim, change).unwrap();
        assert!(effect.contains(scheme.name()), "{effect}");
        assert!(maps(&sim)[0].contains(selector), "{:?}", maps(&sim));
    }
    let ano = DeviceSettings {
        round_robin: RoundRobin {
            use_ano: Some(true),
            ..RoundRobin::default()
        },
        ..DeviceSettings::default()
    };
    let change = hpp(&sim, ano);
    make(&mut sim, change).unwrap();
    assert!(
        maps(&sim)[0].contains("round-robin 0 4 1"),
        "{:?}",
        maps(&sim)
    );
    // The array moves the unit; a controller fails and returns.
    sim.inject_all(&[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| A FFAA") || maps(&sim)[0].ends_with("| A FAFA"));
    sim.inject_all(&[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
    sim.run_for(seconds(10));
    assert!(maps(&sim)[0].ends_with("| A AAAA"), "{:?}", maps(&sim));
    assert_eq!(sim.kernel.array.stpgs, []);
    // A restarted agent finds everything in order.
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(30));
    assert_eq!(tables(&sim, 0), Vec::<String>::new());
    unharmed(&sim);
    sim.replay().unwrap();
}

#[test]
fn hpp_takes_its_options_from_the_rule() {
    let sim = running(
        implicit(),
        &[(
            102,
            "vendor=SIM model=*",
            "HPP",
            "path=vmhba1:C0:T0:L0,pss=FIXED",
        )],
    );
    let name = |path: Hctl| {
        sim.world
            .find_path(&path.to_string())
            .unwrap()
            .name()
            .to_string()
    };
    let found = sim.world.devices().next().unwrap();
    let settings = sim.world.device_settings(found);
    assert_eq!(settings.scheme, Some(Scheme::Fixed));
    assert_eq!(settings.preferred, "vmhba1:C0:T0:L0".parse().ok());
    assert_eq!(name(A2), "vmhba1:C0:T0:L0");
    assert_eq!(sim.world.working_paths(found).len(), 1);
    assert_eq!(sim.world.working_paths(found)[0].to_string(), name(A2));
    let text = explained(&sim, device(&sim).as_str());
    assert!(
        text.contains("FIXED {preferred=vmhba1:C0:T0:L0;}"),
        "{text}"
    );
    unharmed(&sim);
}

#[test]
fn hpp_declines_arrays_that_only_the_host_can_switch() {
    let mut kernel = four_paths();
    let unit = kernel.array.units().next().unwrap().0;
    kernel.array.unit_mut(unit).unwrap().tpgs = Tpgs::Explicit;
    let sim = running(kernel, &[HPP]);
    assert_eq!(sim.world.devices().next().unwrap().plugin(), Plugin::Nmp);
    let text = explained(&sim, &A1.to_string());
    assert!(text.contains("matches, but HPP declines"), "{text}");
    unharmed(&sim);
}

#[test]
fn a_device_belongs_to_one_plugin() {
    // A rule gives the second path to NMP, but its device already belongs to HPP.
    let rule = (102, "adapter=vmhba0 channel=* target=* lun=*", "HPP", "");
    let sim = running(implicit(), &[rule]);
    assert!(maps(&sim)[0].contains("round-robin"), "{:?}", maps(&sim));
    assert!(maps(&sim)[0].ends_with("| AE AA AA"), "{:?}", maps(&sim));
    let owners = sim
        .world
        .paths()
        .map(|(_, path)| path.owner().claim().unwrap().plugin);
    assert!(owners.into_iter().all(|plugin| plugin == Plugin::Hpp));
    unharmed(&sim);
}

#[test]
fn a_device_in_use_changes_its_plugin_under_io() {
    let mut sim = running(implicit(), &[]);
    assert!(maps(&sim)[0].contains("service-time"), "{:?}", maps(&sim));
    let mut rules: Rules = built_in().in_force();
    let (number, matches, plugin, _) = HPP;
    let rule = Rule::new(number, matches.parse().unwrap(), plugin);
    rules.claim = Ruleset::new(rules.claim.rules().iter().cloned().chain([rule]));
    sim.deliver(Event::RulesLoaded(Box::new(rules)));
    let id = device(&sim);
    let effect = make(&mut sim, Change::Reclaim { device: id.clone() }).unwrap();
    assert!(effect.contains("reclaimed with HPP (LB-RR)"), "{effect}");
    assert!(maps(&sim)[0].contains("round-robin"), "{:?}", maps(&sim));
    let refused = sim.world.check(&Change::Psp {
        device: id,
        psp: Some(PspKind::Mru),
    });
    assert!(matches!(refused, Err(Refusal::Refused(why)) if why.contains("hpp device set")));
    sim.inject(&Fault::RestartAgent);
    sim.run_for(seconds(20));
    assert!(maps(&sim)[0].contains("round-robin"), "{:?}", maps(&sim));
    unharmed(&sim);
    sim.replay().unwrap();
}
