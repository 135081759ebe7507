//! Hosts that share an array with two controllers, one of which serves a logical unit: how often the unit moves, and
//! whether every host completes its I/O. The array counts the moves.

mod san;

use dm_psa::config::rules::built_in;
use dm_psa::psa::rules::Rules;
use dm_psa::psa::settings::{DeviceSettings, PspKind, Settings};
use dm_psa::psa::units::{Hctl, Millis, Sectors};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::{Array, Trespass, Unit, UnitId};
use dm_psa::sim::cluster::Cluster;
use dm_psa::sim::dm::Series;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::{Kernel, Pace};
use dm_psa::sim::run::Simulation;
use san::{ANO, AO, STANDBY, explained, notices, path, seconds};

const A: u16 = 1;
const B: u16 = 2;

/// A family of arrays: how a controller takes over a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    Older(&'static str, &'static str, Trespass),
    Alua(Tpgs, AccessState),
}

const CX: Family = Family::Older("DGC", "RAID 5", Trespass::Clariion);
const LSI: Family = Family::Older("IBM", "1814      FAStT", Trespass::Rdac);
const MSA: Family = Family::Older("HP", "MSA VOLUME", Trespass::StartUnit);
const EVA: Family = Family::Older("HP", "HSV200", Trespass::StartUnit);
const EXPLICIT: Family = Family::Alua(Tpgs::Explicit, STANDBY);
const ACTIVE_PASSIVE: [Family; 5] = [CX, LSI, MSA, EVA, EXPLICIT];

fn unit(family: Family, number: u32) -> Unit {
    match family {
        Family::Older(vendor, product, trespass) => {
            let mut unit = Unit::new(number, &[(A, AO), (B, STANDBY)]);
            vendor.clone_into(&mut unit.vendor);
            product.clone_into(&mut unit.product);
            unit.tpgs = Tpgs::None;
            unit.trespasses = Some(trespass);
            unit
        }
        Family::Alua(tpgs, other) => {
            let mut unit = Unit::new(number, &[(A, AO), (B, other)]);
            unit.tpgs = tpgs;
            unit
        }
    }
}

/// An array with one unit that controller A serves.
fn array(family: Family) -> (Cluster, UnitId) {
    let mut array = Array::default();
    let id = array.add(unit(family, 1));
    (Cluster::new(array), id)
}

/// The paths of host `n`: two to each of these controllers.
fn paths(n: u32, controllers: &[u16]) -> Vec<(Hctl, u16)> {
    let both = |group: &u16| {
        let (group, target) = (*group, u32::from(*group));
        [1, 2].map(|hba| (path(n * 10 + hba, target, 0), group))
    };
    controllers.iter().flat_map(both).collect()
}

/// Adds a host with paths to these controllers; its maps get an I/O every 100 ms, or none.
fn add(cluster: &mut Cluster, unit: UnitId, controllers: &[u16], io: bool, seed: u64) -> usize {
    add_with(cluster, unit, controllers, io, seed, Settings::default())
}

/// The same with other settings.
fn add_with(
    cluster: &mut Cluster,
    unit: UnitId,
    controllers: &[u16],
    io: bool,
    seed: u64,
    settings: Settings,
) -> usize {
    let n = u32::try_from(cluster.hosts().count()).unwrap() + 1;
    let pace = if seed == 0 {
        Pace::STEADY
    } else {
        Pace::VARIED
    };
    let mut kernel = Kernel::new(Series::Linux6, pace, seed * 100 + u64::from(n));
    kernel.udev_reads = true;
    let cable = |kernel: &mut Kernel| {
        for (path, group) in paths(n, controllers) {
            Cluster::cable(kernel, path, unit, group);
        }
    };
    let rules: Rules = built_in().in_force();
    cluster.add(kernel, cable, |kernel| {
        let mut sim = Simulation::start_with_rules(kernel, settings, rules);
        sim.io_every = io.then_some(Millis(100));
        sim.keep_journal = seed == 0;
        sim
    })
}

/// The number of moves in each minute from `from` on.
fn by_minute(cluster: &Cluster, unit: UnitId, from: Millis) -> Vec<usize> {
    let mut minutes = Vec::new();
    let mut at = from;
    while at < cluster.now() {
        minutes.push(cluster.moves(unit, at, at.after(seconds(60))));
        at = at.after(seconds(60));
    }
    minutes
}

