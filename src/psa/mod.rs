//! All decisions of dm-psa, as pure code.
//!
//! Input: [`event::Event`], what happened. Output: [`action::Action`], what to do. In between is [`world::World`]. It
//! has no access to clock, environment, threads or files, iterates only over ordered maps, and cannot panic. Everything
//! here can therefore be replayed: the same events give the same actions, byte for byte.
//!
//! The modules in order: each may use those that come before it in this list, and none that come after it. Files never import each other
//! in a cycle. `tests/import_order.rs` reads this table and checks both by the `use` lines:
//!
//! | module | what it holds |
//! |---|---|
//! | [`units`] | addresses, numbers and times, each a type of its own |
//! | [`names`] | the two names of a logical unit: WWID and device id |
//! | [`pattern`] | patterns of vendor and model |
//! | `lookup` | a hash map that cannot be iterated |
//! | `tried` | the result of trying a rule, for traces |
//! | [`adapter`] | HBAs, target ports, transports, runtime names |
//! | [`mpp`] | the multipathing plug-ins by name |
//! | [`identity`] | which logical unit a VPD page 83h names |
//! | `takeover` | limits how often this host may have an array move one logical unit |
//! | [`table`] | the dm-multipath grammar: tables, status, the differences between two tables |
//! | [`evidence`] | what checks find out about a path, and how a SATP judges it |
//! | [`facts`] | what the adapters report about this host |
//! | [`settings`] | the agent's settings, and those of a device |
//! | [`psp`] | path selection plug-ins |
//! | [`satp`] | storage array type plug-ins, and the rules that choose among them |
//! | `plugin` | what NMP and HPP do with a device |
//! | [`claim`] | claim rules: their syntax, their order, what they match |
//! | [`rules`] | the rules in force |
//! | [`memory`] | what is stored across restarts |
//! | [`change`] | what an admin may change |
//! | [`event`] | the input vocabulary |
//! | [`action`] | the output vocabulary |
//! | [`codes`] | event codes, and what to do about each |
//! | [`state`] | everything that the agent knows: paths, devices, maps, and all deadlines |
//! | `claiming` | applies the rules: which plug-in, SATP and PSP a path or device gets |
//! | `check` | which commands are sent to a path, and what the answers mean |
//! | `reconcile` | from what is known of a device to the actions on its map |
//! | `changes` | changes by an admin: how each is checked and applied |
//! | [`report`] | output for users: lists, explanations, figures, previews, inventories |
//! | [`world`] | the loop: an event in, actions out |

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
pub mod change;
mod changes;
mod check;
pub mod claim;
mod claiming;
pub mod codes;
pub mod event;
pub mod evidence;
pub mod facts;
pub mod identity;
pub(crate) mod lookup;
pub mod memory;
pub mod mpp;
pub mod names;
pub mod pattern;
mod plugin;
pub mod psp;
mod reconcile;
pub mod report;
pub mod rules;
pub mod satp;
pub mod settings;
pub mod state;
pub mod table;
pub(crate) mod takeover;
#[cfg(test)]
mod test_support;
mod tried;
pub mod units;
pub mod world;
