//! Paths whose LUN leads elsewhere: to nothing, or to another logical unit than that of their device.
//!
//! Such a path carries no I/O for its device. It stays with the device while the map may be in use, for two reasons:
//! the path serves again if its LUN is mapped back by then, and I/O that waits in the map must never reach the other
//! unit. When the map is gone, or nothing has it open and its table does not contain the disk, the LUN belongs to the
//! other unit for good. The path then joins that unit, and proves itself there before it carries I/O.

use crate::psa::check::{ask, discovery, disks, judge};
use crate::psa::codes;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::units::Hctl;

/// Moves the paths of a device that lead to other units to these units, if the device does not need them.
pub(in crate::psa) fn release_strays(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let in_use = world.map_of(wwid).is_some_and(|map| map.open_count > 0);
    if in_use || device.work.in_flight().is_some() {
        return;
    }
    let free = |path: &&Path| path.proof.is_quarantined() && !world.is_held(path);
    let strays: Vec<Hctl> = world
        .paths_of(device)
        .filter(free)
        .map(|path| path.facts().hctl)
        .collect();
    for id in strays {
        joins_found(world, id);
    }
}

fn joins_found(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let Some(unit) = path.proof.release() else {
        return;
    };
    path.forget_unit();
    let name = path.name().to_string();
    let details = [
        ("device", unit.device_id.as_str()),
        (
            "reason",
            "its LUN belongs to this unit now, and the map of the previous unit is not in use",
        ),
    ];
    world.notify(codes::PATH_QUARANTINE_ENDED, name, &details);
    let (wwid, device_id) = (unit.wwid.clone(), unit.device_id.clone());
    discovery::join(world, id, &wwid, &device_id, Some(unit));
    judge::judge(world, id);
    ask::examine_now(world, id);
}

/// Whether any path of a device leads to another unit.
pub(in crate::psa) fn has_strays(world: &World, device: &Device) -> bool {
    world
        .paths_of(device)
        .any(|path| path.proof.is_quarantined())
}

/// Whether the disk of any path of a device does not fit its map, perhaps because of the map itself.
pub(in crate::psa) fn has_refused(world: &World, device: &Device) -> bool {
    world
        .paths_of(device)
        .any(|path| path.fit.mismatch().is_some())
}

/// Whether the device has lost its paths to other units. Two cases: paths lead to other units, and none is proven to
/// lead to this one; or paths lead to other units that report the same identity, and no other path is left, not even
/// one that is down, whose place they would take.
pub(in crate::psa) fn is_given_away(world: &World, device: &Device) -> bool {
    let (mut strays, mut twins, mut own, mut proven) = (false, false, false, false);
    for path in world.paths_of(device) {
        if path.proof.is_quarantined() {
            strays = true;
        } else if disks::is_twin(world, path, device) {
            twins = true;
        } else {
            own = true;
            proven |= path.proof.may_carry_io();
        }
    }
    (strays && !twins && !proven) || (twins && !own)
}
