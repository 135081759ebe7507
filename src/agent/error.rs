//! Why the agent cannot start.

use crate::api::listener::ListenError;

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The socket of the API could not be opened.
    #[error("cannot start the API: {0}")]
    Listen(#[from] ListenError),
    /// A thread, a signal handler or a device node of the kernel is not available.
    #[error("cannot start {what}: {source}; {remedy}")]
    Start {
        /// What failed to start.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
        /// How to fix it.
        remedy: &'static str,
    },
}

/// Converts an I/O error to an error that names what failed to start.
pub(super) fn start(
    what: &'static str,
    remedy: &'static str,
) -> impl Fn(std::io::Error) -> AgentError {
    move |source| AgentError::Start {
        what,
        source,
        remedy,
    }
}
