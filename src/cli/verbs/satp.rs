//! `storage nmp satp`: SATPs, their default PSPs, and their rules. These commands change files and need no agent.

use super::arguments::{flag, option, text};
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_rules::SatpLine;
use crate::cli::record::Listing;
use crate::config::rules::{self, edit::Edit, schema::same_but_group};
use crate::psa::adapter::Transport;
use crate::psa::names::DeviceId;
use crate::psa::pattern::Pattern;
use crate::psa::psp::PspKind;
use crate::psa::satp;
use crate::psa::satp::rules::{Group, SatpRule};
use clap::{Arg, ArgMatches};

const SET: Verb = Verb {
    words: &["storage", "nmp", "satp", "set"],
    about: "Set the default PSP of a SATP, for devices that are claimed from now on",
    arguments: &[
        || satp().required(true),
        || {
            option(
                "default-psp",
                Some('P'),
                "PSP",
                "VMW_PSP_FIXED, VMW_PSP_MRU or VMW_PSP_RR",
            )
            // ESXi 4 has `--psp`.
            .alias("psp")
            .required(true)
        },
        boot,
    ],
    run: set,
    legacy: false,
};

const ADD: Verb = Verb {
    words: &["storage", "nmp", "satp", "rule", "add"],
    about: "Add a SATP rule",
    arguments: &[
        || satp().required(true),
        vendor,
        model,
        driver,
        transport,
        device,
        claim_option,
        options,
        psp,
        psp_option,
        description,
        kind,
        boot,
        || flag("force", Some('f'), "Add it even if it looks like a mistake"),
    ],
    run: add,
    legacy: false,
};

const REMOVE: Verb = Verb {
    words: &["storage", "nmp", "satp", "rule", "remove"],
    about: "Remove the SATP rule with these attributes",
    arguments: &[
        || satp().required(true),
        vendor,
        model,
        driver,
        transport,
        device,
        claim_option,
        options,
        psp,
        psp_option,
        description,
        kind,
        boot,
    ],
    run: remove,
    legacy: false,
};

const RULES: Verb = Verb {
    words: &["storage", "nmp", "satp", "rule", "list"],
    about: "List the SATP rules",
    arguments: &[satp],
    run: list_rules,
    legacy: false,
};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["storage", "nmp", "satp", "list"],
        about: "List the SATPs with their default PSPs",
        arguments: &[],
        run: list,
        legacy: false,
    },
    SET,
    ADD,
    RULES,
    REMOVE,
    ADD.also(&["storage", "nmp", "satp", "addrule"]),
    REMOVE.also(&["storage", "nmp", "satp", "deleterule"]),
    RULES.also(&["storage", "nmp", "satp", "listrules"]),
    SET.also(&["storage", "nmp", "satp", "setdefaultpsp"]),
];

fn satp() -> Arg {
    option(
        "satp",
        Some('s'),
        "SATP",
        "VMW_SATP_ALUA, ...; `satp list` shows them",
    )
}
fn vendor() -> Arg {
    option("vendor", Some('V'), "VENDOR", "INQUIRY vendor")
}
fn model() -> Arg {
    option(
        "model",
        Some('M'),
        "MODEL",
        "INQUIRY product; ^120*: begins with 120; inq_data[110]={0x70}: compares bytes",
    )
}
fn driver() -> Arg {
    option(
        "driver",
        Some('D'),
        "DRIVER",
        "Driver of the HBA; not with vendor and model",
    )
}
fn transport() -> Arg {
    option("transport", Some('R'), "TRANSPORT", "fc, iscsi, sas, ...")
}
fn device() -> Arg {
    option(
        "device",
        Some('d'),
        "DEVICE",
        "Device identifier; not with vendor, model and driver",
    )
}
fn claim_option() -> Arg {
    option(
        "claim-option",
        Some('c'),
        "OPTION",
        "tpgs_on: only if the array reports target port groups; tpgs_off: only if it does not",
    )
}
fn options() -> Arg {
    option("option", Some('o'), "OPTIONS", "Options for the SATP")
}
fn psp() -> Arg {
    option(
        "psp",
        Some('P'),
        "PSP",
        "Default PSP of the devices that match",
    )
}
fn psp_option() -> Arg {
    option(
        "psp-option",
        Some('O'),
        "OPTIONS",
        "Options for that PSP: iops=1;policy=latency",
    )
}
fn description() -> Arg {
    option("description", Some('e'), "TEXT", "What the rule is for")
}
fn kind() -> Arg {
    option(
        "type",
        Some('t'),
        "TYPE",
        "vendor, driver, transport or device; optional, because the other options imply it",
    )
    .ignore_case(true)
    .value_parser([
        "vendor",
        "driver",
        "transport",
        "device",
        "location",
        "target",
    ])
}
fn boot() -> Arg {
    flag("boot", Some('b'), "As a system rule, until reboot")
}

