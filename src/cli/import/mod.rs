//! `psactl import`: rules of an ESXi host, or the configuration of multipath-tools, become rules and settings here.
//!
//! [`listing`] finds out the format of a listing; [`table`], [`csv`], [`xml`], [`json`], [`keyvalue`] or [`list`] makes
//! rows of it. [`conf`] makes sections and keywords of a multipath.conf, [`expression`] patterns of its regular
//! expressions, [`wwid`] device identifiers of its WWIDs.
//!
//! Invariants: functions on text, which no text makes panic; nothing of the text is dropped without a line that says
//! so.

pub mod conf;
pub mod csv;
pub mod expression;
pub mod json;
pub mod keyvalue;
pub mod list;
pub mod listing;
mod report;
pub mod table;
pub mod text;
pub mod wwid;
pub mod xml;

pub use report::{Entry, Outcome};
