//! The thread of one SCSI host: opens its sg devices, writes commands, reads replies.

use super::limits::{Limits, MOST_AT_ONCE, window};
use super::node::Node;
use crate::kernel::Sink;
use crate::kernel::passthrough::book::{Book, HELD_UP, Next, Sending};
use crate::kernel::passthrough::clock::Clock;
use crate::kernel::passthrough::errno::outcome_of;
use crate::psa::event::{Event, Examination};
use crate::psa::lookup::Lookup;
use crate::psa::units::{Hctl, Millis};
use crate::scsi::outcome::Outcome;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// When a command comes back while others are out, those get this long to come back too: they were sent together, and a
/// wake-up is a third of the cost of a check.
const GATHER: Duration = Duration::from_micros(500);

/// This many commands sent in one go are checks that nobody waits for: they get this long to come back before the
/// thread looks for the first one.
const BATCH: usize = 4;
const BATCH_TIME: Duration = Duration::from_millis(5);

/// An open device that was not used for this long is closed, and a thread without work for this long ends.
const IDLE: Millis = Millis::from_secs(60);

/// How often devices are checked that no event concerns: unused ones, and removed ones whose command is out.
const LOOK: Millis = Millis(1000);

/// The epoll token of the wake-up descriptor; those of nodes are indices.
const WAKE: u64 = u64::MAX;

/// What the thread of a host shares with its callers.
#[derive(Debug)]
pub(super) struct HostQueue {
    book: Mutex<Book>,
    wake: EventFd,
    /// When the thread began to send, in milliseconds; `u64::MAX` while it is not sending.
    sending: AtomicU64,
}

impl HostQueue {
    pub(super) fn new(host: u32) -> io::Result<HostQueue> {
        Ok(HostQueue {
            book: Mutex::new(Book::new(window(host))),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            sending: AtomicU64::new(u64::MAX),
        })
    }

    /// Whether the thread has been sending since before `moment`, which means that it sleeps in the kernel. A thread
    /// that waits for the owner is not sending; it first has to fetch the answers that came meanwhile.
    pub(super) fn sends_since_before(&self, moment: Millis) -> bool {
        self.sending.load(Ordering::Relaxed) < moment.0
    }

    /// The books. They are consistent even after a panic of the thread, because no call on them can panic.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the thread look at the books.
    pub(super) fn wake(&self) {
        // The only possible failure is a full counter, and that wakes the thread too.
        let _ = self.wake.write(1);
    }
}

/// The receiver of the answers is gone, or the books are closed: the thread ends.
#[derive(Debug)]
pub(super) struct Ended;

/// State of the thread.
#[derive(Debug)]
pub(super) struct Submitter {
    host_queue: Arc<HostQueue>,
    results: Sink,
    clock: Clock,
    epoll: Epoll,
    /// Open devices; the index is the epoll token.
    nodes: Vec<Option<Node>>,
    /// The index of a path's node.
    by_path: Lookup<Hctl, usize>,
    /// How many sg devices are open on all hosts together.
    open: Arc<AtomicUsize>,
    limits: Limits,
    zombies: usize,
    /// Events to hand over before the thread waits.
    answers: Vec<Event>,
    /// How many commands were sent since the thread last waited.
    sent: usize,
    /// When there last was work.
    busy: Millis,
    /// When the devices were last checked.
    looked: Millis,
    /// Counts commands, for `pack_id`.
    serial: i32,
}

