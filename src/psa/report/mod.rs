//! Output for users: lists, explanations, figures, inventories, and previews of other rules.

mod explain;
pub(crate) mod figures;
pub mod inventory;
pub(crate) mod lint;
pub(crate) mod offline;
mod preview;
pub(crate) mod queueing;
pub mod snapshot;
pub(crate) mod takeover;
mod views;
