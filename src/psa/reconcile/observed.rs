//! Takes in what the kernel has: maps as they are observed, and actions on them as they end.

use crate::psa::action::Action;
use crate::psa::check::{ask, discovery, judge};
use crate::psa::claiming::run;
use crate::psa::codes;
use crate::psa::event::{DmStep, MapError};
use crate::psa::evidence::PathState;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::work::{FailedStep, Order};
use crate::psa::table::model::{Map, PathStatus, UUID_PREFIX};
use crate::psa::units::{DevT, Hctl};
use std::collections::{BTreeMap, BTreeSet};

/// A map was found or changed.
pub(in crate::psa) fn map_seen(world: &mut World, map: Map) {
    if let Some(wwid) = map.uuid.strip_prefix(UUID_PREFIX).map(Wwid::from) {
        let device = world.devices.get(&wwid);
        // While an action is in progress, its effect on paths may already be visible.
        let failed = device.map_or_else(BTreeSet::new, |device| device.work.order().failed.clone());
        let order = Order {
            failed,
            ..Order::default()
        };
        take_in(world, &wwid, map, &order);
    }
}

/// A map was removed.
pub(in crate::psa) fn map_gone(world: &mut World, name: &str) {
    let Some(map) = world.maps.get(name) else {
        return;
    };
    let wwid = Wwid::from(map.uuid.strip_prefix(UUID_PREFIX).unwrap_or_default());
    if world
        .devices
        .get(&wwid)
        .is_some_and(|device| device.work.in_flight().is_some())
    {
        return; // MapDone will say what there is.
    }
    forget_map(world, &wwid, name);
    world.notify(
        codes::MAP_GONE,
        name,
        &[("uuid", &format!("{UUID_PREFIX}{wwid}"))],
    );
}

/// A full listing of the maps ended.
pub(in crate::psa) fn maps_listed(world: &mut World, present: &BTreeSet<String>) {
    let gone: Vec<String> = world
        .maps
        .keys()
        .filter(|name| !present.contains(*name))
        .cloned()
        .collect();
    for name in gone {
        map_gone(world, &name);
    }
    world.maps_listed = true;
}

/// The steps on a map ended.
pub(in crate::psa) fn map_done(
    world: &mut World,
    name: &str,
    ticket: u64,
    result: Result<(), MapError>,
    observed: Option<Map>,
) {
    let Some(wwid) = world.index.tickets.remove(&ticket) else {
        return;
    };
    let now = world.now;
    let mut problem = None;
    let mut order = Order::default();
    if let Some(device) = world.devices.get_mut(&wwid) {
        match &result {
            Ok(()) => order = device.work.succeeded(now),
            Err(error) => {
                device.is_name_taken |=
                    error.step == DmStep::Create && error.errno == Some(MapError::EXISTS);
                let step = match error.step {
                    DmStep::Message(_) => FailedStep::Message,
                    // The resume after a table load is part of the load.
                    DmStep::Resume if device.work.order().resumes => FailedStep::Resume,
                    _ => FailedStep::Other,
                };
                let pause;
                (order, pause) = device.work.failed(error.to_string(), step, now);
                world.counters.map_failures = world.counters.map_failures.saturating_add(1);
                problem = Some((error.to_string(), pause));
            }
        }
    }
    if problem.is_some() {
        // Another program may be using one of the disks; the facts will show that.
        let members = world
            .devices
            .get(&wwid)
            .map(|device| device.paths().clone())
            .unwrap_or_default();
        world
            .actions
            .extend(members.into_iter().map(Action::RefreshFacts));
    }
    if let Some((text, pause)) = problem {
        let retry = format!("{} ms", pause.0);
        world.notify(
            codes::MAP_ACTION_FAILED,
            name,
            &[("reason", &text), ("retry_in", &retry)],
        );
    }
    match observed {
        // What has the name is not the map: the agent knows its maps by their UUIDs. A map that could not be read has
        // neither number nor UUID, and is not gone.
        Some(other) if other.dev.major != 0 && other.uuid != format!("{UUID_PREFIX}{wwid}") => {
            if world.map_names.get(&wwid).is_some_and(|own| own == name) {
                forget_map(world, &wwid, name);
            }
            world.dirty.insert(wwid);
        }
        Some(map) => {
            if result.is_err() {
                // How many of the steps were done is not known.
                order.activated.clear();
            }
            // Of a map that could not be read everything else is as far as it is known: it keeps its disks and its users.
            let map = match world.map_of(&wwid) {
                Some(known) if map.dev.major == 0 => Map {
                    status: map.status,
                    ..known.clone()
                },
                _ => map,
            };
            take_in(world, &wwid, map, &order);
        }
        None => forget_map(world, &wwid, name),
    }
}

