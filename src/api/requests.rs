//! The methods of the interface: the parameters and the reply of each.

use super::error::ApiError;
use super::types::{
    Adapter, CoreDevice, CorePath, DetachedDevice, Event, Explanation, FixedConfig, HppDevice,
    HppPath, NmpDevice, NmpPath, RoundRobinConfig, Status, Topology,
};
use crate::psa::report::inventory::Inventory;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A method: the struct is its parameters.
pub trait Method: Serialize + DeserializeOwned {
    /// Full name, `io.dmpsa.ListNmpDevices`.
    const NAME: &'static str;
    /// What it gives back.
    type Reply: Serialize + DeserializeOwned;
}

/// One line for each method; makes [`Request`] and the [`Method`] implementations of it.
macro_rules! methods {
    (
        read { $($(#[$doc:meta])* $name:ident -> $reply:ident;)* }
        change { $($(#[$change_doc:meta])* $change:ident;)* }
    ) => {
        /// A call that was understood: what the agent's owner thread is asked.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Request {
            $($(#[$doc])* $name($name),)*
            /// It is to change something.
            Change(ChangeRequest),
        }

        /// A call that is to change something: it is for root.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum ChangeRequest {
            $($(#[$change_doc])* $change($change),)*
        }

        impl Request {
            /// Full names of all methods.
            pub const NAMES: &'static [&'static str] =
                &[$(<$name as Method>::NAME,)* $(<$change as Method>::NAME),*];

            /// Understands a call.
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
            type Reply = Changed;
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
        /// Why a device or path is as it is.
        Explain -> Explained;
        /// What the rules in the files would change.
        Plan -> Explained;
        /// What is known of all paths, as `psactl inventory` writes it down.
        GetInventory -> InventoryReply;
        /// The agent and what it looks after.
        GetStatus -> StatusReply;
        /// What people were told.
        ListEvents -> Events;
        /// Devices with their groups, paths and adapters.
        GetTopology -> TopologyReply;
        /// What is counted.
        GetMetrics -> MetricsReply;
        /// What is set for VMW_PSP_FIXED.
        GetFixed -> FixedReply;
        /// What is set for VMW_PSP_RR.
        GetRoundRobin -> RoundRobinReply;
    }
    change {
        /// Sets the PSP of a device.
        SetPsp;
        /// Sets the preferred path of a device.
        SetPreferredPath;
        /// Sets what VMW_PSP_RR does on a device.
        SetRoundRobin;
        /// Sets how HPP chooses among the paths of a device.
        SetHpp;
        /// Sets the rank of a path.
        SetPathRank;
        /// Turns a path off and on.
        SetPathState;
        /// Turns a device off and on.
        SetDeviceState;
        /// Names a device for people.
        SetDeviceName;
        /// Says of a device what the agent cannot know.
        SetDeviceFlags;
        /// Takes devices from the list of those that are off.
        RemoveDetached;
        /// Sets a word of the SATP's configuration of a device.
        SetSatpWord;
        /// Puts the rules of the files into force.
        LoadRules;
        /// Claims unclaimed paths.
        RunRules;
        /// Has paths claimed by themselves, or not.
        SetAutoclaim;
        /// Unclaims paths.
        Unclaim;
        /// Claims the paths of a device anew.
        Reclaim;
        /// Ends the queueing of a device without paths.
        EndQueueing;
    }
}

fn parse_parameters<T: DeserializeOwned>(parameters: &Value) -> Result<T, ApiError> {
    T::deserialize(parameters).map_err(|why| ApiError::InvalidParameter {
        parameter: "parameters".to_owned(),
        // A call may be 1 MiB long; an error message is not.
        value: parameters.to_string().chars().take(200).collect(),
        reason: why.to_string(),
    })
}

/// Parameters of `ListNmpDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListNmpDevices {
    /// That one only.
    pub device: Option<String>,
}

/// Reply of `ListNmpDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NmpDevices {
    /// In the order of their identifiers.
    pub devices: Vec<NmpDevice>,
}

/// Parameters of `ListNmpPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListNmpPaths {
    /// Those of that device.
    pub device: Option<String>,
    /// That one only.
    pub path: Option<String>,
}

/// Reply of `ListNmpPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NmpPaths {
    /// In the order of their runtime names.
    pub paths: Vec<NmpPath>,
}

/// Parameters of `ListHppDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListHppDevices {
    /// That one only.
    pub device: Option<String>,
}

/// Reply of `ListHppDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HppDevices {
    /// In the order of their identifiers.
    pub devices: Vec<HppDevice>,
}

/// Parameters of `ListHppPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListHppPaths {
    /// Those of that device.
    pub device: Option<String>,
    /// That one only.
    pub path: Option<String>,
}

/// Reply of `ListHppPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HppPaths {
    /// In the order of their runtime names.
    pub paths: Vec<HppPath>,
}

/// Parameters of `ListCorePaths`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCorePaths {
    /// Those of that device.
    pub device: Option<String>,
    /// That one only.
    pub path: Option<String>,
}

/// Reply of `ListCorePaths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorePaths {
    /// In the order of their runtime names.
    pub paths: Vec<CorePath>,
}

