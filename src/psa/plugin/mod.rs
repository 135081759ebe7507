//! Multipathing plug-ins: which one owns a path.
//!
//! NMP and HPP both make one dm-multipath map for a device; a device belongs to one of them. A path of MASK_PATH is in
//! no table.

pub(crate) mod hpp;

use crate::psa::facts::Subject;
use crate::psa::mpp::Plugin;

impl Plugin {
    /// Whether the plug-in accepts a path that a rule assigns to it. If not, the next rule is tried.
    ///
    /// # Errors
    /// The reason, as text for the user.
    pub fn accepts(self, subject: &Subject<'_>) -> Result<(), &'static str> {
        match self {
            Plugin::Hpp => hpp::accepts(subject),
            Plugin::Nmp | Plugin::MaskPath => Ok(()),
        }
    }
}
