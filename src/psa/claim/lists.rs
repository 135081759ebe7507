//! The file list and the runtime list of claim rules, and the operations on them.
//!
//! The two lists are those of ESXi. `add`, `remove`, `move` and `convert` change the file list. `load` makes the file
//! list the runtime list. Only the runtime list decides. System rules are in the runtime list from the start, and
//! cannot be changed. Invariants: a class and a number identify at most one rule of a list; a refused change changes
//! nothing.

use super::matching::Match;
use super::rule::{CATCH_ALL, FIRST_FREE, LAST_FREE, Rule, RuleClass};
use std::collections::BTreeMap;

/// Rules by class and number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleList(BTreeMap<(RuleClass, u32), Rule>);

/// What may be done although it is normally refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permission {
    /// `--force-reserved`: use numbers of the reserved ranges.
    pub reserved: bool,
    /// `--force`: do what would be refused because of its effect.
    pub force: bool,
}

/// Why a change of the file list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Problem {
    #[error("rule {0} is out of range: numbers go from 0 to {CATCH_ALL}")]
    OutOfRange(u32),
    #[error(
        "rule {0} is in a reserved range (0-100 and 65436-65535): take a number from {FIRST_FREE} to {LAST_FREE}, or add --force-reserved"
    )]
    Reserved(u32),
    #[error(
        "rule {CATCH_ALL} is the catch-all of class MP: it gives all remaining paths to NMP, and cannot be changed"
    )]
    CatchAll,
    #[error(
        "rule {number} of class {class} exists already ({matches}, {plugin}): use another number or --autoassign, or remove that rule first"
    )]
    Exists {
        class: &'static str,
        number: u32,
        matches: String,
        plugin: String,
    },
    #[error(
        "rule {number} of class {class} is a system rule and cannot be changed; a rule with a lower number is tried before it"
    )]
    System { class: &'static str, number: u32 },
    #[error(
        "there is no rule {number} of class {class} in the file list; `psactl storage core claimrule list` shows them"
    )]
    NotFound { class: &'static str, number: u32 },
    #[error("the file list has no rule for plug-in {0} in class {1}")]
    NoneOfPlugin(String, &'static str),
    #[error("the rule would mask every path of the host: make it more specific, or add --force")]
    MasksAll,
    #[error("no number is free from {FIRST_FREE} to {LAST_FREE}: remove rules that are not needed")]
    Full,
}

impl RuleList {
    /// A list of these rules. Of two rules with the same class and number, the later one is kept.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> RuleList {
        RuleList(rules.into_iter().map(|rule| (rule.key(), rule)).collect())
    }

    /// The rules by class, then by number.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.values()
    }

    /// The rule of this class and number.
    #[must_use]
    pub fn get(&self, class: RuleClass, number: u32) -> Option<&Rule> {
        self.0.get(&(class, number))
    }
}

/// All lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleLists {
    /// Rules of the product and of array vendors.
    pub system: RuleList,
    /// The file list: rules of the admin.
    pub file: RuleList,
    /// The admin's rules that are in force.
    pub loaded: RuleList,
}

/// A line of `claimrule list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Whether it is in the runtime list; otherwise it is in the file list.
    pub runtime: bool,
}

impl RuleLists {
    /// Checks whether a number may be used for a new rule.
    fn check_number(&self, class: RuleClass, number: u32, may: Permission) -> Result<(), Problem> {
        if number > CATCH_ALL {
            return Err(Problem::OutOfRange(number));
        }
        if class == RuleClass::MP && number == CATCH_ALL {
            return Err(Problem::CatchAll);
        }
        if !(FIRST_FREE..=LAST_FREE).contains(&number) && !may.reserved {
            return Err(Problem::Reserved(number));
        }
        let taken = self
            .file
            .get(class, number)
            .or(self.system.get(class, number));
        match taken {
            None => Ok(()),
            Some(rule) => Err(Problem::Exists {
                class: class.as_str(),
                number,
                matches: rule.matches.to_string(),
                plugin: rule.plugin.clone(),
            }),
        }
    }

    /// Adds a rule to the file list.
    ///
    /// # Errors
    /// [`Problem`]; nothing was added.
    pub fn add(&mut self, rule: Rule, may: Permission) -> Result<(), Problem> {
        self.check_number(rule.class, rule.number, may)?;
        if rule.plugin == "MASK_PATH" && rule.matches.is_any() && !may.force {
            return Err(Problem::MasksAll);
        }
        self.file.0.insert(rule.key(), rule);
        Ok(())
    }

