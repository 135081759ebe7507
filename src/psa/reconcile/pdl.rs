//! Permanent device loss (PDL): every path reports by its sense data that the logical unit is gone permanently (5/25/00
//! and those that ESXi treats the same). I/O fails immediately. When the last user has closed the map it is removed,
//! and then the SCSI devices, as ESXi does. A unit that is mapped again is found by a rescan, or by the next check
//! while its devices are still present.

use crate::psa::action::Action;
use crate::psa::check::ask;
use crate::psa::codes;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::device::Disposition;
use crate::psa::state::outages::Apd;
use crate::psa::state::schedule::Key;
use crate::psa::units::{DevT, Hctl, Millis};

/// If an admin unmaps a unit by mistake and maps it again within this time, no rescan is needed.
const GRACE: Millis = Millis(30_000);

/// How long to wait for the answers of paths that are asked once more.
const ASKED: Millis = Millis(1_000);

/// A device that could not be removed, because something was using it after all, is tried again after this time.
const RETRY: Millis = Millis(60_000);

/// Removes the SCSI devices of a lost unit from the host, once it has no map and nothing uses them.
pub(in crate::psa) fn remove_lost(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let Apd::Lost { since } = device.apd() else {
        return;
    };
    // A placeholder that never was a disk, or a disk that is left to the host, must not be removed.
    let ours = device.queueing.has_served() && device.disposition == Disposition::Stacked;
    if !ours || !world.settings.remove_lost || world.map_of(wwid).is_some() {
        return;
    }
    let key = Key::Device(wwid.to_owned());
    let at = since.after(GRACE);
    if at > world.now {
        world.schedule.no_later_than(key, at);
        return;
    }
    // A path whose disk is not known is not removed, because it cannot be known what uses it.
    let free: Vec<(Hctl, DevT)> = world
        .paths_of(device)
        .filter(|path| {
            path.requested
                .removed_at()
                .is_none_or(|at| at.after(RETRY) <= world.now)
        })
        .filter_map(|path| {
            let block = path.facts().block.as_ref()?;
            block
                .usage
                .is_empty()
                .then_some((path.facts().hctl, block.dev))
        })
        .collect();
    if free.is_empty() {
        return;
    }
    // What is known may be older than the end of the loss. A unit that is mapped again can be found by a rescan, and
    // must not be removed after that. So its paths are asked once more after its map is gone.
    let gone = device.work.last_done();
    let unsure: Vec<Hctl> = world
        .paths_of(device)
        .filter(|path| path.is_ours() && path.health.lost_at().is_none_or(|at| at <= gone))
        .map(|path| path.facts().hctl)
        .collect();
    if !unsure.is_empty() {
        unsure
            .into_iter()
            .for_each(|path| ask::examine_now(world, path));
        world.schedule.no_later_than(key, world.now.after(ASKED));
        return;
    }
    let id = device.id().to_owned();
    for (path, dev) in free {
        if let Some(path) = world.paths.get_mut(&path) {
            path.requested.remove(world.now);
        }
        world.actions.push(Action::DeleteDevice { path, dev });
    }
    let effect = "its SCSI devices are removed; a rescan finds them if it is mapped again";
    world.notify(codes::PDL_REMOVED, id, &[("effect", effect)]);
    world.schedule.no_later_than(key, world.now.after(RETRY));
}
