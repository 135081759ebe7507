//! How arrays that predate target port groups move a unit to another controller, and the record of such moves.

use crate::psa::units::{Hctl, Millis};
use std::collections::BTreeSet;

/// Number of a logical unit in the array. This is not its LUN, which belongs to a nexus.
pub type UnitId = u32;

/// How an array that predates target port groups moves a unit to another controller. A group that serves the unit is
/// active/optimized, a passive one is in standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trespass {
    /// START STOP UNIT; a passive controller asks for it (handler `hp_sw`).
    StartUnit,
    /// MODE SELECT of page 22h; VPD page C0h reports the owner (handler `emc`).
    Clariion,
    /// MODE SELECT of page 2Ch; VPD page C9h reports the owner, TEST UNIT READY does not show it (handler `rdac`).
    Rdac,
}

impl Trespass {
    /// The kernel's device handler for such arrays.
    #[must_use]
    pub fn handler(self) -> &'static str {
        match self {
            Trespass::StartUnit => "hp_sw",
            Trespass::Clariion => "emc",
            Trespass::Rdac => "rdac",
        }
    }
}

/// A move of a unit from one controller to another at the request of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The time of the move.
    pub at: Millis,
    /// The path of the request.
    pub nexus: Hctl,
    /// The unit.
    pub unit: UnitId,
    /// The port groups that serve it now.
    pub to: BTreeSet<u16>,
}
