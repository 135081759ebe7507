//! One claim rule.

use super::matching::Match;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Numbers below this are reserved, for rules that are tried before any of the admin's.
pub(crate) const FIRST_FREE: u32 = 101;

/// Numbers above this are reserved, for rules that take what the admin's rules leave.
pub(crate) const LAST_FREE: u32 = 65435;

/// The rule that assigns to NMP what no other rule took. The number is ESXi's, and the highest.
pub(crate) const CATCH_ALL: u32 = 65535;

/// What a rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum RuleClass {
    /// Which multipathing plug-in owns a path.
    #[default]
    MP,
    /// Which filter sees the I/O of a device. Has no effect on Linux: stored and listed.
    Filter,
    /// Which plug-in offloads work to the array. Has no effect on Linux: stored and listed.
    VAAI,
}

impl RuleClass {
    /// All classes, in the order of listings.
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

    /// The class of this name; case does not matter.
    ///
    /// # Errors
    /// A message that lists the valid names, if no class has this name.
    pub fn by_name(name: &str) -> Result<RuleClass, String> {
        RuleClass::ALL
            .into_iter()
            .find(|class| class.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("there is no rule class `{name}`: use MP, Filter or VAAI"))
    }
}

/// What a VAAI rule says about extended copies. Stored and listed: on Linux nothing offloads a copy of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Xcopy {
    /// Whether to use the limits that the array reports.
    pub use_array_values: bool,
    /// Whether to send several segments in one command.
    pub use_multi_segs: bool,
    /// Largest transfer in KiB; 0 means the plug-in's own limit.
    pub max_transfer_kib: u32,
}

/// A numbered claim rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it decides.
    pub class: RuleClass,
    /// 0..=65535, unique in its class; lower numbers are tried first.
    pub number: u32,
    /// What it matches.
    pub matches: Match,
    /// The plug-in that gets the path: `NMP`, `MASK_PATH`, or one that this build may not have.
    pub plugin: String,
    /// Settings for extended copies.
    pub xcopy: Xcopy,
    /// Options for the plug-in, as written: `pss=LB-Latency,latency-eval-time=180000`.
    pub config: String,
    /// On ESXi the rule is skipped if this variable of the host is 1. Linux has no such variables, so the rule always
    /// applies.
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

    /// Its position in listings and in the order in which rules are tried.
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
