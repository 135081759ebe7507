//! `psactl import`: rules of an ESXi host become rules here.
//!
//! [`listing`] finds out the format of a listing; [`table`], [`csv`], [`xml`], [`json`], [`keyvalue`] or [`list`] makes
//! rows of it.
//!
//! Invariants: functions on text, which no text makes panic; nothing of the text is dropped without a line that says
//! so.

pub mod csv;
pub mod json;
pub mod keyvalue;
pub mod list;
pub mod listing;
mod report;
pub mod table;
pub mod text;
pub mod xml;

pub use report::{Entry, Outcome};
