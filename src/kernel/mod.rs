//! The only room with file descriptors, ioctls and `unsafe`.
//!
//! Input: uevents, sysfs and procfs, completions of SCSI commands, dm events. Output: [`crate::psa::event::Event`]s;
//! and in the other direction the [`crate::psa::action::Action`]s carried out. Invariants: nothing here decides
//! anything; no thread that answers for many paths ever waits for one device; every queue has a bound.
//! Tests: in each file what can be had without a kernel, golden trees in `tests/sysfs_golden.rs`, the rest in the
//! lab (`tests/lab`).

pub mod id;
pub mod sg;
pub mod sysfs;
pub mod usage;

/// Where the threads of this room put their events; `false` when nobody wants them any more. It waits while the
/// receiver is behind, so the receiver must not wait for a thread of this room.
pub type Sink = std::sync::Arc<dyn Fn(crate::psa::event::Event) -> bool + Send + Sync>;