/// Parameters of `ListCoreDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCoreDevices {
    /// That one only.
    pub device: Option<String>,
}

/// Reply of `ListCoreDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreDevices {
    /// In the order of their identifiers.
    pub devices: Vec<CoreDevice>,
}

/// Parameters of `ListDetachedDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListDetachedDevices {
    /// That one only.
    pub device: Option<String>,
}

/// Reply of `ListDetachedDevices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachedDevices {
    /// In the order of their identifiers.
    pub devices: Vec<DetachedDevice>,
}

/// Parameters of `ListAdapters`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAdapters {}

/// Reply of `ListAdapters`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapters {
    /// In the order of their numbers.
    pub adapters: Vec<Adapter>,
}

/// Parameters of `Explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// A device or a path, by any of its names.
    pub subject: String,
    /// Each rule that was tried has a line of its own.
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
    /// Without so many paths, in the order of their addresses: a reply has only so much room.
    pub from: u64,
}

/// Reply of `GetInventory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryReply {
    /// Some of the paths; none if there are no more.
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
    /// The first that come after that number; `None` is the last there are.
    pub after: Option<u64>,
    /// So many at most.
    pub limit: Option<u64>,
    /// Of that device and its paths.
    pub device: Option<String>,
    /// That severity and graver ones.
    pub severity: Option<String>,
}

/// Reply of `ListEvents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// In the order of their numbers.
    pub events: Vec<Event>,
    /// What to ask after next: all up to that number was looked at.
    pub last: u64,
    /// When the agent started, in ms since 1970: another agent numbers its events anew.
    pub started_ms: u64,
}

/// Parameters of `GetTopology`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetTopology {
    /// That one only.
    pub device: Option<String>,
}

/// Reply of `GetTopology`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyReply {
    /// In the order of their identifiers.
    pub devices: Vec<Topology>,
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
    /// Of that device.
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
    /// Of that device.
    pub device: String,
}

/// Reply of `GetRoundRobin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRobinReply {
    /// The answer.
    pub config: RoundRobinConfig,
}

/// Reply of all methods that change something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What is so now, a line for a person.
    pub effect: String,
}

/// Parameters of `SetPsp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPsp {
    /// Of that device.
    pub device: String,
    /// `VMW_PSP_RR`; `None` goes back to what the rules say.
    pub psp: Option<String>,
}

/// Parameters of `SetPreferredPath`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPreferredPath {
    /// Of that device.
    pub device: String,
    /// One of its paths; `None` leaves the choice to the PSP.
    pub path: Option<String>,
}

/// Parameters of `SetRoundRobin`; what is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRoundRobin {
    /// On that device.
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

/// Parameters of `SetHpp`; what is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetHpp {
    /// On that device.
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
    /// Whether it counts as a solid state disk; on devices of any plug-in.
    pub is_ssd: Option<bool>,
}

/// Parameters of `SetPathRank`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPathRank {
    /// Of that path.
    pub path: String,
    /// Higher is better; 0 is the default.
    pub rank: i32,
}

/// Parameters of `SetPathState`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPathState {
    /// Of that path.
    pub path: String,
    /// Whether it is off.
    pub off: bool,
}

/// Parameters of `SetDeviceState`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDeviceState {
    /// Of that device.
    pub device: String,
    /// Whether it is off.
    pub off: bool,
    /// `false`: until the agent ends; else it is remembered. Since version 3, and left out of calls that an older agent
    /// understands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist: Option<bool>,
}

/// Parameters of `SetDeviceName`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDeviceName {
    /// Of that device.
    pub device: String,
    /// What people call it; `None` goes back to the name that it has by itself.
    pub name: Option<String>,
    /// `false`: until the agent ends; else it is remembered.
    pub persist: Option<bool>,
}

/// Parameters of `SetDeviceFlags`; what is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetDeviceFlags {
    /// Of that device.
    pub device: String,
    /// Another host holds a reservation for good.
    pub perennially_reserved: Option<bool>,
    /// Other hosts use it too.
    pub shared_clusterwide: Option<bool>,
}

/// Parameters of `RemoveDetached`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveDetached {
    /// That one, also if it is not there; `None` is all.
    pub device: Option<String>,
}

/// Parameters of `SetSatpWord`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSatpWord {
    /// Of that device.
    pub device: String,
    /// `disable_alua_followover`, ...
    pub word: String,
}

/// Parameters of `LoadRules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRules {
    /// The claim rules too, and of which class (`MP`, `Filter`, `VAAI`, `all`); `None` reads SATP rules alone.
    pub claim_rules: Option<String>,
}

/// Parameters of `RunRules`: one of the three, or none for all unclaimed paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRules {
    /// As of `Unclaim`.
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
    /// Whether unclaimed paths are claimed by themselves.
    pub enabled: bool,
}

/// Parameters of `Unclaim`: one of the four.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unclaim {
    /// What a claim rule would match, as `claimrule list` prints it: `adapter=vmhba2 channel=* target=* lun=*`.
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
    /// That device.
    pub device: String,
}

/// Parameters of `EndQueueing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndQueueing {
    /// Of that device.
    pub device: String,
}
