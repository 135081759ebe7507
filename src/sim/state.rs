//! The state of a simulated host: what [`super::kernel`], [`super::maps`] and [`super::udev`] change.

use super::array::{Array, UnitId};
use super::dm::{Multipath, Series};
use super::rng::Rng;
use crate::psa::action::MapStep;
use crate::psa::event::{DmStep, Event, Reply};
use crate::psa::facts::{PathFacts, Usage};
use crate::psa::memory::Memory;
use crate::psa::names::Wwid;
use crate::psa::table::model::{Map, MapId, Message, Table};
use crate::psa::takeover::StoredTakeover;
use crate::psa::units::{DevT, Hctl, Millis, Sg};
use crate::scsi::cdb::Command;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Range of the duration of each operation, in milliseconds: minimum, maximum.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A SCSI command.
    pub command: (u64, u64),
    /// A step on a map.
    pub step: (u64, u64),
    /// The delivery of an event to the world. Events about one map stay in order.
    pub event: (u64, u64),
}

impl Pace {
    /// Every operation takes one millisecond: for examples that are meant to be read.
    pub const STEADY: Pace = Pace {
        command: (1, 1),
        step: (1, 1),
        event: (1, 1),
    };
    /// Operations vary in duration, so that they overtake each other.
    pub const VARIED: Pace = Pace {
        command: (1, 40),
        step: (1, 60),
        event: (0, 300),
    };
}

/// The state of the connection to the target port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Commands get through.
    Up,
    /// Commands return immediately: the rport is gone, the session lost.
    Down,
    /// Commands do not return.
    Hung,
}

/// A SCSI disk of the host.
#[derive(Debug, Clone)]
pub struct Disk {
    pub(super) facts: PathFacts,
    pub(super) link: Link,
    /// I/O fails although commands are answered.
    pub(super) sick: bool,
    /// A command is still in flight although its examination has ended.
    pub(super) orphan: bool,
    /// Its handler considered it passive when it was found, and no activation has found it active since.
    pub(super) passive: bool,
    /// The examination with a command in flight while the path hangs.
    pub(super) waiting: Option<Box<Run>>,
    /// Ticket of the examination in progress.
    pub(super) examined: Option<u64>,
}

impl Disk {
    /// Its device number.
    #[must_use]
    pub fn dev(&self) -> DevT {
        self.facts
            .block
            .as_ref()
            .map_or(DevT { major: 0, minor: 0 }, |block| block.dev)
    }

    /// Its facts, as sysfs shows them.
    #[must_use]
    pub fn facts(&self) -> &PathFacts {
        &self.facts
    }

    /// The state of the connection to the target port.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// Whether I/O fails although commands are answered.
    #[must_use]
    pub fn is_sick(&self) -> bool {
        self.sick
    }

    /// The users of the disk other than dm-multipath.
    #[must_use]
    pub fn usage(&self) -> &[Usage] {
        self.facts
            .block
            .as_ref()
            .map_or(&[], |block| block.usage.as_slice())
    }
}

/// An examination in progress.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) path: Hctl,
    pub(super) sg: Sg,
    pub(super) ticket: u64,
    /// The first one is in flight.
    pub(super) commands: VecDeque<Command>,
    pub(super) replies: Vec<Reply>,
    pub(super) deadline: Millis,
    pub(super) sent: Millis,
}

/// An event that is scheduled.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    Deliver(Event),
    Command(Box<Run>),
    /// The agent stops waiting for the command that it sent at this time (the last field).
    Deadline(Hctl, u64, Millis),
    Step(Box<Job>),
    /// The agent reads a map because of a dm event.
    Observe(String),
    /// udev's rules run for an event on a map.
    Udev(String, MapEvent),
}

