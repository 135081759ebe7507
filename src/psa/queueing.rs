//! The end of queueing by hand, and which maps the agent answers for.
//!
//! A device whose paths are all down queues I/O until its APD deadline. An admin may end that earlier, for instance
//! because an unmount waits for it ([`super::change::Change::EndQueueing`]). It lasts until a path serves I/O again.

use super::action::Severity;
use super::change::Refusal;
use super::device::{Device, Disposition};
use super::table::model::Map;
use super::units::Millis;
use super::world::World;
use std::collections::BTreeSet;

/// The maps that the agent answers for, and how long it may let one of them queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptMaps {
    /// dm UUIDs of the maps that are the agent's to change.
    pub ours: BTreeSet<String>,
    /// Other multipath maps are there.
    pub others: bool,
    /// The longest time that I/O of one of them may be queued.
    pub longest: Millis,
}

/// A map that queues, or may do so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueingMap {
    /// dm name.
    pub name: String,
    /// dm UUID.
    pub uuid: String,
    /// It holds I/O back for that reason too.
    pub suspended: bool,
}

impl World {
    /// Whether queueing can be ended, and what that means.
    pub(super) fn check_end_queueing(&self, device: &Device) -> Result<String, Refusal> {
        let id = &device.id;
        let Some(map) = self.map_of(&device.wwid) else {
            return Err(Refusal::Refused(format!(
                "{id} has no map, so nothing of it is queued"
            )));
        };
        if let Disposition::Foreign(what) = &device.disposition {
            return Err(Refusal::Refused(format!(
                "the map of {id} holds {what}: it is not ours to change"
            )));
        }
        may_end_queueing(map).map_err(|why| Refusal::Refused(format!("{id}: {why}")))?;
        Ok(format!("{id}: I/O fails now, until a path serves it again"))
    }

    /// Has I/O of a device fail from now on, until a path serves it again.
    pub(super) fn end_queueing(&mut self, id: &str) {
        let Ok(wwid) = self.known_device(id).map(|device| device.wwid.clone()) else {
            return;
        };
        if let Some(device) = self.devices.get_mut(&wwid) {
            device.queueing_ended = true;
        }
        let effect = [("effect", "I/O fails until a path serves it again")];
        self.notify(Severity::Warning, "QUEUEING_ENDED", id, &effect);
        self.dirty.insert(wwid);
    }

    /// The maps that the agent answers for.
    #[must_use]
    pub fn kept_maps(&self) -> KeptMaps {
        let mut kept = KeptMaps {
            longest: self.settings.apd_timeout_ms,
            ..KeptMaps::default()
        };
        for map in self.maps.values() {
            let wwid = map.uuid.strip_prefix(super::maps::UUID_PREFIX);
            let device = wwid.and_then(|wwid| self.devices.get(wwid));
            match device.filter(|device| device.disposition == Disposition::Stacked) {
                Some(device) => {
                    let set = self.device_settings(device).apd_timeout_ms;
                    kept.longest = kept.longest.max(set.unwrap_or_default());
                    kept.ours.insert(map.uuid.clone());
                }
                None => kept.others = true,
            }
        }
        kept
    }

    /// Whether it is decided which maps of the host are the agent's; before that [`World::kept_maps`] has too few.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// The maps of the agent that queue I/O while they have no path.
    #[must_use]
    pub fn queueing_maps(&self) -> Vec<QueueingMap> {
        let ours = self.kept_maps().ours;
        let queues = |map: &&Map| {
            let table = map.table.as_ref();
            ours.contains(&map.uuid) && table.is_ok_and(|table| table.features.queue_if_no_path)
        };
        let maps = self.maps.values().filter(queues);
        maps.map(|map| QueueingMap {
            name: map.name.clone(),
            uuid: map.uuid.clone(),
            suspended: map.suspended,
        })
        .collect()
    }
}

/// Whether I/O of a map may be queued for want of a path, so that there is something to end.
///
/// # Errors
/// Why not.
pub fn may_end_queueing(map: &Map) -> Result<(), String> {
    let table = match &map.table {
        Ok(table) => table,
        Err(why) => return Err(format!("its map cannot be read: {why}")),
    };
    if !table.features.queue_if_no_path {
        return Err("its map does not queue: I/O fails while there is no path".to_owned());
    }
    let mut paths = map.status.iter().flat_map(|status| &status.groups);
    if paths.any(|group| group.paths.iter().any(|path| path.active)) {
        return Err("its map has a path that the kernel uses, so nothing waits for one".to_owned());
    }
    Ok(())
}
