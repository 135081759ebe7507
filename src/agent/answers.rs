//! Answers the read-only calls of the API from the current state of the world.

use super::maps;
use super::topology::topology;
use crate::api::error::ApiError;
use crate::api::requests::{
    Adapters, CoreDevices, CorePaths, DetachedDevices, Explain, Explained, FixedReply, HppDevices,
    HppPaths, InventoryReply, NmpDevices, NmpPaths, Request, RoundRobinReply, StatusReply,
    TopologyReply,
};
use crate::api::types::{
    Adapter, CoreDevice, CorePath, DetachedDevice, Explanation, FixedConfig, HppDevice, HppPath,
    IoErrors, NmpDevice, NmpPath, RoundRobinConfig, Section, Status,
};
use crate::kernel::passthrough::InUse;
use crate::kernel::trace::Watching;
use crate::psa::adapter::{RuntimeName, Transport};
use crate::psa::evidence::PathState;
use crate::psa::mpp::Plugin;
use crate::psa::names::DeviceId;
use crate::psa::psp::PspKind;
use crate::psa::settings::RoundRobin;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::hints::Hints;
use crate::psa::state::outages::Apd;
use crate::psa::state::path::Path;
use crate::psa::units::{Hctl, Millis};
use crate::psa::world::World;
use serde_json::Value;
use std::collections::BTreeMap;

/// Paths in one reply of `GetInventory`: each takes about 3 KB, and a reply may be 16 MiB long.
const INVENTORY_PATHS: usize = 2_000;

/// Answers a request that changes nothing; `uptime` is the time since the agent started.
///
/// # Errors
/// The requested device or path does not exist.
pub(super) fn answer(
    world: &World,
    uptime: Millis,
    sources: &(InUse, Watching),
    request: &Request,
) -> Result<Value, ApiError> {
    let reply = match request {
        Request::ListNmpDevices(of) => {
            let devices = devices_of(world, of.device.as_deref(), Plugin::Nmp)?;
            let devices = devices.map(|d| nmp_device(world, d)).collect();
            serde_json::to_value(NmpDevices { devices })
        }
        Request::ListNmpPaths(of) => {
            let paths = paths(world, of.device.as_deref(), of.path.as_deref())?;
            let paths = paths
                .into_iter()
                .filter_map(|(id, path)| nmp_path(world, *id, path))
                .collect();
            serde_json::to_value(NmpPaths { paths })
        }
        Request::ListHppDevices(of) => {
            let devices = devices_of(world, of.device.as_deref(), Plugin::Hpp)?;
            let devices = devices.map(|d| hpp_device(world, d)).collect();
            serde_json::to_value(HppDevices { devices })
        }
        Request::ListHppPaths(of) => {
            let paths = paths(world, of.device.as_deref(), of.path.as_deref())?;
            let paths = paths
                .into_iter()
                .filter_map(|(_, path)| hpp_path(world, path))
                .collect();
            serde_json::to_value(HppPaths { paths })
        }
        Request::ListCorePaths(of) => {
            let paths = paths(world, of.device.as_deref(), of.path.as_deref())?;
            let paths = paths
                .into_iter()
                .map(|(id, path)| core_path(world, *id, path))
                .collect();
            serde_json::to_value(CorePaths { paths })
        }
        Request::ListCoreDevices(of) => {
            let devices = devices(world, of.device.as_deref())?
                .map(|d| core_device(world, d))
                .collect();
            serde_json::to_value(CoreDevices { devices })
        }
        Request::ListDetachedDevices(of) => serde_json::to_value(DetachedDevices {
            devices: detached_devices(world, of.device.as_deref())?,
        }),
        Request::ListAdapters(_) => serde_json::to_value(Adapters {
            adapters: adapters(world),
        }),
        Request::Explain(of) => serde_json::to_value(Explained {
            explanation: explanation(world, of)?,
        }),
        Request::GetInventory(of) => {
            let from = usize::try_from(of.from).unwrap_or(usize::MAX);
            let inventory = world.inventory(from, INVENTORY_PATHS);
            serde_json::to_value(InventoryReply { inventory })
        }
        Request::GetStatus(_) => serde_json::to_value(StatusReply {
            status: status(world, uptime, sources),
        }),
        Request::GetTopology(of) => {
            let devices = devices(world, of.device.as_deref())?;
            let devices = devices.map(|d| topology(world, uptime, d)).collect();
            serde_json::to_value(TopologyReply { devices })
        }
        Request::ListMaps(_) => serde_json::to_value(maps::maps(world, uptime)),
        Request::GetFixed(of) => serde_json::to_value(FixedReply {
            config: fixed(world, device_named(world, &of.device)?),
        }),
        Request::GetRoundRobin(of) => serde_json::to_value(RoundRobinReply {
            config: round_robin(world, device_named(world, &of.device)?),
        }),
        // These are answered elsewhere and do not reach this function.
        Request::Change(_) | Request::Plan(_) | Request::ListEvents(_) | Request::GetMetrics(_) => {
            return Err(ApiError::Failed {
                reason: "this call is not answered here".to_owned(),
            });
        }
    };
    reply.map_err(|error| ApiError::Failed {
        reason: error.to_string(),
    })
}

