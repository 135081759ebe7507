//! The methods of the interface: the parameters and the reply of each.

use super::error::ApiError;
use super::types::{
    Adapter, CoreDevice, CorePath, DetachedDevice, Event, Explanation, FixedConfig, HppDevice,
    HppPath, MultipathMap, MultipathPath, NmpDevice, NmpPath, RoundRobinConfig, Status, Topology,
};
use crate::psa::change::RulesEffect;
use crate::psa::report::inventory::Inventory;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A method; the implementing struct holds its parameters.
pub trait Method: Serialize + DeserializeOwned {
    /// Full name, `io.dmpsa.ListNmpDevices`.
    const NAME: &'static str;
    /// Its reply.
    type Reply: Serialize + DeserializeOwned;
}

/// Defines [`Request`] and the [`Method`] implementations from one line per method.
macro_rules! methods {
    (
        read { $($(#[$doc:meta])* $name:ident -> $reply:ident;)* }
        change { $($(#[$change_doc:meta])* $change:ident -> $changed:ident;)* }
    ) => {
        /// A parsed call: a request to the agent's owner thread.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Request {
            $($(#[$doc])* $name($name),)*
            /// A request to change something.
            Change(ChangeRequest),
        }

        /// A call that changes something; only root may make it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum ChangeRequest {
            $($(#[$change_doc])* $change($change),)*
        }

        impl Request {
            /// Full names of all methods.
            pub const NAMES: &'static [&'static str] =
                &[$(<$name as Method>::NAME,)* $(<$change as Method>::NAME),*];

            /// Parses a call.
            ///
            /// # Errors
            /// [`ApiError::MethodNotFound`], or [`ApiError::InvalidParameter`] with serde's reason.
            pub fn parse(method: &str, parameters: &Value) -> Result<Request, ApiError> {
                match method {
                    $(<$name as Method>::NAME => parse_parameters(parameters).map(Request::$name),)*
                    $(<$change as Method>::NAME => parse_parameters(parameters)
                        .map(ChangeRequest::$change)
                        .map(Request::Change),)*
                    _ => Err(ApiError::MethodNotFound { method: method.to_owned() }),
                }
            }
        }

        $(impl Method for $name {
            const NAME: &'static str = concat!("io.dmpsa.", stringify!($name));
            type Reply = $reply;
        })*

        $(impl Method for $change {
            const NAME: &'static str = concat!("io.dmpsa.", stringify!($change));
            type Reply = $changed;
        })*
    };
}

methods! {
    read {
        /// Devices of NMP.
        ListNmpDevices -> NmpDevices;
        /// Paths of NMP.
        ListNmpPaths -> NmpPaths;
        /// Devices of HPP.
        ListHppDevices -> HppDevices;
        /// Paths of HPP.
        ListHppPaths -> HppPaths;
        /// All paths.
        ListCorePaths -> CorePaths;
        /// All devices.
        ListCoreDevices -> CoreDevices;
        /// The devices that are off.
        ListDetachedDevices -> DetachedDevices;
        /// All host bus adapters.
        ListAdapters -> Adapters;
        /// Explains the state of a device or path.
        Explain -> Explained;
        /// What the rules in the files would change.
        Plan -> Explained;
        /// The data of all paths, for `psactl inventory`.
        GetInventory -> InventoryReply;
        /// The state of the agent.
        GetStatus -> StatusReply;
        /// Recent events.
        ListEvents -> Events;
        /// Devices with their groups, paths and adapters.
        GetTopology -> TopologyReply;
        /// Multipath maps and all paths, as the kernel and the agent see them.
        ListMaps -> Maps;
        /// Metrics.
        GetMetrics -> MetricsReply;
        /// The settings of VMW_PSP_FIXED.
        GetFixed -> FixedReply;
        /// The settings of VMW_PSP_RR.
        GetRoundRobin -> RoundRobinReply;
    }
    change {
        /// Sets the PSP of a device.
        SetPsp -> Changed;
        /// Sets the preferred path of a device.
        SetPreferredPath -> Changed;
        /// Sets the options of VMW_PSP_RR for a device.
        SetRoundRobin -> Changed;
        /// Sets the path selection of HPP for a device.
        SetHpp -> Changed;
        /// Sets the rank of a path.
        SetPathRank -> Changed;
        /// Turns a path off and on.
        SetPathState -> Changed;
        /// Turns a device off and on.
        SetDeviceState -> Changed;
        /// Removes the map of a device.
        FlushMap -> Changed;
        /// Reads the facts of the paths of a device again.
        RefreshDevice -> Changed;
        /// Sets the display name of a device.
        SetDeviceName -> Changed;
        /// Sets facts about a device that the agent cannot detect.
        SetDeviceFlags -> Changed;
        /// Removes devices from the list of those that are off.
        RemoveDetached -> Changed;
        /// Sets one option of the SATP configuration of a device.
        SetSatpWord -> Changed;
        /// Puts the rules in the files into force.
        LoadRules -> RulesLoaded;
        /// Claims unclaimed paths.
        RunRules -> Changed;
        /// Turns automatic claiming of paths on or off.
        SetAutoclaim -> Changed;
        /// Unclaims paths.
        Unclaim -> Changed;
        /// Unclaims the paths of a device and claims them again.
        Reclaim -> Changed;
        /// Ends the queueing of a device without paths.
        EndQueueing -> Changed;
    }
}

fn parse_parameters<T: DeserializeOwned>(parameters: &Value) -> Result<T, ApiError> {
    T::deserialize(parameters).map_err(|why| ApiError::InvalidParameter {
        parameter: "parameters".to_owned(),
        // A call may be 1 MiB long, which is too long for an error message.
        value: parameters.to_string().chars().take(200).collect(),
        reason: why.to_string(),
    })
}

/// Parameters of `ListNmpDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListNmpDevices {
    /// Only this device; `None` for all.
    pub device: Option<String>,
}

/// Reply of `ListNmpDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NmpDevices {
    /// Ordered by identifier.
    pub devices: Vec<NmpDevice>,
}

/// Parameters of `ListNmpPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListNmpPaths {
    /// Only paths of this device.
    pub device: Option<String>,
    /// Only this path.
    pub path: Option<String>,
}

/// Reply of `ListNmpPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NmpPaths {
    /// Ordered by runtime name.
    pub paths: Vec<NmpPath>,
}

/// Parameters of `ListHppDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListHppDevices {
    /// Only this device; `None` for all.
    pub device: Option<String>,
}

/// Reply of `ListHppDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HppDevices {
    /// Ordered by identifier.
    pub devices: Vec<HppDevice>,
}

/// Parameters of `ListHppPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListHppPaths {
    /// Only paths of this device.
    pub device: Option<String>,
    /// Only this path.
    pub path: Option<String>,
}

