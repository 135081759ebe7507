//! What a look at a device sees: the paths that a table may contain, with what PSP and table need to know about each.

use crate::psa::adapter::RuntimeName;
use crate::psa::check::disks;
use crate::psa::evidence::{Class, PathState};
use crate::psa::mpp::Plugin;
use crate::psa::names::Wwid;
use crate::psa::psp::{Candidate, Options, PspKind};
use crate::psa::settings::DeviceSettings;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::table::model::{GroupState, HardwareHandler, QueueMode, Table};
use crate::psa::units::{DevT, Hctl, Sectors};
use std::collections::{BTreeMap, BTreeSet};

/// The result of a look at a device.
pub(in crate::psa) struct View {
    pub(in crate::psa) settings: DeviceSettings,
    pub(in crate::psa) psp: PspKind,
    pub(in crate::psa) options: Options,
    pub(in crate::psa) candidates: Vec<Candidate>,
    /// Groups of the kernel's table about whose paths nothing is known.
    pub(in crate::psa) unplaced: Vec<Vec<DevT>>,
    pub(in crate::psa) length: Sectors,
    /// Whether all of the disks are read-only, so that the map is too; `None` without any disk.
    pub(in crate::psa) read_only: Option<bool>,
    pub(in crate::psa) handler: Option<HardwareHandler>,
    pub(in crate::psa) queue_mode: Option<QueueMode>,
}

/// Gathers what the table depends on.
pub(in crate::psa) fn view(world: &World, device: &Device) -> View {
    let settings = world.device_settings(device);
    let psp = device.psp(&settings);
    let is_hpp = device.plugin() == Plugin::Hpp;
    let named = |name: RuntimeName| {
        world
            .paths_of(device)
            .filter(|path| !path.is_marginal())
            .map(|path| path.name())
            .find(|candidate| *candidate == name)
    };
    let options = Options {
        preferred: settings.preferred.and_then(named),
        chosen: device
            .options
            .chosen
            .or_else(|| chosen_before(world, device.wwid())),
        round_robin: settings.round_robin.clone(),
        selector: is_hpp.then(|| settings.scheme.unwrap_or_default().selector()),
    };
    let table = world
        .map_of(device.wwid())
        .and_then(|map| map.table.as_ref().ok());
    let in_table: BTreeSet<DevT> = table
        .map(|t| t.paths().map(|p| p.dev).collect())
        .unwrap_or_default();
    let measuring = disks::is_being_measured(world, device);
    let mut candidates = Vec::new();
    let mut unplaced = Vec::new();
    let length = table.map(|table| table.length);
    // The kernel accepts no table that is longer than one of its disks.
    let mut least: Option<Sectors> = None;
    let mut handler = None;
    let mut read_only = None;
    for (id, path) in device
        .paths()
        .iter()
        .filter_map(|id| Some((*id, world.paths.get(id)?)))
    {
        let Some(block) = &path.facts().block else {
            continue;
        };
        let held = in_table.contains(&block.dev);
        let proven = path.proof.may_carry_io();
        // A path that is not in the kernel's table yet joins when it is proven and usable.
        let joins = proven
            && !measuring
            && block.usage.is_empty()
            && (path.state().serves_io() || path.state() == PathState::Standby);
        let out = !path.is_ours() || path.is_quarantined();
        if out || !(held || joins) {
            continue;
        }
        let rank = settings.ranks.get(&path.name()).copied().unwrap_or(0);
        candidates.push(Candidate {
            path: id,
            dev: block.dev,
            name: path.name(),
            state: path.state(),
            class: match path.failures.marginal() {
                Some(_) => Class::Last,
                None => path.class().unwrap_or(Class::Last),
            },
            rank,
        });
        read_only = Some(read_only.unwrap_or(true) && block.read_only);
        // dm accepts a disk whose size is not known.
        if block.size.0 > 0 {
            least = Some(least.map_or(block.size, |least| least.min(block.size)));
        }
        if handler.is_none() && proven {
            let evidence = World::evidence(path, device.ports.groups());
            handler = device
                .selection
                .as_ref()
                .and_then(|s| s.satp.handler(&evidence));
        }
    }
    if let Some(table) = table {
        unplaced = place_unknown(&mut candidates, table, |id| {
            world
                .paths
                .get(&id)
                .is_some_and(|path| path.class().is_some())
        });
        // No path was proven since the start, so the kernel's table is the only information.
        handler = handler.or_else(|| table.handler.clone());
    }
    // The kernel accepts no table of another queue mode for an existing map. A bio-based table has no handler.
    let queue_mode = table.and_then(|table| table.features.queue_mode);
    if queue_mode == Some(QueueMode::Bio) {
        handler = None;
    }
    // If a unit grew, its map grows too, once all disks of the map are seen to have grown. It never shrinks.
    let length = length.max(least);
    View {
        settings,
        psp,
        options,
        read_only,
        candidates,
        unplaced,
        length: length.unwrap_or_default(),
        handler,
        queue_mode,
    }
}

/// The path of a FIXED table that the kernel uses: the choice from before a restart.
fn chosen_before(world: &World, wwid: &Wwid) -> Option<Hctl> {
    let map = world.map_of(wwid)?;
    let (table, status) = (map.table.as_ref().ok()?, map.status.as_ref().ok()?);
    let in_use = status
        .groups
        .iter()
        .position(|group| group.state == GroupState::Active);
    let next = usize::try_from(status.group_now)
        .ok()
        .and_then(|n| n.checked_sub(1));
    let dev = table.groups.get(in_use.or(next)?)?.paths.first()?.dev;
    world.disks.get(&dev).copied()
}

pub(in crate::psa) fn can_activate(world: &World, id: Hctl) -> bool {
    let Some(path) = world.paths.get(&id) else {
        return false;
    };
    let Some(device) = path
        .device
        .as_ref()
        .and_then(|wwid| world.devices.get(wwid))
    else {
        return false;
    };
    let evidence = World::evidence(path, device.ports.groups());
    device
        .selection
        .as_ref()
        .is_some_and(|s| s.satp.can_activate(&evidence))
}

/// Gives paths about which nothing is known the class of the paths that share a group with them in the kernel's table,
/// so that a restart of the agent while paths are down does not regroup anything. Returns, group by group, the paths of
/// groups about which nothing is known at all.
pub(in crate::psa) fn place_unknown(
    candidates: &mut [Candidate],
    table: &Table,
    is_known: impl Fn(Hctl) -> bool,
) -> Vec<Vec<DevT>> {
    let known: BTreeMap<DevT, Class> = candidates
        .iter()
        .filter(|c| is_known(c.path))
        .map(|c| (c.dev, c.class))
        .collect();
    let mut unplaced = Vec::new();
    for group in &table.groups {
        let members: BTreeSet<DevT> = group.paths.iter().map(|p| p.dev).collect();
        let class = members.iter().filter_map(|dev| known.get(dev)).min();
        let mut unknown = Vec::new();
        for candidate in candidates.iter_mut() {
            if members.contains(&candidate.dev) && !known.contains_key(&candidate.dev) {
                candidate.class = class.copied().unwrap_or(Class::Last);
                unknown.push(candidate.dev);
            }
        }
        if class.is_none() && !unknown.is_empty() {
            unplaced.push(unknown);
        }
    }
    unplaced
}
