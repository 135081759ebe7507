//! `storage core path|device|adapter stats get`: the counters of the kernel, read from sysfs. The agent only maps disks
//! to paths.

use super::arguments::{option, text};
use super::device::{Blocks, device};
use super::host::path;
use super::verb::Verb;
use crate::api::requests::{ListAdapters, ListCoreDevices, ListCorePaths};
use crate::api::types::CorePath;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_host::{AdapterStats, Counters, DeviceStats, PathStats};
use crate::kernel::sysfs::Sysfs;
use crate::kernel::sysfs::statistics::IoCounters;
use clap::{Arg, value_parser};
use std::time::Duration;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["storage", "core", "path", "stats", "get"],
        about: "Show the counters of paths since their disks appeared",
        arguments: &[path, interval],
        run: |context, given| {
            let host = context.host()?;
            let request = ListCorePaths {
                device: None,
                path: text(given, "path"),
            };
            let mut paths = context.ask(&request)?.paths;
            let before = given.get_one::<u64>("interval").map(|seconds| {
                let before: Vec<Counters> = paths.iter().map(|path| of_path(&host, path)).collect();
                std::thread::sleep(Duration::from_secs(*seconds));
                before
            });
            if before.is_some() {
                // There may be new errors meanwhile. A path may have disappeared; then it is shown as it was.
                let now = context.ask(&request).map(|reply| reply.paths);
                for path in now.unwrap_or_default() {
                    if let Some(known) = paths.iter_mut().find(|known| known.hctl == path.hctl) {
                        *known = path;
                    }
                }
            }
            let stats = paths.into_iter().enumerate().map(|(number, path)| {
                let counters = of_path(&host, &path);
                let io = match &before {
                    None => counters.io,
                    Some(before) => {
                        let before = before.get(number).and_then(|before| before.io);
                        before.and_then(|before| counters.io?.since(before))
                    }
                };
                PathStats {
                    counters,
                    latency_us: io.and_then(IoCounters::latency_us),
                    io_errors: path
                        .io_errors
                        .iter()
                        .map(|of| format!("{} {}", of.count, of.kind))
                        .collect(),
                    uid: path.uid,
                    runtime_name: path.runtime_name,
                }
            });
            Ok(listing(&stats.collect::<Vec<_>>()))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "device", "stats", "get"],
        about: "Show the counters of devices: I/O of the map, SCSI commands of all paths, including checks",
        arguments: &[device],
        run: |context, given| {
            let host = context.host()?;
            let device = text(given, "device");
            let request = ListCoreDevices {
                device: device.clone(),
            };
            let devices = context.ask(&request)?.devices;
            let paths = context.ask(&ListCorePaths { device, path: None })?.paths;
            let blocks = Blocks::of(&host);
            let stats = devices.into_iter().map(|device| {
                let mine = |path: &&CorePath| path.device.as_ref() == Some(&device.device);
                let mut counters = sum(&host, paths.iter().filter(mine));
                // I/O that was retried on another path is counted once by the map, and on each path.
                if let Some(block) = blocks.named(&device.devfs_path)
                    && let Some(io) = host.io_counters(&block)
                {
                    counters.io = Some(io);
                }
                DeviceStats {
                    device: device.device,
                    counters,
                }
            });
            Ok(listing(&stats.collect::<Vec<_>>()))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "adapter", "stats", "get"],
        about: "Show the counters of adapters: the sum of their paths",
        arguments: &[adapter],
        run: |context, given| {
            let host = context.host()?;
            let wanted = text(given, "adapter");
            let adapters = context.ask(&ListAdapters {})?.adapters;
            let names = adapters.into_iter().map(|adapter| adapter.name);
            let names: Vec<String> = names
                .filter(|name| wanted.as_ref().is_none_or(|wanted| wanted == name))
                .collect();
            if let (true, Some(wanted)) = (names.is_empty(), wanted) {
                return Err(no_adapter(&wanted));
            }
            let every = ListCorePaths {
                device: None,
                path: None,
            };
            let paths = context.ask(&every)?.paths;
            let stats = names.into_iter().map(|name| AdapterStats {
                counters: sum(&host, paths.iter().filter(|path| path.adapter == name)),
                adapter: name,
            });
            Ok(listing(&stats.collect::<Vec<_>>()))
        },
        legacy: false,
    },
];

fn of_path(host: &Sysfs, path: &CorePath) -> Counters {
    // The kernel's own address; an agent that reports something else is not a valid agent.
    let Ok(address) = path.hctl.parse() else {
        return Counters::default();
    };
    let disk = path.disk.as_deref();
    Counters {
        io: disk.and_then(|disk| host.io_counters_of(address, disk)),
        commands: host.command_counters(address),
    }
}

fn sum<'a>(host: &Sysfs, paths: impl Iterator<Item = &'a CorePath>) -> Counters {
    paths
        .map(|path| of_path(host, path))
        .fold(Counters::default(), Counters::plus)
}

pub(super) fn no_adapter(name: &str) -> Failure {
    Failure::NotFound(format!(
        "{name}: there is no such adapter with paths; `psactl storage core adapter list` shows the adapters"
    ))
}

fn interval() -> Arg {
    let help = "Average the latency over the I/O of the next SECONDS only";
    option("interval", Some('i'), "SECONDS", help).value_parser(value_parser!(u64).range(1..=3600))
}

fn adapter() -> Arg {
    option("adapter", Some('A'), "ADAPTER", "This adapter only: vmhba2")
}
