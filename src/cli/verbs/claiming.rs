//! `storage core claimrule load|run` and `storage core claiming`: loads claim rules and applies them to paths.

use super::arguments::{option, text};
use super::host::{device, path};
use super::settings::yes;
use super::verb::Verb;
use crate::api::requests::{LoadRules, Reclaim, RunRules, SetAutoclaim, Unclaim};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use crate::psa::claim::{RuleSpec, Word};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches};

const LOAD: Verb = Verb {
    words: &["storage", "core", "claimrule", "load"],
    about: "Put the file list of claim rules into force: it becomes the runtime list",
    arguments: &[class],
    run: |context, given| {
        let class = text(given, "claimrule-class").unwrap_or_else(|| "MP".to_owned());
        let request = LoadRules {
            claim_rules: Some(class),
        };
        Ok(Listing::lines([context.ask(&request)?.effect]))
    },
    legacy: false,
};

const RUN: Verb = Verb {
    words: &["storage", "core", "claimrule", "run"],
    about: "Claim unclaimed paths with the rules of the runtime list",
    arguments: &[
        class, scope, adapter, channel, target, lun, path, device, wait,
    ],
    run: |context, given| match text(given, "claimrule-class").as_deref() {
        None | Some("MP") => {
            let scope = match scope_of(given).as_deref() {
                None | Some("all") => Unclaim::default(),
                Some(_) => meant(given)?,
            };
            context.change(&RunRules {
                matches: scope.matches,
                path: scope.path,
                device: scope.device,
            })
        }
        Some(other) => Ok(Listing::lines([without_effect(other)])),
    },
    legacy: false,
};

const RECLAIM: Verb = Verb {
    words: &["storage", "core", "claiming", "reclaim"],
    about: "Apply the rules to a claimed device again, under I/O: its paths, SATP and PSP",
    arguments: &[|| device().required(true)],
    run: |context, given| {
        let request = Reclaim {
            device: text(given, "device").unwrap_or_default(),
        };
        context.change(&request)
    },
    legacy: false,
};

const UNCLAIM: Verb = Verb {
    words: &["storage", "core", "claiming", "unclaim"],
    about: "Unclaim paths: the next `claimrule run` applies the rules to them again",
    arguments: &[
        || scope_type(&["location", "path", "driver", "device", "plugin", "vendor"]).required(true),
        class,
        adapter,
        channel,
        target,
        lun,
        path,
        device,
        || option("driver", Some('D'), "DRIVER", "Driver of the HBA"),
        || option("plugin", Some('P'), "PLUGIN", "NMP, HPP or MASK_PATH"),
        // The lower case letters are from ESXi 5.
        || option("vendor", Some('V'), "VENDOR", "INQUIRY vendor").short_alias('v'),
        || option("model", Some('M'), "MODEL", "INQUIRY model").short_alias('m'),
    ],
    run: unclaim,
    legacy: false,
};

const AUTOCLAIM: Verb = Verb {
    words: &["storage", "core", "claiming", "autoclaim"],
    about: "Turn automatic claiming on or off; if off, only `claimrule run` claims paths",
    arguments: &[enabled, class, wait],
    run: |context, given| match text(given, "claimrule-class").as_deref() {
        None | Some("MP" | "all") => context.change(&SetAutoclaim {
            enabled: yes(given, "enabled").unwrap_or(true),
        }),
        Some(other) => Ok(Listing::lines([without_effect(other)])),
    },
    legacy: false,
};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    LOAD,
    RUN,
    RECLAIM,
    UNCLAIM,
    AUTOCLAIM,
    LOAD.also(&["storage", "corestorage", "claimrule", "load"]),
    RUN.also(&["storage", "corestorage", "claimrule", "run"]),
    RECLAIM.also(&["storage", "corestorage", "claiming", "reclaim"]),
    UNCLAIM.also(&["storage", "corestorage", "claiming", "unclaim"]),
];

fn unclaim(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    if let Some(class) = text(given, "claimrule-class").filter(|class| class != "MP") {
        return Ok(Listing::lines([without_effect(&class)]));
    }
    let kind = scope_of(given).unwrap_or_default();
    let strings = ["vendor", "model"].into_iter();
    let idle = strings.filter(|name| kind != "vendor" && given.contains_id(name));
    for name in idle {
        context.warn([format!("--{name}: without effect with type {kind}")]);
    }
    context.change(&meant(given)?)
}

/// The paths that the options select.
fn meant(given: &ArgMatches) -> Result<Unclaim, Failure> {
    let kind = scope_of(given).unwrap_or_default();
    let need = |name: &str| {
        text(given, name).ok_or_else(|| Failure::Usage(format!("type {kind} needs --{name}")))
    };
    let mut request = Unclaim::default();
    match kind.as_str() {
        "path" => request.path = Some(need("path")?),
        "device" => request.device = Some(need("device")?),
        "plugin" => request.plugin = Some(need("plugin")?),
        _ => {
            let word = |name| text(given, name).map(Word);
            let string = |name| text(given, name).filter(|_| kind == "vendor");
            let spec = RuleSpec {
                kind: kind.clone(),
                vendor: string("vendor"),
                model: string("model"),
                adapter: text(given, "adapter"),
                channel: word("channel"),
                target: word("target"),
                lun: word("lun"),
                driver: text(given, "driver"),
                ..RuleSpec::default()
            };
            request.matches = Some(spec.matches().map_err(Failure::Usage)?.to_string());
        }
    }
    Ok(request)
}

fn without_effect(class: &str) -> String {
    format!("rules of class {class} are stored and listed; on Linux they have no effect")
}

fn scope_of(given: &ArgMatches) -> Option<String> {
    text(given, "type").map(|kind| kind.to_ascii_lowercase())
}

fn class() -> Arg {
    option(
        "claimrule-class",
        Some('c'),
        "CLASS",
        "MP [default], Filter, VAAI or all",
    )
}

fn enabled() -> Arg {
    Arg::new("enabled")
        .long("enabled")
        .value_name("BOOL")
        .required(true)
        .value_parser(PossibleValuesParser::new(["true", "false", "1", "0"]))
        .help("Whether new paths are claimed automatically, and unclaimed paths every five minutes")
}

fn scope() -> Arg {
    scope_type(&["location", "path", "device", "all"])
}

fn scope_type(kinds: &'static [&'static str]) -> Arg {
    option("type", Some('t'), "TYPE", "How the paths are selected")
        .ignore_case(true)
        .value_parser(PossibleValuesParser::new(kinds))
}

fn adapter() -> Arg {
    option("adapter", Some('A'), "ADAPTER", "vmhba2")
}

fn channel() -> Arg {
    option("channel", Some('C'), "CHANNEL", "Channel")
}

fn target() -> Arg {
    option("target", Some('T'), "TARGET", "Target")
}

fn lun() -> Arg {
    option("lun", Some('L'), "LUN", "LUN")
}

fn wait() -> Arg {
    Arg::new("wait")
        .short('w')
        .long("wait")
        .action(ArgAction::SetTrue)
        .help("Accepted, without effect: paths are claimed as soon as they are known")
}
