//! The takeover budget: limits how often this host may have an array move a logical unit to a controller that the host
//! reaches.
//!
//! With an active/passive array, one controller serves a unit at a time. Two hosts that reach different controllers
//! take the unit from each other (path thrashing): when a waiting path returns to a map without a serving path, the
//! kernel has the array move the unit. So such a return is decided here, and its rate is limited.
//!
//! - A move counts if this host ordered it, or if its kernel switched to another controller by itself.
//! - A unit that another host took is not taken back before a hold is over. The hold starts when the loss is seen, so
//!   that the other host has the unit for that time. Each move by this host and each loss doubles the hold, from 10 s
//!   to a minute: two hosts that contend end up with one move a minute. An hour of calm resets the hold.
//! - If the unit moves to another controller that this host reaches, the host follows without an order.
//! - Nothing is ordered for a map that is not open: creating a map, and udev reading it, moves nothing.
//! - No I/O fails because of a hold: I/O is queued, and the hold is shorter than the time for which I/O is queued.
//! - An agent that starts continues the hold of the previous agent. For a unit without a stored budget it waits for the
//!   first hold.
//!
//! Input: what a look at a device sees. Output: [`Grant`], on which `usable` and `correct` depend, and lines for
//! reports. Tests: `psa/takeover.rs`, and `tests/two_hosts.rs`.

use crate::psa::action::{Action, MapStep, Notice, Severity};
use crate::psa::check::ask;
use crate::psa::codes;
use crate::psa::evidence::PathState;
use crate::psa::names::Wwid;
use crate::psa::reconcile::view;
use crate::psa::reconcile::view::View;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::outages::Apd;
use crate::psa::state::schedule::Key;
use crate::psa::table::model::Message;
use crate::psa::takeover::{
    ASK_AFTER, CONTESTED, Finding, Grant, LONGEST, SHORTEST, Sight, StoredTakeover,
};
use crate::psa::units::{DevT, Hctl, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Records what a look at a device shows about its controllers, before any decision depends on it.
pub(in crate::psa) fn watch_owner(world: &mut World, wwid: &Wwid, view: &View) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let waiting = activatable(world, view);
    let selection = device.selection.as_ref();
    let exclusive = selection.is_some_and(|selection| selection.satp.is_exclusive());
    // Most devices cannot be taken over.
    if waiting.is_empty() && !exclusive && !device.takeover.is_begun() {
        return;
    }
    let serving = view.candidates.iter().filter(|c| c.state.serves_io());
    let carriers: BTreeSet<Hctl> = serving.map(|c| c.path).collect();
    let turned = waiting
        .iter()
        .any(|(id, _)| device.takeover.was_served_by(*id));
    let under_way = |id: &Hctl| {
        let path = world.paths.get(id);
        path.is_some_and(|path| path.exams.is_busy())
    };
    let unknown = view
        .candidates
        .iter()
        .filter(|c| c.state == PathState::Unknown);
    let map = world.map_of(wwid);
    let in_kernel = map
        .and_then(|map| map.status.as_ref().ok())
        .is_some_and(|status| {
            let mut paths = status.groups.iter().flat_map(|group| &group.paths);
            paths.any(|path| path.active && waiting.iter().any(|(_, dev)| *dev == path.dev))
        });
    let sight = Sight {
        now: world.now,
        serves: !carriers.is_empty(),
        waits: !waiting.is_empty(),
        turned,
        checking: waiting.iter().any(|(id, _)| under_way(id)),
        undecided: unknown.clone().any(|c| under_way(&c.path)),
        in_kernel,
        open: map.is_some_and(|map| map.open_count > 0),
        longest: longest_hold(world, view),
        phase: phase(world, device),
        deadline: match device.apd() {
            Apd::Waiting { deadline, .. } => Some(deadline),
            _ => None,
        },
    };
    let before = world.takeovers.budgets.get(wwid);
    let before = before.map(|stored| (*stored, world.takeovers.at));
    let Some(device) = world.devices.get_mut(wwid) else {
        return;
    };
    let takeover = &mut device.takeover;
    let (finding, changed) = takeover.take_in(&sight, carriers, before);
    let grant = takeover.grant();
    let again = match grant {
        Grant::Now | Grant::Unused | Grant::Ordered => None,
        Grant::NotBefore(at) => Some(at),
        Grant::Asking => Some(sight.now.after(ASK_AFTER)),
    };
    if let Some(at) = again.filter(|_| sight.waits) {
        world
            .schedule
            .no_later_than(Key::Device(wwid.to_owned()), at);
    }
    world.takeovers.changed |= changed;
    if grant == Grant::Ordered {
        waiting.iter().for_each(|(id, _)| ask_for_move(world, *id));
    }
    match finding {
        Finding::Nothing | Finding::Refused => {}
        Finding::Ask => waiting
            .iter()
            .for_each(|(id, _)| ask::examine_now(world, *id)),
        Finding::Lost => report_loss(world, wwid),
    }
}

