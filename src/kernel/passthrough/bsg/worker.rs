//! The thread of the ring: opens bsg devices, sends commands, fetches completions.

use super::files::{self, Files};
use super::ring::{COMPLETIONS, Completion, Ring, WAKE};
use super::shared::Shared;
use super::slot::{Errand, Slot};
use crate::kernel::Sink;
use crate::kernel::passthrough::book::{HELD_UP, Next, Sending};
use crate::kernel::passthrough::clock::Clock;
use crate::kernel::passthrough::errno::outcome_of;
use crate::psa::event::{Event, Examination};
use crate::psa::units::{Hctl, Millis};
use crate::scsi::outcome::Outcome;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The most commands that are taken from the books in one go.
const BATCH: usize = 128;

/// How often devices are checked that no completion concerns: unused ones, and those whose command has been out for
/// long.
const LOOK: Millis = Millis(1000);

/// The pause before the next call when the kernel has no memory for a command.
const SHORT_OF_MEMORY: Duration = Duration::from_millis(10);

/// An answer for the books.
type Answer = (Hctl, Outcome, Vec<u8>);

/// State of the thread.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    results: Sink,
    clock: Clock,
    ring: Ring,
    /// The index is the token.
    slots: Vec<Slot>,
    /// The indices of slots without a command.
    free: Vec<usize>,
    files: Files,
    /// Events to hand over before the thread waits.
    answers: Vec<Event>,
    looked: Millis,
    /// The wake-up descriptor is watched.
    watched: bool,
    /// The receiver takes no more answers.
    ended: bool,
}

impl Worker {
    /// # Errors
    /// No ring can be created, or the kernel takes no commands for `device` through it.
    pub(super) fn new(
        shared: Arc<Shared>,
        results: Sink,
        clock: Clock,
        device: &File,
    ) -> io::Result<Worker> {
        let mut ring = Ring::new()?;
        ring.probe(device)?;
        Ok(Worker {
            shared,
            results,
            clock,
            ring,
            slots: Vec::new(),
            free: Vec::new(),
            files: Files::new(),
            answers: Vec::new(),
            looked: clock.now(),
            watched: false,
            ended: false,
        })
    }

