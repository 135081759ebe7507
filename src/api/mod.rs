//! The varlink interface `io.dmpsa` between the agent and `psactl`.
//!
//! The contract is `io.dmpsa.varlink`, next to this file and served by the agent itself. [`types`] are its records,
//! [`requests`] its methods, [`error`] its errors; both ends use the same structs. [`wire`] is the pure codec,
//! [`server`] one thread that serves up to 64 sessions over [`listener`]'s socket and asks a [`Handler`],
//! [`client`] a blocking call with a deadline.
//!
//! Invariants: nothing that a peer sends can grow a buffer past a fixed limit, hold a session past its deadline or
//! delay another session. Tests: `tests/api.rs`.

#![forbid(unsafe_code)]

pub mod client;
pub mod error;
pub mod listener;
pub mod requests;
pub mod server;
mod service;
mod session;
pub mod types;
pub mod wire;

pub use error::ApiError;
pub use server::{Handler, Peer, Server};

/// Name of the interface.
pub const INTERFACE: &str = "io.dmpsa";

/// Version of the interface; counts additions.
pub const INTERFACE_VERSION: u32 = 5;

/// The interface file: the contract, as `GetInterfaceDescription` gives it.
pub const DESCRIPTION: &str = include_str!("io.dmpsa.varlink");

/// Where the agent listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/dm-psa/io.dmpsa";

/// Environment variable that names another socket.
pub const SOCKET_VARIABLE: &str = "DM_PSA_SOCKET";
