//! Claim rules: decide which plug-in owns a path.
//!
//! Input: what is known about a path. Output: a [`Claim`]; a trace of the rules that were tried is made only on
//! request. Invariants: every path gets exactly one decision; rules are tried by ascending number, and the first match
//! wins; 65535 matches all paths. If this build does not have the plug-in of a rule, the next rules are tried, as on
//! ESXi where a plug-in declines. Tests: in this file, and `tests/rules.rs`.

pub mod lists;
pub mod matching;
mod rule;
mod spec;

use crate::psa::claim::matching::Mismatch;
use crate::psa::facts::Subject;
use crate::psa::mpp::Plugin;
use crate::psa::pattern::Pattern;
use crate::psa::tried::Tried;
use serde::{Deserialize, Serialize};
use std::fmt;

pub use lists::{RuleList, RuleLists};
pub use matching::Match;
pub(crate) use rule::{CATCH_ALL, FIRST_FREE, LAST_FREE};
pub use rule::{Rule, RuleClass, Xcopy};
pub use spec::{RuleSpec, Word};

/// The decision on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The plug-in that owns the path.
    pub plugin: Plugin,
    /// The rule that decided.
    pub rule: u32,
}

/// The MP rules in force, in ascending order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset(Vec<Rule>);

/// Successive rules that do not match for the same reason.
struct Row {
    first: u32,
    last: u32,
    count: u32,
    why: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row {
            first,
            last,
            count,
            why,
        } = self;
        write!(f, "rules {first} to {last} ({count} rules): no, {why}")
    }
}

/// The rule that assigns all remaining paths to NMP.
fn catch_all() -> Rule {
    let matches = Match::Vendor {
        vendor: Pattern::any(),
        model: Pattern::any(),
        pci: None,
    };
    Rule::new(CATCH_ALL, matches, "NMP")
}

