//! The records of the interface `io.dmpsa`, one for each esxcli listing.
//!
//! Field names are the varlink names; `cli::layout` knows which ESXi column shows which field.

use serde::{Deserialize, Serialize};

/// A record of `storage nmp device list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NmpDevice {
    /// `naa.6001...`
    pub device: String,
    /// `LIO-ORG Fibre Channel Disk (naa.6001...)`
    pub display_name: String,
    /// `VMW_SATP_ALUA`
    pub satp: String,
    /// `{implicit_support=on; ...}`
    pub satp_device_config: String,
    /// `VMW_PSP_MRU`
    pub psp: String,
    /// `Current Path=vmhba64:C0:T0:L1`
    pub psp_device_config: String,
    /// What the admin set and what of it takes effect; empty if nothing was set.
    pub psp_custom_config: String,
    /// Runtime names of the paths that I/O may take now.
    pub working_paths: Vec<String>,
    /// Whether it is a USB device.
    pub is_usb: bool,
    /// dm name of its map; `None` if the device is not stacked.
    pub map: Option<String>,
    /// Who activates standby paths: `kernel` or `agent`; `none` where nothing has to be activated.
    pub activation: String,
}

/// A record of `storage nmp path list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NmpPath {
    /// `fc.W:W-fc.W:W-naa.6001...`
    pub uid: String,
    /// `vmhba2:C0:T0:L1`
    pub runtime_name: String,
    /// `naa.6001...`
    pub device: String,
    /// As of the device.
    pub display_name: String,
    /// `active`, `active unoptimized`, `standby`, `dead`, ...
    pub group_state: String,
    /// PREF of the target port group.
    pub array_priority: u32,
    /// `{TPG_id=1,TPG_state=AO,RTP_id=29,RTP_health=UP}`
    pub satp_path_config: String,
    /// `{current path; rank: 0}`
    pub psp_path_config: String,
}

/// A record of `storage hpp device list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HppDevice {
    /// `naa.6001...`
    pub device: String,
    /// As of NMP's devices.
    pub display_name: String,
    /// `LB-RR`
    pub scheme: String,
    /// `{iops=1000,bytes=10485760;useANO=0}`
    pub scheme_config: String,
    /// Runtime names of the paths that I/O may take now.
    pub working_paths: Vec<String>,
    /// Whether it is, or was marked as, a solid state disk.
    pub is_ssd: bool,
    /// Whether it is local.
    pub is_local: bool,
    /// Runtime names of all its paths.
    pub paths: Vec<String>,
    /// Whether active-unoptimized paths carry I/O too.
    pub use_ano: bool,
    /// What of the scheme takes effect, for a person.
    pub in_effect: String,
    /// dm name of its map; `None` if the device is not stacked.
    pub map: Option<String>,
}

/// A record of `storage hpp path list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HppPath {
    /// `fc.W:W-fc.W:W-naa.6001...`
    pub uid: String,
    /// `vmhba2:C0:T0:L1`
    pub runtime_name: String,
    /// `naa.6001...`
    pub device: String,
    /// As of the device.
    pub display_name: String,
    /// `active`, `active unoptimized`, `standby`, `dead`, ...
    pub path_state: String,
    /// `{TPG_id=1,TPG_state=AO,RTP_id=29,RTP_health=UP}`
    pub path_config: String,
}

/// A record of `storage core path list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorePath {
    /// `fc.W:W-fc.W:W-naa.6001...`
    pub uid: String,
    /// `vmhba2:C0:T0:L1`
    pub runtime_name: String,
    /// `None` while the device behind it is not known: printed `No associated device`.
    pub device: Option<String>,
    /// As of the device.
    pub display_name: Option<String>,
    /// `vmhba2`
    pub adapter: String,
    /// Channel.
    pub channel: u32,
    /// Target.
    pub target: u32,
    /// LUN.
    pub lun: u64,
    /// `NMP`, `MASK_PATH`, or `unclaimed`.
    pub plugin: String,
    /// `active`, `standby`, `dead`, `off`, `unknown`, `masked`.
    pub state: String,
    /// Why it is in this state, for a person: `TUR: DID_NO_CONNECT`; empty when there is nothing to say.
    pub reason: String,
    /// `fc`
    pub transport: String,
    /// `fc.WWNN:WWPN`
    pub adapter_identifier: String,
    /// `fc.WWNN:WWPN`
    pub target_identifier: String,
    /// Adapter's transport details.
    pub adapter_transport_details: String,
    /// Target's transport details, with the state of the rport or session where there is one.
    pub target_transport_details: String,
    /// Bytes; `max_hw_sectors_kb`, 0 if unknown.
    pub maximum_io_size: u64,
    /// Kernel name of the disk, `sdc`.
    pub disk: Option<String>,
    /// Kernel's address, `2:0:0:1`.
    pub hctl: String,
    /// Errors of ordinary I/O that the kernel reported since the agent started, by kind. Since version 5.
    #[serde(default)]
    pub io_errors: Vec<IoErrors>,
}

