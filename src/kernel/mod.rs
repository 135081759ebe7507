//! The only room with file descriptors, ioctls and `unsafe`.
//!
//! Input: uevents, sysfs and procfs, completions of SCSI commands, dm events. Output: [`crate::psa::event::Event`]s;
//! and in the other direction the [`crate::psa::action::Action`]s carried out. Invariants: nothing here decides
//! anything; no thread that answers for many paths ever waits for one device; every queue has a bound.
//! What `psactl` uses by itself may wait, and nothing of the agent uses it: [`sg::once`], [`writes`], [`openers`], [`wait`].
//! Tests: in each file what can be had without a kernel, golden trees in `tests/sysfs_golden.rs`, the rest in the
//! lab (`tests/lab`).

pub mod backstop;
#[cfg(feature = "io-uring")]
mod bsg;
pub mod dm;
pub mod host;
pub mod id;
pub mod openers;
pub mod owner;
pub mod privilege;
pub mod process;
pub mod sg;
pub mod signal;
pub mod sysfs;
pub mod terminal;
pub mod trace;
pub mod transport;
pub mod uevent;
pub mod wait;
pub mod writes;

use crate::psa::action::Notice;
use crate::psa::event::Event;
use std::fmt;
use std::sync::Arc;

/// A thread of the agent, to be spawned. All have small stacks: the agent locks its memory, stacks too, and the kernel
/// counts each of them as a whole.
pub(crate) fn thread(name: impl Into<String>) -> Thread {
    const STACK: usize = 256 << 10;
    let builder = std::thread::Builder::new().name(name.into());
    Thread(builder.stack_size(STACK))
}

/// A thread that is not spawned yet.
pub(crate) struct Thread(std::thread::Builder);

impl Thread {
    /// Gives it another stack than the others have, in bytes.
    pub(crate) fn stack_size(self, bytes: usize) -> Thread {
        Thread(self.0.stack_size(bytes))
    }

    /// Starts it. A quarter of its stack is touched before it begins: it may be that no page can be had later
    /// ([`privilege`]).
    pub(crate) fn spawn<T: Send + 'static>(
        self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<T>> {
        self.0.spawn(move || {
            privilege::touch_stack::<{ 64 << 10 }>();
            run()
        })
    }
}

/// Where the threads of this room put their events.
#[derive(Clone)]
pub struct Sink(Arc<dyn Fn(Vec<Event>) -> bool + Send + Sync>);

/// Nobody wants events any more: the agent stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

impl Sink {
    /// A sink that hands events to `put`, which says whether it still wants them. `put` waits while the receiver is
    /// behind: that is the back-pressure, and so the receiver must not wait for a thread of this room.
    pub fn new(put: impl Fn(Vec<Event>) -> bool + Send + Sync + 'static) -> Sink {
        Sink(Arc::new(put))
    }

    /// Hands over an event.
    ///
    /// # Errors
    /// The agent stops.
    pub fn put(&self, event: Event) -> Result<(), Ended> {
        self.put_all(vec![event])
    }

    /// Hands over events that came together, in order, so that the receiver wakes up once for all of them.
    ///
    /// # Errors
    /// The agent stops.
    pub fn put_all(&self, events: Vec<Event>) -> Result<(), Ended> {
        if events.is_empty() || (self.0)(events) {
            Ok(())
        } else {
            Err(Ended)
        }
    }
}

/// Where threads put what people are to be told. It never waits.
#[derive(Clone)]
pub struct NoticeSink(Arc<dyn Fn(Notice) + Send + Sync>);

impl NoticeSink {
    /// One that hands notices to `put`, which must not wait.
    pub fn new(put: impl Fn(Notice) + Send + Sync + 'static) -> NoticeSink {
        NoticeSink(Arc::new(put))
    }

    /// Hands a notice over.
    pub fn notify(&self, notice: Notice) {
        (self.0)(notice);
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
