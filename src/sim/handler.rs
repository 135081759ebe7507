//! The device handlers of the simulated kernel: what `scsi_dh_activate` does for a path, and which I/O a handler
//! rejects.
//!
//! | handler | queries | moves the unit by | notes |
//! |---|---|---|---|
//! | `alua` | the group's state | SET TARGET PORT GROUPS | |
//! | `emc` | page C0h | MODE SELECT 22h; a unit attention other than 29/00 fails the path | |
//! | `rdac` | page C9h | MODE SELECT 2Ch | |
//! | `hp_sw` | TEST UNIT READY | START STOP UNIT | rejects I/O until TEST UNIT READY returns GOOD during an activation |
//!
//! Left out: time, "retry" answers, and the caches of `emc` and `rdac`, which the next activation refreshes.

use super::array::{Array, Trespass};
use super::kernel::{Disk, Kernel, Link, attention};
use super::maps::Write;
use crate::psa::facts::Handler;
use crate::psa::units::{DevT, Hctl, Millis};
use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;
use crate::scsi::tpgs::AccessState;

impl Disk {
    /// Whether `hp_sw` rejects its I/O because it considers the path passive.
    pub(super) fn is_held_passive(&self) -> bool {
        self.passive && self.facts.handler == Handler::Attached("hp_sw".to_owned())
    }
}

impl Kernel {
    /// Activates a path with its handler. Like `alua_activate`, sends SET TARGET PORT GROUPS unless it is unnecessary
    /// or the handler was configured to avoid it.
    pub(super) fn activate(&mut self, now: Millis, dev: DevT) -> Write {
        if self.others.contains_key(&dev) {
            return Write::Done;
        }
        let Some(path) = self.path_of(dev) else {
            return Write::Failed;
        };
        match self.link_of(dev) {
            Some(Link::Up) => {}
            Some(Link::Hung) => return Write::Stuck,
            Some(Link::Down) | None => return Write::Failed,
        }
        let (Some(lun), Some(unit)) = (self.array.lun(path).copied(), self.array.unit_at(path))
        else {
            return Write::Failed;
        };
        if let Some(trespass) = unit.trespasses {
            return self.have_taken_over(now, path, trespass);
        }
        let (Some(id), Some(group)) = (lun.unit, unit.groups.get(&lun.group)) else {
            return Write::Done;
        };
        let spared =
            self.optimize.contains(&(id, lun.group)) && !group.preferred && unit.tpgs.implicit();
        match group.access {
            _ if !unit.tpgs.explicit() => return Write::Done,
            AccessState::ActiveOptimized => return Write::Done,
            AccessState::ActiveNonOptimized if spared => return Write::Done,
            AccessState::Offline => return Write::Failed,
            AccessState::Transitioning => return Write::Stuck,
            _ => {}
        }
        let set = Command::SetTargetPortGroups(vec![(lun.group, AccessState::ActiveOptimized)]);
        loop {
            let answer = self.array.execute(path, &set);
            match attention(&answer.outcome) {
                Some(kind) => self.announce_attention(now, path, kind),
                None if answer.outcome == Outcome::Good => return Write::Done,
                None => return Write::Failed,
            }
        }
    }

    /// Activation by the handlers for arrays that predate target port groups.
    fn have_taken_over(&mut self, now: Millis, path: Hctl, trespass: Trespass) -> Write {
        while let Some(sense) = Array::attention(&mut self.array.attentions, path) {
            if let Some(kind) = attention(&Outcome::CheckCondition(sense)) {
                self.announce_attention(now, path, kind);
            }
            if trespass == Trespass::Clariion && (sense.asc, sense.ascq) != (0x29, 0x00) {
                return Write::Failed;
            }
        }
        let owned = self.array.access(path) == Some(AccessState::ActiveOptimized);
        if let Some(disk) = self.disks.get_mut(&path).filter(|_| owned) {
            disk.passive = false;
        }
        if owned || self.array.trespass(path) {
            Write::Done
        } else {
            Write::Failed
        }
    }

    /// The scan of a unit by the disk driver: sd spins up a unit that asks to be started, which moves the unit.
    pub(super) fn spin_up(&mut self, path: Hctl) {
        let up = self.disk(path).is_some_and(|disk| disk.link() == Link::Up);
        let starts = self
            .array
            .unit_at(path)
            .is_some_and(|unit| unit.trespasses == Some(Trespass::StartUnit));
        if up && starts && self.array.access(path) == Some(AccessState::Standby) {
            self.array.trespass(path);
        }
    }

    /// The kernel reads the capacity and the write protection of a disk again, and the agent gets the new facts.
    pub(super) fn reread_capacity(&mut self, now: Millis, path: Hctl) {
        self.spin_up(path);
        let size = self.array.unit_at(path).map(|unit| unit.size);
        let write_protected = self.array.is_write_protected(path);
        let disk = self.disks.get_mut(&path);
        if let (Some(size), Some(block)) = (size, disk.and_then(|d| d.facts.block.as_mut())) {
            block.size = size;
            block.read_only = write_protected;
        }
        self.announce_facts(now, path);
    }
}
