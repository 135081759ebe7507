//! What happened: the whole input vocabulary of [`super::world::World`].
//!
//! Adapters turn uevents, sg completions, dm events and timers into these and nothing else. SCSI replies come as raw
//! bytes, because parsing is a decision too: the replay of a recorded run goes through the same parser.

use super::change::Change;
use super::names::Wwid;
use super::table::model::Map;
use super::takeover::StoredTakeover;
use super::units::{DevT, FormError, Hctl, Millis};
use crate::psa::facts::{DiskKind, PathFacts};
use crate::psa::rules::Rules;
use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A path is present: a new path, or one whose facts were read again.
    PathSeen(Box<PathFacts>),
    /// The SCSI device was removed.
    PathGone(Hctl),
    /// A full enumeration ended; every path that is not in the set is gone.
    PathsListed(BTreeSet<Hctl>),
    /// A unit attention was reported on a path. The kernel raises the `SDEV_UA` uevent no matter who sent the command
    /// that received the sense data.
    UnitAttention {
        /// The path that reported it.
        path: Hctl,
        /// Which unit attention.
        kind: UnitAttention,
    },
    /// The fabric reported to a SCSI host by FPIN that remote ports, or ports of the host itself, are degraded.
    FabricNotification {
        /// The SCSI host.
        host: u32,
        /// Names of the ports (WWPN).
        ports: BTreeSet<u64>,
        /// What is wrong, as text for the user.
        what: String,
    },
    /// The kernel reported errors of ordinary I/O, all of the same kind, since the last such event.
    IoTrouble {
        /// What it reported.
        what: IoTrouble,
        /// How often.
        count: u64,
    },
    /// The kernel dropped this many reports of errors of ordinary I/O because they came too fast.
    IoTroubleLost(u64),
    /// The commands of an [`super::action::Action::Examine`] ended.
    Examined(Examination),
    /// A dm-multipath map was found or changed.
    MapSeen(Box<Map>),
    /// A map is gone, by its name.
    MapGone(String),
    /// A full listing of the multipath maps ended; every map that is not in the set is gone.
    MapsListed(BTreeSet<String>),
    /// The steps of an [`super::action::Action::Map`] ended; an observation of the map is included.
    MapDone {
        /// dm name.
        map: String,
        /// The ticket of the action.
        ticket: u64,
        /// The result of the steps. After a failure no further step was tried.
        result: Result<(), MapError>,
        /// The map as it is now; `None` if there is no such map.
        observed: Option<Box<Map>>,
    },
    /// What the kernel says of disks; answers [`super::action::Action::LookUpDisks`]. Disks that the kernel could not
    /// identify are left out.
    DisksFound(BTreeMap<DevT, DiskKind>),
    /// At the start of the agent: for which devices (by WWID) no path was usable when the previous agent ended, and for
    /// how long.
    OutagesRecalled(BTreeMap<Wwid, Millis>),
    /// The takeover budgets that a previous agent stored, by WWID, with the remaining waiting times.
    TakeoversRecalled(BTreeMap<Wwid, StoredTakeover>),
    /// New rules take effect.
    RulesLoaded(Box<Rules>),
    /// The admin changed something.
    Change(Box<Change>),
    /// A moment for which [`super::world::World::next_deadline`] asked has come.
    Timer,
}

impl Event {
    /// The name of the event, for statistics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Event::PathSeen(_) => "path_seen",
            Event::PathGone(_) => "path_gone",
            Event::PathsListed(_) => "paths_listed",
            Event::UnitAttention { .. } => "unit_attention",
            Event::FabricNotification { .. } => "fabric_notification",
            Event::IoTrouble { .. } => "io_trouble",
            Event::IoTroubleLost(_) => "io_trouble_lost",
            Event::Examined(_) => "examined",
            Event::MapSeen(_) => "map_seen",
            Event::MapGone(_) => "map_gone",
            Event::MapsListed(_) => "maps_listed",
            Event::MapDone { .. } => "map_done",
            Event::OutagesRecalled(_) => "outages_recalled",
            Event::TakeoversRecalled(_) => "takeovers_recalled",
            Event::DisksFound(_) => "disks_found",
            Event::RulesLoaded(_) => "rules_loaded",
            Event::Change(_) => "change",
            Event::Timer => "timer",
        }
    }
}

/// The unit attentions for which the kernel raises uevents (`scsi_report_sense`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UnitAttention {
    /// 3F/03.
    InquiryDataHasChanged,
    /// 3F/0E.
    ReportedLunsDataHasChanged,
    /// 29/xx.
    PowerOnResetOccurred,
    /// 2A/01.
    ModeParametersChanged,
    /// 2A/06.
    AsymmetricAccessStateChanged,
    /// 2A/09.
    CapacityDataHasChanged,
    /// 38/07.
    ThinProvisioningSoftThresholdReached,
}

