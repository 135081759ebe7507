//! Reads `device` sections: the arrays that a section is for, and the report on each of its lines after the rules have
//! been created.
//!
//! `vendor` and `product` select the arrays. `hardware_handler`, `prio`, `path_checker` and `detect_prio` give the
//! protocol of the arrays, which determines the SATP. `path_grouping_policy` and `path_selector` determine the PSP, the
//! timers its options.

use super::arrays::{HINTS, Made, Why};
use super::blacklist::Left;
use super::conf::Section;
use super::entries::Entry;
use super::expression::{self, Matches};
use super::keywords;
use super::levels::{Device, Levels, SETTINGS, Value};
use super::multipath::{Said, features, goes_before, of_device, within};
use super::plan::{Plan, Remark, together};
use super::region::Region;
use super::report::Outcome;
use super::values;
use crate::config::settings_file::Owner;
use crate::psa::pattern::Pattern;

/// A protocol of arrays that a section requests.
#[derive(Debug)]
pub(super) struct Protocol {
    /// The values of `hardware_handler`, `prio` and `path_checker` for it.
    words: &'static [&'static str],
    /// The SATPs for such arrays. The first one is used if none of them is known for the array.
    satps: &'static [&'static str],
}

impl Protocol {
    pub(super) fn is_alua(&self) -> bool {
        self.satps
            .iter()
            .any(|satp| satp.starts_with("VMW_SATP_ALUA"))
    }

    pub(super) fn first(&self) -> &'static str {
        self.satps.first().copied().unwrap_or_default()
    }

    pub(super) fn has(&self, satp: &str) -> bool {
        self.satps.contains(&satp)
    }
}

const ALUA: Protocol = Protocol {
    words: &["alua", "sysfs"],
    satps: &["VMW_SATP_ALUA", "VMW_SATP_ALUA_CX"],
};

/// A CLARiiON that speaks ALUA: `prio alua` with `path_checker emc_clariion`.
const ALUA_CX: Protocol = Protocol {
    words: &[],
    satps: &["VMW_SATP_ALUA_CX"],
};

const PROTOCOLS: &[Protocol] = &[
    ALUA,
    Protocol {
        words: &["emc", "emc_clariion"],
        satps: &["VMW_SATP_CX"],
    },
    Protocol {
        words: &["rdac"],
        satps: &["VMW_SATP_LSI"],
    },
    Protocol {
        words: &["hp_sw"],
        satps: &["VMW_SATP_DEFAULT_AP", "VMW_SATP_EVA", "VMW_SATP_MSA"],
    },
];

/// The word in the value of a keyword that can name a protocol: `1 alua` gives `alua`.
fn protocol_word<'a>(name: &str, value: &'a str) -> &'a str {
    let mut words = value.split_whitespace();
    match name {
        "hardware_handler" => words.nth(1),
        _ => words.next(),
    }
    .unwrap_or_default()
}

/// Whether a word names the protocol of some type of arrays, other than ALUA.
pub(super) fn is_protocol_of_arrays(word: &str) -> bool {
    let mut protocols = PROTOCOLS.iter().filter(|protocol| !protocol.is_alua());
    protocols.any(|protocol| protocol.words.contains(&word))
}

/// The protocol that keywords request, by name and value.
pub(super) fn protocol(hints: &[(&str, &str)]) -> Option<&'static Protocol> {
    let of = |(name, value): &(&str, &str)| {
        let word = protocol_word(name, value);
        PROTOCOLS.iter().find(|p| p.words.contains(&word))
    };
    let mut named = hints.iter().filter_map(of);
    let first = named.next()?;
    let is_cx = |protocol: &Protocol| protocol.words.contains(&"emc");
    let both =
        named.any(|other| (first.is_alua() && is_cx(other)) || (is_cx(first) && other.is_alua()));
    Some(if both { &ALUA_CX } else { first })
}

/// Patterns for an INQUIRY string; `None` matches any.
pub(super) type Patterns = Vec<Option<Pattern>>;