pub(super) fn not_found(subject: &str) -> ApiError {
    ApiError::NotFound {
        subject: subject.to_owned(),
        hint: "`psactl storage core device list` and `core path list` show all devices and paths"
            .to_owned(),
    }
}

/// Finds a device by any of its names, or by any name of one of its paths.
pub(super) fn device_named<'a>(world: &'a World, name: &str) -> Result<&'a Device, ApiError> {
    let by_path = || world.device_of(world.find_path(name)?);
    world
        .find_device(name)
        .or_else(by_path)
        .ok_or_else(|| not_found(name))
}

/// Finds a path by any of its names.
pub(super) fn path_named<'a>(world: &'a World, name: &str) -> Result<&'a Path, ApiError> {
    world.find_path(name).ok_or_else(|| not_found(name))
}

fn devices<'a>(
    world: &'a World,
    wanted: Option<&str>,
) -> Result<impl Iterator<Item = &'a Device> + use<'a>, ApiError> {
    let mut found: Vec<&Device> = match wanted {
        Some(name) => vec![device_named(world, name)?],
        None => world.devices().collect(),
    };
    found.sort_by(|a, b| a.id().cmp(b.id()));
    Ok(found.into_iter())
}

fn paths<'a>(
    world: &'a World,
    device: Option<&str>,
    path: Option<&str>,
) -> Result<Vec<(&'a Hctl, &'a Path)>, ApiError> {
    let device = match device {
        Some(name) => Some(device_named(world, name)?),
        None => None,
    };
    let one = match path {
        Some(name) => Some(path_named(world, name)?),
        None => None,
    };
    let mut found: Vec<(&Hctl, &Path)> = world
        .paths()
        .filter(|(id, _)| device.is_none_or(|device| device.paths().contains(id)))
        .filter(|(_, path)| one.is_none_or(|one| one.facts().hctl == path.facts().hctl))
        .collect();
    found.sort_by_key(|(id, path)| (path.name(), **id));
    Ok(found)
}

/// Returns the devices of a plug-in, by id. A named device that belongs to another plug-in is an error.
fn devices_of<'a>(
    world: &'a World,
    wanted: Option<&str>,
    plugin: Plugin,
) -> Result<impl Iterator<Item = &'a Device> + use<'a>, ApiError> {
    if let Some(name) = wanted {
        let owner = device_named(world, name)?.plugin();
        if owner != plugin {
            return Err(ApiError::NotFound {
                subject: name.to_owned(),
                hint: format!("it belongs to {owner}, not to {plugin}"),
            });
        }
    }
    Ok(devices(world, wanted)?.filter(move |device| device.plugin() == plugin))
}

fn hpp_device(world: &World, device: &Device) -> HppDevice {
    let settings = world.device_settings(device);
    let scheme = settings.scheme.unwrap_or_default();
    let names = |names: Vec<RuntimeName>| names.iter().map(ToString::to_string).collect();
    HppDevice {
        device: device.id().to_string(),
        display_name: world.display_name(device),
        scheme: scheme.name().to_owned(),
        scheme_config: scheme.config(&settings),
        working_paths: names(world.working_paths(device)),
        is_ssd: is_ssd(world, device),
        is_local: is_local(device),
        paths: names(world.paths_of(device).map(|path| path.name()).collect()),
        use_ano: settings.round_robin.use_ano(),
        in_effect: scheme.in_effect().to_owned(),
        map: world.map_of(device.wwid()).map(|map| map.name.clone()),
    }
}

