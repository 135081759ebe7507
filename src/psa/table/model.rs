//! The parts of a multipath target line and of its status line.

use crate::psa::units::{DevT, Sectors};
use serde::{Deserialize, Serialize};

/// The prefix of the dm UUID of every multipath map; the rest is the WWID.
pub(crate) const UUID_PREFIX: &str = "mpath-";

/// One multipath target that spans a whole map (start sector 0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Length of the map.
    pub length: Sectors,
    /// Feature words.
    pub features: Features,
    /// Hardware handler and its arguments: `alua` with `1`; `None` for `0`.
    pub handler: Option<HardwareHandler>,
    /// Priority groups in table order: the order in which the kernel tries them.
    pub groups: Vec<Group>,
    /// The group to start with, from 1; 0 exactly when there are no groups.
    pub initial_group: u32,
}

impl Table {
    /// Every path, in table order.
    pub fn paths(&self) -> impl Iterator<Item = &TablePath> {
        self.groups.iter().flat_map(|group| &group.paths)
    }
}

/// The features of a multipath target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Features {
    /// Hold I/O while there is no path.
    pub queue_if_no_path: bool,
    /// Accepted but without effect since Linux 7; before, it is part of the table text.
    pub retain_attached_hw_handler: bool,
    /// How often activation is retried, 1..=50.
    pub pg_init_retries: Option<u32>,
    /// Delay between activation retries, 0..=60000 ms.
    pub pg_init_delay_msecs: Option<u32>,
    /// `None` is the kernel's default (request-based).
    pub queue_mode: Option<QueueMode>,
    /// Words of a newer kernel with their arguments, in order. They are kept so that such a table can still be read,
    /// printed back, and otherwise ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// How the kernel sends I/O to the paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueMode {
    /// Bio-based: no request stacking, no device handler.
    Bio,
    /// Request-based; `rq` and `mq` mean the same to every supported kernel.
    Rq,
    /// Request-based.
    Mq,
}

/// Device handler of a table line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareHandler {
    /// `alua`, `rdac`, `emc`, `hp_sw`.
    pub name: String,
    /// Its arguments; the kernel never prints them back.
    pub args: Vec<String>,
}

/// One priority group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Path selector of the group.
    pub selector: Selector,
    /// Its paths.
    pub paths: Vec<TablePath>,
}

/// A path selector with the arguments of its constructor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// `service-time`, `round-robin`, `queue-length`, or an unknown one of another kernel.
    pub name: String,
    /// Constructor arguments.
    pub args: Vec<String>,
}

/// One path of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePath {
    /// Its block device.
    pub dev: DevT,
    /// Arguments for the selector: repeat count, relative throughput.
    pub args: Vec<String>,
}

/// The status of a multipath map, as in `dmsetup status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// I/O is held back. This is always the case between a table load and the end of the first activation.
    pub queue_io: bool,
    /// Number of activations in progress.
    pub pg_init_count: u32,
    /// The number, from 1, of the group in use or to be used next; 0 if there are no groups.
    pub group_now: u32,
    /// The groups in table order.
    pub groups: Vec<GroupStatus>,
}

impl Status {
    /// Whether the status belongs to this table: the same groups with the same paths, in the same order. Table and
    /// status are read one after the other, and the table may be replaced in between.
    #[must_use]
    pub(crate) fn belongs_to(&self, table: &Table) -> bool {
        let mine = self
            .groups
            .iter()
            .map(|group| group.paths.iter().map(|path| path.dev));
        let its = table
            .groups
            .iter()
            .map(|group| group.paths.iter().map(|path| path.dev));
        self.groups.len() == table.groups.len() && mine.zip(its).all(|(a, b)| a.eq(b))
    }
}

/// The state of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its state.
    pub state: GroupState,
    /// Its paths in table order.
    pub paths: Vec<PathStatus>,
}

/// The state letter of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// `A`: in use.
    Active,
    /// `E`: may be used. Before the first I/O, every group has this state.
    Enabled,
    /// `D`: bypassed, used only if no other group has a path. A group in use has `D` too while it is bypassed.
    Disabled,
}

/// What dm knows about one path. This is dm's view, not the array's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// Its block device.
    pub dev: DevT,
    /// `true` for `A`, `false` for `F`.
    pub active: bool,
    /// Failures since the table was loaded.
    pub fail_count: u32,
}

/// Which map: one with this name and this UUID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapId {
    /// dm name.
    pub name: String,
    /// dm UUID, `mpath-3600...`; empty if the map has none.
    pub uuid: String,
}

/// The error in [`Map::table`] for a map that never had a table.
pub const NO_TABLE: &str = "it has no live table";

/// A dm device as found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// dm name.
    pub name: String,
    /// dm UUID, `mpath-3600...`.
    pub uuid: String,
    /// Its own device number.
    pub dev: DevT,
    /// The event counter of the map; table swaps are not counted.
    pub event_nr: u32,
    /// How often it is open. Maps of its partitions are not counted if they are not open themselves.
    pub open_count: u32,
    /// Suspended: no I/O runs.
    pub suspended: bool,
    /// Read-only: its table was loaded so, or something set it so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Live table: the multipath target, or why the table could not be read as one.
    pub table: Result<Table, String>,
    /// Status of the multipath target, or why it could not be read.
    pub status: Result<Status, String>,
}

#[cfg(test)]
impl Map {
    /// A map that is open and has this table, for tests.
    pub(crate) fn sample(name: &str, uuid: &str, table: Result<Table, String>) -> Map {
        Map {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            dev: DevT {
                major: 253,
                minor: 0,
            },
            event_nr: 0,
            open_count: 1,
            suspended: false,
            read_only: false,
            table,
            status: Err("not read".to_owned()),
        }
    }
}

impl Map {
    /// Whether the map never had a table: its creator was stopped before it loaded one.
    #[must_use]
    pub(crate) fn is_shell(&self) -> bool {
        self.table.as_ref().is_err_and(|why| why == NO_TABLE)
    }
}

/// A message to the multipath target of a live map (`DM_TARGET_MSG`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Hold I/O while there is no path.
    QueueIfNoPath,
    /// Fail I/O while there is no path.
    FailIfNoPath,
    /// Fail the path.
    FailPath(DevT),
    /// Reinstate the path.
    ReinstatePath(DevT),
    /// Use this group, numbered from 1, from the next I/O on. Clears the bypass of all groups.
    SwitchGroup(u32),
    /// Use this group, numbered from 1, only if no other group has a path.
    DisableGroup(u32),
    /// Undo `DisableGroup` for this group, numbered from 1.
    EnableGroup(u32),
}
