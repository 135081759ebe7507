//! The lines of a script: faults of a host and its array, and actions of administrators.

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
    /// Commands on the path fail immediately.
    LinkDown(Hctl),
    /// Commands on the path do not return.
    Hang(Hctl),
    /// The path works again; a command that is in flight on it is carried out now.
    LinkUp(Hctl),
    /// I/O on the path fails from now on although commands are answered (a bad SFP, a worn cable); `false` ends it.
    Sicken(Hctl, bool),
    /// This number of the next I/Os on the path end with this sense although checks get true answers (another unit that
    /// is smaller, a port that cannot reach the medium); 0 ends it.
    Refuse(Hctl, Sense, u32),
    /// The SCSI device is removed (`echo 1 > delete`, dev_loss_tmo).
    Delete(Hctl),
    /// A scan finds the SCSI device, unless it is present already.
    Add(Hctl),
    /// The array changes access states by itself, or at the request of another host.
    Access(UnitId, Vec<(u16, AccessState)>),
    /// The array sets PREF of a group, and clears it for the other groups.
    Prefer(UnitId, u16),
    /// The LUN of a path is mapped to another unit, or to none; with `true` the array reports it.
    Remap(Hctl, Option<UnitId>, bool),
    /// The LUN of a path rejects writes from now on, or accepts them again; the array does not report it.
    Protect(Hctl, bool),
    /// An administrator makes the kernel read the properties of a disk again.
    Rescan(Hctl),
    /// The size of the unit changes.
    Resize(UnitId, Sectors),
    /// The disk has these users from now on, unless a map has it open; an empty list means no users.
    Use(Hctl, Vec<Usage>),
    /// A path returns this answer to a command from now on; `None` restores the true answer.
    Lie(Hctl, Command, Option<Answer>),
    /// The next table loads for the unit's map fail with this errno; the last field is their number.
    RefuseTables(UnitId, i32, u32),
    /// The unit's map has this number of users.
    Open(UnitId, u32),
    /// The unit's map has maps of partitions on it: the number of users that have each open.
    Partitions(UnitId, Vec<u32>),
    /// Another program sends a message to the unit's map.
    Message(UnitId, Message),
    /// Another program loads a table for the unit's map and makes it live.
    Table(UnitId, Box<Table>),
    /// With `true` the kernel takes no steps on the unit's map from now on (its worker waits for I/O that hangs);
    /// `false` ends it.
    Jam(UnitId, bool),
    /// Another program leaves the unit's map suspended.
    Suspend(UnitId),
    /// Another program removes the unit's map, unless it is open.
    RemoveMap(UnitId),
    /// With `true` udev has not processed the disk of a path yet, so the agent does not see the disk; `false` ends it.
    Unprocessed(Hctl, bool),
    /// The agent is killed and restarts immediately.
    RestartAgent,
}

impl Kernel {
    /// The name of a unit's map.
    #[must_use]
    pub fn map_of(&self, unit: UnitId) -> Option<String> {
        let uuid = format!("mpath-{}", self.array.unit(unit)?.wwid());
        self.names.get(&uuid).cloned()
    }

    /// Carries out a line of a script. [`Fault::RestartAgent`] does nothing here; [`super::run::Simulation`] handles
    /// it.
    pub fn inject(&mut self, now: Millis, fault: &Fault) {
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
                    self.announce_bare(now, *path);
                }
                self.announce_facts(now, *path);
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
                // A disk that a map has open cannot be opened exclusively by others.
                if !usage.is_empty() && self.holder(*path).is_some() {
                    return;
                }
                let disk = self.disks.get_mut(path);
                if let Some(block) = disk.and_then(|disk| disk.facts.block.as_mut()) {
                    block.usage.clone_from(usage);
                    self.announce_facts(now, *path);
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
                    self.announce_facts(now, *path);
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
            // While the path hung, no command could find out what is behind it, so exposure is counted from now.
            if let Some(at) = self.repointed.get_mut(&path) {
                *at = now;
            }
            self.release(now, path);
        }
        if before == Link::Down && link == Link::Up && lost {
            self.array.attend(path, 0x29, 0x07);
        }
    }

    /// The agent deletes a device. It is a violation to delete one that is in use.
    pub(super) fn give_up(&mut self, now: Millis, path: Hctl, dev: DevT) {
        let Some(disk) = self.disks.get(&path) else {
            return;
        };
        // The disk was replaced by another one while the action was in progress. The new one is left alone.
        if dev != disk.dev() {
            return;
        }
        if self.holder(path).is_some() || !disk.usage().is_empty() {
            let what = format!("{path} is deleted while it is in use");
            return self.ledger.violations.push(what);
        }
        self.delete(now, path);
    }

    fn delete(&mut self, now: Millis, path: Hctl) {
        if self.staged {
            self.announce_bare(now, path);
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
