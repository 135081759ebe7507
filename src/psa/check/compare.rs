//! Compares the paths of a device with each other, and has them asked where they differ. [`super::disks`] decides which
//! of them is the odd one.

use crate::psa::check::disks::is_unit;
use crate::psa::check::{ask, disks, judge, reread};
use crate::psa::codes;
use crate::psa::event::Reply;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::units::{Hctl, Sectors};
use crate::scsi::capacity::Capacity;
use crate::scsi::mode;
use std::collections::BTreeSet;

/// The size or the write protection of a path's disk changed: judges all paths to its unit again.
pub(in crate::psa) fn compare_disks(world: &mut World, id: Hctl) {
    // The kernel read the disk, perhaps because of an admin's rescan, and found what the path has not reported to the
    // agent yet. The path is asked, because otherwise it would go unnoticed when it becomes writable again. Depending
    // on its answer the others are asked too.
    if world.paths.get(&id).and_then(|path| path.is_read_only()) == Some(true) {
        ask_for_writes(world, id, true);
    }
    for member in world.members_with(id) {
        judge::judge(world, member);
    }
}

/// A path reported whether it is write-protected. An array that changes this for one port does not announce it, and the
/// kernel returns an error to the writer although another path would accept the write. So the kernel has to read the
/// disk again if it has another value.
pub(in crate::psa) fn write_protection_is(world: &mut World, id: Hctl, data: &[u8]) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let Ok(write_protected) = mode::is_write_protected(data) else {
        return;
    };
    let before = path.fit.set_write_protected(write_protected);
    let news = before != Some(write_protected);
    // If writes would fail, the kernel is made to read again until it has the right value. In the other direction once
    // is enough: a read-only state that an admin set with `blockdev` does not change when the kernel reads the disk
    // again.
    if path.is_read_only() == Some(!write_protected) && (write_protected || news) {
        reread::reread(world, id);
    }
    if news && before.is_some() {
        ask_others_for_writes(world, id, write_protected);
    }
}

/// What an array changed for one port, it may have changed for others too.
fn ask_others_for_writes(world: &mut World, id: Hctl, write_protected: bool) {
    for member in world.members_with(id) {
        ask_for_writes(world, member, write_protected);
    }
}

/// Asks a path immediately whether it is write-protected, if its last report contradicts what was learned elsewhere.
fn ask_for_writes(world: &mut World, id: Hctl, write_protected: bool) {
    if let Some(path) = world.paths.get_mut(&id)
        && path.fit.write_protected() == Some(!write_protected)
    {
        path.proof.owe();
        ask::examine_now(world, id);
    }
}

/// Processes the answer to READ CAPACITY.
pub(in crate::psa) fn capacity_is(world: &mut World, id: Hctl, reply: &Reply, good: bool) {
    let now = world.now;
    let uneven = world
        .paths
        .get(&id)
        .and_then(|path| world.device_of(path))
        .is_some_and(|device| disks::is_uneven(world, device));
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let capacity = Capacity::parse(&reply.data).ok().filter(|_| good);
    let Some(size) = capacity.and_then(Capacity::sectors_of_512).map(Sectors) else {
        if uneven {
            path.exams.owe_reread();
        }
        return;
    };
    let changed = path.measured(size, now);
    if path.kernel_size() != Some(size) {
        path.exams.owe_reread();
    }
    if changed {
        for member in world.members_with(id) {
            judge::judge(world, member);
        }
    }
}

/// Compares the paths of a device with each other, and asks them where they differ.
pub(in crate::psa) fn compare_paths(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let model = disks::common_model(world, device);
    let renamed = model.is_some();
    let repeated = disks::repeated(world, device);
    let again = repeated != device.repeated();
    let uneven = disks::is_uneven(world, device);
    let odd = |path: &Path| path.fit.repeats() || path.fit.mismatch().is_some();
    let odd = world.paths_of(device).any(odd);
    if !(renamed || again || uneven || odd || repeated.is_some()) {
        return;
    }
    let id = device.id().to_owned();
    let members: Vec<Hctl> = device.paths().iter().copied().collect();
    if let Some(device) = world.devices.get_mut(wwid) {
        device.set_repeated(repeated);
        if let Some(model) = model {
            device.set_model(model);
        }
    }
    if let Some((first, second)) = repeated.filter(|_| again) {
        let (first, second) = (first.to_string(), second.to_string());
        let effect = "only the paths of one LUN are used: those in the table of its map, or those of the lower LUN";
        let details = [("first", &*first), ("second", &*second), ("effect", effect)];
        world.notify(codes::IDENTITY_REPEATED, id, &details);
    }
    stand_aside(world, wwid, &members);
    if uneven {
        measure(world, wwid, &members);
    }
    for member in &members {
        judge::judge(world, *member);
    }
}

/// Asks each path for its size, unless it was asked since one of the sizes last changed.
fn measure(world: &mut World, wwid: &Wwid, members: &[Hctl]) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let changed = disks::changed_at(world, device);
    for id in members {
        let Some(path) = world.paths.get_mut(id) else {
            continue;
        };
        let asked = path.fit.is_measured(changed) || path.exams.is_measuring();
        if path.proof.may_carry_io() && !asked {
            path.exams.ask_capacity();
            ask::examine_now(world, *id);
        }
    }
}

/// Marks the paths whose LUN reports the same identity as another LUN.
fn stand_aside(world: &mut World, wwid: &Wwid, members: &[Hctl]) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let mapped = disks::is_mapped(world, wwid);
    let held: BTreeSet<u64> = world
        .paths_of(device)
        .filter(|path| world.is_held(path))
        .map(|path| path.facts().hctl.lun)
        .collect();
    let says = |path: &&Path| is_unit(path) && disks::other_model(world, path, device).is_none();
    let units = world.paths_of(device).filter(says);
    let least = units.map(|path| path.facts().hctl.lun).min();
    let repeated = device.repeated().is_some();
    for id in members {
        let Some(path) = world.paths.get_mut(id) else {
            continue;
        };
        let first = if held.is_empty() {
            least == Some(id.lun)
        } else {
            held.contains(&id.lun)
        };
        let stays = path.fit.repeats() && mapped && !held.contains(&id.lun);
        path.fit.set_repeats(stays || (repeated && !first));
    }
}
