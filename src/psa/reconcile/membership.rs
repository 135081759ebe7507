//! What is known about each disk in the table of a map.
//!
//! Changes of a map depend on what is known about its members. Only a known member may be failed, left out of a table
//! or lose its map: a disk about which nothing is known is not gone. Three things can hide a disk from discovery: it is
//! not a SCSI disk (NVMe, DASD, zoned SCSI, a partition, another map), udev has not processed it yet, or it was removed
//! while no agent ran. So the kernel is asked about every member that is not a path ([`Action::LookUpDisks`]).
//!
//! A member can be a path of this host and still not be known as the disk of its map: if the map's name is not from
//! page 83h, no page proves or disproves the name. Such a map is foreign too.
//!
//! Tests: `tests/membership.rs`.

use crate::psa::action::Action;
use crate::psa::facts::DiskKind;
use crate::psa::identity::is_of_page83;
use crate::psa::names::Wwid;
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
    /// Not the disk of a SCSI path: what it is.
    Foreign(String),
    /// Either a path that discovery has not reported yet, or nothing is known about it.
    NotSeenYet,
    /// It was removed from the host.
    Gone,
}

/// What is known about the members of a map as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::psa) struct Members {
    /// What the first foreign member is, if there is one. It makes the whole map foreign.
    pub foreign: Option<String>,
    /// Members that may be paths that discovery has not reported yet.
    pub unseen: BTreeSet<DevT>,
}

/// What is known about a disk in a table.
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

/// What is known about the members of a device's map.
pub(in crate::psa) fn members(world: &World, wwid: &Wwid) -> Members {
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
            Member::Ours(id) => {
                let other = world
                    .paths
                    .get(&id)
                    .filter(|path| path.device.as_ref() != Some(wwid));
                if let Some(what) = other.and_then(|path| elsewhere(world, path)) {
                    members.foreign.get_or_insert(what);
                }
            }
            Member::Gone => {}
        }
    }
    if members.foreign.is_none() && map.is_some() {
        members.foreign = named_otherwise(world, wwid);
    }
    members
}

/// Describes a disk of a map that is a path of another device: its disk is in the map of that one, too.
fn elsewhere(world: &World, path: &Path) -> Option<String> {
    let disk = path.facts().block.as_ref().map(|block| &block.name)?;
    Some(match world.device_of(path) {
        Some(device) => format!("{disk}, which is a path of {}", device.id()),
        None => format!("{disk}, which belongs to no device"),
    })
}

/// Describes a disk of a map whose name its page 83h does not list, if no path ever proved the name.
fn named_otherwise(world: &World, wwid: &Wwid) -> Option<String> {
    let device = world.devices.get(wwid)?;
    if is_of_page83(wwid) || device.is_proven() {
        return None;
    }
    let lists_no_such = |path: &&Path| {
        world.is_held(path) && (path.proof.is_quarantined() || path.proof.problem().is_some())
    };
    let path = world.paths_of(device).find(lists_no_such)?;
    let disk = path.facts().block.as_ref().map(|block| &block.name)?;
    Some(format!(
        "{disk}, whose VPD page 83h does not list the name of the map"
    ))
}

/// Asks the kernel about members that discovery has not reported. Returns whether the time to wait for udev is over.
pub(in crate::psa) fn look_up(world: &mut World, wwid: &Wwid, unseen: &BTreeSet<DevT>) -> bool {
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

/// Processes the kernel's answers about disks.
pub(in crate::psa) fn disks_found(world: &mut World, disks: BTreeMap<DevT, DiskKind>) {
    for (dev, kind) in disks {
        // An answer may be older than the removal or discovery of the disk.
        if world.disks.contains_key(&dev) || world.lookups.is_settled(dev) {
            continue;
        }
        let Some(wwid) = world.index.holder(dev).cloned() else {
            continue;
        };
        if world.lookups.answered(dev, kind) {
            world.dirty.insert(wwid);
        }
    }
}
