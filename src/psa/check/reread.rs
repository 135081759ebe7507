//! The kernel reads a disk again (its size, its write protection), but not where reading would move a logical unit.

use crate::psa::action::Action;
use crate::psa::check::ask;
use crate::psa::evidence::{Link, PathState};
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::units::Hctl;

/// Whether a path waits that the host can have activated, whatever is known of its identity.
pub(in crate::psa) fn is_activatable(world: &World, id: Hctl) -> bool {
    let path = world.paths.get(&id);
    let device = path.and_then(|path| world.device_of(path));
    let (Some(path), Some(device)) = (path, device) else {
        return false;
    };
    let evidence = World::evidence(path, &device.groups);
    device.selection.as_ref().is_some_and(|selection| {
        let satp = selection.satp;
        satp.judge(&evidence).state == PathState::Standby && satp.can_activate(&evidence)
    })
}

/// Has the kernel read the disk of a path again (size, write protection), once that moves nothing: `sd` sends START STOP
/// UNIT to a unit that asks for it, and a controller that waits takes the unit over by that. What is known of a path may
/// be older than a move, so the path is asked first where controllers take over.
pub(in crate::psa) fn reread(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let selection = world
        .device_of(path)
        .and_then(|device| device.selection.as_ref());
    let takes_over = selection.is_none_or(|selection| selection.satp.is_exclusive());
    if let Some(path) = world.paths.get_mut(&id) {
        path.reread_owed = true;
    }
    if takes_over {
        ask::examine_now(world, id);
    } else {
        pay_reread(world, id);
    }
}

/// Has it done now if it is owed and moves nothing. The one place that decides on it.
pub(in crate::psa) fn pay_reread(world: &mut World, id: Hctl) {
    let due = |path: &&mut Path| {
        path.reread_owed && path.link == Link::Up && path.state() != PathState::Standby
    };
    if let Some(path) = world.paths.get_mut(&id).filter(due) {
        path.reread_owed = false;
        world.actions.push(Action::RescanDevice(id));
    }
}
