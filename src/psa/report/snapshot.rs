//! Divides a world into pieces that are small enough to be written one at a time, and puts a world together from
//! pieces.

use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::table::model::Map;
use crate::psa::units::Hctl;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The number of paths, devices or maps in one piece.
const MEMBERS: usize = 256;

/// A part of a world.
#[derive(Clone, Serialize, Deserialize)]
pub enum Piece {
    /// Everything that is not in the other pieces; the first piece.
    Rest(Box<World>),
    /// Some of the paths.
    Paths(BTreeMap<Hctl, Box<Path>>),
    /// Some of the masked paths whose SCSI devices were removed.
    Withdrawn(BTreeMap<Hctl, Box<Path>>),
    /// Some of the devices, by WWID.
    Devices(BTreeMap<Wwid, Box<Device>>),
    /// Some of the maps, by dm name.
    Maps(BTreeMap<String, Map>),
}

/// Divides a world into pieces.
pub struct Pieces {
    rest: Option<Box<World>>,
    paths: BTreeMap<Hctl, Box<Path>>,
    withdrawn: BTreeMap<Hctl, Box<Path>>,
    devices: BTreeMap<Wwid, Box<Device>>,
    maps: BTreeMap<String, Map>,
}

impl Pieces {
    /// The pieces of a world.
    #[must_use]
    pub fn of(mut world: World) -> Pieces {
        Pieces {
            paths: std::mem::take(&mut world.paths).into(),
            withdrawn: std::mem::take(&mut world.withdrawn).into(),
            devices: std::mem::take(&mut world.devices).into(),
            maps: std::mem::take(&mut world.maps),
            rest: Some(Box::new(world)),
        }
    }
}

impl Iterator for Pieces {
    type Item = Piece;
    fn next(&mut self) -> Option<Piece> {
        if let Some(rest) = self.rest.take() {
            return Some(Piece::Rest(rest));
        }
        some(&mut self.paths)
            .map(Piece::Paths)
            .or_else(|| some(&mut self.withdrawn).map(Piece::Withdrawn))
            .or_else(|| some(&mut self.devices).map(Piece::Devices))
            .or_else(|| some(&mut self.maps).map(Piece::Maps))
    }
}

impl World {
    /// Adds a piece; [`Piece::Rest`] replaces the whole world.
    pub fn put(&mut self, piece: Piece) {
        match piece {
            Piece::Rest(world) => *self = *world,
            Piece::Paths(paths) => {
                paths.values().for_each(|path| self.index.path(path));
                self.paths.extend(paths);
            }
            Piece::Withdrawn(paths) => self.withdrawn.extend(paths),
            Piece::Devices(devices) => {
                for (wwid, device) in &devices {
                    let ticket = device.work.in_flight();
                    self.index.tickets.extend(ticket.map(|t| (t, wwid.clone())));
                }
                self.devices.extend(devices);
            }
            Piece::Maps(maps) => maps.into_values().for_each(|map| self.keep_map(map)),
        }
    }
}

/// Removes the first entries from a map and returns them; `None` if it is empty.
fn some<K: Ord, V>(map: &mut BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    let first = std::iter::from_fn(|| map.pop_first());
    let taken: BTreeMap<K, V> = first.take(MEMBERS).collect();
    (!taken.is_empty()).then_some(taken)
}
