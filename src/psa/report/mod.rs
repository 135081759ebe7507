//! Output for users: lists, explanations, figures, inventories, and previews of other rules.

pub mod explain;
pub mod figures;
pub mod inventory;
pub mod lint;
pub mod preview;
pub mod queueing;
pub mod snapshot;
pub mod takeover;
pub mod views;
