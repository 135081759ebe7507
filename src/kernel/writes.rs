//! Makes writes to sysfs that may take minutes: the scan of a SCSI host, the rescan and the removal of a device.
//!
//! Input: jobs, each a list of writes in order. Output: the result of each write by a deadline. Every job has its own
//! process, not a thread: a thread that sleeps in such a write cannot be killed, and a process does not end before its
//! last thread does. So a thread would keep the shell waiting long after the deadline. A process that is left behind
//! holds nothing of its parent (no terminal, no pipe). It finishes the one write that the kernel has begun, and begins
//! no other, because the decision to make the later writes is out of date by then.
//!
//! Tests: below, with pipes in place of attributes that do not answer.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, write};
use std::ffi::CString;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// The attribute's file.
    pub file: PathBuf,
    /// The text to write.
    pub text: &'static str,
}

/// The result of a write.
#[derive(Debug)]
pub(crate) enum Written {
    /// It succeeded.
    Done,
    /// The kernel refused it.
    Failed(io::Error),
    /// It had not ended by the deadline. The kernel continues with it.
    Overdue,
    /// It was not begun, because an earlier one did not end.
    NotBegun,
}

/// A job that was begun: its process, and the results that the process reports.
struct Begun {
    child: Pid,
    said: PipeReader,
    written: Vec<Written>,
    ended: bool,
}

/// Carries out jobs in parallel, and the writes of each job one after the other; a failed write does not prevent the
/// next one. Returns when all have ended, at the latest after `within`, with one result for each write.
///
/// # Errors
/// The process of this job could not be created. The other jobs are not affected.
pub(crate) fn carry_out(jobs: &[Vec<Write>], within: Duration) -> Vec<io::Result<Vec<Written>>> {
    let deadline = Instant::now() + within;
    let mut begun: Vec<io::Result<Begun>> = jobs.iter().map(|job| begin(job)).collect();
    listen(&mut begun, deadline);
    let jobs = jobs.iter().zip(begun);
    jobs.map(|(job, begun)| Ok(finish(job, begun?))).collect()
}

/// Starts the process of a job.
fn begin(job: &[Write]) -> io::Result<Begun> {
    let (said, says) = io::pipe()?;
    let mut writes = Vec::new();
    for one in job {
        let file = CString::new(one.file.as_os_str().as_bytes())?;
        writes.push((file, one.text.as_bytes()));
    }
    // SAFETY: the child only makes system calls (close_range, open, write, _exit) with data prepared here. It allocates
    // nothing, takes no lock and runs no destructor, so it does not matter what other threads were doing.
    // JUSTIFICATION: the module comment says why it is not a thread; a separate program would have to be installed and
    // found.
    match unsafe { fork() }? {
        ForkResult::Child => {
            keep_only(says.as_raw_fd());
            for (file, text) in &writes {
                let done = write_once(file, text);
                let errno = done.map_or_else(|errno| errno as i32, |()| 0);
                // The parent is not listening any more, so there is nothing more to do.
                if write(&says, &errno.to_ne_bytes()).is_err() {
                    break;
                }
            }
            // SAFETY: ends the process without running destructors or functions registered with atexit().
            // JUSTIFICATION: exit() would flush buffers that belong to the parent.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => Ok(Begun {
            child,
            said,
            written: Vec::new(),
            ended: false,
        }),
    }
}

