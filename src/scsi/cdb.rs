//! The commands that the agent sends.

use super::tpgs::AccessState;
use serde::{Deserialize, Serialize};

/// A command to a logical unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// TEST UNIT READY (SPC-5 6.47).
    TestUnitReady,
    /// INQUIRY, standard data (SPC-5 6.7).
    Inquiry,
    /// INQUIRY with EVPD and this page code.
    Vpd(u8),
    /// READ CAPACITY (16) (SBC-4).
    ReadCapacity16,
    /// REPORT TARGET PORT GROUPS with the extended header (SPC-5 6.36).
    ReportTargetPortGroups,
    /// REPORT TARGET PORT GROUPS with the length-only header, for targets that refuse the other.
    ReportTargetPortGroupsShort,
    /// SET TARGET PORT GROUPS (SPC-5 6.45): group and wanted state.
    SetTargetPortGroups(Vec<(u16, AccessState)>),
}
