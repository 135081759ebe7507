//! The dm-multipath table and status as types.
//!
//! Input: text from the kernel, or an arrangement by a PSP. Output: text for the kernel, or the difference between the
//! wanted and the actual table. Invariants: `parse(emit(t)) == t`; parsers accept any text without panicking; the
//! limits of `drivers/md/dm-mpath.c` are enforced before the kernel does.

//!
//! Tests: in the file of each parser. The convergence of [`diff`] is proved against the model of the kernel in
//! `sim::dm` (`tests/table_converges.rs`).

pub mod diff;
pub mod emit;
pub mod model;
mod normal;
pub mod parse;
pub mod status;
mod words;
