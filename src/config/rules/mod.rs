//! The rules in files: read and merged whole, edited with the admin's comments kept.
//!
//! | file | whose | holds |
//! |---|---|---|
//! | `/usr/lib/dm-psa/*.toml` | ours and array vendors' | system claim rules and SATP rules |
//! | `/etc/dm-psa/rules.toml` | the admin's | the file list of claim rules, user SATP rules, default PSPs |
//! | `/run/dm-psa/rules.toml` | the admin's, until reboot | what was said with `--boot`: system SATP rules added and removed |
//! | `/run/dm-psa/claimrules.toml` | the agent's | the file list as it was loaded last: with the system rules, the runtime list |
//!
//! All have one format, [`schema`]. Invariants: an admin who loads or edits files with a mistake is refused, with file,
//! line and reason, and nothing changes; nothing is decided by half a rule. An agent that starts cannot refuse: it leaves
//! out the rules with a mistake, reports each, and goes by all others.

pub mod edit;
pub mod schema;
#[cfg(test)]
mod tests;

use super::{ConfigError, Places, read, store};
use crate::psa::claim::{RuleList, RuleLists, Ruleset};
use crate::psa::rules::Rules;
use crate::psa::satp::rules::{Group, SatpRule, SatpRules};
use schema::RuleFile;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Our own files: installed to `/usr/lib/dm-psa`, and here in case they are not.
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

/// Everything that the files say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleFiles {
    /// Claim rules.
    pub lists: RuleLists,
    /// SATP rules in the order of their files; those of the system first.
    pub satp: Vec<SatpRule>,
    /// Default PSPs that the admin set, by SATP.
    pub default_psps: BTreeMap<String, String>,
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

    /// The SATP rules in the order in which they are tried.
    #[must_use]
    pub fn satp_rules(&self) -> SatpRules {
        SatpRules::new(self.satp.clone(), self.default_psps.clone())
    }

    /// Takes in system files.
    fn add_system(&mut self, file: RuleFile) {
        let before = std::mem::take(&mut self.lists.system);
        self.lists.system = RuleList::new(before.iter().cloned().chain(file.claim_rules));
        self.satp
            .extend(file.satp_rules.into_iter().map(|(_, rule)| rule));
        self.default_psps.extend(file.default_psps);
    }

    /// Takes in what was said with `--boot`.
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

    /// Takes in the admin's file.
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

/// What is wrong in files.
type Problems = Vec<ConfigError>;

/// The rules of a text that can be understood.
fn understood(file: PathBuf, text: &str, problems: &mut Problems) -> RuleFile {
    let (rules, mistakes) = schema::parse_leniently(text);
    problems.extend(mistakes.iter().map(|mistake| ConfigError::Invalid {
        file: file.clone(),
        problem: mistake.to_string(),
    }));
    rules
}

/// Reads one file; nothing if there is none.
fn read_file(file: PathBuf, problems: &mut Problems) -> RuleFile {
    match read(&file) {
        Ok(text) => understood(file, &text.unwrap_or_default(), problems),
        Err(problem) => {
            problems.push(problem);
            RuleFile::default()
        }
    }
}

/// Reads the system files: each of ours from `/usr/lib/dm-psa` or, where it is not installed, as it was built in; then
/// those of array vendors by name.
fn read_system(places: &Places, problems: &mut Problems) -> RuleFiles {
    let folder = places.system_rules();
    let mut names: Vec<String> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".toml"))
            .filter(|name| !EMBEDDED.iter().any(|(ours, _)| ours == name))
            .collect(),
        Err(_) => Vec::new(),
    };
    names.sort();
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
            // Ours are correct as they were built in.
            rules = understood(file, built_in, problems);
        }
        files.add_system(rules);
    }
    for name in names {
        files.add_system(read_file(folder.join(name), problems));
    }
    files
}

/// Reads what can be understood of all files.
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

/// Remembers the loaded claim rules until reboot, as the other half of the runtime list.
///
/// # Errors
/// The file cannot be written.
pub fn save_loaded(places: &Places, lists: &RuleLists) -> Result<(), ConfigError> {
    let file = places.loaded_rules();
    let text = schema::write_claim_rules(lists.loaded.iter());
    store::replace(&file, text.as_bytes()).map_err(|source| ConfigError::Write { file, source })
}

/// The rules for an agent that starts. ESXi loads the file list when it boots, and so does the first start of the
/// agent after a reboot; a later one finds what was loaded then. Of a file with a mistake everything else counts. A file
/// list with a mistake is not kept as the list that was loaded, so that the next start finds it corrected.
///
/// Returns the rules, and what has to be reported.
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

/// The system rules as they were built in.
#[must_use]
pub fn built_in() -> RuleFiles {
    let mut files = RuleFiles::default();
    for (_, text) in EMBEDDED {
        // They are correct: a test reads them. A wrong one would leave the least rules that work.
        files.add_system(schema::parse(text).unwrap_or_default());
    }
    files
}
