//! Storage array type plug-ins: what a path's evidence means for one class of array.
//!
//! Input: the evidence on a path and its device. Output: a [`Judgement`], a hardware handler for the table, and the
//! configuration strings that esxcli shows. A SATP is added by one file and one line in [`all`].

mod active_active;
mod active_passive;
pub mod alua;
mod alua_cx;
mod local;
pub mod options;
mod rule;
mod rule_check;
pub mod rules;

use super::path::{Handler, PathState};
use super::psp::PspKind;
use super::table::model::HardwareHandler;
use crate::scsi::inquiry::Tpgs;
use crate::scsi::ownership::Ownership;
use crate::scsi::sense::{Sense, SenseMeaning};
use crate::scsi::tpgs::{AccessState, StatusCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the last TEST UNIT READY on a path said of the path itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// Not checked since the path appeared, or not since its I/O failed.
    Unchecked(String),
    /// The logical unit answers through it.
    Up,
    /// The target port answers and says in which access state it is.
    Refused(AccessState, Sense),
    /// The logical unit answers and is not ready: the reason.
    NotReady(Sense),
    /// The logical unit is gone for good: PDL sense.
    PermanentLoss(Sense),
    /// No answer within the deadline; the command is still out.
    NoAnswer(String),
    /// The path is down: why.
    Down(String),
}

impl Link {
    /// Whether nothing comes through it, by no will of the array.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Link::Down(_) | Link::NoAnswer(_) | Link::Unchecked(_))
    }
}

/// What is known of a target port group of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortGroup {
    /// Last reported access state.
    pub access: AccessState,
    /// The last state other than transitioning: what the group is treated as while it changes.
    pub settled: Option<AccessState>,
    /// PREF.
    pub preferred: bool,
    /// Why it is in this state.
    pub status_code: StatusCode,
}

/// Everything that a SATP may judge a path by.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// INQUIRY TPGS.
    pub tpgs: Tpgs,
    /// Target port group of the path, from VPD 83.
    pub port_group: Option<u16>,
    /// Relative target port of the path, from VPD 83.
    pub relative_port: Option<u16>,
    /// The port groups of the device as last reported.
    pub groups: &'a BTreeMap<u16, PortGroup>,
    /// The state of the link.
    pub link: &'a Link,
    /// What the array's own page says of the controller behind the path.
    pub ownership: Option<Ownership>,
    /// Kernel's device handler.
    pub handler: &'a Handler,
}

/// In which order groups of paths are used; the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// First choice.
    Optimized,
    /// Second choice.
    NonOptimized,
    /// After activation.
    Standby,
    /// Never by choice: unavailable or offline port groups.
    Last,
}

impl Class {
    /// The state of a path of this class whose link is up.
    fn state(self) -> PathState {
        match self {
            Class::Optimized => PathState::Active,
            Class::NonOptimized => PathState::ActiveUnoptimized,
            Class::Standby => PathState::Standby,
            Class::Last => PathState::Dead,
        }
    }
}

/// What a SATP says of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Its state.
    pub state: PathState,
    /// Why, for a person; empty when there is nothing to say.
    pub reason: String,
    /// To which group of paths it belongs. A dead path keeps its class, so that a failure alone never changes the
    /// grouping; `None` while nothing is known.
    pub class: Option<Class>,
}