/// Runs, and asserts that every host completes writes in each five minutes.
fn run_fairly(cluster: &mut Cluster, five_minutes: u64) {
    let hosts = cluster.hosts().count();
    for round in 0..five_minutes {
        let before: Vec<u64> = (0..hosts)
            .map(|n| cluster.host(n).kernel.ledger.writes)
            .collect();
        cluster.run_for(seconds(300));
        for (n, before) in before.iter().enumerate() {
            let writes = cluster.host(n).kernel.ledger.writes - before;
            assert!(
                writes >= 300,
                "host {n} wrote {writes} times in round {round}"
            );
        }
    }
}

fn unharmed(cluster: &Cluster) {
    cluster.hosts().for_each(san::unharmed);
}

/// At most 6 in the first minute, and one a minute from the third on.
fn within_budget(minutes: &[usize], what: &str) {
    assert!(minutes[0] <= 6, "{what}: {minutes:?}");
    assert!(minutes[2..].iter().all(|n| *n <= 1), "{what}: {minutes:?}");
}

#[test]
fn two_hosts_with_a_controller_each_take_turns() {
    for family in ACTIVE_PASSIVE {
        for seed in [0, 1, 2] {
            let (mut cluster, unit) = array(family);
            add(&mut cluster, unit, &[A], true, seed);
            add(&mut cluster, unit, &[B], true, seed);
            let rounds = if seed == 0 && family == CX { 36 } else { 6 };
            run_fairly(&mut cluster, rounds);
            let minutes = by_minute(&cluster, unit, Millis(0));
            within_budget(&minutes, &format!("{family:?}, seed {seed}"));
            unharmed(&cluster);
        }
    }
}

/// Fails the paths of a host to a controller, or restores them.
fn cut(cluster: &mut Cluster, host: usize, controller: u16, down: bool) {
    let n = u32::try_from(host).unwrap() + 1;
    cluster.on(host, |sim| {
        for (path, _) in paths(n, &[controller]) {
            let fault = match down {
                true => Fault::LinkDown(path),
                false => Fault::LinkUp(path),
            };
            sim.inject(&fault);
        }
    });
}

fn all_moves(cluster: &Cluster, unit: UnitId) -> usize {
    cluster.moves(unit, Millis(0), Millis(u64::MAX))
}

#[test]
fn a_third_host_with_both_controllers_follows() {
    for family in ACTIVE_PASSIVE {
        for seed in [0, 3] {
            let (mut cluster, unit) = array(family);
            add(&mut cluster, unit, &[A], true, seed);
            add(&mut cluster, unit, &[B], true, seed);
            add(&mut cluster, unit, &[A, B], true, seed);
            let before = cluster.now();
            run_fairly(&mut cluster, 6);
            let what = format!("{family:?}, seed {seed}");
            within_budget(&by_minute(&cluster, unit, before), &what);
            unharmed(&cluster);
            // It is never without a path for long.
            let stall = cluster.host(2).kernel.ledger.longest_stall;
            assert!(stall <= seconds(7), "{what}: {stall:?}");
        }
    }
}

#[test]
fn hosts_with_both_controllers_move_a_unit_once_when_one_loses_its_cable() {
    for family in ACTIVE_PASSIVE {
        for seed in [0, 4] {
            let (mut cluster, unit) = array(family);
            add(&mut cluster, unit, &[A, B], true, seed);
            add(&mut cluster, unit, &[A, B], true, seed);
            cluster.run_for(seconds(60));
            let what = format!("{family:?}, seed {seed}");
            assert_eq!(all_moves(&cluster, unit), 0, "{what}");
            cut(&mut cluster, 0, A, true);
            cluster.run_for(seconds(600));
            assert_eq!(all_moves(&cluster, unit), 1, "{what}");
            cut(&mut cluster, 0, A, false);
            cluster.run_for(seconds(600));
            assert_eq!(all_moves(&cluster, unit), 1, "{what}: moved back");
            // The same with the roles exchanged.
            cut(&mut cluster, 1, B, true);
            cluster.run_for(seconds(600));
            assert_eq!(all_moves(&cluster, unit), 2, "{what}");
            for host in cluster.hosts() {
                let stall = host.kernel.ledger.longest_stall;
                assert!(stall <= seconds(7), "{what}: {stall:?}");
            }
            unharmed(&cluster);
        }
    }
}

