//! `psactl import`: converts rules of an ESXi host, or the configuration of multipath-tools, into rules and settings of
//! this host.
//!
//! Input: text, and the existing configuration of this host. Output: a [`Plan`]: what to add, and a line for every item
//! in the text ([`Entry`]). [`crate::cli::verbs`] reads the file and writes what is planned.
//!
//! | from | steps |
//! |---|---|
//! | esxcli | `listing` detects the format; `table`, `csv`, `xml`, `json`, `keyvalue` or `list` reads `rows`; [`esxcli`] builds rules from them, and settings with `choices` |
//! | multipath.conf | `conf` parses sections and keywords; [`multipath`] processes them, with `said` for the keywords that count, `devices`, `blacklist`, `maps` and `bindings` for the sections, `levels` for precedence, `arrays` for the rules (`made`), `values` for the translation of values and `keywords` for keywords that need no translation |
//!
//! Invariants: these are functions on text, and no text makes them panic; everything in the text is either imported or
//! reported; existing configuration is never changed, so a second import changes nothing. Tests: `tests/import.rs`,
//! with the inputs and results in `tests/golden/import/`.

mod arrays;
mod bindings;
mod blacklist;
mod choices;
mod conf;
mod csv;
mod devices;
mod entries;
pub mod esxcli;
mod expression;
mod hwtable;
mod json;
mod keyvalue;
mod keywords;
mod levels;
mod list;
mod listing;
mod made;
mod maps;
pub mod multipath;
mod normal;
mod plan;
mod products;
mod protocol;
mod region;
mod report;
mod rows;
mod said;
mod table;
pub mod text;
mod values;
mod wwid;
mod xml;

pub use plan::Plan;
pub use report::{Entry, Outcome};
