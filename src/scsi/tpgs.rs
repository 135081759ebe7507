//! Asymmetric logical unit access: REPORT and SET TARGET PORT GROUPS.

use serde::{Deserialize, Serialize};

/// ASYMMETRIC ACCESS STATE (SPC-5 table 180).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccessState {
    /// 0h
    ActiveOptimized,
    /// 1h
    ActiveNonOptimized,
    /// 2h
    Standby,
    /// 3h
    Unavailable,
    /// 4h
    LogicalBlockDependent,
    /// Eh
    Offline,
    /// Fh
    Transitioning,
    /// Any other nibble.
    Reserved(u8),
}
