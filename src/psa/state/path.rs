//! A path: one SCSI device of this host, with the facts about it and its states.

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

/// Whether everything that is known about a path says that it works, and nothing has to be found out.
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

/// Whether the target port is online as far as sysfs says; `true` if the transport does not report it.
pub(in crate::psa) fn is_online(path: &Path) -> bool {
    let port = path.facts.target.port_state.as_deref();
    matches!(port, None | Some("Online" | "LOGGED_IN"))
}

/// sysfs `state` of a SCSI device that accepts commands.
pub(in crate::psa) const RUNNING: &str = "running";

/// Why a path is marginal, and since when it has worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marginal {
    /// Why, as text for the user.
    pub reason: String,
    /// When it was last seen down; for a port whose state is marginal, when that state was last seen.
    pub last: Millis,
}

/// An examination in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exam {
    /// Its ticket.
    pub ticket: u64,
    /// When it was sent.
    pub sent: Millis,
    /// Its purpose.
    pub stage: Stage,
    /// READ CAPACITY is among the commands.
    #[serde(default)]
    pub measures: bool,
}

/// The purpose of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// What kind of device is it?
    Inquiry,
    /// Which logical unit is it, and in which state?
    Identify,
    /// Does it still work?
    Check,
}

/// The last answers of a path as they came in, for an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// How TEST UNIT READY ended.
    pub ready: Option<Outcome>,
    /// The vendor's page that tells which controller owns the unit.
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
    /// Which logical unit is behind it, and how certain that is.
    pub proof: Proof,
    /// WWID of the device that it belongs to.
    pub device: Option<String>,
    /// Target port group, from VPD 83.
    pub port_group: Option<u16>,
    /// Relative target port, from VPD 83.
    pub relative_port: Option<u16>,
    /// The relation of the controller behind it to the logical unit, where the array has a page for that.
    pub ownership: Option<Ownership>,
    /// Whether the unit is write-protected through this path, as MODE SENSE reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_protected: Option<bool>,
    /// Why its disk fits in no table of its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
    /// While its access state is changing: when the change should have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition_until: Option<Millis>,
    /// Its LUN reports the same identity as another LUN of the same target port.
    #[serde(default)]
    pub repeats: bool,
    /// What READ CAPACITY through this path returned, if that is newer than the kernel's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Sectors>,
    /// The next check has to include READ CAPACITY.
    #[serde(default)]
    pub measure: bool,
    /// When the last examination that included READ CAPACITY was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Millis>,
    /// When its size last changed.
    #[serde(default)]
    pub sized_at: Millis,
    /// What it answered last, in bytes.
    pub answers: Answers,
    /// The plug-in that owns it.
    pub claim: Option<Claim>,
    /// The next run of the rules has to claim it again.
    pub unclaimed: bool,
    /// The result of the last TEST UNIT READY.
    pub link: Link,
    /// The judgement of the SATP.
    pub judgement: Judgement,
    /// It was judged since the last look at its device. Any change of what the judgement depends on causes a look at
    /// the device too, so until then the same answer means the same.
    #[serde(default)]
    pub judged: bool,
    /// The examination in progress.
    pub exam: Option<Exam>,
    /// While the logical unit is gone permanently: when the examination was sent that last reported so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Millis>,
    /// Something happened since the examination was sent: examine the path again when it ends.
    pub again: bool,
    /// When it last answered TEST UNIT READY; 0 has the next check include it.
    #[serde(default)]
    pub ready_at: Millis,
    /// The kernel has to read its disk again as soon as that does not move the unit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reread_owed: bool,
    /// It refused the extended header of REPORT TARGET PORT GROUPS, as SPC-3 arrays do. From then on the command is
    /// sent without.
    pub short_header: bool,
    /// Why the states of the port groups could not be read through it; reported once.
    pub report_problem: Option<String>,
    /// The next check has to ask for the states of the port groups, no matter which path usually does.
    pub ask_groups: bool,
    /// When the kernel failed the path. Only an examination that was sent later clears this.
    pub suspect_since: Option<Millis>,
    /// When the kernel failed it last.
    pub failed_at: Millis,
    /// Since when it has not served I/O.
    pub failed_since: Option<Millis>,
    /// How often the kernel failed it again although checks had found it good.
    pub relapses: u32,
    /// When a check last found it good, or able to be activated, after the kernel had failed it; 0 means never. If the
    /// kernel fails it again soon after that, it has relapsed.
    pub last_relapse: Millis,
    /// It is not reinstated before this time, because of its relapses.
    pub hold_until: Millis,
    /// The times of its last failures, at most as many as make it marginal.
    pub failures: Vec<Millis>,
    /// Set while it is marginal, with the reason.
    pub marginal: Option<Marginal>,
    /// Errors of its ordinary I/O.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hints: Option<Box<Hints>>,
    /// When it, or another port of its group, last reported the states of the port groups.
    pub reported_at: Option<Millis>,
    /// The mark that was stored for udev.
    pub marked: Option<bool>,
    /// The timers of its target port, as they were requested.
    pub port_timers: Option<PortTimers>,
    /// When the host was asked to remove its SCSI device.
    pub withdrawn_at: Option<Millis>,
    /// Since when it has its current state; for users.
    pub since: Millis,
    /// Counters.
    pub statistics: PathStatistics,
}

impl Path {
    /// A path that was just discovered.
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

    /// Device number of its disk.
    #[must_use]
    pub fn dev(&self) -> Option<DevT> {
        self.facts.block.as_ref().map(|block| block.dev)
    }

    /// Whether it is masked: it is in no table.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.claim.is_some_and(|c| c.plugin == Plugin::MaskPath)
    }

    /// Whether it may be in a table: not if it is masked, and not before it was claimed.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let waits = self.unclaimed && self.claim.is_none();
        !self.is_masked() && !waits
    }

    /// Whether no I/O may go to it: another unit answers, or its disk does not match those of the other paths.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.proof.is_quarantined() || self.mismatch.is_some()
    }

    /// Whether I/O goes to it only if there is no other choice: it does not answer, or its proven identity is in doubt.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        matches!(self.link, Link::NoAnswer(_)) || self.proof.is_stale()
    }

    /// The size of its logical unit; `None` while it is not known. A disk that cannot be read yet has size 0.
    #[must_use]
    pub fn size(&self) -> Option<Sectors> {
        let block = self.facts.block.as_ref().map(|block| block.size);
        self.measured.or(block).filter(|size| size.0 != 0)
    }

    /// Whether it was asked for its size at or after this time, with any result.
    #[must_use]
    pub fn is_measured(&self, since: Millis) -> bool {
        self.measured_at.is_some_and(|at| at >= since)
    }

    /// Whether READ CAPACITY is requested and not answered yet.
    #[must_use]
    pub fn is_being_measured(&self) -> bool {
        self.measure || self.exam.is_some_and(|exam| exam.measures)
    }

    /// Whether the kernel treats its disk as read-only; `None` without a disk.
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
