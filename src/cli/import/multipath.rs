//! Translates the sections and keywords of multipath.conf.
//!
//! | there | here |
//! |---|---|
//! | `devices`, `blacklist`, and values of `defaults` for arrays that dm-psa knows | user SATP rules: `arrays`, reported by `devices` and `blacklist` |
//! | a `multipath` of `multipaths` | settings of a device in dm-psa.toml: `maps` |
//! | `overrides`, `defaults` | settings of every device and of the host in dm-psa.toml: this module |
//!
//! Everything else is reported: either dm-psa does it anyway, or there is no equivalent, and why (`keywords`).
//!
//! Several files form one configuration, like `/etc/multipath.conf` and the files in `conf.d`: they are read in order,
//! and later values count. `levels` determines which of several values is effective.

use super::conf::{self, Section};
use super::devices::features;
use super::keywords::{self, DEFAULTS, OVERRIDES, PROTOCOL};
use super::levels::{Device, Levels, Place, place_of_defaults};
use super::made::Made;
pub use super::made::Wanted;
use super::plan::{Plan, Remark, together};
use super::protocol::is_protocol_of_arrays;
use super::report::Outcome;
use super::said::{Said, counting, goes_before, subject, within};
use super::{arrays, bindings, blacklist, devices, maps, values};
use crate::config::rules::RuleFiles;
use crate::config::settings_file::{Key, Owner, Setting, SettingsFile};

/// Plans the import of a file.
///
/// # Errors
/// The file is not a configuration; the reason.
pub fn plan(
    text: &str,
    rules: &RuleFiles,
    settings: SettingsFile,
    wanted: Wanted,
) -> Result<Plan, String> {
    plan_files(&[("", text)], None, rules, settings, wanted)
}

/// Plans the import of several files, given by name and text, and of a bindings file.
///
/// # Errors
/// One of them is not a configuration: which one, and why.
pub(crate) fn plan_files(
    files: &[(&str, &str)],
    bindings: Option<(&str, &str)>,
    rules: &RuleFiles,
    settings: SettingsFile,
    wanted: Wanted,
) -> Result<Plan, String> {
    let mut plan = Plan::new(rules, settings);
    let mut parsed = Vec::new();
    for (name, text) in files {
        let first = plan.add_source(name, text.lines().count());
        let file = conf::parse(text, first);
        parsed.push(file.map_err(|why| match files.len() {
            1 => why,
            _ => format!("{name}: {why}"),
        })?);
    }
    for note in parsed.iter().flat_map(|file| &file.notes) {
        plan.report(note.line, &note.text, (note.outcome, note.what.clone()));
    }
    let whole: Vec<&Section> = parsed.iter().map(|file| &file.whole).collect();
    let named = |name: &'static str| -> Vec<&Section> {
        let sections = whole.iter().flat_map(|whole| &whole.sections);
        sections.filter(|section| section.name == name).collect()
    };
    misplaced(&mut plan, &whole);
    let keywords = |name| {
        named(name)
            .into_iter()
            .flat_map(|section| &section.keywords)
    };
    let defaults = counting(&mut plan, DEFAULTS, "defaults", keywords("defaults"));
    let overrides = counting(&mut plan, OVERRIDES, "overrides", keywords("overrides"));
    for protocol in below(&named("overrides")) {
        timers(&mut plan, protocol);
    }
    let sections = below(&named("devices")).into_iter();
    let read: Vec<Device> = sections
        .filter_map(|section| devices::read(&mut plan, section))
        .collect();
    let levels = Levels::new(overrides, read, defaults);
    let multipaths = below(&named("multipaths"));
    maps::translate(&mut plan, &multipaths, &levels);
    if let Some((name, text)) = bindings {
        let aliased: Vec<&str> = multipaths
            .iter()
            .filter_map(|section| maps::aliased(section))
            .collect();
        bindings::translate(&mut plan, name, text, &levels, &aliased);
    }
    let listed = devices::products(&levels);
    let left = blacklist::translate(
        &mut plan,
        &named("blacklist"),
        &named("blacklist_exceptions"),
        listed,
        wanted,
    );
    let made = arrays::make(&mut plan, &levels, &left, rules, wanted)?;
    devices::report(&mut plan, &levels, &left, &made);
    blacklist::report(&mut plan, left, &made);
    of_all_devices(&mut plan, &levels, &made);
    plan.finish();
    Ok(plan)
}

/// The sections within these sections.
fn below<'a>(outer: &[&'a Section]) -> Vec<&'a Section> {
    outer.iter().flat_map(|section| &section.sections).collect()
}

