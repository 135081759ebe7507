//! Ends queueing without the agent: on an admin's command while the agent is not running, and when the host shuts down.
//!
//! Input: which maps, by name, UUID or number. Output: the result for each. Invariants: a map gets a message only if
//! its UUID begins with `mpath-`, its table is one multipath target, and it queues; no other map is touched. Only
//! device-mapper and, for [`ours`], one file in memory are read, because every disk may be behind a map that hangs.

use super::client::Client;
use super::ioctl::{self, Buffer, Listed};
use crate::psa::action::MapStep;
use crate::psa::event::MapError;
use crate::psa::state::maps::may_end_queueing;
use crate::psa::table::model::{Map, MapId, Message, UUID_PREFIX};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Where the agent lists the UUIDs of its maps, one per line, relative to the root directory.
pub(crate) const LIST: &str = "run/dm-psa/maps";

/// The name of a map, and the result for it.
pub type Ended = (String, Result<(), String>);

/// The UUIDs of the agent's maps, as it last wrote them; the agent may have ended since.
///
/// # Errors
/// The list does not exist, or cannot be read.
pub fn ours(root: &Path) -> io::Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(root.join(LIST))?;
    let uuids = text.lines().filter(|line| line.starts_with(UUID_PREFIX));
    Ok(uuids.map(str::to_owned).collect())
}

