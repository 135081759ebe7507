//! A path: one SCSI device of this host, the facts about it and its states.

use super::action::PortTimers;
use super::adapter::{AdapterFacts, RuntimeName, TargetFacts, Transport};
use super::claim::Claim;
use super::hints::Hints;
use super::marginal::Marginal;
use super::plugin::Plugin;
use super::proof::Proof;
use super::satp::{Class, Judgement, Link};
use super::statistics::PathStatistics;
use super::units::{DevT, Hctl, Millis, Sectors, Sg};
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::outcome::Outcome;
use crate::scsi::ownership::Ownership;
use serde::{Deserialize, Serialize};

/// What sysfs and udev say of a path, read without sending a command to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathFacts {
    /// Its address.
    pub hctl: Hctl,
    /// The disk, once `sd` has bound to the SCSI device.
    pub block: Option<BlockFacts>,
    /// The character device for pass-through, `sg3`; needs the `sg` module.
    pub sg: Option<Sg>,
    /// SCSI peripheral device type, sysfs `type`: 0 is a direct access block device.
    pub device_type: u8,
    /// sysfs `state`: `running`, `offline`, `transport-offline`, `blocked`, ...
    pub device_state: String,
    /// Device handler of the kernel, sysfs `dh_state`.
    pub handler: Handler,
    /// How it is attached.
    pub transport: Transport,
    /// Through which HBA.
    pub adapter: AdapterFacts,
    /// To which target port.
    pub target: TargetFacts,
}

/// What the block layer says of the disk of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFacts {
    /// Kernel name, `sdc`.
    pub name: String,
    /// Device number.
    pub dev: DevT,
    /// Capacity.
    pub size: Sectors,
    /// Whether the kernel holds it for read-only.
    pub read_only: bool,
    /// Largest transfer that HBA and transport take, in bytes (`queue/max_hw_sectors_kb`); 0 if it cannot be told.
    pub max_io_bytes: u64,
    /// Commands that the host sends to the device at once (`device/queue_depth`); 0 if it cannot be told.
    pub queue_depth: u32,
    /// Whether the disk says that it spins (`queue/rotational`).
    pub rotational: bool,
    /// Who uses the disk or one of its partitions, other than a dm-multipath map over the whole disk.
    pub usage: Vec<Usage>,
}

/// A user of a disk that is not ours: such a disk is left alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Usage {
    /// Mounted; the disk or partition and the mount point.
    Mounted {
        /// `sda1`
        device: String,
        /// `/boot`
        at: String,
    },
    /// In use as swap.
    Swap {
        /// `sda2`
        device: String,
    },
    /// Held by another block device (dm, md, bcache): sysfs `holders`.
    Held {
        /// `sda2`
        device: String,
        /// `dm-3 (vg-root)`
        by: String,
    },
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Usage::Mounted { device, at } => write!(f, "{device} is mounted at {at}"),
            Usage::Swap { device } => write!(f, "{device} is swap"),
            Usage::Held { device, by } => write!(f, "{device} is held by {by}"),
        }
    }
}

/// Device handler (`scsi_dh`) of the kernel on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// The kernel was built without `CONFIG_SCSI_DH`: there is no `dh_state`.
    Unsupported,
    /// None is attached.
    Detached,
    /// Attached: `alua`, `rdac`, `emc`, `hp_sw`.
    Attached(String),
}

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
