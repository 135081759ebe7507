//! Disks of one unit that are not alike: one that is smaller than the map, or read-only where others are not.

use super::action::{Action, Severity};
use super::device::Device;
use super::path::Path;
use super::satp::Link;
use super::units::{Hctl, Sectors};
use super::world::World;
use crate::scsi::mode;

impl World {
    /// The disk of a path got another size, or takes writes or does not: what that makes of the paths to its unit.
    pub(super) fn compare_disks(&mut self, id: Hctl) {
        // The kernel looked, for an administrator's rescan perhaps, and found what the path has not told us yet. The path is
        // asked, or nobody would see that it takes writes again; so are the others by what it says.
        if self.paths.get(&id).and_then(|path| path.is_read_only()) == Some(true) {
            self.ask_for_writes(id, true);
        }
        for member in self.members_with(id) {
            self.judge(member);
        }
    }

    /// Whether the unit takes writes through a path. An array that changes it for one port tells nobody, and the kernel
    /// gives the writer an error where another path would do: it is to look again when it holds something else.
    pub(super) fn write_protection_is(&mut self, id: Hctl, data: &[u8]) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let Ok(write_protected) = mode::is_write_protected(data) else {
            return;
        };
        let before = path.write_protected.replace(write_protected);
        let news = before != Some(write_protected);
        // Where writes would fail the kernel is told until it knows. In the other direction once: what an administrator
        // set by `blockdev` no look of the kernel's changes.
        if path.is_read_only() == Some(!write_protected) && (write_protected || news) {
            self.actions.push(Action::RescanDevice(id));
        }
        if news && before.is_some() {
            self.ask_others_for_writes(id, write_protected);
        }
    }

    /// What an array changed for one port it may have changed for others too.
    fn ask_others_for_writes(&mut self, id: Hctl, write_protected: bool) {
        for member in self.members_with(id) {
            self.ask_for_writes(member, write_protected);
        }
    }

    /// Asks a path at once whether it takes writes, if what it said before is the contrary of what was learned elsewhere.
    fn ask_for_writes(&mut self, id: Hctl, write_protected: bool) {
        if let Some(path) = self.paths.get_mut(&id)
            && path.write_protected == Some(!write_protected)
        {
            path.proof.owe();
            self.examine_now(id);
        }
    }

    /// Compares the disk of a path with its device, and tells when it stops or starts to fit in its tables.
    pub(super) fn compare_disk(&mut self, id: Hctl) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let device = self.device_of(path);
        let found = device.and_then(|device| self.mismatch(path, device));
        if found == path.mismatch {
            return;
        }
        let (name, wwid) = (path.name.to_string(), path.device.clone());
        let device_id = device.map(|device| device.id.clone()).unwrap_or_default();
        let before = path.mismatch.is_some();
        if let Some(path) = self.paths.get_mut(&id) {
            path.mismatch.clone_from(&found);
        }
        self.dirty.extend(wwid);
        let about = ("device", device_id.as_str());
        match found {
            Some(reason) if !before => {
                let details = [about, ("reason", &reason)];
                self.notify(Severity::Error, "PATH_MISMATCHED", name, &details);
            }
            None => self.notify(Severity::Info, "PATH_MISMATCH_ENDED", name, &[about]),
            Some(_) => {}
        }
    }

    /// Whether the disk of a path differs from its device in a way that no table can hold.
    fn mismatch(&self, path: &Path, device: &Device) -> Option<String> {
        let block = path.facts.block.as_ref()?;
        // A disk that cannot be read yet has size 0: nothing is known of it.
        let short = |length: &Sectors| block.size.0 != 0 && block.size < *length;
        if let Some(length) = device.length.filter(short) {
            return Some(format!(
                "its disk has {} sectors, less than the {} of the map",
                block.size.0, length.0
            ));
        }
        if !block.read_only || path.proof.unit().is_none() {
            return None;
        }
        // Every write that went there would fail for the writer, though another path takes it; and that path counts
        // while it is down, for it may come back any moment, and writers wait for it.
        let writable = self.paths_of(device).find(|other| {
            other.is_read_only() == Some(false)
                && other.is_ours()
                && other.proof.unit().is_some()
                && !matches!(other.link, Link::PermanentLoss(_))
        })?;
        let name = writable.facts.block.as_ref().map(|block| &block.name)?;
        Some(format!(
            "its disk is read-only, and {name}, of the same unit, is not"
        ))
    }
}
