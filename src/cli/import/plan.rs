//! Plans what an import adds to the existing configuration.
//!
//! Existing configuration is never changed: a rule that exists is not added again, and a rule that conflicts with a new
//! one stays. The import reports both.

use super::report::{Entry, Outcome};
use crate::config::ConfigError;
use crate::config::rules::RuleFiles;
use crate::config::settings_file::{Key, Setting, SettingsFile};
use crate::psa::claim::lists::{Permission, Problem};
use crate::psa::claim::{FIRST_FREE, LAST_FREE, Match, Rule, RuleClass, RuleLists};
use crate::psa::psp::PspKind;
use crate::psa::satp;
use crate::psa::satp::rules::{Group, SatpRule};
use crate::psa::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// The outcome for an item, and the explanation.
pub(super) type Remark = (Outcome, String);

/// Combines several remarks on one item; the most important outcome counts.
pub(super) fn together(remark: Vec<Remark>) -> Remark {
    let order = [
        Outcome::Refused,
        Outcome::Imported,
        Outcome::There,
        Outcome::NoEquivalent,
        Outcome::LeftOut,
    ];
    let mut outcomes = order.into_iter();
    let outcome = outcomes.find(|outcome| remark.iter().any(|(one, _)| one == outcome));
    let mut details: Vec<String> = Vec::new();
    for (_, detail) in remark {
        if !detail.is_empty() && !details.contains(&detail) {
            details.push(detail);
        }
    }
    (outcome.unwrap_or(Outcome::Same), details.join("; "))
}

/// What is to be added, and the report.
#[derive(Debug)]
pub struct Plan {
    /// Claim rules for the file list.
    pub claim_rules: Vec<Rule>,
    /// User SATP rules.
    pub satp_rules: Vec<SatpRule>,
    /// Default PSPs by SATP.
    pub default_psps: BTreeMap<String, PspKind>,
    /// Settings of the agent.
    pub settings: BTreeMap<Key, Setting>,
    /// A line for every item in the text.
    pub entries: Vec<Entry>,
    /// The rule lists as they will be after the import.
    lists: RuleLists,
    /// The lowest number for the next claim rule without a number.
    next_number: u32,
    /// The content of user rules, with their descriptions.
    user: BTreeMap<String, String>,
    /// The content of system rules.
    system: BTreeSet<String>,
    /// The criteria of user rules, with the first rule that has them.
    matched: BTreeMap<String, String>,
    psps_here: BTreeMap<String, PspKind>,
    settings_here: SettingsFile,
    /// The source files by name, with the number of their first line: lines are numbered through all files.
    sources: Vec<(String, usize)>,
    /// The number of the first line of the next file.
    next_line: usize,
}

/// A SATP rule as text, without its group: the SATP, what it matches, and the PSP.
pub(super) fn in_words(rule: &SatpRule) -> String {
    let mut words = rule.to_string();
    for group in ["user rule ", "system rule "] {
        words = words.strip_prefix(group).unwrap_or(&words).to_owned();
    }
    for more in [rule.psp.as_deref().unwrap_or_default(), &rule.psp_options] {
        if !more.is_empty() {
            words += ", ";
            words += more;
        }
    }
    words
}

/// The content of a SATP rule, without its group and description.
fn says(rule: &SatpRule) -> String {
    let plain = SatpRule {
        description: String::new(),
        group: Group::User,
        ..rule.clone()
    };
    format!("{plain:?}")
}

/// The criteria of a SATP rule.
fn matched(rule: &SatpRule) -> String {
    let patterns = (&rule.vendor, &rule.model);
    let words = (&rule.device, &rule.driver, rule.transport, rule.tpgs());
    format!("{patterns:?}{words:?}")
}

impl Plan {
    /// The rule files and the settings as they will be after the import.
    ///
    /// # Errors
    /// A setting cannot be written to the file.
    pub(crate) fn after(&self, mut files: RuleFiles) -> Result<(RuleFiles, Settings), ConfigError> {
        files.lists = self.lists.clone();
        files.satp.extend(self.satp_rules.iter().cloned());
        let psps = self.default_psps.iter();
        let psps = psps.map(|(satp, psp)| (satp.clone(), *psp));
        files.default_psps.extend(psps);
        let mut settings = self.settings_here.clone();
        for (key, setting) in &self.settings {
            settings.set(key, setting)?;
        }
        Ok((files, settings.settings()))
    }

