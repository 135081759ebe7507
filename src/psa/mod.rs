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
#![forbid(unsafe_code)]

pub mod action;
pub mod adapter;
pub mod event;
pub mod identity;
pub mod memory;
pub mod path;
pub mod table;
pub mod units;
