//! Prepares the agent's own process: it must neither wait for a disk that only it can revive, nor be killed.
//!
//! Nothing here changes credentials. They must have their final value before the first sg device is opened: sg refuses
//! a file whose opener had other credentials (`sg_check_file_access`), and even dropping a capability changes them.

use crate::psa::action::Notice;
use crate::psa::codes::{self, Code};
use nix::sys::mman::MmapAdvise::{MADV_POPULATE_READ, MADV_POPULATE_WRITE};
use nix::sys::mman::{MlockAllFlags, madvise, mlockall};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use std::ffi::c_void;
use std::fs;
use std::hint::black_box;
use std::io;
use std::ptr::NonNull;

/// `OOM_SCORE_ADJ_MIN`: never killed when memory is short.
const NEVER: &str = "-1000";

/// The open files that the agent asks for: a pass-through device for each of ten thousand paths, and plenty for other
/// uses. A shell's default is 1,024.
const OPEN_FILES: u64 = 65_536;

/// Free memory that is kept in the heap, touched and locked: what the agent may need between two calls of [`reserve`]
/// to revive every path. Measured (`tests/no_new_pages.rs`): 200 devices with four paths each that fail and return need
/// 300 KiB of additional memory; the reserve is more than twice that.
const RESERVE: usize = 1 << 20;
const RESERVE_PER_PATH: usize = 1 << 10;
const MOST_RESERVE: usize = 12 << 20;

/// Free memory at the end of the heap that only [`reserve`] gives back, and the extra amount by which the heap grows.
const KEPT: usize = 16 << 20;
const GROWTH: usize = 1 << 20;

/// The size of one allocation of the reserve: below [`ALONE`], so that it comes from the heap.
const PIECE: usize = 64 << 10;

/// An allocation of this size or more is outside of the heap, and is given back when freed, for example an answer of
/// the API about ten thousand paths. Nothing that a reinstatement needs is this large.
const ALONE: usize = 4 << 20;

/// Prepares the process. Each step is tried; a step that fails is reported in a notice and does not stop the others.
///
/// The agent revives the disk that its own pages may be on, and that the kernel may have to write to before it can
/// provide another page. So nothing on the way to a reinstatement may read a page from a disk, need a new page, or wait
/// for a page to be written:
///
/// - The program, its libraries and their data are read into memory completely, and memory is locked as it is touched,
///   now and later (`mlockall`). Otherwise code that first runs when the paths are back, or a page that was swapped
///   out, could not be read. `MCL_ONFAULT` is set because the rest of the mappings is only address space: locking all
///   of it would take a multiple of the memory in use.
/// - Memory is touched in advance: a part of the stack of each thread when it starts ([`touch_stack`]), and free memory
///   in the heap ([`reserve`]). `free` never gives it back (`M_TRIM_THRESHOLD`, `M_TOP_PAD`), because the heap could
///   not grow again while memory is short.
/// - One heap serves all threads (`M_ARENA_MAX`), so one reserve does too; glibc would otherwise reserve 64 MiB for
///   each thread.
/// - When the kernel allocates memory for the agent, for an ioctl or a SCSI command, it never waits for a write to a
///   disk (`PR_SET_IO_FLUSHER`). This holds for the calling thread and those that it starts, so this function is called
///   before the first thread is started.
/// - The kernel's OOM killer leaves the process alone (`oom_score_adj`).
///
/// The process may also open 65,536 files, or as many as its hard limit allows (`RLIMIT_NOFILE`), and new files are
/// writable by the owner only (`umask` 022).
#[must_use]
pub fn prepare() -> Vec<Notice> {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let mut notices = Vec::new();
    notices.extend(flush_io());
    one_heap();
    if let Err(errno) = lock_memory() {
        notices.push(notice(codes::MEMORY_NOT_LOCKED, "mlockall", &errno.into()));
    }
    touch_stack::<{ 256 << 10 }>();
    notices.extend(reserve(0));
    notices.extend(files_allowed());
    if let Err(error) = fs::write("/proc/self/oom_score_adj", NEVER) {
        notices.push(notice(codes::MAY_BE_KILLED, "oom_score_adj", &error));
    }
    notices
}

/// Prepares a process that makes the maps once and exits: allows it the open files, and makes what it creates writable
/// by the owner only. It leaves before a disk of its own can be lost, so it locks no memory.
#[must_use]
pub fn prepare_once() -> Vec<Notice> {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    files_allowed().into_iter().collect()
}