impl Submitter {
    pub(super) fn new(
        host_queue: Arc<HostQueue>,
        results: Sink,
        clock: Clock,
        open: Arc<AtomicUsize>,
    ) -> io::Result<Submitter> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&host_queue.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        Ok(Submitter {
            host_queue,
            results,
            clock,
            epoll,
            nodes: Vec::new(),
            by_path: Lookup::default(),
            open,
            limits: Limits::here(),
            zombies: 0,
            answers: Vec::new(),
            sent: 0,
            busy: clock.now(),
            looked: clock.now(),
            serial: 0,
        })
    }

    /// Works until there has been nothing to do for a while, or the receiver is gone.
    pub(super) fn run(mut self) {
        // If it ended for lack of work, it has already closed the books under their lock.
        if self.serve().is_err() {
            self.host_queue.book().closed = true;
        }
    }

    fn serve(&mut self) -> Result<(), Ended> {
        let mut events = [EpollEvent::empty(); MOST_AT_ONCE];
        loop {
            let wait = self.work();
            self.hand_over()?;
            let Some(wait) = wait else {
                return Ok(());
            };
            if std::mem::take(&mut self.sent) >= BATCH {
                thread::sleep(BATCH_TIME);
            }
            let mut woken = self.wait(&mut events, wait)?;
            loop {
                let now = self.clock.now();
                for event in events.get(..woken).unwrap_or_default() {
                    if event.data() == WAKE {
                        // EAGAIN if an earlier read took it; either way the books are looked at next.
                        let _ = self.host_queue.wake.read();
                    } else if let Ok(index) = usize::try_from(event.data()) {
                        let hung_up = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
                        self.receive(index, event.events().intersects(hung_up), now);
                    }
                }
                if woken < events.len() {
                    break;
                }
                // What has come back is not overdue, however long it took to process the others.
                woken = self.poll(&mut events, EpollTimeout::ZERO)?;
            }
        }
    }

    /// Waits for events, and a moment longer for those that are about to come. Returns the number of events.
    fn wait(&self, events: &mut [EpollEvent], wait: EpollTimeout) -> Result<usize, Ended> {
        let count = self.poll(events, wait)?;
        let replies = |events: &[EpollEvent]| events.iter().filter(|e| e.data() != WAKE).count();
        let (first, rest) = events.split_at_mut(count);
        let came = replies(first);
        let mut more = 0;
        if came > 0 && !rest.is_empty() && self.host_queue.book().young(self.clock.now()) > came {
            thread::sleep(GATHER);
            more = self.poll(rest, EpollTimeout::ZERO)?;
        }
        Ok(count + more)
    }

    fn poll(&self, events: &mut [EpollEvent], wait: EpollTimeout) -> Result<usize, Ended> {
        match self.epoll.wait(events, wait) {
            Ok(count) => Ok(count),
            Err(Errno::EINTR) => Ok(0),
            // The only possible reason is a bad descriptor or address, and the thread cannot go on then.
            Err(_) => Err(Ended),
        }
    }

    /// Hands over the collected answers. This waits while the owner is behind.
    fn hand_over(&mut self) -> Result<(), Ended> {
        if self.answers.is_empty() {
            return Ok(());
        }
        // The next batch will probably be as large as this one.
        let next = Vec::with_capacity(self.answers.len().min(MOST_AT_ONCE));
        let answers = std::mem::replace(&mut self.answers, next);
        let before = self.clock.now();
        self.results.put_all(answers).map_err(|_| Ended)?;
        let now = self.clock.now();
        if now.since(before) >= HELD_UP {
            self.host_queue.book().held_up(before, now);
        }
        Ok(())
    }

    /// Sends what may be sent and ends what is overdue. Returns how long to wait for events, or `None` to end.
    fn work(&mut self) -> Option<EpollTimeout> {
        loop {
            let now = self.clock.now();
            let sending = self.host_queue.book().take(now);
            let Some(sending) = sending else {
                break;
            };
            self.host_queue.sending.store(now.0, Ordering::Relaxed);
            self.send(&sending, now);
        }
        self.host_queue.sending.store(u64::MAX, Ordering::Relaxed);
        let now = self.clock.now();
        if self.looked.after(LOOK) <= now {
            self.looked = now;
            self.look_after_nodes(now);
        }
        let (overdue, moment, idle) = {
            let mut book = self.host_queue.book();
            if book.closed {
                return None;
            }
            let overdue = book.expire(now);
            if !book.is_empty() || self.zombies > 0 {
                self.busy = now;
            } else if self.busy.after(IDLE) <= now {
                // Under the lock, so that no order comes in between.
                book.closed = true;
                return None;
            }
            (overdue, book.next_moment(), book.is_empty())
        };
        for examination in overdue {
            self.answer(examination);
        }
        let mut moment = moment.unwrap_or(now.after(IDLE));
        if idle {
            moment = moment.min(self.busy.after(IDLE));
        }
        if self.zombies > 0 {
            moment = moment.min(now.after(LOOK));
        }
        // One more millisecond, because the clock is truncated to whole ones.
        let wait = moment.since(now).0.saturating_add(1);
        Some(EpollTimeout::from(u16::try_from(wait).unwrap_or(u16::MAX)))
    }

    /// Opens the device of a path if need be, and writes its command.
    fn send(&mut self, sending: &Sending, now: Millis) {
        let mut result = self.try_send(sending, now);
        if let Err((error, true)) = &result
            && is_gone(error)
        {
            // The file was opened earlier, so the path may have come back since with the same names.
            result = self.try_send(sending, now);
        }
        match result {
            Ok(()) => self.sent += 1,
            Err((error, _)) => {
                let outcome = outcome_of(&error);
                let ended = self.host_queue.book().not_sent(sending.path, outcome);
                self.answers_with(ended);
            }
        }
    }

    /// The flag in the error says whether the file was already open.
    fn try_send(&mut self, sending: &Sending, now: Millis) -> Result<(), (io::Error, bool)> {
        let known = match self.by_path.get(&sending.path) {
            Some(index) => match self.nodes.get(*index) {
                Some(Some(node)) if node.sg == sending.sg => Some(*index),
                _ => {
                    let index = *index;
                    self.close(index);
                    None
                }
            },
            None => None,
        };
        let index = match known {
            Some(index) => index,
            None => self.open(sending, now).map_err(|error| (error, false))?,
        };
        let Some(Some(node)) = self.nodes.get_mut(index) else {
            return Err((io::Error::from_raw_os_error(libc::ENODEV), false));
        };
        self.serial = self.serial.wrapping_add(1);
        node.used = now;
        let sent = node.slot.send(&node.file, sending, self.serial);
        if sent.is_err() {
            self.close(index);
        }
        sent.map_err(|error| (error, known.is_some()))
    }

    fn open(&mut self, sending: &Sending, now: Millis) -> io::Result<usize> {
        if self.open.load(Ordering::Relaxed) >= self.limits.most {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let node = Node::open(sending.path, sending.sg, now)?;
        let index = match self.nodes.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.nodes.push(None);
                self.nodes.len() - 1
            }
        };
        let token = u64::try_from(index).unwrap_or(WAKE);
        // Edge triggered: while a command is out, a removed device would report its hang-up without end.
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        self.epoll.add(&node, EpollEvent::new(flags, token))?;
        self.by_path.insert(node.path, index);
        if let Some(place) = self.nodes.get_mut(index) {
            *place = Some(node);
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        Ok(index)
    }

    /// Reads the reply of a device, if there is one, and handles its removal.
    fn receive(&mut self, index: usize, hung_up: bool, now: Millis) {
        let Some(Some(node)) = self.nodes.get_mut(index) else {
            // An event of a file that was closed since.
            return;
        };
        let path = node.path;
        let mut broken = hung_up;
        let (outcome, data) = match node.slot.receive(&node.file) {
            Ok(Some(reply)) => reply,
            Ok(None) if !hung_up => return,
            Ok(None) if !node.slot.is_out() => {
                self.close(index);
                return;
            }
            Ok(None) if node.zombie => return,
            Ok(None) => {
                // The device was removed while its command was out. The path is free for a device that takes its place;
                // this file and its memory stay until the command is back.
                node.zombie = true;
                self.zombies += 1;
                self.by_path.remove(&path);
                let ended = self.host_queue.book().not_sent(path, Outcome::Gone);
                self.answers_with(ended);
                return;
            }
            Err(error) => {
                broken = true;
                (outcome_of(&error), Vec::new())
            }
        };
        let zombie = node.zombie;
        if zombie || broken {
            self.close(index);
        }
        if zombie {
            return;
        }
        let next = self.host_queue.book().returned(path, outcome, data, now);
        match next {
            Next::GoesOn => {}
            Next::Ended(examination) => {
                if self.open.load(Ordering::Relaxed) > self.limits.kept {
                    self.close(index);
                }
                self.answer(examination);
            }
            Next::Reaped => self.close(index),
        }
    }

    /// Closes a device, which also removes it from epoll.
    fn close(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index).and_then(Option::take) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            if node.zombie {
                self.zombies = self.zombies.saturating_sub(1);
            } else {
                self.by_path.remove(&node.path);
            }
        }
    }

    /// Closes devices that were not used for long, and tries to fetch the commands of removed devices.
    fn look_after_nodes(&mut self, now: Millis) {
        for index in 0..self.nodes.len() {
            let Some(Some(node)) = self.nodes.get(index) else {
                continue;
            };
            if node.zombie {
                self.receive(index, true, now);
            } else if !node.slot.is_out() && node.used.after(IDLE) <= now {
                self.close(index);
            }
        }
    }

    fn answer(&mut self, examination: Examination) {
        self.answers.push(Event::Examined(examination));
    }

    fn answers_with(&mut self, ended: Option<Examination>) {
        if let Some(examination) = ended {
            self.answer(examination);
        }
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        let left = self.nodes.iter().flatten().count();
        self.open.fetch_sub(left, Ordering::Relaxed);
    }
}

fn is_gone(error: &io::Error) -> bool {
    outcome_of(error) == Outcome::Gone
}
