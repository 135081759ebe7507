//! The records of the interface `io.dmpsa`, one for each esxcli listing.
//!
//! Field names are the varlink names; `cli::layout` defines which ESXi column shows which field.

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
    /// Runtime names of the paths that may carry I/O now.
    pub working_paths: Vec<String>,
    /// Whether it is a USB device.
    pub is_usb: bool,
    /// dm name of its map; `None` if the device has no map.
    pub map: Option<String>,
    /// What activates standby paths: `kernel` or `agent`; `none` if no path needs activation.
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
    /// As in `NmpDevice`.
    pub display_name: String,
    /// `active`, `active unoptimized`, `standby`, `dead`, ...
    pub group_state: String,
    /// PREF bit of the target port group.
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
    /// As in `NmpDevice`.
    pub display_name: String,
    /// `LB-RR`
    pub scheme: String,
    /// `{iops=1000,bytes=10485760;useANO=0}`
    pub scheme_config: String,
    /// Runtime names of the paths that may carry I/O now.
    pub working_paths: Vec<String>,
    /// Whether it is, or was marked as, a solid state disk.
    pub is_ssd: bool,
    /// Whether it is local.
    pub is_local: bool,
    /// Runtime names of all its paths.
    pub paths: Vec<String>,
    /// Whether active-unoptimized paths carry I/O too.
    pub use_ano: bool,
    /// Which part of the scheme takes effect, human-readable.
    pub in_effect: String,
    /// dm name of its map; `None` if the device has no map.
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
    /// As in `NmpDevice`.
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
    /// `None` while the device is unknown: printed as `No associated device`.
    pub device: Option<String>,
    /// As in `NmpDevice`.
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
    /// Why it is in this state, human-readable: `TUR: DID_NO_CONNECT`; empty if there is no special reason.
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
    /// Maximum I/O size in bytes, from `max_hw_sectors_kb`; 0 if unknown.
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
    /// How many occurred.
    pub count: u64,
}

/// A record of `storage core device list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDevice {
    /// `naa.6001...`
    pub device: String,
    /// `LIO-ORG Fibre Channel Disk (naa.6001...)`
    pub display_name: String,
    /// Size in MiB.
    pub size_mib: u64,
    /// `Direct-Access`
    pub device_type: String,
    /// `NMP`, or `unclaimed`.
    pub multipath_plugin: String,
    /// `/dev/mapper/naa.6001...`, or the disk of a device that has no map.
    pub devfs_path: String,
    /// INQUIRY vendor, 8 characters with its padding.
    pub vendor: String,
    /// INQUIRY product, 16 characters with its padding.
    pub model: String,
    /// INQUIRY revision, 4 characters with its padding.
    pub revision: String,
    /// INQUIRY VERSION as SCSI level.
    pub scsi_level: u8,
    /// Whether the peripheral qualifier is not 0, or it is a management LU.
    pub is_pseudo: bool,
    /// `on`, `off`, `degraded`, `dead`, `unknown`, `not connected`.
    pub status: String,
    /// Whether its transport is local.
    pub is_local: bool,
    /// Whether the medium is removable: RMB of INQUIRY.
    pub is_removable: bool,
    /// Whether it is, or was marked as, a solid state disk.
    pub is_ssd: bool,
    /// Whether the admin set that it is, or is not, a solid state disk.
    pub marked_ssd: bool,
    /// Whether the admin turned it off.
    pub is_offline: bool,
    /// Its WWID and other names.
    pub other_uids: Vec<String>,
    /// Whether its transport is SAS.
    pub is_sas: bool,
    /// Whether its transport is USB.
    pub is_usb: bool,
    /// Whether the running system's root file system is on it.
    pub is_boot_device: bool,
    /// Queue depth of its paths, summed.
    pub device_max_queue_depth: u32,
    /// Whether the admin marked it so. Since version 3.
    #[serde(default)]
    pub is_perennially_reserved: bool,
    /// Whether the admin marked it so; by default whether its transport is shared by design. Since version 3.
    #[serde(default)]
    pub is_shared_clusterwide: bool,
}

/// A record of `storage core device detached list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachedDevice {
    /// `naa.6001...`
    pub device: String,
    /// `off`; `flushed` if it is on again when all its paths are gone.
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
    /// SCSI hosts of the kernel behind which it has paths, `host2`; software iSCSI has one per session. Since version
    /// 3.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// The reply of `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The full name of the requested device or path.
    pub subject: String,
    /// Sections in the order of the decision.
    pub sections: Vec<Section>,
}

