//! A `device` section: a user SATP rule for the array that it names.
//!
//! `vendor` and `product` are what the rule matches. Which SATP it names follows from `hardware_handler`, `prio` and
//! `path_checker`, where they name a protocol of an array; else from the rules that come with dm-psa, as
//! multipath-tools fills up what a section does not say from its own table; else from `path_grouping_policy`. That and
//! `path_selector` give the PSP.

use super::blacklist;
use super::conf::Section;
use super::expression::{self, Matches};
use super::keywords::{self, DEVICE};
use super::multipath::{
    Common, Grouping, Said, Wanted, counting, features, grouping, selector, within,
};
use super::plan::{Plan, Told, in_words, together};
use super::report::Outcome;
use crate::config::rules::RuleFiles;
use crate::psa::pattern::Pattern;
use crate::psa::satp::rules::{Group, SatpRule};

/// A protocol of arrays that a section asks for.
struct Protocol {
    /// The words of `hardware_handler`, `prio` and `path_checker` for it.
    words: &'static [&'static str],
    /// The SATPs for such arrays; the first if none of them is known for the array.
    satps: &'static [&'static str],
    /// Claim options of that first one.
    claim_options: &'static str,
}

const ALUA: Protocol = Protocol {
    words: &["alua", "sysfs"],
    satps: &["VMW_SATP_ALUA", "VMW_SATP_ALUA_CX"],
    claim_options: "tpgs_on",
};

/// A CLARiiON that speaks ALUA: `prio alua` with `path_checker emc_clariion`.
const ALUA_CX: Protocol = Protocol {
    words: &[],
    satps: &["VMW_SATP_ALUA_CX"],
    claim_options: "tpgs_on",
};

const PROTOCOLS: &[Protocol] = &[
    ALUA,
    Protocol {
        words: &["emc", "emc_clariion"],
        satps: &["VMW_SATP_CX"],
        claim_options: "",
    },
    Protocol {
        words: &["rdac"],
        satps: &["VMW_SATP_LSI"],
        claim_options: "",
    },
    Protocol {
        words: &["hp_sw"],
        satps: &["VMW_SATP_DEFAULT_AP", "VMW_SATP_EVA", "VMW_SATP_MSA"],
        claim_options: "",
    },
];

/// The word of a keyword that may name a protocol: `1 alua` is `alua`.
fn protocol_word<'a>(said: &Said<'a>) -> &'a str {
    let mut words = said.value.split_whitespace();
    match said.name {
        "hardware_handler" => words.nth(1),
        _ => words.next(),
    }
    .unwrap_or_default()
}

