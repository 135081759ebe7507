//! One claim rule.

use super::matching::Match;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Numbers below this are reserved: these rules are tried before any of the admin.
pub const FIRST_FREE: u32 = 101;

/// Numbers above this are reserved: these rules take what the admin's left over.
pub const LAST_FREE: u32 = 65435;

/// The rule that gives NMP whatever no other rule took; ESXi's number for it, and the highest.
pub const CATCH_ALL: u32 = 65535;

/// What a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum RuleClass {
    /// Which multipath plug-in owns a path.
    #[default]
    MP,
    /// Which filter looks at the I/O of a device. Without effect on Linux: stored and listed.
    Filter,
    /// Which plug-in offloads work to the array. Without effect on Linux: stored and listed.
    VAAI,
}

impl RuleClass {
    /// All of them, in the order of listings.
    pub const ALL: [RuleClass; 3] = [RuleClass::Filter, RuleClass::MP, RuleClass::VAAI];

    /// ESXi's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RuleClass::MP => "MP",
            RuleClass::Filter => "Filter",
            RuleClass::VAAI => "VAAI",
        }
    }

    /// The class of this name, in upper or lower case.
    ///
    /// # Errors
    /// The names that there are.
    pub fn by_name(name: &str) -> Result<RuleClass, String> {
        RuleClass::ALL
            .into_iter()
            .find(|class| class.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("there is no rule class `{name}`: take MP, Filter or VAAI"))
    }
}

/// What a VAAI rule says of extended copies. Stored and listed: nothing on Linux offloads a copy of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Xcopy {
    /// Limits as the array reports them.
    pub use_array_values: bool,
    /// Several segments in one command.
    pub use_multi_segs: bool,
    /// Largest transfer in KiB; 0 is the plug-in's own.
    pub max_transfer_kib: u32,
}

/// A numbered claim rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it decides.
    pub class: RuleClass,
    /// 0..=65535, unique in its class; the lower is tried first.
    pub number: u32,
    /// What it matches.
    pub matches: Match,
    /// Who gets the path: `NMP`, `MASK_PATH`, or a plug-in that this build may not have.
    pub plugin: String,
    /// Copies.
    pub xcopy: Xcopy,
    /// Options for the plug-in, as written: `pss=LB-Latency,latency-eval-time=180000`.
    pub config: String,
    /// The rule is to run only if this variable of the host is not 1. Linux has no such variables, so it always runs.
    pub if_unset: Option<String>,
}

impl Rule {
    /// An MP rule without options.
    #[must_use]
    pub fn new(number: u32, matches: Match, plugin: &str) -> Rule {
        Rule {
            class: RuleClass::MP,
            number,
            matches,
            plugin: plugin.to_owned(),
            xcopy: Xcopy::default(),
            config: String::new(),
            if_unset: None,
        }
    }

    /// Its place in listings and among the rules that are tried.
    #[must_use]
    pub fn key(&self) -> (RuleClass, u32) {
        (self.class, self.number)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} ({})", self.number, self.matches)
    }
}
