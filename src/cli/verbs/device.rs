//! `storage core device`: listing, settings, detached devices, processes that have a device open, offloads.

use super::arguments::{flag, option, text};
use super::host;
use super::verb::Verb;
use crate::api::requests::{
    ListCoreDevices, ListDetachedDevices, RemoveDetached, SetDeviceFlags, SetDeviceName,
    SetDeviceState,
};
use crate::api::types::CoreDevice;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_host::{Vaai, World};
use crate::cli::record::Listing;
use crate::kernel::openers::{Openers, openers};
use crate::kernel::sysfs::Sysfs;
use crate::psa::facts::Usage;
use crate::psa::units::DevT;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, value_parser};
use std::collections::{BTreeMap, BTreeSet};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["storage", "core", "device", "list"],
        about: "List all known devices",
        arguments: &[device, exclude_offline, pe_only],
        run: |context, given| {
            let mut devices = devices(context, given)?;
            if given.get_flag("exclude-offline") {
                devices.retain(|device| !device.is_offline);
            }
            if given.get_flag("pe-only") {
                // Protocol endpoints belong to vVols, which do not exist on Linux.
                devices.clear();
            }
            Ok(listing(&devices))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "device", "set"],
        about: "Turn a device off (its map is removed) or on again, or give it a display name",
        arguments: &[
            device_required,
            device_state,
            display_name,
            no_persist,
            default_name,
            requests_outstanding,
            queue_full_sample_size,
            queue_full_threshold,
            max_queue_depth,
            led_state,
            write_cache,
            data_integrity,
        ],
        run: set,
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "device", "setconfig"],
        about: "Set properties of a device that the host cannot detect",
        arguments: &[
            device_required,
            detached,
            perennially_reserved,
            shared_clusterwide,
        ],
        run: setconfig,
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "device", "detached", "list"],
        about: "List the devices that are off, including those that are not present",
        arguments: &[device],
        run: |context, given| {
            let device = text(given, "device");
            let devices = context.ask(&ListDetachedDevices { device })?.devices;
            Ok(listing(&devices))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "device", "detached", "remove"],
        about: "Remove a device from the list of devices that are off; if it is present, it is turned on",
        arguments: &[device, all],
        run: |context, given| {
            let device = text(given, "device");
            if device.is_some() == given.get_flag("all") {
                return Err(Failure::Usage("use --device DEVICE or --all".to_owned()));
            }
            context.change(&RemoveDetached { device })
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "device", "world", "list"],
        about: "List who has devices open: processes, and the kernel itself as world 0",
        arguments: &[device],
        run: worlds,
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "device", "vaai", "status", "get"],
        about: "Show which operations devices take over from the host",
        arguments: &[device],
        run: |context, given| {
            let host = context.host()?;
            let blocks = Blocks::of(&host);
            let devices = devices(context, given)?.into_iter().map(|device| {
                let block = blocks.named(&device.devfs_path);
                let has = |limit| Some(host.queue_limit(block.as_deref()?, limit)? > 0);
                Vaai {
                    zero: has("write_zeroes_max_bytes"),
                    delete: has("discard_max_bytes"),
                    device: device.device,
                }
            });
            Ok(listing(&devices.collect::<Vec<_>>()))
        },
        legacy: false,
    },
];

pub(super) fn devices(
    context: &mut Context,
    given: &ArgMatches,
) -> Result<Vec<CoreDevice>, Failure> {
    let device = text(given, "device");
    Ok(context.ask(&ListCoreDevices { device })?.devices)
}

/// The block devices of this host, by the names that the agent uses.
pub(super) struct Blocks {
    maps: BTreeMap<String, String>,
}

impl Blocks {
    pub(super) fn of(host: &Sysfs) -> Blocks {
        Blocks { maps: host.maps() }
    }

    /// The kernel name behind `/dev/mapper/naa.6001...` (`dm-3`) or `/dev/sdc` (`sdc`).
    pub(super) fn named(&self, devfs_path: &str) -> Option<String> {
        match devfs_path.strip_prefix("/dev/mapper/") {
            Some(map) => self.maps.get(map).cloned(),
            None => devfs_path.strip_prefix("/dev/").map(str::to_owned),
        }
    }
}

