//! The interface to the Linux kernel: the only module with ioctls and `unsafe`.
//!
//! Input: uevents, sysfs and procfs, completions of SCSI commands, dm events. Output: [`crate::psa::event::Event`]s; in
//! the other direction it carries out [`crate::psa::action::Action`]s. Invariants: nothing here decides anything; no
//! thread that serves many paths ever waits for one device; every queue has a bound. The parts that only `psactl` uses
//! may wait, and the agent does not use them: `passthrough::sg::once`, `writes`, `openers`, `wait`.
//! Tests: in each file those that need no kernel, golden trees in `tests/sysfs_golden.rs`, the rest in the lab
//! (`tests/lab`).

pub mod activation;
pub(crate) mod backstop;
pub mod dm;
pub(crate) mod host;
pub mod id;
pub(crate) mod openers;
pub(crate) mod owner;
pub mod passthrough;
pub mod privilege;
pub mod process;
pub(crate) mod signal;
pub mod sysfs;
pub(crate) mod terminal;
pub(crate) mod trace;
pub(crate) mod uevent;
pub(crate) mod wait;
pub(crate) mod writes;

use crate::psa::action::Notice;
use crate::psa::event::Event;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Prepares a thread of the agent. All threads have small stacks, because the agent locks its memory including the
/// stacks, and the kernel counts each stack in full.
pub(crate) fn thread(name: impl Into<String>) -> Thread {
    const STACK: usize = 256 << 10;
    let builder = std::thread::Builder::new().name(name.into());
    Thread {
        builder: builder.stack_size(STACK),
        is_essential: true,
    }
}

/// A thread that is not spawned yet.
pub(crate) struct Thread {
    builder: std::thread::Builder,
    is_essential: bool,
}

impl Thread {
    /// Gives the thread a stack of another size than the default, in bytes.
    pub(crate) fn stack_size(self, bytes: usize) -> Thread {
        Thread {
            builder: self.builder.stack_size(bytes),
            ..self
        }
    }

    /// The agent can go on without this thread while memory is short, so it keeps no memory for its stack. The C library
    /// keeps the stacks of threads that have ended, with the pages that they touched.
    pub(crate) fn not_essential(self) -> Thread {
        Thread {
            is_essential: false,
            ..self
        }
    }

    /// Starts the thread. If it is essential, it first touches a quarter of its stack, because later there may be no free
    /// page for it ([`privilege`]).
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<T>> {
        self.builder.spawn(move || {
            if self.is_essential {
                privilege::touch_stack::<{ 64 << 10 }>();
            }
            run()
        })
    }
}

/// Where the threads of this module put their events.
#[derive(Clone)]
pub struct Sink(Arc<dyn Fn(Vec<Event>) -> bool + Send + Sync>);

/// Events are no longer wanted: the agent is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

impl Sink {
    /// Creates a sink that passes events to `put`, which returns whether it wants more. `put` waits while the receiver
    /// is behind. This is the back-pressure, so the receiver must not wait for a thread of this module.
    pub fn new(put: impl Fn(Vec<Event>) -> bool + Send + Sync + 'static) -> Sink {
        Sink(Arc::new(put))
    }

    /// Passes on an event.
    ///
    /// # Errors
    /// The agent is stopping.
    pub fn put(&self, event: Event) -> Result<(), Ended> {
        self.put_all(vec![event])
    }

    /// Passes on events that came together, in order, so that the receiver wakes up only once for them.
    ///
    /// # Errors
    /// The agent is stopping.
    pub(crate) fn put_all(&self, events: Vec<Event>) -> Result<(), Ended> {
        if events.is_empty() || (self.0)(events) {
            Ok(())
        } else {
            Err(Ended)
        }
    }
}

/// Where threads put notices for the user. It never waits.
#[derive(Clone)]
pub struct NoticeSink(Arc<dyn Fn(Notice) + Send + Sync>);

impl NoticeSink {
    /// Creates a sink that passes notices to `put`, which must not wait.
    pub fn new(put: impl Fn(Notice) + Send + Sync + 'static) -> NoticeSink {
        NoticeSink(Arc::new(put))
    }

    /// Creates a sink that drops notices, for programs other than the agent: they have neither log nor events, and
    /// report failures to their caller.
    #[must_use]
    pub fn discard() -> NoticeSink {
        NoticeSink::new(drop)
    }

    /// Passes on a notice.
    pub fn notify(&self, notice: Notice) {
        (self.0)(notice);
    }
}

/// Limits the notices about a problem that persists, or comes and goes: one a minute.
#[derive(Debug, Default)]
pub(crate) struct NoticeLimit(Option<Instant>);

impl NoticeLimit {
    const PAUSE: Duration = Duration::from_secs(60);

    /// Whether a notice may be raised now. If so, it counts as raised.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        let due = self
            .0
            .is_none_or(|last| now.saturating_duration_since(last) >= Self::PAUSE);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

impl fmt::Debug for NoticeSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoticeSink")
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persistent_problem_is_reported_once_a_minute() {
        let start = Instant::now();
        let mut limit = NoticeLimit::default();
        let admitted = (0..120).filter(|s| limit.admits(start + Duration::from_secs(*s)));
        assert_eq!(admitted.collect::<Vec<_>>(), [0, 60]);
    }
}
