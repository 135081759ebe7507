//! Maps of the simulated host: the steps of the agent on them, and the I/O of their users.
//!
//! Each step takes time, and other events happen meanwhile: a disk may disappear between any two steps, also between
//! the load of a table and the resume that makes it live. [`super::dm::Multipath`] chooses groups and paths; this
//! module models the disks below; `handler.rs` models the device handlers' part in an activation.
//!
//! Left out: activation takes no time, and a group in transition holds I/O back without another activation; the
//! handler's cache of access states is always current; a reload does not wait for I/O in flight.

use super::dm::{Io, Multipath, errno};
use super::kernel::attention;
pub(super) use super::state::SimMap;
use super::state::{Act, Disk, Job, Kernel, Link, Pending};
use crate::psa::event::{DmStep, Event, IoTrouble, MapError};
use crate::psa::facts::Handler;
use crate::psa::table::model::{Map, Message, Table};
use crate::psa::units::{DevT, Hctl, Millis};
use crate::scsi::sense::{DATA_PROTECT, HARDWARE_ERROR, ILLEGAL_REQUEST, MEDIUM_ERROR, Sense};
use crate::scsi::tpgs::AccessState;
use std::collections::BTreeSet;

/// `EIO` and `ENODEV` do not come from dm, so they are not among the values of the model.
const EIO: i32 = 5;
const ENODEV: i32 = 19;
/// Results of requests that are not retried on another path.
const ENODATA: i32 = 61;
const EREMOTEIO: i32 = 121;

/// Timeout of an I/O on a disk (`queue/io_timeout`).
const IO_TIMEOUT: Millis = Millis(30_000);

/// The result of a write to a path.
pub(super) enum Write {
    Done,
    /// It hangs, or the target port is in transition.
    Stuck,
    /// An error that dm attributes to the unit: the writer gets it, and no other path is tried.
    Refused,
    Failed,
}

/// The `errno` of a request that ends with this sense, if dm does not retry it on another path (`scsi_check_sense`,
/// `blk_path_error`).
fn error_of_unit(sense: Sense) -> Option<i32> {
    match (sense.key, sense.asc) {
        (ILLEGAL_REQUEST, 0x20 | 0x21 | 0x22 | 0x24 | 0x26 | 0x27)
        | (HARDWARE_ERROR | DATA_PROTECT, _) => Some(EREMOTEIO),
        (MEDIUM_ERROR, 0x11 | 0x13 | 0x14) => Some(ENODATA),
        _ => None,
    }
}

impl Kernel {
    /// The maps by name.
    pub fn maps(&self) -> impl Iterator<Item = (&String, &SimMap)> {
        self.maps.iter()
    }

    /// Renames a map, as `dmsetup rename` does while no agent watches.
    pub fn rename_map(&mut self, from: &str, to: &str) {
        if let Some(mut map) = self.maps.remove(from) {
            map.dm.rename(to);
            self.maps.insert(to.to_owned(), map);
        }
    }

