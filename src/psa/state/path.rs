//! A path: one SCSI device of this host, the facts about it and its states.

use crate::psa::action::PortTimers;
use crate::psa::adapter::RuntimeName;
use crate::psa::claim::Claim;
use crate::psa::evidence::{Class, Judgement, Link, PathState};
use crate::psa::facts::PathFacts;
use crate::psa::mpp::Plugin;
use crate::psa::state::hints::Hints;
use crate::psa::state::proof::Proof;
use crate::psa::state::statistics::PathStatistics;
use crate::psa::units::{DevT, Millis, Sectors};
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::outcome::Outcome;
use crate::scsi::ownership::Ownership;
use serde::{Deserialize, Serialize};

/// Whether a path works by all that is known of it, and nothing is to be found out.
pub(in crate::psa) fn is_well(path: &Path) -> bool {
    path.judged
        && path.answers.ready == Some(Outcome::Good)
        && path.link == Link::Up
        && path.proof.may_carry_io()
        && path.suspect_since.is_none()
        && path.lost_at.is_none()
        && path.failed_since.is_none()
        && path.marginal.is_none()
        && !path.again
        && !path.reread_owed
        && is_online(path)
        && path.facts.device_state == RUNNING
}

/// Whether the target port is there to all that sysfs says, where the transport has one.
pub(in crate::psa) fn is_online(path: &Path) -> bool {
    let port = path.facts.target.port_state.as_deref();
    matches!(port, None | Some("Online" | "LOGGED_IN"))
}

/// sysfs `state` of a SCSI device that takes commands.
pub(in crate::psa) const RUNNING: &str = "running";

/// How a path came to be marginal, and since when it has worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marginal {
    /// Why, for a person.
    pub reason: String,
    /// When it was seen to be down last; for a port that is held as marginal, when that was seen last.
    pub last: Millis,
}

/// An examination under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exam {
    /// Its ticket.
    pub ticket: u64,
    /// When it was asked for.
    pub sent: Millis,
    /// What it is for.
    pub stage: Stage,
    /// READ CAPACITY is among the commands.
    #[serde(default)]
    pub measures: bool,
}

/// What an examination is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// What kind of device is it?
    Inquiry,
    /// Which logical unit is it, and in which state?
    Identify,
    /// Is it still well?
    Check,
}

/// The last good answers of a path, as they came in: for an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// How TEST UNIT READY ended.
    pub ready: Option<Outcome>,
    /// The vendor's page that names the owner.
    pub owner: Vec<u8>,
}

/// A path as the world knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Path {
    /// What sysfs says.
    pub facts: PathFacts,
    /// Its runtime name.
    pub name: RuntimeName,
    /// Standard INQUIRY data, once read.
    pub inquiry: Option<StandardInquiry>,
    /// Which logical unit is behind it, and how sure that is.
    pub proof: Proof,
    /// WWID of the device that it belongs to.
    pub device: Option<String>,
    /// Target port group, from VPD 83.
    pub port_group: Option<u16>,
    /// Relative target port, from VPD 83.
    pub relative_port: Option<u16>,
    /// What the controller behind it is to the logical unit, where the array has a page for that.
    pub ownership: Option<Ownership>,
    /// Whether the unit takes no writes through it, as MODE SENSE told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_protected: Option<bool>,
    /// Why no table of its device can hold its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
    /// While its access state changes: when that should have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition_until: Option<Millis>,
    /// Its LUN repeats the identity of another LUN of the same target port.
    #[serde(default)]
    pub repeats: bool,
    /// What READ CAPACITY said through it, if that is newer than what the kernel read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Sectors>,
    /// The next check is to ask for READ CAPACITY.
    #[serde(default)]
    pub measure: bool,
    /// When the last examination was sent that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Millis>,
    /// When its size became what it is.
    #[serde(default)]
    pub sized_at: Millis,
    /// What it answered last, in bytes.
    pub answers: Answers,
    /// Who owns it.
    pub claim: Option<Claim>,
    /// It is to be claimed anew by the next run of the rules.
    pub unclaimed: bool,
    /// What TEST UNIT READY said last.
    pub link: Link,
    /// What the SATP makes of it.
    pub judgement: Judgement,
    /// It was judged since its device was looked at last. Whatever changes what its judgement rests on has the device
    /// looked at too, so until then the same answer means the same.
    #[serde(default)]
    pub judged: bool,
    /// The examination under way.
    pub exam: Option<Exam>,
    /// While the logical unit is gone for good: when the examination was sent that said so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Millis>,
    /// Something happened since the examination was sent: examine again when it ends.
    pub again: bool,
    /// When it was asked last whether it is ready.
    #[serde(default)]
    pub ready_at: Millis,
    /// The kernel is to read its disk again as soon as that moves nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reread_owed: bool,
    /// It refused the extended header of REPORT TARGET PORT GROUPS, as SPC-3 arrays do: it is asked without.
    pub short_header: bool,
    /// Why the states of the port groups could not be read through it last; told once.
    pub report_problem: Option<String>,
    /// The next check is to ask for the states of the port groups whatever path usually does.
    pub ask_groups: bool,
    /// The kernel failed the path at this time; only an examination sent later clears it.
    pub suspect_since: Option<Millis>,
    /// When the kernel failed it last.
    pub failed_at: Millis,
    /// Not serving I/O since then.
    pub failed_since: Option<Millis>,
    /// How often the kernel failed it while checks said that it is well.
    pub relapses: u32,
    /// When the kernel failed it last.
    pub last_relapse: Millis,
    /// Not to be reinstated before, because of its relapses.
    pub hold_until: Millis,
    /// Its last failures, at most as many as make it marginal.
    pub failures: Vec<Millis>,
    /// It fails too often.
    pub marginal: Option<Marginal>,
    /// Errors of its ordinary I/O.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hints: Option<Box<Hints>>,
    /// When it, or another port of its group, told the states of the port groups last.
    pub reported_at: Option<Millis>,
    /// The mark that udev was given.
    pub marked: Option<bool>,
    /// The timers of its target port, as they were asked for.
    pub port_timers: Option<PortTimers>,
    /// When the host was told to give its SCSI device up.
    pub withdrawn_at: Option<Millis>,
    /// When it became what it is, for people.
    pub since: Millis,
    /// What was counted.
    pub statistics: PathStatistics,
}

