//! Multipath plug-ins: who owns a path.
//!
//! NMP and HPP both make one dm-multipath map of a device; a device belongs to one of them. A path of MASK_PATH is in
//! no table.

pub mod hpp;

use crate::psa::facts::Subject;
use crate::psa::mpp::Plugin;

impl Plugin {
    /// Whether it takes a path that a rule gives it; if not, why not: then the next rule is tried.
    ///
    /// # Errors
    /// The reason, for a person.
    pub fn accepts(self, subject: &Subject<'_>) -> Result<(), &'static str> {
        match self {
            Plugin::Hpp => hpp::accepts(subject),
            Plugin::Nmp | Plugin::MaskPath => Ok(()),
        }
    }
}