fn forget_map(world: &mut World, wwid: &Wwid, name: &str) {
    world.drop_map(name);
    world.forget_lookups();
    if world.map_names.get(wwid).is_some_and(|n| n == name) {
        world.map_names.remove(wwid);
    }
    // The map that was about to be changed is gone.
    if let Some(device) = world.devices.get_mut(wwid) {
        device.work.settled();
    }
    world.dirty.insert(wwid.to_owned());
}

/// Records the observed state of a map. `order` is what the agent did to its paths since the last observation.
fn take_in(world: &mut World, wwid: &Wwid, map: Map, order: &Order) {
    let first = !world.maps.contains_key(&map.name);
    let before = paths_of(world.map_of(wwid)).into_iter();
    let before = before.map(|(dev, path)| (dev, path.active)).collect();
    let (name, now) = (map.name.clone(), world.now);
    // The name belonged to another map, which was renamed or removed; that map's own event follows.
    if let Some(other) = world
        .maps
        .get(&name)
        .and_then(|other| other.uuid.strip_prefix(UUID_PREFIX))
        && other != wwid.as_str()
    {
        let other = Wwid::from(other);
        forget_map(world, &other, &name);
    }
    // Renamed by another program: the UUID is what counts.
    if let Some(old) = world.map_names.insert(wwid.to_owned(), name.clone())
        && old != name
    {
        world.drop_map(&old);
        world.remember_device(wwid);
    }
    let after = paths_of(Some(&map));
    let id = world.assumed_id(wwid);
    let device = world
        .devices
        .get_or_insert_with(wwid.to_owned(), || Device::new(wwid, &id, now));
    device.statistics.carried_by(&map);
    let before = device.work.observed(before, map.status.is_ok());
    world.keep_map(map);
    world.forget_lookups();
    let (mut failed, mut failed_by_us, mut back) = (Vec::new(), Vec::new(), Vec::new());
    for (dev, status) in &after {
        let Some(id) = world.disks.get(dev).copied() else {
            continue;
        };
        discovery::found_in_map(world, id, wwid, !world.maps_listed);
        if first {
            run::leave_unmasked(world, id, wwid);
        }
        // The kernel's failure counts restart at 0 with each table, so they say nothing.
        let before = before.get(dev).copied();
        let was_active = before == Some(true);
        match status.active {
            true if before == Some(false) => back.push(id),
            false if was_active && order.failed.contains(dev) => failed_by_us.push(id),
            false if was_active || order.activated.contains(dev) => failed.push(id),
            _ => {}
        }
    }
    for id in back {
        if let Some(path) = world.paths.get_mut(&id) {
            path.statistics.reinstated();
        }
    }
    for id in failed_by_us {
        if let Some(path) = world.paths.get_mut(&id) {
            path.statistics.failed(false);
        }
    }
    for id in failed {
        failed_by_kernel(world, id);
    }
    world.dirty.insert(wwid.to_owned());
}

/// The kernel failed a path because I/O on it failed: what was known about the path is out of date.
fn failed_by_kernel(world: &mut World, id: Hctl) {
    let now = world.now;
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let ours = matches!(
        path.state(),
        PathState::Dead | PathState::Off | PathState::Masked
    );
    path.statistics.failed(!ours);
    if ours {
        return; // The agent failed it itself, or would have.
    }
    path.failed_by_kernel(now);
    let name = path.name().to_string();
    let device = path
        .device
        .as_ref()
        .and_then(|wwid| world.devices.get(wwid));
    let device = device
        .map(|device| device.id().to_string())
        .unwrap_or_default();
    world.notify(codes::PATH_FAILED_BY_KERNEL, name, &[("device", &device)]);
    judge::judge(world, id);
    ask::examine_now(world, id);
}

/// The status of every path of a map.
fn paths_of(map: Option<&Map>) -> BTreeMap<DevT, PathStatus> {
    map.and_then(|map| map.status.as_ref().ok())
        .iter()
        .flat_map(|status| &status.groups)
        .flat_map(|group| &group.paths)
        .map(|path| (path.dev, path.clone()))
        .collect()
}
