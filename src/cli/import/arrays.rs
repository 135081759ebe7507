//! Builds SATP rules for arrays from `devices`, `blacklist` and `defaults` of multipath.conf.
//!
//! Every section, every line of the table that is built into multipath-tools, and every system rule of dm-psa applies
//! to a [`Region`] of arrays. Where regions overlap, the values of [`Levels`] are merged keyword by keyword, and a
//! blacklist takes precedence over all of them. Therefore each region in which two of them meet is decided separately.
//! A region gets user rules if the rules in force without them have a different effect. User rules take precedence over
//! system rules, so the rules for a region must come after rules for all regions within it: the innermost rules come
//! first.

use super::blacklist::Left;
use super::levels::{Levels, Origin, Place, SETTINGS, Value, place_of_defaults};
use super::made::{Made, One, Wanted, Why};
use super::plan::{Plan, in_words, together};
use super::protocol::{HINTS, Protocol, protocol};
use super::region::{Region, Regions};
use super::report::Outcome;
use super::values::{self, Grouping};
use crate::config::rules::RuleFiles;
use crate::psa::pattern::Pattern;
use crate::psa::satp;
use crate::psa::satp::rules::{Group, Lookup, SatpRule};

/// A system rule, and the arrays that it is for. multipath-tools matches products by prefix, and so do the rules that
/// are created. A system rule with a complete product name therefore counts for all arrays whose product begins with
/// it.
struct Known<'a> {
    region: Region,
    rule: &'a SatpRule,
}

fn known(rules: &RuleFiles) -> Vec<Known<'_>> {
    let counts = |rule: &&SatpRule| {
        rule.group == Group::System
            && rule.lookup() == Lookup::Vendor
            && rule.names_something()
            && satp::by_name(&rule.satp).is_some()
    };
    let of = |rule| Known {
        region: widened(rule),
        rule,
    };
    rules.satp.iter().filter(counts).map(of).collect()
}

fn widened(rule: &SatpRule) -> Region {
    let beginning = |pattern: &Pattern| match pattern.literal() {
        Some(text) if !pattern.as_str().ends_with('*') && text.len() < 16 => {
            Pattern::parse(&format!("^{text}*")).unwrap_or_else(|_| pattern.clone())
        }
        _ => pattern.clone(),
    };
    let model = rule.model.as_ref().map(beginning);
    Region::new(rule.vendor.clone(), model)
}

struct Maker<'a> {
    levels: &'a Levels<'a>,
    left: &'a Left,
    rules: &'a RuleFiles,
    known: Vec<Known<'a>>,
    made: Vec<One>,
}

/// Creates the rules.
///
/// # Errors
/// The sections would need more rules than any host has.
pub(super) fn make(
    plan: &mut Plan,
    levels: &Levels,
    left: &Left,
    rules: &RuleFiles,
    wanted: Wanted,
) -> Result<Made, String> {
    let mut maker = Maker {
        levels,
        left,
        rules,
        known: known(rules),
        made: Vec::new(),
    };
    let regions = maker.regions()?;
    for region in regions.by_depth() {
        maker.decide(region);
    }
    let mut made = maker.made;
    // The innermost regions come first; rules for one region keep their order.
    made.sort_by_key(|one| std::cmp::Reverse(one.region.depth()));
    for one in &mut made {
        if one.remark.0 == Outcome::There {
            continue;
        }
        let is_for_all = one.region.is_any();
        let what = in_words(&one.rule);
        let (outcome, remarks) = plan.add_satp_rule(one.rule.clone(), wanted.force || is_for_all);
        one.remark = if is_for_all && one.rule.satp == LOCAL {
            (
                outcome,
                format!("{LOCAL} for every device that no other user rule names"),
            )
        } else {
            together(vec![(outcome, what), (outcome, remarks)])
        };
    }
    Ok(Made { rules: made })
}

