//! All paths down (APD): the kernel's map has no usable path. I/O is queued until a deadline, and fails after it.
//!
//! Only `service` decides that no path is usable. It considers what device-mapper may use: a path that device-mapper
//! has failed and that is not about to be reinstated does not count, whatever is unknown about it. A path that fails
//! I/O each time it is reinstated does not end the outage: the deadline stays the same. The deadline also survives the
//! agent: outages are stored when they begin and end ([`Action::StoreOutages`]), and an agent that starts continues
//! them.
//!
//! Invariants: queueing never ends before the deadline, and never lasts past it. Tests: `tests/apd.rs`,
//! `tests/world.rs`.

use crate::psa::action::Action;
use crate::psa::codes;
use crate::psa::evidence::{Link, PathState};
use crate::psa::names::{DeviceId, Wwid};
use crate::psa::reconcile::view;
use crate::psa::reconcile::view::View;
use crate::psa::state::World;
use crate::psa::state::failures::{LAST_PATH_HOLD, RELAPSE_WINDOW};
use crate::psa::state::outages::{Apd, Outage};
use crate::psa::state::path::Path;
use crate::psa::state::schedule::Key;
use crate::psa::table::model::Map;
use crate::psa::takeover::{ASK_AFTER, LAST_CALL, Standing};
use crate::psa::units::{DevT, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// What the paths of a device mean for its I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// A path that device-mapper may use serves, or would once it is activated.
    Serves,
    /// It is not known yet whether a path serves. Every such state ends by itself.
    Unsettled,
    /// No path is usable.
    Down,
}

/// What one path of a device contributes.
enum Prospect {
    Serves,
    /// Not known before this time.
    Until(Millis),
    /// Not known, but device-mapper is using it: the next I/O will show.
    InUse,
    Nothing,
}

/// What the paths of a map mean for its I/O. `usable` has the paths that device-mapper is to use.
fn service(
    world: &mut World,
    wwid: &Wwid,
    view: &View,
    map: &Map,
    usable: &BTreeSet<DevT>,
    unseen: &BTreeSet<DevT>,
) -> Service {
    let (Ok(_), Ok(status)) = (&map.table, &map.status) else {
        return Service::Unsettled;
    };
    let paths = status.groups.iter().flat_map(|group| &group.paths);
    let active: BTreeSet<DevT> = paths.filter(|p| p.active).map(|p| p.dev).collect();
    let mut service = if active.is_disjoint(unseen) {
        Service::Down
    } else {
        Service::Unsettled
    };
    let Some(device) = world.devices.get(wwid) else {
        return service;
    };
    let mut settles: Option<Millis> = None;
    for path in world.paths_of(device) {
        match prospect(world, path, view, usable, &active) {
            Prospect::Serves => return Service::Serves,
            Prospect::InUse => service = Service::Unsettled,
            Prospect::Until(at) if at > world.now => {
                service = Service::Unsettled;
                settles = Some(settles.map_or(at, |before| before.min(at)));
            }
            Prospect::Until(_) | Prospect::Nothing => {}
        }
    }
    if let Some(at) = settles {
        world
            .schedule
            .no_later_than(Key::Device(wwid.to_owned()), at);
    }
    service
}

