//! `storage nmp ... set|get`, `storage core path set`: changes settings of devices and paths.

use super::arguments::{flag, text};
use super::host::{device, path};
use super::verb::Verb;
use crate::api::requests::{
    GetFixed, GetRoundRobin, ListNmpDevices, ListNmpPaths, SetPathRank, SetPathState,
    SetPreferredPath, SetPsp, SetRoundRobin, SetSatpWord,
};
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::record::Listing;
use crate::psa::satp::options::psp_options;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

const DEVICE_SET: Verb = Verb {
    words: &["storage", "nmp", "device", "set"],
    about: "Set the PSP of a device, or go back to the default of its rule",
    arguments: &[device_required, psp, default],
    run: |context, given| {
        let psp = text(given, "psp");
        if psp.is_none() && !given.get_flag("default") {
            return Err(missing("--psp PSP or --default"));
        }
        let request = SetPsp {
            device: required(given, "device"),
            psp,
        };
        context.change(&request)
    },
    legacy: false,
};

const GENERIC_SET: Verb = Verb {
    words: &["storage", "nmp", "psp", "generic", "deviceconfig", "set"],
    about: "Configure a device's PSP with a string: policy=iops;iops=1, preferred=vmhba2:C0:T0:L1",
    arguments: &[device_required, config, cfgfile],
    run: |context, given| {
        let (device, config) = (required(given, "device"), required(given, "config"));
        let preferred = config.strip_prefix("preferred=").map(str::to_owned);
        if let Some(path) = preferred {
            let path = Some(path);
            return context.change(&SetPreferredPath { device, path });
        }
        let options = psp_options(&config).map_err(|why| refused(&config, &why))?;
        if let Some(word) = options.unknown.first() {
            return Err(refused(
                &config,
                &format!(
                    "`{word}` is not known; use preferred=PATH, or policy, iops, bytes, useANO, samplingCycles, latencyEvalTime with `=` and a value"
                ),
            ));
        }
        let set = options.round_robin;
        let request = SetRoundRobin {
            device,
            limit_type: set.limit_type.map(|limit| limit.name().to_lowercase()),
            iops: set.iops,
            bytes: set.bytes,
            use_ano: set.use_ano,
            sampling_cycles: set.sampling_cycles,
            latency_eval_ms: set.latency_eval_ms.map(|time| time.0),
        };
        context.change(&request)
    },
    legacy: false,
};

const FIXED_GET: Verb = Verb {
    words: &["storage", "nmp", "psp", "fixed", "deviceconfig", "get"],
    about: "Show the preferred and the current path of a device",
    arguments: &[device_required],
    run: |context, given| {
        let device = required(given, "device");
        Ok(listing(&[context.ask(&GetFixed { device })?.config]))
    },
    legacy: false,
};

const FIXED_SET: Verb = Verb {
    words: &["storage", "nmp", "psp", "fixed", "deviceconfig", "set"],
    about: "Set the preferred path of a device",
    arguments: &[device_required, path, default_path, cfgfile],
    run: |context, given| {
        let path = text(given, "path");
        if path.is_none() && !given.get_flag("default") {
            return Err(missing("--path PATH or --default"));
        }
        let request = SetPreferredPath {
            device: required(given, "device"),
            path,
        };
        context.change(&request)
    },
    legacy: false,
};

const ROUND_ROBIN_GET: Verb = Verb {
    words: &["storage", "nmp", "psp", "roundrobin", "deviceconfig", "get"],
    about: "Show the VMW_PSP_RR settings of a device, and which of them take effect",
    arguments: &[device_required],
    run: |context, given| {
        let device = required(given, "device");
        Ok(listing(&[context.ask(&GetRoundRobin { device })?.config]))
    },
    legacy: false,
};

const ROUND_ROBIN_SET: Verb = Verb {
    words: &["storage", "nmp", "psp", "roundrobin", "deviceconfig", "set"],
    about: "Set when VMW_PSP_RR moves to the next path of a device",
    arguments: &[
        device_required,
        limit_type,
        iops,
        bytes,
        use_ano,
        sampling_cycles,
        latency_eval_time,
        cfgfile,
    ],
    run: |context, given| {
        let request = SetRoundRobin {
            device: required(given, "device"),
            limit_type: text(given, "type"),
            iops: per_turn(given),
            bytes: given.get_one("bytes").copied().filter(|bytes| *bytes > 0),
            use_ano: yes(given, "useano"),
            sampling_cycles: given.get_one("num-sampling-cycles").copied(),
            latency_eval_ms: given.get_one("latency-eval-time").copied(),
        };
        context.change(&request)
    },
    legacy: false,
};

