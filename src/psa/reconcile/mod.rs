//! From what is known about a device to the actions on its map.
//!
//! [`look_at`] is the only entry. It gathers a view of the device ([`view`]), has the PSP arrange the paths
//! ([`wanted`]), compares that with the kernel's table ([`correct`]) and acts on the difference ([`act`]). Before that,
//! it decides whether the device gets a map at all ([`disposition`]), whether its members are known ([`membership`]),
//! whether any path is usable ([`apd`], [`pdl`]) and whether the array may be made to move the unit ([`takeover`]).

pub(in crate::psa) mod act;
pub(in crate::psa) mod apd;
pub(in crate::psa) mod correct;
pub(in crate::psa) mod disposition;
pub(in crate::psa) mod initramfs;
pub(in crate::psa) mod lone;
pub(in crate::psa) mod membership;
pub(in crate::psa) mod observed;
pub(in crate::psa) mod pdl;
pub(in crate::psa) mod select;
pub(in crate::psa) mod strays;
pub(in crate::psa) mod takeover;
pub(in crate::psa) mod usable;
pub(in crate::psa) mod view;
pub(in crate::psa) mod wanted;

use crate::psa::action::MapStep;
use crate::psa::check::compare;
use crate::psa::claiming::mask_path;
use crate::psa::names::Wwid;
use crate::psa::psp::Options;
use crate::psa::reconcile::correct::CLOSE_POLL;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::schedule::Key;
use crate::psa::units::Millis;
use std::collections::BTreeSet;

/// Looks at a device: decides again on everything that may have changed, and acts on the difference.
pub(in crate::psa) fn look_at(world: &mut World, wwid: &Wwid) {
    forget_if_empty(world, wwid);
    expire_flush(world, wwid);
    let now = world.now;
    let Some(device) = world.devices.get_mut(wwid) else {
        // The key was set after the device was forgotten.
        return world.schedule.cancel(&Key::Device(wwid.to_owned()));
    };
    device.look(now);
    for id in device.paths() {
        if let Some(path) = world.paths.get_mut(id) {
            path.health.expire();
        }
    }
    if !world.started {
        return;
    }
    let unseen = membership::members(world, wwid).unseen;
    if !unseen.is_empty() && !membership::look_up(world, wwid, &unseen) {
        return; // Nothing is decided about a map before its members are known.
    }
    strays::release_strays(world, wwid);
    compare::compare_paths(world, wwid);
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    if device.selection.is_none() || world.map_of(wwid).is_none() {
        select::select(world, wwid);
    }
    select::unite(world, wwid);
    disposition::dispose(world, wwid);
    disposition::mark_owners(world, wwid);
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    if device.work.in_flight().is_some() {
        return; // MapDone leads back here.
    }
    if matches!(device.disposition, Disposition::Foreign(_)) {
        return;
    }
    mask_path::withdraw(world, wwid);
    pdl::remove_lost(world, wwid);
    disposition::set_port_timers(world, wwid);
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let stacked = device.disposition == Disposition::Stacked;
    let view = view::view(world, device);
    let map = world.map_of(wwid).cloned();
    takeover::watch_owner(world, wwid, &view);
    let usable = map.as_ref().map_or_else(BTreeSet::new, |map| {
        usable::usable(world, wwid, map, &view, &unseen)
    });
    apd::watch_apd(world, wwid, &view, map.as_ref(), &usable, &unseen);
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let failure = device
        .work
        .failure()
        .filter(|failure| failure.retry_at > world.now)
        .cloned();
    let arrangement = wanted::arrangement(device, &view);
    if let Some(device) = world.devices.get_mut(wwid) {
        device.options = Options {
            chosen: arrangement.chosen,
            ..view.options.clone()
        };
    }
    let mut steps = match &map {
        None if stacked => correct::creation(world, wwid, &view, &arrangement),
        None => Vec::new(),
        Some(map) => correct::correction(world, wwid, map, &view, &arrangement, usable, &unseen),
    };
    if let Some(failure) = failure {
        // If the first table failed, the messages that were to follow it have no map.
        let has_map = map.is_some();
        steps.retain(|step| {
            failure.allows(step, world.now) && (has_map || !matches!(step, MapStep::Message(_)))
        });
        world
            .schedule
            .no_later_than(Key::Device(wwid.to_owned()), failure.next_try(world.now));
    }
    // Nothing announces that the map is opened.
    if steps.is_empty() && takeover::is_unused(world, wwid) && world.map_of(wwid).is_some() {
        steps = correct::observe_after(world, wwid, CLOSE_POLL);
    }
    if !steps.is_empty() {
        takeover::note_orders(world, wwid, &view, &steps);
        act::act(world, wwid, steps);
    }
}

/// How long a flush may wait until its map is closed. Later, nobody expects the map to be removed.
const FLUSH_PATIENCE: Millis = Millis::from_secs(10);

/// Takes a flush back whose map is still open.
fn expire_flush(world: &mut World, wwid: &Wwid) {
    let id = world.devices.get(wwid).map(Device::id);
    let asked = id.and_then(|id| world.unstored.flushed.get_key_value(id));
    let Some((id, asked)) = asked.filter(|_| world.map_of(wwid).is_some()) else {
        return;
    };
    let (id, until) = (id.clone(), asked.after(FLUSH_PATIENCE));
    if world.now < until {
        return world
            .schedule
            .no_later_than(Key::Device(wwid.to_owned()), until);
    }
    world.unstored.flushed.remove(&id);
    world.unstored.off.remove(&id);
}

/// Forgets a device without paths and without a map.
fn forget_if_empty(world: &mut World, wwid: &Wwid) {
    let empty = world
        .devices
        .get(wwid)
        .is_some_and(|d| d.paths().is_empty() && d.work.in_flight().is_none());
    if empty && world.map_of(wwid).is_none() {
        if let Some(device) = world.devices.remove(wwid)
            && world.unstored.flushed.remove(device.id()).is_some()
        {
            world.unstored.off.remove(device.id());
        }
        world.schedule.cancel(&Key::Device(wwid.to_owned()));
    }
}
