//! Sends SCSI commands through `/dev/sgN` asynchronously; [`once`] sends a single command for `psactl` and waits.
//!
//! Input: examinations, each a list of commands for one path. Output: one [`Event::Examined`] for each. Method: sg's
//! version 3 interface, `write()` to send and `read()` to fetch, with `epoll` in between, so that any number of
//! commands can be out without a thread for each. There is one thread per SCSI host, because `write()` sleeps while the
//! host has no free tag; another thread watches over the threads that sleep there. Waking a thread costs more than
//! sending a command, so commands that are ordered together are sent together, and answers that come close together are
//! handed over together.
//!
//! Invariants:
//! - A path has at most one command out. An overdue command occupies the path until the kernel returns it.
//! - Every examination is answered exactly once, whatever the kernel does: at the latest when its deadline has passed
//!   since its command was sent (or could have been sent).
//! - Memory that the kernel may write to is neither moved nor freed.
//! - The caller never waits, neither for a device nor for a queue.
//!
//! The credentials of the process must not change after the first examination: sg refuses files that were opened with
//! other credentials (`sg_check_file_access`).
//!
//! Tests: the books in `passthrough/book.rs`, the header in `slot.rs`; the rest needs a kernel (`tests/lab`).

mod header;
mod limits;
mod memory;
mod node;
pub(crate) mod once;
mod slot;
mod submitter;

use super::Sink;
use super::clock::Clock;
use super::errno::errno_of;
use crate::psa::action::Examine;
use crate::psa::event::{Event, Examination};
use crate::psa::units::Millis;
use crate::scsi::outcome::Outcome;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use submitter::{HostQueue, Submitter};

/// If a thread sleeps in `write()`, its overdue commands are answered for it this long after their deadline. Until then
/// the thread itself may answer.
const WATCH: Millis = Millis(500);

/// Sends commands down paths.
#[derive(Debug)]
pub(crate) struct Transport {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    results: Sink,
    clock: Clock,
    /// How many sg devices are open on all hosts together.
    open: Arc<AtomicUsize>,
    /// The shortest deadline so far, in milliseconds: no later order is overdue before that.
    shortest: AtomicU64,
    hosts: Mutex<Hosts>,
}

#[derive(Debug, Default)]
struct Hosts {
    host_queues: BTreeMap<u32, Arc<HostQueue>>,
    /// Queues with new orders whose threads have not been woken yet.
    waiting: Vec<Arc<HostQueue>>,
    watched: bool,
}

impl Transport {
    /// Creates a transport that puts its answers into `results`. Its threads wait while that queue is full, so the
    /// receiver must not wait for the transport while it does not receive.
    #[must_use]
    pub(crate) fn new(results: Sink) -> Transport {
        Transport {
            shared: Arc::new(Shared {
                results,
                clock: Clock::start(),
                open: Arc::default(),
                shortest: AtomicU64::new(u64::MAX),
                hosts: Mutex::default(),
            }),
        }
    }

    /// Accepts an order to send commands down a path, each after the previous one has come back. Never blocks. The
    /// commands are sent at the next [`Transport::flush`], or sooner.
    ///
    /// After a UNIT ATTENTION the command is sent again, up to three times; after a transient failure
    /// ([`Outcome::Retry`]) up to twice; a REPORT TARGET PORT GROUPS whose extended header is refused is sent without
    /// it. A transport failure ends the examination. `timeout` is the kernel's: it counts from the dispatch of the
    /// command, and the command is aborted when it expires. A command that is not back `deadline` after it was written
    /// is `Overdue`, and the path takes no other command while it is out.
    ///
    /// # Errors
    /// The answer, where it is known immediately and will not come through the queue: a command of an earlier
    /// examination is still out (`Overdue`), another examination is under way (`NotSent(EBUSY)`), too many are
    /// (`NotSent(EAGAIN)`), a thread could not be started, or there are no commands (no replies).
    pub(crate) fn examine(&self, order: Examine) -> Result<(), Examination> {
        let host = order.path.host;
        self.shared
            .shortest
            .fetch_min(order.deadline.0, Ordering::Relaxed);
        // Lock order: hosts, then books. A thread closes its books under their lock alone.
        let mut hosts = self.shared.hosts();
        let host_queue = match hosts.host_queues.get(&host) {
            Some(host_queue) if !host_queue.book().closed => Arc::clone(host_queue),
            _ => match self.open_queue(&mut hosts, host) {
                Ok(host_queue) => host_queue,
                Err(error) => return Err(refusal(order, errno_of(&error))),
            },
        };
        let mut book = host_queue.book();
        if book.closed {
            return Err(refusal(order, libc::EAGAIN));
        }
        let wake = book.accept(order, self.shared.clock.now())?;
        drop(book);
        if wake {
            hosts.waiting.push(host_queue);
        }
        Ok(())
    }

