//! The errors of the interface, in the form in which they are sent: `{"error": NAME, "parameters": {...}}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An error reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters")]
pub enum ApiError {
    /// There is no such device or path.
    #[serde(rename = "io.dmpsa.NotFound")]
    #[error("{subject}: not found; {hint}")]
    NotFound {
        /// The name in the request.
        subject: String,
        /// What the user can do about it.
        hint: String,
    },
    /// A parameter is missing, unknown, of the wrong type, or its value is refused.
    #[serde(rename = "io.dmpsa.InvalidParameter")]
    #[error("{parameter}: `{value}` is refused: {reason}")]
    InvalidParameter {
        /// Its name; `parameters` if the problem is not a single one.
        parameter: String,
        /// Its value as received.
        value: String,
        /// Why it was refused, and what would be accepted.
        reason: String,
    },
    /// The agent cannot answer now; the call can be repeated.
    #[serde(rename = "io.dmpsa.Unavailable")]
    #[error("the agent cannot answer now: {reason}; try again")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The method changes something, and the caller is not root.
    #[serde(rename = "io.dmpsa.PermissionDenied")]
    #[error("{method}: only root can do this; try with sudo")]
    PermissionDenied {
        /// Full name of the method.
        method: String,
    },
    /// The agent could not carry out the request.
    #[serde(rename = "io.dmpsa.Failed")]
    #[error("{reason}")]
    Failed {
        /// Why.
        reason: String,
    },
    /// The interface has no such method.
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    #[error("the agent is older than this psactl and does not know {method}: update or restart it")]
    MethodNotFound {
        /// Full name of the method.
        method: String,
    },
    /// There is no such interface.
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    #[error("the agent does not know the interface {interface}")]
    InterfaceNotFound {
        /// Its name.
        interface: String,
    },
    /// A parameter of the varlink service interface is invalid.
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    #[error("the agent refuses the parameter {parameter}")]
    ServiceParameter {
        /// Its name.
        parameter: String,
    },
    /// An error that this version does not know.
    #[serde(skip)]
    #[error("{error} {parameters}")]
    Other {
        /// Its name.
        error: String,
        /// Its parameters, as JSON.
        parameters: String,
    },
}

impl ApiError {
    /// Decodes the error of a reply; an unknown error, or one of another form, becomes [`ApiError::Other`].
    #[must_use]
    pub fn from_reply(error: &str, parameters: &Value) -> ApiError {
        serde_json::from_value(serde_json::json!({"error": error, "parameters": parameters}))
            .unwrap_or_else(|_| ApiError::Other {
                error: error.to_owned(),
                parameters: parameters.to_string(),
            })
    }
}
