//! The maps as the kernel has them, and the indexes derived from them.

use crate::psa::state::World;
use crate::psa::state::index::Index;
use crate::psa::table::model::{Map, UUID_PREFIX};
use crate::psa::units::Sectors;

/// Whether a map may be queueing I/O because it has no path, so that queueing can be ended.
///
/// # Errors
/// Why it cannot.
pub(crate) fn may_end_queueing(map: &Map) -> Result<(), String> {
    let table = match &map.table {
        Ok(table) => table,
        Err(why) => return Err(format!("its map cannot be read: {why}")),
    };
    if !table.features.queue_if_no_path {
        return Err("its map does not queue: I/O fails while there is no path".to_owned());
    }
    let mut paths = map.status.iter().flat_map(|status| &status.groups);
    if paths.any(|group| group.paths.iter().any(|path| path.active)) {
        return Err(
            "its map has a path that the kernel uses, so no I/O waits for a path".to_owned(),
        );
    }
    Ok(())
}

impl World {
    /// Records a map, replacing the one that had its name.
    pub(in crate::psa) fn keep_map(&mut self, map: Map) {
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
    pub(in crate::psa) fn drop_map(&mut self, name: &str) {
        if let Some(map) = self.maps.remove(name) {
            for (dev, wwid) in Index::disks_of(&map) {
                self.index.release(dev, &wwid);
            }
            self.set_length(&map, None);
        }
    }

    /// Forgets the kernel's answers about disks that are no longer in any table.
    pub(in crate::psa) fn forget_lookups(&mut self) {
        let index = &self.index;
        self.lookups.retain(|dev| index.holder(dev).is_some());
    }

    fn set_length(&mut self, map: &Map, length: Option<Sectors>) {
        let wwid = map.uuid.strip_prefix(UUID_PREFIX);
        if let Some(device) = wwid.and_then(|wwid| self.devices.get_mut(wwid)) {
            device.set_length(length);
        }
    }
}