/// Makes sure that the heap has the free memory that `paths` paths may need, and that all of the heap is in memory.
/// Memory that is already free counts, and what is free at the end of the heap beyond that is given back. Call this at
/// the start, and again later while there are no problems, because long-lived allocations use up the reserve. Returns a
/// notice if it failed.
#[must_use]
pub fn reserve(paths: usize) -> Option<Notice> {
    let bytes = RESERVE.saturating_add(paths.saturating_mul(RESERVE_PER_PATH));
    let bytes = bytes.min(MOST_RESERVE);
    let (free, at_end) = free_memory();
    match free.checked_sub(bytes) {
        Some(more) => give_back(at_end.saturating_sub(more)),
        None => {
            // Written to, for kernels without `MADV_POPULATE_WRITE`.
            let pieces: Vec<Vec<u8>> = (0..bytes / PIECE).map(|_| vec![1; PIECE]).collect();
            drop(black_box(pieces));
        }
    }
    // Memory that was allocated and freed without a write to it still has no pages.
    let error = populate().err()?;
    Some(notice(codes::MEMORY_NOT_LOCKED, "madvise", &error))
}

/// The free memory of the heap in bytes: in pieces of all sizes, and of this what is at its end.
#[cfg(target_env = "gnu")]
fn free_memory() -> (usize, usize) {
    // SAFETY: reads the allocator's counters.
    // JUSTIFICATION: the allocator's own function, which no crate wraps.
    let heap = unsafe { libc::mallinfo2() };
    (heap.fordblks, heap.keepcost)
}

/// Gives back the free memory at the end of the heap, except for `kept` bytes. The start of the agent, which examines all
/// paths at the same time, leaves a lot.
#[cfg(target_env = "gnu")]
fn give_back(kept: usize) {
    // SAFETY: changes no memory that is in use.
    // JUSTIFICATION: the allocator's own function, which no crate wraps.
    unsafe { libc::malloc_trim(kept) };
}

/// Not known.
#[cfg(not(target_env = "gnu"))]
fn free_memory() -> (usize, usize) {
    (0, 0)
}

#[cfg(not(target_env = "gnu"))]
fn give_back(_: usize) {}

/// Touches `BYTES` bytes of the stack of the calling thread.
#[inline(never)]
pub fn touch_stack<const BYTES: usize>() {
    black_box([1_u8; BYTES]);
}

/// `PR_SET_IO_FLUSHER`, since Linux 5.6; needs CAP_SYS_RESOURCE. The `libc` crate has no constant for it.
fn flush_io() -> Option<Notice> {
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    let none: libc::c_ulong = 0;
    let on: libc::c_ulong = 1;
    // SAFETY: takes only integers, and changes only how the kernel allocates memory for this thread.
    // JUSTIFICATION: no crate wraps it.
    let done = unsafe { libc::prctl(PR_SET_IO_FLUSHER, on, none, none, none) };
    let failed = || notice(codes::NOT_IO_FLUSHER, "prctl", &io::Error::last_os_error());
    (done != 0).then(failed)
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
    // Raising the hard limit needs CAP_SYS_RESOURCE.
    if setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, hard.max(OPEN_FILES)).is_ok() {
        return None;
    }
    // The notice has the limit that results, whether this succeeds or not.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let limit = [("limit", &*open_files().to_string())];
    Some(Notice::new(codes::FEW_OPEN_FILES, "agent", &limit))
}

#[cfg(target_env = "gnu")]
fn one_heap() {
    let bytes = |bytes: usize| libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, bytes(ALONE)),
        (libc::M_TRIM_THRESHOLD, bytes(KEPT)),
        (libc::M_TOP_PAD, bytes(GROWTH)),
    ] {
        // SAFETY: takes two integers and touches nothing else; a refusal (0) changes nothing.
        // JUSTIFICATION: the allocator's own function, which no crate wraps.
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(not(target_env = "gnu"))]
fn one_heap() {}

fn lock_memory() -> nix::Result<()> {
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    // Since Linux 4.4.
    mlockall(all | MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT))
}

/// Reads the mapped code, constants and data of the program and its libraries, and the heap, into memory. Data become
/// private pages of the process now, because otherwise the first write to a page would need a new one.
fn populate() -> io::Result<()> {
    let mut before = None;
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let part = program_part(line, before);
        before = part;
        let Some(part) = part else {
            continue;
        };
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(part.start));
        let how = if part.is_data {
            MADV_POPULATE_WRITE
        } else {
            MADV_POPULATE_READ
        };
        // SAFETY: both read pages in and change no content, whatever is mapped there.
        // JUSTIFICATION: no crate wraps it safely.
        // Since Linux 5.14.
        start.map_or(Ok(()), |start| unsafe { madvise(start, part.length, how) })?;
    }
    Ok(())
}

/// A mapping of the program or of a library, or the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    start: usize,
    length: usize,
    /// The mapping is writable.
    is_data: bool,
}

