//! Collects a device with its groups, paths and adapters, for `psactl graph` and `psactl top`.

use crate::api::types::{Topology, TopologyGroup, TopologyPath};
use crate::psa::evidence::PathState;
use crate::psa::mpp::Plugin;
use crate::psa::state::device::Device;
use crate::psa::state::outages::Apd;
use crate::psa::state::path::Path;
use crate::psa::table::model::{GroupState, Map, Table};
use crate::psa::units::{DevT, Hctl, Millis};
use crate::psa::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the topology of a device; `now` is the time of the agent.
#[must_use]
pub fn topology(world: &World, now: Millis, device: &Device) -> Topology {
    let map = world.map_of(device.wwid());
    let table = map.and_then(|map| map.table.as_ref().ok());
    let settings = world.device_settings(device);
    let in_use = map.is_some().then(|| world.in_use(device));
    let groups = table.map(places).unwrap_or_default();
    let mut paths: Vec<(&Hctl, &Path)> = world
        .paths()
        .filter(|(id, _)| device.paths().contains(id))
        .collect();
    paths.sort_by_key(|(id, path)| (path.name(), **id));
    let block = paths
        .iter()
        .find_map(|(_, path)| path.facts().block.as_ref());
    let sectors = table
        .map(|table| table.length)
        .or(block.map(|block| block.size));
    Topology {
        device: device.id().to_string(),
        display_name: world.display_name(device),
        size_mib: sectors.map_or(0, |sectors| sectors.0 / 2048),
        status: world.device_status(device).to_owned(),
        apd_seconds: match device.apd() {
            // A lost device is shown as not connected; its paths are not waited for.
            Apd::No | Apd::Lost { .. } => None,
            Apd::Waiting { since, .. } | Apd::TimedOut { since } => Some(now.since(since).0 / 1000),
        },
        queueing: matches!(device.apd(), Apd::Waiting { .. }),
        plugin: device.plugin().to_string(),
        satp: device
            .selection()
            .map_or_else(String::new, |s| s.satp.name().to_owned()),
        psp: match device.plugin() {
            Plugin::Hpp => settings.scheme.unwrap_or_default().name().to_owned(),
            _ => world.psp_of(device).name().to_owned(),
        },
        // The kernel's name of a map contains its minor number.
        map: map.map(|map| format!("dm-{}", map.dev.minor)),
        groups: map.map(groups_of).unwrap_or_default(),
        paths: paths
            .into_iter()
            .map(|(id, path)| path_of(*id, path, &groups, in_use.as_ref()))
            .collect(),
    }
}

/// Maps each disk to the number of its group, from 1.
fn places(table: &Table) -> BTreeMap<DevT, u32> {
    let groups = (1..).zip(&table.groups);
    groups
        .flat_map(|(number, group)| group.paths.iter().map(move |path| (path.dev, number)))
        .collect()
}

fn groups_of(map: &Map) -> Vec<TopologyGroup> {
    let Ok(status) = &map.status else {
        return Vec::new();
    };
    let active = status
        .groups
        .iter()
        .position(|group| group.state == GroupState::Active);
    let current = active
        .and_then(|place| u32::try_from(place.saturating_add(1)).ok())
        .unwrap_or(status.group_now);
    (1..)
        .zip(&status.groups)
        .map(|(number, group)| TopologyGroup {
            number,
            state: match group.state {
                GroupState::Active => "active",
                GroupState::Enabled => "enabled",
                GroupState::Disabled => "disabled",
            }
            .to_owned(),
            current: number == current,
        })
        .collect()
}

fn path_of(
    id: Hctl,
    path: &Path,
    groups: &BTreeMap<DevT, u32>,
    in_use: Option<&BTreeSet<DevT>>,
) -> TopologyPath {
    let dev = path.dev();
    let carries_io = match in_use {
        Some(in_use) => dev.is_some_and(|dev| in_use.contains(&dev)),
        None => path.state().serves_io(),
    };
    TopologyPath {
        runtime_name: path.name().to_string(),
        adapter: format!("vmhba{}", path.name().adapter),
        adapter_identifier: path.facts().adapter.identifier.clone(),
        target_identifier: path.facts().target.identifier.clone(),
        transport: path.facts().transport.as_str().to_owned(),
        state: path.state().as_str().to_owned(),
        reason: path.judgement().reason.clone(),
        disk: path.facts().block.as_ref().map(|block| block.name.clone()),
        hctl: id.to_string(),
        group: dev.and_then(|dev| groups.get(&dev).copied()),
        carries_io: carries_io && path.state() != PathState::Dead,
    }
}