fn hpp_path(world: &World, path: &Path) -> Option<HppPath> {
    let device = world.device_of(path)?;
    (device.plugin() == Plugin::Hpp).then(|| HppPath {
        uid: world.path_uid(path),
        runtime_name: path.name().to_string(),
        device: device.id().to_string(),
        display_name: world.display_name(device),
        path_state: path.state().as_str().to_owned(),
        path_config: world.satp_path_config(path),
    })
}

/// What the admin set; otherwise whether the disk is non-rotational.
fn is_ssd(world: &World, device: &Device) -> bool {
    let disk = || {
        let mut blocks = world
            .paths_of(device)
            .filter_map(|path| path.facts().block.as_ref());
        blocks.next().is_some_and(|block| !block.rotational)
    };
    world.device_settings(device).is_ssd.unwrap_or_else(disk)
}

fn is_local(device: &Device) -> bool {
    let selection = device.selection();
    selection.is_none_or(|s| !s.satp.is_stacked())
}

fn nmp_device(world: &World, device: &Device) -> NmpDevice {
    NmpDevice {
        device: device.id().to_string(),
        display_name: world.display_name(device),
        satp: device
            .selection()
            .map_or_else(String::new, |s| s.satp.name().to_owned()),
        satp_device_config: world.satp_device_config(device),
        psp: world.psp_of(device).name().to_owned(),
        psp_device_config: world.psp_device_config(device),
        psp_custom_config: custom_config(world, device),
        working_paths: world
            .working_paths(device)
            .iter()
            .map(ToString::to_string)
            .collect(),
        is_usb: world
            .paths_of(device)
            .any(|path| path.facts().transport == Transport::Usb),
        map: world.map_of(device.wwid()).map(|map| map.name.clone()),
        activation: world.activation(device).to_owned(),
    }
}

/// What the admin set for VMW_PSP_RR and what of it takes effect; empty if nothing was set.
fn custom_config(world: &World, device: &Device) -> String {
    let set = world.device_settings(device).round_robin;
    if world.psp_of(device) != PspKind::RoundRobin || set == RoundRobin::default() {
        return String::new();
    }
    format!("in effect: {}", set.in_effect())
}

fn nmp_path(world: &World, id: Hctl, path: &Path) -> Option<NmpPath> {
    let device = world.device_of(path)?;
    if device.plugin() != Plugin::Nmp {
        return None;
    }
    let preferred = path
        .port_group()
        .and_then(|group| device.ports().get(group))
        .is_some_and(|g| g.preferred);
    Some(NmpPath {
        uid: world.path_uid(path),
        runtime_name: path.name().to_string(),
        device: device.id().to_string(),
        display_name: world.display_name(device),
        group_state: path.state().as_str().to_owned(),
        array_priority: u32::from(preferred),
        satp_path_config: world.satp_path_config(path),
        psp_path_config: world.psp_path_config(id, path),
    })
}

fn core_path(world: &World, id: Hctl, path: &Path) -> CorePath {
    let device = world.device_of(path);
    let facts = path.facts();
    // `core path list` has no state "unoptimized": such a path is shown as active.
    let state = match path.state() {
        PathState::ActiveUnoptimized => "active",
        state => state.as_str(),
    };
    let target = match &facts.target.port_state {
        Some(state) => format!("{} State={state}", facts.target.details),
        None => facts.target.details.clone(),
    };
    CorePath {
        uid: world.path_uid(path),
        runtime_name: path.name().to_string(),
        device: device.map(|device| device.id().to_string()),
        display_name: device.map(|device| world.display_name(device)),
        adapter: format!("vmhba{}", path.name().adapter),
        channel: path.name().channel,
        target: path.name().target,
        lun: path.name().lun,
        plugin: path
            .owner()
            .claim()
            .filter(|_| !path.owner().is_unclaimed())
            .map_or_else(|| "unclaimed".to_owned(), |claim| claim.plugin.to_string()),
        state: state.to_owned(),
        reason: path.judgement().reason.clone(),
        transport: facts.transport.as_str().to_owned(),
        adapter_identifier: facts.adapter.identifier.clone(),
        target_identifier: facts.target.identifier.clone(),
        adapter_transport_details: facts.adapter.identifier.clone(),
        target_transport_details: target,
        maximum_io_size: facts.block.as_ref().map_or(0, |block| block.max_io_bytes),
        disk: facts.block.as_ref().map(|block| block.name.clone()),
        hctl: id.to_string(),
        io_errors: path.hints().map_or_else(Vec::new, io_errors),
    }
}

