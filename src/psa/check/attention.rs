//! Unit attentions of a path, and what they put in doubt.

use crate::psa::check::{ask, prove, reread};
use crate::psa::event::UnitAttention;
use crate::psa::state::World;
use crate::psa::units::Hctl;

/// A unit attention: what it makes doubtful is asked for at once.
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
            path.measure = true;
            reread::reread(world, id);
        }
        // Write protection is a mode parameter. That the kernel reads it again is all there is to be done.
        UnitAttention::ModeParametersChanged => {
            return reread::reread(world, id);
        }
        UnitAttention::AsymmetricAccessStateChanged => path.ask_groups = true,
        UnitAttention::ThinProvisioningSoftThresholdReached => return,
    }
    ask::examine_now(world, id);
}