    /// Removes the rule of this class and number from the file list.
    ///
    /// # Errors
    /// [`Problem`]; nothing was removed.
    pub fn remove(&mut self, class: RuleClass, number: u32) -> Result<Rule, Problem> {
        let word = class.as_str();
        match self.file.0.remove(&(class, number)) {
            Some(rule) => Ok(rule),
            None if self.system.get(class, number).is_some() => Err(Problem::System {
                class: word,
                number,
            }),
            None => Err(Problem::NotFound {
                class: word,
                number,
            }),
        }
    }

    /// Removes all rules of a class for this plug-in from the file list.
    ///
    /// # Errors
    /// If there is no such rule.
    pub(crate) fn remove_plugin(
        &mut self,
        class: RuleClass,
        plugin: &str,
    ) -> Result<Vec<Rule>, Problem> {
        let found = |rule: &Rule| rule.class == class && rule.plugin == plugin;
        let removed: Vec<Rule> = self.file.iter().filter(|r| found(r)).cloned().collect();
        if removed.is_empty() {
            return Err(Problem::NoneOfPlugin(plugin.to_owned(), class.as_str()));
        }
        self.file.0.retain(|_, rule| !found(rule));
        Ok(removed)
    }

    /// Gives a rule of the file list another number.
    ///
    /// # Errors
    /// [`Problem`]; nothing was changed.
    pub(crate) fn renumber(
        &mut self,
        class: RuleClass,
        from: u32,
        to: u32,
        may: Permission,
    ) -> Result<(), Problem> {
        if self.file.get(class, from).is_some() {
            self.check_number(class, to, may)?;
        }
        let mut rule = self.remove(class, from)?;
        rule.number = to;
        self.file.0.insert(rule.key(), rule);
        Ok(())
    }

    /// Makes the file list of a class, or of all classes, the runtime list.
    pub fn load(&mut self, class: Option<RuleClass>) {
        let meant = |rule: &Rule| class.is_none_or(|class| rule.class == class);
        self.loaded.0.retain(|_, rule| !meant(rule));
        let rules = self.file.iter().filter(|rule| meant(rule));
        self.loaded
            .0
            .extend(rules.map(|rule| (rule.key(), rule.clone())));
    }

    /// The number that `--autoassign` chooses. Rules that name single paths come before those that name whole arrays,
    /// and these before rules for drivers and transports, so that the more exact rule is tried first. All of these
    /// numbers are higher than those that guides and admins usually choose.
    ///
    /// # Errors
    /// [`Problem::Full`].
    pub(crate) fn autoassign(&self, class: RuleClass, matches: &Match) -> Result<u32, Problem> {
        let start = match matches {
            Match::Location { .. } | Match::Device(_) | Match::Target { .. } => 5_001,
            _ if matches.is_any() => 60_001,
            Match::Vendor { .. } | Match::NvmeController(_) => 20_001,
            Match::Driver(_) => 40_001,
            Match::Transport(_) => 50_001,
        };
        (start..=LAST_FREE)
            .chain(FIRST_FREE..start)
            .find(|number| {
                self.file.get(class, *number).is_none() && self.system.get(class, *number).is_none()
            })
            .ok_or(Problem::Full)
    }

    /// The rules that decide: system rules, and the admin's loaded rules.
    pub fn runtime(&self) -> impl Iterator<Item = &Rule> {
        self.system.iter().chain(self.loaded.iter())
    }

    /// The lines of `claimrule list`: by class and number, the runtime rule before the file rule.
    #[must_use]
    pub fn entries(&self, class: Option<RuleClass>) -> Vec<Entry<'_>> {
        let runtime = self.runtime().map(|rule| (true, rule));
        let file = self.file.iter().map(|rule| (false, rule));
        let mut entries: Vec<Entry<'_>> = runtime
            .chain(file)
            .filter(|(_, rule)| class.is_none_or(|class| rule.class == class))
            .map(|(runtime, rule)| Entry { rule, runtime })
            .collect();
        let order = |class| RuleClass::ALL.iter().position(|c| *c == class);
        entries.sort_by_key(|entry| {
            let (class, number) = entry.rule.key();
            (order(class), number, !entry.runtime)
        });
        entries
    }
}