    /// Creates a plan that adds nothing yet to the existing configuration.
    #[must_use]
    pub fn new(rules: &RuleFiles, settings: SettingsFile) -> Plan {
        let mut plan = Plan {
            claim_rules: Vec::new(),
            satp_rules: Vec::new(),
            default_psps: BTreeMap::new(),
            settings: BTreeMap::new(),
            entries: Vec::new(),
            lists: rules.lists.clone(),
            next_number: FIRST_FREE,
            user: BTreeMap::new(),
            system: BTreeSet::new(),
            matched: BTreeMap::new(),
            psps_here: rules.default_psps.clone(),
            settings_here: settings,
            sources: Vec::new(),
            next_line: 1,
        };
        for rule in &rules.satp {
            match rule.group {
                Group::User => plan.note_user_rule(rule),
                Group::System => {
                    plan.system.insert(says(rule));
                }
            }
        }
        plan
    }

    fn note_user_rule(&mut self, rule: &SatpRule) {
        self.user.insert(says(rule), rule.description.clone());
        // If this build does not have the SATP of a rule that matches, the next rule is tried.
        if satp::by_name(&rule.satp).is_some() {
            let first = self.matched.entry(matched(rule));
            first.or_insert_with(|| rule.to_string());
        }
    }

    /// Adds a file with this number of lines. Returns the number of its first line.
    pub(super) fn add_source(&mut self, name: &str, lines: usize) -> usize {
        let first = self.next_line;
        self.next_line += lines.max(1);
        self.sources.push((name.to_owned(), first));
        first
    }

    /// The file that contains a line, and the number of the line in that file.
    fn source(&self, line: usize) -> (&str, usize) {
        let mut sources = self.sources.iter().rev();
        let source = sources.find(|(_, first)| *first <= line);
        source.map_or(("", line), |(name, first)| {
            (name.as_str(), line - first + 1)
        })
    }

    /// The name of a line: `line 3`, or `line 3 of pure.conf` if there are several files.
    pub(super) fn at(&self, line: usize) -> String {
        let (name, line) = self.source(line);
        if self.sources.len() > 1 {
            format!("line {line} of {name}")
        } else {
            format!("line {line}")
        }
    }

    /// Sorts the lines of the report in the order of the files, and sets the line numbers within the files.
    pub(super) fn finish(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by_key(|entry| entry.line);
        for entry in &mut entries {
            let (name, line) = self.source(entry.line);
            entry.line = line;
            if self.sources.len() > 1 {
                entry.subject = format!("{name}: {}", entry.subject);
            }
        }
        self.entries = entries;
    }

    /// Adds a line to the report.
    pub(super) fn report(&mut self, line: usize, subject: impl Into<String>, remark: Remark) {
        let (outcome, detail) = remark;
        self.entries.push(Entry {
            line,
            subject: subject.into(),
            outcome,
            detail,
        });
    }

