//! multipath.conf: what its sections and keywords become.
//!
//! | there | here |
//! |---|---|
//! | a `device` of `devices` | a user SATP rule: [`super::devices`] |
//! | `blacklist`, `blacklist_exceptions` | SATP rules that leave a disk as it is, or claim rules that mask it: [`super::blacklist`] |
//! | a `multipath` of `multipaths` | settings of a device in dm-psa.toml: [`super::maps`] |
//! | `defaults`, `overrides` | settings of the host, default PSPs, and what the rules of `devices` take from them: here |
//!
//! Everything else is told of: that dm-psa does it anyway, or why there is nothing like it ([`super::keywords`]).
//!
//! As in multipath-tools, `overrides` goes before what a section says, and `defaults` after it; of a keyword that is
//! said twice the later one counts.

use super::conf::{self, Keyword, Section};
use super::keywords::{self, DEFAULTS, OVERRIDES, PROTOCOL};
use super::plan::{Plan, Told, together};
use super::report::Outcome;
use super::{blacklist, devices, maps};
use crate::config::rules::RuleFiles;
use crate::config::settings_file::{Key, Setting, SettingsFile};
use std::collections::BTreeSet;

/// How things are to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Take what is blacklisted away from the host, instead of leaving it as it is.
    pub mask: bool,
    /// Take rules that look like a mistake.
    pub force: bool,
}

/// Plans what becomes of a file.
///
/// # Errors
/// A brace or a quote is wrong: where, and the mend.
pub fn plan(
    text: &str,
    rules: &RuleFiles,
    settings: SettingsFile,
    wanted: Wanted,
) -> Result<Plan, String> {
    let file = conf::parse(text).map_err(|wrong| wrong.to_string())?;
    let mut plan = Plan::new(rules, settings);
    let named = |name: &'static str| file.sections.iter().filter(move |s| s.name == name);
    let mut common = Common::of(&mut plan, named("defaults"), named("overrides"));
    misplaced(&mut plan, &file);
    for protocol in below(&file, "overrides", "protocol") {
        timers(&mut plan, protocol);
    }
    for multipath in below(&file, "multipaths", "multipath") {
        maps::translate(&mut plan, multipath, common.polling);
    }
    // Of two sections for one array the later counts there; of two rules the first does here.
    for device in below(&file, "devices", "device").into_iter().rev() {
        devices::translate(&mut plan, device, &mut common, rules, wanted);
    }
    let blacklisted: Vec<&Section> = named("blacklist").collect();
    let exceptions: Vec<&Section> = named("blacklist_exceptions").collect();
    blacklist::translate(&mut plan, &blacklisted, &exceptions, wanted);
    common.translate(&mut plan);
    plan.entries.sort_by_key(|entry| entry.line);
    Ok(plan)
}

/// The sections of a name within those of another.
fn below<'a>(file: &'a Section, outer: &str, inner: &str) -> Vec<&'a Section> {
    let outer = file.sections.iter().filter(|section| section.name == outer);
    let sections = outer.flat_map(|section| &section.sections);
    sections.filter(|section| section.name == inner).collect()
}

/// Tells of what stands where it does not belong.
fn misplaced(plan: &mut Plan, file: &Section) {
    for keyword in &file.keywords {
        let why = "it stands in no section, and multipath-tools does not read it".to_owned();
        plan.tell(keyword.line, keyword.to_string(), (Outcome::Refused, why));
    }
    for section in &file.sections {
        // The sections that may stand in it, and whether keywords may.
        let (inner, keywords) = match section.name.as_str() {
            "defaults" => ("", true),
            "overrides" => ("protocol", true),
            "blacklist" | "blacklist_exceptions" => ("device", true),
            "devices" => ("device", false),
            "multipaths" => ("multipath", false),
            _ => {
                refuse(plan, section, "multipath-tools has no such section");
                continue;
            }
        };
        for keyword in section.keywords.iter().filter(|_| !keywords) {
            let why = format!("it stands in no `{inner}`, and multipath-tools does not read it");
            let subject = subject(&section.name, keyword);
            plan.tell(keyword.line, subject, (Outcome::Refused, why));
        }
        for stranger in section.sections.iter().filter(|s| s.name != inner) {
            let why = format!("section {} has no such section in it", section.name);
            refuse(plan, stranger, &why);
        }
    }
}