/// MASK_PATH rules for a value of ESX 3's `/adv/Disk/MaskLUNs`: `vmhba1:0:5,8-10;vmhba2:1:0;`, each part with an
/// adapter, a target and LUNs. The rules are numbered from 101.
///
/// # Errors
/// The part that cannot be parsed.
pub(crate) fn convert_mask_luns(lists: &RuleLists, value: &str) -> Result<Vec<Rule>, String> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut numbers = (FIRST_FREE..=LAST_FREE).filter(|n| {
        lists.file.get(RuleClass::MP, *n).is_none() && lists.system.get(RuleClass::MP, *n).is_none()
    });
    for part in value.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let wrong =
            || format!("`{part}` is not understood: write adapter:target:LUNs, vmhba1:0:5,8-10");
        let mut words = part.splitn(3, ':');
        let (Some(hba), Some(target), Some(luns)) = (words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let adapter = super::matching::adapter(hba)?;
        let target: u32 = target.parse().map_err(|_| wrong())?;
        for range in luns.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let first: u64 = first.trim().parse().map_err(|_| wrong())?;
            let last: u64 = last.trim().parse().map_err(|_| wrong())?;
            for lun in first..=last {
                let number = numbers.next().ok_or_else(|| Problem::Full.to_string())?;
                let matches = Match::Location {
                    adapter,
                    channel: Some(0),
                    target: Some(target),
                    lun: Some(lun),
                };
                rules.push(Rule::new(number, matches, "MASK_PATH"));
            }
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(number: u32, matches: &str, plugin: &str) -> Rule {
        Rule::new(number, matches.parse().unwrap(), plugin)
    }

    const PLAIN: Permission = Permission {
        reserved: false,
        force: false,
    };

    fn lists() -> RuleLists {
        RuleLists {
            system: RuleList::new([
                rule(50, "transport=usb", "NMP"),
                rule(65535, "vendor=* model=*", "NMP"),
            ]),
            ..RuleLists::default()
        }
    }

    #[test]
    fn ranges_and_numbers() {
        let mut lists = lists();
        for (number, part) in [
            (65500, "--force-reserved"),
            (7, "--force-reserved"),
            (65535, "catch-all"),
            (65536, "out of range"),
        ] {
            let refused = lists.add(rule(number, "transport=fc", "NMP"), PLAIN);
            assert!(refused.unwrap_err().to_string().contains(part), "{number}");
        }
        let may = Permission {
            reserved: true,
            force: false,
        };
        lists.add(rule(7, "transport=fc", "NMP"), may).unwrap();
        let taken = lists.add(rule(50, "transport=fc", "NMP"), may).unwrap_err();
        assert!(matches!(taken, Problem::Exists { .. }), "{taken}");
        assert_eq!(
            lists.add(rule(200, "vendor=* model=*", "MASK_PATH"), PLAIN),
            Err(Problem::MasksAll)
        );
        assert!(matches!(
            lists.remove(RuleClass::MP, 50),
            Err(Problem::System { .. })
        ));
        assert!(matches!(
            lists.remove(RuleClass::VAAI, 7),
            Err(Problem::NotFound { .. })
        ));
        assert_eq!(
            lists.renumber(RuleClass::MP, 7, 8, PLAIN),
            Err(Problem::Reserved(8))
        );
        lists.renumber(RuleClass::MP, 7, 108, PLAIN).unwrap();
        assert_eq!(lists.file.iter().next().unwrap().number, 108);
    }

    #[test]
    fn a_rule_decides_only_when_it_is_loaded() {
        let mut lists = lists();
        lists.add(rule(500, "transport=fc", "NMP"), PLAIN).unwrap();
        let seen = |lists: &RuleLists| -> Vec<(u32, bool)> {
            let entries = lists.entries(None);
            entries.iter().map(|e| (e.rule.number, e.runtime)).collect()
        };
        assert_eq!(seen(&lists), [(50, true), (500, false), (65535, true)]);
        lists.load(Some(RuleClass::Filter));
        assert_eq!(lists.runtime().count(), 2);
        lists.load(None);
        assert_eq!(
            seen(&lists),
            [(50, true), (500, true), (500, false), (65535, true)]
        );
        lists.remove(RuleClass::MP, 500).unwrap();
        assert_eq!(seen(&lists), [(50, true), (500, true), (65535, true)]);
    }

    #[test]
    fn numbers_are_assigned_by_what_a_rule_names() {
        let lists = lists();
        let number = |text: &str| lists.autoassign(RuleClass::MP, &text.parse::<Match>().unwrap());
        let order = [
            "adapter=vmhba2 channel=0",
            "vendor=X model=*",
            "driver=qla2xxx",
            "transport=fc",
            "vendor=* model=*",
        ]
        .map(|text| number(text).unwrap());
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn mask_luns_of_esx_3() {
        let rules = convert_mask_luns(&lists(), "vmhba1:0:5,8-9;vmhba2:1:0;").unwrap();
        let text: Vec<String> = rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "rule 101 (adapter=vmhba1 channel=0 target=0 lun=5)",
                "rule 102 (adapter=vmhba1 channel=0 target=0 lun=8)",
                "rule 103 (adapter=vmhba1 channel=0 target=0 lun=9)",
                "rule 104 (adapter=vmhba2 channel=0 target=1 lun=0)",
            ]
        );
        assert!(convert_mask_luns(&lists(), "vmhba1:0").is_err());
        assert!(convert_mask_luns(&lists(), "vmhba1:0:0-99999999999").is_err());
    }
}