/// Reply of `ListHppPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HppPaths {
    /// Ordered by runtime name.
    pub paths: Vec<HppPath>,
}

/// Parameters of `ListCorePaths`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCorePaths {
    /// Only paths of this device.
    pub device: Option<String>,
    /// Only this path.
    pub path: Option<String>,
}

/// Reply of `ListCorePaths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorePaths {
    /// Ordered by runtime name.
    pub paths: Vec<CorePath>,
}

/// Parameters of `ListCoreDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCoreDevices {
    /// Only this device; `None` for all.
    pub device: Option<String>,
}

/// Reply of `ListCoreDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDevices {
    /// Ordered by identifier.
    pub devices: Vec<CoreDevice>,
}

/// Parameters of `ListDetachedDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListDetachedDevices {
    /// Only this device; `None` for all.
    pub device: Option<String>,
}

/// Reply of `ListDetachedDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachedDevices {
    /// Ordered by identifier.
    pub devices: Vec<DetachedDevice>,
}

/// Parameters of `ListAdapters`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAdapters {}

/// Reply of `ListAdapters`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapters {
    /// Ordered by number.
    pub adapters: Vec<Adapter>,
}

/// Parameters of `Explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// A device or a path, by any of its names.
    pub subject: String,
    /// List each rule that was tried on its own line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verbose: bool,
}

/// Reply of `Explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The answer.
    pub explanation: Explanation,
}

/// Parameters of `Plan`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {}

/// Parameters of `GetInventory`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetInventory {
    /// Number of paths to skip, in the order of their addresses: one reply cannot hold all paths.
    pub from: u64,
}

