//! The signals that end the agent.

use nix::sys::signal::{SigSet, Signal};
use std::io;

/// SIGTERM and SIGINT, blocked in this thread and in every thread that it starts from now on.
#[derive(Debug)]
pub(crate) struct Stop(SigSet);

impl Stop {
    /// Blocks the signals. Call this before the first thread is started, because a signal is delivered to any thread
    /// that does not block it.
    ///
    /// # Errors
    /// Those of `pthread_sigmask`.
    pub(crate) fn block() -> io::Result<Stop> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        Ok(Stop(set))
    }

    /// Calls `then` on a separate thread when one of the signals arrives.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn on_arrival(self, then: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = super::thread("signals");
        thread.spawn(move || {
            if self.0.wait().is_ok() {
                then();
            }
        })?;
        Ok(())
    }
}