/// The rule that the options describe.
fn rule(given: &ArgMatches) -> Result<SatpRule, Failure> {
    let some = |name| text(given, name).filter(|text| !text.is_empty());
    let pattern = |name| some(name).map(|text| Pattern::parse(&text)).transpose();
    let transport = some("transport").map(|name| Transport::by_name(&name));
    Ok(SatpRule {
        satp: some("satp").unwrap_or_default(),
        device: some("device").map(DeviceId::from),
        vendor: pattern("vendor").map_err(Failure::Usage)?,
        model: pattern("model").map_err(Failure::Usage)?,
        driver: some("driver"),
        transport: transport.transpose().map_err(Failure::Usage)?,
        claim_options: some("claim-option").unwrap_or_default(),
        options: some("option").unwrap_or_default(),
        psp: some("psp"),
        psp_options: some("psp-option").unwrap_or_default(),
        description: some("description").unwrap_or_default(),
        group: if given.get_flag("boot") {
            Group::System
        } else {
            Group::User
        },
    })
}

/// The file that a command changes.
fn open(context: &Context, group: Group) -> Result<Edit, Failure> {
    let places = context.places();
    Ok(Edit::open(&match group {
        Group::User => places.admin_rules(),
        Group::System => places.boot_rules(),
    })?)
}

fn add(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let rule = rule(given)?;
    rule.check().map_err(Failure::Usage)?;
    if let Err(why) = rule.doubts() {
        if !given.get_flag("force") {
            return Err(Failure::Usage(format!(
                "{why}; use --force to add it anyway"
            )));
        }
        context.warn([why]);
    }
    let mut edit = open(context, rule.group)?;
    let files = rules::load(&context.places())?;
    let others = files.satp.iter().filter(|other| other.group == rule.group);
    for other in others {
        let undescribed = SatpRule {
            description: rule.description.clone(),
            ..other.clone()
        };
        if same_but_group(&undescribed, &rule) {
            return Err(Failure::Refused(format!(
                "this {rule} exists already; to change it, remove it and add it again"
            )));
        }
    }
    edit.add_satp_rule(&rule)?;
    edit.save()?;
    context.warn(rule.remarks());
    let after = rules::load(&context.places())?.satp_rules();
    let before = after
        .rules()
        .iter()
        .take_while(|other| **other != rule)
        .find(|other| other.satp != rule.satp && other.covers(&rule))
        .filter(|other| satp::by_name(&other.satp).is_some());
    if let Some(other) = before {
        context.warn([format!(
            "{other} is tried first and matches everything that this rule matches"
        )]);
    }
    Ok(Listing::lines(context.load_rules()))
}

