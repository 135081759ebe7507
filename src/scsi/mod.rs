//! Parses and builds SCSI data: CDBs, INQUIRY, VPD pages, target port groups, sense data.
//!
//! Input: bytes from a device, which may be arbitrary. Output: typed values with the field names of SPC-5, or a
//! [`ParseError`] that says what is wrong and where. Invariants: no parser panics, whatever the bytes; no length field
//! is trusted beyond the end of the data. Tests: in each file, and `tests/scsi_properties.rs`; fuzz targets in
//! `tests/fuzz`.
//!
//! The standards are SPC-5 (T10/BSR INCITS 502), SBC-4 and SAM-6. A clause is cited by its title alone where its number
//! differs between drafts.

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
pub(crate) mod mode;
pub(crate) mod names;
pub mod outcome;
pub(crate) mod ownership;
pub(crate) mod reader;
pub mod sense;
pub(crate) mod sense_data;
pub mod tpgs;
pub mod vpd;
pub(crate) mod vpd_block;

pub use reader::{ParseError, ParseProblem, Partly};