/// What the report calls a keyword.
pub(super) fn subject(section: &str, keyword: &Keyword) -> String {
    format!("{section} {keyword}")
}

/// Refuses a section with all that stands in it.
pub(super) fn refuse(plan: &mut Plan, section: &Section, why: &str) {
    let told = (Outcome::Refused, why.to_owned());
    plan.tell(section.line, section.name.clone(), told);
    let told = (Outcome::LeftOut, "its section is refused".to_owned());
    within(plan, section, &told);
}

/// Tells the same of all that stands in a section.
pub(super) fn within(plan: &mut Plan, section: &Section, told: &Told) {
    for keyword in &section.keywords {
        plan.tell(keyword.line, subject(&section.name, keyword), told.clone());
    }
    for below in &section.sections {
        plan.tell(below.line, below.name.clone(), told.clone());
        within(plan, below, told);
    }
}

/// A keyword with its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) line: usize,
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    keyword: &'a Keyword,
}

impl Said<'_> {
    pub(super) fn subject(&self, section: &str) -> String {
        subject(section, self.keyword)
    }
}

/// The value of a keyword. That there is none, and what stands behind it, is told of.
pub(super) fn value<'a>(plan: &mut Plan, name: &str, keyword: &'a Keyword) -> Option<Said<'a>> {
    if !keyword.extra.is_empty() {
        let extra = keyword.extra.join(" ");
        let why = format!(
            "`{extra}` behind the value counts for nothing: the whole value belongs into quotes"
        );
        plan.tell(
            keyword.line,
            subject(name, keyword),
            (Outcome::LeftOut, why),
        );
    }
    match &keyword.value {
        Some(value) => Some(Said {
            line: keyword.line,
            name: &keyword.name,
            value,
            keyword,
        }),
        None => {
            let why = "it has no value, and multipath-tools does not read it".to_owned();
            plan.tell(
                keyword.line,
                subject(name, keyword),
                (Outcome::Refused, why),
            );
            None
        }
    }
}

/// The keywords that count: those that belong into the section, have a value and are not said again later. The others
/// are told of.
pub(super) fn counting<'a>(
    plan: &mut Plan,
    section: char,
    name: &str,
    keywords: impl Iterator<Item = &'a Keyword>,
) -> Vec<Said<'a>> {
    let mut said: Vec<Said<'a>> = Vec::new();
    for keyword in keywords {
        let Some(new) = value(plan, name, keyword) else {
            continue;
        };
        if let Err(told) = keywords::check(section, &keyword.name) {
            plan.tell(keyword.line, subject(name, keyword), told);
            continue;
        }
        if let Some(old) = said.iter_mut().find(|old| old.name == new.name) {
            let why = format!("line {} says it again, and counts", new.line);
            plan.tell(old.line, old.subject(name), (Outcome::LeftOut, why));
            *old = new;
        } else {
            said.push(new);
        }
    }
    said
}

/// What is said of all devices.
pub(super) struct Common<'a> {
    defaults: Vec<Said<'a>>,
    overrides: Vec<Said<'a>>,
    /// Lines of it that rules of device sections took up.
    used: BTreeSet<usize>,
    /// Seconds between two checks.
    pub(super) polling: u32,
}

