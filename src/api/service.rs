//! Dispatches calls: varlink's own interface is answered here, `io.dmpsa` by the handler.

use super::error::ApiError;
use super::handler::{Handler, Peer, Pending};
use super::wire::{self, Call, WireError};
use super::{DESCRIPTION, INTERFACE};
use serde::Serialize;
use serde_json::{Value, json};

const SERVICE: &str = "org.varlink.service";

/// The description that every varlink service returns; <https://varlink.org/Service>.
const SERVICE_DESCRIPTION: &str = "\
# The interface that every varlink service provides.
interface org.varlink.service

# The name and version of the service, and its interfaces.
method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)

# The text of an interface.
method GetInterfaceDescription(interface: string) -> (description: string)

# There is no such interface.
error InterfaceNotFound (interface: string)

# There is no such method.
error MethodNotFound (method: string)

# The method is described but not provided.
error MethodNotImplemented (method: string)

# A parameter is refused.
error InvalidParameter (parameter: string)
";

/// The answer to one message.
pub(super) enum Answer {
    /// The bytes to send back; empty for a call that wants no reply.
    Now(Vec<u8>),
    /// Another thread makes the answer.
    Later(Pending),
}

/// Answers one message.
///
/// # Errors
/// The message is not a varlink call: there is no reply, and the session must end.
pub(super) fn answer(handler: &dyn Handler, frame: &[u8], peer: Peer) -> Result<Answer, WireError> {
    let call: Call = wire::decode(frame)?;
    // Do not start a long answer for a call that wants no reply.
    if !call.oneway
        && !call.upgrade
        && call.parameters.is_object()
        && is_ours(&call.method)
        && let Some(pending) = handler.begin(&call.method, &call.parameters, peer)
    {
        return Ok(Answer::Later(pending));
    }
    let result = dispatch(handler, &call, peer);
    if call.oneway {
        return Ok(Answer::Now(Vec::new()));
    }
    encode(result, &call.method).map(Answer::Now)
}

/// Encodes an answer.
pub(super) fn encode(result: Result<Value, ApiError>, method: &str) -> Result<Vec<u8>, WireError> {
    #[derive(Serialize)]
    struct Success {
        parameters: Value,
    }
    let encoded = match result {
        Ok(parameters) => wire::encode(&Success { parameters }, wire::MAX_REPLY),
        Err(error) => wire::encode(&error, wire::MAX_REPLY),
    };
    encoded.or_else(|_| {
        let reason = format!(
            "the answer to {method} is longer than {} MiB; ask for one device or path",
            wire::MAX_REPLY >> 20
        );
        wire::encode(&ApiError::Failed { reason }, wire::MAX_REPLY)
    })
}

fn dispatch(handler: &dyn Handler, call: &Call, peer: Peer) -> Result<Value, ApiError> {
    if call.upgrade {
        return Err(ApiError::ServiceParameter {
            parameter: "upgrade".to_owned(),
        });
    }
    if !call.parameters.is_object() {
        return Err(ApiError::ServiceParameter {
            parameter: "parameters".to_owned(),
        });
    }
    let (interface, method) = call
        .method
        .rsplit_once('.')
        .unwrap_or(("", call.method.as_str()));
    match (interface, method) {
        (INTERFACE, _) => handler.call(&call.method, &call.parameters, peer),
        (SERVICE, "GetInfo") => Ok(json!({
            "vendor": "dm-psa",
            "product": "dm-psad",
            "version": env!("CARGO_PKG_VERSION"),
            "url": "",
            "interfaces": [SERVICE, INTERFACE],
        })),
        (SERVICE, "GetInterfaceDescription") => describe(&call.parameters),
        (SERVICE, _) => Err(ApiError::MethodNotFound {
            method: call.method.clone(),
        }),
        _ => Err(ApiError::InterfaceNotFound {
            interface: interface.to_owned(),
        }),
    }
}

/// Whether it is a method of `io.dmpsa`.
fn is_ours(method: &str) -> bool {
    method
        .rsplit_once('.')
        .is_some_and(|(interface, _)| interface == INTERFACE)
}

fn describe(parameters: &Value) -> Result<Value, ApiError> {
    match parameters.get("interface").and_then(Value::as_str) {
        Some(INTERFACE) => Ok(json!({ "description": DESCRIPTION })),
        Some(SERVICE) => Ok(json!({ "description": SERVICE_DESCRIPTION })),
        Some(other) => Err(ApiError::InterfaceNotFound {
            interface: other.to_owned(),
        }),
        None => Err(ApiError::ServiceParameter {
            parameter: "interface".to_owned(),
        }),
    }
}
