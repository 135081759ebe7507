//! An io_uring for bsg commands: submission entries of 128 bytes, completion entries of 32.

use super::command::LENGTH;
use io_uring::squeue::{Entry128, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Entries of the submission queue; more commands than that are sent in several calls.
const ENTRIES: u32 = 256;
/// Entries of the completion queue; completions that do not fit wait in the kernel (`IORING_FEAT_NODROP`).
pub(super) const COMPLETIONS: u32 = 2048;

/// How many kernel threads (io-wq) may sleep for us at a time. A command goes to one of them if its host has no free
/// tag, its queue is frozen or memory is short: `io_uring_enter` itself never waits for a device.
const SLEEPERS: u32 = 64;

/// With several commands out, a wait goes on for this long after the first one is back, to fetch more of them together.
const GATHER: Duration = Duration::from_micros(500);
/// ... unless this many are back.
const GATHERED: usize = 16;

/// The token of the wake-up descriptor.
pub(super) const WAKE: u64 = u64::MAX;

/// A completion.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    /// The token that it was submitted with.
    pub(super) token: u64,
    /// 0 or a negative errno; unused for [`WAKE`].
    pub(super) result: i32,
    /// See [`super::command::ending`].
    pub(super) res2: u64,
    /// More completions with this token will follow.
    pub(super) more: bool,
}

/// The ring.
pub(super) struct Ring {
    ring: IoUring<Entry128, cqueue::Entry32>,
    gathers: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    /// Creates a ring for the calling thread only: completions become available only while that thread waits for them.
    ///
    /// # Errors
    /// The kernel's error: ENOSYS without io_uring, EPERM where it is forbidden, EINVAL where it is too old.
    pub(super) fn new() -> io::Result<Ring> {
        let ring = IoUring::<Entry128, cqueue::Entry32>::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_clamp()
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(ENTRIES)?;
        ring.submitter()
            .register_iowq_max_workers(&mut [SLEEPERS, SLEEPERS])?;
        let gathers = ring.params().is_feature_min_timeout();
        Ok(Ring { ring, gathers })
    }

    /// Whether there is no space for another command before the next [`Ring::enter`].
    pub(super) fn is_full(&mut self) -> bool {
        self.ring.submission().is_full()
    }

    /// Queues a command for an open bsg device. With `patient` it goes to a thread that may sleep. Returns whether
    /// there was space.
    ///
    /// # Safety
    /// The memory that the pointers in `command` lead to must stay in place, and must be neither read nor written by
    /// others, until a completion with this token has arrived. `file` must stay open until then.
    pub(super) unsafe fn push(
        &mut self,
        file: &File,
        command: [u8; LENGTH],
        token: u64,
        patient: bool,
    ) -> bool {
        let flags = match patient {
            true => Flags::ASYNC,
            false => Flags::empty(),
        };
        // bsg ignores `cmd_op`.
        let entry = opcode::UringCmd80::new(Fd(file.as_raw_fd()), 0)
            .cmd(command)
            .build()
            .user_data(token)
            .flags(flags);
        // SAFETY: guaranteed by the caller.
        unsafe { self.ring.submission().push(&entry) }.is_ok()
    }

    /// From now on, until a completion without `more`, a write to `wake` gives a completion with the token [`WAKE`].
    /// Returns whether there was space.
    pub(super) fn watch(&mut self, wake: BorrowedFd<'_>) -> bool {
        let entry = opcode::PollAdd::new(Fd(wake.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(WAKE);
        // SAFETY: the entry has no pointers.
        unsafe { self.ring.submission().push(&entry.into()) }.is_ok()
    }

    /// Submits the queue, and waits for completions for at most `wait`; `out` commands may come back.
    ///
    /// # Errors
    /// The kernel took nothing: EAGAIN, EBUSY and ENOMEM are temporary, others are not.
    pub(super) fn enter(&mut self, out: usize, wait: Duration) -> io::Result<()> {
        let wait = Timespec::from(wait);
        let mut args = SubmitArgs::new().timespec(&wait);
        let mut want = 1;
        if self.gathers && out > 1 {
            want = out.min(GATHERED);
            args = args.min_wait_usec(u32::try_from(GATHER.as_micros()).unwrap_or(0));
        }
        match self.ring.submitter().submit_with_args(want, &args) {
            Ok(_) => Ok(()),
            // Nothing came back in time, or a signal interrupted the wait.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Submits the queue without waiting.
    ///
    /// # Errors
    /// As for [`Ring::enter`].
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.ring.submit().map(drop)
    }

    /// Replaces the contents of `into` with the completions that are there.
    pub(super) fn completions(&mut self, into: &mut Vec<Completion>) {
        into.clear();
        into.extend(self.ring.completion().map(|entry| Completion {
            token: entry.user_data(),
            result: entry.result(),
            res2: entry.big_cqe()[0],
            more: cqueue::more(entry.flags()),
        }));
    }

    /// Checks that the kernel takes commands for an open bsg device; the device itself gets none.
    ///
    /// # Errors
    /// EOPNOTSUPP if it does not take them.
    pub(super) fn probe(&mut self, file: &File) -> io::Result<()> {
        // SAFETY: the command has no pointers, and its completion is waited for here.
        if !unsafe { self.push(file, super::command::empty(), 0, false) } {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        self.enter(1, Duration::from_secs(1))?;
        let mut completions = Vec::new();
        self.completions(&mut completions);
        let result = completions
            .first()
            .map_or(-libc::ETIME, |completion| completion.result);
        match result.saturating_neg() {
            // The kernel looked at the command and found no CDB.
            0 | libc::EINVAL => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}
