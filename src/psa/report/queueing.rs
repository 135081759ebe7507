//! Which maps the agent is responsible for, and which of them queue I/O.
//!
//! A device whose paths are all down queues I/O until its APD deadline. An admin can end that earlier, for instance
//! because an unmount is waiting ([`crate::psa::change::Change::EndQueueing`]). This lasts until a path serves I/O
//! again.

use crate::psa::state::World;
use crate::psa::state::device::Disposition;
use crate::psa::table::model::{Map, MapId, UUID_PREFIX};
use crate::psa::units::Millis;
use std::collections::BTreeSet;

/// The maps that the agent is responsible for, and how long it may let one of them queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptMaps {
    /// dm UUIDs of the maps that the agent may change.
    pub ours: BTreeSet<String>,
    /// Whether there are other multipath maps.
    pub others: bool,
    /// The longest time that I/O of one of them may be queued.
    pub longest: Millis,
}

/// A map that queues I/O, or may queue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueingMap {
    /// Which map.
    pub id: MapId,
    /// Whether it is suspended, and therefore holds back I/O too.
    pub suspended: bool,
}

impl World {
    /// The maps that the agent is responsible for.
    #[must_use]
    pub fn kept_maps(&self) -> KeptMaps {
        let mut kept = KeptMaps {
            longest: self.settings.apd_timeout_ms,
            ..KeptMaps::default()
        };
        for map in self.maps.values() {
            let wwid = map.uuid.strip_prefix(UUID_PREFIX);
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
            id: MapId {
                name: map.name.clone(),
                uuid: map.uuid.clone(),
            },
            suspended: map.suspended,
        })
        .collect()
    }
}