impl Explanation {
    /// Describes what other rules would change, from [`crate::psa::world::World::plan`].
    #[must_use]
    pub(crate) fn of_plan(sections: Vec<(String, Vec<String>)>) -> Explanation {
        let subject = match sections.len() {
            0 => "The rules in the files change nothing.".to_owned(),
            count => format!(
                "The rules in the files would change {count} of the devices and paths. To apply them: \
                 `psactl storage core claimrule load`, then \
                 `psactl storage core claiming reclaim -d DEVICE` for each."
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

/// The state of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// [`super::INTERFACE_VERSION`] of the agent.
    pub interface_version: u32,
    /// Seconds since the agent started.
    pub uptime_seconds: u64,
    /// Whether the agent has nothing pending: no path waits to be identified, no map to be created or changed.
    pub settled: bool,
    /// Paths known.
    pub paths: u64,
    /// Number of paths that are dead.
    pub dead_paths: u64,
    /// Devices known.
    pub devices: u64,
    /// Maps that the agent manages.
    pub maps: u64,
    /// Tables loaded since the agent started: stays 0 after a restart if nothing changed.
    pub tables_loaded: u64,
    /// Maps that currently queue I/O because no path is left.
    pub queueing_maps: u64,
    /// How SCSI commands are sent: `sg`, `bsg`, or `none` before the first path.
    #[serde(default)]
    pub transport: String,
    /// The reason for this choice.
    #[serde(default)]
    pub transport_reason: String,
    /// Which errors of ordinary I/O the kernel reports: `errors`, `all`, or `off`. Since version 5, like the next
    /// field.
    #[serde(default)]
    pub io_errors: String,
    /// The source of these reports, or why there is none.
    #[serde(default)]
    pub io_errors_reason: String,
    /// How the maps of new devices are named: `naa`, `wwid`, `mpath`. Since version 8.
    #[serde(default)]
    pub map_names: String,
    /// Milliseconds between two checks of a healthy path. Since version 9, like the next two.
    #[serde(default)]
    pub check_interval_ms: u64,
    /// Milliseconds for which an open map queues I/O with all paths down.
    #[serde(default)]
    pub apd_timeout_ms: u64,
    /// Seconds until the transport fails the I/O of a lost port; 0: the values of the ports stay as they are.
    #[serde(default)]
    pub fast_io_fail_tmo: u32,
}

/// A record of `events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number of the event, from 1 since the agent started.
    pub number: u64,
    /// Time, in ms since 1970.
    pub time_ms: u64,
    /// `error`, `warning`, `info`.
    pub severity: String,
    /// One of [`crate::psa::codes::CODES`].
    pub code: String,
    /// The device, path or map it is about, or `agent`.
    pub subject: String,
    /// Details in display order.
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

/// A device with its groups, paths and adapters at one point in time: for `graph` and `top`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// `naa.6001...`
    pub device: String,
    /// As in `NmpDevice`.
    pub display_name: String,
    /// Size in MiB.
    pub size_mib: u64,
    /// As in [`CoreDevice::status`].
    pub status: String,
    /// Seconds since all paths went down; `None` while one is usable, and for a device that is lost.
    pub apd_seconds: Option<u64>,
    /// Whether I/O is queued while all paths are down; otherwise it fails.
    pub queueing: bool,
    /// `NMP`, `HPP`
    pub plugin: String,
    /// `VMW_SATP_ALUA`; empty if none is selected yet.
    pub satp: String,
    /// `VMW_PSP_RR`, or the scheme of HPP.
    pub psp: String,
    /// Kernel name of its map, `dm-3`; `None` if the device has no map.
    pub map: Option<String>,
    /// Priority groups in the order of the table.
    pub groups: Vec<TopologyGroup>,
    /// Ordered by runtime name.
    pub paths: Vec<TopologyPath>,
}

/// A priority group of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyGroup {
    /// Its position in the table, from 1.
    pub number: u32,
    /// The dm state: `active`, `enabled`, `disabled` (bypassed).
    pub state: String,
    /// Whether I/O uses this group, or will use it next.
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
    /// Why it is in this state; empty if there is no special reason.
    pub reason: String,
    /// `sdc`
    pub disk: Option<String>,
    /// `2:0:0:1`
    pub hctl: String,
    /// Number of its priority group; `None` if it is not in the table.
    pub group: Option<u32>,
    /// Whether it may carry I/O now.
    pub carries_io: bool,
}

/// A multipath map of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MultipathMap {
    /// dm name.
    pub name: String,
    /// Its dm UUID without `mpath-`.
    pub wwid: String,
    /// `naa.6001...`
    pub device: String,
    /// Kernel name, `dm-3`.
    pub kernel_name: String,
    /// Length in sectors of 512 bytes.
    pub sectors: u64,
    /// Whether its table is read-only.
    pub read_only: bool,
    /// Whether it is suspended: no I/O runs.
    pub suspended: bool,
    /// Open count, without partitions that are not open.
    pub users: u32,
    /// The features of the table as the kernel prints them: `1 queue_if_no_path`.
    pub features: String,
    /// The hardware handler of the table as the kernel prints it: `1 alua`.
    pub handler: String,
    /// Whether the kernel queues I/O while no path works.
    pub queues: bool,
    /// For how many more seconds I/O is queued; `None` while a path works, and when it has ended.
    pub queues_for: Option<u64>,
    /// Why the agent does not change the map; `None` if it manages the map.
    pub foreign: Option<String>,
    /// Priority groups in the order of the table.
    pub groups: Vec<MultipathGroup>,
    /// Tables that the agent loaded.
    pub tables_loaded: u64,
    /// How often I/O switched to another group.
    pub group_switches: u64,
    /// How often it had no path.
    pub outages: u64,
    /// How often it had no path for longer than I/O is queued.
    pub timeouts: u64,
    /// For how many seconds it queued I/O, in total.
    pub queued_seconds: u64,
}