#[test]
fn a_controller_that_all_hosts_lose_takes_one_move() {
    for family in ACTIVE_PASSIVE {
        for seed in [0, 5] {
            let (mut cluster, unit) = array(family);
            for _ in 0..3 {
                add(&mut cluster, unit, &[A, B], true, seed);
            }
            cluster.run_for(seconds(60));
            (0..3).for_each(|host| cut(&mut cluster, host, A, true));
            cluster.run_for(seconds(600));
            assert_eq!(all_moves(&cluster, unit), 1, "{family:?}, seed {seed}");
            (0..3).for_each(|host| cut(&mut cluster, host, A, false));
            cluster.run_for(seconds(600));
            assert_eq!(all_moves(&cluster, unit), 1, "{family:?}, seed {seed}");
            unharmed(&cluster);
        }
    }
}

#[test]
fn cables_that_flap_at_both_controllers_move_the_unit_within_the_budget() {
    for family in ACTIVE_PASSIVE {
        let (mut cluster, unit) = array(family);
        add(&mut cluster, unit, &[A, B], true, 0);
        cluster.run_for(seconds(30));
        let start = cluster.now();
        // Each time the serving controller is lost.
        for round in 0..300 {
            let (lost, back) = if round % 2 == 0 { (A, B) } else { (B, A) };
            cut(&mut cluster, 0, back, false);
            cut(&mut cluster, 0, lost, true);
            cluster.run_for(seconds(4));
        }
        let minutes = by_minute(&cluster, unit, start);
        within_budget(&minutes, &format!("{family:?}"));
        unharmed(&cluster);
    }
}

#[test]
fn making_a_map_moves_nothing() {
    for family in ACTIVE_PASSIVE {
        for seed in [0, 6, 7] {
            let (mut cluster, unit) = array(family);
            add(&mut cluster, unit, &[A], true, seed);
            cluster.run_for(seconds(20));
            let idle = add(&mut cluster, unit, &[B], false, seed);
            cluster.run_for(seconds(60));
            cluster.on(idle, |sim| {
                let now = sim.now();
                sim.kernel.coldplug(now);
            });
            cluster.run_for(seconds(3600));
            let what = format!("{family:?}, seed {seed}");
            assert_eq!(cluster.host(idle).kernel.maps().count(), 1, "{what}");
            assert_eq!(all_moves(&cluster, unit), 0, "{what}");
            let id = cluster
                .host(idle)
                .world
                .devices()
                .next()
                .unwrap()
                .id()
                .to_owned();
            let text = explained(cluster.host(idle), id.as_str());
            assert!(text.contains("when the map is opened"), "{what}: {text}");
            assert!(!text.contains("all paths down"), "{what}: {text}");
            // A restarted agent moves nothing either.
            cluster.on(idle, |sim| sim.inject(&Fault::RestartAgent));
            cluster.run_for(seconds(300));
            assert_eq!(all_moves(&cluster, unit), 0, "{what}");
            assert_eq!(
                cluster.host(0).kernel.ledger.longest_stall,
                Millis(0),
                "{what}"
            );
            // A user appears: its I/O completes soon, and both hosts take turns from then on.
            let start = cluster.now();
            cluster.on(idle, |sim| sim.io_every = Some(Millis(100)));
            cluster.run_for(seconds(20));
            assert!(cluster.host(idle).kernel.ledger.writes > 0, "{what}");
            run_fairly(&mut cluster, 3);
            within_budget(&by_minute(&cluster, unit, start), &what);
            unharmed(&cluster);
        }
    }
}

