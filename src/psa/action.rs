//! What to do: the whole output vocabulary of [`super::world::World`].

use super::table::model::{Message, Table};
use super::takeover::StoredTakeover;
use super::units::{DevT, Hctl, Millis, Sg};
use crate::scsi::cdb::Commands;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Something to be done by the agent. Each is answered by an [`super::event::Event`] where the variant says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Send commands down a path, one after the other; answered by `Examined`. The world has at most one
    /// examination per path outstanding.
    Examine {
        /// The path.
        path: Hctl,
        /// Its pass-through device, `sg3`.
        sg: Sg,
        /// Comes back in the answer.
        ticket: u64,
        /// The commands, in order.
        commands: Commands,
        /// Time for each command, counted by the kernel from its dispatch; then it is aborted.
        timeout: Millis,
        /// Time for each command, counted by the agent from its sending; then the examination ends with
        /// [`crate::scsi::outcome::Outcome::Overdue`], and the command stays out.
        deadline: Millis,
    },
    /// Change a map; answered by `MapDone`. The world has at most one such action per map outstanding.
    Map {
        /// dm name.
        name: String,
        /// dm UUID.
        uuid: String,
        /// Comes back in the answer.
        ticket: u64,
        /// The steps, in order; the first failure ends them.
        steps: Vec<MapStep>,
    },
    /// Read the facts of a path again; answered by `PathSeen` or `PathGone`.
    RefreshFacts(Hctl),
    /// Take a SCSI device that nobody uses away from the host; `PathGone` follows.
    DeleteDevice {
        /// The device.
        path: Hctl,
        /// The disk that it has: another is left alone, and so is one that is in use when it comes to that.
        dev: DevT,
    },
    /// Store for which devices (by WWID) no path is usable, and how long that has lasted: what an agent that starts later
    /// gets back by `OutagesRecalled`, until the host boots.
    StoreOutages(BTreeMap<String, Millis>),
    /// Store the takeover budgets of devices (by WWID), which an agent that starts later gets back by `TakeoversRecalled`,
    /// until the host boots.
    StoreTakeovers(BTreeMap<String, StoredTakeover>),
    /// Ask the kernel what these disks in tables of maps are; answered by `DisksFound`.
    LookUpDisks(BTreeSet<DevT>),
    /// Set how long the kernel holds I/O back when the target port of a path is lost.
    SetPortTimers {
        /// The path.
        path: Hctl,
        /// The timers.
        timers: PortTimers,
    },
    /// Have the kernel read the capacity of a device again; `PathSeen` follows if it changed.
    RescanDevice(Hctl),
    /// Have an HBA look whether there is a device at this address; `PathSeen` follows if so.
    ScanFor(Hctl),
    /// Tell udev whose disk this is: store the mark that `dm-psa-id` reads, and raise a `change` uevent.
    MarkOwner {
        /// The disk.
        dev: DevT,
        /// Kernel name, `sdc`.
        name: String,
        /// `true`: a path of ours, hidden from other users. `false`: left to the host.
        owned: bool,
    },
    /// Forget the mark of a disk that is gone.
    ForgetOwner(DevT),
    /// Store what early boot and the next start need.
    Remember(Box<super::memory::Memory>),
    /// Have every SCSI command reported that ends with an error, for so long, not only the errors that requests end with;
    /// answered by `IoTrouble`, or by nothing where the kernel cannot.
    WatchClosely(Millis),
    /// Notify users.
    Notify(Notice),
}

/// Timers of a remote port or session of the kernel, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTimers {
    /// `fast_io_fail_tmo`, `recovery_tmo`: then I/O fails and goes to another path.
    pub fast_io_fail: u32,
    /// A timer that is shorter already is left as it is.
    pub at_most: bool,
    /// `dev_loss_tmo`: then the devices behind the port are removed.
    pub dev_loss: Option<u32>,
}

/// One step on a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapStep {
    /// Create the map with this first table and resume it; leaves no empty map behind if that fails.
    Create {
        /// The table.
        table: Table,
        /// As of [`MapStep::Reload`]: the first read of a map is udev's, and would have the array move the unit if all
        /// paths wait.
        #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
        usable: bool,
        /// Whether the map takes no writes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_only: bool,
    },
    /// Load the table and make it live by one resume with NOFLUSH and SKIP_LOCKFS.
    Reload {
        /// The table.
        table: Table,
        /// Whether any path serves I/O: tells the udev rules not to probe a map without paths.
        usable: bool,
        /// Whether the map takes no writes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_only: bool,
    },
    /// Resume a map that somebody left suspended.
    Resume,
    /// Send a message to the target.
    Message(Message),
    /// Remove the map if nobody has it open.
    Remove,
    /// Nothing but the observation that ends every list of steps.
    Observe,
}

/// A new map is usable unless something else is written down.
fn yes() -> bool {
    true
}

/// A log event: one line, a stable code, what it is about, and key=value details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// Stable code, `PATH_STATE`: one of [`super::codes::CODES`].
    pub code: String,
    /// The device, path or map it is about: also the key for rate limiting.
    pub subject: String,
    /// Details in the order of printing.
    pub details: Vec<(String, String)>,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Data or access is in danger.
    Error,
    /// Redundancy is lost, or something was refused.
    Warning,
    /// A change that an admin wants to find in the log.
    Info,
}
