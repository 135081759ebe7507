//! A path: one SCSI device of this host, with the facts about it and its states.
//!
//! The states are in parts, each with the transitions that are legal for it. What changes two parts together is here.

use crate::psa::action::PortTimers;
use crate::psa::adapter::RuntimeName;
use crate::psa::claim::Claim;
use crate::psa::evidence::{Class, Judgement, Link, PathState};
use crate::psa::facts::PathFacts;
use crate::psa::mpp::Plugin;
use crate::psa::names::Wwid;
use crate::psa::state::access::Access;
use crate::psa::state::exams::Exams;
use crate::psa::state::failures::Failures;
use crate::psa::state::fit::Fit;
use crate::psa::state::health::Health;
use crate::psa::state::hints::Hints;
use crate::psa::state::proof::Proof;
use crate::psa::state::statistics::PathStatistics;
use crate::psa::units::{DevT, Millis, Sectors};
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::outcome::Outcome;
use serde::{Deserialize, Serialize};

/// sysfs `state` of a SCSI device that accepts commands.
const RUNNING: &str = "running";

/// The last answers of a path as they came in, for an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// How TEST UNIT READY ended.
    pub ready: Option<Outcome>,
    /// The vendor's page that names the controller that owns the unit.
    pub owner: Vec<u8>,
}

/// Which plug-in owns a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Owner {
    claim: Option<Claim>,
    is_unclaimed: bool,
}

impl Owner {
    /// The plug-in that owns the path, and the rule that decided this. An unclaimed path keeps it until the next run of
    /// the rules.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        self.claim
    }

    /// The rules decided.
    pub(in crate::psa) fn claimed(&mut self, claim: Claim) {
        self.claim = Some(claim);
    }

    /// The next run of the rules has to decide again.
    pub(in crate::psa) fn unclaim(&mut self) {
        self.is_unclaimed = true;
    }

    /// The rules are being run.
    pub(in crate::psa) fn run(&mut self) {
        self.is_unclaimed = false;
    }

    /// Whether the next run of the rules has to decide again.
    #[must_use]
    pub(crate) fn is_unclaimed(&self) -> bool {
        self.is_unclaimed
    }
}

/// What the host was requested to do for a path, so that it is not requested again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Requested {
    mark: Option<bool>,
    timers: Option<PortTimers>,
    removed_at: Option<Millis>,
}

impl Requested {
    /// The mark for udev: owned or not. Returns whether it is another one than the last.
    pub(in crate::psa) fn mark(&mut self, owned: bool) -> bool {
        self.mark.replace(owned) != Some(owned)
    }

    /// The timers of its target port, as they were requested last.
    pub(in crate::psa) fn timers(&self) -> Option<PortTimers> {
        self.timers
    }

    /// Timers of its target port are requested.
    pub(in crate::psa) fn set_timers(&mut self, timers: PortTimers) {
        self.timers = Some(timers);
    }

    /// When the host was requested to remove its SCSI device.
    pub(in crate::psa) fn removed_at(&self) -> Option<Millis> {
        self.removed_at
    }

    /// The host is requested to remove its SCSI device.
    pub(in crate::psa) fn remove(&mut self, now: Millis) {
        self.removed_at = Some(now);
    }
}

/// A path as the world knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Path {
    /// What sysfs says.
    facts: PathFacts,
    /// Its runtime name.
    name: RuntimeName,
    /// WWID of the device that it belongs to.
    pub(in crate::psa) device: Option<Wwid>,
    /// Standard INQUIRY data, once read.
    pub(in crate::psa) inquiry: Option<StandardInquiry>,
    /// What it answered last, in bytes.
    pub(in crate::psa) answers: Answers,
    /// Which logical unit is behind it, and how certain that is.
    pub(in crate::psa) proof: Proof,
    /// The plug-in that owns it.
    pub(in crate::psa) owner: Owner,
    /// What the array reports about the access through its port.
    pub(in crate::psa) access: Access,
    /// Whether its disk fits the other paths.
    pub(in crate::psa) fit: Fit,
    /// What checks found.
    pub(in crate::psa) health: Health,
    /// Its examinations.
    pub(in crate::psa) exams: Exams,
    /// Its failures.
    pub(in crate::psa) failures: Failures,
    /// Errors of its ordinary I/O.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::psa) hints: Option<Box<Hints>>,
    /// What the host was requested to do for it.
    pub(in crate::psa) requested: Requested,
    /// An admin turned it off until it is removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    turned_off: bool,
    /// Counters.
    pub(in crate::psa) statistics: PathStatistics,
}

