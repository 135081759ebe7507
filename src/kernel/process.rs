//! Reads what the kernel reports about this process.

use crate::psa::units::Millis;
use nix::time::{ClockId, clock_gettime};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Memory and files of a process; `None` for what cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Resident memory in bytes (`VmRSS`).
    pub resident: Option<u64>,
    /// Locked memory in bytes (`VmLck`).
    pub locked: Option<u64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
}

impl Usage {
    /// The usage of this process, from `/proc/self`.
    #[must_use]
    pub(crate) fn of_self() -> Usage {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Usage {
            resident: field(&status, "VmRSS"),
            locked: field(&status, "VmLck"),
            open_files: open_files().ok(),
        }
    }
}

/// A field of `/proc/PID/status` in kB, converted to bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Whether the host is shutting down and all processes are ending. Process 1 shows this: after all units were stopped,
/// `systemd-shutdown` replaces systemd's manager. False if it cannot be found out.
#[must_use]
pub(crate) fn host_ends(root: &Path) -> bool {
    // The kernel keeps 15 bytes of a name.
    fs::read_to_string(root.join("proc/1/comm"))
        .is_ok_and(|name| name.trim_end() == "systemd-shutdow")
}

fn open_files() -> io::Result<u64> {
    // The directory that is being read is one of the open files.
    let count = fs::read_dir("/proc/self/fd")?.count();
    Ok(u64::try_from(count).unwrap_or(u64::MAX).saturating_sub(1))
}

/// The time since the host booted, not counting suspend. This is the clock of the agent's timers, and a restarted agent
/// continues with the same one.
#[must_use]
pub(crate) fn since_boot() -> Millis {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Millis::from(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tdm-psad\nVmLck:\t       8 kB\nVmRSS:\t   12345 kB\nThreads:\t9\n";
        assert_eq!(field(status, "VmRSS"), Some(12_345 * 1024));
        assert_eq!(field(status, "VmLck"), Some(8 * 1024));
        for wrong in ["", "VmRSS: x kB\n", "VmRSS: 1 MB\n", "VmRSS\n"] {
            assert_eq!(field(wrong, "VmRSS"), None, "{wrong}");
        }
    }

    #[test]
    fn a_shutdown_is_detected_by_process_1() {
        let root = tempfile::tempdir().unwrap();
        assert!(!host_ends(root.path()));
        fs::create_dir_all(root.path().join("proc/1")).unwrap();
        for (name, ends) in [
            ("systemd-shutdow\n", true),
            ("systemd\n", false),
            ("init\n", false),
            ("", false),
        ] {
            fs::write(root.path().join("proc/1/comm"), name).unwrap();
            assert_eq!(host_ends(root.path()), ends, "{name}");
        }
        assert!(!host_ends(Path::new("/")));
    }

    #[test]
    fn this_process_has_files_and_memory() {
        let usage = Usage::of_self();
        assert!(usage.resident.unwrap() > 0);
        assert!(usage.open_files.unwrap() >= 1);
    }
}
