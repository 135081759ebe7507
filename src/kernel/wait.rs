//! Provides the wait of commands that run until they are stopped: `psactl events --follow`.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Receives SIGINT and SIGTERM, which then no longer kill the process.
#[derive(Debug)]
pub(crate) struct Patience(SignalFd);

impl Patience {
    /// From now on these signals only end [`Patience::wait`].
    ///
    /// # Errors
    /// Those of `pthread_sigmask` and `signalfd`.
    pub(crate) fn new() -> io::Result<Patience> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Patience(signals))
    }

    /// Waits for `time`. Returns `false` if a signal came, or if the reader of standard output is gone.
    ///
    /// # Errors
    /// Those of `poll`.
    pub(crate) fn wait(&self, time: Duration) -> io::Result<bool> {
        let out = io::stdout();
        let mut watched = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            // POLLERR is always reported: the reader of a pipe is gone.
            PollFd::new(out.as_fd(), PollFlags::empty()),
        ];
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, time) {
            Ok(count) => Ok(count == 0),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }
}
