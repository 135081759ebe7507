//! What is known of each disk in the table of a map.
//!
//! A map is changed by what is known of its members, and only a member that is known may be failed, left out of a table
//! or lose its map: a disk of which nothing is known is not gone. Three things can hide a disk from discovery: it is no
//! SCSI disk (NVMe, DASD, zoned SCSI, a partition, another map), udev has not processed it yet, or it was removed while no
//! agent ran. So the kernel is asked for every member that is no path ([`Action::LookUpDisks`]).
//!
//! A member can be a path of ours and still not be known for the disk of its map: when the map is named by something that
//! page 83h does not hold, no page proves or disproves the name. Such a map is foreign too.
//!
//! Tests: `tests/membership.rs`.

use crate::psa::action::Action;
use crate::psa::facts::DiskKind;
use crate::psa::identity::is_of_page83;
use crate::psa::state::World;
use crate::psa::state::lookups::ASK_AGAIN;
use crate::psa::state::path::Path;
use crate::psa::state::schedule::Key;
use crate::psa::units::{DevT, Hctl};
use std::collections::{BTreeMap, BTreeSet};

/// A disk in the table of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::psa) enum Member {
    /// The disk of a path.
    Ours(Hctl),
    /// No disk of a SCSI path: what it is.
    Foreign(String),
    /// A path that discovery has not reported yet, or nothing is known of it.
    NotSeenYet,
    /// It was removed from the host.
    Gone,
}

/// What is known of a map's members as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::psa) struct Members {
    /// A member that is foreign makes the whole map foreign: what the first such member is.
    pub foreign: Option<String>,
    /// Members that may be paths which discovery has not reported yet.
    pub unseen: BTreeSet<DevT>,
}

/// What is known of a disk in a table.
pub(in crate::psa) fn member(world: &World, dev: DevT) -> Member {
    if let Some(id) = world.disks.get(&dev) {
        return Member::Ours(*id);
    }
    match world.lookups.found(dev) {
        Some(DiskKind::Absent) => Member::Gone,
        Some(DiskKind::Other(what)) => Member::Foreign(what.clone()),
        Some(DiskKind::Scsi(_)) | None => Member::NotSeenYet,
    }
}

/// What is known of the members of a device's map.
pub(in crate::psa) fn members(world: &World, wwid: &str) -> Members {
    let mut members = Members::default();
    let map = world.map_of(wwid);
    for path in map
        .iter()
        .filter_map(|map| map.table.as_ref().ok())
        .flat_map(|table| table.paths())
    {
        match member(world, path.dev) {
            Member::Foreign(what) => {
                members.foreign.get_or_insert(what);
            }
            Member::NotSeenYet => {
                members.unseen.insert(path.dev);
            }
            Member::Ours(_) | Member::Gone => {}
        }
    }
    if members.foreign.is_none() && map.is_some() {
        members.foreign = named_otherwise(world, wwid);
    }
    members
}

/// A disk of a map that is named by something else than its page 83h lists, if no path ever proved the name: what it is.
fn named_otherwise(world: &World, wwid: &str) -> Option<String> {
    let device = world.devices.get(wwid)?;
    if is_of_page83(wwid) || device.unit.is_some() {
        return None;
    }
    let lists_no_such = |path: &&Path| {
        world.is_held(path) && (path.proof.is_quarantined() || path.proof.problem().is_some())
    };
    let path = world.paths_of(device).find(lists_no_such)?;
    let disk = path.facts.block.as_ref().map(|block| &block.name)?;
    Some(format!(
        "{disk}, whose VPD page 83h does not list the name of the map"
    ))
}

/// Asks the kernel what members are that discovery has not reported. Whether the time to wait for udev is over.
pub(in crate::psa) fn look_up(world: &mut World, wwid: &str, unseen: &BTreeSet<DevT>) -> bool {
    let now = world.now;
    let mut waited = true;
    let mut ask = BTreeSet::new();
    let mut next = now.after(ASK_AGAIN);
    for dev in unseen {
        let inquiry = world.lookups.ask(*dev, now);
        if inquiry.is_due {
            ask.insert(*dev);
        }
        next = next.min(inquiry.next);
        waited &= inquiry.has_waited;
    }
    world
        .schedule
        .no_later_than(Key::Device(wwid.to_owned()), next);
    if !ask.is_empty() {
        world.actions.push(Action::LookUpDisks(ask));
    }
    waited
}

/// The kernel said what disks are.
pub(in crate::psa) fn disks_found(world: &mut World, disks: BTreeMap<DevT, DiskKind>) {
    for (dev, kind) in disks {
        // An answer may be older than the removal or the discovery of the disk.
        if world.disks.contains_key(&dev) || world.lookups.is_settled(dev) {
            continue;
        }
        let Some(wwid) = world.index.holder(dev).map(str::to_owned) else {
            continue;
        };
        if world.lookups.answered(dev, kind) {
            world.dirty.insert(wwid);
        }
    }
}
