//! The rules in files: read and merged whole, edited with the admin's comments kept.
//!
//! | file | whose | holds |
//! |---|---|---|
//! | `/usr/lib/dm-psa/*.toml` | ours and array vendors' | system claim rules and SATP rules |
//! | `/etc/dm-psa/rules.toml` | the admin's | the file list of claim rules, user SATP rules, default PSPs |
//! | `/run/dm-psa/rules.toml` | the admin's, until reboot | what was said with `--boot`: system SATP rules added and removed |
//! | `/run/dm-psa/claimrules.toml` | the agent's | the file list as it was loaded last: with the system rules, the runtime list |
//!
//! All have one format, [`schema`]. Invariant: a file with a mistake gives no rule at all, and the error names file,
//! line and mend; nothing decides by half a set of rules.

pub mod edit;
pub mod schema;
#[cfg(test)]
mod tests;

use super::{ConfigError, Places, read, store};
use crate::psa::claim::{RuleList, RuleLists, Ruleset};
use crate::psa::satp::rules::{Group, SatpRule, SatpRules};
use crate::psa::world::Rules;
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

/// Reads one file; nothing if there is none.
fn read_file(file: PathBuf) -> Result<RuleFile, ConfigError> {
    let Some(text) = read(&file)? else {
        return Ok(RuleFile::default());
    };
    schema::parse(&text).map_err(|problem| ConfigError::Invalid { file, problem })
}

/// Reads the system files: each of ours from `/usr/lib/dm-psa` or, where it is not installed, as it was built in; then
/// those of array vendors by name.
fn load_system(places: &Places) -> Result<RuleFiles, ConfigError> {
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
        let text = read(&file)?.unwrap_or_else(|| built_in.to_owned());
        let parsed =
            schema::parse(&text).map_err(|problem| ConfigError::Invalid { file, problem })?;
        files.add_system(parsed);
    }
    for name in names {
        files.add_system(read_file(folder.join(name))?);
    }
    Ok(files)
}

/// Reads all files.
///
/// # Errors
/// The first file that cannot be read or has a mistake.
pub fn load(places: &Places) -> Result<RuleFiles, ConfigError> {
    let mut files = load_system(places)?;
    files.add_boot(read_file(places.boot_rules())?);
    files.add_admin(read_file(places.admin_rules())?);
    files.lists.loaded = RuleList::new(read_file(places.loaded_rules())?.claim_rules);
    Ok(files)
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
/// agent after a reboot; a later one finds what was loaded then. If a file has a mistake, the agent goes on
/// with what it had: the system rules and the claim rules that were loaded last, and no user SATP rules.
///
/// Returns the rules, and what is to be told.
#[must_use]
pub fn start(places: &Places) -> (RuleFiles, Vec<ConfigError>) {
    let mut problems = Vec::new();
    let mut files = load(places).unwrap_or_else(|problem| {
        problems.push(problem);
        let mut files = load_system(places).unwrap_or_else(|problem| {
            problems.push(problem);
            built_in()
        });
        let loaded = read_file(places.loaded_rules()).unwrap_or_default();
        files.lists.loaded = RuleList::new(loaded.claim_rules);
        files
    });
    if problems.is_empty() && !places.loaded_rules().exists() {
        files.lists.load(None);
        problems.extend(save_loaded(places, &files.lists).err());
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