/// A storage array type plug-in.
pub trait Satp: Sync {
    /// `VMW_SATP_ALUA`
    fn name(&self) -> &'static str;
    /// The text of `satp list`.
    fn description(&self) -> &'static str;
    /// The PSP of its devices unless a rule or the admin says otherwise.
    fn default_psp(&self) -> PspKind;
    /// Whether it takes the device; if not, why not: then the next rule is tried.
    ///
    /// # Errors
    /// The reason, for a person.
    fn accepts(&self, evidence: &Evidence<'_>) -> Result<(), String>;
    /// Whether its devices are stacked under a map.
    fn is_stacked(&self) -> bool {
        true
    }
    /// Whether REPORT TARGET PORT GROUPS is part of a check.
    fn reports_port_groups(&self) -> bool {
        false
    }
    /// The VPD page of the array that is part of a check: it says which controller serves the logical unit.
    fn ownership_page(&self) -> Option<u8> {
        None
    }
    /// Whether one controller serves a logical unit at a time: if a path that waited serves, those of the other wait.
    fn is_exclusive(&self) -> bool {
        false
    }
    /// The state of a path.
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement;
    /// Whether a standby path can be made active by the host.
    fn can_activate(&self, _evidence: &Evidence<'_>) -> bool {
        false
    }
    /// Hardware handler for the table.
    fn handler(&self, _evidence: &Evidence<'_>) -> Option<HardwareHandler> {
        None
    }
    /// `Storage Array Type Device Config`.
    fn device_config(&self, _evidence: &Evidence<'_>) -> String {
        self.no_device_config()
    }
    /// ESXi's words for that there is none.
    fn no_device_config(&self) -> String {
        format!(
            "SATP {} does not support device configuration.",
            self.name()
        )
    }
    /// `Storage Array Type Path Config`.
    fn path_config(&self, _evidence: &Evidence<'_>) -> String {
        format!("SATP {} does not support path configuration.", self.name())
    }
}

/// The SATPs of this build, in ESXi's order of `satp list`.
#[must_use]
pub fn all() -> &'static [&'static dyn Satp] {
    static ALL: [&dyn Satp; 13] = [
        &alua::Alua,
        &active_passive::MSA,
        &active_passive::DEFAULT_AP,
        &active_active::SVC,
        &active_active::EQL,
        &active_active::INV,
        &active_passive::EVA,
        &alua_cx::AluaCx,
        &active_active::SYMM,
        &active_passive::CX,
        &active_passive::LSI,
        &active_active::DEFAULT_AA,
        &local::Local,
    ];
    &ALL
}

/// The handler for the table: what is attached already, for it cannot be detached, or this one; none on a kernel
/// that was built without handlers.
fn kernel_handler(evidence: &Evidence<'_>, name: &str, args: &[&str]) -> Option<HardwareHandler> {
    let handler = |name: &str, args: &[&str]| HardwareHandler {
        name: name.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
    };
    match evidence.handler {
        Handler::Unsupported => None,
        Handler::Attached(other) if other != name => Some(handler(other, &[])),
        Handler::Detached | Handler::Attached(_) => Some(handler(name, args)),
    }
}

/// The SATP of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Satp> {
    all().iter().copied().find(|satp| satp.name() == name)
}

/// A SATP in a text is its name.
pub(super) mod in_text {
    use super::{Satp, by_name};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(satp: &&'static dyn Satp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(satp.name())
    }

    /// # Errors
    /// This build has no such SATP.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'static dyn Satp, D::Error> {
        let name = String::deserialize(from)?;
        by_name(&name).ok_or_else(|| D::Error::custom(format!("there is no SATP {name}")))
    }
}

/// The judgement on the link alone, for arrays whose ports are all alike.
fn judge_link(link: &Link) -> Judgement {
    let (state, reason) = match link {
        Link::Up => (PathState::Active, String::new()),
        Link::Unchecked(why) | Link::NoAnswer(why) => (PathState::Unknown, why.clone()),
        Link::Refused(_, sense) | Link::NotReady(sense) => {
            (PathState::Dead, format!("TEST UNIT READY: {sense}"))
        }
        Link::PermanentLoss(sense) => (PathState::Dead, format!("permanent loss: {sense}")),
        Link::Down(why) => (PathState::Dead, why.clone()),
    };
    Judgement {
        state,
        reason,
        class: Some(Class::Optimized),
    }
}

/// What the outcome of TEST UNIT READY says of the link.
#[must_use]
pub fn link_from(outcome: &crate::scsi::outcome::Outcome) -> Link {
    use crate::scsi::outcome::Outcome;
    match outcome {
        // A busy or reserved logical unit answers, and so does one that recovered from an error: the path works.
        done if done.carried_out() => Link::Up,
        Outcome::Busy | Outcome::ReservationConflict => Link::Up,
        Outcome::CheckCondition(sense) => match sense.meaning() {
            SenseMeaning::AccessStateTransition => {
                Link::Refused(AccessState::Transitioning, *sense)
            }
            SenseMeaning::TargetPortStandby => Link::Refused(AccessState::Standby, *sense),
            SenseMeaning::TargetPortUnavailable => Link::Refused(AccessState::Unavailable, *sense),
            SenseMeaning::TargetPortOffline => Link::Refused(AccessState::Offline, *sense),
            SenseMeaning::PermanentLoss => Link::PermanentLoss(*sense),
            // The transport retried it already; a logical unit that goes on reporting attentions is there.
            SenseMeaning::UnitAttention(_) => Link::Up,
            _ => Link::NotReady(*sense),
        },
        Outcome::Overdue => {
            Link::NoAnswer("no answer to TEST UNIT READY within the deadline".to_owned())
        }
        other => Link::Down(format!("TEST UNIT READY: {other}")),
    }
}