    /// Has all commands sent that were ordered before.
    pub(crate) fn flush(&self) {
        let waiting = std::mem::take(&mut self.shared.hosts().waiting);
        for host_queue in waiting {
            host_queue.wake();
        }
    }

    /// Creates the queue of a host, and starts its thread.
    fn open_queue(&self, hosts: &mut Hosts, host: u32) -> io::Result<Arc<HostQueue>> {
        let shared = &self.shared;
        let host_queue = Arc::new(HostQueue::new(host)?);
        let open = Arc::clone(&shared.open);
        let results = shared.results.clone();
        let submitter = Submitter::new(Arc::clone(&host_queue), results, shared.clock, open)?;
        crate::kernel::thread(format!("sg-host{host}")).spawn(move || submitter.run())?;
        hosts.host_queues.insert(host, Arc::clone(&host_queue));
        if !hosts.watched {
            let shared = Arc::downgrade(shared);
            crate::kernel::thread("sg-watch").spawn(move || watch(&shared))?;
            hosts.watched = true;
        }
        Ok(host_queue)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        for host_queue in self.shared.hosts().host_queues.values() {
            host_queue.book().closed = true;
            host_queue.wake();
        }
    }
}

impl Shared {
    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers overdue commands for threads that sleep in `write()`; ends when there are no threads. It runs when the first
/// outstanding command would be overdue, or when a command that is ordered now could be.
fn watch(shared: &Weak<Shared>) {
    let mut wait = WATCH;
    loop {
        thread::sleep(Duration::from_millis(wait.0));
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let host_queues: Vec<Arc<HostQueue>> = {
            let mut hosts = shared.hosts();
            hosts
                .host_queues
                .retain(|_, host_queue| !host_queue.book().closed);
            hosts.watched = !hosts.host_queues.is_empty();
            if !hosts.watched {
                return;
            }
            hosts.host_queues.values().cloned().collect()
        };
        let now = shared.clock.now();
        let mut next = now.after(Millis(shared.shortest.load(Ordering::Relaxed)));
        for host_queue in host_queues {
            let overdue = {
                let mut book = host_queue.book();
                let stuck = host_queue.sends_since_before(Millis(now.0.saturating_sub(WATCH.0)));
                let overdue = if stuck { book.expire(now) } else { Vec::new() };
                next = book.first_deadline().map_or(next, |first| first.min(next));
                overdue
            };
            let events = overdue.into_iter().map(Event::Examined);
            if shared.results.put_all(events.collect()).is_err() {
                return;
            }
        }
        wait = next.since(now).after(WATCH);
    }
}

fn refusal(order: Examine, errno: i32) -> Examination {
    order.answer(Outcome::of_errno(errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::units::{Hctl, Sg};
    use crate::scsi::cdb::{Command, Commands};
    use std::sync::mpsc::{Receiver, sync_channel};

    const SECOND: Millis = Millis::from_secs(1);

    fn transport() -> (Transport, Receiver<Event>) {
        let (results, answers) = sync_channel(16);
        let sink = Sink::new(move |events| events.into_iter().all(|e| results.send(e).is_ok()));
        (Transport::new(sink), answers)
    }

    fn path() -> Hctl {
        "4000000000:0:0:1".parse().unwrap()
    }

    fn order(ticket: u64, commands: Commands) -> Examine {
        Examine {
            path: path(),
            sg: Sg(u32::MAX),
            ticket,
            commands,
            timeout: SECOND,
            deadline: SECOND,
        }
    }

    #[test]
    fn a_missing_device_is_gone() {
        let (transport, answers) = transport();
        let commands = Commands::Borrowed(&[Command::TestUnitReady]);
        transport.examine(order(7, commands)).unwrap();
        transport.flush();
        let Event::Examined(answer) = answers.recv_timeout(Duration::from_secs(10)).unwrap() else {
            panic!("another event");
        };
        assert_eq!((answer.path, answer.ticket), (path(), 7));
        assert_eq!(answer.replies[0].outcome, Outcome::Gone);
    }

    #[test]
    fn an_empty_examination_is_answered_immediately() {
        let (transport, _answers) = transport();
        let answer = transport
            .examine(order(1, Commands::default()))
            .unwrap_err();
        assert!(answer.replies.is_empty());
    }
}
