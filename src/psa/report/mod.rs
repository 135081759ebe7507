//! What is shown: lists, explanations, figures, inventories; and what would be if rules were others.

pub mod explain;
pub mod figures;
pub mod inventory;
pub mod lint;
pub mod preview;
pub mod queueing;
pub mod snapshot;
pub mod takeover;
pub mod views;