impl Path {
    /// A path that was just seen.
    #[must_use]
    pub fn new(facts: PathFacts, name: RuntimeName, now: Millis) -> Path {
        Path {
            facts,
            name,
            inquiry: None,
            proof: Proof::default(),
            device: None,
            port_group: None,
            relative_port: None,
            ownership: None,
            write_protected: None,
            mismatch: None,
            transition_until: None,
            repeats: false,
            measured: None,
            measure: false,
            measured_at: None,
            sized_at: now,
            answers: Answers::default(),
            claim: None,
            unclaimed: false,
            link: Link::Unchecked("not checked yet".to_owned()),
            judged: false,
            judgement: Judgement {
                state: PathState::Unknown,
                reason: "not checked yet".to_owned(),
                class: None::<Class>,
            },
            exam: None,
            lost_at: None,
            again: false,
            ready_at: Millis(0),
            reread_owed: false,
            ask_groups: false,
            short_header: false,
            report_problem: None,
            suspect_since: None,
            failed_at: Millis(0),
            failed_since: None,
            relapses: 0,
            last_relapse: Millis(0),
            hold_until: Millis(0),
            failures: Vec::new(),
            marginal: None,
            hints: None,
            reported_at: None,
            marked: None,
            port_timers: None,
            withdrawn_at: None,
            since: now,
            statistics: PathStatistics::default(),
        }
    }

    /// Number of its disk.
    #[must_use]
    pub fn dev(&self) -> Option<DevT> {
        self.facts.block.as_ref().map(|block| block.dev)
    }

    /// Whether it is taken away: no table holds it.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.claim.is_some_and(|c| c.plugin == Plugin::MaskPath)
    }

    /// Whether it may stand in a table: not if it is masked, nor before it was claimed at all.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let waits = self.unclaimed && self.claim.is_none();
        !self.is_masked() && !waits
    }

    /// Whether no I/O may go to it: another unit answers, or its disk is not like those of the other paths.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.proof.is_quarantined() || self.mismatch.is_some()
    }

    /// Whether I/O goes to it only while there is no other choice: it gives no answer, or what it was proven to be is in
    /// doubt.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        matches!(self.link, Link::NoAnswer(_)) || self.proof.is_stale()
    }

    /// The size of its logical unit, as far as it is known: a disk that cannot be read yet has size 0.
    #[must_use]
    pub fn size(&self) -> Option<Sectors> {
        let block = self.facts.block.as_ref().map(|block| block.size);
        self.measured.or(block).filter(|size| size.0 != 0)
    }

    /// Whether it was asked for its size since then, whatever came of it.
    #[must_use]
    pub fn is_measured(&self, since: Millis) -> bool {
        self.measured_at.is_some_and(|at| at >= since)
    }

    /// Whether READ CAPACITY is asked for, and not answered yet.
    #[must_use]
    pub fn is_being_measured(&self) -> bool {
        self.measure || self.exam.is_some_and(|exam| exam.measures)
    }

    /// Whether the kernel holds its disk for read-only; `None` without a disk.
    #[must_use]
    pub fn is_read_only(&self) -> Option<bool> {
        self.facts.block.as_ref().map(|block| block.read_only)
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> PathState {
        self.judgement.state
    }
}
