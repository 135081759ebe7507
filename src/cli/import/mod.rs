//! `psactl import`: rules of an ESXi host, or the configuration of multipath-tools, become rules and settings here.
//!
//! Input: text, and what this host has already. Output: a [`Plan`]: what is to be added, and a line for everything
//! that stands in the text ([`Entry`]). [`crate::cli::verbs`] reads the file, and writes what is planned.
//!
//! | from | the way |
//! |---|---|
//! | esxcli | [`listing`] finds out the format; [`table`], [`csv`], [`xml`], [`json`], [`keyvalue`] or [`list`] makes rows; [`esxcli`] makes rules of them, and with `choices` settings |
//! | multipath.conf | [`conf`] makes sections and keywords; [`multipath`] goes through them, with `devices`, `blacklist` and `maps` for the sections, `levels` for which value holds, `arrays` for the rules, `values` for what values become and `keywords` for what needs no translation |
//!
//! Invariants: functions on text, which no text makes panic; nothing of the text is dropped without a line that says
//! so; what is here already is never changed, so that a second import changes nothing.
//! Tests: `tests/import.rs`, with the inputs and what becomes of them in `tests/golden/import/`.

mod arrays;
mod blacklist;
mod choices;
pub mod conf;
pub mod csv;
mod devices;
mod entries;
pub mod esxcli;
mod expression;
mod hwtable;
pub mod json;
pub mod keyvalue;
mod keywords;
mod levels;
pub mod list;
pub mod listing;
mod maps;
pub mod multipath;
mod normal;
mod plan;
mod region;
mod report;
pub mod table;
pub mod text;
mod values;
pub mod wwid;
pub mod xml;

pub use plan::Plan;
pub use report::{Entry, Outcome};
