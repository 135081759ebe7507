//! Multipath plug-ins: who owns a path.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The plug-in that owns a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Plugin {
    /// The native plug-in: one dm-multipath map per device, by SATP and PSP.
    #[serde(rename = "NMP")]
    Nmp,
    /// The path is taken away: it is in no table.
    #[serde(rename = "MASK_PATH")]
    MaskPath,
}

impl Plugin {
    /// The plug-in of this name; `None` if this build has none.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Plugin> {
        match name {
            "NMP" => Some(Plugin::Nmp),
            "MASK_PATH" => Some(Plugin::MaskPath),
            _ => None,
        }
    }
}

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plugin::Nmp => "NMP",
            Plugin::MaskPath => "MASK_PATH",
        })
    }
}
