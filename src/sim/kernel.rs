//! A simulated host: its disks, the commands to them, and the queue of pending events.
//!
//! Input: [`Action`]s of the world, [`super::fault::Fault`]s of a script, and the time. Output: [`Event`]s, through
//! [`Kernel::pop`]. Everything that takes time waits in one queue, ordered by time and then by order of submission, so
//! a run is determined by its seed alone. Latencies vary within [`Pace`].
//!
//! Commands: a path that is down returns DID_NO_CONNECT. A path that hangs answers when it is released.
//! If the agent's deadline passes before that, the answer is [`Outcome::Overdue`]; the command stays in flight, and a
//! path with such an orphan accepts no other command. The mid-layer repeats commands after unit attentions and reports
//! these by uevents. I/O errors are reported as the kernel's tracing does, to an agent that uses it. Left out: error
//! recovery of a host, tags, the kernel's own timeouts for the commands of checks.

use super::array::{Array, Trespass, UnitId};
use super::dm::{Multipath, Series};
use super::fault::Fault;
use super::rng::Rng;
pub use super::state::{Disk, Kernel, Ledger, Link, Pace};
use super::state::{Job, Pending, Run, SimMap};
use crate::psa::action::{Action, Examine, Notice};
use crate::psa::adapter::{AdapterFacts, TargetFacts, Transport};
use crate::psa::event::{Event, Examination, IoTrouble, Reply, UnitAttention};
use crate::psa::facts::{BlockFacts, DiskKind, Handler, PathFacts};
use crate::psa::memory::Memory;
use crate::psa::table::model::Table;
use crate::psa::units::{DevT, Hctl, Millis, Sectors, Sg};
use crate::scsi::inquiry::Tpgs;
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::{Sense, SenseMeaning, UnitAttentionKind};
use crate::scsi::tpgs::AccessState;
use std::collections::{BTreeMap, BTreeSet};

impl Kernel {
    /// Creates a host without disks.
    #[must_use]
    pub fn new(series: Series, pace: Pace, seed: u64) -> Kernel {
        Kernel {
            array: Array::default(),
            pace,
            nexus_loss: false,
            handlers: true,
            staged: false,
            reports_io: true,
            unreadable_maps: 0,
            udev_reads: false,
            ledger: Ledger::default(),
            repointed: BTreeMap::new(),
            memory: Memory::default(),
            outages: BTreeMap::new(),
            others: BTreeMap::new(),
            unprocessed: BTreeSet::new(),
            takeovers: (Millis(0), BTreeMap::new()),
            series,
            disks: BTreeMap::new(),
            templates: BTreeMap::new(),
            devs: BTreeMap::new(),
            maps: BTreeMap::new(),
            taken_names: BTreeSet::new(),
            names: BTreeMap::new(),
            holders: BTreeMap::new(),
            optimize: BTreeSet::new(),
            refusals: BTreeMap::new(),
            jams: BTreeMap::new(),
            marks: BTreeMap::new(),
            queue: BTreeMap::new(),
            asked: 0,
            last_uevent: Millis(0),
            next_disk: 0,
            next_map: 0,
            rng: Rng::new(seed),
        }
    }

    /// Adds a path with this transport to a unit, through a port of a group, and scans it. No event is raised.
    pub fn cable(&mut self, path: Hctl, transport: Transport, unit: UnitId, group: u16, port: u16) {
        self.array.connect(path, unit, group, port);
        let name = format!("host{}", path.host);
        let template = PathFacts {
            hctl: path,
            block: None,
            sg: None,
            device_type: 0,
            vendor: String::new(),
            model: String::new(),
            device_state: "running".to_owned(),
            handler: Handler::Detached,
            transport,
            adapter: AdapterFacts {
                key: format!("{}.{name}", transport.as_str()),
                identifier: format!("{}.{name}", transport.as_str()),
                driver: "simulated".to_owned(),
                link_state: "link-up".to_owned(),
                description: String::new(),
            },
            target: TargetFacts {
                identifier: format!("{}.port{port}", transport.as_str()),
                details: String::new(),
                portal: None,
                port_state: None,
            },
        };
        self.templates.insert(path, template);
        self.scan(path);
    }

