//! The varlink interface `io.dmpsa` between the agent and `psactl`.
//!
//! The contract is `io.dmpsa.varlink`, next to this file; the agent serves it as well. [`types`] are its records,
//! [`requests`] its methods, `error` its errors; both ends use the same structs. [`wire`] is the pure codec.
//! `server` is one thread that serves up to 64 sessions on [`listener`]'s socket and passes calls to a [`Handler`].
//! [`client`] makes blocking calls with a deadline.
//!
//! Invariants: no input of a peer can grow a buffer past a fixed limit, hold a session past its deadline or delay
//! another session. Tests: `tests/api.rs`.

#![forbid(unsafe_code)]

pub mod activation;
pub mod client;
pub(crate) mod error;
pub mod handler;
pub mod listener;
pub mod requests;
pub(crate) mod server;
mod service;
mod session;
pub mod types;
pub mod wire;

pub use error::ApiError;
pub use handler::{Handler, Peer};
pub use server::Server;

/// Name of the interface.
pub(crate) const INTERFACE: &str = "io.dmpsa";

/// Version of the interface; increases with each addition.
pub const INTERFACE_VERSION: u32 = 9;

/// The interface definition, which `GetInterfaceDescription` returns.
pub const DESCRIPTION: &str = include_str!("io.dmpsa.varlink");

/// The default socket of the agent.
pub const DEFAULT_SOCKET: &str = "/run/dm-psa/io.dmpsa";

/// Environment variable with the path of another socket.
pub(crate) const SOCKET_VARIABLE: &str = "DM_PSA_SOCKET";