/// An error of ordinary I/O, as the kernel reports it. The commands of an examination are never among these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IoTrouble {
    /// The block layer failed a request (`block_rq_error`), after the retries of the lower layers.
    GivenUp {
        /// The disk.
        disk: DevT,
        /// The error of the request, as a positive `errno`.
        errno: i32,
    },
    /// A command ended with an error (`scsi_dispatch_cmd_done`); the kernel may send it again.
    Ended {
        /// The path.
        path: Hctl,
        /// How it ended. Older kernels (6.1) do not report the sense data.
        outcome: Outcome,
    },
    /// The kernel's timer for a command expired (`scsi_dispatch_cmd_timeout`).
    TimedOut(Hctl),
    /// The driver did not accept a command (`scsi_dispatch_cmd_error`).
    NotTaken(Hctl),
    /// The error handling of a SCSI host begins (`scsi_eh_wakeup`); it stops all I/O of that host.
    HostRecovers(u32),
}

/// What came back from a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// The path.
    pub path: Hctl,
    /// The ticket of the action. If it is not the latest ticket of the path, the examination is stale.
    pub ticket: u64,
    /// One reply for each command that was sent, in order. Commands after a transport failure are not sent.
    pub replies: Vec<Reply>,
}

/// The reply to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The command as it was sent.
    pub command: Command,
    /// How it ended.
    pub outcome: Outcome,
    /// The data that came in; empty unless the outcome is good.
    pub data: Vec<u8>,
}

/// Why a step on a map failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct MapError {
    /// The step.
    pub step: DmStep,
    /// `errno` of the kernel, if the kernel refused the step.
    pub errno: Option<i32>,
    /// The reason, as text for the user.
    pub reason: String,
}

impl MapError {
    /// `EEXIST`: of [`DmStep::Create`], a device-mapper device with this name or UUID exists.
    pub const EXISTS: i32 = 17;
}

/// A step on device-mapper that can fail by itself: creating or reloading a map takes several. Its text is the same in
/// messages and in the journal: `load`, `message fail_path 8:16`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DmStep {
    /// Read the version of the interface.
    Version,
    /// List all devices.
    List,
    /// Ask to be notified of the next event.
    Arm,
    /// Read table and status of a map.
    Observe,
    /// Start the steps on a map.
    Start,
    /// Create a map without a table.
    Create,
    /// Load a table.
    Load,
    /// Resume a map, which makes a loaded table live.
    Resume,
    /// Send this message, as text.
    Message(String),
    /// Remove a map.
    Remove,
}

impl fmt::Display for DmStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DmStep::Version => "version",
            DmStep::List => "list",
            DmStep::Arm => "arm",
            DmStep::Observe => "observe",
            DmStep::Start => "start",
            DmStep::Create => "create",
            DmStep::Load => "load",
            DmStep::Resume => "resume",
            DmStep::Message(message) => return write!(f, "message {message}"),
            DmStep::Remove => "remove",
        })
    }
}

impl TryFrom<String> for DmStep {
    type Error = FormError;
    fn try_from(text: String) -> Result<DmStep, FormError> {
        Ok(match text.as_str() {
            "version" => DmStep::Version,
            "list" => DmStep::List,
            "arm" => DmStep::Arm,
            "observe" => DmStep::Observe,
            "start" => DmStep::Start,
            "create" => DmStep::Create,
            "load" => DmStep::Load,
            "resume" => DmStep::Resume,
            "remove" => DmStep::Remove,
            other => match other.strip_prefix("message ") {
                Some(message) => DmStep::Message(message.to_owned()),
                None => {
                    let form = "create, load, resume, message ..., remove";
                    return Err(FormError { text, form });
                }
            },
        })
    }
}

impl From<DmStep> for String {
    fn from(step: DmStep) -> String {
        step.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_its_text() {
        let steps = [
            DmStep::Version,
            DmStep::List,
            DmStep::Arm,
            DmStep::Observe,
            DmStep::Start,
            DmStep::Create,
            DmStep::Load,
            DmStep::Resume,
            DmStep::Message("fail_path 8:16".to_owned()),
            DmStep::Remove,
        ];
        for step in steps {
            let json = serde_json::to_string(&step).unwrap();
            assert_eq!(json, format!("\"{step}\""));
            assert_eq!(serde_json::from_str::<DmStep>(&json).unwrap(), step);
        }
        assert!(serde_json::from_str::<DmStep>("\"messages\"").is_err());
    }
}
