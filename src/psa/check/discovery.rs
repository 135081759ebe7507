//! From a path that was discovered to a path with a known logical unit, owner and device.

use crate::psa::action::Action;
use crate::psa::check::{ask, compare};
use crate::psa::claiming::{mask_path, run};
use crate::psa::codes;
use crate::psa::facts::PathFacts;
use crate::psa::identity::LogicalUnit;
use crate::psa::names::{DeviceId, Wwid};
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::state::proof::Answer;
use crate::psa::state::schedule::Key;
use crate::psa::units::Hctl;
use std::collections::BTreeSet;

/// Peripheral device type 00h: direct access block device. No other type is multipathed.
const DIRECT_ACCESS: u8 = 0;

/// A path was seen: new, returned with another disk, or with changed facts.
pub(in crate::psa) fn path_seen(world: &mut World, facts: PathFacts) {
    let id = facts.hctl;
    let dev = facts.block.as_ref().map(|block| block.dev);
    let known = world
        .paths
        .get(&id)
        .map(|path| (path.dev(), *path.facts() == facts));
    match known {
        // The disk was removed and returned under the same address without this being noticed: it is another path.
        Some((Some(before), _)) if dev.is_some_and(|dev| dev != before) => {
            path_gone(world, id);
            path_new(world, facts);
        }
        Some((_, true)) => {}
        Some((before, false)) => {
            let mut other_disk = false;
            if let Some(path) = world.paths.get_mut(&id) {
                let shape = |path: &Path| (path.kernel_size(), path.is_read_only());
                let before = shape(path);
                path.set_facts(facts, world.now);
                other_disk = shape(path) != before;
                world.index.path(path);
            }
            if before.is_none() {
                disk_bound(world, id);
            }
            world.mark_dirty(id);
            if other_disk {
                compare::compare_disks(world, id);
            }
            if world.unidentified.contains(&id) {
                world.schedule.set(Key::Path(id), world.now);
            }
        }
        None => path_new(world, facts),
    }
}

fn path_new(world: &mut World, facts: PathFacts) {
    let id = facts.hctl;
    let (name, learned) = world.runtime_name(&facts);
    if learned {
        world.remember();
    }
    let is_disk = facts.device_type == DIRECT_ACCESS;
    let path = Path::new(facts, name, world.now);
    mask_path::returned(world, &path);
    world.index.path(&path);
    world.paths.insert(id, Box::new(path));
    if is_disk {
        world.unidentified.insert(id);
        disk_bound(world, id);
        world.schedule.set(Key::Path(id), world.now);
    }
}

/// The disk of a path is known. It may be in the table of a map that existed before this agent.
fn disk_bound(world: &mut World, id: Hctl) {
    let path = world.paths.get(&id);
    let path = path.filter(|path| path.facts().device_type == DIRECT_ACCESS);
    let Some(dev) = path.and_then(Path::dev) else {
        return;
    };
    world.disks.insert(dev, id);
    world.lookups.bound(dev);
    if let Some(wwid) = world.index.holder(dev).cloned() {
        found_in_map(world, id, &wwid, true);
        run::leave_unmasked(world, id, &wwid);
    }
}

/// The disk of the path turns out to be in the table of this device's map: the path belongs to the device unless a proof
/// says otherwise. Disks, maps and answers become known in any order. So the path may have been identified before, by
/// the best of its names, which need not be that of the map.
///
/// If the map may have existed before the path was identified, a path that does not list its name leads to another unit now.
/// If the map was made later, its maker named it so: then the path stays where it is, and the map is foreign (`membership`).
pub(in crate::psa) fn found_in_map(world: &mut World, id: Hctl, wwid: &Wwid, existed: bool) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    if path.device.as_ref() == Some(wwid) {
        return;
    }
    // The disk is in two tables: `membership` leaves the other map as it is.
    let own = path.device.as_ref().and_then(|own| world.map_of(own));
    let tables = own.and_then(|map| map.table.as_ref().ok());
    let is_in_own =
        tables.is_some_and(|table| table.paths().any(|held| Some(held.dev) == path.dev()));
    let is_listed = path.proof.names().iter().any(|(_, name)| name == wwid);
    let was_identified = path.proof.unit().is_some();
    if is_in_own || (!existed && was_identified && !is_listed) {
        return;
    }
    let device_id = world.assumed_id(wwid);
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let was_unknown = path.proof.assume(wwid);
    if !was_unknown {
        path.proof.reassign(wwid);
    }
    join(world, id, wwid, &device_id, None);
    if !was_unknown {
        ask::examine_now(world, id);
    }
}

