//! The methods of the interface: the parameters and the reply of each.

use super::error::ApiError;
use super::types::{Adapter, CoreDevice, CorePath, Explanation, NmpDevice, NmpPath, Status};
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
    ($($(#[$doc:meta])* $name:ident -> $reply:ident;)*) => {
        /// A call that was understood: what the agent's owner thread is asked.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Request {
            $($(#[$doc])* $name($name),)*
        }

        impl Request {
            /// Full names of all methods.
            pub const NAMES: &'static [&'static str] = &[$(<$name as Method>::NAME),*];

            /// Understands a call.
            ///
            /// # Errors
            /// [`ApiError::MethodNotFound`], or [`ApiError::InvalidParameter`] with serde's reason.
            pub fn parse(method: &str, parameters: &Value) -> Result<Request, ApiError> {
                match method {
                    $(<$name as Method>::NAME => parse_parameters(parameters).map(Request::$name),)*
                    _ => Err(ApiError::MethodNotFound { method: method.to_owned() }),
                }
            }
        }

        $(impl Method for $name {
            const NAME: &'static str = concat!("io.dmpsa.", stringify!($name));
            type Reply = $reply;
        })*
    };
}

methods! {
    /// Devices of NMP.
    ListNmpDevices -> NmpDevices;
    /// Paths of NMP.
    ListNmpPaths -> NmpPaths;
    /// All paths.
    ListCorePaths -> CorePaths;
    /// All devices.
    ListCoreDevices -> CoreDevices;
    /// All host bus adapters.
    ListAdapters -> Adapters;
    /// Why a device or path is as it is.
    Explain -> Explained;
    /// The agent and what it looks after.
    GetStatus -> StatusReply;
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
}

/// Reply of `Explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The answer.
    pub explanation: Explanation,
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
