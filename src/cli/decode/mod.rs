//! Decodes the bytes of an answer field by field, under the names of SPC-5.
//!
//! Input: bytes. Output: a [`Decoded`]: a structure for the header, one for each descriptor, one for what could not be
//! decoded. The parsers are those of [`crate::scsi`], which decisions are based on; this module only does the layout. A
//! field in capitals has its name from the standard, any other name is specific to psactl. Tests: `tests/decode.rs`.

mod decoded;
mod inquiry;
mod rtpg;
mod sense;
mod vpd;

pub use decoded::Decoded;
pub use inquiry::inquiry;
pub use rtpg::rtpg;
pub use sense::sense;
pub(crate) use sense::{advice, sense_numbers};
pub use vpd::vpd;
