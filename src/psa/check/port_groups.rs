//! Target port groups of a device, as its paths report them.
//!
//! Each port speaks for its own group. What it reports about other groups is accepted too, with one exception: it may
//! not take a group out of use whose own ports answer, because a controller that fails may report all groups as
//! unavailable. In that case a port of that group is asked.

use crate::psa::check::{ask, judge};
use crate::psa::codes;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::state::schedule::Key;
use crate::psa::units::{Hctl, Millis};
use crate::scsi::outcome::Outcome;
use crate::scsi::tpgs::{AccessState, TargetPortGroups};
use std::collections::BTreeMap;

/// Groups that are changing are asked about again after this time (the kernel's handler asks every 2 s).
const FOLLOW_UP: Millis = Millis(200);

/// Processes a path's report of the states of its device's port groups.
pub(in crate::psa) fn port_groups_are(
    world: &mut World,
    id: Hctl,
    report: &TargetPortGroups,
    data: &[u8],
) {
    // If it is not certain that the path leads to the device, its report may be about another device.
    let proven = |path: &&mut Path| path.proof.may_carry_io();
    let Some(path) = world.paths.get_mut(&id).filter(proven) else {
        return;
    };
    path.access.readable();
    let Some(wwid) = path.device.clone() else {
        return;
    };
    let own = path.access.port_group();
    let withheld = withheld(world, &wwid, own, report);
    let Some(device) = world.devices.get_mut(&wwid) else {
        return;
    };
    let changes = device
        .ports
        .take(report, data, |group| withheld.contains_key(&group));
    let members: Vec<Hctl> = device.paths().iter().copied().collect();
    let device_id = device.id().to_owned();
    for member in &members {
        if let Some(path) = world.paths.get_mut(member).filter(|_| changes.differs) {
            path.health.expire();
        }
    }
    reported(world, id);
    for member in withheld.into_values() {
        if let Some(path) = world.paths.get_mut(&member) {
            path.exams.ask_groups();
        }
        ask::examine_now(world, member);
    }
    if !changes.states.is_empty() {
        world.notify(
            codes::PORT_GROUP_STATE,
            device_id,
            &[("changes", &changes.states.join(" "))],
        );
        for member in members {
            if let Some(path) = world.paths.get_mut(&member) {
                path.health.groups_changed();
            }
            judge::judge(world, member);
        }
        world.dirty.insert(wwid);
    }
    if changes.transitioning || !changes.states.is_empty() {
        // Where one group has changed, another may be about to. The unit attention for that group comes on its own
        // ports, which may carry no command for seconds.
        if let Some(path) = world.paths.get_mut(&id) {
            path.exams.ask_groups();
        }
        let at = world.now.after(FOLLOW_UP);
        world.schedule.no_later_than(Key::Path(id), at);
    }
}

/// Groups that a port of another group reports as out of use although one of their paths works, each with that path. A
/// controller that fails may report this of all groups. The report of the group's own ports counts, and they are asked.
fn withheld(
    world: &World,
    wwid: &Wwid,
    own: Option<u16>,
    report: &TargetPortGroups,
) -> BTreeMap<u16, Hctl> {
    let Some(device) = world.devices.get(wwid) else {
        return BTreeMap::new();
    };
    let out_of_use = |access: AccessState| {
        matches!(
            access,
            AccessState::Unavailable | AccessState::Offline | AccessState::Reserved(_)
        )
    };
    let works = |group: u16| {
        let mut paths = world.paths_of(device);
        paths.find(|path| {
            let proven = path.proof.may_carry_io();
            path.access.port_group() == Some(group) && proven && path.is_up()
        })
    };
    let known = |group: u16| device.ports.get(group).map(|group| group.access);
    let doubted = report.groups.iter().filter(|group| {
        Some(group.id) != own
            && out_of_use(group.access_state)
            && known(group.id) != Some(group.access_state)
    });
    doubted
        .filter_map(|group| Some((group.id, works(group.id)?.facts().hctl)))
        .collect()
}

/// A path reported the states of the port groups. It spoke for all ports of its own group.
pub(in crate::psa) fn reported(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let group = path.access.port_group();
    for member in world.members_with(id) {
        if let Some(path) = world.paths.get_mut(&member)
            && path.access.port_group() == group
        {
            path.access.reported(world.now);
        }
    }
}

/// The states could not be read. What is known stays, and users are notified if the array is at fault.
pub(in crate::psa) fn port_groups_unknown(
    world: &mut World,
    id: Hctl,
    outcome: &Outcome,
    why: &str,
) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let known = path
        .device
        .as_ref()
        .and_then(|wwid| world.devices.get(wwid))
        .is_some_and(|device| !device.ports.is_empty());
    let at_fault = matches!(outcome, Outcome::Good | Outcome::CheckCondition(_));
    if let Some(path) = world.paths.get_mut(&id)
        && at_fault
        && path.access.unreadable(why)
    {
        let name = path.name().to_string();
        let kept = if known {
            "the last known states are kept"
        } else {
            "no states are known"
        };
        world.notify(
            codes::PORT_GROUPS_UNREADABLE,
            name,
            &[("reason", why), ("effect", kept)],
        );
    }
}