/// Record of what happened, for the assertions of a test.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Writes that reached their logical unit.
    pub writes: u64,
    /// I/O errors that a user of a map got: time and map.
    pub io_errors: Vec<(Millis, String)>,
    /// Writes that the array rejected because the LUN is write-protected on the path that was used.
    pub refused_writes: u64,
    /// Writes that reached a logical unit other than that of the map: time, map and path.
    pub wrong_writes: Vec<(Millis, String, Hctl)>,
    /// The longest time between the remapping of a LUN and a write that reached the wrong unit through it.
    pub longest_exposure: Millis,
    /// The longest time that I/O to a map was stalled.
    pub longest_stall: Millis,
    /// Number of tables that became live.
    pub tables: u64,
    /// Number of messages sent to maps.
    pub messages: u64,
    /// When a map was switched to failing I/O without a path, by message or by table.
    pub queueing_ended: Vec<(Millis, String)>,
    /// Examinations carried out.
    pub examinations: u64,
    /// Rules of the interface that the world violated.
    pub violations: Vec<String>,
}

/// A host and the array behind it.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The array.
    pub array: Array,
    /// Durations of operations.
    pub pace: Pace,
    /// A path that recovers reports the loss of its nexus (29/07), as FC and iSCSI do.
    pub nexus_loss: bool,
    /// Device handlers are loaded: a disk with TPGS gets `alua`.
    pub handlers: bool,
    /// A disk appears and disappears in two steps: the SCSI device without its disk, and the complete device.
    pub staged: bool,
    /// I/O errors are reported. This is `false` for a host without tracing.
    pub reports_io: bool,
    /// udev reads from a map as soon as it considers the map usable.
    pub udev_reads: bool,
    /// How many of the next observations of maps, after steps on them, fail because memory is short.
    pub unreadable_maps: u32,
    /// Record of what happened.
    pub ledger: Ledger,
    /// When the LUN of a path was last remapped.
    pub repointed: BTreeMap<Hctl, Millis>,
    /// The memory that the agent has stored.
    pub memory: Memory,
    /// The time since which maps have had no usable path, as the agent has stored it.
    pub(super) outages: BTreeMap<Wwid, Millis>,
    /// Disks that are not SCSI disks, with their kind.
    pub(super) others: BTreeMap<DevT, String>,
    /// Paths whose disks udev has not processed yet.
    pub(super) unprocessed: BTreeSet<Hctl>,
    /// The takeover budgets that the agent has stored, with the time of storing.
    pub(super) takeovers: (Millis, BTreeMap<Wwid, StoredTakeover>),
    pub(super) series: Series,
    pub(super) disks: BTreeMap<Hctl, Disk>,
    /// The facts that a path gets when it is found again, by address.
    pub(super) templates: BTreeMap<Hctl, PathFacts>,
    pub(super) devs: BTreeMap<DevT, Hctl>,
    pub(super) maps: BTreeMap<String, SimMap>,
    /// Names of device-mapper devices that are no multipath maps.
    pub(super) taken_names: BTreeSet<String>,
    /// The name of a map by its UUID.
    pub(super) names: BTreeMap<String, String>,
    /// The map that has a disk open.
    pub(super) holders: BTreeMap<DevT, String>,
    /// Groups of units whose handler is configured to avoid STPGs.
    pub(super) optimize: BTreeSet<(UnitId, u16)>,
    /// Table loads to be rejected: by map UUID, the errno and the number of loads.
    pub(super) refusals: BTreeMap<String, (i32, u32)>,
    /// Maps on which no steps are taken, by UUID, with the jobs that wait for them.
    pub(super) jams: BTreeMap<String, Vec<Job>>,
    pub(super) marks: BTreeMap<DevT, bool>,
    pub(super) queue: BTreeMap<(Millis, u64), Pending>,
    pub(super) asked: u64,
    pub(super) last_uevent: Millis,
    pub(super) next_disk: u32,
    pub(super) next_map: u32,
    pub(super) rng: Rng,
}

