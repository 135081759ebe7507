//! Finds what is wrong or doubtful in rules that are valid one by one.
//!
//! Input: the lists. Output: findings on the admin's rules. Rules of the system are not checked.

use crate::psa::claim::{Rule, RuleClass, RuleLists};
use crate::psa::mpp::Plugin;
use crate::psa::psp::PspKind;
use crate::psa::satp;
use crate::psa::satp::rules::{Group, SatpRule, SatpRules};

/// Something that the admin should check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `duplicate`, `shadowed`, `unreachable`, `overlap`, `pending`, `remark`.
    pub kind: &'static str,
    /// The rule.
    pub rule: String,
    /// What is wrong, and the remedy.
    pub text: String,
}

/// Checks all rules.
#[must_use]
pub(crate) fn findings(lists: &RuleLists, satp: &SatpRules) -> Vec<Finding> {
    let mut findings = claim_findings(lists);
    findings.extend(satp_findings(satp));
    findings
}

fn claim_findings(lists: &RuleLists) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in lists.file.iter() {
        let name = format!("{} {}", rule.class.as_str(), rule.number);
        let mut find = |kind, text: String| {
            findings.push(Finding {
                kind,
                rule: name.clone(),
                text,
            });
        };
        // As if the list in the file were loaded.
        let earlier = || {
            let all = lists.system.iter().chain(lists.file.iter());
            all.filter(|other| other.class == rule.class && other.number < rule.number)
        };
        let same = earlier().find(|other| other.matches == rule.matches);
        let takes = |other: &&Rule| {
            other.class != RuleClass::MP || {
                // A rule for a plug-in that does not exist takes nothing.
                Plugin::by_name(&other.plugin).is_some()
            }
        };
        let shadow = earlier()
            .filter(takes)
            .find(|other| other.matches.covers(&rule.matches));
        if let Some(other) = same {
            find(
                "duplicate",
                format!("{other} matches the same and is tried first: remove one"),
            );
        } else if let Some(other) = shadow {
            let kind = if other.plugin == rule.plugin {
                "shadowed"
            } else {
                "unreachable"
            };
            find(
                kind,
                format!(
                    "{other}, for {}, takes everything that this rule matches: give this rule a lower number, or remove it",
                    other.plugin
                ),
            );
        }
        let reached = same.is_none() && shadow.is_none();
        let overlapping = earlier().filter(|other| {
            reached
                && other.plugin != rule.plugin
                && !other.matches.covers(&rule.matches)
                && other.matches.overlaps(&rule.matches)
        });
        for other in overlapping {
            find(
                "overlap",
                format!(
                    "{other}, for {}, takes some of what this rule matches",
                    other.plugin
                ),
            );
        }
        match lists.loaded.get(rule.class, rule.number) {
            Some(loaded) if loaded == rule => {}
            _ => find(
                "pending",
                "the rule is in the file list, but not loaded".to_owned(),
            ),
        }
        for remark in rule.remarks() {
            find("remark", remark);
        }
    }
    for rule in lists.loaded.iter() {
        if lists.file.get(rule.class, rule.number).is_none() {
            findings.push(Finding {
                kind: "pending",
                rule: format!("{} {}", rule.class.as_str(), rule.number),
                text: "the rule was removed from the file list, but is still loaded".to_owned(),
            });
        }
    }
    findings
}

fn satp_findings(rules: &SatpRules) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, rule) in rules.rules().iter().enumerate() {
        if rule.group != Group::User {
            continue;
        }
        let mut find = |kind, text: String| {
            findings.push(Finding {
                kind,
                rule: rule.to_string(),
                text,
            });
        };
        let earlier = rules.rules().iter().take(at);
        let taken = |other: &&SatpRule| satp::by_name(&other.satp).is_some();
        if let Some(other) = earlier.clone().find(|other| other.matches_like(rule)) {
            find(
                "duplicate",
                format!("{other} matches the same and is tried first: remove one"),
            );
        } else if let Some(other) = earlier.filter(taken).find(|other| other.covers(rule)) {
            let kind = if other.satp == rule.satp && other.psp == rule.psp {
                "shadowed"
            } else {
                "unreachable"
            };
            find(
                kind,
                format!("{other} is tried first and takes everything that this rule matches"),
            );
        }
        for remark in rule.remarks() {
            find("remark", remark);
        }
    }
    for satp in satp::all() {
        let controllers_differ = satp.default_psp() == PspKind::Mru;
        if controllers_differ && rules.default_psp(satp.name()) == Some(PspKind::Fixed) {
            findings.push(Finding {
                kind: "remark",
                rule: satp.name().to_owned(),
                text: "VMW_PSP_FIXED is its default PSP: with arrays whose controllers differ, hosts that prefer different controllers may move a LUN back and forth".to_owned(),
            });
        }
    }
    findings
}
