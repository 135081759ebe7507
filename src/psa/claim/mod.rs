//! MP claim rules: which plug-in owns a path.
//!
//! Input: what is known of a path. Output: a [`Claim`] with the trace of every rule that was tried. Invariant: every
//! path gets exactly one decision; rules are tried in ascending number, the first match wins; 65535 matches all.

mod builtin;
mod rule;

pub use builtin::builtin_rules;
pub use rule::{Match, Rule};

use super::plugin::Plugin;
use serde::{Deserialize, Serialize};

/// What a rule may look at.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// INQUIRY vendor, trimmed.
    pub vendor: &'a str,
    /// INQUIRY product, trimmed.
    pub model: &'a str,
    /// The facts of the path.
    pub facts: &'a super::path::PathFacts,
    /// Its runtime name.
    pub name: super::adapter::RuntimeName,
}

/// The decision on one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who owns the path.
    pub plugin: Plugin,
    /// The rule that decided.
    pub rule: u32,
    /// Every rule that was tried, with its result, in order.
    pub trace: Vec<String>,
}

/// Claim rules in ascending order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset(Vec<Rule>);

impl Ruleset {
    /// Puts rules in order. The catch-all 65535 is added if it is missing, so that every path is decided.
    #[must_use]
    pub fn new(mut rules: Vec<Rule>) -> Ruleset {
        if !rules.iter().any(|r| r.number == builtin::CATCH_ALL) {
            rules.extend(
                builtin_rules()
                    .into_iter()
                    .filter(|r| r.number == builtin::CATCH_ALL),
            );
        }
        rules.sort_by_key(|r| r.number);
        Ruleset(rules)
    }

    /// Decides on a path.
    #[must_use]
    pub fn decide(&self, subject: &Subject<'_>) -> Claim {
        let mut trace = Vec::new();
        for rule in &self.0 {
            match rule.matches.test(subject) {
                Ok(()) => {
                    trace.push(format!(
                        "rule {} ({}) matches: {}",
                        rule.number, rule.matches, rule.plugin
                    ));
                    return Claim {
                        plugin: rule.plugin,
                        rule: rule.number,
                        trace,
                    };
                }
                Err(why) => trace.push(format!(
                    "rule {} ({}): no, {why}",
                    rule.number, rule.matches
                )),
            }
        }
        // Not reached: `new` guarantees a catch-all. NMP is what the catch-all would say.
        trace.push("no rule matches: NMP".to_owned());
        Claim {
            plugin: Plugin::Nmp,
            rule: builtin::CATCH_ALL,
            trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::test_support::facts;

    fn claim(vendor: &str, model: &str) -> Claim {
        let facts = facts("1:0:0:0", "sda");
        let name = crate::psa::adapter::RuntimeName {
            adapter: 0,
            channel: 0,
            target: 0,
            lun: 0,
        };
        Ruleset::new(builtin_rules()).decide(&Subject {
            vendor,
            model,
            facts: &facts,
            name,
        })
    }

    #[test]
    fn an_access_lun_is_masked_and_all_else_is_nmp() {
        let masked = claim("DELL", "Universal Xport");
        assert_eq!((masked.plugin, masked.rule), (Plugin::MaskPath, 101));
        let normal = claim("DELL", "MD3000");
        assert_eq!((normal.plugin, normal.rule), (Plugin::Nmp, 65535));
        assert!(
            normal.trace.iter().any(|line| line.contains("rule 101")),
            "{:?}",
            normal.trace
        );
    }

    #[test]
    fn the_catch_all_cannot_be_lost() {
        let Ruleset(rules) = Ruleset::new(Vec::new());
        assert_eq!(rules.iter().map(|r| r.number).collect::<Vec<_>>(), [65535]);
    }
}
