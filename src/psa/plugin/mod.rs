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

impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Plugin::Nmp => "NMP",
            Plugin::MaskPath => "MASK_PATH",
        })
    }
}