/// Reports keywords and sections in the wrong place.
fn misplaced(plan: &mut Plan, whole: &[&Section]) {
    for keyword in whole.iter().flat_map(|whole| &whole.keywords) {
        let why = "it is outside any section: multipath-tools ignores it".to_owned();
        plan.report(keyword.line, keyword.to_string(), (Outcome::Refused, why));
    }
    for section in whole.iter().flat_map(|whole| &whole.sections) {
        // The section that is allowed within it, where keywords are not allowed.
        let inner = match section.name.as_str() {
            "devices" => "device",
            "multipaths" => "multipath",
            "devnode_blacklist" => {
                let why = "the name of blacklist until 2005: multipath-tools no longer reads it";
                let remark = (Outcome::LeftOut, why.to_owned());
                plan.report(section.line, section.name.clone(), remark.clone());
                within(plan, section, &remark);
                continue;
            }
            _ => continue,
        };
        for keyword in &section.keywords {
            let why = format!("it is outside any `{inner}`: multipath-tools ignores it");
            let subject = subject(&section.name, keyword);
            plan.report(keyword.line, subject, (Outcome::Refused, why));
        }
    }
}

/// Translates `overrides` and `defaults`.
fn of_all_devices(plan: &mut Plan, levels: &Levels, made: &Made) {
    for said in &levels.overrides {
        let remark = of_overrides(plan, levels, *said);
        plan.report(said.line, said.subject("overrides"), remark);
    }
    for said in &levels.defaults {
        let everywhere = levels.everywhere(said.name);
        let remark = match everywhere {
            Some(value) => goes_before(plan, value.line),
            None => of_defaults(plan, levels, *said, made),
        };
        plan.report(said.line, said.subject("defaults"), remark);
    }
}

fn of_overrides(plan: &mut Plan, levels: &Levels, said: Said) -> Remark {
    if let Some(remark) = values::set(
        plan,
        &Owner::EveryDevice,
        said.name,
        said.value,
        levels.polling,
    ) {
        return remark;
    }
    match said.name {
        "features" => features(plan, levels, said, None),
        name => of_protocol(levels, said).unwrap_or_else(|| keywords::remark(name, said.value)),
    }
}

fn of_defaults(plan: &mut Plan, levels: &Levels, said: Said, made: &Made) -> Remark {
    let seconds = |plan: &mut Plan, setting| match said.value.parse::<u32>() {
        Ok(seconds) if seconds > 0 => {
            let ms = seconds.saturating_mul(1000);
            plan.set(Key::of_host(setting), Setting::Number(ms))
        }
        _ => (Outcome::Refused, "the minimum here is 1 second".to_owned()),
    };
    match said.name {
        "polling_interval" => seconds(plan, "check_interval_ms"),
        "checker_timeout" => seconds(plan, "check_timeout_ms"),
        "features" => features(plan, levels, said, Some(made)),
        "find_multipaths" if matches!(said.value, "no" | "off" | "greedy") => {
            let key = Key::of_host("lone_paths");
            let all = plan.set(key, Setting::Text("all".to_owned()));
            let local = "a local disk still gets no map".to_owned();
            together(vec![all, (Outcome::Refused, local)])
        }
        name => match place_of_defaults(name) {
            Some(place) => placed(plan, levels, said, place, made),
            None => of_protocol(levels, said).unwrap_or_else(|| keywords::remark(name, said.value)),
        },
    }
}

/// Translates a keyword of `defaults` that becomes a setting and may also be part of rules.
fn placed(plan: &mut Plan, levels: &Levels, said: Said, place: Place, made: &Made) -> Remark {
    let owner = place.owner();
    let remark = values::set(plan, &owner, said.name, said.value, levels.polling);
    let mut all: Vec<Remark> = remark.into_iter().collect();
    all.extend(made.of_defaults(said.name));
    together(all)
}

/// The remark on `prio`, `path_checker` and `detect_prio` for all devices. No rule is created, because a SATP rule for
/// every array would override those for known arrays.
fn of_protocol(levels: &Levels, said: Said) -> Option<Remark> {
    let refused = |why: &str| Some((Outcome::Refused, why.to_owned()));
    let first = said.value.split_whitespace().next().unwrap_or_default();
    match said.name {
        "prio" | "path_checker" if is_protocol_of_arrays(first) => {
            refused("no rule is created for every array: name the arrays in a device section")
        }
        "detect_prio" if said.value == "no" => {
            let level = [&levels.overrides, &levels.defaults];
            let prio = level.into_iter().flatten().find(|said| said.name == "prio");
            let is_alua = prio.is_some_and(|said| matches!(said.value, "alua" | "sysfs"));
            let same = || {
                let what = "`prio` selects access states anyway".to_owned();
                (Outcome::Same, what)
            };
            is_alua.then(same)
        }
        _ => None,
    }
}

/// overrides/protocol: timers of a transport.
fn timers(plan: &mut Plan, section: &Section) {
    let remark = (
        Outcome::Refused,
        "no setting depends on the protocol: set the timers of the arrays in device sections"
            .to_owned(),
    );
    plan.report(section.line, section.name.clone(), remark);
    for said in counting(plan, PROTOCOL, &section.name, section.keywords.iter()) {
        let remark = (Outcome::LeftOut, "its section is refused".to_owned());
        plan.report(said.line, said.subject(&section.name), remark);
    }
}