fn protocol(hints: &[Said<'_>]) -> Option<&'static Protocol> {
    let of = |hint: &Said<'_>| {
        let word = protocol_word(hint);
        PROTOCOLS.iter().find(|p| p.words.contains(&word))
    };
    let mut named = hints.iter().filter_map(of);
    let first = named.next()?;
    let is_alua = |protocol: &Protocol| std::ptr::eq(protocol.words, ALUA.words);
    let is_cx = |protocol: &Protocol| protocol.words.contains(&"emc");
    let both =
        named.any(|other| (is_alua(first) && is_cx(other)) || (is_cx(first) && is_alua(other)));
    Some(if both { &ALUA_CX } else { first })
}

/// Patterns of an INQUIRY string; `None` is any.
pub(super) type Patterns = Vec<Option<Pattern>>;

/// The patterns of a `vendor`.
///
/// # Errors
/// What of it no rule can say.
pub(super) fn vendors(value: &str) -> Result<Patterns, String> {
    patterns(value, expression::Name::vendor)
}

/// The patterns of a `product`.
///
/// # Errors
/// What of it no rule can say.
pub(super) fn models(value: &str) -> Result<Patterns, String> {
    patterns(value, expression::Name::model)
}

fn patterns(
    value: &str,
    pattern: fn(&expression::Name) -> Result<Pattern, String>,
) -> Result<Patterns, String> {
    match expression::parse(value)? {
        Matches::Any => Ok(vec![None]),
        Matches::Names(names) => names.iter().map(|name| pattern(name).map(Some)).collect(),
    }
}

/// What the report says of patterns.
pub(super) fn shown(patterns: &Patterns) -> String {
    let text = |pattern: &Option<Pattern>| {
        let pattern = pattern.as_ref();
        pattern.map_or_else(|| "any".to_owned(), ToString::to_string)
    };
    let texts: Vec<String> = patterns.iter().map(text).collect();
    texts.join(", ")
}

/// What a section becomes.
struct Decision {
    /// Whether the section itself, or `overrides`, says any of it.
    is_said: bool,
    protocol: Option<&'static Protocol>,
    grouping: Option<Grouping>,
    /// PSP options.
    options: Option<&'static str>,
    /// Options of the rule: how long I/O waits, and the timers of ports.
    words: Vec<String>,
    /// Whether devices that report target port groups are ALUA whatever the section says.
    detects: bool,
    /// What is said of the lines that gave PSP and options.
    told: Vec<(usize, Told)>,
}

/// Translates a section.
pub(super) fn translate<'a>(
    plan: &mut Plan,
    section: &'a Section,
    common: &mut Common<'a>,
    rules: &RuleFiles,
    wanted: Wanted,
) {
    if let Some(why) = passed_over(section) {
        let told = (Outcome::LeftOut, why.to_owned());
        plan.tell(section.line, "device", told.clone());
        within(plan, section, &told);
        return;
    }
    let own = counting(plan, DEVICE, "device", section.keywords.iter());
    let (vendors, models) = match strings(&own) {
        Ok(strings) => strings,
        Err(why) => {
            plan.tell(section.line, "device", (Outcome::Refused, why));
            let told = (Outcome::LeftOut, "its section is refused".to_owned());
            for said in &own {
                plan.tell(said.line, said.subject("device"), told.clone());
            }
            return;
        }
    };
    let pairs = vendors
        .iter()
        .flat_map(|v| models.iter().map(move |m| (v, m)));
    let known = |(vendor, model)| known_rules(vendor, model, rules);
    let arrays: Vec<_> = pairs.map(|pair| (pair, known(pair))).collect();
    let is_known = arrays.iter().any(|(_, known)| !known.is_empty());
    let decision = Decision::of(&own, common, is_known);
    let mut made: Vec<Told> = Vec::new();
    let mut satps: Vec<String> = Vec::new();
    if decision.says_nothing() {
        let why = "nothing that a SATP rule holds: the array keeps the rule that it has here";
        made.push((Outcome::NoEquivalent, why.to_owned()));
    } else {
        for ((vendor, model), known) in arrays {
            for like in decision.like(known) {
                let rule = decision.rule(like, vendor, model, section.line);
                satps.push(rule.satp.clone());
                made.push(add(plan, rule, wanted));
            }
        }
    }
    for told in &made {
        plan.tell(section.line, "device", told.clone());
    }
    satps.sort_unstable();
    satps.dedup();
    let fate = together(made).0;
    // What is a part of the rules shares their fate.
    let part = |detail: String| match fate {
        Outcome::Refused => (Outcome::LeftOut, "its rule is refused".to_owned()),
        Outcome::NoEquivalent => (fate, "no rule is made of it".to_owned()),
        _ => (fate, detail),
    };
    for said in &own {
        let told = match said.name {
            "vendor" => part(format!("vendor={}", shown(&vendors))),
            "product" => part(format!("model={}", shown(&models))),
            "revision" => (Outcome::Same, "a rule is for any revision".to_owned()),
            "product_blacklist" => blacklist::products(plan, &vendors, said.value, wanted),
            name => match (common.overridden(name), decision.told(said)) {
                (Some(told), _) => told,
                (None, Some((Outcome::Imported, detail))) => part(detail),
                (None, Some(other)) => other,
                (None, None) => match name {
                    "features" => features(plan, said.value, |_| no_queueing_for_ever()),
                    _ if decision.is_decided_by(said) => part(satps.join(", ")),
                    _ => keywords::told(name, said.value),
                },
            },
        };
        plan.tell(said.line, said.subject("device"), told);
    }
}