#[test]
fn restarts_of_the_agent_do_not_increase_the_budget() {
    for family in [CX, MSA, EXPLICIT] {
        for pause in [3, 25] {
            let (mut cluster, unit) = array(family);
            add(&mut cluster, unit, &[A], true, 0);
            add(&mut cluster, unit, &[B], true, 0);
            cluster.run_for(seconds(120));
            let start = cluster.now();
            let before = cluster.host(0).kernel.ledger.writes;
            while cluster.now() < start.after(seconds(1800)) {
                cluster.on(0, |sim| sim.inject(&Fault::RestartAgent));
                cluster.run_for(seconds(pause));
                cluster.on(1, |sim| sim.inject(&Fault::RestartAgent));
                cluster.run_for(seconds(pause));
            }
            let minutes = by_minute(&cluster, unit, start);
            let what = format!("{family:?}, a restart every {pause} s");
            assert!(minutes.iter().all(|n| *n <= 2), "{what}: {minutes:?}");
            let total: usize = minutes.iter().sum();
            assert!(total <= 31, "{what}: {minutes:?}");
            // It is not starved either.
            let wrote = cluster.host(0).kernel.ledger.writes - before;
            assert!(wrote > 3000, "{what}: {wrote} writes");
            unharmed(&cluster);
        }
    }
}

#[test]
fn alua_arrays_that_serve_through_both_controllers_move_nothing() {
    for tpgs in [Tpgs::Implicit, Tpgs::Both] {
        let (mut cluster, unit) = array(Family::Alua(tpgs, ANO));
        add(&mut cluster, unit, &[A], true, 0);
        add(&mut cluster, unit, &[B], true, 0);
        run_fairly(&mut cluster, 6);
        assert_eq!(all_moves(&cluster, unit), 0, "{tpgs:?}");
        for host in cluster.hosts() {
            assert_eq!(host.kernel.ledger.longest_stall, Millis(0));
        }
        unharmed(&cluster);
    }
    // Explicit only: the first I/O of a map moves the unit; after that nothing does.
    let (mut cluster, unit) = array(Family::Alua(Tpgs::Explicit, ANO));
    add(&mut cluster, unit, &[A], true, 0);
    add(&mut cluster, unit, &[B], true, 0);
    run_fairly(&mut cluster, 6);
    assert!(all_moves(&cluster, unit) <= 1);
    unharmed(&cluster);
}

#[test]
fn unit_attentions_after_a_move_change_nothing() {
    for attention in [(0x29, 0x00), (0x2a, 0x01), (0x2a, 0x06)] {
        for family in [CX, LSI, MSA] {
            let (mut cluster, unit) = array(family);
            cluster.array.unit_mut(unit).unwrap().trespass_attention = Some(attention);
            add(&mut cluster, unit, &[A], true, 8);
            add(&mut cluster, unit, &[B], true, 8);
            run_fairly(&mut cluster, 4);
            let what = format!("{family:?}, {attention:?}");
            within_budget(&by_minute(&cluster, unit, Millis(0)), &what);
            unharmed(&cluster);
        }
    }
}

#[test]
fn a_hold_does_not_use_up_a_short_queueing_time() {
    for family in ACTIVE_PASSIVE {
        let (mut cluster, unit) = array(family);
        let mut settings = Settings::default();
        let id = cluster.array.unit(unit).unwrap().id();
        let own = DeviceSettings {
            apd_timeout_ms: Some(seconds(20)),
            ..DeviceSettings::default()
        };
        settings.device.insert(id.into(), own);
        add_with(&mut cluster, unit, &[A], true, 0, settings.clone());
        add_with(&mut cluster, unit, &[B], true, 0, settings);
        run_fairly(&mut cluster, 6);
        unharmed(&cluster);
    }
}

#[test]
fn the_wait_for_an_array_that_refuses_to_move_a_unit_ends() {
    for family in [CX, LSI, MSA] {
        let (mut cluster, unit) = array(family);
        cluster.array.unit_mut(unit).unwrap().trespass_refusals = u32::MAX;
        add(&mut cluster, unit, &[A], true, 0);
        let other = add(&mut cluster, unit, &[B], true, 0);
        cluster.run_for(seconds(900));
        assert_eq!(all_moves(&cluster, unit), 0);
        let refused = u32::MAX - cluster.array.unit(unit).unwrap().trespass_refusals;
        assert!(refused < 80, "{family:?}: {refused} requests in 15 minutes");
        assert!(!cluster.host(other).kernel.ledger.io_errors.is_empty());
        san::unharmed(cluster.host(0));
        // The array moves it after all.
        cluster.array.unit_mut(unit).unwrap().trespass_refusals = 0;
        let before = cluster.host(other).kernel.ledger.writes;
        cluster.run_for(seconds(120));
        assert!(
            cluster.host(other).kernel.ledger.writes > before,
            "{family:?}"
        );
    }
}