impl Path {
    /// A path that was just discovered.
    #[must_use]
    pub fn new(facts: PathFacts, name: RuntimeName, now: Millis) -> Path {
        Path {
            facts,
            name,
            device: None,
            inquiry: None,
            answers: Answers::default(),
            proof: Proof::default(),
            owner: Owner::default(),
            access: Access::default(),
            fit: Fit::new(now),
            health: Health::new(now),
            exams: Exams::default(),
            failures: Failures::default(),
            hints: None,
            requested: Requested::default(),
            turned_off: false,
            statistics: PathStatistics::default(),
        }
    }

    /// A path that MASK_PATH owns, and whose SCSI device was removed from the host.
    pub(in crate::psa) fn withdrawn(
        facts: PathFacts,
        name: RuntimeName,
        inquiry: StandardInquiry,
        claim: Claim,
        now: Millis,
    ) -> Path {
        let mut path = Path {
            inquiry: Some(inquiry),
            health: Health::withdrawn(now),
            ..Path::new(facts, name, now)
        };
        path.owner.claimed(claim);
        path
    }

    /// An admin turns it off until it is removed, or on.
    pub(in crate::psa) fn turn(&mut self, off: bool) {
        self.turned_off = off;
    }

    /// Whether an admin turned it off until it is removed.
    pub(in crate::psa) fn is_turned_off(&self) -> bool {
        self.turned_off
    }

    /// What sysfs says.
    #[must_use]
    pub fn facts(&self) -> &PathFacts {
        &self.facts
    }

    /// Its facts were read again. When a disk is being removed its block device goes first; it is kept until the path is
    /// gone.
    pub(in crate::psa) fn set_facts(&mut self, facts: PathFacts, now: Millis) {
        let (size, kernel_size) = (self.size(), self.kernel_size());
        let block = facts.block.clone().or_else(|| self.facts.block.take());
        self.facts = PathFacts { block, ..facts };
        if self.kernel_size() != kernel_size {
            self.fit.set_measured(None); // The kernel has just asked.
        }
        if self.size() != size {
            self.fit.size_changed(now);
        }
    }

    /// Its runtime name.
    #[must_use]
    pub fn name(&self) -> RuntimeName {
        self.name
    }

    /// WWID of the device that it belongs to.
    #[must_use]
    pub fn device(&self) -> Option<&Wwid> {
        self.device.as_ref()
    }

    /// Standard INQUIRY data, once read.
    #[must_use]
    pub fn inquiry(&self) -> Option<&StandardInquiry> {
        self.inquiry.as_ref()
    }

    /// Which logical unit is behind it, and how certain that is.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The plug-in that owns it.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Target port group, from VPD page 83h.
    #[must_use]
    pub fn port_group(&self) -> Option<u16> {
        self.access.port_group()
    }

    /// Its failures.
    #[must_use]
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Errors of its ordinary I/O.
    #[must_use]
    pub(crate) fn hints(&self) -> Option<&Hints> {
        self.hints.as_deref()
    }

    /// Counters.
    #[must_use]
    pub fn statistics(&self) -> PathStatistics {
        self.statistics
    }

    /// A check had this result. A path that was down may return as another logical unit, so it has to prove its identity
    /// again.
    pub(in crate::psa) fn set_link(&mut self, link: Link) {
        if matches!(
            link,
            Link::Down(_) | Link::NoAnswer(_) | Link::PermanentLoss(_)
        ) {
            self.proof.doubt("it was down");
        }
        self.health.set_link(link);
    }

    /// The path answers, but not with INQUIRY data.
    pub(in crate::psa) fn set_inquiry_invalid(&mut self, why: &str) {
        self.health.set_link(Link::Down(format!("INQUIRY: {why}")));
    }

    /// The kernel failed the path because I/O on it failed: what was known about the path is out of date.
    pub(in crate::psa) fn failed_by_kernel(&mut self, now: Millis) {
        self.failures.failed_by_kernel(now);
        self.proof.doubt("the kernel failed the path");
        let why = "the kernel failed it; a check follows";
        self.health.set_link(Link::Unchecked(why.to_owned()));
    }

    /// The SATP judged the path. Returns the judgement from before, if it was another one.
    pub(in crate::psa) fn judged(
        &mut self,
        judgement: Judgement,
        now: Millis,
    ) -> Option<Judgement> {
        let state = judgement.state;
        let before = self.health.judged(judgement, now)?;
        let is_fine = state.serves_io() || matches!(state, PathState::Standby | PathState::Off);
        self.failures.judged(is_fine, now);
        Some(before)
    }

    /// READ CAPACITY through this path returned this size. Returns whether the size of the path changed.
    pub(in crate::psa) fn measured(&mut self, size: Sectors, now: Millis) -> bool {
        let changed = self.size() != Some(size);
        self.fit.set_measured(Some(size));
        if changed {
            self.fit.size_changed(now);
        }
        changed
    }