/// A priority group of a [`MultipathMap`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MultipathGroup {
    /// The path selector with its arguments as the kernel prints them: `service-time 0`.
    pub selector: String,
    /// The dm state: `active`, `enabled`, `disabled`.
    pub state: String,
}

/// A path, or another disk in the table of a map.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MultipathPath {
    /// Kernel's address, `2:0:0:1`; `None` for a disk that is not a path.
    pub hctl: Option<String>,
    /// Kernel name of its disk, `sdc`.
    pub disk: Option<String>,
    /// Device number of its disk, `8:32`.
    pub device_number: Option<String>,
    /// The WWID of its device.
    pub wwid: Option<String>,
    /// dm name of the map whose table contains it.
    pub map: Option<String>,
    /// The number of its group in the table, from 1.
    pub group: Option<u32>,
    /// Whether device-mapper uses it; `None` if it is in no table.
    pub in_use: Option<bool>,
    /// `active`, `active unoptimized`, `standby`, `dead`, `off`, `unknown`, `masked`.
    pub state: String,
    /// SCSI device state: `running`, `offline`, ...
    pub device_state: String,
    /// `VMW_SATP_ALUA`; empty if none is selected.
    pub satp: String,
    /// Whether it is marginal.
    pub is_marginal: bool,
    /// `fc`
    pub transport: String,
    /// INQUIRY vendor.
    pub vendor: String,
    /// INQUIRY product.
    pub model: String,
    /// INQUIRY revision.
    pub revision: String,
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Largest transfer in bytes; 0 if unknown.
    pub maximum_io_size: u64,
    /// `fc.WWNN:WWPN`
    pub adapter_identifier: String,
    /// PCI address and name of the adapter.
    pub adapter_description: String,
    /// `fc.WWNN:WWPN`
    pub target_identifier: String,
    /// TARGET PORT GROUP.
    pub port_group: Option<u16>,
    /// PREF bit of the target port group.
    pub is_preferred: bool,
    /// How often it failed.
    pub failures: u64,
    /// Milliseconds until its next check.
    pub next_check_ms: Option<u64>,
}

/// The reply of `storage nmp psp fixed deviceconfig get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedConfig {
    /// `naa.6001...`
    pub device: String,
    /// Runtime name of the path that carries I/O; empty if none does.
    pub current_path: String,
    /// Runtime name of the preferred path; empty while the PSP has chosen none.
    pub preferred_path: String,
}

/// The reply of `storage nmp psp roundrobin deviceconfig get`.
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
    /// Which part of it takes effect, human-readable.
    pub in_effect: String,
}
