//! The names of the multipathing plug-ins (MPP). `psa::plugin` has what each does.

use serde::Deserialize;
use serde::Serialize;
use std::fmt;

/// The plug-in that owns a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Plugin {
    /// The native plug-in: uses a SATP and a PSP.
    #[serde(rename = "NMP")]
    Nmp,
    /// The high performance plug-in: decides without SATP and PSP, see `psa::plugin::hpp`.
    #[serde(rename = "HPP")]
    Hpp,
    /// The path is masked: it is in no table.
    #[serde(rename = "MASK_PATH")]
    MaskPath,
}

impl Plugin {
    /// All plug-ins, in the order of `core plugin list`.
    pub const ALL: [Plugin; 3] = [Plugin::Hpp, Plugin::Nmp, Plugin::MaskPath];

    /// The plug-in of this name; `None` if this build does not have it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Plugin> {
        Plugin::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Plugin::Nmp => "NMP",
            Plugin::Hpp => "HPP",
            Plugin::MaskPath => "MASK_PATH",
        }
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