fn io_errors(hints: &Hints) -> Vec<IoErrors> {
    let named = hints.named().map(|(kind, count)| IoErrors {
        kind: kind.to_owned(),
        count,
    });
    named.collect()
}

fn core_device(world: &World, device: &Device) -> CoreDevice {
    let first = world.paths_of(device).find(|path| path.inquiry().is_some());
    let inquiry = first.and_then(|path| path.inquiry());
    let facts = first.map(|path| path.facts());
    let block = world
        .paths_of(device)
        .find_map(|path| path.facts().block.as_ref());
    let map = world.map_of(device.wwid());
    let length = map
        .and_then(|map| map.table.as_ref().ok())
        .map(|table| table.length.0);
    let sectors = length.or(block.map(|block| block.size.0)).unwrap_or(0);
    let transport = facts.map_or(Transport::Unknown, |facts| facts.transport);
    let settings = world.device_settings(device);
    CoreDevice {
        device: device.id().to_string(),
        display_name: world.display_name(device),
        size_mib: sectors / 2048,
        device_type: "Direct-Access".to_owned(),
        multipath_plugin: first
            .and_then(|path| path.owner().claim())
            .map_or_else(|| "unclaimed".to_owned(), |claim| claim.plugin.to_string()),
        devfs_path: match (map, block) {
            (Some(map), _) => format!("/dev/mapper/{}", map.name),
            (None, Some(block)) => format!("/dev/{}", block.name),
            (None, None) => String::new(),
        },
        vendor: inquiry.map_or_else(String::new, |i| i.vendor.clone()),
        model: inquiry.map_or_else(String::new, |i| i.product.clone()),
        revision: inquiry.map_or_else(String::new, |i| i.revision.clone()),
        scsi_level: inquiry.map_or(0, |i| i.version),
        is_pseudo: false,
        status: world.device_status(device).to_owned(),
        is_local: is_local(device),
        is_removable: inquiry.is_some_and(|i| i.rmb),
        is_ssd: is_ssd(world, device),
        marked_ssd: world
            .memory()
            .settings
            .get(device.id())
            .is_some_and(|set| set.is_ssd.is_some()),
        is_offline: *device.disposition() == Disposition::Off,
        other_uids: vec![device.wwid().to_string()],
        is_sas: transport == Transport::Sas,
        is_usb: transport == Transport::Usb,
        is_boot_device: world
            .paths_of(device)
            .filter_map(|path| path.facts().block.as_ref())
            .any(|block| {
                block.usage.iter().any(
                |usage| matches!(usage, crate::psa::facts::Usage::Mounted { at, .. } if at == "/"),
            )
            }),
        device_max_queue_depth: world
            .paths_of(device)
            .filter_map(|path| path.facts().block.as_ref())
            .map(|block| block.queue_depth)
            .sum(),
        is_perennially_reserved: settings.perennially_reserved.unwrap_or(false),
        // As on ESXi, a device that is not local is assumed to be shared by default.
        is_shared_clusterwide: settings
            .shared_clusterwide
            .unwrap_or_else(|| !is_local(device)),
    }
}

fn detached_devices(world: &World, wanted: Option<&str>) -> Result<Vec<DetachedDevice>, ApiError> {
    let wanted = wanted.map(|name| detached_id(world, name));
    let ids = world.devices_off().into_iter();
    let devices: Vec<DetachedDevice> = ids
        .filter(|id| wanted.as_ref().is_none_or(|wanted| wanted.as_str() == *id))
        .map(|id| DetachedDevice {
            device: id.to_owned(),
            state: if world.is_flushed(id) {
                "flushed"
            } else {
                "off"
            }
            .to_owned(),
        })
        .collect();
    match wanted {
        // A device that exists and is on is not an error: the list is empty.
        Some(id) if devices.is_empty() => device_named(world, id.as_str()).map(|_| devices),
        _ => Ok(devices),
    }
}

