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

use super::action::Action;
use super::identity::is_of_page83;
use super::path::Path;
use super::schedule::Key;
use super::units::{DevT, Hctl, Millis};
use super::world::World;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the kernel says of a block device number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskKind {
    /// No block device of this host has the number: the disk was removed.
    Absent,
    /// The disk of a SCSI direct access block device (type 00h).
    Scsi(Hctl),
    /// Anything else: what it is, `nvme0n1, which is not a SCSI disk`.
    Other(String),
}

/// A disk in the table of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
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
pub(super) struct Members {
    /// A member that is foreign makes the whole map foreign: what the first such member is.
    pub foreign: Option<String>,
    /// Members that may be paths which discovery has not reported yet.
    pub unseen: BTreeSet<DevT>,
}

/// A lookup that has not settled what a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    first: Millis,
    last: Millis,
}

/// The answers of the kernel about members of maps that are no paths.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Lookups {
    found: BTreeMap<DevT, DiskKind>,
    asked: BTreeMap<DevT, Asked>,
}

/// The kernel is asked again this long after it said nothing or named a SCSI disk that discovery has not reported.
const ASK_AGAIN: Millis = Millis::from_secs(1);

/// A map whose members are not all known is not touched for this long: udev processes the disks of a large host within
/// that time. After that the map is touched only in ways that cannot harm the unknown members.
pub(super) const UDEV_WAIT: Millis = Millis::from_secs(30);

impl Lookups {
    /// The disk is one of a path from now on.
    pub(super) fn bound(&mut self, dev: DevT) {
        self.found.remove(&dev);
        self.asked.remove(&dev);
    }

    /// The path of a disk in some table was removed from the host.
    pub(super) fn removed(&mut self, dev: DevT) {
        self.found.insert(dev, DiskKind::Absent);
    }

    /// Keeps what is known of some disks.
    pub(super) fn retain(&mut self, keep: impl Fn(DevT) -> bool) {
        self.found.retain(|dev, _| keep(*dev));
        self.asked.retain(|dev, _| keep(*dev));
    }

    /// Whether members of maps are waited for that udev has not processed yet.
    pub(super) fn waits(&self, now: Millis) -> bool {
        let mut asked = self.asked.values();
        asked.any(|asked| now.since(asked.first) < UDEV_WAIT)
    }

    fn is_settled(&self, dev: DevT) -> bool {
        matches!(
            self.found.get(&dev),
            Some(DiskKind::Absent | DiskKind::Other(_))
        )
    }
}

impl World {
    /// What is known of a disk in a table.
    pub(super) fn member(&self, dev: DevT) -> Member {
        if let Some(id) = self.disks.get(&dev) {
            return Member::Ours(*id);
        }
        match self.lookups.found.get(&dev) {
            Some(DiskKind::Absent) => Member::Gone,
            Some(DiskKind::Other(what)) => Member::Foreign(what.clone()),
            Some(DiskKind::Scsi(_)) | None => Member::NotSeenYet,
        }
    }

    /// What is known of the members of a device's map.
    pub(super) fn members(&self, wwid: &str) -> Members {
        let mut members = Members::default();
        let map = self.map_of(wwid);
        for path in map
            .iter()
            .filter_map(|map| map.table.as_ref().ok())
            .flat_map(|table| table.paths())
        {
            match self.member(path.dev) {
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
            members.foreign = self.named_otherwise(wwid);
        }
        members
    }

    /// A disk of a map that is named by something else than its page 83h lists, if no path ever proved the name: what it is.
    fn named_otherwise(&self, wwid: &str) -> Option<String> {
        let device = self.devices.get(wwid)?;
        if is_of_page83(wwid) || device.unit.is_some() {
            return None;
        }
        let lists_no_such = |path: &&Path| {
            self.is_held(path) && (path.proof.is_quarantined() || path.proof.problem().is_some())
        };
        let path = self.paths_of(device).find(lists_no_such)?;
        let disk = path.facts.block.as_ref().map(|block| &block.name)?;
        Some(format!(
            "{disk}, whose VPD page 83h does not list the name of the map"
        ))
    }

    /// Asks the kernel what members are that discovery has not reported. Whether the time to wait for udev is over.
    pub(super) fn look_up(&mut self, wwid: &str, unseen: &BTreeSet<DevT>) -> bool {
        let now = self.now;
        let mut waited = true;
        let mut ask = BTreeSet::new();
        let mut next = now.after(ASK_AGAIN);
        for dev in unseen {
            let asked = self.lookups.asked.entry(*dev).or_insert_with(|| {
                ask.insert(*dev);
                Asked {
                    first: now,
                    last: now,
                }
            });
            if asked.last.after(ASK_AGAIN) <= now {
                asked.last = now;
                ask.insert(*dev);
            }
            next = next.min(asked.last.after(ASK_AGAIN));
            waited &= now.since(asked.first) >= UDEV_WAIT;
        }
        self.schedule
            .no_later_than(Key::Device(wwid.to_owned()), next);
        if !ask.is_empty() {
            self.actions.push(Action::LookUpDisks(ask));
        }
        waited
    }

    /// The kernel said what disks are.
    pub(super) fn disks_found(&mut self, disks: BTreeMap<DevT, DiskKind>) {
        for (dev, kind) in disks {
            // An answer may be older than the removal or the discovery of the disk.
            if self.disks.contains_key(&dev) || self.lookups.is_settled(dev) {
                continue;
            }
            let Some(wwid) = self.index.holder(dev).map(str::to_owned) else {
                continue;
            };
            self.lookups.found.insert(dev, kind);
            if self.lookups.is_settled(dev) {
                self.lookups.asked.remove(&dev);
                self.dirty.insert(wwid);
            }
        }
    }
}