/// In the child: closes all descriptors of the parent except `fd`. Where the kernel has no `close_range` (before Linux
/// 5.9) they stay open, and a reader of the parent's output waits until the child ends.
fn keep_only(fd: i32) {
    let fd = fd.cast_unsigned();
    let close = |first: u32, last: u32| {
        // SAFETY: closes descriptors and touches no memory; nothing in this process uses them any more.
        // JUSTIFICATION: nix has no close_range, and only newer C libraries have it.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    };
    if fd > 0 {
        close(0, fd - 1);
    }
    close(fd + 1, u32::MAX);
}

/// In the child: makes one write.
fn write_once(file: &CString, text: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = open(file.as_c_str(), flags, Mode::empty())?;
    write(&file, text).map(drop)
}

/// Collects the results that the processes report, until all have ended or time is up.
fn listen(begun: &mut [io::Result<Begun>], deadline: Instant) {
    loop {
        let mut open: Vec<&mut Begun> = begun
            .iter_mut()
            .filter_map(|job| job.as_mut().ok().filter(|job| !job.ended))
            .collect();
        let left = deadline.saturating_duration_since(Instant::now());
        if open.is_empty() || left.is_zero() {
            return;
        }
        let ready: Vec<bool> = {
            let said = open.iter().map(|job| job.said.as_fd());
            let mut waits: Vec<PollFd> =
                said.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            // Rounded up: with a timeout of 0 the last millisecond would be a busy loop.
            let left = left.as_millis().saturating_add(1);
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            let polled = poll(
                &mut waits,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            );
            if polled.is_err_and(|errno| errno != Errno::EINTR) {
                return;
            }
            waits
                .iter()
                .map(|wait| wait.any().unwrap_or(false))
                .collect()
        };
        for (job, ready) in open.iter_mut().zip(ready) {
            if ready {
                job.take_in();
            }
        }
    }
}

impl Begun {
    /// Reads one result. Each is four bytes, written in one call.
    fn take_in(&mut self) {
        let mut errno = [0; 4];
        match self.said.read_exact(&mut errno) {
            Ok(()) => self.written.push(match i32::from_ne_bytes(errno) {
                0 => Written::Done,
                errno => Written::Failed(io::Error::from_raw_os_error(errno)),
            }),
            Err(_) => self.ended = true,
        }
    }
}

/// The results of a job, including the writes that its process did not report.
fn finish(job: &[Write], mut begun: Begun) -> Vec<Written> {
    if begun.ended {
        // It closed its end of the pipe, so it is ending.
        let _ = waitpid(begun.child, None);
    } else {
        // It finishes the write that it has begun. After this process ends it has another parent.
        let _ = kill(begun.child, Signal::SIGKILL);
    }
    if begun.written.len() < job.len() {
        begun.written.push(Written::Overdue);
    }
    begun.written.resize_with(job.len(), || Written::NotBegun);
    begun.written
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::mkfifo;
    use std::fs;

    fn job(files: &[PathBuf]) -> Vec<Write> {
        let write = |file: &PathBuf| Write {
            file: file.clone(),
            text: "- - -",
        };
        files.iter().map(write).collect()
    }

    #[test]
    fn writes_are_made_in_order_and_failures_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("scan"), folder.path().join("none/scan"));
        fs::write(&good, "").unwrap();
        let jobs = [job(&[bad, good.clone()]), job(&[])];
        let done = carry_out(&jobs, Duration::from_secs(30));
        let first = done[0].as_ref().unwrap();
        assert!(
            matches!(&first[0], Written::Failed(why) if why.kind() == io::ErrorKind::NotFound),
            "{first:?}"
        );
        assert!(matches!(first[1], Written::Done), "{first:?}");
        assert!(done[1].as_ref().unwrap().is_empty());
        assert_eq!(fs::read_to_string(good).unwrap(), "- - -");
    }

    #[test]
    fn a_hung_write_delays_no_other_and_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let (good, pipe) = (folder.path().join("scan"), folder.path().join("pipe"));
        fs::write(&good, "").unwrap();
        // The pipe has no reader, so the open does not end.
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let jobs = [job(&[pipe, good.clone()]), job(std::slice::from_ref(&good))];
        let before = Instant::now();
        let done = carry_out(&jobs, Duration::from_millis(300));
        assert!(before.elapsed() < Duration::from_secs(20));
        let late = done[0].as_ref().unwrap();
        assert!(
            matches!(late[..], [Written::Overdue, Written::NotBegun]),
            "{late:?}"
        );
        let done = done[1].as_ref().unwrap();
        assert!(matches!(done[..], [Written::Done]), "{done:?}");
    }
}
