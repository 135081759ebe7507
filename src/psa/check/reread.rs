//! Has the kernel read a disk again (its size, its write protection), but not where reading would move a logical unit.

use crate::psa::action::Action;
use crate::psa::check::ask;
use crate::psa::evidence::PathState;
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::units::Hctl;

/// Whether a path is in standby and this host can have it activated, whatever is known of its identity.
pub(in crate::psa) fn is_activatable(world: &World, id: Hctl) -> bool {
    let path = world.paths.get(&id);
    let device = path.and_then(|path| world.device_of(path));
    let (Some(path), Some(device)) = (path, device) else {
        return false;
    };
    let evidence = World::evidence(path, device.ports.groups());
    device.selection.as_ref().is_some_and(|selection| {
        let satp = selection.satp;
        satp.judge(&evidence).state == PathState::Standby && satp.can_activate(&evidence)
    })
}

/// Has the kernel read the disk of a path again (size, write protection) as soon as that does not move the unit. `sd`
/// sends START STOP UNIT to a unit that asks for it, and a standby controller takes over the unit on that command. What
/// is known about a path may be older than a move, so with arrays that move units the path is checked first.
pub(in crate::psa) fn reread(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let selection = world
        .device_of(path)
        .and_then(|device| device.selection.as_ref());
    let takes_over = selection.is_none_or(|selection| selection.satp.is_exclusive());
    if let Some(path) = world.paths.get_mut(&id) {
        path.exams.owe_reread();
    }
    if takes_over {
        ask::examine_now(world, id);
    } else {
        pay_reread(world, id);
    }
}

/// Has the kernel read the disk now, if that is owed and does not move the unit. No other code decides on this.
pub(in crate::psa) fn pay_reread(world: &mut World, id: Hctl) {
    let due = |path: &&mut Path| {
        path.exams.owes_reread() && path.is_up() && path.state() != PathState::Standby
    };
    if let Some(path) = world.paths.get_mut(&id).filter(due) {
        path.exams.reread();
        world.actions.push(Action::RescanDevice(id));
    }
}
