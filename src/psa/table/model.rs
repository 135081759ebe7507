//! The nouns of a multipath target line and of its status line.

use crate::psa::units::{DevT, Sectors};
use serde::{Deserialize, Serialize};

/// Every dm UUID of a multipath map begins so; the rest is the WWID.
pub const UUID_PREFIX: &str = "mpath-";

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
    /// Accepted and without effect since Linux 7; part of the table text before.
    pub retain_attached_hw_handler: bool,
    /// Activation rounds after the first, 1..=50.
    pub pg_init_retries: Option<u32>,
    /// Pause between activation rounds, 0..=60000 ms.
    pub pg_init_delay_msecs: Option<u32>,
    /// `None` is the kernel's default (request based).
    pub queue_mode: Option<QueueMode>,
    /// Words of a newer kernel, arguments among them, kept in their order so that they do not blind us: they are
    /// printed back and otherwise ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// How the kernel drives the paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueMode {
    /// Bio based: no request stacking, no device handler.
    Bio,
    /// Request based; `rq` and `mq` mean the same to every supported kernel.
    Rq,
    /// Request based.
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
    /// `service-time`, `round-robin`, `queue-length`, or one of a kernel we do not know.
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

/// What `dmsetup status` says of a multipath map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// I/O is held back (always so between a table load and the end of the first activation).
    pub queue_io: bool,
    /// Activations under way.
    pub pg_init_count: u32,
    /// The group in use or next to be used, from 1; 0 if there are no groups.
    pub group_now: u32,
    /// The groups in table order.
    pub groups: Vec<GroupStatus>,
}

impl Status {
    /// Whether the status was taken of this table: the same groups with the same paths, in the same order. Text of
    /// table and status are read one after the other, and a table may be swapped in between.
    #[must_use]
    pub fn belongs_to(&self, table: &Table) -> bool {
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
    /// Its letter.
    pub state: GroupState,
    /// Its paths in table order.
    pub paths: Vec<PathStatus>,
}

/// The state letter of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// `A`: in use.
    Active,
    /// `E`: may be used. Also what every group says before the first I/O.
    Enabled,
    /// `D`: bypassed, used only if no other group has a path. A group in use says `D` too while it is bypassed.
    Disabled,
}

/// What dm holds of one path: its own view, not that of the array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// Its block device.
    pub dev: DevT,
    /// `A` or `F`.
    pub active: bool,
    /// Failures since the table was loaded.
    pub fail_count: u32,
}

/// What [`Map::table`] says of a map that never got a table.
pub const NO_TABLE: &str = "it has no live table";

/// A dm device as it was found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map {
    /// dm name.
    pub name: String,
    /// dm UUID, `mpath-3600...`.
    pub uuid: String,
    /// Its own device number.
    pub dev: DevT,
    /// The event counter of the map; table swaps do not count.
    pub event_nr: u32,
    /// How many have it open; maps of its partitions that nobody has open do not count.
    pub open_count: u32,
    /// Suspended: no I/O runs.
    pub suspended: bool,
    /// Takes no writes: its table was loaded so, or somebody set it so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Live table: the multipath target, or why it could not be read as one.
    pub table: Result<Table, String>,
    /// Status of the multipath target, or why it could not be read.
    pub status: Result<Status, String>,
}

impl Map {
    /// Whether the map never got a table: whoever made it was stopped before it loaded one.
    #[must_use]
    pub fn is_shell(&self) -> bool {
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
    /// Take the path out of use.
    FailPath(DevT),
    /// Take the path into use again.
    ReinstatePath(DevT),
    /// Use this group from the next I/O on; clears the bypass of all groups. From 1.
    SwitchGroup(u32),
    /// Use this group only if no other has a path. From 1.
    DisableGroup(u32),
    /// Undo `DisableGroup`. From 1.
    EnableGroup(u32),
}