    /// Finds a disk at an address. It gets a new device number, which no disk had before.
    pub(super) fn scan(&mut self, path: Hctl) {
        let Some(template) = self.templates.get(&path) else {
            return;
        };
        let n = self.next_disk;
        self.next_disk += 1;
        let dev = DevT {
            major: 8,
            minor: n * 16,
        };
        let standby = self.array.access(path) == Some(AccessState::Standby);
        let unit = self.array.unit_at(path);
        let handler = unit.filter(|_| self.handlers).and_then(|unit| {
            let older = unit.trespasses.map(Trespass::handler);
            older.or((unit.tpgs != Tpgs::None).then_some("alua"))
        });
        let facts = PathFacts {
            block: Some(BlockFacts {
                name: disk_name(n),
                dev,
                size: unit.map_or(Sectors(0), |unit| unit.size),
                read_only: self.array.is_write_protected(path),
                max_io_bytes: 0,
                queue_depth: 32,
                rotational: false,
                usage: Vec::new(),
            }),
            sg: Some(Sg(n)),
            vendor: unit.map_or_else(String::new, |unit| unit.vendor.clone()),
            model: unit.map_or_else(String::new, |unit| unit.product.clone()),
            handler: handler.map_or(Handler::Detached, |name| Handler::Attached(name.to_owned())),
            ..template.clone()
        };
        self.devs.insert(dev, path);
        self.disks.insert(
            path,
            Disk {
                facts,
                link: Link::Up,
                sick: false,
                passive: standby,
                orphan: false,
                waiting: None,
                examined: None,
            },
        );
    }

    /// The disks by address.
    pub fn disks(&self) -> impl Iterator<Item = (&Hctl, &Disk)> {
        self.disks.iter()
    }

    /// A disk by address.
    #[must_use]
    pub fn disk(&self, path: Hctl) -> Option<&Disk> {
        self.disks.get(&path)
    }

    /// The path with this device number, if the disk is present.
    #[must_use]
    pub fn path_of(&self, dev: DevT) -> Option<Hctl> {
        self.devs.get(&dev).copied()
    }

    /// What sysfs shows for a block device number.
    #[must_use]
    pub(crate) fn disk_kind(&self, dev: DevT) -> DiskKind {
        if let Some(what) = self.others.get(&dev) {
            return DiskKind::Other(what.clone());
        }
        match self.path_of(dev) {
            Some(path) => DiskKind::Scsi(path),
            None => DiskKind::Absent,
        }
    }

    /// Adds a disk that is not a SCSI disk, for tables of maps.
    pub fn add_other(&mut self, dev: DevT, what: &str) {
        self.others.insert(dev, what.to_owned());
    }

    /// Removes a disk that [`Kernel::add_other`] added.
    pub fn remove_other(&mut self, dev: DevT) {
        self.others.remove(&dev);
    }

    /// Sets the number of users that have a map open.
    pub fn open_map(&mut self, name: &str, users: u32) {
        if let Some(map) = self.maps.get_mut(name) {
            map.dm.open_count = users;
        }
    }

    /// Another program has a device-mapper device of another kind with this name.
    pub fn take_name(&mut self, name: &str) {
        self.taken_names.insert(name.to_owned());
    }

    /// Creates a map that exists before the agent starts, as an initramfs or another program does.
    ///
    /// # Errors
    /// The kernel rejects the table, or a disk in it.
    pub fn make_map(&mut self, name: &str, uuid: &str, table: &Table) -> Result<(), String> {
        let dev = self.new_map_dev();
        let dm = Multipath::new(self.series, name, uuid, dev);
        self.maps.insert(name.to_owned(), SimMap::new(dm));
        self.names.insert(uuid.to_owned(), name.to_owned());
        let made = self.load(name, table, false).map_err(|(_, why)| why);
        made?;
        self.resume(Millis(0), name)
            .map_err(|errno| format!("errno {errno}"))
    }

    /// What discovery reports for a path now. Before udev has processed the disk, this is the path without its disk.
    fn seen(&self, disk: &Disk) -> PathFacts {
        let mut facts = disk.facts.clone();
        if self.unprocessed.contains(&facts.hctl) {
            facts.block = None;
        }
        facts
    }

    /// Whether udev was notified that a disk is a path of the agent; `None` if it was not notified.
    #[must_use]
    pub fn mark(&self, dev: DevT) -> Option<bool> {
        self.marks.get(&dev).copied()
    }