/// The waiting paths of a device that this host can have activated.
fn activatable(world: &World, view: &View) -> Vec<(Hctl, DevT)> {
    let waits = view.candidates.iter();
    waits
        .filter(|c| c.state == PathState::Standby && view::can_activate(world, c.path))
        .map(|c| (c.path, c.dev))
        .collect()
}

/// The waiting paths of a device if none of its paths serves; otherwise empty.
pub(in crate::psa) fn waiting_alone(world: &World, view: &View) -> BTreeSet<DevT> {
    if view.candidates.iter().any(|c| c.state.serves_io()) {
        return BTreeSet::new();
    }
    let waiting = activatable(world, view).into_iter();
    waiting.map(|(_, dev)| dev).collect()
}

/// Whether nothing has the map of a device open, so that nothing is moved for it.
pub(in crate::psa) fn is_unused(world: &World, wwid: &Wwid) -> bool {
    let device = world.devices.get(wwid);
    device.is_some_and(|device| device.takeover.grant() == Grant::Unused)
}

/// Whether a move was ordered that has not been seen yet. An additional path for the same move is not another order.
pub(in crate::psa) fn is_ordered(world: &World, wwid: &Wwid) -> bool {
    let device = world.devices.get(wwid);
    device.is_some_and(|device| device.takeover.grant() == Grant::Ordered)
}

/// Whether a table must not be loaded now because its first I/O would make the array move the unit. After an order it
/// may be loaded, however long there is no I/O.
pub(in crate::psa) fn reload_must_wait(world: &World, wwid: &Wwid, view: &View) -> bool {
    let grant = world
        .devices
        .get(wwid)
        .map(|device| device.takeover.grant());
    let held = matches!(grant, Some(Grant::NotBefore(_) | Grant::Asking));
    held && !waiting_alone(world, view).is_empty()
}

/// The waiting paths, not used by the kernel so far, that the kernel may use now. `standby` lists each with the time
/// until which it is held back for another reason.
pub(in crate::psa) fn granted(
    world: &mut World,
    wwid: &Wwid,
    standby: &[(DevT, Millis)],
    served: bool,
) -> Vec<DevT> {
    let now = world.now;
    let grant = world
        .devices
        .get(wwid)
        .map(|device| device.takeover.grant());
    let granted = match grant {
        Some(Grant::Now) => true,
        // If another path serves, the kernel needs them only when that path fails.
        Some(Grant::Unused) => served,
        _ => false,
    };
    let mut free = Vec::new();
    for (dev, held_until) in standby.iter().filter(|_| granted) {
        if !served || *held_until <= now {
            free.push(*dev);
        } else {
            world
                .schedule
                .no_later_than(Key::Device(wwid.to_owned()), *held_until);
        }
    }
    free
}

/// I/O that is queued must not fail because of a hold, so a hold ends well before.
fn longest_hold(world: &World, view: &View) -> Millis {
    let queued = view
        .settings
        .apd_timeout_ms
        .unwrap_or(world.settings.apd_timeout_ms);
    let most = Millis(queued.0.saturating_mul(3) / 4);
    LONGEST.min(most).max(SHORTEST)
}

