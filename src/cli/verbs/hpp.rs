//! `storage hpp`: the devices and paths of the high performance plug-in.

use super::arguments::{flag, option, text};
use super::host::{device, path};
use super::settings::{
    bytes, cfgfile, device_required, iops, latency_eval_time, missing, per_turn, required, use_ano,
    yes,
};
use super::verb::Verb;
use crate::api::requests::{ListCoreDevices, ListHppDevices, ListHppPaths, SetHpp};
use crate::cli::layout::listing;
use crate::cli::layout_rules::MarkedDevice;
use crate::psa::settings::Scheme;
use clap::builder::PossibleValuesParser;
use clap::{Arg, value_parser};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["storage", "hpp", "device", "list"],
        about: "List the devices that HPP owns, with their path selection scheme",
        arguments: &[device],
        run: |context, given| {
            let request = ListHppDevices {
                device: text(given, "device"),
            };
            Ok(listing(&context.ask(&request)?.devices))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "hpp", "path", "list"],
        about: "List the paths that HPP owns, with their state",
        arguments: &[device, path],
        run: |context, given| {
            let request = ListHppPaths {
                device: text(given, "device"),
                path: text(given, "path"),
            };
            Ok(listing(&context.ask(&request)?.paths))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "hpp", "device", "set"],
        about: "Set how HPP chooses among the paths of a device, or mark a device as SSD",
        arguments: &[
            device_required,
            scheme,
            iops,
            bytes,
            latency_eval_time,
            sampling,
            preferred,
            default_path,
            use_ano,
            mark_ssd,
            cfgfile,
        ],
        run: |context, given| {
            let request = SetHpp {
                device: required(given, "device"),
                scheme: text(given, "pss"),
                iops: per_turn(given),
                bytes: given.get_one("bytes").copied().filter(|bytes| *bytes > 0),
                latency_eval_ms: given.get_one("latency-eval-time").copied(),
                sampling_ios: given.get_one("sampling-ios-per-path").copied(),
                path: if given.get_flag("default") {
                    Some(String::new())
                } else {
                    text(given, "path")
                },
                use_ano: yes(given, "useano"),
                is_ssd: yes(given, "mark-device-ssd"),
            };
            let nothing = SetHpp {
                device: request.device.clone(),
                ..SetHpp::default()
            };
            if request == nothing {
                return Err(missing(
                    "nothing to set: use --pss, --iops, --bytes, --latency-eval-time, --sampling-ios-per-path, --path, \
                     --default, --useano or --mark-device-ssd",
                ));
            }
            context.change(&request)
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "hpp", "device", "usermarkedssd", "list"],
        about: "List the devices that were marked as SSD",
        arguments: &[],
        run: |context, _| {
            let mut devices = context.ask(&ListCoreDevices { device: None })?.devices;
            devices.retain(|device| device.marked_ssd);
            let marked = devices
                .into_iter()
                .map(|device| MarkedDevice(device.device));
            Ok(listing(&marked.collect::<Vec<_>>()))
        },
        legacy: false,
    },
];

fn scheme() -> Arg {
    Arg::new("pss")
        .short('P')
        .long("pss")
        .value_name("SCHEME")
        .ignore_case(true)
        .value_parser(PossibleValuesParser::new(Scheme::ALL.map(Scheme::name)))
        .help("Path selection scheme")
}

fn sampling() -> Arg {
    Arg::new("sampling-ios-per-path")
        .short('S')
        .long("sampling-ios-per-path")
        .value_name("N")
        .value_parser(value_parser!(u32).range(16..=160))
        .help("LB-Latency: I/Os sampled on each path")
}

fn preferred() -> Arg {
    option("path", Some('p'), "PATH", "FIXED: the preferred path")
}

fn default_path() -> Arg {
    flag(
        "default",
        Some('E'),
        "FIXED: leave the choice of the path to HPP",
    )
    .conflicts_with("path")
}

fn mark_ssd() -> Arg {
    Arg::new("mark-device-ssd")
        .short('M')
        .long("mark-device-ssd")
        .value_name("BOOL")
        .value_parser(PossibleValuesParser::new(["true", "false", "1", "0"]))
        .help("Whether the device counts as a solid state disk, whatever it reports")
}
