//! Where things are: what could be found by a search through all paths, devices or maps, kept so that a step costs what
//! it changes and not what there is.
//!
//! It follows from the rest of the world, so it is not written down with it: [`World::put`] makes it anew. Tests:
//! `tests/journal.rs`, where worlds go on that were put together of pieces.

use super::lookup::Lookup;
use super::maps::UUID_PREFIX;
use super::path::Path;
use super::table::model::Map;
use super::units::{DevT, Hctl, Sectors};
use super::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// Where things are.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// The WWIDs of the maps that have a disk in their tables: one as a rule, never none.
    held: Lookup<DevT, BTreeSet<String>>,
    /// Paths whose disks somebody uses, other than a map over the whole disk.
    used: BTreeSet<Hctl>,
    /// The device that an action on a map is for, by its ticket.
    pub(super) tickets: BTreeMap<u64, String>,
}

impl Index {
    /// The WWID of the map that has this disk in its table.
    pub(super) fn holder(&self, dev: DevT) -> Option<&str> {
        self.held.get(&dev)?.first().map(String::as_str)
    }

    /// The map of a WWID has the disk in its table from now on.
    fn hold(&mut self, dev: DevT, wwid: String) {
        if let Some(wwids) = self.held.get_mut(&dev) {
            wwids.insert(wwid);
        } else {
            self.held.insert(dev, BTreeSet::from([wwid]));
        }
    }

    fn release(&mut self, dev: DevT, wwid: &str) {
        if let Some(wwids) = self.held.get_mut(&dev) {
            wwids.remove(wwid);
            if wwids.is_empty() {
                self.held.remove(&dev);
            }
        }
    }

    /// Whether a disk is used behind the target port of this path.
    pub(super) fn has_user_behind(&self, path: Hctl) -> bool {
        self.used.range(path.nexus()).next().is_some()
    }

    pub(super) fn path(&mut self, path: &Path) {
        let block = path.facts.block.as_ref();
        if block.is_some_and(|block| !block.usage.is_empty()) {
            self.used.insert(path.facts.hctl);
        } else {
            self.used.remove(&path.facts.hctl);
        }
    }

    pub(super) fn path_gone(&mut self, id: Hctl) {
        self.used.remove(&id);
    }

    /// Its entries of [`Index::held`].
    fn disks_of(map: &Map) -> impl Iterator<Item = (DevT, String)> + '_ {
        let wwid = map.uuid.strip_prefix(UUID_PREFIX).unwrap_or_default();
        let tables = map.table.iter();
        tables.flat_map(move |table| table.paths().map(move |path| (path.dev, wwid.to_owned())))
    }
}

impl World {
    /// Takes a map in, in place of the one that had its name.
    pub(super) fn keep_map(&mut self, map: Map) {
        let before = self.maps.get(&map.name);
        if before.is_none_or(|before| before.uuid != map.uuid || before.table != map.table) {
            self.drop_map(&map.name);
            for (dev, wwid) in Index::disks_of(&map) {
                self.index.hold(dev, wwid);
            }
            self.set_length(&map, map.table.as_ref().ok().map(|table| table.length));
        }
        self.maps.insert(map.name.clone(), map);
    }

    /// Forgets the map of this name.
    pub(super) fn drop_map(&mut self, name: &str) {
        if let Some(map) = self.maps.remove(name) {
            for (dev, wwid) in Index::disks_of(&map) {
                self.index.release(dev, &wwid);
            }
            self.set_length(&map, None);
        }
    }

    /// Forgets what the kernel said of disks that no table has any more.
    pub(super) fn forget_lookups(&mut self) {
        let index = &self.index;
        self.lookups.retain(|dev| index.holder(dev).is_some());
    }

    fn set_length(&mut self, map: &Map, length: Option<Sectors>) {
        let wwid = map.uuid.strip_prefix(UUID_PREFIX);
        if let Some(device) = wwid.and_then(|wwid| self.devices.get_mut(wwid)) {
            device.length = length;
        }
    }
}