    /// The time of the next scheduled event.
    #[must_use]
    pub(crate) fn next_time(&self) -> Option<Millis> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    /// Processes the next scheduled event, if it is due. Returns `None` if none is due, otherwise the event for the
    /// agent, if there is one.
    pub fn pop(&mut self, now: Millis) -> Option<Option<Event>> {
        if self.next_time()? > now {
            return None;
        }
        let ((at, _), pending) = self.queue.pop_first()?;
        match pending {
            Pending::Deliver(event) => return Some(Some(event)),
            Pending::Command(run) => self.command_ends(at, run),
            Pending::Deadline(path, ticket, sent) => self.deadline(path, ticket, sent),
            Pending::Step(job) => self.step(at, job),
            Pending::Observe(name) => self.observe_later(at, &name),
            Pending::Udev(name, event) => self.udev_runs(at, &name, event),
        }
        Some(None)
    }

    /// Carries out an action; its answer comes through [`Kernel::pop`]. Notices are returned.
    pub fn carry_out(&mut self, now: Millis, action: Action) -> Option<Notice> {
        match action {
            Action::Examine(Examine {
                path,
                sg,
                ticket,
                commands,
                deadline,
                ..
            }) => {
                let run = Run {
                    path,
                    sg,
                    ticket,
                    commands: commands.into_owned().into(),
                    replies: Vec::new(),
                    deadline,
                    sent: now,
                };
                self.examine(now, Box::new(run));
            }
            Action::Map { map, ticket, steps } => {
                self.submit(now, Box::new(Job::new(map, ticket, steps)));
            }
            Action::DeleteDevice { path, dev } => self.give_up(now, path, dev),
            Action::SetPortTimers { .. } | Action::WatchClosely(_) => {}
            Action::RescanDevice(path) => self.reread_capacity(now, path),
            Action::ScanFor(path) => self.inject(now, &Fault::Add(path)),
            Action::RefreshFacts(path) => self.announce_facts(now, path),
            Action::MarkOwner { dev, owned, .. } => {
                self.marks.insert(dev, owned);
                if let Some(path) = self.path_of(dev) {
                    self.announce_facts(now, path);
                }
            }
            Action::ForgetOwner(dev) => {
                self.marks.remove(&dev);
            }
            Action::Remember(memory) => self.memory = *memory,
            Action::StoreTakeovers(budgets) => self.takeovers = (now, budgets),
            Action::StoreOutages(outages) => {
                let began = |lasted: Millis| now.since(lasted);
                let outages = outages.into_iter();
                self.outages = outages.map(|(wwid, t)| (wwid, began(t))).collect();
            }
            Action::LookUpDisks(devs) => {
                let found = devs.into_iter().map(|dev| (dev, self.disk_kind(dev)));
                let event = Event::DisksFound(found.collect());
                self.deliver_soon(now, event);
            }
            Action::Notify(notice) => return Some(notice),
        }
        None
    }

    /// Sets the size that the kernel has cached for a disk, until it reads the capacity again.
    pub fn set_size(&mut self, path: Hctl, size: Sectors) {
        let disk = self.disks.get_mut(&path);
        if let Some(block) = disk.and_then(|disk| disk.facts.block.as_mut()) {
            block.size = size;
        }
    }

    /// Sets the state that sysfs shows for the target port of a path, before the start.
    pub fn set_port_state(&mut self, path: Hctl, state: &str) {
        if let Some(disk) = self.disks.get_mut(&path) {
            disk.facts.target.port_state = Some(state.to_owned());
        }
    }

    /// The events that an agent gets when it starts: all paths, all maps, and the end of each listing. The order of the
    /// two listings is random, as they come from two threads. What was in progress for the previous agent is lost;
    /// steps on a map that were not reached are never taken.
    pub fn enumerate(&mut self) -> Vec<Event> {
        self.queue.clear();
        self.jams.values_mut().for_each(Vec::clear);
        for disk in self.disks.values_mut() {
            disk.examined = None;
            disk.waiting = None;
            disk.orphan = false;
        }
        for map in self.maps.values_mut() {
            map.busy = None;
            map.observation_due = false;
        }
        let facts = self.disks.values().map(|disk| self.seen(disk));
        let mut paths: Vec<Event> = facts.map(|f| Event::PathSeen(Box::new(f))).collect();
        paths.push(Event::PathsListed(self.disks.keys().copied().collect()));
        let maps = self.maps.values().map(SimMap::observe);
        let mut maps: Vec<Event> = maps.map(|m| Event::MapSeen(Box::new(m))).collect();
        maps.push(Event::MapsListed(self.maps.keys().cloned().collect()));
        if self.rng.chance(50) {
            std::mem::swap(&mut paths, &mut maps);
        }
        paths.extend(maps);
        paths
    }