impl<'a> Common<'a> {
    fn of(
        plan: &mut Plan,
        defaults: impl Iterator<Item = &'a Section>,
        overrides: impl Iterator<Item = &'a Section>,
    ) -> Common<'a> {
        let defaults = defaults.flat_map(|section| &section.keywords);
        let overrides = overrides.flat_map(|section| &section.keywords);
        let mut common = Common {
            defaults: counting(plan, DEFAULTS, "defaults", defaults),
            overrides: counting(plan, OVERRIDES, "overrides", overrides),
            used: BTreeSet::new(),
            polling: 5,
        };
        let polling = common
            .defaults
            .iter()
            .find(|s| s.name == "polling_interval");
        if let Some(seconds) = polling.and_then(|said| said.value.parse().ok()) {
            common.polling = seconds;
        }
        common
    }

    /// What holds in a device section that says `own`; `defaults` counts only if it may.
    pub(super) fn effective(
        &mut self,
        own: &[Said<'a>],
        name: &str,
        defaults: bool,
    ) -> Option<Said<'a>> {
        let find = |said: &[Said<'a>]| said.iter().find(|said| said.name == name).copied();
        if let Some(said) = find(&self.overrides) {
            self.used.insert(said.line);
            return Some(said);
        }
        let own = find(own);
        if own.is_none()
            && defaults
            && let Some(said) = find(&self.defaults)
        {
            self.used.insert(said.line);
            return Some(said);
        }
        own
    }

    /// Whether `overrides` says it, so that what a section says does not count.
    pub(super) fn overridden(&self, name: &str) -> Option<Told> {
        let said = self.overrides.iter().find(|said| said.name == name)?;
        let why = format!("section overrides, line {}, goes before it", said.line);
        Some((Outcome::LeftOut, why))
    }

    /// What becomes of it besides.
    fn translate(&self, plan: &mut Plan) {
        let sections = [("overrides", &self.overrides), ("defaults", &self.defaults)];
        for (name, section) in sections {
            for said in section {
                let overridden = (name == "defaults")
                    .then(|| self.overridden(said.name))
                    .flatten();
                let told = overridden.unwrap_or_else(|| self.one(plan, section, *said));
                plan.tell(said.line, said.subject(name), told);
            }
        }
    }

    fn one(&self, plan: &mut Plan, section: &[Said<'a>], said: Said<'a>) -> Told {
        let seconds = |plan: &mut Plan, setting| match said.value.parse::<u32>() {
            Ok(seconds) if seconds > 0 => {
                let ms = seconds.saturating_mul(1000);
                plan.set(Key::of_host(setting), Setting::Number(ms))
            }
            _ => (Outcome::Refused, "it is no number of seconds".to_owned()),
        };
        match said.name {
            "polling_interval" => seconds(plan, "check_interval_ms"),
            "checker_timeout" => seconds(plan, "check_timeout_ms"),
            "no_path_retry" => queueing(plan, Key::of_host(APD), said.value, self.polling),
            "fast_io_fail_tmo" => match said.value.parse() {
                Ok(seconds @ 1..=600) => {
                    plan.set(Key::of_host("fast_io_fail_tmo"), Setting::Number(seconds))
                }
                _ => keywords::told("fast_io_fail_tmo", said.value),
            },
            "features" => {
                let retry = section.iter().any(|said| said.name == "no_path_retry")
                    || self.overridden("no_path_retry").is_some();
                features(plan, said.value, |plan| {
                    if retry {
                        let why = "no_path_retry goes before queue_if_no_path".to_owned();
                        (Outcome::LeftOut, why)
                    } else {
                        queueing(plan, Key::of_host(APD), "queue", self.polling)
                    }
                })
            }
            "path_grouping_policy" => default_psps(plan, said.value),
            "path_selector" if self.used.contains(&said.line) => {
                let outcome = if plan.satp_rules.is_empty() {
                    Outcome::There
                } else {
                    Outcome::Imported
                };
                let what = "in the SATP rules of the device sections that it holds for";
                (outcome, what.to_owned())
            }
            name => keywords::told(name, said.value),
        }
    }
}

/// The setting that ends the queueing of I/O.
pub(super) const APD: &str = "apd_timeout_ms";

/// Its range, in milliseconds.
const LEAST_APD: u32 = 1_000;
const MOST_APD: u32 = 99_999_000;

/// `no_path_retry`: how long I/O waits while all paths are down.
pub(super) fn queueing(plan: &mut Plan, key: Key, value: &str, polling: u32) -> Told {
    let (ms, remark) = match (value, value.parse::<u32>()) {
        ("fail", _) | (_, Ok(0)) => (LEAST_APD, "; the least that there is".to_owned()),
        ("queue", _) => (MOST_APD, "; for ever there, 27 hours here".to_owned()),
        (_, Ok(checks)) => {
            let ms = checks.saturating_mul(polling).saturating_mul(1000);
            let remark = format!("; {checks} checks, one every {polling} s");
            (ms.clamp(LEAST_APD, MOST_APD), remark)
        }
        _ => {
            let why = "it is neither fail, nor queue, nor a number of checks".to_owned();
            return (Outcome::Refused, why);
        }
    };
    let (outcome, what) = plan.set(key, Setting::Number(ms));
    (outcome, what + &remark)
}

/// `features`: words of device-mapper behind their number. `queue` says what becomes of `queue_if_no_path`.
pub(super) fn features(plan: &mut Plan, value: &str, queue: impl Fn(&mut Plan) -> Told) -> Told {
    let mut told: Vec<Told> = Vec::new();
    let mut words = value.split_whitespace().skip(1);
    while let Some(word) = words.next() {
        told.push(match word {
            "queue_if_no_path" => queue(plan),
            "retain_attached_hw_handler" => (
                Outcome::Same,
                "a device handler of the kernel stays attached".to_owned(),
            ),
            "pg_init_retries" => match words.next() {
                Some("50") => (Outcome::Same, "pg_init_retries is 50".to_owned()),
                _ => (
                    Outcome::NoEquivalent,
                    "pg_init_retries is 50, the most that the kernel takes".to_owned(),
                ),
            },
            "pg_init_delay_msecs" | "queue_mode" => {
                words.next();
                (Outcome::NoEquivalent, format!("{word} stays the kernel's"))
            }
            _ => (
                Outcome::Refused,
                format!("`{word}` is no feature of multipath maps"),
            ),
        });
    }
    if told.is_empty() {
        return (Outcome::Same, "no feature is asked for".to_owned());
    }
    together(told)
}

/// How paths are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grouping {
    /// One path at a time.
    Failover,
    /// All paths that are equally good.
    Together,
}