/// Why a section is for no SCSI disk.
fn passed_over(section: &Section) -> Option<&'static str> {
    let value = |name: &str| {
        let mut named = section.keywords.iter().filter(|k| k.name == name);
        named.find_map(|keyword| keyword.value.as_deref())
    };
    match (value("vendor"), value("product")) {
        (Some("NVME"), _) => {
            Some("NVMe is left to the kernel's own multipathing: only SCSI disks are paths")
        }
        (Some(_), Some(_)) => None,
        _ => Some("multipath-tools passes over a device without vendor and product"),
    }
}

/// Which vendors and products a section is for.
fn strings(own: &[Said<'_>]) -> Result<(Patterns, Patterns), String> {
    let value = |name: &str| {
        own.iter()
            .find(|said| said.name == name)
            .map(|said| said.value)
    };
    let vendors = vendors(value("vendor").unwrap_or_default());
    let vendors = vendors.map_err(|why| format!("vendor: {why}"))?;
    let models = models(value("product").unwrap_or_default());
    let models = models.map_err(|why| format!("product: {why}"))?;
    let revision = value("revision").map(expression::parse);
    if revision.is_some_and(|revision| revision != Ok(Matches::Any)) {
        return Err("revision: no rule goes by it, and one would be for all of them".to_owned());
    }
    if vendors.contains(&None) && models.contains(&None) {
        return Err("it is for every device: `psactl storage nmp satp set` sets the PSP of all devices of a SATP".to_owned());
    }
    Ok((vendors, models))
}

fn no_queueing_for_ever() -> Told {
    let why = "I/O waits for the APD timeout: no_path_retry with a number of checks becomes one";
    (Outcome::NoEquivalent, why.to_owned())
}

/// The option of a SATP rule that a keyword becomes, or why it has none; `None` for other keywords.
fn option_word(said: &Said<'_>, polling: u32) -> Option<Result<String, String>> {
    let seconds = |most: u32| match said.value.parse::<u32>() {
        Ok(seconds) if (1..=most).contains(&seconds) => Ok(seconds),
        _ => Err(format!("a rule takes 1 to {most} seconds")),
    };
    Some(match (said.name, said.value) {
        ("no_path_retry", "queue") => Ok("apd_timeout=99999".to_owned()),
        ("no_path_retry", value) => match value.parse::<u32>() {
            Ok(checks) if checks > 0 => {
                let seconds = checks.saturating_mul(polling).clamp(20, 99_999);
                Ok(format!("apd_timeout={seconds}"))
            }
            _ => Err(
                "an array's I/O waits for 20 s at least: apd_timeout_ms of a device may be less"
                    .to_owned(),
            ),
        },
        ("fast_io_fail_tmo", _) => seconds(600).map(|s| format!("fast_io_fail_tmo={s}")),
        ("dev_loss_tmo", "infinity") => Ok("dev_loss_tmo=infinity".to_owned()),
        ("dev_loss_tmo", _) => seconds(0x7fff_ffff).map(|s| format!("dev_loss_tmo={s}")),
        _ => return None,
    })
}

/// The keywords that may name a protocol.
const HINTS: [&str; 4] = ["hardware_handler", "prio", "path_checker", "checker"];

impl Decision {
    /// What a section decides. Of an array that is known here `defaults` says nothing but the selector, because
    /// multipath-tools knows it too, and what its table says goes before `defaults`.
    fn of<'a>(own: &[Said<'a>], common: &mut Common<'a>, is_known: bool) -> Decision {
        let mut decision = Decision {
            is_said: false,
            protocol: None,
            grouping: None,
            options: None,
            words: Vec::new(),
            detects: true,
            told: Vec::new(),
        };
        for name in HINTS
            .into_iter()
            .chain(["path_grouping_policy", "path_selector"])
        {
            decision.is_said |=
                own.iter().any(|said| said.name == name) || common.overridden(name).is_some();
        }
        let hints = HINTS.map(|name| common.effective(own, name, !is_known));
        let hints: Vec<Said<'a>> = hints.into_iter().flatten().collect();
        decision.protocol = protocol(&hints);
        if let Some(said) = common.effective(own, "detect_prio", true) {
            decision.detects = !matches!(said.value, "no" | "off" | "0");
        }
        if let Some(said) = common.effective(own, "path_grouping_policy", !is_known) {
            let told = match grouping(said.value) {
                Ok(grouping) => {
                    decision.grouping = Some(grouping);
                    let what = match grouping {
                        Grouping::Together => "VMW_PSP_RR",
                        Grouping::Failover => "the PSP for one path at a time",
                    };
                    (Outcome::Imported, what.to_owned())
                }
                Err(told) => told,
            };
            decision.told.push((said.line, told));
        }
        for said in own {
            let told = match option_word(said, common.polling) {
                Some(Ok(word)) => {
                    decision.is_said = true;
                    let what = format!("option {word}");
                    decision.words.push(word);
                    (Outcome::Imported, what)
                }
                Some(Err(why)) => (Outcome::NoEquivalent, why),
                None => continue,
            };
            decision.told.push((said.line, told));
        }
        let one_path = decision.grouping == Some(Grouping::Failover);
        if let Some(said) = common.effective(own, "path_selector", true) {
            let told = match selector(said.value) {
                Ok(_) if one_path => {
                    let why = "with one path at a time there is nothing to select";
                    (Outcome::Same, why.to_owned())
                }
                Ok((options, what)) => {
                    decision.options = Some(options);
                    (Outcome::Imported, format!("{options}: {what}"))
                }
                Err(told) => told,
            };
            decision.told.push((said.line, told));
        }
        decision
    }

    /// Whether a rule would say nothing that the array's own does not.
    fn says_nothing(&self) -> bool {
        let nothing = self.protocol.is_none()
            && self.grouping.is_none()
            && self.options.is_none()
            && self.words.is_empty();
        nothing || !self.is_said
    }

    /// What is said of a line that gave PSP or options.
    fn told(&self, said: &Said<'_>) -> Option<Told> {
        let mut told = self.told.iter().filter(|(line, _)| *line == said.line);
        told.next().map(|(_, told)| told.clone())
    }

    fn is_decided_by(&self, said: &Said<'_>) -> bool {
        let word = protocol_word(said);
        let is_protocol = PROTOCOLS.iter().any(|p| p.words.contains(&word));
        HINTS.contains(&said.name) && is_protocol && self.protocol.is_some()
    }

    /// The rules that are known for the array and fit the decision, or others in their place.
    fn like(&self, known: Vec<SatpRule>) -> Vec<SatpRule> {
        let fits = |rule: &SatpRule| {
            self.protocol
                .is_none_or(|protocol| protocol.satps.contains(&rule.satp.as_str()))
        };
        let like: Vec<SatpRule> = known.into_iter().filter(fits).collect();
        if like.is_empty() {
            self.unknown_array()
        } else {
            like
        }
    }

    /// The rule for these strings.
    fn rule(
        &self,
        like: SatpRule,
        vendor: &Option<Pattern>,
        model: &Option<Pattern>,
        line: usize,
    ) -> SatpRule {
        let psp = self.psp(&like);
        let psp_options = match (self.options, psp.as_deref()) {
            (Some(options), Some("VMW_PSP_RR")) => options.to_owned(),
            (_, psp) if psp == like.psp.as_deref() => like.psp_options,
            _ => String::new(),
        };
        SatpRule {
            vendor: vendor.clone(),
            model: model.clone(),
            psp,
            psp_options,
            options: self.merged(&like.options),
            description: format!("multipath.conf, line {line}"),
            group: Group::User,
            ..like
        }
    }

    /// The options of the array's own rule, and in place of those with the same name the section's.
    fn merged(&self, options: &str) -> String {
        let name = |word: &str| word.split_once('=').map(|(name, _)| name.to_owned());
        let replaced = |word: &&str| self.words.iter().any(|own| name(own) == name(word));
        let kept = options.split_whitespace().filter(|word| !replaced(word));
        let own = self.words.iter().map(String::as_str);
        kept.chain(own).collect::<Vec<_>>().join(" ")
    }

    /// What an array gets that no rule here knows.
    fn unknown_array(&self) -> Vec<SatpRule> {
        let alua = ("VMW_SATP_ALUA", "tpgs_on");
        let satps = match (self.protocol, self.grouping) {
            (Some(protocol), _) => {
                let satp = protocol.satps.first().copied().unwrap_or_default();
                vec![(satp, protocol.claim_options)]
            }
            // multipath-tools looks whether it is ALUA, unless it is told not to.
            (None, _) if !self.detects => vec![("VMW_SATP_DEFAULT_AA", "")],
            (None, Some(_)) => vec![alua, ("VMW_SATP_DEFAULT_AA", "tpgs_off")],
            (None, None) => vec![alua],
        };
        let rule = |(satp, claim_options): (&str, &str)| SatpRule {
            satp: satp.to_owned(),
            claim_options: claim_options.to_owned(),
            ..SatpRule::default()
        };
        satps.into_iter().map(rule).collect()
    }

    fn psp(&self, like: &SatpRule) -> Option<String> {
        let alike = matches!(
            like.satp.as_str(),
            "VMW_SATP_DEFAULT_AA" | "VMW_SATP_SYMM" | "VMW_SATP_EQL" | "VMW_SATP_INV"
        );
        let psp = match (self.grouping, self.options) {
            (Some(Grouping::Together), _) => "VMW_PSP_RR",
            // One path of arrays whose ports are alike; where they differ, one of the better ones.
            (Some(Grouping::Failover), _) if alike => "VMW_PSP_FIXED",
            (Some(Grouping::Failover), _) => "VMW_PSP_MRU",
            (None, Some(_)) if !alike => "VMW_PSP_RR",
            (None, _) => return like.psp.clone(),
        };
        Some(psp.to_owned())
    }
}