const PSP_GET: Verb = Verb {
    words: &["storage", "nmp", "psp", "generic", "deviceconfig", "get"],
    about: "Show the configuration string of a device's PSP",
    arguments: &[device_required],
    run: |context, given| {
        let device = text(given, "device");
        let devices = context.ask(&ListNmpDevices { device })?.devices;
        Ok(Listing::lines(
            devices.iter().map(|d| d.psp_device_config.clone()),
        ))
    },
    legacy: false,
};

const SATP_GET: Verb = Verb {
    words: &["storage", "nmp", "satp", "generic", "deviceconfig", "get"],
    about: "Show the configuration string of a device's SATP",
    arguments: &[device_required],
    run: |context, given| {
        let device = text(given, "device");
        let devices = context.ask(&ListNmpDevices { device })?.devices;
        Ok(Listing::lines(
            devices.iter().map(|d| d.satp_device_config.clone()),
        ))
    },
    legacy: false,
};

const SATP_SET: Verb = Verb {
    words: &["storage", "nmp", "satp", "generic", "deviceconfig", "set"],
    about: "Enable or disable a feature of a device's SATP",
    arguments: &[device_required, satp_word],
    run: |context, given| {
        let (device, word) = (required(given, "device"), required(given, "config"));
        if OF_CLARIION.contains(&word.as_str()) {
            // A device that does not exist is reported nevertheless.
            let device = Some(device);
            context.ask(&ListNmpDevices { device })?;
            return Ok(Listing::lines([format!(
                "{word}: without effect: Linux neither registers itself with the array nor hides its address from it"
            )]));
        }
        context.change(&SetSatpWord { device, word })
    },
    legacy: false,
};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    DEVICE_SET,
    DEVICE_SET.also(&["storage", "nmp", "device", "setpolicy"]),
    GENERIC_SET,
    GENERIC_SET.also(&["storage", "nmp", "psp", "setconfig"]),
    FIXED_GET,
    FIXED_GET.also(&["storage", "nmp", "fixed", "getpreferred"]),
    FIXED_SET,
    FIXED_SET.also(&["storage", "nmp", "fixed", "setpreferred"]),
    ROUND_ROBIN_GET,
    ROUND_ROBIN_GET.also(&["storage", "nmp", "roundrobin", "getconfig"]),
    ROUND_ROBIN_SET,
    ROUND_ROBIN_SET.also(&["storage", "nmp", "roundrobin", "setconfig"]),
    PSP_GET,
    PSP_GET.also(&["storage", "nmp", "psp", "getconfig"]),
    Verb {
        words: &["storage", "nmp", "psp", "generic", "pathconfig", "get"],
        about: "Show the configuration string of a path",
        arguments: &[path_required],
        run: |context, given| {
            let path = text(given, "path");
            let paths = context.ask(&ListNmpPaths { device: None, path })?.paths;
            Ok(Listing::lines(
                paths.iter().map(|p| p.psp_path_config.clone()),
            ))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "nmp", "psp", "generic", "pathconfig", "set"],
        about: "Set the rank of a path for VMW_PSP_MRU: rank=1",
        arguments: &[path_required, config, cfgfile],
        run: |context, given| {
            let config = required(given, "config");
            let rank = psp_options(&config).ok().and_then(|options| options.rank);
            let rank = rank.and_then(|rank| i32::try_from(rank).ok());
            let Some(rank) = rank else {
                return Err(refused(&config, "use `rank=` and a whole number"));
            };
            let request = SetPathRank {
                path: required(given, "path"),
                rank,
            };
            context.change(&request)
        },
        legacy: false,
    },
    SATP_GET,
    SATP_GET.also(&["storage", "nmp", "satp", "getconfig"]),
    SATP_SET,
    SATP_SET.also(&["storage", "nmp", "satp", "setconfig"]),
    Verb {
        words: &["storage", "nmp", "satp", "generic", "pathconfig", "get"],
        about: "Show the configuration string of a path's SATP",
        arguments: &[path_required],
        run: |context, given| {
            let path = text(given, "path");
            let paths = context.ask(&ListNmpPaths { device: None, path })?.paths;
            Ok(Listing::lines(
                paths.iter().map(|p| p.satp_path_config.clone()),
            ))
        },
        legacy: false,
    },
    Verb {
        words: &["storage", "core", "path", "set"],
        about: "Turn a path off, or on again (active)",
        arguments: &[path_required, path_state, || {
            flag(
                "no-persist",
                None,
                "Forget the state when the path is removed from the host, or when the agent ends",
            )
        }],
        run: |context, given| {
            let request = SetPathState {
                path: required(given, "path"),
                off: required(given, "state") == "off",
                persist: given.get_flag("no-persist").then_some(false),
            };
            context.change(&request)
        },
        legacy: false,
    },
];

