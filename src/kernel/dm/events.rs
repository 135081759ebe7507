//! The watcher: one thread that notices every change to a multipath map, regardless of who made it.
//!
//! `/dev/mapper/control` becomes readable at the next event after it was armed (`DM_DEV_ARM_POLL`): a path failed or
//! came back, a group was switched or disabled, a map was created, removed or renamed, or its table was swapped. The
//! event counters in the list of devices show which map it was. A table that somebody swapped raises only a uevent
//! (`Dm::looker`), and some changes raise no event at all (the kernel chose another group, or its own timeout ended
//! queueing). So some time after each event, and at intervals without one, all maps are read, and those that differ
//! from the last look are reported. At shorter intervals the watcher only checks whether they are suspended or open.

use super::client::Client;
use super::ioctl::Buffer;
use super::observer::Observer;
use super::texts::Room;
use crate::kernel::{NoticeLimit, NoticeSink};
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::event::{Event, MapError};
use crate::psa::table::model::UUID_PREFIX;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Delay from an event to the look at all maps; events within it share one look.
const SETTLE: Duration = Duration::from_secs(1);
/// Interval of the short checks without any event. A map that somebody suspended stops I/O, and is noticed within this
/// time; so is a map that was closed, which may now be removed.
const GLANCE: Duration = Duration::from_secs(10);
/// Interval of the full looks without any event: a change that raises no event is found within this time. A full look
/// costs more than a glance: the kernel prints table and status of each map, and under I/O both are parsed.
const NOW_AND_THEN: Duration = Duration::from_secs(60);
/// Looks at all maps may take up to this fraction of the time: 1/20.
const SHARE: u32 = 20;
/// Delay after the kernel refused to list or arm.
const RETRY: Duration = Duration::from_secs(5);

/// The watcher's handle. Dropping it stops the thread.
pub(super) struct Watcher {
    wake: Arc<EventFd>,
    shared: Arc<Orders>,
}

#[derive(Default)]
struct Orders {
    stop: AtomicBool,
    look: AtomicBool,
}

impl Watcher {
    /// Starts to watch. Reports go through the observer.
    ///
    /// # Errors
    /// `/dev/mapper/control` cannot be opened, or no eventfd or thread can be created.
    pub(super) fn spawn(observer: Arc<Observer>, notice_sink: NoticeSink) -> io::Result<Self> {
        // Arming belongs to the descriptor, so the watcher has its own.
        let client = Client::open(notice_sink.clone())?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_flags(flags)?);
        let shared = Arc::new(Orders::default());
        let watch = Watch {
            client,
            observer,
            wake: Arc::clone(&wake),
            orders: Arc::clone(&shared),
            names: BTreeSet::new(),
            list: Buffer::default(),
            room: Room::default(),
            notice_sink,
            failures: NoticeLimit::default(),
        };
        crate::kernel::thread("dm-events").spawn(move || watch.run())?;
        Ok(Watcher { wake, shared })
    }

    /// See [`super::Dm::looker`].
    pub(super) fn looker(&self) -> impl Fn() + Send + use<> {
        let (wake, shared) = (Arc::clone(&self.wake), Arc::clone(&self.shared));
        move || {
            shared.look.store(true, Ordering::SeqCst);
            let _ = wake.write(1);
        }
    }

    fn wake(&self) {
        // A full counter means that the thread is already awake.
        let _ = self.wake.write(1);
    }
}

impl Drop for Watcher {
    /// Does not wait for the thread: it may be in the middle of a report that nobody receives any more.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
    }
}

/// How closely a round examines maps that the list shows unchanged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Not at all.
    Past,
    /// Whether they are suspended, and how often they are open.
    Glance,
    /// At their table and status.
    Closely,
}

/// State of the watcher's thread.
struct Watch {
    client: Client,
    observer: Arc<Observer>,
    wake: Arc<EventFd>,
    orders: Arc<Orders>,
    /// The maps that existed at the last look.
    names: BTreeSet<String>,
    /// Reused for the list.
    list: Buffer,
    /// Reused for the texts of a map.
    room: Room,
    notice_sink: NoticeSink,
    failures: NoticeLimit,
}

