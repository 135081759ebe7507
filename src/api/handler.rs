//! What the server needs from its user: who answers calls, and the limits of sessions.

use super::error::ApiError;
use serde_json::Value;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// The caller: its credentials at the time of the connection, from the kernel (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Process.
    pub pid: i32,
}

/// Answers the calls of `io.dmpsa`.
///
/// Called on the server's thread, one call at a time: a slow answer delays all other sessions. So answer from a
/// snapshot, and return [`ApiError::Unavailable`] after a second.
pub trait Handler: Send {
    /// Answers a call; [`super::requests::Request::parse`] parses it.
    ///
    /// # Errors
    /// The error reply for the caller.
    fn call(&self, method: &str, parameters: &Value, peer: Peer) -> Result<Value, ApiError>;

    /// Starts to answer a call on another thread; `None` for a call that [`Handler::call`] answers. Only this session
    /// waits for the answer; the others continue.
    fn begin(&self, _method: &str, _parameters: &Value, _peer: Peer) -> Option<Pending> {
        None
    }
}

/// An answer that is not available yet. If its sender is dropped without an answer, the reply is "unavailable".
pub type Pending = Receiver<Result<Value, ApiError>>;

/// Limits of the server; the defaults are for the agent, other values for tests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of sessions. Further clients wait in the kernel's backlog.
    pub sessions: usize,
    /// How many of the sessions are reserved for root, so that other users cannot lock out an admin.
    pub reserved: usize,
    /// How long a session may be idle.
    pub idle: Duration,
    /// How long a session may be idle when all sessions are taken and others wait.
    pub idle_when_full: Duration,
    /// Maximum time from the first byte of a call to its answer.
    pub call: Duration,
    /// Maximum time from a call to its answer, if another thread makes the answer.
    pub work: Duration,
    /// Maximum time to send a reply, which the client must read within this time.
    pub reply: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: 64,
            reserved: 8,
            idle: Duration::from_secs(60),
            idle_when_full: Duration::from_secs(1),
            call: Duration::from_secs(5),
            work: Duration::from_secs(30),
            reply: Duration::from_secs(10),
        }
    }
}
