//! The thread of discovery.

use super::message::{self, KERNEL_SUBSYSTEMS, Meaning, UDEV_SUBSYSTEMS};
use super::missed::Missed;
use super::shared::{Inbox, QUIET, Shared};
use super::socket::{Group, Socket};
use super::transport::{Kind, Listener, Place, Received};
use crate::kernel::sysfs::{Survey, Sysfs};
use crate::kernel::{NoticeLimit, NoticeSink, Sink};
use crate::psa::action::Notice;
use crate::psa::adapter::Transport;
use crate::psa::codes::{self, Code};
use crate::psa::event::{Event, UnitAttention};
use crate::psa::facts::{PathFacts, Usage};
use crate::psa::units::Hctl;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most paths that are read between two checks of the sockets.
const CHUNK: usize = 128;

/// The mount table is compared at most this often: container hosts change it all the time.
const MOUNTS: Duration = Duration::from_secs(1);

/// A transport reports an event before its state shows it. So its paths are read immediately, and again after this
/// time.
const AGAIN: Duration = Duration::from_secs(1);

/// How long nothing is read when files or memory are short.
const PAUSE: Duration = Duration::from_secs(1);

/// The thread must end.
#[derive(Debug)]
pub(super) struct Stopped;

pub(super) struct Watcher {
    events: Sink,
    notice_sink: NoticeSink,
    /// Called when a map may have another table.
    map_changed: Box<dyn Fn() + Send>,
    shared: Arc<Shared>,
    survey: Survey,
    kernel: Socket,
    udev: Socket,
    /// Listeners to the transports that paths were seen on.
    transports: BTreeMap<Kind, Listener>,
    /// Hosts whose paths are to be read again, and when.
    again: BTreeMap<u32, Instant>,
    /// `/proc/self/mountinfo` and `/proc/swaps`, polled for changes; empty if they do not exist below the root.
    tables: Vec<File>,
    /// Paths that were reported and have not been withdrawn.
    known: BTreeSet<Hctl>,
    /// The holders of paths, other than multipath maps: kernel names.
    holders: BTreeMap<Hctl, Vec<String>>,
    /// Paths to read: those of uevents in `changed`, and those of requests, which must be answered, in `asked`.
    changed: BTreeSet<Hctl>,
    asked: BTreeSet<Hctl>,
    /// Paths that could not be read although their devices exist. If the next read fails too, they are gone.
    doubted: BTreeSet<Hctl>,
    /// Paths whose disks udev does not know.
    missed: Missed,
    /// When to read `changed`.
    changed_due: Option<Instant>,
    /// When to compare the mount table, and when that was last done.
    mounts_due: Option<Instant>,
    mounts_compared: Option<Instant>,
    /// When to enumerate.
    enumerate_due: Option<Instant>,
    /// Set when files or memory are short: nothing is read until then.
    paused_until: Option<Instant>,
    /// Limits notices about that.
    pauses: NoticeLimit,
}

impl Watcher {
    pub(super) fn new(
        sysfs: Sysfs,
        events: Sink,
        notice_sink: NoticeSink,
        map_changed: Box<dyn Fn() + Send>,
        shared: Arc<Shared>,
    ) -> io::Result<Watcher> {
        let tables = sysfs.usage_tables();
        Ok(Watcher {
            events,
            notice_sink,
            map_changed,
            shared,
            survey: Survey::new(sysfs),
            kernel: Socket::listen(Group::Kernel, &KERNEL_SUBSYSTEMS)?,
            udev: Socket::listen(Group::Udev, &UDEV_SUBSYSTEMS)?,
            transports: BTreeMap::new(),
            again: BTreeMap::new(),
            tables,
            known: BTreeSet::new(),
            holders: BTreeMap::new(),
            doubted: BTreeSet::new(),
            missed: Missed::default(),
            changed: BTreeSet::new(),
            asked: BTreeSet::new(),
            changed_due: None,
            mounts_due: None,
            mounts_compared: None,
            // The first thing to do, now that no message can be missed.
            enumerate_due: Some(Instant::now()),
            paused_until: None,
            pauses: NoticeLimit::default(),
        })
    }

    /// Works until it is stopped or the receiver is gone.
    pub(super) fn run(&mut self) {
        while self.turn().is_ok() {}
    }