impl Watch {
    fn run(mut self) {
        let mut all = true;
        // When all maps are to be examined, and whether an event asked for it.
        let (mut due, mut asked) = (Instant::now(), false);
        let mut pause = SETTLE;
        let mut last = Instant::now();
        loop {
            let begin = Instant::now();
            let is_due = all || due <= begin;
            let look = match is_due {
                false => Look::Past,
                true if all || asked || begin - last >= NOW_AND_THEN => Look::Closely,
                true => Look::Glance,
            };
            let result = self.round(look, all);
            let end = Instant::now();
            match &result {
                Ok(()) if is_due => {
                    if look == Look::Closely {
                        last = end;
                        pause = SETTLE.max((end - begin) * SHARE);
                    }
                    (due, asked) = (end + GLANCE.max(pause), false);
                    all = false;
                }
                Ok(()) => {}
                Err(error) => {
                    self.failed(&error.to_string());
                    // The look after the retry finds whatever is missed until then.
                    (due, asked) = (end + RETRY, true);
                }
            }
            // The descriptor is polled only if it was armed: otherwise it may be readable all the time.
            let event = self.wait(due, result.is_ok());
            if self.orders.stop.load(Ordering::SeqCst) {
                return;
            }
            let event = self.orders.look.swap(false, Ordering::SeqCst) || event;
            if event && !asked {
                (due, asked) = (Instant::now() + pause, true);
            }
        }
    }

    /// Arms, lists, and reports what changed. `look` says how to examine maps that the list shows unchanged; with
    /// `all`, every map is reported.
    fn round(&mut self, look: Look, all: bool) -> Result<(), MapError> {
        self.client.arm()?;
        let listed = self.client.list(&mut self.list)?;
        let ours = listed
            .into_iter()
            .filter(|listed| listed.uuid.starts_with(UUID_PREFIX));
        let mut gone = std::mem::take(&mut self.names);
        for listed in ours {
            let name = gone
                .take(listed.name)
                .unwrap_or_else(|| listed.name.to_owned());
            let as_before = self.observer.is_as_before(&name, |map| {
                let same = map.uuid == listed.uuid
                    && map.dev == listed.dev
                    && map.event_nr == listed.event_nr;
                same && match look {
                    Look::Past => true,
                    Look::Glance => {
                        self.client.glance(&map.name) == Some((map.suspended, map.open_count))
                    }
                    Look::Closely => false,
                }
            });
            if !as_before {
                self.observer
                    .report(&name, &mut self.room, all, |before, map| {
                        match (before, map) {
                            (before, Some(map)) if all || before != Some(map) => {
                                Some(Event::MapSeen(Box::new(map.clone())))
                            }
                            // Gone since the list was read.
                            (Some(_), None) => Some(Event::MapGone(name.clone())),
                            (_, Some(_)) | (None, None) => None,
                        }
                    });
            }
            self.names.insert(name);
        }
        for name in gone {
            // Removed, or renamed; by now another map may have the name.
            let room = &mut self.room;
            self.observer.report(&name, room, true, |_, map| match map {
                Some(map) if map.uuid.starts_with(UUID_PREFIX) => {
                    Some(Event::MapSeen(Box::new(map.clone())))
                }
                _ => Some(Event::MapGone(name.clone())),
            });
        }
        if all {
            self.observer.put(Event::MapsListed(self.names.clone()));
        }
        Ok(())
    }

    /// Waits for an order, the time `until`, or an event if `armed`. Returns whether there was an event.
    fn wait(&mut self, until: Instant, armed: bool) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be a busy loop.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.client.control().as_fd(), PollFlags::POLLIN),
        ];
        let watched = if armed { 2 } else { 1 };
        let polled = poll(&mut descriptors[..watched], timeout);
        let ready = |descriptor: &PollFd<'_>| descriptor.any().unwrap_or(false);
        let [wake, control] = descriptors.each_ref().map(ready);
        if let Err(errno) = polled
            && errno != Errno::EINTR
        {
            self.failed(&format!("cannot wait for dm events: {errno}"));
            thread::sleep(RETRY);
        }
        if wake {
            let _ = self.wake.read();
        }
        armed && control
    }

    fn failed(&mut self, reason: &str) {
        if self.failures.admits(Instant::now()) {
            let details = [("reason", reason), ("effect", "the agent tries again")];
            self.notice_sink
                .notify(Notice::new(codes::DM_WATCH_FAILED, "agent", &details));
        }
    }
}