/// The part that a line of `/proc/PID/maps` describes, if it is one. `before` is the part of the previous line: data
/// that begin as zero (`.bss`) have no name, and follow the data that have one.
fn program_part(line: &str, before: Option<Part>) -> Option<Part> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let name = fields.nth(3);
    // A shared mapping is a file that the process works on, not a part of the program.
    let is_part = permissions.starts_with('r') && permissions.ends_with('p');
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (address(start)?, address(end)?);
    let follows = || {
        before
            .is_some_and(|part| part.is_data && part.start.checked_add(part.length) == Some(start))
    };
    let belongs = name.map_or_else(follows, |name| name.starts_with('/') || name == "[heap]");
    (belongs && is_part).then_some(Part {
        start,
        length: end.checked_sub(start)?,
        is_data: permissions.starts_with("rw"),
    })
}

fn notice(code: Code, call: &str, error: &io::Error) -> Notice {
    let reason = error.to_string();
    Notice::new(code, "agent", &[("call", call), ("reason", &reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_program_is_distinguished_from_other_mappings() {
        let part = |start, length, is_data| {
            Some(Part {
                start,
                length,
                is_data,
            })
        };
        let text = "55d0c8000000-55d0c8042000 r-xp 00005000 fd:01 12345   /usr/sbin/dm-psad";
        assert_eq!(
            program_part(text, None),
            part(0x55d0_c800_0000, 0x42000, false)
        );
        let constants = "7f00a000-7f00b000 r--p 00000000 fd:01 99 /usr/lib/a library.so";
        assert_eq!(
            program_part(constants, None),
            part(0x7f00_a000, 0x1000, false)
        );
        let data = "55d0c8000000-55d0c8042000 rw-p 00005000 fd:01 12345   /usr/sbin/dm-psad";
        assert_eq!(
            program_part(data, None),
            part(0x55d0_c800_0000, 0x42000, true)
        );
        let zeros = "55d0c8042000-55d0c8043000 rw-p 00000000 00:00 0";
        let follows = program_part(data, None);
        assert_eq!(
            program_part(zeros, follows),
            part(0x55d0_c804_2000, 0x1000, true)
        );
        assert_eq!(program_part(zeros, program_part(text, None)), None);
        let heap = "55d0c9000000-55d0c9042000 rw-p 00000000 00:00 0       [heap]";
        assert_eq!(
            program_part(heap, None),
            part(0x55d0_c900_0000, 0x42000, true)
        );
        for other in [
            "7ffd5d1fe000-7ffd5d200000 r-xp 00000000 00:00 0       [vdso]",
            "7f00a000-7f00b000 ---p 00000000 fd:01 99 /usr/lib/x.so",
            "7f00a000-7f00b000 rw-s 00000000 00:15 99 /run/dm-psa/journal/1",
            "7f00b000-7f00a000 r--p 00000000 fd:01 99 /usr/lib/x.so",
            "7f00a000-7f00b000 r--p 00000000 00:00 0",
            "",
        ] {
            assert_eq!(program_part(other, None), None, "{other}");
        }
    }

    /// KiB of read-only mappings that are not in memory, by `/proc/self/smaps`.
    fn missing() -> u64 {
        let (mut of_program, mut size, mut missing, mut before) = (false, 0, 0, None);
        for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
            let mut words = line.split_ascii_whitespace();
            let name = words.next().unwrap();
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            match name {
                "Size:" => size = number(),
                "Rss:" if of_program => missing += size - number(),
                _ if name.contains('-') => {
                    before = program_part(line, before);
                    of_program = before.is_some();
                }
                _ => {}
            }
        }
        missing
    }

    #[test]
    fn the_program_is_read_as_a_whole() {
        // The test program is large, and most of its code has never run.
        assert!(missing() > 0);
        populate().unwrap();
        assert_eq!(missing(), 0);
    }

    #[test]
    fn a_new_thread_is_an_io_flusher_like_the_first() {
        const PR_GET_IO_FLUSHER: libc::c_int = 58;
        let none: libc::c_ulong = 0;
        let notice = flush_io();
        let thread = crate::kernel::thread("test").spawn(move || {
            // SAFETY: takes only integers, and changes nothing.
            // JUSTIFICATION: as for `flush_io`.
            unsafe { libc::prctl(PR_GET_IO_FLUSHER, none, none, none, none) }
        });
        match notice {
            None => assert_eq!(thread.unwrap().join().unwrap(), 1),
            Some(notice) => assert_eq!(notice.code, "NOT_IO_FLUSHER"),
        }
    }

    #[test]
    fn failures_are_reported_and_not_fatal() {
        let error = io::Error::from_raw_os_error(libc::EPERM);
        let notice = notice(codes::MEMORY_NOT_LOCKED, "mlockall", &error);
        assert_eq!(notice.code, "MEMORY_NOT_LOCKED");
        assert_eq!(notice.details[0].1, "mlockall");
        assert!(notice.details[1].1.contains("not permitted"));
    }
}
