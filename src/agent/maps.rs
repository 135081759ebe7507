//! The reply of `ListMaps`: the maps of the kernel and all paths, for tools that know dm-multipath and not ESXi.

use crate::api::requests::Maps;
use crate::api::types::{MultipathGroup, MultipathMap, MultipathPath};
use crate::psa::facts::PathFacts;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::outages::Apd;
use crate::psa::state::path::Path;
use crate::psa::table::emit;
use crate::psa::table::model::{GroupState, Map};
use crate::psa::units::{DevT, Millis};
use std::collections::BTreeMap;

/// Where a disk is in the tables of maps.
struct Seat<'a> {
    map: &'a str,
    group: u32,
    in_use: Option<bool>,
}

/// Describes all maps and paths. `now` is the time of the agent.
pub(super) fn maps(world: &World, now: Millis) -> Maps {
    let mut seats: BTreeMap<DevT, Seat> = BTreeMap::new();
    let mut maps = Vec::new();
    for device in world.devices() {
        let Some(map) = world.map_of(device.wwid()) else {
            continue;
        };
        seats.extend(seats_of(map));
        maps.push(map_of(world, device, map, now));
    }
    maps.sort_by(|a, b| a.name.cmp(&b.name));
    let mut paths: Vec<MultipathPath> = Vec::new();
    for (_, path) in world.paths() {
        let seat = path.dev().and_then(|dev| seats.remove(&dev));
        paths.push(path_of(world, path, seat.as_ref(), now));
    }
    // What is left is in a table, and is not a path of this host: a disk of another kind, or one that was removed.
    paths.extend(seats.iter().map(|(dev, seat)| MultipathPath {
        device_number: Some(dev.to_string()),
        map: Some(seat.map.to_owned()),
        group: Some(seat.group),
        in_use: seat.in_use,
        ..MultipathPath::default()
    }));
    Maps { maps, paths }
}

fn seats_of(map: &Map) -> impl Iterator<Item = (DevT, Seat<'_>)> {
    let groups = map.table.iter().flat_map(|table| (1..).zip(&table.groups));
    groups.flat_map(move |(number, group)| {
        group.paths.iter().map(move |path| {
            let seat = Seat {
                map: &map.name,
                group: number,
                in_use: in_use(map, path.dev),
            };
            (path.dev, seat)
        })
    })
}

fn in_use(map: &Map, dev: DevT) -> Option<bool> {
    let groups = map.status.iter().flat_map(|status| &status.groups);
    let mut paths = groups.flat_map(|group| &group.paths);
    paths.find(|path| path.dev == dev).map(|path| path.active)
}

fn map_of(world: &World, device: &Device, map: &Map, now: Millis) -> MultipathMap {
    let table = map.table.as_ref().ok();
    let (queueing, _) = device.statistics().spans(device.apd(), now);
    MultipathMap {
        name: map.name.clone(),
        wwid: device.wwid().to_string(),
        device: device.id().to_string(),
        kernel_name: format!("dm-{}", map.dev.minor),
        sectors: table.map_or(0, |table| table.length.0),
        read_only: map.read_only,
        suspended: map.suspended,
        users: map.open_count,
        features: table.map_or_else(String::new, emit::features),
        handler: table.map_or_else(String::new, emit::handler),
        queues: table.is_some_and(|table| table.features.queue_if_no_path),
        queues_for: match device.apd() {
            Apd::Waiting { deadline, .. } => Some(deadline.since(now).0.div_ceil(1000)),
            Apd::No | Apd::TimedOut { .. } | Apd::Lost { .. } => None,
        },
        foreign: match device.disposition() {
            Disposition::Foreign(what) => Some(what.clone()),
            Disposition::Stacked => None,
            Disposition::Off | Disposition::LeftAlone(_) | Disposition::Undecided(_) => {
                Some(world.device_status(device).to_owned())
            }
        },
        groups: groups_of(map),
        tables_loaded: device.statistics().tables_loaded,
        group_switches: device.statistics().group_switches,
        outages: device.statistics().apd_entries,
        timeouts: device.statistics().apd_timeouts,
        queued_seconds: queueing.0 / 1000,
    }
}

fn groups_of(map: &Map) -> Vec<MultipathGroup> {
    let groups = map.table.iter().flat_map(|table| &table.groups);
    let states = map.status.iter().flat_map(|status| &status.groups);
    let mut states = states.map(|group| match group.state {
        GroupState::Active => "active",
        GroupState::Enabled => "enabled",
        GroupState::Disabled => "disabled",
    });
    groups
        .map(|group| MultipathGroup {
            selector: emit::selector(&group.selector),
            state: states.next().unwrap_or("undef").to_owned(),
        })
        .collect()
}

fn path_of(world: &World, path: &Path, seat: Option<&Seat>, now: Millis) -> MultipathPath {
    let facts: &PathFacts = path.facts();
    let block = facts.block.as_ref();
    let device = world.device_of(path);
    let port_group = path.port_group();
    let group = device
        .zip(port_group)
        .and_then(|(device, group)| device.ports().get(group));
    let inquiry = path.inquiry();
    let statistics = path.statistics();
    MultipathPath {
        hctl: Some(facts.hctl.to_string()),
        disk: block.map(|block| block.name.clone()),
        device_number: block.map(|block| block.dev.to_string()),
        wwid: path.device().map(Wwid::to_string),
        map: seat.map(|seat| seat.map.to_owned()),
        group: seat.map(|seat| seat.group),
        in_use: seat.and_then(|seat| seat.in_use),
        state: path.state().as_str().to_owned(),
        device_state: facts.device_state.clone(),
        satp: device
            .and_then(Device::selection)
            .map_or_else(String::new, |selection| selection.satp.name().to_owned()),
        is_marginal: path.failures().marginal().is_some(),
        transport: facts.transport.as_str().to_owned(),
        vendor: inquiry.map_or_else(String::new, |inquiry| inquiry.vendor.clone()),
        model: inquiry.map_or_else(String::new, |inquiry| inquiry.product.clone()),
        revision: inquiry.map_or_else(String::new, |inquiry| inquiry.revision.clone()),
        sectors: block.map_or(0, |block| block.size.0),
        maximum_io_size: block.map_or(0, |block| block.max_io_bytes),
        adapter_identifier: facts.adapter.identifier.clone(),
        adapter_description: facts.adapter.description.clone(),
        target_identifier: facts.target.identifier.clone(),
        port_group,
        is_preferred: group.is_some_and(|group| group.preferred),
        failures: statistics
            .failed_by_kernel
            .saturating_add(statistics.failed_by_agent),
        next_check_ms: world.next_check(path).map(|at| at.since(now).0),
    }
}
