//! Simulated hosts that several test files start from, and readable forms of what their agents did.
#![allow(
    dead_code,
    reason = "every test file is a crate of its own and uses a part of this"
)]

pub(crate) mod audit;
pub(crate) mod oracle;
pub(crate) mod script;

use dm_psa::psa::action::{Action, MapStep, Notice};
use dm_psa::psa::adapter::Transport;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::emit::emit;
use dm_psa::psa::table::model::Map;
use dm_psa::psa::units::{Hctl, Millis};
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::scsi::vpd::{Association, CodeSet, Designator, DesignatorType};
use dm_psa::sim::array::{Unit, UnitId};
use dm_psa::sim::dm::{Series, letters};
use dm_psa::sim::kernel::{Kernel, Pace};
use dm_psa::sim::run::Simulation;
use proptest::test_runner::{Config as ProptestConfig, RngSeed};

pub(crate) const AO: AccessState = AccessState::ActiveOptimized;
pub(crate) const ANO: AccessState = AccessState::ActiveNonOptimized;
pub(crate) const STANDBY: AccessState = AccessState::Standby;

/// A path by host, target and LUN.
pub(crate) fn path(host: u32, target: u32, lun: u64) -> Hctl {
    Hctl {
        host,
        channel: 0,
        target,
        lun,
    }
}

pub(crate) fn seconds(n: u64) -> Millis {
    Millis::from_secs(n)
}

/// A host on which everything takes a millisecond.
pub(crate) fn steady() -> Kernel {
    Kernel::new(Series::Linux6, Pace::STEADY, 1)
}

/// The four paths of [`four_paths`]: controller A through both HBAs, then controller B.
pub(crate) const A1: Hctl = hctl(1, 0);
pub(crate) const A2: Hctl = hctl(2, 0);
pub(crate) const B1: Hctl = hctl(1, 1);
pub(crate) const B2: Hctl = hctl(2, 1);

const fn hctl(host: u32, target: u32) -> Hctl {
    Hctl {
        host,
        channel: 0,
        target,
        lun: 0,
    }
}

/// An array with two controllers, A (port group 1, optimized) and B (port group 2), and a host with two HBAs: sda and
/// sdc lead to A, sdb and sdd to B.
pub(crate) fn four_paths() -> Kernel {
    let mut kernel = steady();
    add_unit(&mut kernel, 0, &[(1, AO), (2, ANO)]);
    kernel
}

/// A unit with two paths (one for each HBA) to each of its port groups, at this LUN.
pub(crate) fn add_unit(kernel: &mut Kernel, lun: u32, groups: &[(u16, AccessState)]) -> UnitId {
    cable_unit(kernel, lun, Unit::new(lun + 1, groups))
}

/// Adds a given unit in the same way.
pub(crate) fn cable_unit(kernel: &mut Kernel, lun: u32, unit: Unit) -> UnitId {
    cable_unit_by(kernel, lun, unit, Transport::Fc)
}

/// The same over another transport.
pub(crate) fn cable_unit_by(
    kernel: &mut Kernel,
    lun: u32,
    unit: Unit,
    transport: Transport,
) -> UnitId {
    let groups: Vec<u16> = unit.groups.keys().copied().collect();
    let unit = kernel.array.add(unit);
    for host in [1, 2] {
        for (target, group) in (0..).zip(&groups) {
            let port = group * 10 + host;
            let path = path(u32::from(host), target, u64::from(lun));
            kernel.cable(path, transport, unit, *group, port);
        }
    }
    unit
}

/// A map in one line: its table, and the letters of groups and paths as in `dmsetup status`.
pub(crate) fn line(map: &Map) -> String {
    let table = match &map.table {
        Ok(table) => emit(table).unwrap_or_else(|problem| format!("{problem:?}")),
        Err(why) => why.clone(),
    };
    let groups = letters(map);
    let paths: String = map
        .status
        .iter()
        .flat_map(|status| &status.groups)
        .map(|group| {
            let paths = group.paths.iter();
            let letters: String = paths.map(|p| if p.active { 'A' } else { 'F' }).collect();
            format!(" {letters}")
        })
        .collect();
    format!("{}: {table} | {groups}{paths}", map.name)
}

/// All maps of the host.
pub(crate) fn maps(sim: &Simulation) -> Vec<String> {
    let maps = sim.kernel.maps();
    maps.map(|(_, map)| line(&map.dm.observe())).collect()
}