fn prospect(
    world: &World,
    path: &Path,
    view: &View,
    usable: &BTreeSet<DevT>,
    active: &BTreeSet<DevT>,
) -> Prospect {
    let Some(block) = path.facts().block.as_ref().filter(|_| path.is_ours()) else {
        return Prospect::Nothing;
    };
    let is_candidate = view.candidates.iter().any(|c| c.dev == block.dev);
    let may_be_used = usable.contains(&block.dev);
    let state = path.state();
    let patience = world.settings.check_deadline_ms;
    match state {
        PathState::Active | PathState::ActiveUnoptimized | PathState::Standby => {
            // A path that only the array can activate does not serve.
            if state == PathState::Standby && !view::can_activate(world, path.facts().hctl) {
                return Prospect::Nothing;
            }
            if !is_candidate {
                // It is not in the table yet, but may join.
                let joins = block.usage.is_empty() && !path.is_quarantined();
                return if joins {
                    Prospect::Until(path.health.since().after(patience))
                } else {
                    Prospect::Nothing
                };
            }
            if state == PathState::Standby
                && let Some(prospect) = waiting_prospect(world, path)
            {
                return prospect;
            }
            if may_be_used && path.failures.relapses() == 0 {
                return Prospect::Serves;
            }
            if may_be_used && path.failures.is_relapsing(world.now) {
                return Prospect::Until(path.failures.relapsing_until());
            }
            if may_be_used {
                return Prospect::Serves;
            }
            // The path is held back for a moment after its first failure.
            if path.failures.relapses() == 0 {
                return Prospect::Until(path.failures.failed_at().after(LAST_PATH_HOLD));
            }
            Prospect::Nothing
        }
        PathState::Unknown if path.access.transition_until().is_some() => {
            Prospect::Until(path.access.transition_until().unwrap_or_default())
        }
        PathState::Unknown if active.contains(&block.dev) => Prospect::InUse,
        // The kernel failed it, and it does not answer checks.
        PathState::Unknown if matches!(path.health.link(), Link::NoAnswer(_)) => Prospect::Nothing,
        PathState::Unknown if block.usage.is_empty() && !path.is_quarantined() => Prospect::Until(
            path.health
                .since()
                .max(path.failures.failed_at())
                .after(patience),
        ),
        PathState::Unknown | PathState::Dead | PathState::Off | PathState::Masked => {
            Prospect::Nothing
        }
    }
}

/// What a waiting path contributes according to the takeover budget; `None` if the budget does not decide. A path that
/// is held back is not usable.
fn waiting_prospect(world: &World, path: &Path) -> Option<Prospect> {
    let takeover = &world.device_of(path)?.takeover;
    match takeover.standing() {
        Standing::Free => None,
        Standing::WhenOpened => Some(Prospect::Serves),
        Standing::Asking => Some(Prospect::Until(world.now.after(ASK_AFTER))),
        Standing::Refused => Some(Prospect::Nothing),
    }
}

/// Starts, ends and times out the state "all paths down".
pub(in crate::psa) fn watch_apd(
    world: &mut World,
    wwid: &Wwid,
    view: &View,
    map: Option<&Map>,
    usable: &BTreeSet<DevT>,
    unseen: &BTreeSet<DevT>,
) {
    let service = map.map(|map| service(world, wwid, view, map, usable, unseen));
    let table = map.and_then(|map| map.table.as_ref().ok());
    let queues = table.is_none_or(|table| table.features.queue_if_no_path);
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let timeout = view
        .settings
        .apd_timeout_ms
        .unwrap_or(world.settings.apd_timeout_ms);
    let (id, now) = (device.id().to_owned(), world.now);
    let lost = world.is_lost(device);
    let ended = device.queueing.is_ended() && !matches!(service, None | Some(Service::Serves));
    let before = device.apd();
    let next = match (before, service) {
        (Apd::Lost { .. }, _) if lost => before,
        _ if lost => Apd::Lost { since: now },
        (_, None | Some(Service::Serves)) => Apd::No,
        // The unit was permanently lost, and is now down for another reason. Its I/O has already failed, and is not
        // queued again.
        (Apd::Lost { .. }, _) => Apd::TimedOut { since: now },
        (Apd::No, Some(Service::Unsettled)) => before,
        (Apd::No, Some(Service::Down)) => outage_begins(world, wwid, timeout, queues),
        (Apd::Waiting { since, deadline }, Some(Service::Down)) if now >= deadline => {
            Apd::TimedOut { since }
        }
        _ => before,
    };
    // The admin ended queueing: the deadline is now, whatever is known about the paths.
    let next = match next {
        Apd::Waiting { since, .. } if ended => Apd::TimedOut { since },
        Apd::No if ended => Apd::TimedOut { since: now },
        unchanged => unchanged,
    };
    if let Apd::Waiting { deadline, .. } = next
        && deadline > now
    {
        let key = Key::Device(wwid.to_owned());
        world.schedule.no_later_than(key.clone(), deadline);
        // A waiting path is tried before queued I/O fails.
        let last_call = deadline.since(LAST_CALL);
        if last_call > now || next != before {
            world.schedule.no_later_than(key, last_call.max(now));
        }
    }
    let relapsed = relapses(world, wwid);
    if let Some(device) = world.devices.get_mut(wwid) {
        let serves = service == Some(Service::Serves);
        device.queueing.update(next, serves, ended);
        device.statistics.apd(before, next, now);
    }
    match next {
        // Only checks say that the outage is over: if I/O fails again, it continues.
        Apd::No if relapsed => {
            let at = now.after(RELAPSE_WINDOW);
            world
                .schedule
                .no_later_than(Key::Device(wwid.to_owned()), at);
        }
        Apd::No if service == Some(Service::Unsettled) => {}
        Apd::No | Apd::Lost { .. } => outage_ends(world, wwid),
        Apd::Waiting { .. } | Apd::TimedOut { .. } => {}
    }
    if next == before {
        return;
    }
    report_apd(world, &id, before, next);
}

