//! What a host should look like when the faults have stopped, derived from the cables and the array alone.

use super::script::{Run, unit_of};
use dm_psa::psa::table::model::GroupState;
use dm_psa::psa::units::{DevT, Hctl};
use dm_psa::scsi::inquiry::Tpgs;
use dm_psa::scsi::tpgs::AccessState;
use dm_psa::sim::array::UnitId;
use dm_psa::sim::kernel::{Disk, Kernel, Link};
use std::collections::BTreeMap;

/// What follows for a path from its cable and the array alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Serves; the lower the number, the better.
    Serves(u8),
    /// Standby, and only the array can change that.
    Waits,
    Dead,
    /// Its state is not known: it hangs, changes its state, or passes checks but fails I/O.
    Unknown,
}

pub(crate) fn fate(kernel: &Kernel, path: Hctl, disk: &Disk) -> Fate {
    match disk.link() {
        Link::Hung => return Fate::Unknown,
        Link::Down => return Fate::Dead,
        Link::Up if disk.is_sick() => return Fate::Unknown,
        Link::Up => {}
    }
    let explicit = kernel
        .array
        .unit_at(path)
        .is_some_and(|unit| unit.tpgs.explicit());
    match kernel.array.access(path) {
        Some(AccessState::ActiveOptimized) => Fate::Serves(0),
        Some(AccessState::ActiveNonOptimized | AccessState::LogicalBlockDependent) => {
            Fate::Serves(1)
        }
        Some(AccessState::Standby) if explicit => Fate::Serves(2),
        Some(AccessState::Standby) => Fate::Waits,
        Some(AccessState::Transitioning) => Fate::Unknown,
        _ => Fate::Dead,
    }
}

/// Returns everything that is wrong with the maps, now that everything is at rest.
pub(crate) fn oracle(run: &mut Run, san_units: &[bool]) -> Vec<String> {
    let mut wrong = Vec::new();
    let kernel = &run.sim.kernel;
    let mut holders: BTreeMap<DevT, Vec<String>> = BTreeMap::new();
    for (name, map) in kernel.maps() {
        let observed = map.dm.observe();
        let Ok(table) = &observed.table else { continue };
        for path in table.paths() {
            holders.entry(path.dev).or_default().push(name.clone());
        }
    }
    for (dev, names) in &holders {
        if names.len() > 1 {
            wrong.push(format!("{dev} is in the tables of {names:?}"));
        }
        let disk = kernel.path_of(*dev).and_then(|path| kernel.disk(path));
        if disk.is_some_and(|disk| !disk.usage().is_empty()) {
            wrong.push(format!("{dev} is in use and in the table of {names:?}"));
        }
    }
    let mut names = Vec::new();
    for unit in 0..run.units as UnitId {
        names.extend(of_unit(run, unit, san_units[unit as usize], &mut wrong));
    }
    // I/O uses one of the best paths.
    let now = run.sim.now();
    for (name, best) in names {
        let Some(best) = best else { continue };
        // An activation may make them better than they were when the group was chosen.
        let before: BTreeMap<Hctl, Fate> = run
            .sim
            .kernel
            .disks()
            .map(|(path, disk)| (*path, fate(&run.sim.kernel, *path, disk)))
            .collect();
        run.sim.kernel.io(now, &name);
        let map = run.sim.kernel.map(&name).unwrap();
        let status = map.status.unwrap();
        let group = status
            .groups
            .iter()
            .find(|g| g.state == GroupState::Active)
            .or_else(|| status.groups.get(status.group_now as usize - 1))
            .unwrap();
        for path in group.paths.iter().filter(|path| path.active) {
            let Some(id) = run.sim.kernel.path_of(path.dev) else {
                continue;
            };
            let fate = before[&id];
            if !run.tainted.contains(&id) && fate != best && !matches!(fate, Fate::Unknown) {
                wrong.push(format!(
                    "{name}: I/O goes to {id}, which is {fate:?}, while others are {best:?}"
                ));
            }
        }
    }
    wrong
}

/// Whether two LUNs of one port lead to one unit: one of them is used; which one depends on the order of events.
pub(crate) fn is_repeated(kernel: &Kernel, unit: UnitId) -> bool {
    let port = |path: Hctl| (path.host, path.channel, path.target);
    let own = |path: Hctl| unit_of(kernel, path) == Some(unit);
    kernel.disks().any(|(path, _)| {
        let mut others = kernel.disks().map(|(other, _)| *other);
        own(*path) && others.any(|other| other != *path && port(other) == port(*path) && own(other))
    })
}

