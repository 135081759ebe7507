//! The only room with file descriptors, ioctls and `unsafe`.
//!
//! Input: uevents, sysfs and procfs, completions of SCSI commands, dm events. Output: [`crate::psa::event::Event`]s;
//! and in the other direction the [`crate::psa::action::Action`]s carried out. Invariants: nothing here decides
//! anything; no thread that answers for many paths ever waits for one device; every queue has a bound.
//! Tests: in each file what can be had without a kernel, golden trees in `tests/sysfs_golden.rs`, the rest in the
//! lab (`tests/lab`).

pub mod owner;
pub mod privilege;
pub mod sg;
pub mod sysfs;
pub mod uevent;
