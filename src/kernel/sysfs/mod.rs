//! Reads facts about paths from sysfs and procfs.
//!
//! Input: the file trees of the kernel and udev's database below a root directory (`/`, or a copy of parts of them in a
//! test). Output: [`crate::psa::facts::PathFacts`]; for `psactl` also which names belong together, and [`statistics`]. Invariants: no
//! command is sent to a device and no device node is opened; an attribute that cannot be read costs only its own fact;
//! reading `n` paths costs `O(n)` small reads, because what many paths share (adapter, target port, mounts) is read
//! once per batch.
//!
//! Tests: `tests/sysfs_golden.rs` with trees captured from real kernels.

mod adapter;
mod device;
mod facts;
mod lookup;
pub mod statistics;
mod survey;
mod target;
mod tcm_loop;
mod tree;
mod usage;

pub use device::Port;
pub(crate) use lookup::number_of_node;
pub use survey::Survey;
pub use tree::{Shortage, Sysfs};
pub(crate) use tree::{address_in, host_in, raise_change};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_root_has_no_paths() {
        let sysfs = Sysfs::new("/nonexistent");
        assert!(sysfs.list_paths().unwrap().is_empty());
        assert!(!sysfs.udev_runs());
        let mut survey = Survey::new(sysfs);
        assert_eq!(survey.read("0:0:0:0".parse().unwrap()), Ok(None));
        assert!(survey.usage_changes().is_empty());
    }
}
