//! What checks tell of a path, and what a SATP makes of that: link, port group, class, state.

use crate::scsi::sense::{Sense, SenseMeaning};
use crate::scsi::tpgs::{AccessState, StatusCode};
use serde::{Deserialize, Serialize};

/// The state of a path as PSA knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathState {
    /// Usable, first choice (ALUA active/optimized).
    Active,
    /// Usable, slower (ALUA active/non-optimized).
    ActiveUnoptimized,
    /// Usable after activation.
    Standby,
    /// No I/O gets through, or the target port refuses it.
    Dead,
    /// Taken out of use by the admin.
    Off,
    /// Not yet judged, or the last check gave no verdict.
    Unknown,
    /// Owned by MASK_PATH.
    Masked,
}

impl PathState {
    /// ESXi's `Group State` words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PathState::Active => "active",
            PathState::ActiveUnoptimized => "active unoptimized",
            PathState::Standby => "standby",
            PathState::Dead => "dead",
            PathState::Off => "off",
            PathState::Unknown => "unknown",
            PathState::Masked => "masked",
        }
    }

    /// Whether I/O sent down the path now is served.
    #[must_use]
    pub fn serves_io(self) -> bool {
        matches!(self, PathState::Active | PathState::ActiveUnoptimized)
    }
}

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
    pub(in crate::psa) fn state(self) -> PathState {
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
