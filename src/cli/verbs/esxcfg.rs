//! ESXi's older programs `esxcfg-mpath`, `esxcfg-scsidevs` and `esxcfg-rescan`, as commands of psactl, because scripts
//! and guides still use them. The output is that of these programs, as far as public texts show it.

use super::arguments::{flag, text};
use super::rescan::{kind, rescan, skip_claim, skip_fs_scan, timeout};
use super::verb::Verb;
use crate::api::requests::{ListCoreDevices, ListCorePaths};
use crate::api::types::CorePath;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::record::Listing;
use clap::{Arg, ArgMatches};
use std::collections::BTreeMap;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["esxcfg-mpath"],
        about: "List paths, like the ESXi program of this name",
        arguments: &[
            || flag("list", Some('l'), "All paths, with details [default]"),
            || {
                flag(
                    "list-paths",
                    Some('b'),
                    "The paths of each device, in brief",
                )
            },
            || flag("list-compact", Some('L'), "One line for each path"),
            || {
                Arg::new("device")
                    .short('d')
                    .long("device")
                    .value_name("DEVICE")
                    .help("Only paths of this device")
            },
        ],
        run: mpath,
        legacy: true,
    },
    Verb {
        words: &["esxcfg-scsidevs"],
        about: "List devices, like the ESXi program of this name",
        arguments: &[|| {
            flag(
                "compact-list",
                Some('c'),
                "One line for each device [default]",
            )
        }],
        run: |context, _| scsidevs(context),
        legacy: true,
    },
    Verb {
        words: &["esxcfg-rescan"],
        about: "Rescan an adapter, like the ESXi program of this name",
        arguments: &[
            || flag("all", Some('A'), "All adapters"),
            || Arg::new("adapter").value_name("ADAPTER").help("vmhba2"),
            kind,
            skip_claim,
            skip_fs_scan,
            timeout,
        ],
        run: rescan,
        legacy: true,
    },
];

fn mpath(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let request = ListCorePaths {
        device: text(given, "device"),
        path: None,
    };
    let paths = context.ask(&request)?.paths;
    if given.get_flag("list-paths") {
        return Ok(Listing::lines(brief(&paths)));
    }
    if given.get_flag("list-compact") {
        return Ok(Listing::lines(paths.iter().map(compact)));
    }
    Ok(listing(&paths))
}

/// A heading for each device, followed by a line for each of its paths.
fn brief(paths: &[CorePath]) -> Vec<String> {
    let mut devices: BTreeMap<&str, Vec<&CorePath>> = BTreeMap::new();
    for path in paths {
        let device = path.device.as_deref().unwrap_or("No associated device");
        devices.entry(device).or_default().push(path);
    }
    let mut lines = Vec::new();
    for (device, paths) in devices {
        let name = paths.iter().find_map(|path| path.display_name.as_deref());
        lines.push(format!("{device} : {}", name.unwrap_or(device)));
        lines.extend(paths.into_iter().map(|path| {
            format!(
                "   {} LUN:{} state:{} {} Adapter: {}  Target: {}",
                path.runtime_name,
                path.lun,
                path.state,
                path.transport,
                path.adapter_identifier,
                path.target_identifier
            )
        }));
        lines.push(String::new());
    }
    lines
}

fn compact(path: &CorePath) -> String {
    let place = match path.transport.as_str() {
        "fc" | "fcoe" | "iscsi" | "iscsivendor" => "san",
        _ => "local",
    };
    format!(
        "{} state:{} {} {} {} {} {} {} {} {place} {} {}",
        path.runtime_name,
        path.state,
        path.device.as_deref().unwrap_or("-"),
        path.adapter,
        path.channel,
        path.target,
        path.lun,
        path.plugin,
        path.state,
        path.adapter_identifier,
        path.target_identifier
    )
}

/// The first word of each line is the device, because scripts loop over it.
fn scsidevs(context: &mut Context) -> Result<Listing, Failure> {
    let devices = context.ask(&ListCoreDevices { device: None })?.devices;
    let width = devices.iter().map(|device| device.device.len()).max();
    let width = width.unwrap_or_default().max("Device UID".len());
    let heading = format!(
        "{:width$}  {:15}  {:59}  {:>9}  {:9}  Display Name",
        "Device UID", "Device Type", "Console Device", "Size", "Multipath"
    );
    let lines = devices.iter().map(|device| {
        format!(
            "{:width$}  {:15}  {:59}  {:>7}MB  {:9}  {}",
            device.device,
            device.device_type,
            device.devfs_path,
            device.size_mib,
            device.multipath_plugin,
            device.display_name
        )
    });
    Ok(Listing::lines(std::iter::once(heading).chain(lines)))
}
