//! How a unit of a simulated array moves to another controller, and the record of such moves.
//!
//! A trespass takes no time here. Moves of real arrays take seconds, in which I/O waits in the host.

use super::array::{Array, Lun, Unit};
use super::moves::{Move, UnitId};
use crate::psa::units::Hctl;
use crate::scsi::tpgs::AccessState;
use std::collections::BTreeSet;

impl Unit {
    /// The port groups in the state active/optimized.
    pub(super) fn serving(&self) -> BTreeSet<u16> {
        let best = |access| access == AccessState::ActiveOptimized;
        let groups = self.groups.iter();
        groups
            .filter(|(_, group)| best(group.access))
            .map(|(number, _)| *number)
            .collect()
    }
}

impl Array {
    /// A host asks the controller behind a nexus to take over its unit, which makes the other controllers passive.
    /// Returns whether the request succeeded.
    pub fn trespass(&mut self, nexus: Hctl) -> bool {
        let Some(Lun {
            unit: Some(id),
            group,
            ..
        }) = self.luns.get(&nexus).copied()
        else {
            return false;
        };
        let Some(unit) = self.units.get_mut(&id) else {
            return false;
        };
        if unit.trespass_refusals > 0 {
            unit.trespass_refusals -= 1;
            return false;
        }
        let before = unit.serving();
        for (number, other) in &mut unit.groups {
            other.access = if *number == group {
                AccessState::ActiveOptimized
            } else {
                AccessState::Standby
            };
        }
        let attention = unit.trespass_attention;
        if self.note_move(id, nexus, before)
            && let Some((asc, ascq)) = attention
        {
            let others: Vec<Hctl> = self.nexuses_of(id).filter(|n| *n != nexus).collect();
            others.into_iter().for_each(|n| self.attend(n, asc, ascq));
        }
        true
    }

    /// Records a move if the controllers that serve a unit differ from `before`; returns whether they do.
    pub(super) fn note_move(&mut self, unit: UnitId, nexus: Hctl, before: BTreeSet<u16>) -> bool {
        let to = self.units.get(&unit).map(Unit::serving).unwrap_or_default();
        let moved = to != before;
        if moved {
            let at = self.now;
            self.moves.push(Move {
                at,
                nexus,
                unit,
                to,
            });
        }
        moved
    }
}