impl<'a> Maker<'a> {
    /// The regions that are decided separately.
    fn regions(&self) -> Result<Regions, String> {
        let sections = self.levels.devices.iter();
        let sections = sections.filter(|device| !device.is_for_all() || self.needs_rules(device));
        let sections = sections.flat_map(|device| device.regions.as_deref().unwrap_or_default());
        let mut regions = Regions::closed(sections.chain(self.left.regions()).cloned())?;
        let rows = self.levels.table.iter().flat_map(|row| &row.regions);
        let others = self.known.iter().map(|known| &known.region).chain(rows);
        let defaults = SETTINGS.iter().any(|name| {
            self.levels.everywhere(name).is_none() && self.levels.otherwise(name).is_some()
        });
        for other in others {
            if defaults {
                regions.join(other.clone())?;
            } else {
                regions.refine(other)?;
            }
        }
        Ok(regions)
    }

    /// Whether a section for all arrays has a value that cannot become a setting, because a later section has another
    /// value.
    fn needs_rules(&self, device: &super::levels::Device) -> bool {
        let mut said = device.own.iter().map(|said| said.name);
        said.any(|name| SETTINGS.contains(&name) && self.levels.everywhere(name).is_none())
    }

    fn decide(&mut self, region: &Region) {
        if let Some(line) = self.left.line_of(region) {
            let rule = SatpRule {
                satp: LOCAL.to_owned(),
                vendor: region.vendor.clone(),
                model: region.model.clone(),
                description: "blacklisted in multipath.conf".to_owned(),
                group: Group::User,
                ..SatpRule::default()
            };
            let is_local = |on| {
                self.in_force(region, on)
                    .is_some_and(|rule| rule.satp == LOCAL)
            };
            if !(is_local(true) && is_local(false)) {
                self.add(region, rule, Why::Blacklist(line), Vec::new());
            }
            return;
        }
        let (on, off) = (self.base(region, true), self.base(region, false));
        let is_listed = on.is_some() || off.is_some();
        let applied: Vec<(&'static str, Value<'a>)> = SETTINGS
            .iter()
            .filter_map(|name| Some((*name, self.applied(region, name, [on, off])?)))
            .collect();
        let section = self.levels.devices.iter().rposition(|device| {
            let takes_part = !device.is_for_all() || self.needs_rules(device);
            takes_part && device.covers(region)
        });
        let why = match (section, self.left.taken_back(region)) {
            (Some(section), _) => Why::Section(section),
            (None, Some(line)) => Why::Exception(line),
            (None, None) if self.is_for_defaults(region, is_listed, &applied) => Why::Defaults,
            // A new rule for a larger region would replace the rule for these arrays.
            (None, None) if is_listed && self.is_shadowed(region) => Why::Defaults,
            (None, None) => return,
        };
        if matches!(why, Why::Section(_))
            && !is_listed
            && applied.is_empty()
            && !self.is_hinted(region)
        {
            // The section has no value that belongs in a rule, and no rule lists the array.
            return;
        }
        let known = (on.is_some(), off.is_some());
        for rule in self.rules_of(region, [on, off], &applied, why) {
            // Arrays that no rule lists have the values of `defaults` already.
            let is_known = rule
                .tpgs()
                .is_none_or(|on| if on { known.0 } else { known.1 });
            if why == Why::Defaults && is_listed && !is_known {
                continue;
            }
            let mut sides = [true, false].into_iter();
            let is_same = sides.all(|on| {
                let is_side = rule.tpgs().is_none_or(|wanted| wanted == on);
                !is_side
                    || self
                        .in_force(region, on)
                        .is_some_and(|there| is_same(there, &rule))
            });
            let keywords: Vec<_> = applied
                .iter()
                .map(|(name, value)| (*name, value.line))
                .collect();
            if is_same {
                let there = self.in_force(region, rule.tpgs().unwrap_or(true));
                let is_made = self.made.iter().any(|one| there == Some(&one.rule));
                let whose = match there.map(|there| there.group) {
                    _ if is_made => "a rule for these and other arrays does the same",
                    Some(Group::System) => "as a system rule",
                    _ => "as a user rule",
                };
                let what = format!("{}; {whose}", in_words(&rule));
                self.made.push(One {
                    region: region.clone(),
                    rule,
                    why,
                    keywords,
                    remark: (Outcome::There, what),
                });
            } else {
                self.add(region, rule, why, keywords);
            }
        }
    }

