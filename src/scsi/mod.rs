//! Bytes and their meaning: CDBs, INQUIRY, VPD pages, target port groups, sense.
//!
//! Input: what a device sent, any bytes. Output: typed values with the field names of SPC-5, or a [`ParseError`]
//! that says what is wrong where. Invariants: no parser panics, whatever the bytes; no length field is believed
//! beyond the end of the data. Tests: in each file, and `tests/scsi_properties.rs`; fuzz targets in `tests/fuzz`.
//!
//! The standards are SPC-5 (T10/BSR INCITS 502), SBC-4 and SAM-6; where a clause is named by its title alone, its
//! number differs between the drafts.

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

pub mod capacity;
pub mod cdb;
pub mod inquiry;
pub mod mode;
pub mod names;
pub mod outcome;
pub mod ownership;
pub mod reader;
pub mod sense;
pub mod sense_data;
pub mod tpgs;
pub mod vpd;
pub mod vpd_block;

pub use reader::{ParseError, ParseProblem, Partly};
