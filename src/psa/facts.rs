//! What the adapters report about this host: facts about paths, and about disks that are not paths.

use crate::psa::adapter::{AdapterFacts, RuntimeName, TargetFacts, Transport};
use crate::psa::names::DeviceId;
use crate::psa::units::{DevT, Hctl, Sectors, Sg};
use serde::{Deserialize, Serialize};

/// What a claim rule can look at.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// INQUIRY vendor, trimmed.
    pub vendor: &'a str,
    /// INQUIRY product, trimmed.
    pub model: &'a str,
    /// The standard INQUIRY data.
    pub inquiry: &'a [u8],
    /// The facts of the path.
    pub facts: &'a PathFacts,
    /// Its runtime name.
    pub name: RuntimeName,
    /// The device id, once it is known.
    pub device: Option<&'a DeviceId>,
}

/// What the kernel says of a block device number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskKind {
    /// No block device of this host has the number: the disk was removed.
    Absent,
    /// The disk of a SCSI direct access block device (type 00h).
    Scsi(Hctl),
    /// Anything else: a description, such as `nvme0n1, which is not a SCSI disk`.
    Other(String),
}

/// What sysfs and udev say about a path. Reading it sends no command to the path.
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
    /// sysfs `vendor`: INQUIRY vendor as it was when the kernel found the device, trimmed; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub vendor: String,
    /// sysfs `model`: INQUIRY product, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// sysfs `state`: `running`, `offline`, `transport-offline`, `blocked`, ...
    pub device_state: String,
    /// Device handler of the kernel, sysfs `dh_state`.
    pub handler: Handler,
    /// How the path is attached.
    pub transport: Transport,
    /// The HBA that the path goes through.
    pub adapter: AdapterFacts,
    /// The target port that the path leads to.
    pub target: TargetFacts,
}

/// What the block layer says about the disk of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockFacts {
    /// Kernel name, `sdc`.
    pub name: String,
    /// Device number.
    pub dev: DevT,
    /// Capacity.
    pub size: Sectors,
    /// Whether the kernel treats the disk as read-only.
    pub read_only: bool,
    /// Largest transfer that HBA and transport accept, in bytes (`queue/max_hw_sectors_kb`); 0 if unknown.
    pub max_io_bytes: u64,
    /// How many commands the host sends to the device concurrently (`device/queue_depth`); 0 if unknown.
    pub queue_depth: u32,
    /// Whether the disk claims to be rotational (`queue/rotational`).
    pub rotational: bool,
    /// What uses the disk or one of its partitions, other than a dm-multipath map over the whole disk.
    pub usage: Vec<Usage>,
}

/// A user of a disk other than dm-psa. A disk with such a user is left alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Usage {
    /// Mounted: the disk or partition, and the mount point.
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

/// Device handler (`scsi_dh`) of the kernel for a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// The kernel was built without `CONFIG_SCSI_DH`: there is no `dh_state`.
    Unsupported,
    /// No handler is attached.
    Detached,
    /// A handler is attached: `alua`, `rdac`, `emc`, `hp_sw`.
    Attached(String),
}