/// No path of a map is usable: determines since when, and until when I/O is queued.
fn outage_begins(world: &mut World, wwid: &Wwid, timeout: Millis, queues: bool) -> Apd {
    let now = world.now;
    let served = world
        .devices
        .get(wwid)
        .is_some_and(|device| device.queueing.has_served());
    let known = world.outages.of(wwid);
    // An outage that only checks have ended continues if I/O fails again. So does an outage of the previous agent.
    let goes_on = known.filter(|_| !served || relapses(world, wwid));
    // The agent was restarted, and the deadline had already passed.
    if !served && !queues {
        return Apd::TimedOut { since: now };
    }
    let outage = goes_on.unwrap_or(Outage {
        since: now,
        before: Millis(0),
    });
    if goes_on.is_none() {
        world.outages.insert(wwid, outage);
        store_outages(world);
    }
    let left = timeout.since(outage.lasted(now));
    if left == Millis(0) {
        return Apd::TimedOut {
            since: outage.since,
        };
    }
    Apd::Waiting {
        since: outage.since,
        deadline: now.after(left),
    }
}

fn outage_ends(world: &mut World, wwid: &Wwid) {
    if world.outages.remove(wwid) {
        store_outages(world);
    }
}

/// Whether I/O fails repeatedly on a path of the device although checks find the path good.
fn relapses(world: &World, wwid: &Wwid) -> bool {
    let device = world.devices.get(wwid);
    let mut paths = device.iter().flat_map(|device| world.paths_of(device));
    paths.any(|path| {
        path.failures.relapses() > 0 && world.now.since(path.failures.failed_at()) < RELAPSE_WINDOW
    })
}

fn store_outages(world: &mut World) {
    let lasted = world.outages.lasted(world.now);
    world.actions.push(Action::StoreOutages(lasted));
}

/// Records the outages that a previous agent had in progress, with the time each had lasted when this agent started.
pub(in crate::psa) fn outages_recalled(world: &mut World, outages: &BTreeMap<Wwid, Millis>) {
    world.outages.recall(outages, world.now);
}

/// Forgets recalled outages of devices that no longer have a map.
pub(in crate::psa) fn forget_outages(world: &mut World) {
    let names = &world.map_names;
    if world.outages.retain(|wwid| names.contains_key(wwid)) {
        store_outages(world);
    }
}

fn report_apd(world: &mut World, id: &DeviceId, before: Apd, next: Apd) {
    let now = world.now;
    let lasted = |since: Millis| format!("{} ms", now.since(since).0);
    match (before, next) {
        (_, Apd::Waiting { deadline, .. }) => {
            let left = format!("{} ms", deadline.since(now).0);
            world.notify(
                codes::APD_START,
                id.as_str(),
                &[("effect", "I/O is queued"), ("for", &left)],
            );
        }
        (_, Apd::Lost { .. }) => {
            let effect = "I/O fails; its map is removed when the last user closes it";
            world.notify(codes::PDL_START, id.as_str(), &[("effect", effect)]);
        }
        (Apd::Lost { since }, Apd::No | Apd::TimedOut { .. }) => {
            world.notify(codes::PDL_EXIT, id.as_str(), &[("after", &lasted(since))]);
        }
        (_, Apd::TimedOut { since }) => {
            let (lasted, effect) = (lasted(since), "I/O fails until a path returns");
            world.notify(
                codes::APD_TIMEOUT,
                id.as_str(),
                &[("effect", effect), ("after", &lasted)],
            );
        }
        (Apd::Waiting { since, .. } | Apd::TimedOut { since }, Apd::No) => {
            world.notify(codes::APD_EXIT, id.as_str(), &[("after", &lasted(since))]);
        }
        (Apd::No, Apd::No) => {}
    }
}