    /// Whether sections or `overrides` say which protocol the arrays of a region use.
    fn is_hinted(&self, region: &Region) -> bool {
        let mut names = HINTS.into_iter().chain(["detect_prio"]);
        names.any(|name| {
            let value = self.levels.of(region, name);
            value.is_some_and(|value| !matches!(value.origin, Origin::Table | Origin::Defaults))
        })
    }

    fn add(
        &mut self,
        region: &Region,
        rule: SatpRule,
        why: Why,
        keywords: Vec<(&'static str, usize)>,
    ) {
        self.made.push(One {
            region: region.clone(),
            rule,
            why,
            keywords,
            remark: (Outcome::Imported, String::new()),
        });
    }

    /// Whether a rule that is created applies to the arrays of a region.
    fn is_shadowed(&self, region: &Region) -> bool {
        self.made
            .iter()
            .any(|one| one.remark.0 != Outcome::There && one.region.covers(region))
    }

    /// The system rule for arrays that report target port groups (`on`), or for those that do not.
    fn base(&self, region: &Region, on: bool) -> Option<&'a SatpRule> {
        let fits = |known: &&Known| {
            known.region.covers(region) && known.rule.tpgs().is_none_or(|wanted| wanted == on)
        };
        let fitting = self.known.iter().filter(fits);
        fitting
            .min_by_key(|known| known.rule.order())
            .map(|known| known.rule)
    }

    /// The rule that applies to the arrays of a region, including the rules created so far.
    fn in_force(&self, region: &Region, on: bool) -> Option<&SatpRule> {
        let fits = |rule: &SatpRule| {
            rule.lookup() == Lookup::Vendor
                && rule.tpgs().is_none_or(|wanted| wanted == on)
                && satp::by_name(&rule.satp).is_some()
        };
        let here = self.rules.satp.iter().filter(|rule| {
            let of = match rule.group {
                Group::User => Region::new(rule.vendor.clone(), rule.model.clone()),
                Group::System => widened(rule),
            };
            fits(rule) && of.covers(region)
        });
        let here = here.map(|rule| ((rule.order(), 0, 0), rule));
        let made = self.made.iter().filter(|one| {
            one.remark.0 != Outcome::There && fits(&one.rule) && one.region.covers(region)
        });
        let made = made.map(|one| {
            let inner = std::cmp::Reverse(one.region.depth());
            (one.rule.order(), inner, &one.rule)
        });
        let made = made.min_by_key(|(order, inner, _)| (*order, *inner));
        let here = here
            .min_by_key(|(key, _)| *key)
            .map(|((order, ..), rule)| (order, rule));
        match (here, made) {
            (Some((a, here)), Some((b, _, _))) if a <= b => Some(here),
            (_, Some((_, _, made))) => Some(made),
            (here, None) => here.map(|(_, rule)| rule),
        }
    }