impl Ruleset {
    /// The MP rules among `rules`, in order. The catch-all rule 65535 is added if it is missing, so that there is a
    /// decision on every path.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Ruleset {
        let mp = rules.into_iter().filter(|r| r.class == RuleClass::MP);
        let list = RuleList::new(std::iter::once(catch_all()).chain(mp));
        Ruleset(list.iter().cloned().collect())
    }

    /// The minimum that is safe without any file: ESXi's rule 101, which masks the access LUN of an array (a pseudo
    /// device that is not a disk), and the catch-all rule.
    #[must_use]
    pub fn basic() -> Ruleset {
        let access_lun = Match::Vendor {
            vendor: Pattern::literally("DELL"),
            model: Pattern::literally("Universal Xport"),
            pci: None,
        };
        Ruleset::new([Rule::new(FIRST_FREE, access_lun, "MASK_PATH")])
    }

    /// Decides on a path.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Claim {
        self.walk(subject, |_| {})
    }

    /// The decision, and a line for each rule that was tried, in order.
    #[must_use]
    pub fn trace(&self, subject: &Subject<'_>) -> (Claim, Vec<String>) {
        let mut lines = Vec::new();
        let claim = self.walk(subject, |tried| lines.push(tried.to_string()));
        (claim, lines)
    }

    /// As [`Ruleset::trace`], but successive rules that fail for the same reason share a line, except those with numbers that
    /// an admin can choose.
    #[must_use]
    pub(crate) fn summarize(&self, subject: &Subject<'_>) -> (Claim, Vec<String>) {
        let mut lines = Vec::new();
        let mut row: Option<Row> = None;
        let claim = self.walk(subject, |tried| {
            let (number, why) = match &tried {
                // The admin looks for the rules that he wrote himself.
                Tried::No(rule, why) if !(FIRST_FREE..=LAST_FREE).contains(&rule.number) => {
                    (Some(rule.number), why.to_string())
                }
                Tried::No(..) | Tried::Said(_) => (None, String::new()),
            };
            match (&mut row, number) {
                (Some(row), Some(number)) if row.why == why => {
                    row.last = number;
                    row.count = row.count.saturating_add(1);
                    lines.pop();
                    lines.push(row.to_string());
                }
                _ => {
                    row = number.map(|number| Row {
                        first: number,
                        last: number,
                        count: 1,
                        why,
                    });
                    lines.push(tried.to_string());
                }
            }
        });
        (claim, lines)
    }

    /// Tries the rules in order and reports each to `report`. What `report` drops is never formatted.
    fn walk(
        &self,
        subject: &Subject<'_>,
        mut report: impl FnMut(Tried<'_, Rule, Mismatch<'_>>),
    ) -> Claim {
        for rule in &self.0 {
            if let Err(why) = rule.matches.test(subject) {
                report(Tried::No(rule, why));
                continue;
            }
            let Some(plugin) = Plugin::by_name(&rule.plugin) else {
                let name = &rule.plugin;
                report(Tried::Said(format_args!(
                    "{rule}: matches, but this build has no plug-in {name}"
                )));
                continue;
            };
            if let Err(why) = plugin.accepts(subject) {
                report(Tried::Said(format_args!(
                    "{rule}: matches, but {plugin} declines: {why}"
                )));
                continue;
            }
            report(Tried::Said(format_args!("{rule} matches: {plugin}")));
            let rule = rule.number;
            return Claim { plugin, rule };
        }
        // Reached only if 65535 was assigned to a plug-in that this build does not have. The purpose of the catch-all
        // rule is NMP.
        report(Tried::Said(format_args!("no rule matches: NMP")));
        Claim {
            plugin: Plugin::Nmp,
            rule: CATCH_ALL,
        }
    }

    /// Describes a decision.
    #[must_use]
    pub fn describe(&self, claim: Claim) -> String {
        match self.0.iter().find(|rule| rule.number == claim.rule) {
            Some(rule) => format!("{rule} matches: {}", claim.plugin),
            None => format!(
                "rule {}, which is no longer loaded: {}",
                claim.rule, claim.plugin
            ),
        }
    }

    /// The options for the plug-in in the rule of a decision; `None` if the rule is no longer loaded.
    #[must_use]
    pub(crate) fn config_of(&self, claim: Claim) -> Option<&str> {
        let rule = self.0.iter().find(|rule| rule.number == claim.rule)?;
        Some(&rule.config)
    }

    /// Whether any rule matches by device, which is known later than the rest of a path.
    #[must_use]
    pub(crate) fn asks_for_device(&self) -> bool {
        self.0
            .iter()
            .any(|rule| matches!(rule.matches, Match::Device(_)))
    }

    /// The rules, in order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::adapter::RuntimeName;
    use crate::psa::test_support::facts;

    fn rules(lines: &[(u32, &str, &str)]) -> Ruleset {
        let rule = |(number, matches, plugin): &(u32, &str, &str)| {
            Rule::new(*number, matches.parse().unwrap(), plugin)
        };
        Ruleset::new(lines.iter().map(rule))
    }

    /// The decision on a path over Fibre Channel: vmhba2:C0:T1:L20, MD3000 of DELL.
    fn trace(rules: &Ruleset) -> (Claim, Vec<String>) {
        let mut facts = facts("1:0:0:0", "sda");
        facts.target.identifier = "fc.2100143004b0e459:2080143004b0e459".to_owned();
        let name = RuntimeName {
            adapter: 2,
            channel: 0,
            target: 1,
            lun: 20,
        };
        let subject = Subject {
            vendor: "DELL",
            model: "MD3000",
            inquiry: &[],
            facts: &facts,
            name,
            device: Some(&"naa.6001".into()),
        };
        let (claim, lines) = rules.trace(&subject);
        assert_eq!(claim, rules.decide(&subject));
        (claim, lines)
    }

    #[test]
    fn a_summary_has_a_line_for_each_rule_of_the_admin() {
        let facts = facts("1:0:0:0", "sda");
        let subject = Subject {
            vendor: "DELL",
            model: "MD3000",
            inquiry: &[],
            facts: &facts,
            name: "vmhba2:C0:T1:L20".parse().unwrap(),
            device: None,
        };
        let rules = rules(&[
            (60, "vendor=A model=*", "MASK_PATH"),
            (61, "vendor=B model=*", "MASK_PATH"),
            (109, "vendor=DEL model=*", "MASK_PATH"),
            (110, "vendor=DELLL model=*", "MASK_PATH"),
        ]);
        let (claim, lines) = rules.summarize(&subject);
        assert_eq!(claim, rules.decide(&subject));
        assert_eq!(
            lines,
            [
                "rules 60 to 61 (2 rules): no, vendor is `DELL`",
                "rule 109 (vendor=DEL model=*): no, vendor is `DELL`",
                "rule 110 (vendor=DELLL model=*): no, vendor is `DELL`",
                "rule 65535 (vendor=* model=*) matches: NMP",
            ]
        );
    }

    #[test]
    fn each_type_matches_what_it_names() {
        for matches in [
            "vendor=DELL model=MD3000",
            "vendor=DELL model=*",
            "vendor=* model=^MD3*",
            "adapter=vmhba2 channel=0 target=1 lun=20",
            "adapter=vmhba2 channel=* target=* lun=*",
            "transport=fc",
            "driver=qla2xxx",
            "device=naa.6001",
            "transport=fc wwnn=2100143004b0e459 wwpn=20:80:14:30:04:b0:e4:59 lun=20",
            "transport=fc wwnn=2100143004b0e459 wwpn=2080143004b0e459 lun=*",
        ] {
            let (claim, lines) = trace(&rules(&[(500, matches, "MASK_PATH")]));
            assert_eq!(claim.rule, 500, "{lines:?}");
        }
        for (matches, why) in [
            ("vendor=DEL model=*", "vendor is `DELL`"),
            ("vendor=DELL model=MD3", "model is `MD3000`"),
            ("adapter=vmhba3", "adapter is 2"),
            ("adapter=vmhba2 lun=2", "LUN is 20"),
            ("transport=iscsi", "transport is `fc`"),
            ("driver=lpfc", "driver is `qla2xxx`"),
            ("device=naa.6002", "device is `naa.6001`"),
            ("transport=iscsi iqn=iqn.x lun=*", "target is `fc."),
            ("nvme_controller_model=x", "NVMe"),
            (
                "vendor=DELL model=* pci_vendor_id=0x8086 pci_sub_vendor_id=*",
                "NVMe",
            ),
        ] {
            let (claim, lines) = trace(&rules(&[(500, matches, "MASK_PATH")]));
            assert_eq!(claim.rule, CATCH_ALL, "{matches}");
            assert!(lines[0].contains(why), "{lines:?}");
        }
    }

    #[test]
    fn the_first_match_wins_and_an_absent_plugin_passes_on() {
        let rules = rules(&[
            (300, "transport=fc", "MASK_PATH"),
            (102, "vendor=NVMe model=*", "MASK_PATH"),
            (200, "transport=fc", "POWERPATH"),
        ]);
        let (claim, lines) = trace(&rules);
        assert_eq!(
            claim,
            Claim {
                plugin: Plugin::MaskPath,
                rule: 300
            }
        );
        assert_eq!(
            lines,
            [
                "rule 102 (vendor=NVMe model=*): no, vendor is `DELL`",
                "rule 200 (transport=fc): matches, but this build has no plug-in POWERPATH",
                "rule 300 (transport=fc) matches: MASK_PATH",
            ]
        );
        assert_eq!(rules.describe(claim), lines[2]);
    }

    #[test]
    fn the_catch_all_cannot_be_lost() {
        let Ruleset(rules) = Ruleset::new(Vec::new());
        assert_eq!(rules.iter().map(|r| r.number).collect::<Vec<_>>(), [65535]);
    }

    #[test]
    fn matches_round_trip_through_text() {
        for text in [
            "vendor=DELL model=Universal Xport",
            "vendor=* model=*",
            "vendor=NVMe model=* pci_vendor_id=0x8086 pci_sub_vendor_id=*",
            "adapter=vmhba41 channel=* target=* lun=*",
            "adapter=* channel=0 target=1 lun=20",
            "driver=megaraid",
            "transport=usb",
            "device=naa.6001",
            "transport=iscsi iqn=iqn.2001-05.com.example:x lun=3",
            "nvme_controller_model=dellemc-powerstore",
        ] {
            assert_eq!(text.parse::<Match>().unwrap().to_string(), text);
        }
        let long = "vendor=DELL model=Universal Xport pci_vendor_id=* pci_sub_vendor_id=*";
        assert_eq!(
            long.parse::<Match>().unwrap().to_string(),
            "vendor=DELL model=Universal Xport"
        );
        for text in [
            "",
            "x=y",
            "adapter=hba2",
            "transport=morse",
            "wwnn=1 wwpn=2",
        ] {
            assert!(text.parse::<Match>().is_err(), "{text}");
        }
    }
}
