//! A path: one SCSI device of this host, the facts about it and its states.

use super::adapter::{AdapterFacts, TargetFacts, Transport};
use super::units::{DevT, Hctl, Sectors};
use serde::{Deserialize, Serialize};

/// What sysfs and udev say of a path, read without sending a command to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathFacts {
    /// Its address.
    pub hctl: Hctl,
    /// The disk, once `sd` has bound to the SCSI device.
    pub block: Option<BlockFacts>,
    /// The character device for pass-through, `sg3`; needs the `sg` module.
    pub sg: Option<String>,
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