/// Errors of ordinary I/O of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoErrors {
    /// `target error`, `timeout`, ...
    pub kind: String,
    /// How many there were.
    pub count: u64,
}

/// A record of `storage core device list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDevice {
    /// `naa.6001...`
    pub device: String,
    /// `LIO-ORG Fibre Channel Disk (naa.6001...)`
    pub display_name: String,
    /// MiB.
    pub size_mib: u64,
    /// `Direct-Access`
    pub device_type: String,
    /// `NMP`, or `unclaimed`.
    pub multipath_plugin: String,
    /// `/dev/mapper/naa.6001...`, or the disk of a device that is not stacked.
    pub devfs_path: String,
    /// INQUIRY vendor, 8 characters with its padding.
    pub vendor: String,
    /// INQUIRY product, 16 characters with its padding.
    pub model: String,
    /// INQUIRY revision, 4 characters with its padding.
    pub revision: String,
    /// INQUIRY VERSION as SCSI level.
    pub scsi_level: u8,
    /// Peripheral qualifier other than 0, or a management LU.
    pub is_pseudo: bool,
    /// `on`, `off`, `degraded`, `dead`, `unknown`, `not connected`.
    pub status: String,
    /// Whether its transport is local.
    pub is_local: bool,
    /// RMB.
    pub is_removable: bool,
    /// Not rotating.
    pub is_ssd: bool,
    /// Whether it was marked as a solid state disk, or as none.
    pub marked_ssd: bool,
    /// Whether the admin took it off line.
    pub is_offline: bool,
    /// WWID and further names.
    pub other_uids: Vec<String>,
    /// Whether its transport is SAS.
    pub is_sas: bool,
    /// Whether its transport is USB.
    pub is_usb: bool,
    /// Whether the running system's root file system is on it.
    pub is_boot_device: bool,
    /// Queue depth of its paths, summed.
    pub device_max_queue_depth: u32,
    /// What the admin said of it. Since version 3.
    #[serde(default)]
    pub is_perennially_reserved: bool,
    /// What the admin said of it, else whether its transport is shared by design. Since version 3.
    #[serde(default)]
    pub is_shared_clusterwide: bool,
}

/// A record of `storage core device detached list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachedDevice {
    /// `naa.6001...`
    pub device: String,
    /// `off`
    pub state: String,
}

/// A record of `storage core adapter list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// `vmhba2`
    pub name: String,
    /// `qla2xxx`
    pub driver: String,
    /// `link-up`, `link-down`, `link-n/a`
    pub link_state: String,
    /// `fc.WWNN:WWPN`
    pub uid: String,
    /// Empty, or `Second Level Lun ID` where the LUNs of the adapter need more than 14 bits.
    pub capabilities: String,
    /// `(0000:02:00.0) ...`
    pub description: String,
    /// SCSI hosts of the kernel behind which it has paths, `host2`; software iSCSI has one for each session. Since
    /// version 3.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// The answer to `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked for, by its full name.
    pub subject: String,
    /// Sections in the order of the decision.
    pub sections: Vec<Section>,
}

impl Explanation {
    /// What other rules would change, as [`crate::psa::world::World::plan`] has it.
    #[must_use]
    pub fn of_plan(sections: Vec<(String, Vec<String>)>) -> Explanation {
        let subject = match sections.len() {
            0 => "The rules in the files change nothing.".to_owned(),
            count => format!(
                "The rules in the files would change {count} of the devices and paths. To apply them: \
                 `psactl storage core claimrule load`, and `claiming reclaim -d DEVICE` for each."
            ),
        };
        let sections = sections
            .into_iter()
            .map(|(title, lines)| Section { title, lines });
        Explanation {
            subject,
            sections: sections.collect(),
        }
    }
}

/// A part of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// `Claim rules`, `SATP`, `PSP`, `State`, `Table`
    pub title: String,
    /// Its lines.
    pub lines: Vec<String>,
}

