//! What to do: the whole output vocabulary of [`super::world::World`].

use super::names::Wwid;
use super::table::model::{MapId, Message, Table};
use super::takeover::StoredTakeover;
use super::units::{DevT, Hctl, Millis, Sg};
use crate::scsi::cdb::Commands;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something for the agent to do. Where the variant says so, an [`super::event::Event`] answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Send commands down a path, one after the other; answered by `Examined`. The world has at most one
    /// examination per path outstanding.
    Examine(Examine),
    /// Change a map; answered by `MapDone`. The world has at most one such action per map outstanding.
    Map {
        /// The map.
        #[serde(flatten)]
        map: MapId,
        /// Comes back in the answer.
        ticket: u64,
        /// The steps, in order; the first failure ends the list.
        steps: Vec<MapStep>,
    },
    /// Read the facts of a path again; answered by `PathSeen` or `PathGone`.
    RefreshFacts(Hctl),
    /// Remove a SCSI device from the host if nothing uses it; `PathGone` follows.
    DeleteDevice {
        /// The device.
        path: Hctl,
        /// The disk that the device has. The device is left alone if it has another disk by then, or if the disk is in
        /// use.
        dev: DevT,
    },
    /// Store for which devices (by WWID) no path is usable, and for how long. Until the next boot, an agent that starts
    /// later gets this back with `OutagesRecalled`.
    StoreOutages(BTreeMap<Wwid, Millis>),
    /// Store the takeover budgets of devices (by WWID). Until the next boot, an agent that starts later gets them back
    /// with `TakeoversRecalled`.
    StoreTakeovers(BTreeMap<Wwid, StoredTakeover>),
    /// Ask the kernel what these disks in tables of maps are; answered by `DisksFound`.
    LookUpDisks(BTreeSet<DevT>),
    /// Set how long the kernel holds back I/O when the target port of a path is lost.
    SetPortTimers {
        /// The path.
        path: Hctl,
        /// The timers.
        timers: PortTimers,
    },
    /// Have the kernel read the capacity of a device again; `PathSeen` follows if it changed.
    RescanDevice(Hctl),
    /// Have an HBA scan for a device at this address; `PathSeen` follows if there is one.
    ScanFor(Hctl),
    /// Record for udev who owns this disk: store the mark that `dm-psa-id` reads, and raise a `change` uevent.
    MarkOwner {
        /// The disk.
        dev: DevT,
        /// Kernel name, `sdc`.
        name: String,
        /// `true`: a path of dm-psa, hidden from other users. `false`: left to the host.
        owned: bool,
    },
    /// Delete the mark of a disk that is gone.
    ForgetOwner(DevT),
    /// Store what early boot and the next start need.
    Remember(Box<super::memory::Memory>),
    /// For this long, have the kernel report every SCSI command that ends with an error, not only the errors that block
    /// requests end with. `IoTrouble` events follow, or nothing where the kernel cannot report them.
    WatchClosely(Millis),
    /// Notify users.
    Notify(Notice),
}

/// The order for an examination. It passes from the world to the queue of the SCSI host as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examine {
    /// The path.
    pub path: Hctl,
    /// Its pass-through device, `sg3`.
    pub sg: Sg,
    /// Comes back in the answer.
    pub ticket: u64,
    /// The commands, in order.
    pub commands: Commands,
    /// The kernel's timeout for each command, from its dispatch on; then the command is aborted.
    pub timeout: Millis,
    /// The agent's timeout for each command, from sending on. Then the examination ends with
    /// [`crate::scsi::outcome::Outcome::Overdue`], and the command stays outstanding.
    pub deadline: Millis,
}

/// Timers of a remote port or session of the kernel, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTimers {
    /// `fast_io_fail_tmo` or `recovery_tmo`: after this time I/O fails and goes to another path.
    pub fast_io_fail: u32,
    /// A timer that is already shorter stays as it is.
    pub at_most: bool,
    /// `dev_loss_tmo`: after this time the devices behind the port are removed.
    pub dev_loss: Option<u32>,
}

/// One step on a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapStep {
    /// Create the map with this first table and resume it. If that fails, no empty map is left behind.
    Create {
        /// The table.
        table: Table,
        /// As in [`MapStep::Reload`]. When a map appears, udev reads it first. If all paths are waiting, that read
        /// would make the array move the unit.
        #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
        usable: bool,
        /// Whether the map is read-only.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_only: bool,
    },
    /// Load the table and make it live by one resume with NOFLUSH and SKIP_LOCKFS.
    Reload {
        /// The table.
        table: Table,
        /// Whether any path serves I/O. If not, the udev rules do not probe the map.
        usable: bool,
        /// Whether the map is read-only.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_only: bool,
    },
    /// Resume a map that another program left suspended.
    Resume,
    /// Send a message to the target.
    Message(Message),
    /// Remove the map if nothing has it open.
    Remove,
    /// Do nothing but observe the map, as every list of steps does at its end.
    Observe,
}

/// The default of `usable`: `true`.
fn yes() -> bool {
    true
}

/// A log event: one line, a stable code, what it is about, and key=value details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// Stable code, `PATH_STATE`: one of [`super::codes::CODES`]. A journal of another version may have others.
    pub code: String,
    /// The device, path or map that it is about; also the key for rate limiting.
    pub subject: String,
    /// Details, in the order in which they are printed.
    pub details: Vec<(String, String)>,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Data or access is in danger.
    Error,
    /// Redundancy is lost, or something was refused.
    Warning,
    /// A change that an admin may look for in the log.
    Info,
}
