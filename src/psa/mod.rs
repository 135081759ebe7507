//! Every decision of dm-psa, pure.
//!
//! Input: [`event::Event`], what happened. Output: [`action::Action`], what to do. In between [`world::World`],
//! which sees no clock, environment, thread or file, iterates only over ordered maps, and cannot panic.
//! Everything here is therefore replayable: the same events give the same actions, byte for byte.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![forbid(unsafe_code)]

pub mod action;
pub mod adapter;
mod apd;
pub mod change;
pub mod claim;
pub mod claiming;
pub mod codes;
pub mod device;
mod discovery;
mod disposition;
mod elsewhere;
pub mod event;
mod explain;
mod foresight;
mod health;
pub mod hints;
pub mod identity;
mod index;
pub mod inventory;
pub mod lint;
mod lone;
pub(crate) mod lookup;
mod lost;
mod maps;
pub mod marginal;
mod masked;
pub mod membership;
pub mod memory;
mod mismatch;
mod naming;
pub mod path;
mod paths;
pub mod pattern;
mod plan;
pub mod plugin;
mod port_groups;
pub mod proof;
pub mod psp;
pub mod queueing;
mod report;
pub mod satp;
mod schedule;
mod selection;
pub mod settings;
pub mod snapshot;
pub mod statistics;
pub mod table;
pub mod takeover;
#[cfg(test)]
mod test_support;
pub mod units;
mod wanted;
pub mod world;