/// The patterns of a `vendor`.
///
/// # Errors
/// The part of it that no rule can express.
pub(super) fn vendors(value: &str) -> Result<Patterns, String> {
    patterns(value, expression::Name::vendor).map_err(|why| format!("vendor: {why}"))
}

/// The patterns of a `product`.
///
/// # Errors
/// The part of it that no rule can express.
pub(super) fn models(value: &str) -> Result<Patterns, String> {
    patterns(value, expression::Name::model).map_err(|why| format!("product: {why}"))
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

/// The patterns as the report shows them.
fn shown(patterns: &Patterns) -> String {
    let text = |pattern: &Option<Pattern>| {
        let pattern = pattern.as_ref();
        pattern.map_or_else(|| "any".to_owned(), ToString::to_string)
    };
    let texts: Vec<String> = patterns.iter().map(text).collect();
    texts.join(", ")
}

/// All combinations of a vendor and a product.
pub(super) fn pairs(vendors: &Patterns, models: &Patterns) -> Vec<Region> {
    let with = |vendor: &Option<Pattern>| {
        let region = |model: &Option<Pattern>| Region::new(vendor.clone(), model.clone());
        models.iter().map(region).collect::<Vec<_>>()
    };
    vendors.iter().flat_map(with).collect()
}

// ---- reading ------------------------------------------------------------------------------------------------

/// Reads a section. `None` if multipath-tools ignores it, or if it is for no disk that is a path here.
pub(super) fn read<'a>(plan: &mut Plan, section: &'a Section) -> Option<Device<'a>> {
    if let Some(why) = passed_over(section) {
        let remark = (Outcome::LeftOut, why.to_owned());
        plan.report(section.line, "device", remark.clone());
        within(plan, section, &remark);
        return None;
    }
    let own = of_device(plan, section);
    let regions = regions(&own);
    Some(Device {
        section,
        own,
        regions,
    })
}

/// Why a section applies to no SCSI disk.
fn passed_over(section: &Section) -> Option<&'static str> {
    let value = |name: &str| {
        let mut named = section.keywords.iter().filter(|k| k.name == name);
        named.find_map(|keyword| keyword.value.as_deref())
    };
    match (value("vendor"), value("product")) {
        (Some("NVME"), _) => {
            Some("NVMe is left to the kernel's own multipathing: dm-psa manages only SCSI disks")
        }
        (Some(_), Some(_)) => None,
        _ => Some("multipath-tools ignores a device section without vendor and product"),
    }
}

fn value<'a>(own: &[Said<'a>], name: &str) -> &'a str {
    let said = own.iter().find(|said| said.name == name);
    said.map_or("", |said| said.value)
}

/// The arrays that a section is for.
fn regions(own: &[Said<'_>]) -> Result<Vec<Region>, String> {
    let vendors = vendors(value(own, "vendor"))?;
    let models = models(value(own, "product"))?;
    let revision = own.iter().find(|said| said.name == "revision");
    if revision.is_some_and(|said| expression::parse(said.value) != Ok(Matches::Any)) {
        return Err(
            "revision: rules cannot match it, and a rule without it would apply to all revisions"
                .to_owned(),
        );
    }
    Ok(pairs(&vendors, &models))
}

/// The entries that `product_blacklist` in the sections adds to the blacklist.
pub(super) fn products(levels: &Levels) -> Vec<Entry> {
    let of = |device: &Device| {
        let said = device
            .own
            .iter()
            .find(|said| said.name == "product_blacklist")?;
        let named = vendors(value(&device.own, "vendor"))
            .and_then(|vendors| Ok(pairs(&vendors, &models(said.value)?)));
        let named = named.map_err(|why| (Outcome::Refused, why));
        Some(Entry::products(said.line, said.subject("device"), named))
    };
    levels.devices.iter().filter_map(of).collect()
}

// ---- reporting ----------------------------------------------------------------------------------------------

/// Reports on every line of the sections.
pub(super) fn report(plan: &mut Plan, levels: &Levels, left: &Left, made: &Made) {
    for (at, device) in levels.devices.iter().enumerate() {
        match &device.regions {
            Err(why) => {
                plan.report(
                    device.section.line,
                    "device",
                    (Outcome::Refused, why.clone()),
                );
                let remark = (Outcome::LeftOut, "its section is refused".to_owned());
                for said in &device.own {
                    plan.report(said.line, said.subject("device"), remark.clone());
                }
            }
            Ok(regions) => Teller { levels, left, made }.section(plan, at, device, regions),
        }
    }
}

struct Teller<'a> {
    levels: &'a Levels<'a>,
    left: &'a Left,
    made: &'a Made,
}