/// The steps on maps that the agent asked for since this entry of its journal.
pub(crate) fn steps(sim: &Simulation, from: usize) -> Vec<String> {
    let entries = sim.journal.iter().skip(from);
    let actions = entries.flat_map(|entry| &entry.actions);
    actions
        .filter_map(|action| match action {
            Action::Map { steps, .. } => Some(steps.iter().filter_map(step)),
            _ => None,
        })
        .flatten()
        .collect()
}

fn step(step: &MapStep) -> Option<String> {
    let text = |table| emit(table).unwrap_or_else(|problem| format!("{problem:?}"));
    match step {
        MapStep::Create { table, .. } => Some(format!("create {}", text(table))),
        MapStep::Reload { table, .. } => Some(format!("reload {}", text(table))),
        MapStep::Resume => Some("resume".to_owned()),
        MapStep::Message(message) => Some(message.to_string()),
        MapStep::Remove => Some("remove".to_owned()),
        MapStep::Observe => None,
    }
}

/// The tables that the agent asked for since this entry of its journal.
pub(crate) fn tables(sim: &Simulation, from: usize) -> Vec<String> {
    let mut steps = steps(sim, from);
    steps.retain(|step| step.starts_with("create ") || step.starts_with("reload "));
    steps
}

/// A notice in one line.
pub(crate) fn notice(notice: &Notice) -> String {
    let details: Vec<String> = notice
        .details
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{} {} {}", notice.code, notice.subject, details.join(" "))
        .trim_end()
        .to_owned()
}

/// The notices of the agent since this entry of its journal, except those for steps on maps.
pub(crate) fn notices(sim: &Simulation, from: usize) -> Vec<String> {
    let entries = sim.journal.iter().skip(from);
    let actions = entries.flat_map(|entry| &entry.actions);
    actions
        .filter_map(|action| match action {
            Action::Notify(n) if n.code != "MAP_ACTION" => Some(notice(n)),
            _ => None,
        })
        .collect()
}

/// The marks that the current agent gave udev for a path's disk, in order.
pub(crate) fn marks(sim: &Simulation, path: Hctl) -> Vec<bool> {
    let dev = sim.kernel.disk(path).map(|disk| disk.dev());
    let actions = sim.journal.iter().flat_map(|entry| &entry.actions);
    actions
        .filter_map(|action| match action {
            Action::MarkOwner { dev: of, owned, .. } if Some(*of) == dev => Some(*owned),
            _ => None,
        })
        .collect()
}

/// The lines of `explain` for a subject.
pub(crate) fn explained(sim: &Simulation, subject: &str) -> String {
    let (name, sections) = sim.world.explain(subject).unwrap_or_default();
    let sections = sections
        .iter()
        .map(|(title, lines)| format!("{title}\n  {}", lines.join("\n  ")));
    std::iter::once(name)
        .chain(sections)
        .collect::<Vec<_>>()
        .join("\n")
}

/// An agent with default settings on a host, after the first ten seconds, with user I/O running.
pub(crate) fn running(kernel: Kernel) -> Simulation {
    running_with(kernel, Settings::default())
}

/// The same with other settings.
pub(crate) fn running_with(kernel: Kernel, settings: Settings) -> Simulation {
    let mut sim = Simulation::start(kernel, settings);
    sim.io_every = Some(Millis(100));
    sim.run_for(seconds(10));
    sim
}

/// Asserts that nothing happened that must never happen.
pub(crate) fn unharmed(sim: &Simulation) {
    let ledger = &sim.kernel.ledger;
    assert_eq!(ledger.violations, Vec::<String>::new());
    assert_eq!(ledger.wrong_writes, vec![]);
    assert_eq!(ledger.io_errors, vec![]);
}

/// A configuration with this many cases, unless `PROPTEST_CASES` is set. The cases are always the same, so that a
/// commit passes or fails alike everywhere, unless `PROPTEST_RNG_SEED` is set. With both, a failure can be reproduced,
/// so none is stored.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let given = |variable| std::env::var_os(variable).is_some();
    ProptestConfig {
        cases: if given("PROPTEST_CASES") {
            default.cases
        } else {
            cases
        },
        rng_seed: if given("PROPTEST_RNG_SEED") {
            default.rng_seed
        } else {
            RngSeed::Fixed(20_261_120)
        },
        failure_persistence: None,
        max_shrink_iters: 500,
        ..default
    }
}

/// A designator of the logical unit, of the same kind as the one that it has.
pub(crate) fn naa(number: u8) -> Designator {
    let mut bytes = vec![0x60; 16];
    bytes[15] = number;
    Designator {
        protocol_identifier: None,
        code_set: CodeSet::Binary,
        association: Association::LogicalUnit,
        designator_type: DesignatorType::Naa,
        bytes,
    }
}