pub(crate) fn of_unit(
    run: &Run,
    unit: UnitId,
    is_san: bool,
    wrong: &mut Vec<String>,
) -> Option<(String, Option<Fate>)> {
    let kernel = &run.sim.kernel;
    let members: Vec<(Hctl, &Disk, Fate)> = kernel
        .disks()
        .filter(|(path, _)| unit_of(kernel, **path) == Some(unit) && !run.tainted.contains(*path))
        .map(|(path, disk)| (*path, disk, fate(kernel, *path, disk)))
        .collect();
    let used = kernel.disks().any(|(path, disk)| {
        !disk.usage().is_empty()
            && (unit_of(kernel, *path) == Some(unit) || run.tainted.contains(path))
    });
    let masked = kernel
        .array
        .unit(unit)
        .is_some_and(|unit| unit.vendor == "DELL");
    let Some(name) = kernel.map_of(unit) else {
        let ready = |(path, disk, fate): &&(Hctl, &Disk, Fate)| {
            matches!(fate, Fate::Serves(_) | Fate::Waits)
                && disk.usage().is_empty()
                && !run.tainted.contains(path)
        };
        // A local disk with one path gets no map; a disk that never answered is not known.
        let local = !is_san && members.iter().filter(ready).count() < 2;
        if let Some((path, ..)) = members.iter().find(ready)
            && !used
            && !local
            && !masked
            && !is_repeated(kernel, unit)
        {
            wrong.push(format!("unit {unit} has no map although {path} serves it"));
        }
        return None;
    };
    let map = kernel.map(&name).unwrap();
    if masked {
        if !doubtful_about(run) {
            wrong.push(format!("{name} is the map of a masked unit"));
        }
        return None;
    }
    let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
        let hopeless = used
            || !members
                .iter()
                .any(|(_, _, fate)| matches!(fate, Fate::Serves(_)));
        if !hopeless {
            wrong.push(format!("{name} has no table"));
        }
        return None;
    };
    if map.suspended {
        wrong.push(format!("{name} is suspended"));
    }
    let active: BTreeMap<DevT, bool> = status
        .groups
        .iter()
        .flat_map(|g| &g.paths)
        .map(|p| (p.dev, p.active))
        .collect();
    let free = |(_, disk, _): &&(Hctl, &Disk, Fate)| disk.usage().is_empty();
    let serving: Vec<_> = members
        .iter()
        .filter(free)
        .filter(|(_, _, f)| matches!(f, Fate::Serves(_)))
        .collect();
    let sure = serving.iter().map(|(_, _, fate)| *fate).min();
    let repeated = is_repeated(kernel, unit);
    for (path, disk, fate) in members.iter().filter(free).filter(|_| !repeated) {
        let is = active.get(&disk.dev());
        let bad = match fate {
            // Nobody has the map open, so the array is not asked to move the unit.
            Fate::Serves(2) if sure == Some(*fate) && map.open_count == 0 => is.is_none(),
            Fate::Serves(_) => is != Some(&true),
            // If nothing serves, it is not known when they will join.
            Fate::Waits => is.is_none(),
            Fate::Dead => is == Some(&true),
            Fate::Unknown => disk.link() == Link::Hung && is == Some(&true) && sure.is_some(),
        };
        if bad {
            wrong.push(format!(
                "{name}: {path} ({}) is {fate:?} and {is:?}",
                disk.dev()
            ));
        }
    }
    // The table has no other paths, as soon as anything is known.
    for dev in active.keys() {
        let member = kernel.path_of(*dev);
        let fine = member
            .is_some_and(|path| unit_of(kernel, path) == Some(unit) || run.tainted.contains(&path));
        if !fine && sure.is_some() {
            wrong.push(format!("{name}: {dev} does not belong to its table"));
        }
        if let Some(path) = member
            && unit_of(kernel, path) != Some(unit)
            && kernel
                .disk(path)
                .is_some_and(|disk| disk.link() == Link::Up)
            && active[dev]
        {
            wrong.push(format!("{name}: {path} leads elsewhere and is in use"));
        }
    }
    // Paths of one class share a group; others are in separate groups.
    let group_of = |dev: DevT| {
        table
            .groups
            .iter()
            .position(|g| g.paths.iter().any(|p| p.dev == dev))
    };
    // The first path chooses the SATP, and it may have led to another unit when it was asked.
    let doubtful = doubtful_about(run);
    let alua = !doubtful
        && kernel
            .array
            .unit(unit)
            .is_some_and(|unit| unit.tpgs != Tpgs::None);
    for (a, disk_a, fate_a) in serving.iter().filter(|_| alua && !repeated) {
        for (b, disk_b, fate_b) in &serving {
            let together = group_of(disk_a.dev()) == group_of(disk_b.dev());
            if (fate_a == fate_b) != together {
                wrong.push(format!(
                    "{name}: {a} is {fate_a:?}, {b} is {fate_b:?}, together: {together}"
                ));
            }
        }
    }
    let queues = table.features.queue_if_no_path;
    let hopeful = members.iter().any(|(_, _, fate)| *fate != Fate::Dead);
    if sure.is_some() && !queues && !repeated {
        wrong.push(format!("{name} does not queue"));
    }
    if !members.is_empty() && !hopeful && queues && !doubtful {
        wrong.push(format!("{name} still queues although all paths are down"));
    }
    Some((name, sure))
}

/// Whether any path was led to another unit: the INQUIRY data may be those of the unit before.
fn doubtful_about(run: &Run) -> bool {
    !run.tainted.is_empty()
}