impl Teller<'_> {
    fn section(&self, plan: &mut Plan, at: usize, device: &Device, regions: &[Region]) {
        let mut own = self.made.remarks(|one| one.why == Why::Section(at));
        if own.is_empty() {
            own.push(self.no_rule(plan, device, regions));
        }
        for remark in &own {
            plan.report(device.section.line, "device", remark.clone());
        }
        let fate = together(own).0;
        // Keywords that are part of a rule have the same outcome as the rule.
        let part = |detail: String| match fate {
            Outcome::Refused => (Outcome::LeftOut, "its rule is refused".to_owned()),
            _ => (fate, detail),
        };
        for said in &device.own {
            let remark = match said.name {
                "vendor" => part(format!("vendor={}", texts(vendors(said.value)))),
                "product" => part(format!("model={}", texts(models(said.value)))),
                "revision" => (Outcome::Same, "rules apply to any revision".to_owned()),
                // The blacklist reports it.
                "product_blacklist" => continue,
                name if SETTINGS.contains(&name) => self.setting(plan, device, regions, *said),
                name if HINTS.contains(&name) => self.hint(plan, at, *said),
                "detect_prio" => self.hint(plan, at, *said),
                "features" => self.features(plan, regions, device, *said),
                name => match self.overridden(plan, said) {
                    Some(remark) => remark,
                    None => keywords::remark(name, said.value),
                },
            };
            plan.report(said.line, said.subject("device"), remark);
        }
    }

    fn overridden(&self, plan: &Plan, said: &Said) -> Option<Remark> {
        let value = self.levels.overridden(said.name)?;
        Some(goes_before(plan, value.line))
    }

    /// The remark on a section that decides for no array.
    fn no_rule(&self, plan: &Plan, device: &Device, regions: &[Region]) -> Remark {
        if device.is_for_all() {
            let what = "it applies to every array: its keywords become settings for every device";
            return (Outcome::Same, what.to_owned());
        }
        let lines: Vec<Option<usize>> = regions.iter().map(|r| self.left.line_of(r)).collect();
        if let Some(Some(line)) = lines.first()
            && lines.iter().all(Option::is_some)
        {
            let why = format!("its arrays are blacklisted, {}", plan.at(*line));
            return (Outcome::LeftOut, why);
        }
        let lines = device.own.iter().map(|said| said.line);
        let fates: Vec<Remark> = lines
            .filter_map(|line| Some((self.made.fate(line)?, String::new())))
            .collect();
        if !fates.is_empty() {
            let what = "merged into the rules of the later sections for the same arrays";
            return (together(fates).0, what.to_owned());
        }
        let why = "it contains nothing that a SATP rule can express: the array keeps its rule here";
        (Outcome::NoEquivalent, why.to_owned())
    }

    /// The value that overrides that of a section, for all of its arrays.
    fn other(&self, regions: &[Region], said: Said) -> Option<Value<'_>> {
        if let Some(value) = self.levels.everywhere(said.name)
            && value.line != said.line
        {
            return Some(value);
        }
        let of = |region| self.levels.of(region, said.name);
        let others: Vec<Value> = regions.iter().filter_map(of).collect();
        let is_own = others.iter().any(|value| value.line == said.line);
        others.into_iter().next().filter(|_| !is_own)
    }

    fn setting(&self, plan: &mut Plan, device: &Device, regions: &[Region], said: Said) -> Remark {
        let polling = self.levels.polling;
        if let Some(value) = self.other(regions, said) {
            return goes_before(plan, value.line);
        }
        let everywhere = self.levels.everywhere(said.name);
        if everywhere.is_some_and(|value| value.line == said.line) {
            let remark = values::set(plan, &Owner::EveryDevice, said.name, said.value, polling);
            return remark.unwrap_or_else(|| keywords::remark(said.name, said.value));
        }
        let what = match said.name {
            "path_grouping_policy" => values::grouping(said.value)
                .map(|grouping| match grouping {
                    values::Grouping::Together => "VMW_PSP_RR".to_owned(),
                    values::Grouping::Failover => "a PSP that uses one path at a time".to_owned(),
                })
                .map_err(|why| (Outcome::Refused, why)),
            "path_selector" => values::selector(said.value).and_then(|(selector, what)| {
                let grouping = regions.iter().find_map(|region| {
                    let value = self.levels.of(region, "path_grouping_policy")?;
                    values::grouping(value.text).ok()
                });
                if grouping == Some(values::Grouping::Failover) {
                    let why = "with one path at a time there is nothing to select";
                    return Err((Outcome::Same, why.to_owned()));
                }
                Ok(format!("{}: {what}", selector.options(true)))
            }),
            name => match values::option(name, said.value, polling) {
                Some(Ok(word)) => Ok(format!("option {word}")),
                Some(Err(why)) => Err((Outcome::Refused, why)),
                None => return keywords::remark(name, said.value),
            },
        };
        match what {
            Err(remark) => remark,
            Ok(what) if self.made.fate(said.line).is_some() => match self.made.fate(said.line) {
                Some(Outcome::Refused) => (Outcome::LeftOut, "its rule is refused".to_owned()),
                fate => (fate.unwrap_or(Outcome::Imported), what),
            },
            Ok(_) if device.is_for_all() => {
                let why = "every section for arrays sets it again".to_owned();
                (Outcome::LeftOut, why)
            }
            Ok(_) => match regions.iter().find_map(|region| self.left.line_of(region)) {
                Some(line) => {
                    let why = format!("its arrays are blacklisted, {}", plan.at(line));
                    (Outcome::LeftOut, why)
                }
                None => {
                    let why = "later sections set it for each of its arrays".to_owned();
                    (Outcome::LeftOut, why)
                }
            },
        }
    }

    /// The remark on a keyword that gives the protocol of an array.
    fn hint(&self, plan: &Plan, at: usize, said: Said) -> Remark {
        if let Some(remark) = self.overridden(plan, &said) {
            return remark;
        }
        let of = || {
            self.made
                .rules
                .iter()
                .filter(|one| one.why == Why::Section(at))
        };
        let fate = together(of().map(|one| one.remark.clone()).collect()).0;
        let mut satps: Vec<&str> = of().map(|one| one.rule.satp.as_str()).collect();
        satps.sort_unstable();
        satps.dedup();
        let word = protocol_word(said.name, said.value);
        let is_protocol = PROTOCOLS.iter().any(|p| p.words.contains(&word));
        let is_fixed = said.name == "detect_prio" && said.value == "no";
        if satps.is_empty() || !(is_protocol || is_fixed) {
            return keywords::remark(said.name, said.value);
        }
        (fate, satps.join(", "))
    }

    fn features(&self, plan: &mut Plan, regions: &[Region], device: &Device, said: Said) -> Remark {
        if let Some(remark) = self.overridden(plan, &said) {
            return remark;
        }
        if device.is_for_all() {
            return features(plan, self.levels, said, Some(self.made));
        }
        let of = |region: &Region| self.levels.of(region, "no_path_retry");
        let counts = regions
            .iter()
            .filter_map(of)
            .any(|value| value.line == said.line);
        let queue = if !values::queues(said.value) || !counts {
            values::retry_goes_before()
        } else {
            let word = values::option("no_path_retry", "queue", self.levels.polling);
            let word = word.and_then(Result::ok).unwrap_or_default();
            let fate = self.made.fate(said.line).unwrap_or(Outcome::Imported);
            (fate, format!("option {word}"))
        };
        values::features(said.value, &queue)
    }
}

fn texts(patterns: Result<Patterns, String>) -> String {
    patterns.map_or_else(|why| why, |patterns| shown(&patterns))
}