/// Options of `set` that are accepted without effect, and the Linux alternative.
const WITHOUT_EFFECT: [(&str, &str); 7] = [
    ("sched-num-req-outstanding", QUEUES),
    ("queue-full-sample-size", QUEUES),
    ("queue-full-threshold", QUEUES),
    (
        "max-queue-depth",
        "each path has its own depth: queue_depth in /sys/class/scsi_device/H:C:T:L/device",
    ),
    ("led-state", "`ledctl` of ledmon sets the LEDs of a slot"),
    (
        "write-cache-enabled",
        "`sdparm --set WCE` or `--clear WCE` turns the write cache of a disk on or off",
    ),
    (
        "data-integrity-enabled",
        "the kernel uses DIF and DIX where the disk and the HBA support them",
    ),
];

const QUEUES: &str = "the kernel's I/O scheduler shares the queue of a device, and the kernel adapts the queue depth to QUEUE FULL";

fn set(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let device = text(given, "device").unwrap_or_default();
    let persist = given.get_flag("no-persist").then_some(false);
    let without_effect: Vec<String> = WITHOUT_EFFECT
        .iter()
        .filter(|(name, _)| given.contains_id(name))
        .map(|(name, why)| format!("--{name}: without effect: {why}"))
        .collect();
    let state = text(given, "state");
    let name = if given.get_flag("default-name") {
        Some(String::new())
    } else {
        text(given, "name")
    };
    if state.is_none() && name.is_none() && without_effect.is_empty() {
        return Err(Failure::Usage(
            "nothing to set: use --state, --name or another option".to_owned(),
        ));
    }
    let mut effects = Vec::new();
    if let Some(state) = state {
        let request = SetDeviceState {
            device: device.clone(),
            off: state == "off",
            persist,
        };
        effects.push(context.ask(&request)?.effect);
    }
    if let Some(name) = name {
        let request = SetDeviceName {
            device: device.clone(),
            name: Some(name).filter(|name| !name.is_empty()),
            persist,
        };
        effects.push(context.ask(&request)?.effect);
    }
    if !without_effect.is_empty() {
        // A device that does not exist is reported nevertheless.
        let device = Some(device);
        context.ask(&ListCoreDevices { device })?;
        context.warn(without_effect);
    }
    Ok(Listing::lines(effects))
}

fn setconfig(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let device = text(given, "device").unwrap_or_default();
    let perennially_reserved = given.get_one::<bool>("perennially-reserved").copied();
    let shared_clusterwide = given.get_one::<bool>("shared-clusterwide").copied();
    let mut effects = Vec::new();
    if perennially_reserved.is_some() || shared_clusterwide.is_some() {
        let request = SetDeviceFlags {
            device: device.clone(),
            perennially_reserved,
            shared_clusterwide,
        };
        effects.push(context.ask(&request)?.effect);
    }
    if given.get_flag("detached") {
        let request = SetDeviceState {
            device,
            off: true,
            persist: None,
        };
        effects.push(context.ask(&request)?.effect);
    }
    if effects.is_empty() {
        return Err(Failure::Usage(
            "nothing to set: use --detached, --perennially-reserved or --shared-clusterwide"
                .to_owned(),
        ));
    }
    Ok(Listing::lines(effects))
}

/// A device and its partitions, by kernel name and number.
struct Parts {
    device: String,
    parts: Vec<(String, DevT)>,
}

impl Parts {
    fn of(host: &Sysfs, blocks: &Blocks, device: CoreDevice) -> Parts {
        let whole = blocks.named(&device.devfs_path);
        let partitions = whole.iter().flat_map(|block| host.partitions_of(block));
        let names: Vec<String> = whole.iter().cloned().chain(partitions).collect();
        let parts = names
            .into_iter()
            .filter_map(|name| Some((name.clone(), host.number_of(&name, false)?)));
        Parts {
            device: device.device,
            parts: parts.collect(),
        }
    }

