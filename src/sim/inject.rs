//! Carries out the lines of a script on a host and its array.

use super::array::UnitId;
use super::fault::Fault;
use super::state::{Kernel, Link, Pending};
use crate::psa::event::Event;
use crate::psa::units::{DevT, Hctl, Millis};
use crate::scsi::outcome::Outcome;
use crate::scsi::tpgs::StatusCode;

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
