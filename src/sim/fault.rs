//! What may befall a host and its array, and what people do to them: the words of a script.

use super::array::{Answer, UnitId};
use super::kernel::{Kernel, Link, Pending};
use crate::psa::event::Event;
use crate::psa::facts::Usage;
use crate::psa::table::model::{Message, Table};
use crate::psa::units::DevT;
use crate::psa::units::{Hctl, Millis, Sectors};
use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::Sense;
use crate::scsi::tpgs::{AccessState, StatusCode};

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Commands down the path come back at once.
    LinkDown(Hctl),
    /// Commands down the path do not come back.
    Hang(Hctl),
    /// The path works again; what was out on it is carried out now.
    LinkUp(Hctl),
    /// I/O down the path fails from now on although commands are answered (a bad SFP, a worn cable); or no more.
    Sicken(Hctl, bool),
    /// So many of the next I/Os down the path end with this sense although checks are answered honestly (another unit that is
    /// smaller, a port that cannot reach the medium); 0 ends it.
    Refuse(Hctl, Sense, u32),
    /// The SCSI device is removed (`echo 1 > delete`, dev_loss_tmo).
    Delete(Hctl),
    /// The SCSI device is found by a scan, unless it is there.
    Add(Hctl),
    /// The array changes access states by itself, or for another host.
    Access(UnitId, Vec<(u16, AccessState)>),
    /// The array sets PREF of a group, and clears that of the others.
    Prefer(UnitId, u16),
    /// The LUN of a path leads to another unit, or to none; with `true` the array says so.
    Remap(Hctl, Option<UnitId>, bool),
    /// The LUN of a path takes no writes from now on, or takes them again; the array says so to nobody.
    Protect(Hctl, bool),
    /// An administrator has the kernel read again what the disk of a path is like.
    Rescan(Hctl),
    /// The unit gets another size.
    Resize(UnitId, Sectors),
    /// Somebody uses the disk from now on, unless a map has it; nobody, if the list is empty.
    Use(Hctl, Vec<Usage>),
    /// A path answers a command with this from now on, or honestly again.
    Lie(Hctl, Command, Option<Answer>),
    /// The next so many table loads for a unit's map are refused with this errno.
    RefuseTables(UnitId, i32, u32),
    /// The unit's map gets so many users.
    Open(UnitId, u32),
    /// The unit's map has maps of partitions on it: how many have each open.
    Partitions(UnitId, Vec<u32>),
    /// Somebody sends a message to the unit's map.
    Message(UnitId, Message),
    /// Somebody loads another table for the unit's map, and makes it live.
    Table(UnitId, Box<Table>),
    /// The kernel takes no step on the unit's map from now on (its worker waits for I/O that hangs); or goes on.
    Jam(UnitId, bool),
    /// Somebody leaves the unit's map suspended.
    Suspend(UnitId),
    /// Somebody removes the unit's map, unless it is open.
    RemoveMap(UnitId),
    /// udev has not processed the disk of a path yet: the agent learns nothing of it; or it has now.
    Unprocessed(Hctl, bool),
    /// The agent is killed and starts again at once.
    RestartAgent,
}

impl Kernel {
    /// The name of the map of a unit.
    #[must_use]
    pub fn map_of(&self, unit: UnitId) -> Option<String> {
        let uuid = format!("mpath-{}", self.array.unit(unit)?.wwid());
        self.names.get(&uuid).cloned()
    }

