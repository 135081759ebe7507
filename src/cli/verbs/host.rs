//! Lists adapters, paths, and the devices and paths of NMP, as the agent reports them.

use super::arguments::text;
use super::verb::Verb;
use crate::api::requests::{
    GetMetrics, GetStatus, ListAdapters, ListCorePaths, ListNmpDevices, ListNmpPaths,
};
use crate::cli::layout::listing;
use crate::cli::layout_rules::PspLine;
use crate::cli::record::Listing;
use crate::psa::psp::PspKind;
use clap::Arg;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["storage", "core", "adapter", "list"],
        about: "List the host bus adapters",
        arguments: &[],
        run: |context, _| Ok(listing(&context.ask(&ListAdapters {})?.adapters)),
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "path", "list"],
        about: "List all known paths, with their state",
        arguments: &[device, path],
        run: |context, given| {
            let request = ListCorePaths {
                device: text(given, "device"),
                path: text(given, "path"),
            };
            Ok(listing(&context.ask(&request)?.paths))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "nmp", "device", "list"],
        about: "List the devices that NMP owns, with their SATP and PSP",
        arguments: &[device],
        run: |context, given| {
            let request = ListNmpDevices {
                device: text(given, "device"),
            };
            Ok(listing(&context.ask(&request)?.devices))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "nmp", "path", "list"],
        about: "List the paths that NMP owns, with their group state",
        arguments: &[device, path],
        run: |context, given| {
            let request = ListNmpPaths {
                device: text(given, "device"),
                path: text(given, "path"),
            };
            Ok(listing(&context.ask(&request)?.paths))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "nmp", "psp", "list"],
        about: "List the path selection plug-ins",
        arguments: &[],
        run: |_, _| Ok(listing(&PspKind::ALL.map(PspLine))),
        legacy: false,
    },
    Verb {
        words: &["status"],
        about: "Show the agent, and how many paths, devices and maps it manages",
        arguments: &[],
        run: |context, _| Ok(listing(&[context.ask(&GetStatus {})?.status])),
        legacy: false,
    },
    Verb {
        words: &["metrics"],
        about: "Print metrics of paths, devices, checks and the agent, as OpenMetrics text",
        arguments: &[],
        run: |context, _| {
            let text = context.ask(&GetMetrics {})?.metrics;
            Ok(Listing::lines(text.lines().map(str::to_owned)))
        },
        legacy: false,
    },
];

pub(super) fn device() -> Arg {
    Arg::new("device")
        .short('d')
        .long("device")
        .value_name("DEVICE")
        .help("This device only: naa.6001..., or a Linux name of it (sdc, dm-3)")
}

pub(super) fn path() -> Arg {
    Arg::new("path")
        .short('p')
        .long("path")
        .value_name("PATH")
        .help("This path only: vmhba2:C0:T0:L1, its UID, or a Linux name of it (sdc, 2:0:0:1)")
}