/// `path_grouping_policy`
pub(super) fn grouping(value: &str) -> Result<Grouping, Told> {
    match value {
        "failover" => Ok(Grouping::Failover),
        "multibus" | "group_by_prio" | "group_by_tpg" | "group_by_serial"
        | "group_by_node_name" => Ok(Grouping::Together),
        _ => Err((
            Outcome::Refused,
            "multipath-tools has no such policy".to_owned(),
        )),
    }
}

/// `path_selector`: PSP options of VMW_PSP_RR that come nearest.
pub(super) fn selector(value: &str) -> Result<(&'static str, &'static str), Told> {
    match value.split_whitespace().next() {
        Some("round-robin") => Ok(("iops=1", "one I/O per path in turn")),
        Some("service-time") => Ok(("policy=latency", "the kernel's service-time")),
        Some("queue-length" | "historical-service-time") => Ok((
            "policy=latency",
            "the kernel's service-time, which comes nearest",
        )),
        _ => Err((
            Outcome::NoEquivalent,
            "VMW_PSP_RR has no such selector: it takes turns, or goes by latency".to_owned(),
        )),
    }
}

/// `path_grouping_policy` for all devices: the PSP of those whose rule names none.
fn default_psps(plan: &mut Plan, value: &str) -> Told {
    match grouping(value) {
        Err(told) => told,
        Ok(Grouping::Failover) => (
            Outcome::Same,
            "the PSPs of the SATPs stay: VMW_PSP_MRU, VMW_PSP_FIXED".to_owned(),
        ),
        Ok(Grouping::Together) => {
            let satps = ["VMW_SATP_ALUA", "VMW_SATP_DEFAULT_AA"];
            let told = satps.map(|satp| plan.set_default_psp(satp, "VMW_PSP_RR"));
            together(told.into())
        }
    }
}

/// overrides/protocol: timers of a transport.
fn timers(plan: &mut Plan, section: &Section) {
    let told = (
        Outcome::NoEquivalent,
        "no setting goes by protocol".to_owned(),
    );
    plan.tell(section.line, section.name.clone(), told);
    for said in counting(plan, PROTOCOL, &section.name, section.keywords.iter()) {
        let told = keywords::told(said.name, said.value);
        plan.tell(said.line, said.subject(&section.name), told);
    }
}
