//! What checks find out about a path, and how a SATP judges it: link, port group, class, state.

use crate::scsi::sense::{Sense, SenseMeaning};
use crate::scsi::tpgs::{AccessState, StatusCode};
use serde::{Deserialize, Serialize};

/// The state of a path in PSA's terms.
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
    /// Turned off by the admin.
    Off,
    /// Not yet judged, or the last check was inconclusive.
    Unknown,
    /// Owned by MASK_PATH.
    Masked,
}

impl PathState {
    /// The word that ESXi prints as `Group State`.
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

    /// Whether I/O that is sent down the path now is served.
    #[must_use]
    pub fn serves_io(self) -> bool {
        matches!(self, PathState::Active | PathState::ActiveUnoptimized)
    }
}

/// What the last TEST UNIT READY says about the path itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// Not checked since the path appeared, or since I/O on it failed: why.
    Unchecked(String),
    /// The logical unit answers through the path.
    Up,
    /// The target port answers, and reports this access state.
    Refused(AccessState, Sense),
    /// The logical unit answers, but is not ready: the sense data say why.
    NotReady(Sense),
    /// The logical unit is gone permanently: PDL sense data.
    PermanentLoss(Sense),
    /// No answer within the deadline; the command is still outstanding.
    NoAnswer(String),
    /// The path is down: why.
    Down(String),
}

impl Link {
    /// Whether no command gets through, other than by a decision of the array.
    #[must_use]
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Link::Down(_) | Link::NoAnswer(_) | Link::Unchecked(_))
    }
}

/// What is known of a target port group of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortGroup {
    /// The access state reported last.
    pub access: AccessState,
    /// The last state other than transitioning. The group is treated by it while its state changes.
    pub settled: Option<AccessState>,
    /// PREF.
    pub preferred: bool,
    /// Why it is in this state.
    pub status_code: StatusCode,
}

/// The order in which groups of paths are used; the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// First choice.
    Optimized,
    /// Second choice.
    NonOptimized,
    /// After activation.
    Standby,
    /// Never chosen voluntarily: port groups that are unavailable or offline.
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

/// How a SATP judges a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Its state.
    pub state: PathState,
    /// Why, as text for the user; empty when there is nothing to say.
    pub reason: String,
    /// The group of paths it belongs to; `None` while nothing is known. A dead path keeps its class, so that a failure
    /// alone never changes the grouping.
    pub class: Option<Class>,
}

/// What the outcome of TEST UNIT READY says about the link.
#[must_use]
pub fn link_from(outcome: &crate::scsi::outcome::Outcome) -> Link {
    use crate::scsi::outcome::Outcome;
    match outcome {
        // A logical unit that is busy, reserved, or reports a recovered error does answer: the path works.
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
            // The transport has already retried it. A logical unit that keeps reporting unit attentions is present.
            SenseMeaning::UnitAttention(_) => Link::Up,
            _ => Link::NotReady(*sense),
        },
        Outcome::Overdue => {
            Link::NoAnswer("no answer to TEST UNIT READY within the deadline".to_owned())
        }
        other => Link::Down(format!("TEST UNIT READY: {other}")),
    }
}
