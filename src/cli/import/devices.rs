//! Reads `device` sections: the arrays that a section is for, and the report on each of its lines after the rules have
//! been created.
//!
//! `vendor` and `product` select the arrays. `hardware_handler`, `prio`, `path_checker` and `detect_prio` give the
//! protocol of the arrays, which determines the SATP. `path_grouping_policy` and `path_selector` determine the PSP, the
//! timers its options.

use super::blacklist::Left;
use super::conf::Section;
use super::entries::Entry;
use super::expression::{self, Matches};
use super::keywords::{self, DEVICE};
use super::levels::{Device, Levels, Place, SETTINGS, Value};
use super::made::{Made, Why};
use super::plan::{Plan, Remark, together};
use super::products::{models, pairs, texts, vendors};
use super::protocol::{HINTS, names_protocol};
use super::region::Region;
use super::report::Outcome;
use super::said::{Said, counting, goes_before, within};
use super::values;
use crate::config::settings_file::Owner;

// ---- reading ------------------------------------------------------------------------------------------------

/// Reads a section. `None` if multipath-tools ignores it, or if it is for no disk that is a path here.
pub(super) fn read<'a>(plan: &mut Plan, section: &'a Section) -> Option<Device<'a>> {
    if let Some(why) = passed_over(section) {
        let remark = (Outcome::LeftOut, why.to_owned());
        plan.report(section.line, "device", remark.clone());
        within(plan, section, &remark);
        return None;
    }
    let own = counting(plan, DEVICE, "device", section.keywords.iter());
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
        let is_protocol = names_protocol(said.name, said.value);
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

/// `features` of all devices: `queue_if_no_path` is effective if `no_path_retry` is not set.
pub(super) fn features(
    plan: &mut Plan,
    levels: &Levels,
    said: Said,
    made: Option<&Made>,
) -> Remark {
    let name = "no_path_retry";
    let goes_before = levels.everywhere(name).or_else(|| levels.default(name));
    let counts = levels.otherwise(name).is_some_and(|v| v.line == said.line);
    let queue = if !values::queues(said.value) {
        values::retry_goes_before()
    } else if let Some(value) = goes_before.filter(|_| !counts) {
        let (outcome, why) = values::retry_goes_before();
        (outcome, format!("{why}: {}", plan.at(value.line)))
    } else if counts {
        let owner = Place::Unlisted.owner();
        let set = values::set(plan, &owner, name, "queue", levels.polling);
        let mut all: Vec<Remark> = set.into_iter().collect();
        all.extend(made.and_then(|made| made.of_defaults(name)));
        together(all)
    } else {
        values::retry_goes_before()
    };
    values::features(said.value, &queue)
}