    /// The path belongs to another logical unit now. What was known about it referred to the previous one.
    pub(in crate::psa) fn forget_unit(&mut self) {
        self.health.set_class(None);
        self.access.forget();
    }

    /// Device number of its disk.
    #[must_use]
    pub fn dev(&self) -> Option<DevT> {
        self.facts.block.as_ref().map(|block| block.dev)
    }

    /// Whether it is masked: it is in no table.
    #[must_use]
    pub(crate) fn is_masked(&self) -> bool {
        let claim = self.owner.claim();
        claim.is_some_and(|claim| claim.plugin == Plugin::MaskPath)
    }

    /// Whether it may be in a table: not if it is masked, and not before it was claimed.
    #[must_use]
    pub(crate) fn is_ours(&self) -> bool {
        let waits = self.owner.is_unclaimed() && self.owner.claim().is_none();
        !self.is_masked() && !waits
    }

    /// Whether no I/O may go to it: another unit answers, or its disk does not match those of the other paths.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.proof.is_quarantined() || self.fit.mismatch().is_some()
    }

    /// Whether I/O goes to it only if there is no other choice: it does not answer, or its proven identity is in doubt.
    #[must_use]
    pub(crate) fn is_doubtful(&self) -> bool {
        matches!(self.health.link(), Link::NoAnswer(_)) || self.proof.is_stale()
    }

    /// Whether it is marginal: it carries I/O only if no other path does.
    #[must_use]
    pub(crate) fn is_marginal(&self) -> bool {
        self.failures.marginal().is_some()
    }

    /// Whether the last check found that it works.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        *self.health.link() == Link::Up
    }

    /// Whether everything that is known says that it works, and nothing has to be found out.
    pub(in crate::psa) fn is_well(&self) -> bool {
        self.health.is_current()
            && self.answers.ready == Some(Outcome::Good)
            && self.is_up()
            && self.proof.may_carry_io()
            && self.health.lost_at().is_none()
            && self.failures.is_clean()
            && !self.exams.is_repeated()
            && !self.exams.owes_reread()
            && self.is_present()
    }

    /// Whether, as far as sysfs says, the SCSI device accepts commands and its target port is online. Not every transport
    /// reports the latter.
    pub(in crate::psa) fn is_present(&self) -> bool {
        let port = self.facts.target.port_state.as_deref();
        let is_online = matches!(port, None | Some("Online" | "LOGGED_IN"));
        is_online && self.facts.device_state == RUNNING
    }

    /// The size of its logical unit; `None` while it is not known. A disk that cannot be read yet has size 0.
    #[must_use]
    pub fn size(&self) -> Option<Sectors> {
        let measured = self.fit.measured();
        measured.or(self.kernel_size()).filter(|size| size.0 != 0)
    }

    /// The size of its disk in the kernel; `None` without a disk.
    #[must_use]
    pub(crate) fn kernel_size(&self) -> Option<Sectors> {
        self.facts.block.as_ref().map(|block| block.size)
    }

    /// Whether the kernel treats its disk as read-only; `None` without a disk.
    #[must_use]
    pub fn is_read_only(&self) -> Option<bool> {
        self.facts.block.as_ref().map(|block| block.read_only)
    }

    /// The judgement of its SATP.
    #[must_use]
    pub fn judgement(&self) -> &Judgement {
        self.health.judgement()
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> PathState {
        self.judgement().state
    }

    /// Its place among the paths of its device; `None` while it is not known.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.judgement().class
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::test_support::facts;

    #[test]
    fn a_disk_that_is_being_removed_keeps_its_measured_size() {
        let disk = facts("1:0:0:1", "sdb");
        let kernel_size = disk.block.as_ref().unwrap().size;
        let mut path = Path::new(disk.clone(), "vmhba1:C0:T0:L1".parse().unwrap(), Millis(1));
        let grown = Sectors(kernel_size.0 * 2);
        assert!(path.measured(grown, Millis(2)) && !path.measured(grown, Millis(3)));
        // The block device goes before the SCSI device.
        let bare = PathFacts {
            block: None,
            ..disk.clone()
        };
        path.set_facts(bare, Millis(4));
        assert_eq!(
            (path.size(), path.kernel_size()),
            (Some(grown), Some(kernel_size))
        );
        assert_eq!(path.fit.sized_at(), Millis(2));
        // The same facts again are no news; another size in the kernel is newer than the measured one.
        path.set_facts(disk.clone(), Millis(5));
        assert_eq!((path.size(), path.fit.sized_at()), (Some(grown), Millis(2)));
        let mut shrunk = disk;
        shrunk.block.as_mut().unwrap().size = Sectors(8);
        path.set_facts(shrunk, Millis(6));
        assert_eq!(
            (path.size(), path.fit.sized_at()),
            (Some(Sectors(8)), Millis(6))
        );
    }
}