    /// The number of items that were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        let refused = |entry: &&Entry| entry.outcome == Outcome::Refused;
        self.entries.iter().filter(refused).count()
    }

    /// Whether a system rule has the same content.
    pub(super) fn is_system_rule(&self, rule: &SatpRule) -> bool {
        self.system.contains(&says(rule))
    }

    /// Adds a user SATP rule.
    pub(super) fn add_satp_rule(&mut self, rule: SatpRule, force: bool) -> Remark {
        if let Err(why) = rule.check() {
            return (Outcome::Refused, why);
        }
        if let Some(description) = self.user.get(&says(&rule)) {
            let detail = if *description == rule.description {
                String::new()
            } else {
                format!("with the description `{description}`")
            };
            return (Outcome::There, detail);
        }
        let mut remarks = rule.remarks();
        if let Err(why) = rule.doubts() {
            if !force {
                let why = format!("{why}; --force imports it anyway");
                return (Outcome::Refused, why);
            }
            remarks.push(why);
        }
        if let Some(first) = self.matched.get(&matched(&rule)) {
            remarks.push(format!(
                "it has no effect: {first} matches the same and is tried first"
            ));
        }
        self.note_user_rule(&rule);
        self.satp_rules.push(rule);
        (Outcome::Imported, remarks.join("; "))
    }

    /// Adds a claim rule to the file list.
    pub(super) fn add_claim_rule(&mut self, mut rule: Rule, may: Permission) -> Remark {
        let (class, number) = rule.key();
        let word = class.as_str();
        let here = self.lists.file.get(class, number);
        let here = here.or(self.lists.system.get(class, number));
        if let Some(here) = here {
            // Listings do not show this field.
            rule.if_unset.clone_from(&here.if_unset);
            if *here == rule {
                return (Outcome::There, String::new());
            }
            let why = format!(
                "{word} rule {number} already exists here and differs ({}, {}): change the number of one",
                here.matches, here.plugin
            );
            return (Outcome::Refused, why);
        }
        let remarks = rule.remarks();
        match self.lists.add(rule.clone(), may) {
            Ok(()) => {
                self.claim_rules.push(rule);
                (Outcome::Imported, remarks.join("; "))
            }
            Err(Problem::Reserved(_)) => {
                let why = format!(
                    "rule {number} is in a reserved range (0-100 and 65436-65535): --force-reserved imports it"
                );
                (Outcome::Refused, why)
            }
            Err(why) => (Outcome::Refused, why.to_string()),
        }
    }

    /// Adds an MP rule with the next free number, unless there is a rule with the same criteria for the same plug-in.
    pub(super) fn add_numbered(&mut self, matches: Match, plugin: &str, may: Permission) -> Remark {
        let mp = |rule: &&Rule| rule.class == RuleClass::MP;
        let all = self.lists.file.iter().chain(self.lists.system.iter());
        let same = |rule: &&Rule| rule.matches == matches && rule.plugin == plugin;
        if let Some(rule) = all.filter(mp).find(same) {
            return (Outcome::There, format!("claim {rule}"));
        }
        let is_free = |number: &u32| {
            self.lists.file.get(RuleClass::MP, *number).is_none()
                && self.lists.system.get(RuleClass::MP, *number).is_none()
        };
        let Some(number) = (self.next_number..=LAST_FREE).find(is_free) else {
            return (Outcome::Refused, Problem::Full.to_string());
        };
        // Rules that are planned later get higher numbers: the rules are in the order of the text.
        self.next_number = number;
        let rule = Rule::new(number, matches, plugin);
        let what = format!("claim {rule} for {plugin}");
        match self.add_claim_rule(rule, may) {
            (Outcome::Imported, remarks) if remarks.is_empty() => (Outcome::Imported, what),
            (Outcome::Imported, remarks) => (Outcome::Imported, format!("{what}; {remarks}")),
            other => other,
        }
    }

    /// Whether a system claim rule masks everything that matches; returns the rule as text.
    pub(super) fn is_masked(&self, matches: &Match) -> Option<String> {
        let masks = |rule: &&Rule| rule.class == RuleClass::MP && rule.plugin == "MASK_PATH";
        let rules = self.lists.system.iter().filter(masks);
        let mut rules = rules.filter(|rule| rule.matches.covers(matches));
        rules.next().map(ToString::to_string)
    }

    /// The default PSP of a SATP after the import.
    pub(super) fn default_psp(&self, name: &str) -> Option<PspKind> {
        let own = || Some(satp::by_name(name)?.default_psp());
        self.psps_here.get(name).copied().or_else(own)
    }

    /// Sets the default PSP of a SATP.
    pub(super) fn set_default_psp(&mut self, name: &str, psp: PspKind) -> Remark {
        let what = format!("default PSP of {name}: {psp}");
        let own = satp::by_name(name).map(|satp| satp.default_psp());
        match self.psps_here.get(name) {
            Some(here) if *here == psp => (Outcome::There, what),
            Some(here) => (
                Outcome::Refused,
                format!(
                    "the default PSP of {name} is already set to {here} here, and is not changed"
                ),
            ),
            None if own == Some(psp) => (Outcome::Same, what),
            None => {
                self.default_psps.insert(name.to_owned(), psp);
                self.psps_here.insert(name.to_owned(), psp);
                (Outcome::Imported, what)
            }
        }
    }

    /// Sets a setting of the agent.
    pub(super) fn set(&mut self, key: Key, setting: Setting) -> Remark {
        let what = format!("{key} = {setting}");
        let planned = self.settings.get(&key).map(ToString::to_string);
        match planned.or_else(|| self.settings_here.get(&key)) {
            Some(here) if here == setting.to_string() => (Outcome::There, what),
            Some(here) => (
                Outcome::Refused,
                format!("{key} is already {here} in dm-psa.toml, and is not changed"),
            ),
            None if key.default() == Some(setting.to_string()) => (Outcome::Same, what),
            None => match self.settings_here.would_take(&key, &setting) {
                Err(why) => (Outcome::Refused, why),
                Ok(()) => {
                    self.settings.insert(key, setting);
                    (Outcome::Imported, what)
                }
            },
        }
    }
}
