//! The dm-multipath table and status, typed.
//!
//! Input: text of the kernel, or an arrangement of a PSP. Output: text for the kernel, or the difference between
//! what is wanted and what is. Invariants: `parse(emit(t)) == t`; parsers accept any text without panicking;
//! the limits of `drivers/md/dm-mpath.c` are enforced before the kernel does.

//!
//! Tests: beside each parser; convergence of [`diff`] is proved against the model of the kernel in `sim::dm`
//! (`tests/table_converges.rs`).

pub mod diff;
pub mod emit;
pub mod model;
mod normal;
pub mod parse;
pub mod status;
mod words;
