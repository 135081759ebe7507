//! What the agent does to its own process before it serves: it must not wait for a disk that it is to revive, nor
//! be killed while it is the one who can.
//!
//! Nothing here changes credentials. They must be what they will be before the first sg device is opened: sg
//! refuses a file whose opener had other ones (`sg_check_file_access`), and even dropping a capability makes others
//! of them.

use crate::psa::action::Notice;
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use std::fs;
use std::io;

/// `OOM_SCORE_ADJ_MIN`: never killed for memory.
const NEVER: &str = "-1000";

/// What the agent may have open, if it is given that: a pass-through device for each of ten thousand paths, and as many
/// files besides. A shell gives 1,024.
const OPEN_FILES: u64 = 65_536;

/// Prepares the process; each step is tried, and one that fails is told in a notice and does no more harm.
///
/// - Memory is locked as it is touched, now and later (`mlockall`): a page that has to come back from a swap device
///   behind a dead path would never come. `MCL_ONFAULT` keeps what is mapped but never used out of memory.
/// - One heap serves all threads: else glibc reserves, and the kernel counts as locked, 64 MiB for every one of them. What
///   is large, a part of the journal or an answer of the API, lives outside of it and is given back: locked memory cannot
///   be, but for the end of the heap.
/// - The kernel's memory killer leaves the process alone (`oom_score_adj`).
/// - It may open 65,536 files, or as many as it is allowed to allow itself (`RLIMIT_NOFILE`).
/// - New files may be written by the owner only (`umask` 022).
#[must_use]
pub fn prepare() -> Vec<Notice> {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let mut notices = Vec::new();
    one_heap();
    notices.extend(locked());
    notices.extend(files_allowed());
    if let Err(error) = fs::write("/proc/self/oom_score_adj", NEVER) {
        notices.push(notice("MAY_BE_KILLED", "oom_score_adj", &error));
    }
    notices
}

/// How many files the process may have open.
pub(super) fn open_files() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    usize::try_from(soft).unwrap_or(usize::MAX)
}

fn files_allowed() -> Option<Notice> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    if soft >= OPEN_FILES {
        return None;
    }
    // Above the hard limit only with CAP_SYS_RESOURCE.
    if setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, hard.max(OPEN_FILES)).is_ok() {
        return None;
    }
    // What came of it is told, whatever it is.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let limit = [("limit", &*open_files().to_string())];
    Some(Notice::new("FEW_OPEN_FILES", "agent", &limit))
}

#[cfg(target_env = "gnu")]
fn one_heap() {
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, 32 << 10),
        (libc::M_TRIM_THRESHOLD, 64 << 10),
    ] {
        // SAFETY: two integers go in and nothing else is touched; a refusal (0) changes nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn one_heap() {}

/// Gives memory back that was needed once, when all paths were found: a third of the heap. The kernel takes back no page
/// that is locked, so all are unlocked for that moment; they are in memory before and after. To be called where nothing is
/// amiss. What went wrong with it is told.
#[must_use]
pub fn give_back() -> Option<Notice> {
    #[cfg(target_env = "gnu")]
    {
        if let Err(errno) = munlockall() {
            return Some(notice("MEMORY_NOT_LOCKED", "munlockall", &errno.into()));
        }
        // SAFETY: it takes an integer and touches what is free alone.
        // JUSTIFICATION: the allocator's own function, which no crate wraps.
        unsafe { libc::malloc_trim(0) };
    }
    locked()
}

fn locked() -> Option<Notice> {
    let errno = lock_memory().err()?;
    Some(notice("MEMORY_NOT_LOCKED", "mlockall", &errno.into()))
}

fn lock_memory() -> nix::Result<()> {
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    // Since Linux 4.4.
    mlockall(all | MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT))
}

fn notice(code: &str, call: &str, error: &io::Error) -> Notice {
    let reason = error.to_string();
    Notice::new(code, "agent", &[("call", call), ("reason", &reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_told_and_not_fatal() {
        let error = io::Error::from_raw_os_error(libc::EPERM);
        let notice = notice("MEMORY_NOT_LOCKED", "mlockall", &error);
        assert_eq!(notice.code, "MEMORY_NOT_LOCKED");
        assert_eq!(notice.details[0].1, "mlockall");
        assert!(notice.details[1].1.contains("not permitted"));
    }
}
