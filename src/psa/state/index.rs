//! Derived indexes, so that the cost of a step depends on what it changes, not on the number of paths, devices and
//! maps.
//!
//! The index follows from the rest of the world, so it is not serialized: `World::put` rebuilds it. Tests:
//! `tests/journal.rs`, where worlds that were put together from pieces continue.

use crate::psa::lookup::Lookup;
use crate::psa::names::Wwid;
use crate::psa::state::path::Path;
use crate::psa::table::model::{Map, UUID_PREFIX};
use crate::psa::units::{DevT, Hctl};
use std::collections::{BTreeMap, BTreeSet};

/// The indexes.
#[derive(Debug, Clone, Default)]
pub(in crate::psa) struct Index {
    /// The WWIDs of the maps that have a disk in their tables: usually one, never an empty set.
    held: Lookup<DevT, BTreeSet<Wwid>>,
    /// Paths whose disks are in use, other than by a map over the whole disk.
    used: BTreeSet<Hctl>,
    /// The device for which an action on a map is done, by the ticket of the action.
    pub(in crate::psa) tickets: BTreeMap<u64, Wwid>,
}

impl Index {
    /// The WWID of the map whose table has this disk.
    pub(in crate::psa) fn holder(&self, dev: DevT) -> Option<&Wwid> {
        self.held.get(&dev)?.first()
    }

    /// Records that the map of this WWID has the disk in its table.
    pub(in crate::psa) fn hold(&mut self, dev: DevT, wwid: Wwid) {
        if let Some(wwids) = self.held.get_mut(&dev) {
            wwids.insert(wwid);
        } else {
            self.held.insert(dev, BTreeSet::from([wwid]));
        }
    }

    pub(in crate::psa) fn release(&mut self, dev: DevT, wwid: &Wwid) {
        if let Some(wwids) = self.held.get_mut(&dev) {
            wwids.remove(wwid);
            if wwids.is_empty() {
                self.held.remove(&dev);
            }
        }
    }

    /// Whether a disk behind the target port of this path is in use.
    pub(in crate::psa) fn has_user_behind(&self, path: Hctl) -> bool {
        self.used.range(path.nexus()).next().is_some()
    }

    pub(in crate::psa) fn path(&mut self, path: &Path) {
        let block = path.facts().block.as_ref();
        if block.is_some_and(|block| !block.usage.is_empty()) {
            self.used.insert(path.facts().hctl);
        } else {
            self.used.remove(&path.facts().hctl);
        }
    }

    pub(in crate::psa) fn path_gone(&mut self, id: Hctl) {
        self.used.remove(&id);
    }

    /// The entries of [`Index::held`] for a map.
    pub(in crate::psa) fn disks_of(map: &Map) -> impl Iterator<Item = (DevT, Wwid)> + '_ {
        let wwid = map.uuid.strip_prefix(UUID_PREFIX).unwrap_or_default();
        let tables = map.table.iter();
        tables.flat_map(move |table| table.paths().map(move |path| (path.dev, Wwid::from(wwid))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_two_tables_stays_held_when_one_map_goes() {
        let (mut index, disk) = (
            Index::default(),
            DevT {
                major: 8,
                minor: 16,
            },
        );
        let (one, two) = (Wwid::from("36001"), Wwid::from("36002"));
        index.hold(disk, two.clone());
        index.hold(disk, one.clone());
        assert_eq!(index.holder(disk), Some(&one));
        index.release(disk, &one);
        assert_eq!(index.holder(disk), Some(&two));
        index.release(disk, &one);
        assert_eq!(index.holder(disk), Some(&two));
        index.release(disk, &two);
        assert_eq!(index.holder(disk), None);
    }
}