    /// Runs until answers are not wanted any more and no command is out: the kernel finishes a command in the thread
    /// that sent it, and must not have to use another thread (see [`super`]).
    pub(super) fn run(mut self) {
        let failure = self.serve();
        let overdue = {
            let mut books = self.shared.books();
            books.closed = true;
            // After this thread ends, nobody answers what is still under way.
            books.look(Millis(u64::MAX))
        };
        self.answer(overdue);
        self.hand_over();
        if let Err(error) = failure {
            self.shared.give_up(&error);
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        loop {
            let now = self.clock.now();
            if self.looked.after(LOOK) <= now {
                self.looked = now;
                self.look_after_devices(now);
            }
            let (overdue, sendings, moment) = self.take(now);
            self.answer(overdue);
            for sending in sendings {
                self.send(sending, now);
            }
            // What has come back meanwhile is not overdue, however long this took, so completions are fetched before
            // anything else.
            self.hand_over();
            if self.ended && self.out() == 0 {
                return Ok(());
            }
            if !self.watched {
                self.watched = self.ring.watch(self.shared.wake.as_fd());
            }
            self.fetch(self.wait(moment))?;
        }
    }

    /// Submits the queue, waits for completions, and processes all of them.
    fn fetch(&mut self, mut wait: Duration) -> io::Result<()> {
        let mut completions = Vec::new();
        loop {
            let entered = self.ring.enter(self.out(), wait);
            self.ring.completions(&mut completions);
            match entered {
                Ok(()) => {}
                Err(error) if is_passing(&error) => {
                    if completions.is_empty() {
                        thread::sleep(SHORT_OF_MEMORY);
                    }
                }
                Err(error) => return Err(error),
            }
            self.receive(&completions);
            if completions.len() < COMPLETIONS as usize {
                return Ok(());
            }
            // The kernel may hold more completions than fit into the ring.
            wait = Duration::ZERO;
        }
    }

    /// Hands over the collected answers. This waits while the owner is behind.
    fn hand_over(&mut self) {
        let answers = std::mem::take(&mut self.answers);
        if answers.is_empty() || self.ended {
            return;
        }
        let before = self.clock.now();
        self.ended = self.results.put_all(answers).is_err();
        let now = self.clock.now();
        if now.since(before) >= HELD_UP {
            self.shared.books().held_up(before, now);
        }
    }

    /// The number of commands that are with the kernel.
    fn out(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    /// What is overdue, what is to be sent, and when there is next something to do.
    fn take(&mut self, now: Millis) -> (Vec<Examination>, Vec<Sending>, Option<Millis>) {
        let mut books = self.shared.books();
        self.ended |= books.closed;
        if self.ended {
            books.closed = true;
            return (Vec::new(), Vec::new(), None);
        }
        let overdue = books.look(now);
        let mut sendings = Vec::new();
        while sendings.len() < BATCH
            && let Some(sending) = books.take(now)
        {
            sendings.push(sending);
        }
        (overdue, sendings, books.next_moment(now))
    }

    /// How long to wait for a completion.
    fn wait(&self, moment: Option<Millis>) -> Duration {
        let now = self.clock.now();
        let rest = Millis::from_secs(3600);
        let mut wait = moment.map_or(rest, |moment| match moment.since(now) {
            Millis(0) => Millis(0),
            // One more, because the clock is truncated to whole milliseconds.
            Millis(wait) => Millis(wait.saturating_add(1)),
        });
        if self.out() > 0 || !self.files.is_empty() {
            wait = wait.min(LOOK);
        }
        Duration::from_millis(wait.0)
    }

    /// Sends a command. A failure to send it is its answer.
    fn send(&mut self, sending: Sending, now: Millis) {
        let path = sending.path;
        if let Err(error) = self.try_send(sending, now, false) {
            self.files.close(path);
            let ended = self.shared.books().not_sent(path, outcome_of(&error));
            self.answer(ended);
        }
    }

    /// Opens the device of a path if need be, and queues its command.
    fn try_send(&mut self, sending: Sending, now: Millis, patient: bool) -> io::Result<()> {
        if self.ring.is_full() {
            self.ring.submit()?;
        }
        let device = self.files.get(sending.path, now)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::new());
            self.slots.len().saturating_sub(1)
        });
        let busy = || io::Error::from_raw_os_error(libc::EBUSY);
        let slot = self.slots.get_mut(index).ok_or_else(busy)?;
        let token = u64::try_from(index).map_err(|_| busy())?;
        let laid_out = slot.lay_out(&sending).and_then(|bytes| {
            // SAFETY: the pointers lead to memory of the slot. It is lent right below and keeps the file until the
            // completion comes.
            match unsafe { self.ring.push(&device.file, bytes, token, patient) } {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            }
        });
        if laid_out.is_err() {
            self.free.push(index);
            return laid_out;
        }
        slot.send(Errand {
            sending,
            device,
            patient,
            since: now,
            zombie: false,
        });
        Ok(())
    }

    /// Processes completions, all of them under one lock of the books.
    fn receive(&mut self, completions: &[Completion]) {
        let now = self.clock.now();
        let mut answers = Vec::with_capacity(completions.len());
        for completion in completions {
            if completion.token == WAKE {
                self.watched = completion.more;
                // EAGAIN if the counter was 0; either way the books are looked at next.
                let _ = self.shared.wake.read();
            } else {
                answers.extend(self.receive_one(completion, now));
            }
        }
        if answers.is_empty() {
            return;
        }
        let mut ended = Vec::with_capacity(answers.len());
        {
            let mut books = self.shared.books();
            for (path, outcome, data) in answers {
                match books.returned(path, outcome, data, now) {
                    Next::Ended(examination) => ended.push(examination),
                    Next::GoesOn | Next::Reaped => {}
                }
            }
        }
        for examination in &ended {
            self.files.ended(examination.path);
        }
        self.answer(ended);
    }

    /// The answer that a completion gives to the books; `None` if its command is sent again or is not wanted any more.
    fn receive_one(&mut self, completion: &Completion, now: Millis) -> Option<Answer> {
        let index = usize::try_from(completion.token).ok()?;
        let slot = self.slots.get_mut(index)?;
        // SAFETY: this is the completion of the slot's command; a slot is reused only after it.
        let errand = unsafe { slot.take_back() }?;
        let (outcome, data) = match completion.result {
            0 => slot.answer(completion.res2),
            result => (Outcome::of_errno(result.saturating_neg()), Vec::new()),
        };
        self.free.push(index);
        if errand.zombie {
            return None;
        }
        let path = errand.sending.path;
        if completion.result == 0 {
            return Some((path, outcome, data));
        }
        self.files.close(path);
        // The file was opened earlier, so the path may have come back since. Or the command needs a thread that may
        // sleep.
        let again = match outcome {
            Outcome::Gone => errand.device.known.then_some(false),
            Outcome::NotSent(libc::EAGAIN | libc::ENOMEM) => (!errand.patient).then_some(true),
            Outcome::Errno(libc::EOPNOTSUPP | libc::ENOSYS) => {
                self.shared
                    .give_up(&io::Error::from_raw_os_error(libc::EOPNOTSUPP));
                None
            }
            _ => None,
        };
        let Some(patient) = again else {
            return Some((path, outcome, data));
        };
        match self.try_send(errand.sending, now, patient) {
            Ok(()) => None,
            Err(error) => Some((path, outcome_of(&error), Vec::new())),
        }
    }

    /// Closes devices that were not used for long, and gives up the commands of removed devices: the kernel does not
    /// report the removal until those commands are back.
    fn look_after_devices(&mut self, now: Millis) {
        self.files.close_idle(now);
        let before = Millis(now.0.saturating_sub(LOOK.0));
        let mut ended = Vec::new();
        for slot in &mut self.slots {
            let Some((path, identity)) = slot.out_before(before) else {
                continue;
            };
            if files::is_there(path, identity) {
                continue;
            }
            // The path is now free for a device that takes its place.
            slot.abandon();
            self.files.close(path);
            ended.extend(self.shared.books().not_sent(path, Outcome::Gone));
        }
        self.answer(ended);
    }

    fn answer(&mut self, examinations: impl IntoIterator<Item = Examination>) {
        let events = examinations.into_iter().map(Event::Examined);
        self.answers.extend(events);
    }
}

/// Whether the kernel may accept the call when it is repeated.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)
    )
}
