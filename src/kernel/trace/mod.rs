//! The watcher of ordinary I/O: one thread that reads from the kernel's tracing which reads and writes failed.
//!
//! Input: `trace_pipe` of a tracefs instance of the agent's own (`instance`), as text ([`line`]): one file for all processors,
//! readable with the first event. The binary buffers of the processors would be one file each, in a format of pages and
//! of events that differs between kernels; errors are too rare for that to pay. Output: [`crate::psa::event::Event::IoTrouble`],
//! alike ones counted (`reports`). Nothing is read more often than once in `PAUSE`.
//!
//! Invariants: without tracing the agent works as before, and its checks alone find errors; any text is read without a panic;
//! a wake-up takes bounded time and memory; while the owner is behind, the kernel overwrites reports and says how many.
//! Tests: in each file, and `tests/lab/scenario/28-io-errors.sh`.

mod instance;
mod line;
mod reports;

use super::{Ended, NoticeSink, Sink};
use crate::psa::action::Notice;
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

/// Between two readings: a path on which all I/O fails gives thousands of reports a second, all alike.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause grows with the kinds of errors that were read, so that the owner has a thousand events a second at most when all
/// paths of a large host fail.
const PAUSE_FOR_EACH: Duration = Duration::from_millis(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// After tracing could not be set up, and between two looks for events that the kernel does not have yet.
const RETRY: Duration = Duration::from_secs(60);
/// At the end, the instance has so long to be removed.
const REMOVED_WITHIN: Duration = Duration::from_secs(2);

/// How errors of ordinary I/O are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watching {
    /// `errors`, `all` while every command that ends with an error is reported, or `off`.
    pub name: &'static str,
    /// By what, or why not.
    pub reason: String,
}

/// The watcher's handle; dropping it stops the thread, and waits a moment for the instance to be removed.
pub struct Trace {
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
    /// Every command that ends with an error is to be reported until then.
    closely_until: Option<Instant>,
}

impl Trace {
    /// Starts to watch; errors go to `sink`.
    ///
    /// # Errors
    /// There is no eventfd or no thread. Missing tracing is not an error.
    pub fn start(setting: WatchSetting, sink: Sink, notice_sink: NoticeSink) -> io::Result<Trace> {
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

    /// Has every command reported that ends with an error, those that the kernel repeats with success too, for so long.
    pub fn watch_closely(&self, span: Millis) {
        let until = Instant::now() + Duration::from_millis(span.0);
        lock(&self.shared.orders).closely_until = Some(until);
        self.wake();
    }

    /// How errors are watched.
    #[must_use]
    pub fn watching(&self) -> Watching {
        lock(&self.shared.watching).clone()
    }

    fn wake(&self) {
        // Full means that it is awake.
        let _ = self.wake.write(1);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        lock(&self.shared.orders).stop = true;
        self.wake();
        // An instance that is left is removed by the next agent.
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

/// What the watcher's thread holds.
struct Watch {
    setting: WatchSetting,
    sink: Sink,
    notice_sink: NoticeSink,
    wake: Arc<EventFd>,
    shared: Arc<Shared>,
    instance: Option<Instance>,
    reports: Reports,
    /// When it is tried again to set up what is missing.
    retry_at: Instant,
    /// Why there is no instance, as it was reported.
    problem: Option<String>,
    /// A line that could not be read was reported.
    unreadable: bool,
}

impl Watch {
    fn run(mut self, end: &SyncSender<()>) {
        while !self.is_stopped() && self.round().is_ok() {}
        self.instance = None;
        // Nobody waits if the agent did not stop.
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

    /// Makes the instance what it should be; when to look again.
    fn set_up(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.setting == WatchSetting::Off {
            let left = instance::remove_left_of_this_host().err();
            let left = left.map_or_else(String::new, |error| format!("; {error}"));
            self.say(off(format!("the setting watch_io says so{left}")));
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
            reason += &format!(
                "; this kernel does not have {}",
                instance.missing().join(", ")
            );
        }
        if let Err(error) = every {
            reason += &format!("; commands that end with an error are not reported: {error}");
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
                    self.notify("IO_WATCH_ON", "it can be set up now");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if self.problem.as_ref() != Some(&why) {
                    self.notify("IO_WATCH_OFF", &why);
                }
                self.say(off(&why));
                self.problem = Some(why);
            }
        }
    }

    fn say(&self, watching: Watching) {
        *lock(&self.shared.watching) = watching;
    }

    fn notify(&self, code: &str, reason: &str) {
        self.notice_sink
            .notify(Notice::new(code, "agent", &[("reason", reason)]));
    }

    /// Waits for an order, the time, or, if asked for, a report; whether there is a report.
    fn wait(&self, until: Option<Instant>, reports: bool) -> bool {
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up, or the last millisecond would be spent in a busy loop.
            PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        let mut descriptors = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        let pipe = self.instance.as_ref().and_then(Instance::pipe);
        let pipe = pipe.filter(|_| reports);
        descriptors.extend(pipe.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        if let Err(errno) = poll(&mut descriptors, timeout) {
            log::warn!(errno:%; "cannot wait for errors of I/O");
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

    /// Reads reports; how many kinds of errors there were.
    fn take_in(&mut self) -> Result<usize, Ended> {
        let Some(mut pipe) = self.instance.as_ref().and_then(Instance::pipe) else {
            return Ok(0);
        };
        let batch = match self.reports.read(&mut pipe) {
            Ok(batch) => batch,
            Err(error) => {
                // It is made again after a while.
                self.instance = None;
                self.notify("IO_WATCH_OFF", &format!("cannot read its reports: {error}"));
                self.say(off(format!("cannot read its reports: {error}")));
                self.problem = Some(error.to_string());
                self.retry_at = Instant::now() + RETRY;
                return Ok(0);
            }
        };
        if let Some(line) = batch.unreadable.as_deref().filter(|_| !self.unreadable) {
            self.unreadable = true;
            self.notify(
                "IO_REPORT_UNREADABLE",
                &format!("this line lacks a field: {line}"),
            );
        }
        let events = batch.events();
        let kinds = events.len();
        self.sink.put_all(events).map(|()| kinds)
    }
}
