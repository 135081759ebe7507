//! Rule files: read and merged completely, edited without losing the admin's comments.
//!
//! | file | owner | content |
//! |---|---|---|
//! | `/usr/lib/dm-psa/*.toml` | dm-psa and array vendors | system claim rules and SATP rules |
//! | `/etc/dm-psa/rules.toml` | the admin | the file list of claim rules, user SATP rules, default PSPs |
//! | `/run/dm-psa/rules.toml` | the admin, until reboot | changes of `--boot`: system SATP rules added and removed |
//! | `/run/dm-psa/claimrules.toml` | the agent | the file list as last loaded: with the system rules, the runtime list |
//!
//! All have one format, [`schema`]. Invariants: when an admin loads or edits files with a mistake, the command fails
//! with file, line and reason, and nothing changes; a rule with a mistake never takes effect in part. An agent that
//! starts cannot refuse: it leaves out the rules with a mistake, reports each, and uses all others.

pub mod edit;
pub mod schema;
#[cfg(test)]
mod tests;

use super::{ConfigError, Places, read, read_leniently, store};
use crate::psa::claim::{RuleList, RuleLists, Ruleset};
use crate::psa::psp::PspKind;
use crate::psa::rules::Rules;
use crate::psa::satp::rules::{Group, SatpRule, SatpRules};
use schema::RuleFile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The files of dm-psa itself: installed to `/usr/lib/dm-psa`, and built in as a fallback.
const EMBEDDED: [(&str, &str); 2] = [
    (
        "claimrules.toml",
        include_str!("../../../rules/claimrules.toml"),
    ),
    (
        "satprules.toml",
        include_str!("../../../rules/satprules.toml"),
    ),
];

/// The content of all files together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleFiles {
    /// Claim rules.
    pub lists: RuleLists,
    /// SATP rules in the order of their files, system files first.
    pub satp: Vec<SatpRule>,
    /// Default PSPs that the admin set, by SATP.
    pub default_psps: BTreeMap<String, PspKind>,
}

impl RuleFiles {
    /// The rules in force.
    #[must_use]
    pub fn in_force(&self) -> Rules {
        Rules {
            claim: Ruleset::new(self.lists.runtime().cloned()),
            satp: self.satp_rules(),
        }
    }

    /// The rules that are in force when the agent starts: claim rules of the files are loaded then.
    #[must_use]
    pub(crate) fn in_force_at_start(mut self) -> Rules {
        self.lists.load(None);
        self.in_force()
    }

    /// The SATP rules in the order in which they are tried.
    #[must_use]
    pub fn satp_rules(&self) -> SatpRules {
        SatpRules::new(self.satp.clone(), self.default_psps.clone())
    }

    /// Adds the content of a system file.
    fn add_system(&mut self, file: RuleFile) {
        let before = std::mem::take(&mut self.lists.system);
        self.lists.system = RuleList::new(before.iter().cloned().chain(file.claim_rules));
        self.satp
            .extend(file.satp_rules.into_iter().map(|(_, rule)| rule));
        self.default_psps.extend(file.default_psps);
    }

    /// Adds the changes made with `--boot`.
    fn add_boot(&mut self, file: RuleFile) {
        for gone in &file.removed_satp_rules {
            let at = self
                .satp
                .iter()
                .position(|rule| schema::same_but_group(rule, gone));
            if let Some(at) = at {
                self.satp.remove(at);
            }
        }
        self.satp
            .extend(file.satp_rules.into_iter().map(|(_, rule)| rule));
        self.default_psps.extend(file.default_psps);
    }

    /// Adds the content of the admin's file.
    fn add_admin(&mut self, file: RuleFile) {
        self.lists.file = RuleList::new(file.claim_rules);
        let user = |(_, rule)| SatpRule {
            group: Group::User,
            ..rule
        };
        self.satp.extend(file.satp_rules.into_iter().map(user));
        self.default_psps.extend(file.default_psps);
    }
}

/// Mistakes in files.
type Problems = Vec<ConfigError>;

