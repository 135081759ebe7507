//! What the agent stores across restarts, and what early boot needs: `/etc/dm-psa/state/`.

use crate::psa::facts::PathFacts;
use crate::psa::names::{DeviceId, Wwid};
use crate::psa::settings::DeviceSettings;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// WWIDs (`3600...`) of devices that had a map. Their paths are hidden from other users as soon as udev sees them.
    pub devices: BTreeSet<Wwid>,
    /// Ids of those of them whose id does not follow from the WWID. An agent that starts while all paths are down finds
    /// by them what was set for a device.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<Wwid, DeviceId>,
    /// dm names of those of them whose map has another name than the id of the device: because another program made it,
    /// or by the settings `map_names` and `map_name`. A map that is made again, at the next boot, has the same name: files
    /// of the host refer to it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<Wwid, String>,
    /// What `psactl` set for devices, by device id; it takes precedence over the admin's file.
    pub settings: BTreeMap<DeviceId, DeviceSettings>,
    /// Runtime names of the paths that the admin turned off.
    pub paths_off: BTreeSet<String>,
    /// Ids of the devices that the admin turned off.
    pub devices_off: BTreeSet<DeviceId>,
    /// Unclaimed paths are not claimed automatically.
    pub autoclaim_off: bool,
    /// Masked paths whose SCSI devices were removed from the host, by runtime name.
    pub masked: BTreeMap<String, MaskedPath>,
    /// Adapters by key.
    pub adapters: BTreeMap<String, RememberedAdapter>,
    /// Parts of the file that this version does not understand. They are written back as they were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_understood: Vec<Unread>,
}

/// A part of the stored file that this version does not understand: from a newer version, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unread {
    /// The keys that lead to it. The last key is that of the part itself, unless the part is an element of a list.
    pub place: Vec<String>,
    /// It is an element of the list at that place.
    pub is_element: bool,
    /// The text in the file, byte by byte.
    pub text: String,
}

/// A masked path that is no longer present on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskedPath {
    /// What was known about it.
    pub facts: PathFacts,
    /// Its standard INQUIRY data.
    pub inquiry: Vec<u8>,
    /// WWID of its device.
    pub device: Option<Wwid>,
    /// The rule that masked it.
    pub rule: u32,
}

/// What the admin set until the agent ends. It takes precedence over what is stored, and is not stored itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unstored {
    /// Whether a device is off, by device id.
    pub off: BTreeMap<DeviceId, bool>,
    /// Devices in `off` that are on again when all their paths are gone, and when each was last asked for. A device
    /// whose map is still open some time later is on again too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub flushed: BTreeMap<DeviceId, Millis>,
    /// The display name of a device, by device id.
    pub names: BTreeMap<DeviceId, String>,
}

/// The stable names of an adapter and of its target ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedAdapter {
    /// `N` of `vmhbaN`.
    pub number: u32,
    /// `T` of `vmhbaN:C:T:L` by target port, where the kernel's target number is not stable (FC, iSCSI, SAS).
    pub targets: BTreeMap<String, u32>,
}