    /// Carries out a line of a script; [`Fault::RestartAgent`] is not for the kernel.
    pub fn suffer(&mut self, now: Millis, fault: &Fault) {
        match fault {
            Fault::LinkDown(path) => self.set_link(now, *path, Link::Down),
            Fault::Hang(path) => self.set_link(now, *path, Link::Hung),
            Fault::LinkUp(path) => self.set_link(now, *path, Link::Up),
            Fault::Sicken(path, sick) => {
                if let Some(disk) = self.disks.get_mut(path) {
                    disk.sick = *sick;
                }
            }
            Fault::Refuse(path, sense, times) => self.array.refuse(*path, *sense, *times),
            Fault::Delete(path) => self.delete(now, *path),
            Fault::Add(path) => {
                if self.disks.contains_key(path) || !self.templates.contains_key(path) {
                    return;
                }
                self.scan(*path);
                self.spin_up(*path);
                if self.staged {
                    // First the SCSI device, then its drivers.
                    self.tell_bare(now, *path);
                }
                self.tell_facts(now, *path);
            }
            Fault::Access(unit, states) => {
                self.array
                    .set_access(*unit, states, StatusCode::Implicit, None);
            }
            Fault::Prefer(unit, preferred) => {
                if let Some(unit) = self.array.unit_mut(*unit) {
                    for (id, group) in &mut unit.groups {
                        group.preferred = id == preferred;
                    }
                }
            }
            Fault::Remap(path, unit, attention) => {
                self.repointed.insert(*path, now);
                self.array.remap(*path, *unit, *attention);
            }
            Fault::Protect(path, protected) => self.array.protect(*path, *protected),
            Fault::Rescan(path) => self.reread_capacity(now, *path),
            Fault::Resize(unit, size) => self.array.resize(*unit, *size),
            Fault::Use(path, usage) => {
                // What a map has open nobody else can open exclusively.
                if !usage.is_empty() && self.holder(*path).is_some() {
                    return;
                }
                let disk = self.disks.get_mut(path);
                if let Some(block) = disk.and_then(|disk| disk.facts.block.as_mut()) {
                    block.usage.clone_from(usage);
                    self.tell_facts(now, *path);
                }
            }
            Fault::Lie(path, command, answer) => {
                self.array.lie(*path, command.clone(), answer.clone());
            }
            Fault::RefuseTables(unit, errno, times) => {
                if let Some(unit) = self.array.unit(*unit) {
                    let uuid = format!("mpath-{}", unit.wwid());
                    self.refusals.insert(uuid, (*errno, *times));
                }
            }
            Fault::Open(unit, users) => {
                let name = self.map_of(*unit);
                if let Some(map) = name.and_then(|name| self.maps.get_mut(&name)) {
                    map.dm.open_count = *users;
                }
            }
            Fault::Partitions(unit, users) => {
                let name = self.map_of(*unit);
                if let Some(map) = name.and_then(|name| self.maps.get_mut(&name)) {
                    map.dm.partitions.clone_from(users);
                }
            }
            Fault::Message(unit, message) => {
                if let Some(name) = self.map_of(*unit)
                    && self.message(now, &name, message).is_ok()
                {
                    self.event_of(now, &name);
                }
            }
            Fault::Table(unit, table) => {
                if let Some(name) = self.map_of(*unit)
                    && self.load(&name, table, false).is_ok()
                    && self.resume(now, &name).is_ok()
                {
                    self.event_of(now, &name);
                }
            }
            Fault::Jam(unit, jammed) => {
                if let Some(unit) = self.array.unit(*unit) {
                    let uuid = format!("mpath-{}", unit.wwid());
                    if *jammed {
                        self.jams.entry(uuid).or_default();
                    } else {
                        let waiting = self.jams.remove(&uuid).unwrap_or_default();
                        for job in waiting {
                            self.later(now, Pending::Step(Box::new(job)));
                        }
                    }
                }
            }
            Fault::Suspend(unit) => {
                if let Some(name) = self.map_of(*unit) {
                    if let Some(map) = self.maps.get_mut(&name) {
                        map.dm.suspend();
                    }
                    self.event_of(now, &name);
                }
            }
            Fault::RemoveMap(unit) => {
                if let Some(name) = self.map_of(*unit)
                    && self
                        .maps
                        .get(&name)
                        .is_some_and(|map| map.dm.users() == 0 && map.dm.partitions.is_empty())
                {
                    self.event_of(now, &name);
                    self.remove(&name);
                }
            }
            Fault::Unprocessed(path, unprocessed) => {
                if *unprocessed {
                    self.unprocessed.insert(*path);
                } else if self.unprocessed.remove(path) {
                    self.tell_facts(now, *path);
                }
            }
            Fault::RestartAgent => {}
        }
    }

    fn set_link(&mut self, now: Millis, path: Hctl, link: Link) {
        let lost = self.nexus_loss;
        let Some(disk) = self.disks.get_mut(&path) else {
            return;
        };
        let before = std::mem::replace(&mut disk.link, link);
        let state = if link == Link::Down {
            "transport-offline"
        } else {
            "running"
        };
        state.clone_into(&mut disk.facts.device_state);
        if before == Link::Hung && link != Link::Hung {
            // Nobody could ask what is behind it meanwhile.
            if let Some(at) = self.repointed.get_mut(&path) {
                *at = now;
            }
            self.release(now, path);
        }
        if before == Link::Down && link == Link::Up && lost {
            self.array.attend(path, 0x29, 0x07);
        }
    }

    /// The agent gives a device up: nobody may use it.
    pub(super) fn give_up(&mut self, now: Millis, path: Hctl, dev: DevT) {
        let Some(disk) = self.disks.get(&path) else {
            return;
        };
        // It went and another came while the order was under way: that one is left alone.
        if dev != disk.dev() {
            return;
        }
        if self.holder(path).is_some() || !disk.usage().is_empty() {
            let what = format!("{path} is deleted, and it is in use");
            return self.ledger.violations.push(what);
        }
        self.delete(now, path);
    }

    fn delete(&mut self, now: Millis, path: Hctl) {
        if self.staged {
            self.tell_bare(now, path);
        }
        let Some(disk) = self.disks.remove(&path) else {
            return;
        };
        self.devs.remove(&disk.dev());
        if let Some(run) = disk.waiting {
            self.end(now, *run, Some(Outcome::Gone));
        }
        self.announce(now, Event::PathGone(path));
    }
}