    fn worlds(&self, host: &Sysfs, openers: &Openers) -> Vec<World> {
        let world = |id, count, name: String| World {
            device: self.device.clone(),
            id,
            count,
            name,
        };
        // The users of a disk and of its partitions are listed together, each of them once.
        let usage: BTreeSet<Usage> = self
            .parts
            .iter()
            .flat_map(|(name, _)| host.users_of(name).unwrap_or_default())
            .collect();
        let kernel = usage.into_iter().filter_map(|usage| match usage {
            Usage::Mounted { at, .. } => Some(at),
            Usage::Swap { .. } => Some("swap".to_owned()),
            // `dm-4 (naa.6001...-part1)`: a partition belongs to the device itself and is not a user.
            Usage::Held { by, .. } => {
                let holder = by.split(' ').next().unwrap_or_default();
                let is_part = self.parts.iter().any(|(name, _)| name == holder);
                (!is_part).then_some(by)
            }
        });
        let mut worlds: Vec<World> = kernel.map(|name| world(0, 1, name)).collect();
        let mut processes: BTreeMap<u32, (u64, String)> = BTreeMap::new();
        for opener in &openers.found {
            if self.parts.iter().any(|(_, dev)| *dev == opener.dev) {
                let process = processes.entry(opener.pid).or_default();
                process.0 = process.0.saturating_add(opener.count);
                process.1.clone_from(&opener.name);
            }
        }
        let processes = processes.into_iter();
        worlds.extend(processes.map(|(pid, (count, name))| world(pid, count, name)));
        worlds
    }
}

fn worlds(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let host = context.host()?;
    let blocks = Blocks::of(&host);
    let devices = devices(context, given)?.into_iter();
    let devices: Vec<Parts> = devices
        .map(|device| Parts::of(&host, &blocks, device))
        .collect();
    let wanted = devices.iter().flat_map(|device| &device.parts);
    let wanted: BTreeSet<DevT> = wanted.map(|(_, dev)| *dev).collect();
    let openers = openers(&host, &wanted);
    if openers.hidden > 0 {
        context.partly(format!(
            "only root can see the open files of {} processes: try with sudo",
            openers.hidden
        ));
    }
    let worlds = devices
        .iter()
        .flat_map(|device| device.worlds(&host, &openers));
    Ok(listing(&worlds.collect::<Vec<_>>()))
}

pub(super) fn device() -> Arg {
    host::device()
}

fn device_required() -> Arg {
    device().required(true)
}

fn device_state() -> Arg {
    option("state", None, "STATE", "on or off")
        .value_parser(PossibleValuesParser::new(["on", "off"]))
}

fn display_name() -> Arg {
    option(
        "name",
        Some('n'),
        "NAME",
        "Display name; an empty one restores the default",
    )
}

fn no_persist() -> Arg {
    flag(
        "no-persist",
        None,
        "Keep the setting only until the agent stops",
    )
}

fn number(name: &'static str, short: char) -> Arg {
    option(
        name,
        Some(short),
        "N",
        "Accepted, without effect: Linux has no equivalent",
    )
    .value_parser(value_parser!(u32))
}

fn exclude_offline() -> Arg {
    flag(
        "exclude-offline",
        Some('o'),
        "Leave out the devices that are off",
    )
}

fn pe_only() -> Arg {
    flag(
        "pe-only",
        Some('p'),
        "Only protocol endpoints of vVols: Linux has none",
    )
}

fn default_name() -> Arg {
    flag(
        "default-name",
        Some('N'),
        "Restore the default display name",
    )
    .conflicts_with("name")
}

fn max_queue_depth() -> Arg {
    number("max-queue-depth", 'm')
}

/// An option that is accepted without effect.
fn idle(name: &'static str, short: char, value: &'static str) -> Arg {
    option(
        name,
        Some(short),
        value,
        "Accepted, without effect: Linux has other means",
    )
}

fn led_state() -> Arg {
    idle("led-state", 'l', "STATE")
}

fn write_cache() -> Arg {
    idle("write-cache-enabled", 'w', "BOOL")
}

fn data_integrity() -> Arg {
    idle("data-integrity-enabled", 'D', "BOOL")
}

fn requests_outstanding() -> Arg {
    number("sched-num-req-outstanding", 'O')
}

fn queue_full_sample_size() -> Arg {
    number("queue-full-sample-size", 's')
}

fn queue_full_threshold() -> Arg {
    number("queue-full-threshold", 'q')
}

fn detached() -> Arg {
    flag(
        "detached",
        None,
        "Turn the device off permanently, as `set --state off`",
    )
}

fn truth(name: &'static str, help: &'static str) -> Arg {
    option(name, None, "BOOL", help).value_parser(value_parser!(bool))
}

fn perennially_reserved() -> Arg {
    truth(
        "perennially-reserved",
        "Whether another host keeps it reserved permanently; stored and shown",
    )
}

fn shared_clusterwide() -> Arg {
    truth(
        "shared-clusterwide",
        "Whether other hosts use it too; stored and shown",
    )
}

fn all() -> Arg {
    flag("all", None, "All devices")
}