    pub(super) fn later(&mut self, at: Millis, pending: Pending) {
        self.asked += 1;
        self.queue.insert((at, self.asked), pending);
    }

    fn deliver_soon(&mut self, now: Millis, event: Event) {
        let at = now.after(self.some(self.pace.event));
        self.later(at, Pending::Deliver(event));
    }

    /// The kernel reports an error of ordinary I/O.
    pub(super) fn report_io(&mut self, now: Millis, what: IoTrouble) {
        if self.reports_io {
            let at = now.after(Millis(1));
            self.later(at, Pending::Deliver(Event::IoTrouble { what, count: 1 }));
        }
    }

    /// Queues a uevent, or facts that are read because of one. They come through one socket and stay in order.
    pub(super) fn announce(&mut self, now: Millis, event: Event) {
        let at = now.after(self.some(self.pace.event)).max(self.last_uevent);
        self.last_uevent = at;
        self.later(at, Pending::Deliver(event));
    }

    /// Announces the facts of a path, as they are now.
    pub(super) fn announce_facts(&mut self, now: Millis, path: Hctl) {
        let event = match self.disks.get(&path) {
            Some(disk) => Event::PathSeen(Box::new(self.seen(disk))),
            None => Event::PathGone(path),
        };
        self.announce(now, event);
    }

    /// Announces the facts of a path as they are while no driver is bound to its SCSI device.
    pub(super) fn announce_bare(&mut self, now: Millis, path: Hctl) {
        if let Some(disk) = self.disks.get(&path) {
            let bare = PathFacts {
                block: None,
                sg: None,
                ..disk.facts.clone()
            };
            self.announce(now, Event::PathSeen(Box::new(bare)));
        }
    }

    pub(super) fn some(&mut self, (low, high): (u64, u64)) -> Millis {
        Millis(self.rng.between(low, high))
    }

    /// A device number for a new map.
    pub(super) fn new_map_dev(&mut self) -> DevT {
        let minor = self.next_map;
        self.next_map += 1;
        DevT { major: 252, minor }
    }

    fn examine(&mut self, now: Millis, run: Box<Run>) {
        self.ledger.examinations += 1;
        let refusal = match self.disks.get_mut(&run.path) {
            Some(disk) if disk.facts.sg == Some(run.sg) => {
                if let Some(other) = disk.examined.replace(run.ticket) {
                    self.ledger.violations.push(format!(
                        "path {} was examined while examination {other} was outstanding",
                        run.path
                    ));
                }
                disk.orphan.then_some(Outcome::Overdue)
            }
            _ => Some(Outcome::Gone),
        };
        if let Some(outcome) = refusal {
            self.end(now, *run, Some(outcome));
            return;
        }
        self.send(now, run);
    }

    /// Sends the next command of an examination.
    fn send(&mut self, now: Millis, mut run: Box<Run>) {
        if run.commands.is_empty() {
            self.end(now, *run, None);
            return;
        }
        run.sent = now;
        let at = now.after(self.some(self.pace.command));
        self.later(at, Pending::Command(run));
    }

    /// A command returns, unless the path hangs.
    fn command_ends(&mut self, now: Millis, mut run: Box<Run>) {
        let Some(disk) = self.disks.get_mut(&run.path) else {
            return self.end(now, *run, Some(Outcome::Gone));
        };
        if disk.facts.sg != Some(run.sg) {
            return self.end(now, *run, Some(Outcome::Gone));
        }
        match disk.link {
            Link::Down => return self.end(now, *run, Some(Outcome::NoConnect(1))),
            Link::Hung => {
                let at = run.sent.after(run.deadline);
                let due = Pending::Deadline(run.path, run.ticket, run.sent);
                disk.waiting = Some(run);
                self.later(at, due);
                return;
            }
            Link::Up => {}
        }
        let Some(command) = run.commands.front().cloned() else {
            return self.end(now, *run, None);
        };
        let mut answer = self.array.execute(run.path, &command);
        while let Some(kind) = attention(&answer.outcome) {
            self.announce_attention(now, run.path, kind);
            answer = self.array.execute(run.path, &command);
        }
        let on = matches!(answer.outcome, Outcome::Good | Outcome::CheckCondition(_));
        if !on {
            return self.end(now, *run, Some(answer.outcome));
        }
        run.commands.pop_front();
        run.replies.push(Reply {
            command,
            data: if answer.outcome == Outcome::Good {
                answer.data
            } else {
                Vec::new()
            },
            outcome: answer.outcome,
        });
        self.send(now, run);
    }