    /// The value of a keyword that a rule for these arrays must contain, if a rule is created.
    fn applied(
        &self,
        region: &Region,
        name: &str,
        base: [Option<&SatpRule>; 2],
    ) -> Option<Value<'a>> {
        // A setting takes precedence over all rules.
        if self.levels.everywhere(name).is_some() {
            return None;
        }
        let mut rules = base.into_iter().flatten();
        let is_listed = base.iter().any(Option::is_some);
        let value = self.levels.of(region, name)?;
        let counts = match value.origin {
            Origin::Section(_) => true,
            // dm-psa's own rules have the values of the table for the arrays that they list.
            Origin::Table if is_listed => {
                name == "dev_loss_tmo" && self.levels.default(name).is_some()
            }
            Origin::Table => true,
            Origin::Defaults | Origin::Overrides => match place_of_defaults(name) {
                Some(Place::Unlisted) => true,
                // The setting comes after all rules: it is effective unless a rule sets the same.
                Some(Place::Behind) => {
                    name == "path_selector" && rules.any(|rule| !rule.psp_options.is_empty())
                }
                _ => false,
            },
        };
        counts.then_some(value)
    }

    /// Whether arrays that no section mentions need a rule because of `defaults`: otherwise its settings would apply to
    /// arrays that they are not meant for, or not apply to arrays that they are meant for.
    fn is_for_defaults(
        &self,
        region: &Region,
        is_listed: bool,
        applied: &[(&'static str, Value)],
    ) -> bool {
        if is_listed {
            return applied.iter().any(|(name, value)| match value.origin {
                Origin::Table => *name == "dev_loss_tmo",
                _ => true,
            });
        }
        SETTINGS.iter().any(|name| {
            let is_table = applied
                .iter()
                .any(|(one, value)| one == name && value.origin == Origin::Table);
            is_table && self.levels.otherwise(name).is_some()
        }) && !region.is_any()
    }

    /// The rules of a region: one rule for arrays that report target port groups and one for those that do not, or one
    /// for both. `base` are the system rules for them.
    fn rules_of(
        &self,
        region: &Region,
        base: [Option<&SatpRule>; 2],
        applied: &[(&'static str, Value)],
        why: Why,
    ) -> Vec<SatpRule> {
        let get = |name: &str| {
            let mut values = applied.iter().filter(|(one, _)| *one == name);
            values.next().map(|(_, value)| *value)
        };
        let grouping = get("path_grouping_policy");
        let grouping = grouping.and_then(|value| values::grouping(value.text).ok());
        let built_in = self.levels.built_in(region, "path_grouping_policy");
        let built_in = built_in.and_then(|value| values::grouping(value.text).ok());
        let selector = get("path_selector").and_then(|value| values::selector(value.text).ok());
        let alone = self.levels.default("path_selector").is_none();
        let selector = selector.map(|(selector, _)| selector.options(alone));
        let words: Vec<String> = applied
            .iter()
            .filter_map(|(name, value)| values::option(name, value.text, self.levels.polling)?.ok())
            .collect();
        let description = match why {
            Why::Section(at) => {
                let line = self.levels.devices.get(at).map_or(0, |d| d.section.line);
                format!("multipath.conf, line {line}")
            }
            Why::Defaults => "multipath.conf, section defaults".to_owned(),
            Why::Exception(line) | Why::Blacklist(line) => format!("multipath.conf, line {line}"),
        };
        let rule = |like: SatpRule| {
            let psp = psp(&like, grouping, built_in, selector.is_some());
            let psp_options = match (selector, psp.as_deref()) {
                (Some(options), Some("VMW_PSP_RR")) => options.to_owned(),
                (_, psp) if psp == like.psp.as_deref() => like.psp_options.clone(),
                _ => String::new(),
            };
            SatpRule {
                vendor: region.vendor.clone(),
                model: region.model.clone(),
                psp,
                psp_options,
                options: merged(&like.options, &words),
                description: description.clone(),
                group: Group::User,
                ..like
            }
        };
        self.likes(region, base).into_iter().map(rule).collect()
    }

    /// The rules on which those of a region are based: the system rules, if they fit the protocol that the file gives
    /// for the array, otherwise other rules.
    fn likes(&self, region: &Region, [on, off]: [Option<&SatpRule>; 2]) -> Vec<SatpRule> {
        let is_listed = on.is_some() || off.is_some();
        let hints = HINTS.map(|name| {
            let value = self.levels.of(region, name)?;
            let counts = match value.origin {
                // multipath-tools lists an array that rules list, and its table takes precedence over `defaults`.
                Origin::Table | Origin::Defaults => !is_listed,
                _ => true,
            };
            counts.then_some((name, value.text))
        });
        let hints: Vec<(&str, &str)> = hints.into_iter().flatten().collect();
        let protocol = protocol(&hints);
        let word = |name| self.levels.of(region, name).map(|value| value.text);
        let detects = word("detect_prio") != Some("no");
        let asks_for_alua = matches!(word("prio"), Some("alua" | "sysfs"));
        let other = protocol.filter(|protocol| !protocol.is_alua());
        let make = |satp: &str, claim_options: &str| SatpRule {
            satp: satp.to_owned(),
            claim_options: claim_options.to_owned(),
            ..SatpRule::default()
        };
        if !detects && !asks_for_alua && protocol.is_none_or(|protocol| !protocol.is_alua()) {
            let satp = other.map_or("VMW_SATP_DEFAULT_AA", |protocol| protocol.first);
            let like = [off, on]
                .into_iter()
                .flatten()
                .find(|rule| rule.satp == satp);
            return vec![SatpRule {
                claim_options: String::new(),
                ..like.cloned().unwrap_or_else(|| make(satp, ""))
            }];
        }
        let fits = |rule: &&SatpRule, protocol: Option<&Protocol>| {
            protocol.is_none_or(|protocol| protocol.has(&rule.satp))
        };
        let alua = protocol.filter(|protocol| protocol.is_alua());
        let on = on.filter(|rule| fits(rule, alua)).cloned();
        let on = on.unwrap_or_else(|| {
            make(
                alua.map_or("VMW_SATP_ALUA", |protocol| protocol.first),
                "tpgs_on",
            )
        });
        let off = off.filter(|rule| fits(rule, other)).cloned();
        let off = off.unwrap_or_else(|| {
            make(
                other.map_or("VMW_SATP_DEFAULT_AA", |protocol| protocol.first),
                "tpgs_off",
            )
        });
        if on == off {
            return vec![on];
        }
        let side = |rule: SatpRule, word: &str| SatpRule {
            claim_options: if rule.claim_options.is_empty() {
                word.to_owned()
            } else {
                rule.claim_options.clone()
            },
            ..rule
        };
        vec![side(on, "tpgs_on"), side(off, "tpgs_off")]
    }
}

const LOCAL: &str = "VMW_SATP_LOCAL";

/// Whether two rules have the same effect.
fn is_same(there: &SatpRule, rule: &SatpRule) -> bool {
    let says = |rule: &SatpRule| {
        (
            rule.satp.clone(),
            rule.psp.clone(),
            rule.psp_options.clone(),
            rule.options.clone(),
        )
    };
    says(there) == says(rule) && there.names_something()
}

/// Merges options: `words` replace those options of the array's own rule that have the same name.
fn merged(options: &str, words: &[String]) -> String {
    let name = |word: &str| word.split_once('=').map(|(name, _)| name.to_owned());
    let replaced = |word: &&str| words.iter().any(|own| name(own) == name(word));
    let kept = options.split_whitespace().filter(|word| !replaced(word));
    let own = words.iter().map(String::as_str);
    kept.chain(own).collect::<Vec<_>>().join(" ")
}

fn psp(
    like: &SatpRule,
    grouping: Option<Grouping>,
    built_in: Option<Grouping>,
    selects: bool,
) -> Option<String> {
    let alike = matches!(
        like.satp.as_str(),
        "VMW_SATP_DEFAULT_AA" | "VMW_SATP_SYMM" | "VMW_SATP_EQL" | "VMW_SATP_INV"
    );
    let psp = match (grouping, built_in) {
        (Some(Grouping::Together), _) => "VMW_PSP_RR",
        // One path, if the ports of the array are equivalent; otherwise one of the better paths.
        (Some(Grouping::Failover), _) if alike => "VMW_PSP_FIXED",
        (Some(Grouping::Failover), _) => "VMW_PSP_MRU",
        // A path selector needs several paths, where multipath-tools puts them into one group.
        (None, Some(Grouping::Together)) if selects => "VMW_PSP_RR",
        (None, None) if selects && !alike => "VMW_PSP_RR",
        (None, _) => return like.psp.clone(),
    };
    Some(psp.to_owned())
}
