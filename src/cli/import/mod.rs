//! `psactl import`: rules of an ESXi host, or the configuration of multipath-tools, become rules and settings here.
//!
//! Input: text, and what this host has already. Output: a [`Plan`]: what is to be added, and a line for everything
//! that stands in the text ([`Entry`]). [`crate::cli::verbs`] reads the file, and writes what is planned.
//!
//! | from | the way |
//! |---|---|
//! | esxcli | [`listing`] finds out the format; [`table`], [`csv`], [`xml`], [`json`], [`keyvalue`] or [`list`] makes rows; [`esxcli`] makes rules of them |
//! | multipath.conf | [`conf`] makes sections and keywords; [`multipath`] goes through them, with [`devices`], [`blacklist`] and [`maps`] for the sections and [`keywords`] for what needs no translation |
//!
//! Invariants: functions on text, which no text makes panic; nothing of the text is dropped without a line that says
//! so; what is here already is never changed, so that a second import changes nothing.
//! Tests: `tests/import.rs`, with the inputs and what becomes of them in `tests/golden/import/`.

pub mod blacklist;
pub mod conf;
pub mod csv;
pub mod devices;
pub mod esxcli;
pub mod expression;
pub mod json;
pub mod keyvalue;
pub mod keywords;
pub mod list;
pub mod listing;
pub mod maps;
pub mod multipath;
mod plan;
mod report;
pub mod table;
pub mod text;
pub mod wwid;
pub mod xml;

pub use plan::Plan;
pub use report::{Entry, Outcome};
