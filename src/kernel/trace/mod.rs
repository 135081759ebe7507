//! Watches ordinary I/O: one thread that reads from the kernel's tracing which reads and writes failed.
//!
//! Input: `trace_pipe` of the agent's own tracefs instance (`instance`), as text (`line`). It is one file for all
//! processors, and becomes readable at the first event. The binary buffers would be one file per processor, in a format
//! of pages and events that differs between kernels; errors are too rare to make that worthwhile. Output:
//! [`crate::psa::event::Event::IoTrouble`]; equal errors are counted (`reports`). Reports are read at most once per
//! `PAUSE`.
//!
//! Invariants: without tracing the agent works as before, and only its checks find errors; no text causes a panic; a
//! wake-up takes bounded time and memory; while the owner is behind, the kernel overwrites reports and says how many.
//! Tests: in each file, and `tests/lab/scenario/28-io-errors.sh`.

mod instance;
mod line;
mod reports;

use super::{Ended, NoticeSink, Sink};
use crate::psa::action::Notice;
use crate::psa::codes::{self, Code};
use crate::psa::settings::WatchSetting;
use crate::psa::units::Millis;
use instance::{EVENTS, Instance};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use reports::Reports;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The pause between two reads: a path on which all I/O fails causes thousands of equal reports a second.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause grows with the number of kinds of errors that were read, so that the owner gets at most a thousand events
/// a second when all paths of a large host fail.
const PAUSE_FOR_EACH: Duration = Duration::from_millis(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The delay after tracing could not be set up, and between two checks for events that the kernel does not have yet.
const RETRY: Duration = Duration::from_secs(60);
/// How long to wait at the end until the instance is removed.
const REMOVED_WITHIN: Duration = Duration::from_secs(2);

/// Whether and how errors of ordinary I/O are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watching {
    /// `errors`, or `all` while every command that ends with an error is reported, or `off`.
    pub name: &'static str,
    /// The source of the reports, or why there is none.
    pub reason: String,
}

/// The watcher's handle. Dropping it stops the thread, and waits a moment until the instance is removed.
pub(crate) struct Trace {
    wake: Arc<EventFd>,
    shared: Arc<Shared>,
    ended: Receiver<()>,
}

struct Shared {
    orders: Mutex<Orders>,
    watching: Mutex<Watching>,
}

#[derive(Default)]
struct Orders {
    stop: bool,
    /// Until when every command that ends with an error is to be reported.
    closely_until: Option<Instant>,
}

