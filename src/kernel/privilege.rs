//! What the agent does to its own process before it serves: it must not wait for a disk that it is to revive, nor
//! be killed while it is the one who can.
//!
//! Nothing here changes credentials. They must be what they will be before the first sg device is opened: sg
//! refuses a file whose opener had other ones (`sg_check_file_access`), and even dropping a capability makes others
//! of them.

use crate::psa::action::Notice;
use nix::sys::mman::MmapAdvise::MADV_POPULATE_READ;
use nix::sys::mman::{MlockAllFlags, madvise, mlockall, munlockall};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use std::ffi::c_void;
use std::fs;
use std::io;
use std::ptr::NonNull;

/// `OOM_SCORE_ADJ_MIN`: never killed for memory.
const NEVER: &str = "-1000";

/// What the agent may have open, if it is given that: a pass-through device for each of ten thousand paths, and as many
/// files besides. A shell gives 1,024.
const OPEN_FILES: u64 = 65_536;

/// Prepares the process; each step is tried, and one that fails is told in a notice and does no more harm.
///
/// - The program and its libraries are read into memory as a whole, and memory is locked as it is touched, now and
///   later (`mlockall`): a page that has to come from a disk behind dead paths would never come, be it swapped out or
///   of code that runs for the first time when they are back. `MCL_ONFAULT` keeps what is mapped but never used, of
///   stacks and heap, out of memory.
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
    notices.extend(keep_in_memory());
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
    keep_in_memory()
}

fn keep_in_memory() -> Option<Notice> {
    if let Err(errno) = lock_memory() {
        return Some(notice("MEMORY_NOT_LOCKED", "mlockall", &errno.into()));
    }
    // Once locked, they stay.
    let error = read_program().err()?;
    Some(notice("MEMORY_NOT_LOCKED", "madvise", &error))
}

fn lock_memory() -> nix::Result<()> {
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    // Since Linux 4.4.
    mlockall(all | MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT))
}

/// Reads what is mapped of the program and its libraries, code and constants.
fn read_program() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let Some((start, length)) = program_part(line) else {
            continue;
        };
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(start));
        // SAFETY: MADV_POPULATE_READ reads pages in and changes none, whatever is mapped there.
        // JUSTIFICATION: no crate wraps it safely.
        // Since Linux 5.14.
        start.map_or(Ok(()), |start| unsafe {
            madvise(start, length, MADV_POPULATE_READ)
        })?;
    }
    Ok(())
}

/// Address and length, by a line of `/proc/PID/maps`, of a part of a program or library that nobody writes to.
fn program_part(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let is_file = fields.nth(3)?.starts_with('/');
    let is_constant = permissions.starts_with("r-");
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    (is_file && is_constant).then_some((start, end.checked_sub(start)?))
}

fn notice(code: &str, call: &str, error: &io::Error) -> Notice {
    let reason = error.to_string();
    Notice::new(code, "agent", &[("call", call), ("reason", &reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_program_is_told_from_other_mappings() {
        let text = "55d0c8000000-55d0c8042000 r-xp 00005000 fd:01 12345   /usr/sbin/dm-psad";
        assert_eq!(program_part(text), Some((0x55d0_c800_0000, 0x42000)));
        let constants = "7f00a000-7f00b000 r--p 00000000 fd:01 99 /usr/lib/a library.so";
        assert_eq!(program_part(constants), Some((0x7f00_a000, 0x1000)));
        for other in [
            "55d0c8000000-55d0c8042000 rw-p 00005000 fd:01 12345   /usr/sbin/dm-psad",
            "55d0c9000000-55d0c9042000 rw-p 00000000 00:00 0       [heap]",
            "7ffd5d1fe000-7ffd5d200000 r-xp 00000000 00:00 0       [vdso]",
            "7f00a000-7f00b000 ---p 00000000 fd:01 99 /usr/lib/x.so",
            "7f00b000-7f00a000 r--p 00000000 fd:01 99 /usr/lib/x.so",
            "7f00a000-7f00b000 r--p 00000000 00:00 0",
            "",
        ] {
            assert_eq!(program_part(other), None, "{other}");
        }
    }

    /// KiB that are not in memory of what nobody writes to, by `/proc/self/smaps`.
    fn missing() -> u64 {
        let (mut of_program, mut size, mut missing) = (false, 0, 0);
        for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().unwrap();
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            match name {
                "Size:" => size = number(),
                "Rss:" if of_program => missing += size - number(),
                _ if name.contains('-') => of_program = program_part(line).is_some(),
                _ => {}
            }
        }
        missing
    }

    #[test]
    fn the_program_is_read_as_a_whole() {
        // The tests' program is large, and most of it never ran.
        assert!(missing() > 0);
        read_program().unwrap();
        assert_eq!(missing(), 0);
    }

    #[test]
    fn what_fails_is_told_and_not_fatal() {
        let error = io::Error::from_raw_os_error(libc::EPERM);
        let notice = notice("MEMORY_NOT_LOCKED", "mlockall", &error);
        assert_eq!(notice.code, "MEMORY_NOT_LOCKED");
        assert_eq!(notice.details[0].1, "mlockall");
        assert!(notice.details[1].1.contains("not permitted"));
    }
}