/// Returns the rules of a text that can be understood; adds the mistakes to `problems`.
fn understood(file: PathBuf, text: &str, problems: &mut Problems) -> RuleFile {
    let (rules, mistakes) = schema::parse_leniently(text);
    problems.extend(mistakes.iter().map(|mistake| ConfigError::Invalid {
        file: file.clone(),
        problem: mistake.to_string(),
    }));
    rules
}

/// Reads one file leniently; empty if there is none.
fn read_file(file: PathBuf, problems: &mut Problems) -> RuleFile {
    match read_leniently(&file) {
        Ok((text, replaced)) => {
            problems.extend(replaced);
            understood(file, &text, problems)
        }
        Err(problem) => {
            problems.push(problem);
            RuleFile::default()
        }
    }
}

/// The names of the system files that are installed, in order.
fn system_names(places: &Places) -> BTreeSet<String> {
    let entries = std::fs::read_dir(places.system_rules())
        .into_iter()
        .flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect()
}

/// The system files that are installed, in order.
pub(super) fn system_files(places: &Places) -> impl Iterator<Item = PathBuf> {
    let folder = places.system_rules();
    system_names(places)
        .into_iter()
        .map(move |name| folder.join(name))
}

/// Reads the system files. First the files of dm-psa itself: from `/usr/lib/dm-psa` or, if not installed there, the
/// built-in ones. Then those of array vendors, by name.
fn read_system(places: &Places, problems: &mut Problems) -> RuleFiles {
    let folder = places.system_rules();
    let mut names = system_names(places);
    names.retain(|name| !EMBEDDED.iter().any(|(ours, _)| ours == name));
    let mut files = RuleFiles::default();
    for (name, built_in) in EMBEDDED {
        let file = folder.join(name);
        let text = read(&file).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let before = problems.len();
        let mut rules = understood(file.clone(), text.as_deref().unwrap_or(built_in), problems);
        if problems.len() > before {
            // Use the built-in file instead, which is correct.
            rules = understood(file, built_in, problems);
        }
        files.add_system(rules);
    }
    for name in names {
        files.add_system(read_file(folder.join(name), problems));
    }
    files
}

/// Reads all files leniently.
fn read_all(places: &Places) -> (RuleFiles, Problems) {
    let mut problems = Problems::new();
    let mut files = read_system(places, &mut problems);
    files.add_boot(read_file(places.boot_rules(), &mut problems));
    files.add_admin(read_file(places.admin_rules(), &mut problems));
    let loaded = read_file(places.loaded_rules(), &mut problems);
    files.lists.loaded = RuleList::new(loaded.claim_rules);
    (files, problems)
}

/// Reads all files.
///
/// # Errors
/// The first file that cannot be read or has a mistake.
pub fn load(places: &Places) -> Result<RuleFiles, ConfigError> {
    let (files, problems) = read_all(places);
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(files),
    }
}

/// Stores the loaded claim rules until reboot; together with the system rules they are the runtime list.
///
/// # Errors
/// The file cannot be written.
pub fn save_loaded(places: &Places, lists: &RuleLists) -> Result<(), ConfigError> {
    let file = places.loaded_rules();
    let text = schema::write_claim_rules(lists.loaded.iter());
    store::replace(&file, text.as_bytes()).map_err(|source| ConfigError::Write { file, source })
}

/// Returns the rules for an agent that starts, and the mistakes to report.
///
/// ESXi loads the file list when it boots, and so does the first start of the agent after a reboot; a later start uses
/// the list that was loaded then. A mistake in a file does not affect the rest of it. If there is any mistake, the list
/// that was loaded is not stored, so that the next start reads the corrected file.
#[must_use]
pub fn start(places: &Places) -> (RuleFiles, Vec<ConfigError>) {
    let (mut files, mut problems) = read_all(places);
    if !places.loaded_rules().exists() {
        files.lists.load(None);
        if problems.is_empty() {
            problems.extend(save_loaded(places, &files.lists).err());
        }
    }
    (files, problems)
}

/// Returns the system rules that are built in.
#[must_use]
pub fn built_in() -> RuleFiles {
    let mut files = RuleFiles::default();
    for (_, text) in EMBEDDED {
        // They are valid, which a test checks. An invalid one would add no rules.
        files.add_system(schema::parse(text).unwrap_or_default());
    }
    files
}