/// Words that VMW_SATP_CX and VMW_SATP_ALUA_CX accept on ESXi.
const OF_CLARIION: [&str; 4] = ["navireg_on", "navireg_off", "ipfilter_on", "ipfilter_off"];

fn refused(config: &str, why: &str) -> Failure {
    Failure::Clap(format!("psactl: --config {config}: {why}\n"))
}

pub(super) fn missing(what: &str) -> Failure {
    Failure::Clap(format!("psactl: {what} is missing\n"))
}

/// The value of an argument that clap requires.
pub(super) fn required(given: &ArgMatches, name: &str) -> String {
    text(given, name).unwrap_or_default()
}

/// The value of an option that accepts true, false, 1 and 0.
pub(super) fn yes(given: &ArgMatches, name: &str) -> Option<bool> {
    text(given, name).map(|word| matches!(word.as_str(), "true" | "1"))
}

pub(super) fn device_required() -> Arg {
    device().required(true)
}

fn path_required() -> Arg {
    path().required(true)
}

fn psp() -> Arg {
    Arg::new("psp")
        .short('P')
        .long("psp")
        .value_name("PSP")
        .conflicts_with("default")
        .help("VMW_PSP_FIXED, VMW_PSP_MRU or VMW_PSP_RR")
}

fn default() -> Arg {
    Arg::new("default")
        .short('E')
        .long("default")
        .action(ArgAction::SetTrue)
        .help("Go back to what the rules say")
}

fn default_path() -> Arg {
    Arg::new("default")
        .short('D')
        .long("default")
        .action(ArgAction::SetTrue)
        .conflicts_with("path")
        .help("Leave the choice to the PSP")
}

fn limit_type() -> Arg {
    Arg::new("type")
        .short('t')
        .long("type")
        .value_name("TYPE")
        .ignore_case(true)
        .value_parser(PossibleValuesParser::new([
            "default", "iops", "bytes", "latency",
        ]))
        .help("What makes I/O move to the next path")
}

pub(super) fn iops() -> Arg {
    Arg::new("iops")
        .short('I')
        .long("iops")
        .value_name("N")
        .value_parser(value_parser!(u64))
        .help("I/Os before the next path; 0 counts as 1: each I/O uses the next path")
}

/// I/Os per turn. 0 means that the path changes after every I/O, as 1 does.
pub(super) fn per_turn(given: &ArgMatches) -> Option<u64> {
    given.get_one("iops").map(|iops: &u64| (*iops).max(1))
}

pub(super) fn bytes() -> Arg {
    Arg::new("bytes")
        .short('B')
        .long("bytes")
        .value_name("N")
        .value_parser(value_parser!(u64))
        .help("Bytes before the next path; 0: no limit")
}

pub(super) fn use_ano() -> Arg {
    Arg::new("useano")
        .short('U')
        .long("useano")
        .value_name("BOOL")
        .value_parser(PossibleValuesParser::new(["true", "false", "1", "0"]))
        .help("Whether active-unoptimized paths carry I/O too")
}

fn sampling_cycles() -> Arg {
    Arg::new("num-sampling-cycles")
        .short('S')
        .long("num-sampling-cycles")
        .value_name("N")
        .value_parser(value_parser!(u32).range(1..))
        .help("Latency: I/Os sampled on each path")
}

pub(super) fn latency_eval_time() -> Arg {
    Arg::new("latency-eval-time")
        .short('T')
        .long("latency-eval-time")
        .value_name("MS")
        .value_parser(value_parser!(u64).range(1..))
        .help("Latency: milliseconds between two evaluations")
}

pub(super) fn cfgfile() -> Arg {
    Arg::new("cfgfile")
        .short('g')
        .long("cfgfile")
        .action(ArgAction::SetTrue)
        .help("Accepted, without effect: settings are always kept over a restart")
}

fn config() -> Arg {
    Arg::new("config")
        .short('c')
        .long("config")
        .value_name("WORDS")
        .required(true)
        .allow_hyphen_values(true)
        .help("name=value; separate several with `;`")
}

fn satp_word() -> Arg {
    Arg::new("config")
        .short('c')
        .long("config")
        .value_name("WORD")
        .required(true)
        .value_parser(PossibleValuesParser::new([
            "enable_explicit_alua",
            "disable_explicit_alua",
            "enable_alua_followover",
            "disable_alua_followover",
            "enable_action_OnRetryErrors",
            "disable_action_OnRetryErrors",
            "navireg_on",
            "navireg_off",
            "ipfilter_on",
            "ipfilter_off",
        ]))
        .help("Feature to enable or disable")
}

fn path_state() -> Arg {
    Arg::new("state")
        .short('s')
        .long("state")
        .value_name("STATE")
        .required(true)
        .value_parser(PossibleValuesParser::new(["active", "off"]))
        .help("active or off")
}
