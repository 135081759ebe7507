//! From the states of the paths to the wanted table, and to the steps that correct the kernel's table.

use crate::psa::action::MapStep;
use crate::psa::check::disks;
use crate::psa::codes;
use crate::psa::evidence::Link;
use crate::psa::names::Wwid;
use crate::psa::psp::Arrangement;
use crate::psa::reconcile::view::View;
use crate::psa::reconcile::wanted::{avoided, table_of, within};
use crate::psa::reconcile::{strays, takeover};
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::outages::Apd;
use crate::psa::state::path::Path;
use crate::psa::state::schedule::Key;
use crate::psa::table::diff::{Difference, Wanted, diff};
use crate::psa::table::model::{Map, QueueMode};
use crate::psa::units::{DevT, Millis};
use std::collections::BTreeSet;

/// How often a map is observed to see whether it was closed or opened, because nothing announces that. A map without
/// paths is removed only when its last user has closed it. A map changes between read-only and writable only then too.
/// A map whose paths are all waiting gets a path when something opens it.
pub(in crate::psa) const CLOSE_POLL: Millis = Millis(5_000);

/// An observation that nothing has a map open is trusted for this long.
const JUST_SEEN: Millis = Millis(500);

/// How often a map is observed whose table or status could not be read.
const UNREADABLE_POLL: Millis = Millis(1_000);

/// The steps that create the map of a device, once its paths have settled.
pub(in crate::psa) fn creation(
    world: &mut World,
    wwid: &Wwid,
    view: &View,
    arrangement: &Arrangement,
) -> Vec<MapStep> {
    let Some(device) = world.devices.get(wwid) else {
        return Vec::new();
    };
    if view.candidates.is_empty() || view.length.0 == 0 || disks::is_being_measured(world, device) {
        return Vec::new();
    }
    if let Some(at) = settles_at(world, device) {
        world
            .schedule
            .no_later_than(Key::Device(wwid.to_owned()), at);
        return Vec::new();
    }
    let table = table_of(view, arrangement, true);
    // udev reads the new map first. If all paths are waiting, that read would make the array move the unit, so they are
    // not used yet.
    let waiting = takeover::waiting_alone(world, view);
    let usable = view.candidates.iter().map(|c| c.dev);
    let usable = usable.filter(|dev| !waiting.contains(dev)).collect();
    let wanted = Wanted {
        avoid: avoided(&table, view),
        table,
        usable,
    };
    let create = MapStep::Create {
        table: wanted.table_to_load(),
        usable: waiting.is_empty(),
        read_only: view.read_only.unwrap_or(false),
    };
    let held = wanted.messages_after_load();
    let held = held.into_iter().map(MapStep::Message);
    std::iter::once(create).chain(held).collect()
}

/// The steps for a map without a table, left behind by an agent that was killed while it created the map.
fn fill(
    world: &mut World,
    wwid: &Wwid,
    map: &Map,
    view: &View,
    arrangement: &Arrangement,
) -> Vec<MapStep> {
    let needed = world
        .devices
        .get(wwid)
        .is_some_and(|device| device.disposition == Disposition::Stacked);
    if !needed && map.open_count == 0 {
        return vec![MapStep::Remove];
    }
    let first = if needed {
        creation(world, wwid, view, arrangement)
    } else {
        Vec::new()
    };
    first
        .into_iter()
        .map(|step| match step {
            MapStep::Create {
                table,
                usable,
                read_only,
            } => MapStep::Reload {
                table,
                usable,
                read_only,
            },
            other => other,
        })
        .collect()
}

/// Whether the map of the device is about to be created.
pub(in crate::psa) fn awaits_creation(world: &World, device: &Device) -> bool {
    let serves = |path: &Path| path.state().serves_io() && path.proof.may_carry_io();
    device.disposition == Disposition::Stacked
        && device.work.failure().is_none()
        && world.map_of(device.wwid()).is_none()
        && world.paths_of(device).any(serves)
}

/// When the set of paths of a new device may be considered complete; `None` if it may be now.
fn settles_at(world: &World, device: &Device) -> Option<Millis> {
    let settle = world.settings.settle_ms;
    let undecided =
        |path: &Path| path.exams.current().is_some() && path.is_up() && path.class().is_none();
    let undecided = world.paths_of(device).any(undecided);
    // Paths that were present at start were all examined before the start was over.
    if device.last_join() <= world.started_at && !undecided {
        return None;
    }
    let quiet = device.last_join().after(settle);
    let patience = device
        .first_join()
        .after(Millis(settle.0.saturating_mul(4)));
    let at = quiet.min(patience);
    (at > world.now).then_some(at)
}