/// Reply of `GetInventory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryReply {
    /// A part of the paths; empty if there are no more.
    pub inventory: Inventory,
}

/// Parameters of `GetStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetStatus {}

/// Reply of `GetStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// The answer.
    pub status: Status,
}

/// Parameters of `ListEvents`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    /// Only events after this number, oldest first; `None` for the latest.
    pub after: Option<u64>,
    /// Maximum number of events.
    pub limit: Option<u64>,
    /// Only events of this device and its paths.
    pub device: Option<String>,
    /// Only events of this severity or a more severe one.
    pub severity: Option<String>,
}

/// Reply of `ListEvents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Ordered by number.
    pub events: Vec<Event>,
    /// Value of `after` for the next call: all events up to this number were examined.
    pub last: u64,
    /// When the agent started, in ms since 1970. A restarted agent numbers its events from 1 again.
    pub started_ms: u64,
}

/// Parameters of `GetTopology`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetTopology {
    /// Only this device; `None` for all.
    pub device: Option<String>,
}

/// Reply of `GetTopology`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyReply {
    /// Ordered by identifier.
    pub devices: Vec<Topology>,
}

/// Parameters of `ListMaps`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListMaps {}

/// Reply of `ListMaps`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Maps {
    /// Ordered by name.
    pub maps: Vec<MultipathMap>,
    /// The paths of this host, and disks of maps that are not such paths. In the order of their addresses.
    pub paths: Vec<MultipathPath>,
}

/// Parameters of `GetMetrics`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetMetrics {}

/// Reply of `GetMetrics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsReply {
    /// OpenMetrics 1.0.
    pub metrics: String,
}

/// Parameters of `GetFixed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetFixed {
    /// The device, by any of its names.
    pub device: String,
}

/// Reply of `GetFixed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedReply {
    /// The answer.
    pub config: FixedConfig,
}

/// Parameters of `GetRoundRobin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetRoundRobin {
    /// The device, by any of its names.
    pub device: String,
}

/// Reply of `GetRoundRobin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRobinReply {
    /// The answer.
    pub config: RoundRobinConfig,
}

/// Reply of the methods that change something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The effect, as one human-readable line.
    pub effect: String,
}

/// Parameters of `SetPsp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPsp {
    /// The device, by any of its names.
    pub device: String,
    /// `VMW_PSP_RR`; `None` reverts to the PSP that the rules select.
    pub psp: Option<String>,
}

/// Parameters of `SetPreferredPath`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPreferredPath {
    /// The device, by any of its names.
    pub device: String,
    /// One of its paths; `None` leaves the choice to the PSP.
    pub path: Option<String>,
}

/// Parameters of `SetRoundRobin`; absent ones are not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRoundRobin {
    /// The device, by any of its names.
    pub device: String,
    /// `default`, `iops`, `bytes`, `latency`.
    pub limit_type: Option<String>,
    /// I/Os per turn.
    pub iops: Option<u64>,
    /// Bytes per turn.
    pub bytes: Option<u64>,
    /// Whether active-unoptimized paths carry I/O too.
    pub use_ano: Option<bool>,
    /// Latency: I/Os sampled on each path.
    pub sampling_cycles: Option<u32>,
    /// Latency: ms between two evaluations.
    pub latency_eval_ms: Option<u64>,
}

/// Parameters of `SetHpp`; absent ones are not changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetHpp {
    /// The device, by any of its names.
    pub device: String,
    /// `FIXED`, `LB-RR`, `LB-IOPS`, `LB-BYTES`, `LB-Latency`.
    pub scheme: Option<String>,
    /// LB-RR: I/Os per turn.
    pub iops: Option<u64>,
    /// LB-RR: bytes per turn.
    pub bytes: Option<u64>,
    /// LB-Latency: ms between two evaluations.
    pub latency_eval_ms: Option<u64>,
    /// LB-Latency: I/Os sampled on each path.
    pub sampling_ios: Option<u32>,
    /// FIXED: the preferred path; empty leaves the choice to HPP.
    pub path: Option<String>,
    /// Whether active-unoptimized paths carry I/O too.
    pub use_ano: Option<bool>,
    /// Whether it counts as a solid state disk; allowed for devices of any plug-in.
    pub is_ssd: Option<bool>,
}