/// A map with its state.
#[derive(Debug, Clone)]
pub struct SimMap {
    /// The map itself.
    pub dm: Multipath,
    /// Ticket of the action in progress.
    pub(super) busy: Option<u64>,
    /// The disks that it has open: those in its tables.
    pub(super) held: BTreeSet<DevT>,
    pub(super) observation_due: bool,
    /// When the last event about the map is delivered: later ones must not overtake it.
    pub(super) last_event: Millis,
    /// The time since which I/O is stalled.
    pub stalled_since: Option<Millis>,
    /// The path that an I/O hangs on, and since when.
    pub(super) stuck: Option<(DevT, Millis)>,
    /// The logical unit that the first write went to. Two units may have the same identity.
    pub(super) unit: Option<UnitId>,
    /// What udev knows about it.
    pub(super) udev: Knowledge,
}

impl SimMap {
    /// The map as the ioctls show it. A user that waits for I/O has it open.
    #[must_use]
    pub fn observe(&self) -> Map {
        let mut map = self.dm.observe();
        map.open_count = self.users();
        map
    }

    /// The number of users that have it open.
    pub(super) fn users(&self) -> u32 {
        self.dm.users().max(self.stalled_since.is_some().into())
    }

    /// Records that an event was raised; returns whether it is the first that the agent has not read.
    pub(super) fn becomes_due(&mut self) -> bool {
        !std::mem::replace(&mut self.observation_due, true)
    }

    pub(super) fn new(dm: Multipath) -> SimMap {
        SimMap {
            dm,
            busy: None,
            held: BTreeSet::new(),
            observation_due: false,
            last_event: Millis(0),
            stalled_since: None,
            stuck: None,
            unit: None,
            udev: Knowledge::default(),
        }
    }
}

/// The steps of an action, split where time passes between them.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) map: MapId,
    pub(super) ticket: u64,
    pub(super) todo: VecDeque<Act>,
    /// This action created the map.
    pub(super) made: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    New,
    Load(Box<Table>, bool),
    Resume(Option<Cookie>),
    Message(Message),
    Remove,
}

impl Act {
    pub(super) fn step(&self) -> DmStep {
        match self {
            Act::New => DmStep::Create,
            Act::Load(..) => DmStep::Load,
            Act::Resume(_) => DmStep::Resume,
            Act::Message(message) => DmStep::Message(message.to_string()),
            Act::Remove => DmStep::Remove,
        }
    }
}

impl Job {
    pub(super) fn new(map: MapId, ticket: u64, steps: Vec<MapStep>) -> Job {
        let mut todo = VecDeque::new();
        for step in steps {
            match step {
                MapStep::Create {
                    table,
                    usable,
                    read_only,
                } => {
                    let cookie = Cookie {
                        reload: false,
                        usable,
                    };
                    todo.extend([
                        Act::New,
                        Act::Load(Box::new(table), read_only),
                        Act::Resume(Some(cookie)),
                    ]);
                }
                MapStep::Reload {
                    table,
                    usable,
                    read_only,
                } => {
                    let cookie = Cookie {
                        reload: true,
                        usable,
                    };
                    todo.extend([
                        Act::Load(Box::new(table), read_only),
                        Act::Resume(Some(cookie)),
                    ]);
                }
                MapStep::Resume => todo.push_back(Act::Resume(None)),
                MapStep::Message(message) => todo.push_back(Act::Message(message)),
                MapStep::Remove => todo.push_back(Act::Remove),
                MapStep::Observe => {}
            }
        }
        Job {
            map,
            ticket,
            todo,
            made: false,
        }
    }
}

/// What a resume passes to the rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookie {
    /// FLAG0: the map existed before.
    pub(super) reload: bool,
    /// FLAG2 is not set: there is a path to read through.
    pub(super) usable: bool,
}

/// What the rules store about a map.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Knowledge {
    /// Its device node exists: users may open it.
    pub(super) known: bool,
    /// MPATH_DEVICE_READY.
    pub(super) ready: bool,
    /// DM_PSA_OWED.
    pub(super) owed: bool,
}

/// An event on a map, as the rules see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapEvent {
    pub(super) news: bool,
    pub(super) unusable: bool,
    pub(super) ask: bool,
    /// DM_ACTION=PATH_FAILED: must not make a map usable that was not usable before.
    pub(super) failed: bool,
}