/// The steps that correct an existing map. While some of its members are `unseen`, only steps that leave these members
/// as they are.
pub(in crate::psa) fn correction(
    world: &mut World,
    wwid: &Wwid,
    map: &Map,
    view: &View,
    arrangement: &Arrangement,
    usable: BTreeSet<DevT>,
    unseen: &BTreeSet<DevT>,
) -> Vec<MapStep> {
    let Some(device) = world.devices.get(wwid) else {
        return Vec::new();
    };
    if map.is_shell() {
        return fill(world, wwid, map, view, arrangement);
    }
    if map.suspended {
        return vec![MapStep::Resume];
    }
    let (Ok(table), Ok(_)) = (&map.table, &map.status) else {
        return observe_after(world, wwid, UNREADABLE_POLL);
    };
    let all_known = unseen.is_empty();
    let orphaned = all_known && device.paths().is_empty();
    let masked = world.paths_of(device).all(|path| path.is_masked());
    let off = world.is_off(device.id());
    let lost = matches!(device.apd(), Apd::Lost { .. });
    let given_away = strays::is_given_away(world, device);
    let strays =
        given_away || strays::has_strays(world, device) || strays::has_refused(world, device);
    if all_known && (orphaned || masked || off || lost || given_away) && map.open_count == 0 {
        return vec![MapStep::Remove];
    }
    // After a restart, queueing stays as it was until a path is known to serve.
    let queue = !device.queueing.fails()
        && (device.queueing.has_served() || table.features.queue_if_no_path);
    // A map in use is not changed between read-only and writable. The kernel announces such a change by an event
    // (DISK_RO). On this event lvm2's udev rules remove the links of the map until its next event, and systemd may
    // unmount what was mounted through one of them.
    let in_use = map.open_count > 0;
    let waits_to_turn = in_use && view.read_only.is_some_and(|wanted| wanted != map.read_only);
    let read_only = view.read_only.filter(|_| !in_use).unwrap_or(map.read_only);
    let ideal = table_of(view, arrangement, queue);
    // Without a proven path there is no better basis than the present table.
    let proven = view.candidates.iter().any(|c| {
        world
            .paths
            .get(&c.path)
            .is_some_and(|path| path.proof.unit().is_some())
    });
    let known = proven && all_known && !fails_what_it_queues(map);
    let mut wanted = Wanted {
        avoid: avoided(&ideal, view),
        table: ideal,
        usable,
    };
    if known || orphaned {
        let difference = match diff(map, &wanted) {
            Difference::None | Difference::Messages(_) if turns(world, wwid, map, read_only) => {
                Difference::Reload(turned(read_only).to_owned())
            }
            difference => difference,
        };
        match difference {
            Difference::None => {
                settled(world, wwid);
                return if orphaned || lost || waits_to_turn || strays {
                    observe_after(world, wwid, CLOSE_POLL)
                } else {
                    Vec::new()
                };
            }
            Difference::Messages(messages) => {
                settled(world, wwid);
                return messages.into_iter().map(MapStep::Message).collect();
            }
            // Another queue mode would require a new map, and the users of this map would lose their disk.
            Difference::Recreate(_) => {}
            Difference::Reload(reason) => {
                let mut load = proven_part(world, &wanted, view);
                let waiting = takeover::waiting_alone(world, view);
                if takeover::is_unused(world, wwid) {
                    load.usable.retain(|dev| !waiting.contains(dev));
                } else if takeover::is_ordered(world, wwid) {
                    load.usable.extend(&waiting);
                }
                if load.table.groups.is_empty() && !orphaned {
                    settled(world, wwid); // Until a path proves itself, a new table has no benefit.
                } else if !takeover::reload_must_wait(world, wwid, view)
                    && reload_is_due(world, wwid, map, &wanted)
                {
                    if read_only != map.read_only && !was_seen_lately(world, wwid) {
                        return vec![MapStep::Observe]; // It may have been opened in the meantime.
                    }
                    let id = world
                        .devices
                        .get(wwid)
                        .map(|d| d.id().to_string())
                        .unwrap_or_default();
                    world.notify(codes::TABLE_RELOAD, id, &[("reason", &reason)]);
                    let reload = MapStep::Reload {
                        table: load.table_to_load(),
                        usable: load.usable.iter().any(|dev| !waiting.contains(dev)),
                        read_only,
                    };
                    if let Some(device) = world.devices.get_mut(wwid) {
                        device.work.reloads(read_only);
                    }
                    let after = load.messages_after_load().into_iter().map(MapStep::Message);
                    return std::iter::once(reload).chain(after).collect();
                }
            }
        }
    }
    if !(known || orphaned) {
        settled(world, wwid); // There is no longer a basis for the change that was delayed.
    }
    // The table stays as it is for now; only its path states and the order of its groups are corrected.
    wanted.table = within(table, arrangement, queue);
    wanted.avoid = avoided(&wanted.table, view);
    match diff(map, &wanted) {
        Difference::Messages(messages) => messages.into_iter().map(MapStep::Message).collect(),
        // When it is closed it is removed, or its paths join the units to which they lead.
        _ if lost || strays => observe_after(world, wwid, CLOSE_POLL),
        Difference::None | Difference::Reload(_) | Difference::Recreate(_) => Vec::new(),
    }
}