/// The maps on which to end queueing.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The map that has this name, UUID or WWID; `/dev/mapper/NAME`, `dm-N` and `/dev/dm-N` are accepted too.
    Named(&'a str),
    /// The agent's maps that have no path, by UUID.
    Ours(&'a BTreeSet<String>),
    /// The agent's maps even if they have paths: the host is shutting down, and nobody will reinstate a path.
    Last(&'a BTreeSet<String>),
}

impl Which<'_> {
    fn is_meant(self, listed: &Listed<'_>) -> bool {
        let Some(wwid) = listed.uuid.strip_prefix(UUID_PREFIX) else {
            return false;
        };
        match self {
            Which::Ours(uuids) | Which::Last(uuids) => uuids.contains(listed.uuid),
            Which::Named(named) => {
                let short = named
                    .strip_prefix("/dev/mapper/")
                    .or_else(|| named.strip_prefix("/dev/"))
                    .unwrap_or(named);
                let node = format!("dm-{}", listed.dev.minor);
                [listed.name, listed.uuid, wwid, &node].contains(&short)
            }
        }
    }
}

/// The steps for a map, in order.
///
/// # Errors
/// Nothing has to be done. For a map that was asked for by name, the error holds the reason; for one map among others
/// it is `None`.
fn steps(map: &Map, which: Which<'_>) -> Result<Vec<MapStep>, Option<String>> {
    let fail = MapStep::Message(Message::FailIfNoPath);
    match which {
        Which::Named(_) => may_end_queueing(map).map_err(Some)?,
        Which::Ours(_) => may_end_queueing(map).map_err(|_| None)?,
        Which::Last(_) => {
            let queues = |table: &crate::psa::table::model::Table| table.features.queue_if_no_path;
            if !map.table.as_ref().is_ok_and(queues) {
                return Err(None);
            }
            // A suspended map takes no message, and it holds I/O back as well.
            if map.suspended {
                return Ok(vec![MapStep::Resume, fail]);
            }
        }
    }
    Ok(vec![fail])
}

/// Ends queueing. A map that was asked for by name and does not exist gives no answer.
///
/// # Errors
/// device-mapper fails to list its maps.
pub fn end(client: &Client, which: Which<'_>) -> Result<Vec<Ended>, MapError> {
    let mut room = Buffer::default();
    let listed = client.list(&mut room)?;
    let meant = listed.into_iter().filter(|listed| which.is_meant(listed));
    let ended = meant.filter_map(|listed| {
        let result = end_one(client, &listed, which)?;
        Some((listed.name.to_owned(), result))
    });
    Ok(ended.collect())
}

/// Whether there is a multipath map that was not made for a SCSI disk: its UUID does not begin with `mpath-`, so the
/// agent does not see it. Returns true where this cannot be found out.
#[must_use]
pub(crate) fn has_others(client: &Client) -> bool {
    let (mut room, mut table) = (Buffer::default(), Buffer::default());
    let Ok(listed) = client.list(&mut room) else {
        return true;
    };
    let unseen = listed
        .iter()
        .filter(|map| !map.uuid.starts_with(UUID_PREFIX));
    let mut tables = unseen.map(|map| {
        let answer = table.table(client.control(), ioctl::Which::Name(map.name));
        match answer.map(|answer| answer.targets()) {
            Ok(Some(targets)) => targets.iter().any(|target| target.kind == "multipath"),
            // The map is gone.
            Err(nix::errno::Errno::ENXIO) => false,
            Ok(None) | Err(_) => true,
        }
    });
    tables.any(|other| other)
}

fn end_one(client: &Client, listed: &Listed<'_>, which: Which<'_>) -> Option<Result<(), String>> {
    let map = match client.observe(listed.name) {
        // Another map may have taken over the name since the list was made.
        Ok(map) => map.filter(|map| map.uuid == listed.uuid)?,
        Err(error) => return Some(Err(error.to_string())),
    };
    match steps(&map, which) {
        Ok(steps) => {
            let map = MapId {
                name: map.name,
                uuid: map.uuid,
            };
            let done = client.execute(&map, &steps);
            Some(done.map_err(|error| error.to_string()))
        }
        Err(why) => why.map(Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::table::model::{Features, GroupState, GroupStatus, PathStatus, Status, Table};
    use crate::psa::units::{DevT, Sectors};

    fn listed<'a>(name: &'a str, uuid: &'a str, minor: u32) -> Listed<'a> {
        Listed {
            name,
            uuid,
            dev: DevT { major: 253, minor },
            event_nr: 0,
        }
    }

    fn map(queues: bool, active: &[bool]) -> Map {
        let paths = active.iter().map(|active| PathStatus {
            dev: DevT { major: 8, minor: 0 },
            active: *active,
            fail_count: 1,
        });
        let table = Table {
            length: Sectors(8),
            features: Features {
                queue_if_no_path: queues,
                ..Features::default()
            },
            handler: None,
            initial_group: 1,
            groups: Vec::new(),
        };
        let status = Status {
            queue_io: false,
            pg_init_count: 0,
            group_now: 1,
            groups: vec![GroupStatus {
                state: GroupState::Enabled,
                paths: paths.collect(),
            }],
        };
        Map {
            status: Ok(status),
            ..Map::sample("naa.6", "mpath-36", Ok(table))
        }
    }

    #[test]
    fn a_multipath_map_is_found_by_any_of_its_names() {
        let (ours, others) = (
            listed("naa.6", "mpath-36", 3),
            listed("vg-root", "LVM-x", 4),
        );
        for name in [
            "naa.6",
            "/dev/mapper/naa.6",
            "mpath-36",
            "36",
            "dm-3",
            "/dev/dm-3",
        ] {
            assert!(Which::Named(name).is_meant(&ours), "{name}");
            assert!(!Which::Named(name).is_meant(&others), "{name}");
        }
        for name in ["", "naa", "dm-4", "6", "sdc", "naa.6/x"] {
            assert!(!Which::Named(name).is_meant(&ours), "{name}");
        }
        for name in ["vg-root", "LVM-x", "dm-4"] {
            assert!(!Which::Named(name).is_meant(&others), "{name}");
        }
        let list = BTreeSet::from(["mpath-36".to_owned(), "LVM-x".to_owned()]);
        for which in [Which::Ours(&list), Which::Last(&list)] {
            assert!(which.is_meant(&ours));
            assert!(!which.is_meant(&others));
            assert!(!which.is_meant(&listed("naa.7", "mpath-37", 5)));
        }
    }

    #[test]
    fn only_queueing_maps_get_a_message() {
        let none = BTreeSet::new();
        let fail = Ok(vec![MapStep::Message(Message::FailIfNoPath)]);
        for which in [
            Which::Named("naa.6"),
            Which::Ours(&none),
            Which::Last(&none),
        ] {
            assert_eq!(steps(&map(true, &[false, false]), which), fail);
            assert!(steps(&map(false, &[false, false]), which).is_err());
            let mut unreadable = map(true, &[false]);
            unreadable.table = Err("it is linear".to_owned());
            assert!(steps(&unreadable, which).is_err());
        }
        // While a path works, only the host's shutdown is a reason.
        let works = map(true, &[false, true]);
        assert!(
            steps(&works, Which::Named("naa.6")).is_err_and(|why| why.is_some()),
            "who asks by name learns why"
        );
        assert_eq!(steps(&works, Which::Ours(&none)), Err(None));
        assert_eq!(steps(&works, Which::Last(&none)), fail);
    }

    #[test]
    fn a_suspended_map_is_resumed_when_the_host_shuts_down() {
        let none = BTreeSet::new();
        let mut suspended = map(true, &[false]);
        suspended.suspended = true;
        let steps = steps(&suspended, Which::Last(&none)).unwrap();
        assert_eq!(steps[0], MapStep::Resume);
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn the_list_names_only_multipath_maps() {
        let root = tempfile::tempdir().unwrap();
        assert!(ours(root.path()).is_err());
        let file = root.path().join(LIST);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "mpath-36\n\nLVM-x\nmpath-37\n").unwrap();
        let uuids: Vec<_> = ours(root.path()).unwrap().into_iter().collect();
        assert_eq!(uuids, ["mpath-36", "mpath-37"]);
    }
}