    fn turn(&mut self) -> Result<(), Stopped> {
        self.wait();
        let inbox = std::mem::take(&mut *self.shared.inbox());
        let Inbox {
            asked,
            enumerate,
            stop,
        } = inbox;
        if stop {
            // For a sender that is handing over an event meanwhile.
            self.shared.inbox().stop = true;
            return Err(Stopped);
        }
        self.asked.extend(asked);
        let now = Instant::now();
        if enumerate {
            self.enumerate_due = Some(now);
        }
        self.listen()?;
        if self.paused_until.is_some_and(|until| until > now) {
            return Ok(());
        }
        self.paused_until = None;
        if is_due(self.enumerate_due) {
            self.enumerate()?;
        }
        if is_due(self.mounts_due) {
            self.mounts_due = None;
            self.mounts_compared = Some(Instant::now());
            let paths = self.survey.usage_changes();
            let known = paths.intersection(&self.known).copied();
            self.changed.extend(known);
            self.changed_due.get_or_insert_with(Instant::now);
        }
        self.trigger_udev();
        let again: Vec<u32> = self
            .again
            .iter()
            .filter(|(_, due)| is_due(Some(**due)))
            .map(|(host, _)| *host)
            .collect();
        for host in again {
            self.again.remove(&host);
            self.note_host(host);
        }
        if !self.asked.is_empty() || is_due(self.changed_due) {
            self.read_some()?;
        }
        Ok(())
    }