    /// A map as it is now, by name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<Map> {
        self.maps.get(name).map(SimMap::observe)
    }

    pub(super) fn submit(&mut self, now: Millis, job: Box<Job>) {
        let name = self.name_of(&job);
        if let Some(map) = name.and_then(|name| self.maps.get_mut(&name))
            && let Some(other) = map.busy.replace(job.ticket)
        {
            let (name, ticket) = (&job.map.name, job.ticket);
            self.ledger.violations.push(format!(
                "action {ticket} on map {name} while {other} is in progress"
            ));
        }
        let at = now.after(self.some(self.pace.step));
        self.later(at, Pending::Step(job));
    }

    /// The current name of the map. Maps are addressed by UUID, because another map may have taken the name.
    fn name_of(&self, job: &Job) -> Option<String> {
        let named = self.maps.get(&job.map.name);
        if named.is_some_and(|map| map.dm.uuid() == job.map.uuid) {
            return Some(job.map.name.clone());
        }
        self.names.get(&job.map.uuid).cloned()
    }

    /// Takes the next step of an action.
    pub(super) fn step(&mut self, now: Millis, mut job: Box<Job>) {
        if let Some(waiting) = self.jams.get_mut(&job.map.uuid) {
            waiting.push(*job);
            return;
        }
        let Some(act) = job.todo.pop_front() else {
            return self.job_ends(now, job, Ok(()));
        };
        let step = act.step();
        if let Err((errno, reason)) = self.act(now, &job, act) {
            let error = MapError {
                step,
                errno: Some(errno),
                reason,
            };
            if job.made
                && let Some(name) = self.name_of(&job)
            {
                self.remove(&name);
            }
            return self.job_ends(now, job, Err(error));
        }
        job.made |= step == DmStep::Create;
        if job.todo.is_empty() {
            return self.job_ends(now, job, Ok(()));
        }
        let at = now.after(self.some(self.pace.step));
        self.later(at, Pending::Step(job));
    }

    fn job_ends(&mut self, now: Millis, job: Box<Job>, result: Result<(), MapError>) {
        let name = self.name_of(&job);
        if let Some(map) = name.as_ref().and_then(|name| self.maps.get_mut(name))
            && map.busy == Some(job.ticket)
        {
            map.busy = None;
        }
        // What has the name is observed, whatever it is.
        let observed = match self.taken_names.contains(&job.map.name) {
            true => Some(Map {
                name: job.map.name.clone(),
                uuid: String::new(),
                dev: DevT {
                    major: 253,
                    minor: 9_999,
                },
                event_nr: 0,
                open_count: 0,
                suspended: false,
                read_only: false,
                table: Err("it is not a multipath target".to_owned()),
                status: Err("it is not a multipath target".to_owned()),
            }),
            false => name.as_deref().and_then(|name| self.map(name)),
        };
        let observed = match self.unreadable_maps.checked_sub(1) {
            Some(left) => {
                self.unreadable_maps = left;
                observed.map(unreadable)
            }
            None => observed,
        };
        let event = Event::MapDone {
            map: job.map.name,
            ticket: job.ticket,
            result,
            observed: observed.map(Box::new),
        };
        self.announce_map(now, name.as_deref(), event);
    }

    /// Queues an event about a map so that it does not overtake the one before it.
    fn announce_map(&mut self, now: Millis, name: Option<&str>, event: Event) {
        let mut at = now.after(self.some(self.pace.event));
        if let Some(map) = name.and_then(|name| self.maps.get_mut(name)) {
            at = at.max(map.last_event);
            map.last_event = at;
        }
        self.later(at, Pending::Deliver(event));
    }

    fn act(&mut self, now: Millis, job: &Job, act: Act) -> Result<(), (i32, String)> {
        let found = self.name_of(job);
        if let Act::New = act {
            let name = &job.map.name;
            let is_taken = self.maps.contains_key(name) || self.taken_names.contains(name);
            if found.is_some() || is_taken {
                return Err((
                    MapError::EXISTS,
                    "a map with this name or UUID already exists".to_owned(),
                ));
            }
            let dev = self.new_map_dev();
            let dm = Multipath::new(self.series, &job.map.name, &job.map.uuid, dev);
            let mut map = SimMap::new(dm);
            map.busy = Some(job.ticket);
            self.names
                .insert(job.map.uuid.clone(), job.map.name.clone());
            self.maps.insert(job.map.name.clone(), map);
            return Ok(());
        }
        let name = found.ok_or((errno::ENXIO, "no such map".to_owned()))?;
        let event_nr = self.maps.get(&name).map(|map| map.dm.event_nr());
        let plain = |errno: i32| (errno, "refused".to_owned());
        let failing = matches!(act, Act::Message(Message::FailPath(_)));
        match act {
            Act::New => {}
            Act::Load(table, read_only) => self.load(&name, &table, read_only)?,
            Act::Resume(cookie) => {
                self.resume(now, &name).map_err(plain)?;
                if let Some(cookie) = cookie {
                    self.cookie_goes(now, &name, cookie);
                }
            }
            Act::Message(message) => {
                self.ledger.messages += 1;
                if message == Message::FailIfNoPath {
                    self.ledger.queueing_ended.push((now, name.clone()));
                }
                self.message(now, &name, &message).map_err(plain)?;
            }
            Act::Remove => {
                if self.maps.get(&name).is_some_and(|map| map.users() > 0) {
                    return Err((errno::EBUSY, "it is open".to_owned()));
                }
                self.remove(&name);
            }
        }
        if event_nr != self.maps.get(&name).map(|map| map.dm.event_nr()) {
            self.paths_changed(now, &name, failing);
            self.event_of(now, &name);
        }
        Ok(())
    }

    /// Handles a message to a map, from any sender. A reinstated path of the group in use is activated.
    pub(super) fn message(
        &mut self,
        now: Millis,
        name: &str,
        message: &Message,
    ) -> Result<(), i32> {
        let map = self.maps.get_mut(name).ok_or(errno::ENXIO)?;
        map.dm.message(message)?;
        for dev in map.dm.take_activated() {
            if let Write::Failed = self.activate(now, dev) {
                if let Some(map) = self.maps.get_mut(name) {
                    map.dm.path_error(dev);
                }
                self.event_of(now, name);
            }
        }
        Ok(())
    }

    /// Removes a map and releases its disks.
    pub fn remove(&mut self, name: &str) {
        let Some(map) = self.maps.remove(name) else {
            return;
        };
        self.names.remove(map.dm.uuid());
        for dev in &map.held {
            self.holders.remove(dev);
        }
    }

    pub(super) fn load(
        &mut self,
        name: &str,
        table: &Table,
        read_only: bool,
    ) -> Result<(), (i32, String)> {
        let uuid = self.maps.get(name).map(|map| map.dm.uuid().to_owned());
        if let Some((errno, times)) = uuid.and_then(|uuid| self.refusals.get_mut(&uuid))
            && *times > 0
        {
            *times -= 1;
            return Err((*errno, "refused by the fault schedule".to_owned()));
        }
        let asked = table.handler.as_ref();
        let mut devs = BTreeSet::new();
        for path in table.paths() {
            devs.insert(path.dev);
            self.open(name, path.dev, table)?;
        }
        for dev in &devs {
            self.attach(
                name,
                *dev,
                asked.map(|h| (h.name.as_str(), h.args.as_slice())),
            );
        }
        let map = self.maps.get_mut(name).ok_or((ENODEV, String::new()))?;
        map.dm
            .load(table, read_only)
            .map_err(|errno| (errno, "the kernel refuses the table".to_owned()))?;
        for dev in devs {
            map.held.insert(dev);
            self.holders.insert(dev, name.to_owned());
        }
        Ok(())
    }

    /// Opens a disk for a table. A disk that the map has open already is only checked for its size.
    fn open(&self, name: &str, dev: DevT, table: &Table) -> Result<(), (i32, String)> {
        let holder = self.holders.get(&dev);
        if self.others.contains_key(&dev) && holder.is_none() {
            return Ok(());
        }
        let disk = self.devs.get(&dev).and_then(|path| self.disks.get(path));
        if holder.is_some_and(|holder| holder != name) {
            return Err((errno::EBUSY, format!("{dev} belongs to another map")));
        }
        if holder.is_none() {
            let disk = disk.ok_or_else(|| (ENODEV, format!("{dev} is gone")))?;
            if disk.link() == Link::Down {
                return Err((errno::ENXIO, format!("{dev} is offline")));
            }
            if !disk.usage().is_empty() {
                return Err((errno::EBUSY, format!("{dev} is in use")));
            }
        }
        let size = disk.and_then(|disk| disk.facts().block.as_ref().map(|block| block.size));
        // dm accepts a disk of unknown size.
        if size.is_some_and(|size| size.0 != 0 && size < table.length) {
            return Err((errno::EINVAL, format!("{dev} is too small")));
        }
        Ok(())
    }

    /// Attaches device handlers as the table asks. A handler keeps its last configuration.
    fn attach(&mut self, name: &str, dev: DevT, asked: Option<(&str, &[String])>) {
        let Some(path) = self.path_of(dev) else {
            return;
        };
        let Some(disk) = self.disks.get_mut(&path) else {
            return;
        };
        if let (Handler::Detached, Some((handler, _))) = (&disk.facts.handler, asked) {
            disk.facts.handler = Handler::Attached(handler.to_owned());
        }
        let Handler::Attached(handler) = disk.facts.handler.clone() else {
            return;
        };
        if let Some(map) = self.maps.get_mut(name) {
            map.dm.attach(dev, &handler);
        }
        if let (Some((_, [argument, ..])), Some(lun)) = (asked, self.array.lun(path))
            && let Some(unit) = lun.unit
        {
            if argument == "1" {
                self.optimize.insert((unit, lun.group));
            } else {
                self.optimize.remove(&(unit, lun.group));
            }
        }
    }

    /// Makes the loaded table live.
    pub(super) fn resume(&mut self, now: Millis, name: &str) -> Result<(), i32> {
        let map = self.maps.get_mut(name).ok_or(errno::ENXIO)?;
        let queued = map.dm.queues();
        let swapped = map.dm.has_inactive();
        map.dm.resume()?;
        if !swapped {
            return Ok(());
        }
        self.ledger.tables += 1;
        let devs = map.dm.devs();
        if queued != Some(false) && map.dm.queues() == Some(false) {
            self.ledger.queueing_ended.push((now, name.to_owned()));
        }
        map.stuck = None;
        for dev in std::mem::replace(&mut map.held, devs.clone()).difference(&devs) {
            self.holders.remove(dev);
        }
        Ok(())
    }

    /// dm raised an event for a map; the agent reads the map some time later.
    pub(super) fn event_of(&mut self, now: Millis, name: &str) {
        if let Some(map) = self.maps.get_mut(name)
            && map.becomes_due()
        {
            self.observe_soon(now, name);
        }
    }

    fn observe_soon(&mut self, now: Millis, name: &str) {
        let at = now.after(self.some(self.pace.event));
        self.later(at, Pending::Observe(name.to_owned()));
    }

    pub(super) fn observe_later(&mut self, now: Millis, name: &str) {
        let event = match self.maps.get_mut(name) {
            Some(map) => {
                map.observation_due = false;
                Event::MapSeen(Box::new(map.observe()))
            }
            None => Event::MapGone(name.to_owned()),
        };
        self.announce_map(now, Some(name), event);
    }

    /// One write by a user of the map.
    pub fn io(&mut self, now: Millis, name: &str) {
        if let Some((name, mut map)) = self.maps.remove_entry(name) {
            self.io_on(now, &name, &mut map);
            self.maps.insert(name, map);
        }
    }

    /// One write by a user of each map.
    pub(crate) fn io_on_all(&mut self, now: Millis) {
        let mut maps = std::mem::take(&mut self.maps);
        for (name, map) in &mut maps {
            self.io_on(now, name, map);
        }
        self.maps = maps;
    }

    /// Sends one write to a map, which the caller has removed from `self.maps` for that time.
    fn io_on(&mut self, now: Millis, name: &str, map: &mut SimMap) {
        // A map without a table has size 0, so there is nothing to write to; a read-only map is not opened for writing.
        if map.dm.queues().is_none() || map.dm.is_read_only() {
            return self.flows(now, map);
        }
        if self.udev_reads && !map.udev.known {
            return;
        }
        if let Some((dev, since)) = map.stuck.take() {
            let hangs = self.link_of(dev) == Some(Link::Hung);
            if hangs && now.since(since) < IO_TIMEOUT {
                self.stall(now, map, Some((dev, since)));
                return;
            }
            if hangs {
                if let Some(path) = self.path_of(dev) {
                    self.report_io(now, IoTrouble::TimedOut(path));
                }
                self.path_error(now, name, map, dev);
            }
        }
        // Each iteration fails a path, so the loop ends.
        loop {
            let went = map.dm.io();
            let activated = map.dm.take_activated();
            let dev = match went {
                Io::Held => return self.stall(now, map, None),
                Io::Failed => {
                    self.flows(now, map);
                    self.ledger.io_errors.push((now, name.to_owned()));
                    return;
                }
                Io::Path(dev) => dev,
            };
            let mut failed = false;
            for dev in activated {
                match self.activate(now, dev) {
                    Write::Done | Write::Refused => {}
                    Write::Stuck => return self.stall(now, map, None),
                    Write::Failed => {
                        failed = true;
                        self.path_error(now, name, map, dev);
                    }
                }
            }
            if failed {
                continue;
            }
            match self.write(now, name, map, dev) {
                Write::Done => return self.flows(now, map),
                Write::Stuck => return self.stall(now, map, Some((dev, now))),
                Write::Refused => {
                    self.flows(now, map);
                    self.ledger.io_errors.push((now, name.to_owned()));
                    return;
                }
                Write::Failed => {
                    self.given_up(now, dev, EIO);
                    self.path_error(now, name, map, dev);
                }
            }
        }
    }

    pub(super) fn link_of(&self, dev: DevT) -> Option<Link> {
        let path = self.devs.get(&dev)?;
        self.disks.get(path).map(|disk| disk.link())
    }

    pub(super) fn path_error(&mut self, now: Millis, name: &str, map: &mut SimMap, dev: DevT) {
        map.dm.path_error(dev);
        self.paths_changed(now, name, true);
        if map.becomes_due() {
            self.observe_soon(now, name);
        }
    }

    /// The block layer reports that it gave up a request on a disk.
    fn given_up(&mut self, now: Millis, disk: DevT, errno: i32) {
        self.report_io(now, IoTrouble::GivenUp { disk, errno });
    }

    fn stall(&mut self, now: Millis, map: &mut SimMap, stuck: Option<(DevT, Millis)>) {
        map.stuck = stuck;
        let since = *map.stalled_since.get_or_insert(now);
        self.ledger.longest_stall = self.ledger.longest_stall.max(now.since(since));
    }

    fn flows(&mut self, now: Millis, map: &mut SimMap) {
        if let Some(since) = map.stalled_since.take() {
            self.ledger.longest_stall = self.ledger.longest_stall.max(now.since(since));
        }
    }

    fn write(&mut self, now: Millis, name: &str, map: &mut SimMap, dev: DevT) -> Write {
        if self.others.contains_key(&dev) {
            self.ledger.writes += 1;
            return Write::Done;
        }
        let Some(path) = self.path_of(dev) else {
            return Write::Failed;
        };
        let fit = |disk: &&Disk| !disk.is_sick() && !disk.is_held_passive();
        let disk = self.disks.get(&path).filter(fit);
        match disk.map(Disk::link) {
            Some(Link::Up) => {}
            Some(Link::Hung) => return Write::Stuck,
            Some(Link::Down) | None => return Write::Failed,
        }
        let written = loop {
            match self.array.write(path) {
                Ok(unit) => break unit,
                Err(outcome) => match attention(&outcome) {
                    Some(kind) => self.announce_attention(now, path, kind),
                    None if self.array.access(path) == Some(AccessState::Transitioning) => {
                        return Write::Stuck;
                    }
                    None => match outcome.sense().and_then(error_of_unit) {
                        None => return Write::Failed,
                        Some(errno) => {
                            self.given_up(now, dev, errno);
                            if outcome
                                .sense()
                                .is_some_and(|sense| sense.key == DATA_PROTECT)
                            {
                                self.ledger.refused_writes += 1;
                                return Write::Done;
                            }
                            return Write::Refused;
                        }
                    },
                },
            }
        };
        let unit = self.array.unit(written);
        let named = unit.is_some_and(|unit| unit.is_behind(map.dm.uuid()));
        if named && *map.unit.get_or_insert(written) == written {
            self.ledger.writes += 1;
        } else {
            self.ledger.wrong_writes.push((now, name.to_owned(), path));
            let since = self.repointed.get(&path).copied().unwrap_or_default();
            let longest = &mut self.ledger.longest_exposure;
            *longest = (*longest).max(now.since(since));
        }
        Write::Done
    }

    /// The name of the map that has a disk open.
    #[must_use]
    pub fn holder(&self, path: Hctl) -> Option<&str> {
        let dev = self.disks.get(&path)?.dev();
        self.holders.get(&dev).map(String::as_str)
    }
}

/// What the agent sees of a map that it cannot read, because memory is short: the name.
fn unreadable(map: Map) -> Map {
    let why = "cannot read it: errno 12".to_owned();
    Map {
        uuid: String::new(),
        dev: DevT { major: 0, minor: 0 },
        event_nr: 0,
        open_count: 0,
        suspended: false,
        read_only: false,
        table: Err(why.clone()),
        status: Err(why),
        ..map
    }
}
