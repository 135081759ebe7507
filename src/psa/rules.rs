//! The rules in force: claim rules and SATP rules.

use crate::psa::claim::Ruleset;
use crate::psa::satp::rules::SatpRules;

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rules {
    /// Which plug-in owns a path.
    pub claim: Ruleset,
    /// Which SATP takes a device of NMP.
    pub satp: SatpRules,
}

impl Default for Rules {
    /// Rules that work without any file: NMP takes everything except access LUNs, and ALUA takes arrays that report
    /// target port groups.
    fn default() -> Rules {
        Rules {
            claim: Ruleset::basic(),
            satp: SatpRules::basic(),
        }
    }
}