#[test]
fn a_rescan_of_a_waiting_path_moves_nothing_and_is_repeated_later() {
    for family in [CX, LSI, MSA, EVA] {
        let (mut cluster, unit) = array(family);
        let host = add(&mut cluster, unit, &[A, B], true, 0);
        cluster.run_for(seconds(30));
        cluster.on(host, |sim| sim.kernel.array.resize(unit, Sectors(1 << 22)));
        cluster.run_for(seconds(60));
        let size = |cluster: &Cluster, group| {
            let sim = cluster.host(host);
            let of = paths(1, &[group]).into_iter();
            let sizes = of.map(|(path, _)| {
                sim.kernel
                    .disk(path)
                    .unwrap()
                    .facts()
                    .block
                    .as_ref()
                    .unwrap()
                    .size
            });
            sizes.collect::<Vec<_>>()
        };
        assert_eq!(all_moves(&cluster, unit), 0, "{family:?}");
        assert_eq!(size(&cluster, A), [Sectors(1 << 22); 2], "{family:?}");
        assert_eq!(size(&cluster, B), [Sectors(1 << 21); 2], "{family:?}");
        // The other controller takes over, and its disks are read again.
        cut(&mut cluster, host, A, true);
        cluster.run_for(seconds(60));
        assert_eq!(size(&cluster, B), [Sectors(1 << 22); 2], "{family:?}");
        assert_eq!(all_moves(&cluster, unit), 1, "{family:?}");
        unharmed(&cluster);
    }
}

#[test]
fn hosts_with_different_preferred_paths_do_not_fight_over_the_unit() {
    for family in [CX, EVA] {
        let (mut cluster, unit) = array(family);
        let id = cluster.array.unit(unit).unwrap().id();
        for preferred in ["vmhba0:C0:T1:L0", "vmhba0:C0:T2:L0"] {
            let mut settings = Settings::default();
            let own = DeviceSettings {
                psp: Some(PspKind::Fixed),
                preferred: Some(preferred.parse().unwrap()),
                ..DeviceSettings::default()
            };
            settings.device.insert(id.as_str().into(), own);
            add_with(&mut cluster, unit, &[A, B], true, 0, settings);
        }
        cluster.run_for(seconds(300));
        assert_eq!(all_moves(&cluster, unit), 0, "{family:?}");
        cut(&mut cluster, 0, A, true);
        cluster.run_for(seconds(300));
        cut(&mut cluster, 0, A, false);
        cluster.run_for(seconds(300));
        assert_eq!(all_moves(&cluster, unit), 1, "{family:?}");
        unharmed(&cluster);
    }
}

#[test]
fn explain_says_why_io_waits() {
    let (mut cluster, unit) = array(CX);
    add(&mut cluster, unit, &[A], true, 0);
    add(&mut cluster, unit, &[B], true, 0);
    cluster.run_for(seconds(150));
    let waiting = cluster
        .hosts()
        .find(|sim| {
            sim.world
                .devices()
                .any(|d| explained(sim, d.id().as_str()).contains("the unit is not taken over for"))
        })
        .expect("one host waits");
    let device = waiting.world.devices().next().unwrap();
    let config = waiting.world.satp_device_config(device);
    assert!(config.starts_with("{takeover=waiting "), "{config}");
    assert!(config.contains(";ordered="), "{config}");
    let figures = waiting.world.figures(waiting.now());
    assert!(figures.devices[0].waits_for_takeover);
    assert!(figures.devices[0].takeovers_ordered >= 1);
    assert!(figures.devices[0].takeovers_seen >= 1);
    let lines = notices(waiting, 0);
    let has = |code: &str| lines.iter().any(|line| line.starts_with(code));
    assert!(
        has("OWNERSHIP_CONTESTED") && has("TAKEOVER_ORDERED"),
        "{lines:?}"
    );
    // The host that has the unit reports no problem.
    let other = cluster
        .hosts()
        .find(|sim| {
            !explained(sim, device.id().as_str()).contains("the unit is not taken over for")
        })
        .expect("one host has the unit");
    assert!(!other.world.figures(other.now()).devices[0].waits_for_takeover);
    for host in cluster.hosts() {
        host.replay().unwrap();
    }
}