/// Whether the map and its disks differ in whether they are writable. A table is loaded only once for that: if the map
/// does not change, something else set it so.
fn turns(world: &World, wwid: &Wwid, map: &Map, read_only: bool) -> bool {
    let device = world.devices.get(wwid);
    let tried = device.and_then(|device| device.work.loaded_read_only());
    map.read_only != read_only && tried != Some(read_only)
}

/// Whether an action on the map, which ends with an observation, ended just now.
fn was_seen_lately(world: &World, wwid: &Wwid) -> bool {
    let device = world.devices.get(wwid);
    device.is_some_and(|device| world.now.since(device.work.last_done()) < JUST_SEEN)
}

/// Observes the map again this long after the last action on it.
pub(in crate::psa) fn observe_after(world: &mut World, wwid: &Wwid, pause: Millis) -> Vec<MapStep> {
    let Some(device) = world.devices.get(wwid) else {
        return Vec::new();
    };
    let at = device.work.last_done().after(pause);
    if at <= world.now {
        return vec![MapStep::Observe];
    }
    world
        .schedule
        .no_later_than(Key::Device(wwid.to_owned()), at);
    Vec::new()
}

/// Whether a wanted reload has been delayed for long enough.
fn reload_is_due(world: &mut World, wwid: &Wwid, map: &Map, wanted: &Wanted) -> bool {
    let (ideal, usable) = (&wanted.table, &wanted.usable);
    let (now, settings) = (world.now, &world.settings);
    let Some(device) = world.devices.get_mut(wwid) else {
        return false;
    };
    let since = device.work.wants(ideal, now);
    let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
        return false;
    };
    let before: BTreeSet<DevT> = table.paths().map(|p| p.dev).collect();
    let after: BTreeSet<DevT> = ideal.paths().map(|p| p.dev).collect();
    let serves = status
        .groups
        .iter()
        .flat_map(|g| &g.paths)
        .any(|p| p.active && usable.contains(&p.dev));
    let wait = if before == after {
        settings.regroup_ms
    } else if !serves && after.iter().any(|dev| usable.contains(dev)) {
        Millis(0) // I/O is waiting for the path that the reload brings.
    } else {
        settings.settle_ms
    };
    // After a failure, corrections by message come first, as if the change were not due yet.
    let retry_at = device.work.failure().map(|failure| failure.retry_at);
    let at = since.after(wait).max(retry_at.unwrap_or_default());
    if at > now {
        world
            .schedule
            .no_later_than(Key::Device(wwid.to_owned()), at);
    }
    at <= now
}

/// All paths of a new table are active until messages fail them. A path that has to prove itself must not carry I/O in
/// that time, so it joins after the proof. (A path that is being checked will have its proof immediately.)
fn proven_part(world: &World, wanted: &Wanted, view: &View) -> Wanted {
    let unproven = |path: &Path| {
        let checked = !matches!(path.health.link(), Link::Unchecked(_));
        checked && !path.proof.may_carry_io()
    };
    let out: BTreeSet<DevT> = view
        .candidates
        .iter()
        .filter(|c| world.paths.get(&c.path).is_some_and(unproven))
        .map(|c| c.dev)
        .filter(|dev| !wanted.usable.contains(dev))
        .collect();
    let mut table = wanted.table.clone();
    for group in &mut table.groups {
        group.paths.retain(|path| !out.contains(&path.dev));
    }
    table.groups.retain(|group| !group.paths.is_empty());
    Wanted {
        avoid: avoided(&table, view),
        table,
        usable: wanted.usable.clone(),
    }
}

fn settled(world: &mut World, wwid: &Wwid) {
    if let Some(device) = world.devices.get_mut(wwid) {
        device.work.settled();
    }
}

/// Whether a new table would fail the I/O that the map queues. A bio-based map fails the I/O that it queues at each
/// table load (measured on 6.1, 6.12 and 7), and it queues while it has no path.
fn fails_what_it_queues(map: &Map) -> bool {
    let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
        return false;
    };
    let mut paths = status.groups.iter().flat_map(|group| &group.paths);
    table.features.queue_mode == Some(QueueMode::Bio)
        && table.features.queue_if_no_path
        && !paths.any(|path| path.active)
}

/// Why a map changes between read-only and writable, for the log.
fn turned(read_only: bool) -> &'static str {
    if read_only {
        "its disks are read-only now"
    } else {
        "its disks are writable now"
    }
}
