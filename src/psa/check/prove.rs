//! Carries out the transitions of [`crate::psa::state::proof::Proof`]: what an answer to VPD page 83h means for a path.

use crate::psa::check::{ask, discovery, disks, judge};
use crate::psa::codes;
use crate::psa::identity::{Listing, contradict};
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::proof::{Answer, Proven};
use crate::psa::units::Hctl;

/// Page 83h was read or refused: decides what that means for the path.
pub(in crate::psa) fn identify(world: &mut World, id: Hctl, page83: Result<&[u8], &str>) {
    let now = world.now;
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    if page83.is_ok_and(|page| path.device.is_some() && path.proof.repeats(page)) {
        return path.proof.repeated(now);
    }
    if path.proof.expected().is_none()
        && let Some(wwid) = page83.ok().and_then(|page| listed_map(world, page))
        && let Some(path) = world.paths.get_mut(&id)
    {
        path.proof.assume(&wwid);
    }
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    match path.proof.answered(page83, path.exams.is_repeated(), now) {
        Answer::Outdated => {}
        Answer::Proven(proven) => is_proven(world, id, &proven),
        Answer::Different { found, news } => {
            if news {
                is_different(world, id, &found);
            }
        }
        Answer::Absent { why, news } => {
            if news {
                is_absent(world, id, &why);
            }
        }
        Answer::Unproven { why, news, repeat } => {
            if repeat {
                path.exams.repeat();
            }
            if news {
                is_unproven(world, id, &why);
            }
        }
        Answer::Nameless { why, news } => {
            if news {
                discovery::is_nameless(world, id, &why);
            }
        }
    }
}

/// The device to which a new path belongs by another name than the best one of its page: it has a map, the page lists its
/// name, and does not contradict the pages of its paths. Firmware adds designators, and the paths of one controller come
/// back with the new page while the map is in use.
fn listed_map(world: &World, page: &[u8]) -> Option<Wwid> {
    let names = Listing::parse(page).ok()?.ranked();
    let others = names.iter().skip(1).map(|(_, wwid)| wwid);
    let is_same = |wwid: &&Wwid| {
        let device = world.devices.get(*wwid);
        let paths = device.into_iter().flat_map(|device| world.paths_of(device));
        let mut proven = paths.filter(|path| path.proof.may_carry_io()).peekable();
        disks::is_mapped(world, wwid)
            && proven.peek().is_some()
            && proven.all(|path| !contradict(&names, path.proof.names(), wwid))
    };
    let best = names
        .first()
        .filter(|(_, best)| !disks::is_mapped(world, best));
    best.and(others.into_iter().find(is_same)).cloned()
}

/// The path leads to the expected logical unit, or to the first one that it named.
fn is_proven(world: &mut World, id: Hctl, proven: &Proven) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    path.access.proven(proven.port_group, proven.relative_port);
    let name = path.name().to_string();
    world.unidentified.remove(&id);
    let unit = &proven.unit;
    if proven.was_quarantined {
        let details = [("device", unit.device_id.as_str())];
        world.notify(codes::PATH_QUARANTINE_ENDED, name.clone(), &details);
    }
    if let Some(remark) = &proven.remark {
        let details = [
            ("device", unit.device_id.as_str()),
            ("reason", remark),
            ("effect", "the designators before it are used"),
        ];
        world.notify(codes::IDENTIFICATION_MALFORMED, name, &details);
    }
    discovery::join(world, id, &unit.wwid, &unit.device_id, Some(unit.clone()));
    if proven.lists_others {
        for member in world.members_with(id) {
            judge::judge(world, member);
        }
    }
}

/// The unit was known, but does not identify itself now. That does not prove that another unit is there: the path is
/// used while there is no other.
fn is_unproven(world: &mut World, id: Hctl, why: &str) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let name = path.name().to_string();
    let effect = "it carries I/O only while no other path serves, until it proves that it is the same logical unit";
    let details = [("reason", why), ("effect", effect)];
    world.notify(codes::PATH_UNPROVEN, name, &details);
}

/// Nothing is behind the LUN of a path that belongs to a device: the path gets no I/O until it has proven itself again.
pub(in crate::psa) fn is_absent(world: &mut World, id: Hctl, why: &str) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let (name, device) = (path.name().to_string(), path.device.clone());
    world.unidentified.remove(&id);
    world.dirty.extend(device);
    let effect = "it carries no I/O until it proves that it is the same logical unit";
    let details = [("reason", why), ("effect", effect)];
    world.notify(codes::PATH_ABSENT, name, &details);
}

/// Another logical unit answers than the one for which the path is in use: the path gets no I/O.
pub(in crate::psa) fn is_different(world: &mut World, id: Hctl, found: &str) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let (name, device) = (path.name().to_string(), path.device.clone());
    world.unidentified.remove(&id);
    world.dirty.extend(device);
    let action = "map the LUN back; if it belongs to the other unit for good, close the map of this device: the path then joins the other unit";
    let details = [("reason", found), ("action", action)];
    world.notify(codes::PATH_QUARANTINED, name, &details);
}

/// Another logical unit may be behind the path. It is asked now, and until it has proven itself I/O goes to other
/// paths, if there are any. The kernel repeats I/O that was refused with a unit attention, so no I/O waits for the
/// answer. Used for hints from any source.
pub(in crate::psa) fn doubt(world: &mut World, id: Hctl, why: &str) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    path.proof.owe();
    if path.proof.doubt(why) {
        judge::judge(world, id);
        world.mark_dirty(id);
    }
    ask::examine_now(world, id);
}
