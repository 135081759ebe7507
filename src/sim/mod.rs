//! Simulates a kernel and an array below the real decision logic, with a virtual clock.
//!
//! Pure: no files, threads or clocks. The models follow measurements on real kernels and document what they leave out.
//!
//! Input: a host made with [`kernel::Kernel::cable`], and a script of [`fault::Fault`]s. Output: the journal of
//! [`run::Simulation`] and the [`kernel::Ledger`] of the I/O that users of the maps got. Tests: `tests/world.rs`
//! (examples), `tests/properties.rs` (random scripts on a small host), `tests/simulation.rs` (a large host for a long
//! time), `tests/two_hosts.rs` (several hosts on one array, by [`cluster::Cluster`]).

#![forbid(unsafe_code)]

pub mod array;
pub mod cluster;
pub mod dm;
pub mod fault;
mod handler;
mod inject;
pub mod kernel;
mod maps;
mod moves;
pub mod rng;
pub mod run;
mod state;
mod trespass;
mod udev;
