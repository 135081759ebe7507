//! An io_uring that carries bsg commands: submission entries of 128 bytes, completion entries of 32.

use super::command::LENGTH;
use io_uring::squeue::{Entry128, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Entries of the submission queue; more is sent in several calls.
const ENTRIES: u32 = 256;
/// Entries of the completion queue; what does not fit waits in the kernel (`IORING_FEAT_NODROP`).
pub(super) const COMPLETIONS: u32 = 2048;

/// So many threads of the kernel (io-wq) may sleep for us at a time. A command goes to one of them if its host has no
/// tag free, its queue is frozen or memory is short: `io_uring_enter` itself never waits for a device.
const SLEEPERS: u32 = 64;

/// With several commands out, a wait goes on for so long after the first of them is back, to fetch more at once.
const GATHER: Duration = Duration::from_micros(500);
/// ... unless so many are back.
const GATHERED: usize = 16;

/// The token of the wake-up descriptor.
pub(super) const WAKE: u64 = u64::MAX;

/// Something that ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    /// As it was sent with.
    pub(super) token: u64,
    /// 0 or a negative errno; for [`WAKE`] of no interest.
    pub(super) result: i32,
    /// See [`super::command::ending`].
    pub(super) res2: u64,
    /// Others with this token will follow.
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
    /// A ring for the thread that calls this, and no other: completions are made ready only when it waits for them.
    ///
    /// # Errors
    /// What the kernel says: ENOSYS without io_uring, EPERM where it is forbidden, EINVAL where it is too old.
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

    /// Whether there is no room for another command before the next [`Ring::enter`].
    pub(super) fn is_full(&mut self) -> bool {
        self.ring.submission().is_full()
    }

    /// Puts a command for an open bsg device into the queue. With `patient` it goes to a thread that may sleep.
    /// Whether there was room.
    ///
    /// # Safety
    /// What the pointers in `command` lead to must stay where it is, and be neither read nor written by others, until a
    /// completion with this token is there. `file` must stay open until then.
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
        // bsg does not look at `cmd_op`.
        let entry = opcode::UringCmd80::new(Fd(file.as_raw_fd()), 0)
            .cmd(command)
            .build()
            .user_data(token)
            .flags(flags);
        // SAFETY: as the caller promises.
        unsafe { self.ring.submission().push(&entry) }.is_ok()
    }

    /// From now on, or until a completion without `more`, writing to `wake` gives a completion with the token
    /// [`WAKE`]. Whether there was room.
    pub(super) fn watch(&mut self, wake: BorrowedFd<'_>) -> bool {
        let entry = opcode::PollAdd::new(Fd(wake.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(WAKE);
        // SAFETY: the entry has no pointers.
        unsafe { self.ring.submission().push(&entry.into()) }.is_ok()
    }

    /// Hands over what is in the queue, and waits for completions for at most `wait`; `out` commands may come back.
    ///
    /// # Errors
    /// The kernel took nothing: EAGAIN, EBUSY and ENOMEM pass, others do not.
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
            // Nothing came back in time, or a signal did.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Hands over what is in the queue.
    ///
    /// # Errors
    /// As [`Ring::enter`].
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.ring.submit().map(drop)
    }

    /// What came back.
    pub(super) fn completions(&mut self, into: &mut Vec<Completion>) {
        into.clear();
        into.extend(self.ring.completion().map(|entry| Completion {
            token: entry.user_data(),
            result: entry.result(),
            res2: entry.big_cqe()[0],
            more: cqueue::more(entry.flags()),
        }));
    }

    /// Whether the kernel takes commands for an open bsg device; the device itself gets none.
    ///
    /// # Errors
    /// EOPNOTSUPP if it does not.
    pub(super) fn probe(&mut self, file: &File) -> io::Result<()> {
        // SAFETY: the command has no pointers, and its completion is waited for.
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
            // It has looked at the command, and missed the CDB.
            0 | libc::EINVAL => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}
