//! The dm-multipath table and status, typed.
//!
//! Input: text of the kernel, or an arrangement of a PSP. Output: text for the kernel, or the difference between
//! what is wanted and what is. Invariants: `parse(emit(t)) == t`; parsers accept any text without panicking;
//! the limits of `drivers/md/dm-mpath.c` are enforced before the kernel does.

pub mod model;
