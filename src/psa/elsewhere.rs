//! Paths whose LUN leads elsewhere: to nothing, or to another logical unit than that of their device.
//!
//! Such a path carries no I/O for its device. It stays with the device while somebody may use its map, because a LUN that
//! is mapped back by then serves again, and because whatever waits in the map must never reach the other unit. When the
//! map is gone, or nobody has it open and its table does not hold the disk, the LUN belongs to the other unit for good:
//! the path joins that one, and proves itself there before it carries I/O.

use super::action::Severity;
use super::device::Device;
use super::path::Path;
use super::units::Hctl;
use super::world::World;

impl World {
    /// Nothing is behind the LUN of a path that belongs to a device: no I/O goes there until it has proven itself again.
    pub(super) fn is_absent(&mut self, id: Hctl, why: &str) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let (name, device) = (path.name.to_string(), path.device.clone());
        self.unidentified.remove(&id);
        self.dirty.extend(device);
        let effect = "it carries no I/O until it proves to be the same logical unit";
        let details = [("reason", why), ("effect", effect)];
        self.notify(Severity::Warning, "PATH_ABSENT", name, &details);
    }

    /// Another logical unit answers than the one that the path is in use for: no I/O goes there.
    pub(super) fn is_different(&mut self, id: Hctl, found: &str) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let (name, device) = (path.name.to_string(), path.device.clone());
        self.unidentified.remove(&id);
        self.dirty.extend(device);
        let action = "map the LUN back; if it belongs to the other unit for good, the path joins that one when the map of this one is closed";
        let details = [("reason", found), ("action", action)];
        self.notify(Severity::Error, "PATH_QUARANTINED", name, &details);
    }

    /// Gives the paths of a device that lead to other units to these, if the device has no use for them.
    pub(super) fn release_strays(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let in_use = self.map_of(wwid).is_some_and(|map| map.open_count > 0);
        if in_use || device.in_flight.is_some() {
            return;
        }
        let free = |path: &&Path| path.proof.is_quarantined() && !self.is_held(path);
        let strays: Vec<Hctl> = self
            .paths_of(device)
            .filter(free)
            .map(|path| path.facts.hctl)
            .collect();
        for id in strays {
            self.joins_found(id);
        }
    }

    fn joins_found(&mut self, id: Hctl) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let Some(unit) = path.proof.release() else {
            return;
        };
        // What was known of it was said of the unit before.
        path.judgement.class = None;
        path.port_group = None;
        path.ownership = None;
        path.reported_at = None;
        let name = path.name.to_string();
        let details = [
            ("device", unit.device_id.as_str()),
            (
                "reason",
                "its LUN belongs to this unit now, and the map of the one before is not in use",
            ),
        ];
        self.notify(Severity::Info, "PATH_QUARANTINE_ENDED", name, &details);
        let (wwid, device_id) = (unit.wwid.clone(), unit.device_id.clone());
        self.join(id, &wwid, &device_id, Some(unit));
        self.judge(id);
        self.examine_now(id);
    }

    /// Whether paths of a device lead to other units.
    pub(super) fn has_strays(&self, device: &Device) -> bool {
        self.paths_of(device)
            .any(|path| path.proof.is_quarantined())
    }

    /// Whether the disks of paths of a device do not fit its map, perhaps because of what the map is.
    pub(super) fn has_refused(&self, device: &Device) -> bool {
        self.paths_of(device).any(|path| path.mismatch.is_some())
    }

    /// Whether all that is known of the paths of a device is that they lead to other units: none is left that is proven to
    /// lead to it, and where others have its very identity none at all, or they would take the place of one that is down.
    pub(super) fn is_given_away(&self, device: &Device) -> bool {
        let (mut strays, mut twins, mut own, mut proven) = (false, false, false, false);
        for path in self.paths_of(device) {
            if path.proof.is_quarantined() {
                strays = true;
            } else if self.is_twin(path, device) {
                twins = true;
            } else {
                own = true;
                proven |= path.proof.may_carry_io();
            }
        }
        (strays && !twins && !proven) || (twins && !own)
    }
}
