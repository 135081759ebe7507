//! The programs of multipath-tools that other software calls, answered by the agent: `multipath`, `multipathd` (the
//! client and the socket of the daemon), `mpathpersist` and `mpathconf`.
//!
//! OpenStack, Kubernetes drivers, oVirt, monitoring and installers run these programs and parse what they print. One
//! program, `dm-psa-multipath`, takes their place under their names. It reads the state from the agent (`ListMaps`) and
//! prints it in the formats of multipath-tools. Words, columns and exit codes are an interface here; they are those of
//! multipath-tools 0.9 to 0.15.
//!
//! ```text
//! multipathd show ... ──> server ──> grammar ──> daemon ──┬─> format, topology, json, status ──> host ──> the agent
//! multipath -ll       ──> multipath ──────────────────────┘
//! ```
//!
//! Invariants: no command loads a table or changes a queueing mode by itself. What changes something is asked of the
//! agent, for root only. No input of a peer makes a buffer grow past a fixed limit. Tests: `tests/compat.rs`, with the
//! texts in `tests/golden/compat`.

#![forbid(unsafe_code)]

pub mod client;
pub mod daemon;
mod format;
pub mod grammar;
pub mod host;
mod json;
pub mod multipath;
pub mod persist;
pub mod server;
mod status;
mod topology;
pub mod wire;

/// The version of multipath-tools whose formats are printed, as programs compare it.
pub(crate) const VERSION: &str = "multipath-tools v0.11.1 (01/28, 2025)";