/// The agent and what it looks after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// [`super::INTERFACE_VERSION`] of the agent.
    pub interface_version: u32,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// Whether everything known was acted upon: no path waits to be identified, no map to be made or changed.
    pub settled: bool,
    /// Paths known.
    pub paths: u64,
    /// Those of them that are dead.
    pub dead_paths: u64,
    /// Devices known.
    pub devices: u64,
    /// Maps that the agent keeps.
    pub maps: u64,
    /// Tables loaded since the agent started: a restart with nothing changed leaves it at 0.
    pub tables_loaded: u64,
    /// Maps that queue I/O now because no path is left.
    pub queueing_maps: u64,
    /// How SCSI commands are sent: `sg`, `bsg`, or `none` before the first path.
    #[serde(default)]
    pub transport: String,
    /// Why so.
    #[serde(default)]
    pub transport_reason: String,
    /// Which errors of ordinary I/O the kernel reports: `errors`, `all`, or `off`. Since version 5, as is the next.
    #[serde(default)]
    pub io_errors: String,
    /// By what, or why not.
    #[serde(default)]
    pub io_errors_reason: String,
}

/// Something that people were told: `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 since the agent started.
    pub number: u64,
    /// ms since 1970.
    pub time_ms: u64,
    /// `error`, `warning`, `info`.
    pub severity: String,
    /// One of [`crate::psa::codes::CODES`].
    pub code: String,
    /// The device, path or map it is about, or `agent`.
    pub subject: String,
    /// In the order of printing.
    pub details: Vec<Detail>,
}

/// A detail of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// `reason`, `device`.
    pub name: String,
    /// Text.
    pub value: String,
}

/// A device with all that leads to it, at one moment: for `graph` and `top`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// `naa.6001...`
    pub device: String,
    /// As of the lists.
    pub display_name: String,
    /// MiB.
    pub size_mib: u64,
    /// As of [`CoreDevice::status`].
    pub status: String,
    /// Seconds since all paths went down; `None` while one is usable.
    pub apd_seconds: Option<u64>,
    /// With all paths down: I/O is queued, or else fails.
    pub queueing: bool,
    /// `NMP`, `HPP`
    pub plugin: String,
    /// `VMW_SATP_ALUA`; empty while there is none.
    pub satp: String,
    /// `VMW_PSP_RR`, or the scheme of HPP.
    pub psp: String,
    /// Kernel name of its map, `dm-3`; `None` if the device is not stacked.
    pub map: Option<String>,
    /// Priority groups in the order of the table.
    pub groups: Vec<TopologyGroup>,
    /// In the order of their runtime names.
    pub paths: Vec<TopologyPath>,
}

/// A priority group of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyGroup {
    /// Its place, from 1.
    pub number: u32,
    /// As dm has it: `active`, `enabled`, `disabled` (bypassed).
    pub state: String,
    /// Whether I/O takes it, or will take it next.
    pub current: bool,
}

/// A path of a [`Topology`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyPath {
    /// `vmhba2:C0:T0:L1`
    pub runtime_name: String,
    /// `vmhba2`
    pub adapter: String,
    /// `fc.WWNN:WWPN`
    pub adapter_identifier: String,
    /// `fc.WWNN:WWPN`
    pub target_identifier: String,
    /// `fc`
    pub transport: String,
    /// `active`, `active unoptimized`, `standby`, `dead`, `off`, `unknown`, `masked`.
    pub state: String,
    /// Why it is in this state; empty when there is nothing to say.
    pub reason: String,
    /// `sdc`
    pub disk: Option<String>,
    /// `2:0:0:1`
    pub hctl: String,
    /// Number of its priority group; `None` if no table holds it.
    pub group: Option<u32>,
    /// Whether I/O may take it now.
    pub carries_io: bool,
}

/// The answer of `storage nmp psp fixed deviceconfig get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedConfig {
    /// `naa.6001...`
    pub device: String,
    /// Runtime name of the path that carries I/O; empty if none does.
    pub current_path: String,
    /// Runtime name of the preferred path; empty while the PSP has chosen none.
    pub preferred_path: String,
}

/// The answer of `storage nmp psp roundrobin deviceconfig get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRobinConfig {
    /// `naa.6001...`
    pub device: String,
    /// Bytes per turn.
    pub byte_limit: u64,
    /// I/Os per turn.
    pub iops_limit: u64,
    /// ms between two evaluations of latency.
    pub latency_eval_ms: u64,
    /// `Default`, `Iops`, `Bytes`, `Latency`.
    pub limit_type: String,
    /// I/Os sampled on each path.
    pub sampling_cycles: u32,
    /// Whether active-unoptimized paths carry I/O too.
    pub use_ano: bool,
    /// What of it takes effect, for a person.
    pub in_effect: String,
}