/// Parameters of `SetPathRank`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPathRank {
    /// The path, by any of its names.
    pub path: String,
    /// Higher is better; 0 is the default.
    pub rank: i32,
}

/// Parameters of `SetPathState`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPathState {
    /// The path, by any of its names.
    pub path: String,
    /// `true` turns it off, `false` on.
    pub off: bool,
    /// `false`: only until the path is removed from the host, or until the agent ends. Since version 8.
    pub persist: Option<bool>,
}

/// Parameters of `SetDeviceState`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDeviceState {
    /// The device, by any of its names.
    pub device: String,
    /// `true` turns it off, `false` on.
    pub off: bool,
    /// With `false` the state lasts until the agent stops, otherwise it is remembered. Since version 3; omitted where
    /// it is not needed, so that an older agent understands the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist: Option<bool>,
}

/// Parameters of `FlushMap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlushMap {
    /// The device, by any of its names.
    pub device: String,
}

/// Parameters of `RefreshDevice`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshDevice {
    /// The device, by any of its names.
    pub device: String,
}

/// Parameters of `SetDeviceName`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDeviceName {
    /// The device, by any of its names.
    pub device: String,
    /// The display name; `None` reverts to the default name.
    pub name: Option<String>,
    /// With `false` the name lasts until the agent stops, otherwise it is remembered.
    pub persist: Option<bool>,
}

/// Parameters of `SetDeviceFlags`; absent ones are not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDeviceFlags {
    /// The device, by any of its names.
    pub device: String,
    /// Another host holds a permanent reservation.
    pub perennially_reserved: Option<bool>,
    /// Other hosts use it too.
    pub shared_clusterwide: Option<bool>,
}

/// Parameters of `RemoveDetached`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveDetached {
    /// Only this device, which need not be present; `None` for all.
    pub device: Option<String>,
}

/// Parameters of `SetSatpWord`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSatpWord {
    /// The device, by any of its names.
    pub device: String,
    /// `disable_alua_followover`, ...
    pub word: String,
}

/// Parameters of `LoadRules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRules {
    /// Load the claim rules of this class too (`MP`, `Filter`, `VAAI`, `all`); `None` loads only SATP rules.
    pub claim_rules: Option<String>,
}

/// Reply of `LoadRules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesLoaded {
    /// The effect, as one human-readable line.
    pub effect: String,
    /// The number of claimed paths that the rules would give to another plug-in. Since version 6; before, 0.
    #[serde(default)]
    pub differing_paths: u64,
    /// The number of claimed devices that the rules would give another SATP, PSP or options. Since version 6; before,
    /// 0.
    #[serde(default)]
    pub differing_devices: u64,
}

impl RulesLoaded {
    /// The effect, if the rules differ from what is claimed.
    #[must_use]
    pub fn difference(self) -> Option<String> {
        let differs = self.differing_paths > 0 || self.differing_devices > 0;
        differs.then_some(self.effect)
    }
}

impl From<RulesEffect> for RulesLoaded {
    fn from(effect: RulesEffect) -> RulesLoaded {
        RulesLoaded {
            effect: effect.to_string(),
            differing_paths: effect.paths as u64,
            differing_devices: effect.devices as u64,
        }
    }
}

/// Parameters of `RunRules`: one of the three, or none of them for all unclaimed paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRules {
    /// As in `Unclaim`.
    pub matches: Option<String>,
    /// One path.
    pub path: Option<String>,
    /// The paths of a device.
    pub device: Option<String>,
}

/// Parameters of `SetAutoclaim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetAutoclaim {
    /// Whether unclaimed paths are claimed automatically.
    pub enabled: bool,
}

/// Parameters of `Unclaim`: exactly one of the four.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unclaim {
    /// The match of a claim rule, as `claimrule list` prints it: `adapter=vmhba2 channel=* target=* lun=*`.
    pub matches: Option<String>,
    /// All paths of a plug-in.
    pub plugin: Option<String>,
    /// One path.
    pub path: Option<String>,
    /// The paths of a device.
    pub device: Option<String>,
}

/// Parameters of `Reclaim`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reclaim {
    /// The device, by any of its names.
    pub device: String,
}

/// Parameters of `EndQueueing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndQueueing {
    /// The device, by any of its names.
    pub device: String,
}
