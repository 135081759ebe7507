//! Waiting of a command that goes on until it is stopped: `psactl events --follow`.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// SIGINT and SIGTERM, taken instead of being killed by them.
#[derive(Debug)]
pub struct Patience(SignalFd);

impl Patience {
    /// From now on these signals end [`Patience::wait`] alone.
    ///
    /// # Errors
    /// As `pthread_sigmask` and `signalfd`.
    pub fn new() -> io::Result<Patience> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Patience(signals))
    }

    /// Waits; `false` if a signal came, or nobody reads standard output any more.
    ///
    /// # Errors
    /// As `poll`.
    pub fn wait(&self, time: Duration) -> io::Result<bool> {
        let out = io::stdout();
        let mut watched = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            // POLLERR is told unasked: the reader of a pipe is gone.
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