/// A path was removed.
pub(in crate::psa) fn path_gone(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.remove(&id) else {
        return;
    };
    world.index.path_gone(id);
    world.retried.remove(&id);
    world.schedule.cancel(&Key::Path(id));
    world.unidentified.remove(&id);
    if let Some(dev) = path.dev() {
        if world.disks.get(&dev) == Some(&id) {
            world.disks.remove(&dev);
            if world.index.holder(dev).is_some() {
                world.lookups.removed(dev);
            }
        }
        world.actions.push(Action::ForgetOwner(dev));
    }
    let device = path
        .device
        .as_ref()
        .and_then(|wwid| world.devices.get(wwid));
    let device_id = device.map(|device| device.id().to_owned());
    leave(world, id, path.device.as_ref());
    if path.is_masked() && path.requested.removed_at().is_some() {
        let name = path.name().to_string();
        mask_path::withdrawn(world, &path);
        let effect = "its SCSI device was removed from the host";
        return world.notify(codes::PATH_WITHDRAWN, name, &[("effect", effect)]);
    }
    if let Some(device_id) = device_id {
        world.notify(
            codes::PATH_REMOVED,
            path.name().to_string(),
            &[("device", device_id.as_str()), ("hctl", &id.to_string())],
        );
    }
}

fn leave(world: &mut World, id: Hctl, wwid: Option<&Wwid>) {
    let Some(device) = wwid.and_then(|wwid| world.devices.get_mut(wwid)) else {
        return;
    };
    device.leave(id, world.now);
    world.dirty.insert(device.wwid().to_owned());
}

/// A full enumeration ended.
pub(in crate::psa) fn paths_listed(world: &mut World, present: &BTreeSet<Hctl>) {
    let gone: Vec<Hctl> = world
        .paths
        .keys()
        .filter(|id| !present.contains(id))
        .copied()
        .collect();
    for id in gone {
        path_gone(world, id);
    }
    world.paths_listed = true;
}

/// The path must not be asked for its identity; it is named by its address.
pub(in crate::psa) fn is_named_by_address(world: &mut World, id: Hctl, why: &str) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    if let Answer::Nameless { news: true, .. } = path.proof.nameless(why.to_owned()) {
        is_nameless(world, id, why);
    }
}

/// The logical unit does not name itself: it is listed, but never gets a map.
pub(in crate::psa) fn is_nameless(world: &mut World, id: Hctl, why: &str) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let device_id = DeviceId::from(format!("mpx.{}", path.name()));
    // There is no WWID, but a device needs a key.
    let wwid = Wwid::from(device_id.as_str());
    world.unidentified.remove(&id);
    join(world, id, &wwid, &device_id, None);
    let details = [("reason", why)];
    world.notify(codes::DEVICE_NAMELESS, device_id, &details);
}

/// Adds the path to this device.
pub(in crate::psa) fn join(
    world: &mut World,
    id: Hctl,
    wwid: &Wwid,
    device_id: &DeviceId,
    unit: Option<LogicalUnit>,
) {
    let now = world.now;
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let before = path.device.replace(wwid.to_owned());
    if before.as_ref() != Some(wwid) {
        leave(world, id, before.as_ref());
    }
    let device = world
        .devices
        .get_or_insert_with(wwid.to_owned(), || Device::new(wwid, device_id, now));
    device.join(id, now);
    if let Some(unit) = unit {
        device.prove(unit);
        // Its map may have been there before the proof.
        if world.memory.devices.contains(wwid) {
            world.remember_device(wwid);
        }
    }
    world.dirty.insert(wwid.to_owned());
    // A rule that names a device could not match before the device was known.
    if before.as_ref() != Some(wwid) && world.rules.claim.asks_for_device() {
        run::claim_found(world, id);
    }
}