    fn deadline(&mut self, path: Hctl, ticket: u64, sent: Millis) {
        let Some(disk) = self.disks.get_mut(&path) else {
            return;
        };
        match disk.waiting.take() {
            Some(run) if run.ticket == ticket && run.sent == sent => {
                disk.orphan = true;
                let now = sent.after(run.deadline);
                self.end(now, *run, Some(Outcome::Overdue));
            }
            other => disk.waiting = other,
        }
    }

    /// Ends an examination. `last` is the outcome of the command that is in flight, if there is one. The answer takes
    /// time to reach the agent.
    pub(super) fn end(&mut self, now: Millis, mut run: Run, last: Option<Outcome>) {
        if let (Some(outcome), Some(command)) = (last, run.commands.pop_front()) {
            run.replies.push(Reply {
                command,
                outcome,
                data: Vec::new(),
            });
        }
        if let Some(disk) = self.disks.get_mut(&run.path)
            && disk.examined == Some(run.ticket)
        {
            disk.examined = None;
        }
        self.deliver_soon(
            now,
            Event::Examined(Examination {
                path: run.path,
                ticket: run.ticket,
                replies: run.replies,
            }),
        );
    }

    /// A path that hung works again: the command that is in flight is carried out now.
    pub(super) fn release(&mut self, now: Millis, path: Hctl) {
        let Some(disk) = self.disks.get_mut(&path) else {
            return;
        };
        disk.orphan = false;
        if let Some(run) = disk.waiting.take() {
            self.later(now, Pending::Command(run));
        }
    }

    pub(super) fn announce_attention(&mut self, now: Millis, path: Hctl, kind: UnitAttentionKind) {
        let kind = match kind {
            UnitAttentionKind::InquiryDataHasChanged => UnitAttention::InquiryDataHasChanged,
            UnitAttentionKind::ReportedLunsDataHasChanged => {
                UnitAttention::ReportedLunsDataHasChanged
            }
            UnitAttentionKind::PowerOnResetOccurred => UnitAttention::PowerOnResetOccurred,
            UnitAttentionKind::ModeParametersChanged => UnitAttention::ModeParametersChanged,
            UnitAttentionKind::AsymmetricAccessStateChanged => {
                UnitAttention::AsymmetricAccessStateChanged
            }
            UnitAttentionKind::CapacityDataHasChanged => UnitAttention::CapacityDataHasChanged,
            UnitAttentionKind::ThinProvisioningSoftThresholdReached => {
                UnitAttention::ThinProvisioningSoftThresholdReached
            }
            UnitAttentionKind::ImplicitTransitionFailed | UnitAttentionKind::Other => return,
        };
        self.announce(now, Event::UnitAttention { path, kind });
    }
}

/// The unit attention in an outcome.
pub(super) fn attention(outcome: &Outcome) -> Option<UnitAttentionKind> {
    match outcome.sense().map(Sense::meaning) {
        Some(SenseMeaning::UnitAttention(kind)) => Some(kind),
        _ => None,
    }
}

/// `sda`, ..., `sdz`, `sdaa`: the numbering of `sd_format_disk_name`.
fn disk_name(n: u32) -> String {
    let mut letters = Vec::new();
    let mut n = n;
    loop {
        letters.push(b'a' + (n % 26) as u8);
        if n < 26 {
            break;
        }
        n = n / 26 - 1;
    }
    letters.reverse();
    format!("sd{}", String::from_utf8_lossy(&letters))
}

#[cfg(test)]
mod tests {
    use super::disk_name;

    #[test]
    fn disks_are_named_as_the_kernel_does() {
        let names: Vec<String> = [0, 25, 26, 701, 702].map(disk_name).into();
        assert_eq!(names, ["sda", "sdz", "sdaa", "sdzz", "sdaaa"]);
    }
}
