//! Handles unit attentions of a path, and what they put in doubt.

use crate::psa::check::{ask, prove, reread};
use crate::psa::event::UnitAttention;
use crate::psa::state::World;
use crate::psa::units::Hctl;

/// Handles a unit attention: what has become doubtful is asked for immediately.
pub(in crate::psa) fn unit_attention(world: &mut World, id: Hctl, kind: UnitAttention) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    match kind {
        UnitAttention::InquiryDataHasChanged => {
            return prove::doubt(world, id, "its INQUIRY data changed");
        }
        UnitAttention::ReportedLunsDataHasChanged => return ask::prove_target(world, id),
        UnitAttention::PowerOnResetOccurred => path.proof.owe(),
        UnitAttention::CapacityDataHasChanged => {
            path.exams.ask_capacity();
            reread::reread(world, id);
        }
        // Write protection is a mode parameter. It is enough that the kernel reads it again.
        UnitAttention::ModeParametersChanged => {
            return reread::reread(world, id);
        }
        UnitAttention::AsymmetricAccessStateChanged => path.exams.ask_groups(),
        UnitAttention::ThinProvisioningSoftThresholdReached => return,
    }
    ask::examine_now(world, id);
}