/// The system rules for an array, one for each SATP and claim option.
fn known_rules(
    vendor: &Option<Pattern>,
    model: &Option<Pattern>,
    rules: &RuleFiles,
) -> Vec<SatpRule> {
    let overlap = |mine: &Option<Pattern>, theirs: &Option<Pattern>| match (mine, theirs) {
        (Some(mine), Some(theirs)) => mine.covers(theirs) || theirs.covers(mine),
        _ => true,
    };
    let fits = |rule: &&SatpRule| {
        rule.group == Group::System
            && rule.vendor.is_some()
            && vendor.is_some()
            && overlap(vendor, &rule.vendor)
            && overlap(model, &rule.model)
    };
    let mut known: Vec<SatpRule> = Vec::new();
    for rule in rules.satp.iter().filter(fits) {
        let same =
            |other: &SatpRule| other.satp == rule.satp && other.claim_options == rule.claim_options;
        if !known.iter().any(same) {
            known.push(rule.clone());
        }
    }
    known
}

/// Adds a rule, unless one that comes with dm-psa says the same.
fn add(plan: &mut Plan, rule: SatpRule, wanted: Wanted) -> Told {
    let what = in_words(&rule);
    if plan.is_system_rule(&rule) {
        return (Outcome::There, format!("{what}; as a system rule"));
    }
    let (outcome, remarks) = plan.add_satp_rule(rule, wanted.force);
    together(vec![(outcome, what), (outcome, remarks)])
}