impl Trace {
    /// Starts to watch. Errors go to `sink`.
    ///
    /// # Errors
    /// No eventfd or thread can be created. Missing tracing is not an error.
    pub(crate) fn start(
        setting: WatchSetting,
        sink: Sink,
        notice_sink: NoticeSink,
    ) -> io::Result<Trace> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_flags(flags)?);
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            watching: Mutex::new(off("it is being set up")),
        });
        let (end, ended) = sync_channel(1);
        let watch = Watch {
            setting,
            sink,
            notice_sink,
            wake: Arc::clone(&wake),
            shared: Arc::clone(&shared),
            instance: None,
            reports: Reports::default(),
            retry_at: Instant::now(),
            problem: None,
            unreadable: false,
        };
        super::thread("io-errors").spawn(move || watch.run(&end))?;
        Ok(Trace {
            wake,
            shared,
            ended,
        })
    }

    /// For the time `span`, has every command reported that ends with an error, including those that the kernel repeats
    /// with success.
    pub(crate) fn watch_closely(&self, span: Millis) {
        let until = Instant::now() + Duration::from_millis(span.0);
        lock(&self.shared.orders).closely_until = Some(until);
        self.wake();
    }

    /// How errors are watched.
    #[must_use]
    pub(crate) fn watching(&self) -> Watching {
        lock(&self.shared.watching).clone()
    }

    fn wake(&self) {
        // A full counter means that the thread is already awake.
        let _ = self.wake.write(1);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        lock(&self.shared.orders).stop = true;
        self.wake();
        // If the instance stays, the next agent removes it.
        let _ = self.ended.recv_timeout(REMOVED_WITHIN);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn off(reason: impl Into<String>) -> Watching {
    Watching {
        name: "off",
        reason: reason.into(),
    }
}

/// State of the watcher's thread.
struct Watch {
    setting: WatchSetting,
    sink: Sink,
    notice_sink: NoticeSink,
    wake: Arc<EventFd>,
    shared: Arc<Shared>,
    instance: Option<Instance>,
    reports: Reports,
    /// When to try again to set up what is missing.
    retry_at: Instant,
    /// The last reported reason for having no instance.
    problem: Option<String>,
    /// An unreadable line has been reported.
    unreadable: bool,
}

impl Watch {
    fn run(mut self, end: &SyncSender<()>) {
        while !self.is_stopped() && self.round().is_ok() {}
        self.instance = None;
        // Nothing receives this if the agent did not stop.
        let _ = end.try_send(());
    }

    fn round(&mut self) -> Result<(), Ended> {
        let due = self.set_up();
        if !self.wait(due, true) {
            return Ok(());
        }
        let kinds = u32::try_from(self.take_in()?).unwrap_or(u32::MAX);
        let pause = PAUSE_FOR_EACH
            .saturating_mul(kinds)
            .clamp(PAUSE, LONGEST_PAUSE);
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.is_stopped() {
            self.wait(Some(until), false);
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        lock(&self.shared.orders).stop
    }

    /// Sets the instance up as the setting and the orders require. Returns when to do it again.
    fn set_up(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.setting == WatchSetting::Off {
            let left = instance::remove_left_of_this_host().err();
            let left = left.map_or_else(String::new, |error| format!("; {error}"));
            self.say(off(format!("watch_io is off in dm-psa.toml{left}")));
            return None;
        }
        if now >= self.retry_at {
            self.retry_at = now + RETRY;
            match &mut self.instance {
                Some(instance) => drop(instance.switch_on_missing()),
                None => self.make(),
            }
        }
        let Some(instance) = &mut self.instance else {
            return Some(self.retry_at);
        };
        let asked = lock(&self.shared.orders)
            .closely_until
            .filter(|until| *until > now);
        let all = self.setting == WatchSetting::All;
        let every = instance.watch_every_command(all || asked.is_some());
        let mut reason = format!(
            "tracefs instance dm-psa, {} of {} events",
            EVENTS.len() - instance.missing().len(),
            EVENTS.len()
        );
        if !instance.missing().is_empty() {
            reason += &format!("; this kernel lacks {}", instance.missing().join(", "));
        }
        if let Err(error) = every {
            reason += &format!("; commands that end with an error cannot be reported: {error}");
        }
        let name = if instance.watches_every_command() {
            "all"
        } else {
            "errors"
        };
        let waits = !instance.missing().is_empty();
        self.say(Watching { name, reason });
        [asked.filter(|_| !all), waits.then_some(self.retry_at)]
            .into_iter()
            .flatten()
            .min()
    }

    fn make(&mut self) {
        match Instance::of_this_host() {
            Ok(instance) => {
                self.instance = Some(instance);
                if self.problem.take().is_some() {
                    self.notify(codes::IO_WATCH_ON, "tracing is available now");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.problem.as_ref() != Some(&why) {
                    self.notify(codes::IO_WATCH_OFF, &why);
                }
                self.say(off(&why));
                self.problem = Some(why);
            }
        }
    }

    fn say(&self, watching: Watching) {
        *lock(&self.shared.watching) = watching;
    }

    fn notify(&self, code: Code, reason: &str) {
        self.notice_sink
            .notify(Notice::new(code, "agent", &[("reason", reason)]));
    }

    /// Waits for an order, the time `until`, or, with `reports`, a report. Returns whether there is a report.
    fn wait(&self, until: Option<Instant>, reports: bool) -> bool {
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up, or the last millisecond would be a busy loop.
            PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        let mut descriptors = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        let pipe = self.instance.as_ref().and_then(Instance::pipe);
        let pipe = pipe.filter(|_| reports);
        descriptors.extend(pipe.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        if let Err(errno) = poll(&mut descriptors, timeout) {
            log::warn!("cannot wait for reports of I/O errors: {errno}");
            std::thread::sleep(PAUSE);
        }
        let ready = |descriptor: Option<&PollFd<'_>>| {
            descriptor.is_some_and(|one| one.any().unwrap_or(false))
        };
        if ready(descriptors.first()) {
            let _ = self.wake.read();
        }
        ready(descriptors.get(1))
    }

    /// Reads reports. Returns the number of kinds of errors in them.
    fn take_in(&mut self) -> Result<usize, Ended> {
        let Some(mut pipe) = self.instance.as_ref().and_then(Instance::pipe) else {
            return Ok(0);
        };
        let batch = match self.reports.read(&mut pipe) {
            Ok(batch) => batch,
            Err(error) => {
                // It is created again later.
                self.instance = None;
                self.notify(
                    codes::IO_WATCH_OFF,
                    &format!("cannot read the kernel's reports: {error}"),
                );
                self.say(off(format!("cannot read the kernel's reports: {error}")));
                self.problem = Some(error.to_string());
                self.retry_at = Instant::now() + RETRY;
                return Ok(0);
            }
        };
        if let Some(line) = batch.unreadable.as_deref().filter(|_| !self.unreadable) {
            self.unreadable = true;
            self.notify(
                codes::IO_REPORT_UNREADABLE,
                &format!("a field is missing in this line: {line}"),
            );
        }
        let events = batch.events();
        let kinds = events.len();
        self.sink.put_all(events).map(|()| kinds)
    }
}