    /// Waits for something to do.
    fn wait(&mut self) {
        let dues = [self.changed_due, self.mounts_due, self.enumerate_due];
        let again = self.again.values().min().copied();
        let due = dues
            .into_iter()
            .flatten()
            .chain(again)
            .chain(self.missed.next())
            .min();
        let timeout = if !self.asked.is_empty() && self.paused_until.is_none() {
            PollTimeout::ZERO
        } else if let Some(due) = self.paused_until.or(due) {
            let left = due.saturating_duration_since(Instant::now());
            // Rounded up, or the last millisecond would be a busy loop.
            let left = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
            PollTimeout::from(left)
        } else {
            PollTimeout::NONE
        };
        let mut files = vec![
            PollFd::new(self.shared.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.kernel.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.udev.as_fd(), PollFlags::POLLIN),
        ];
        let tables = self.tables.iter();
        files.extend(tables.map(|table| PollFd::new(table.as_fd(), PollFlags::POLLPRI)));
        let transports = self.transports.values();
        files.extend(transports.map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        // After EINTR and the like, another turn does no harm.
        let _ = poll(&mut files, timeout);
        let flags = |file: &PollFd| file.revents().unwrap_or(PollFlags::empty());
        let woken = files.first().is_some_and(|file| !flags(file).is_empty());
        // Polling the tables also acknowledges the change, so it is reported only once.
        let mounts = files
            .iter()
            .skip(3)
            .any(|file| flags(file).contains(PollFlags::POLLPRI));
        if woken {
            let _ = self.shared.wake.read();
        }
        if mounts {
            let now = Instant::now();
            let next = self.mounts_compared.map_or(now, |last| last + MOUNTS);
            self.mounts_due.get_or_insert(next.max(now + QUIET));
        }
    }

    /// Processes all waiting messages: reports removals and unit attentions, and notes what is to be read. Returns the
    /// removed paths.
    fn listen(&mut self) -> Result<BTreeSet<Hctl>, Stopped> {
        let mut removals = Vec::new();
        let mut others = BTreeSet::new();
        let udev_runs = self.survey.sysfs().udev_runs();
        let mut lost = self.kernel.drain(|message| {
            match message::of_kernel(&message) {
                Some(removal @ (Meaning::Removed(_) | Meaning::DiskRemoved(_))) => {
                    removals.push(removal);
                }
                other => others.extend(other),
            }
            if !udev_runs {
                others.extend(message::of_udev(&message));
            }
        });
        lost |= self.udev.drain(|message| {
            others.extend(message::of_udev(&message));
        });
        let mut places = BTreeSet::new();
        let mut fabric = BTreeSet::new();
        for listener in self.transports.values() {
            lost |= listener.drain(|received| match received {
                Received::Uevent(place) => drop(places.insert(place)),
                Received::Fabric(host, received) => drop(fabric.insert((host, received))),
            });
        }
        for (host, received) in fabric {
            self.report(Event::FabricNotification {
                host,
                ports: received.ports,
                what: received.what.to_owned(),
            })?;
        }
        if lost {
            self.enumerate_due
                .get_or_insert_with(|| Instant::now() + QUIET);
        }
        let mut removed = BTreeSet::new();
        for removal in removals {
            match removal {
                Meaning::Removed(path) => {
                    removed.insert(path);
                    self.removed(path)?;
                }
                Meaning::DiskRemoved(path) => {
                    self.survey.forget(path);
                    self.note(path);
                }
                _ => {}
            }
        }
        for meaning in others {
            match meaning {
                Meaning::Attention(path, kind) => {
                    self.report(Event::UnitAttention { path, kind })?;
                    if matches!(
                        kind,
                        UnitAttention::InquiryDataHasChanged
                            | UnitAttention::CapacityDataHasChanged
                    ) {
                        self.note(path);
                    }
                }
                Meaning::Changed(path) => self.note(path),
                Meaning::HostChanged(host) => self.note_host(host),
                Meaning::DiskAdded(path) => self.missed.waits(path, true, Instant::now()),
                Meaning::MapChanged => (self.map_changed)(),
                Meaning::HolderChanged(name, gone) => self.note_held(&name, gone),
                Meaning::Removed(_) | Meaning::DiskRemoved(_) => {}
            }
        }
        for place in places {
            let host = match place {
                Place::Host(host) => Some(host),
                Place::Session(session) => self.survey.sysfs().host_of_session(session),
            };
            if let Some(host) = host {
                self.note_host(host);
                self.again
                    .entry(host)
                    .or_insert_with(|| Instant::now() + AGAIN);
            }
        }
        Ok(removed)
    }

    /// Makes udev run its rules for disks that it missed.
    fn trigger_udev(&mut self) {
        let now = Instant::now();
        if !is_due(self.missed.next()) {
            return;
        }
        let busy = self.survey.sysfs().udev_is_busy();
        for (path, is_first) in self.missed.due(now, busy) {
            self.note(path);
            let (reason, effect) = match self.survey.sysfs().add_again(path) {
                Ok(true) => (
                    "udev does not know its disk".to_owned(),
                    "its uevents are triggered again",
                ),
                Ok(false) => {
                    self.missed.waits(path, false, now);
                    continue;
                }
                Err(error) => (
                    format!(
                        "udev does not know its disk, and its uevents cannot be triggered: {error}"
                    ),
                    "the agent tries again",
                ),
            };
            if is_first {
                let details = [("reason", &*reason), ("effect", effect)];
                self.notify(codes::UDEV_MISSED, path, &details);
            }
        }
    }

    fn removed(&mut self, path: Hctl) -> Result<(), Stopped> {
        log::debug!(target: "psa", "the kernel reports that {path} was removed");
        self.survey.forget(path);
        self.holders.remove(&path);
        self.missed.waits(path, false, Instant::now());
        if self.known.remove(&path) {
            self.report(Event::PathGone(path))?;
        }
        // The path may exist again, and the message about that may already have been processed.
        self.note(path);
        Ok(())
    }

    /// Notes that the facts of a path are to be read soon.
    fn note(&mut self, path: Hctl) {
        self.changed.insert(path);
        self.changed_due
            .get_or_insert_with(|| Instant::now() + QUIET);
    }

    fn note_host(&mut self, host: u32) {
        let below: Vec<Hctl> = self
            .known
            .iter()
            .filter(|path| path.host == host)
            .copied()
            .collect();
        for path in below {
            self.note(path);
        }
    }

    fn note_held(&mut self, holder: &str, gone: bool) {
        let held: Vec<Hctl> = if gone {
            let holds = |names: &Vec<String>| names.iter().any(|name| name == holder);
            let held = self.holders.iter().filter(|(_, names)| holds(names));
            held.map(|(path, _)| *path).collect()
        } else {
            self.survey.sysfs().paths_below(holder)
        };
        for path in held {
            self.note(path);
        }
    }

    /// Reads the facts of all paths in chunks, and checks the sockets in between.
    fn enumerate(&mut self) -> Result<(), Stopped> {
        self.enumerate_due = None;
        self.changed.clear();
        self.changed_due = None;
        // Present mounts are part of the facts that are read next; only later ones count as changes.
        let _ = self.survey.usage_changes();
        let Ok(listed) = self.survey.sysfs().list_paths() else {
            self.pause();
            self.enumerate_due = self.paused_until;
            return Ok(());
        };
        let listed: Vec<Hctl> = listed.into_iter().collect();
        // `PathsListed` withdraws the paths that are not listed.
        self.known = listed
            .iter()
            .filter(|path| self.known.contains(path))
            .copied()
            .collect();
        for chunk in listed.chunks(CHUNK) {
            self.read(chunk)?;
            self.stop_if_asked()?;
            if self.paused_until.is_some() {
                self.enumerate_due = self.paused_until;
                return Ok(());
            }
        }
        self.report(Event::PathsListed(self.known.clone()))
    }

    /// Reads the facts of some of the paths that are waiting to be read.
    fn read_some(&mut self) -> Result<(), Stopped> {
        let mut chunk: Vec<Hctl> = self.asked.iter().take(CHUNK).copied().collect();
        if is_due(self.changed_due) {
            let room = CHUNK - chunk.len();
            chunk.extend(self.changed.iter().take(room));
        }
        for path in &chunk {
            self.changed.remove(path);
        }
        if self.changed.is_empty() {
            self.changed_due = None;
        }
        self.read(&chunk)
    }

    /// Reads the facts of paths and reports them.
    fn read(&mut self, paths: &[Hctl]) -> Result<(), Stopped> {
        self.survey.begin();
        let mut facts: BTreeMap<Hctl, PathFacts> = BTreeMap::new();
        for path in paths {
            let Ok(read) = self.survey.read(*path) else {
                for path in paths {
                    self.note(*path);
                }
                self.pause();
                return Ok(());
            };
            facts.extend(read.map(|facts| (*path, facts)));
        }
        // A path that was removed may have come back before it was read. The message of the removal was sent before
        // that and is waiting, so it is reported first. What was read is dropped, and the path is read again.
        let removed = self.listen()?;
        for path in paths {
            if removed.contains(path) && facts.contains_key(path) {
                self.note(*path);
                continue;
            }
            // A single failed read is not proof, and a path that is wrongly taken for gone costs a table load: around
            // iSCSI logins the link of a device that stays was seen to be unreadable for a moment (6.12). A device that
            // is being removed has lost its link permanently, and may take long to go.
            let here = facts.contains_key(path);
            let first = !self.doubted.remove(path);
            if !here && first && self.known.contains(path) && self.survey.sysfs().has_device(*path)
            {
                let reason = "its device exists but its link in sysfs does not";
                self.notify(codes::PATH_DOUBTED, path, &[("reason", reason)]);
                self.doubted.insert(*path);
                self.note(*path);
                continue;
            }
            let asked = self.asked.remove(path);
            match facts.remove(path) {
                Some(facts) => self.seen(facts)?,
                None if self.known.remove(path) || asked => {
                    self.survey.forget(*path);
                    self.holders.remove(path);
                    self.missed.waits(*path, false, Instant::now());
                    self.report(Event::PathGone(*path))?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Stops reading for a moment: what cannot be read because files or memory are short may still exist.
    fn pause(&mut self) {
        let now = Instant::now();
        if self.pauses.admits(now) {
            let reason = "this host is out of file descriptors or memory";
            let details = [("reason", reason), ("effect", "the known paths are kept")];
            self.notify(codes::DISCOVERY_PAUSED, "agent", &details);
        }
        self.paused_until = Some(now + PAUSE);
    }

    /// Listens to the messages of a transport once a path of that transport was seen.
    fn listen_to(&mut self, transport: Transport) {
        let kind = match transport {
            Transport::Fc | Transport::Fcoe => Kind::Fc,
            Transport::Iscsi => Kind::Iscsi,
            _ => return,
        };
        if !self.transports.contains_key(&kind)
            && self.survey.sysfs().has_class(kind.class())
            && let Ok(listener) = Listener::open(kind)
        {
            // Without it, only the next check of a path shows the state of its port; nothing else is lost.
            self.transports.insert(kind, listener);
        }
    }

    fn seen(&mut self, facts: PathFacts) -> Result<(), Stopped> {
        self.listen_to(facts.transport);
        let waits = facts.block.is_none() && self.survey.sysfs().disk_of(facts.hctl).is_some();
        self.missed.waits(facts.hctl, waits, Instant::now());
        let holders: Vec<String> = facts
            .block
            .iter()
            .flat_map(|block| &block.usage)
            .filter_map(|usage| match usage {
                Usage::Held { by, .. } => by.split(' ').next().map(str::to_owned),
                Usage::Mounted { .. } | Usage::Swap { .. } => None,
            })
            .collect();
        if holders.is_empty() {
            self.holders.remove(&facts.hctl);
        } else {
            self.holders.insert(facts.hctl, holders);
        }
        self.known.insert(facts.hctl);
        self.report(Event::PathSeen(Box::new(facts)))
    }

    /// Hands over an event; waits while the receiver's queue is full.
    fn report(&self, event: Event) -> Result<(), Stopped> {
        self.events.put(event).map_err(|_| Stopped)
    }

    fn notify(&self, code: Code, subject: impl ToString, details: &[(&str, &str)]) {
        self.notice_sink
            .notify(Notice::new(code, subject.to_string(), details));
    }

    fn stop_if_asked(&self) -> Result<(), Stopped> {
        match self.shared.inbox().stop {
            true => Err(Stopped),
            false => Ok(()),
        }
    }
}

fn is_due(due: Option<Instant>) -> bool {
    due.is_some_and(|due| due <= Instant::now())
}