/// A number below 1024 that differs between hosts: a hash of the adapters through which this host reaches the device.
fn phase(world: &World, device: &Device) -> u64 {
    let keys = world
        .paths_of(device)
        .flat_map(|path| path.facts().adapter.key.bytes());
    // FNV-1a, as in the schedule.
    let hash = keys.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 29)) % 1024
}

fn report_loss(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let takeover = &device.takeover;
    let severity = if takeover.losses() < CONTESTED {
        Severity::Warning
    } else {
        Severity::Error
    };
    let reach: BTreeSet<String> = world
        .paths_of(device)
        .map(|path| path.facts().target.identifier.clone())
        .collect();
    let reach: Vec<String> = reach.into_iter().collect();
    let id = device.id().to_owned();
    let losses = takeover.losses().to_string();
    let wait = format!("{} ms", takeover.wait(world.now).0);
    let details = [
        ("losses", &*losses),
        ("reaches", &reach.join(" ")),
        ("effect", "I/O is queued"),
        ("not_taken_back_for", &wait),
    ];
    let notice = Notice::new(codes::OWNERSHIP_CONTESTED, id, &details);
    world.raise(notice.with_severity(severity));
}

/// Counts an order if the steps make the kernel use a waiting path while no path serves.
pub(in crate::psa) fn note_orders(world: &mut World, wwid: &Wwid, view: &View, steps: &[MapStep]) {
    if view.candidates.iter().any(|c| c.state.serves_io()) {
        return;
    }
    let waiting = activatable(world, view);
    let waits = |dev: &DevT| waiting.iter().any(|(_, one)| one == dev);
    let failed = |dev: &DevT| {
        let fails = |step: &MapStep| *step == MapStep::Message(Message::FailPath(*dev));
        steps.iter().any(fails)
    };
    let orders = steps.iter().any(|step| match step {
        MapStep::Message(Message::ReinstatePath(dev)) => waits(dev),
        MapStep::Create { table, .. } | MapStep::Reload { table, .. } => {
            let mut devs = table.paths().map(|path| path.dev);
            devs.any(|dev| waits(&dev) && !failed(&dev))
        }
        _ => false,
    });
    if !orders {
        return;
    }
    let longest = longest_hold(world, view);
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let (phase, now) = (phase(world, device), world.now);
    let Some(device) = world.devices.get_mut(wwid) else {
        return;
    };
    device.takeover.order(now, longest, phase);
    let id = device.id().to_owned();
    let next = format!("{} ms", device.takeover.wait(now).0);
    world.notify(codes::TAKEOVER_ORDERED, id, &[("next_not_before", &next)]);
    world.takeovers.changed = true;
    for (id, _) in waiting {
        ask_for_move(world, id);
        world
            .schedule
            .no_later_than(Key::Path(id), now.after(ASK_AFTER));
    }
}

/// The next check of a path asks for the port groups too. Many arrays answer TEST UNIT READY in standby as they do
/// after a move, so nothing else shows that the move has happened.
fn ask_for_move(world: &mut World, id: Hctl) {
    if let Some(path) = world.paths.get_mut(&id) {
        path.exams.ask_groups();
    }
}

/// Keeps the budgets of the previous agent, and the current time.
pub(in crate::psa) fn takeovers_recalled(
    world: &mut World,
    budgets: BTreeMap<Wwid, StoredTakeover>,
) {
    world.takeovers.at = world.now;
    world.takeovers.budgets = budgets;
}

/// At the end of a step: has the budgets stored if one of them changed.
pub(in crate::psa) fn store_takeovers(world: &mut World) {
    if !std::mem::take(&mut world.takeovers.changed) {
        return;
    }
    let now = world.now;
    let budgets = world.devices.values();
    let budgets: BTreeMap<Wwid, StoredTakeover> = budgets
        .filter_map(|device| Some((device.wwid().to_owned(), device.takeover.to_store(now)?)))
        .collect();
    world.actions.push(Action::StoreTakeovers(budgets));
}