fn remove(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let wanted = rule(given)?;
    let files = rules::load(&context.places())?;
    // The criteria of the rule must be given completely. The other fields must match where they are given.
    let agrees = |other: &&SatpRule| {
        let said = |text: &str, other: &str| text.is_empty() || text == other;
        other.group == wanted.group
            && other.satp == wanted.satp
            && other.matches_like(&wanted)
            && other.claim_options == wanted.claim_options
            && (wanted.psp.is_none() || wanted.psp == other.psp)
            && said(&wanted.psp_options, &other.psp_options)
            && said(&wanted.options, &other.options)
            && said(&wanted.description, &other.description)
    };
    let found: Vec<&SatpRule> = files.satp.iter().filter(agrees).collect();
    let exactly = found.iter().find(|other| same_but_group(other, &wanted));
    let gone = match (found.as_slice(), exactly) {
        (_, Some(exactly)) => (*exactly).clone(),
        ([one], None) => (*one).clone(),
        ([], None) => return Err(Failure::NotFound(none_like(&wanted, &files.satp))),
        (several, None) => {
            return Err(Failure::Usage(format!(
                "{} rules have these attributes: add -P, -O, -o or -e to select one of them",
                several.len()
            )));
        }
    };
    let mut edit = open(context, wanted.group)?;
    if !edit.remove_satp_rule(&gone)? {
        // It is in a file of the product or of a vendor, which must not be edited, so the removal is recorded.
        edit.note_removed_satp_rule(&gone)?;
    }
    edit.save()?;
    Ok(Listing::lines(context.load_rules()))
}

/// Why no rule was found, with the rules that are similar.
fn none_like(wanted: &SatpRule, rules: &[SatpRule]) -> String {
    let near = rules.iter().filter(|other| {
        (wanted.vendor.is_some() && other.vendor == wanted.vendor)
            || (wanted.device.is_some() && other.device == wanted.device)
    });
    let lines: Vec<String> = near.map(|rule| format!("\n  there is: {rule}")).collect();
    let more = if lines.is_empty() {
        "; `psactl storage nmp satp rule list` shows them".to_owned()
    } else {
        lines.concat()
    };
    format!(
        "there is no such {wanted}: give every attribute that the rule matches by, and --boot for a system rule{more}"
    )
}

fn list_rules(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let mut rules = rules::load(&context.places())?.satp;
    if let Some(name) = text(given, "satp") {
        rules.retain(|rule| rule.satp == name);
        if rules.is_empty() && satp::by_name(&name).is_none() {
            return Err(no_such_satp(&name));
        }
    }
    let place = |rule: &SatpRule| {
        let known = satp::all().iter().position(|satp| satp.name() == rule.satp);
        (known.unwrap_or(usize::MAX), rule.satp.clone())
    };
    rules.sort_by_cached_key(place);
    Ok(listing(&rules))
}

fn no_such_satp(name: &str) -> Failure {
    Failure::NotFound(format!(
        "there is no SATP {name}; `psactl storage nmp satp list` shows them"
    ))
}

fn list(context: &mut Context, _: &ArgMatches) -> Result<Listing, Failure> {
    let rules = rules::load(&context.places())?.satp_rules();
    let lines = satp::all().iter().map(|satp| SatpLine {
        name: satp.name().to_owned(),
        default_psp: rules
            .default_psp(satp.name())
            .map_or_else(String::new, |psp| psp.name().to_owned()),
        description: satp.description().to_owned(),
    });
    Ok(listing(&lines.collect::<Vec<_>>()))
}

fn set(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let name = text(given, "satp").unwrap_or_default();
    let psp = text(given, "default-psp").unwrap_or_default();
    let Some(satp) = satp::by_name(&name) else {
        return Err(no_such_satp(&name));
    };
    let psp = psp.parse::<PspKind>();
    let psp = psp.map_err(|unknown| Failure::NotFound(unknown.to_string()))?;
    let group = if given.get_flag("boot") {
        Group::System
    } else {
        Group::User
    };
    let mut edit = open(context, group)?;
    edit.set_default_psp(&name, psp)?;
    edit.save()?;
    if psp == PspKind::Fixed && satp.default_psp() == PspKind::Mru {
        context.warn([format!(
            "{name} is for arrays whose controllers differ: hosts that prefer different controllers may move a LUN back and forth"
        )]);
    }
    let said = format!("Default PSP for {name} is now {psp}");
    Ok(Listing::lines(
        std::iter::once(said).chain(context.load_rules()),
    ))
}