/// Returns the id of a device. A device that is off may not be present; then its name is taken as its id.
pub(super) fn detached_id(world: &World, name: &str) -> DeviceId {
    device_named(world, name).map_or_else(|_| DeviceId::from(name), |device| device.id().clone())
}

fn adapters(world: &World) -> Vec<Adapter> {
    let mut found: BTreeMap<u32, Adapter> = BTreeMap::new();
    for (id, path) in world.paths() {
        let facts = &path.facts().adapter;
        let adapter = found.entry(path.name().adapter).or_insert_with(|| Adapter {
            name: format!("vmhba{}", path.name().adapter),
            driver: facts.driver.clone(),
            link_state: facts.link_state.clone(),
            uid: facts.identifier.clone(),
            capabilities: String::new(),
            description: facts.description.clone(),
            hosts: Vec::new(),
        });
        // Paths come in the order of their addresses, so those of one host are adjacent.
        let host = format!("host{}", id.host);
        if adapter.hosts.last() != Some(&host) {
            adapter.hosts.push(host);
        }
    }
    found.into_values().collect()
}

fn fixed(world: &World, device: &Device) -> FixedConfig {
    let current = world.working_paths(device);
    let chosen = device.options().chosen.and_then(|id| {
        let mut paths = world.paths();
        paths
            .find(|(one, _)| **one == id)
            .map(|(_, path)| path.name())
    });
    let name = |name: Option<RuntimeName>| name.map_or_else(String::new, |name| name.to_string());
    FixedConfig {
        device: device.id().to_string(),
        current_path: name(current.first().copied()),
        preferred_path: name(device.options().preferred.or(chosen)),
    }
}

fn round_robin(world: &World, device: &Device) -> RoundRobinConfig {
    let set = world.device_settings(device).round_robin;
    RoundRobinConfig {
        device: device.id().to_string(),
        byte_limit: set.bytes(),
        iops_limit: set.iops(),
        latency_eval_ms: set.latency_eval_ms().0,
        limit_type: set.limit_type().name().to_owned(),
        sampling_cycles: set.sampling_cycles(),
        use_ano: set.use_ano(),
        in_effect: set.in_effect().to_owned(),
    }
}

fn explanation(world: &World, of: &Explain) -> Result<Explanation, ApiError> {
    let subject = &of.subject;
    let explained = match of.verbose {
        true => world.explain_in_full(subject),
        false => world.explain(subject),
    };
    let (subject, sections) = explained.ok_or_else(|| not_found(subject))?;
    let sections = sections
        .into_iter()
        .map(|(title, lines)| Section {
            title: title.to_owned(),
            lines,
        })
        .collect();
    Ok(Explanation { subject, sections })
}

fn status(world: &World, uptime: Millis, (transport, watching): &(InUse, Watching)) -> Status {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let settings = world.settings();
    let mapped = || {
        world
            .devices()
            .filter(|device| world.map_of(device.wwid()).is_some())
    };
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        interface_version: crate::api::INTERFACE_VERSION,
        uptime_seconds: uptime.0 / 1000,
        settled: world.is_settled(),
        paths: count(world.paths().count()),
        dead_paths: count(
            world
                .paths()
                .filter(|(_, path)| path.state() == PathState::Dead)
                .count(),
        ),
        devices: count(world.devices().count()),
        maps: count(mapped().count()),
        tables_loaded: world.counters().tables_loaded,
        queueing_maps: count(
            mapped()
                .filter(|device| matches!(device.apd(), Apd::Waiting { .. }))
                .count(),
        ),
        transport: transport.name.to_owned(),
        transport_reason: transport.reason.clone(),
        io_errors: watching.name.to_owned(),
        io_errors_reason: watching.reason.clone(),
        map_names: settings.map_names.name().to_owned(),
        check_interval_ms: settings.check_interval_ms.0,
        apd_timeout_ms: settings.apd_timeout_ms.0,
        fast_io_fail_tmo: settings.fast_io_fail_tmo,
    }
}
