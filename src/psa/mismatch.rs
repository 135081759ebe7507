//! Paths of one device that are not alike.
//!
//! Some cannot share a table: a disk that is smaller than the map, or read-only where others are not. Some share an identity
//! and are two units for all that: firmware that gives each LUN the same EUI-64, cloned volumes, cloned targets. The same
//! identity with another size, or another vendor or product, is another unit, and so is a second LUN of one target port. (A
//! second LUN of the same port adds nothing to one unit, and may be another.) Which is the odd one?
//!
//! - With a map, the paths in its table say what the unit is. One whose disk is larger than the map stays while the unit
//!   may have grown: until another path of the table, asked since, still says what the map says. A path that is not in the
//!   table joins when it says what those in the table say; if there are none, what the map says.
//! - Without a map, the first path by address that is proven.
//! - A product that every path in the table says is the unit's, whatever it was before: arrays that move a unit between
//!   RAID groups change it. A second LUN stays out while there is a map, even if the first LUN goes.
//! - A map that is closed, and of whose own paths none is proven, is removed for the sake of the others.
//!
//! What the kernel knows of sizes may be old: when sizes differ, each path is asked by READ CAPACITY, and no map is made
//! before the answers. Where an answer is not what the kernel has, the kernel is to look again.

use super::action::Severity;
use super::device::Device;
use super::event::Reply;
use super::identity::contradict;
use super::path::{Path, PathState};
use super::satp::Link;
use super::units::{Hctl, Millis, Sectors};
use super::world::World;
use crate::scsi::capacity::Capacity;
use crate::scsi::mode;
use std::collections::BTreeSet;

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
            self.reread(id);
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
                self.ask_others_for_model(id);
            }
            None => self.notify(Severity::Info, "PATH_MISMATCH_ENDED", name, &[about]),
            Some(_) => {}
        }
    }

    /// INQUIRY data of the other paths may be older than those of a path that differs from them.
    fn ask_others_for_model(&mut self, id: Hctl) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let device = self.device_of(path);
        if device.is_none_or(|device| self.other_model(path, device).is_none()) {
            return;
        }
        for member in self.members_with(id) {
            let other = self.paths.get_mut(&member).filter(|_| member != id);
            if let Some(path) = other {
                path.proof.owe();
                self.examine_now(member);
            }
        }
    }

    /// Why no table of its device can hold the disk of a path, if none can.
    fn mismatch(&self, path: &Path, device: &Device) -> Option<String> {
        self.other_model(path, device)
            .or_else(|| self.other_names(path, device))
            .or_else(|| self.other_lun(path, device))
            .or_else(|| self.other_size(path, device))
            .or_else(|| self.other_writability(path, device))
    }

    fn other_writability(&self, path: &Path, device: &Device) -> Option<String> {
        let block = path.facts.block.as_ref()?;
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

    fn other_model(&self, path: &Path, device: &Device) -> Option<String> {
        path.proof.unit()?;
        let (vendor, product) = device.model.as_ref()?;
        let (own_vendor, own_product) = model(path)?;
        let same = own_vendor == vendor && own_product == product;
        (!same).then(|| {
            format!(
                "it has the identity of the unit and is another: `{own_vendor}` `{own_product}` by INQUIRY, where the \
                 unit is `{vendor}` `{product}`"
            )
        })
    }

    /// Units that share one of several names: what is in a table says which unit the device is, or else its first path.
    fn other_names(&self, path: &Path, device: &Device) -> Option<String> {
        path.proof.unit()?;
        let own = path.proof.names();
        if own.len() < 2 {
            return None;
        }
        let rank = |path: &Path| (!self.is_held(path), path.facts.hctl);
        let others = self
            .paths_of(device)
            .filter(|other| other.proof.unit().is_some() && other.mismatch.is_none());
        let first = others.min_by_key(|other| rank(other))?;
        let differs =
            rank(first) < rank(path) && contradict(own, first.proof.names(), &device.wwid);
        let name = own.iter().find(|(_, name)| *name != device.wwid)?;
        differs.then(|| {
            format!(
                "it shares the identity with the unit and is another: {} by page 83h",
                name.1
            )
        })
    }

    fn other_lun(&self, path: &Path, device: &Device) -> Option<String> {
        let lun = path.facts.hctl.lun;
        path.repeats.then(|| match device.repeated {
            Some((first, second)) => format!(
                "LUN {} and LUN {} of one target port have one identity: LUN {lun} may be another unit",
                first.lun, second.lun
            ),
            None => format!(
                "another LUN of its target port had the same identity: LUN {lun} may be another unit"
            ),
        })
    }

    fn other_size(&self, path: &Path, device: &Device) -> Option<String> {
        let own = path.size()?;
        let kernel = path.facts.block.as_ref().map(|block| block.size);
        let least = kernel
            .filter(|size| size.0 != 0)
            .map_or(own, |k| k.min(own));
        let Some(length) = device.length else {
            let says = |other: &&Path| {
                is_unit(other) && !other.repeats && self.other_model(other, device).is_none()
            };
            let first = self.paths_of(device).find(says)?;
            let size = first.size()?;
            let changed = self.changed_at(device);
            let decided = path.is_measured(changed) && first.is_measured(changed);
            let differs = is_unit(path) && own != size;
            return (differs && decided).then(|| other_size(own, size));
        };
        if least < length {
            return Some(format!(
                "its disk has {} sectors, less than the {} of the map",
                least.0, length.0
            ));
        }
        path.proof.unit()?;
        let in_table = |other: &&Path| {
            other.facts.hctl != path.facts.hctl
                && other.proof.unit().is_some()
                && other.mismatch.is_none()
                && self.is_held(other)
        };
        let mut others = self.paths_of(device).filter(in_table).peekable();
        if self.is_held(path) {
            // It may have grown. Another that was asked since, and says that it has not, says what the unit is.
            let selection = device.selection.as_ref();
            let exclusive = selection.is_some_and(|selection| selection.satp.is_exclusive());
            // A controller that waits does not tell the size, and the kernel has the one from before.
            let silent = |other: &&Path| exclusive && other.state() == PathState::Standby;
            let contradicts = |other: &&Path| {
                other.proof.may_carry_io()
                    && !silent(other)
                    && other.is_measured(path.sized_at)
                    && other.size() != Some(own)
                    && (other.size() == Some(length) || other.facts.hctl < path.facts.hctl)
            };
            let other = others.filter(|_| own > length).find(contradicts)?;
            return Some(other_size(own, other.size()?));
        }
        let changed = self.changed_at(device);
        if !path.is_measured(changed) {
            return None; // It does not join before it has been asked.
        }
        if others.peek().is_none() {
            return (own != length).then(|| other_size(own, length));
        }
        let known =
            others.filter(|other| other.is_measured(changed) || !other.proof.may_carry_io());
        let sizes: BTreeSet<Sectors> = known.filter_map(Path::size).collect();
        let size = sizes.first().filter(|_| !sizes.contains(&own))?;
        Some(other_size(own, *size))
    }

    /// Whether a path that is in no table has the identity of its device, and leads to another unit for all that.
    pub(super) fn is_twin(&self, path: &Path, device: &Device) -> bool {
        let larger = || path.size() > device.length && self.other_size(path, device).is_some();
        let other = || self.other_model(path, device).is_some() || path.repeats || larger();
        path.mismatch.is_some() && !self.is_held(path) && other()
    }

    /// READ CAPACITY was answered.
    pub(super) fn capacity_is(&mut self, id: Hctl, reply: &Reply, good: bool) {
        let now = self.now;
        let uneven = self
            .paths
            .get(&id)
            .and_then(|path| self.device_of(path))
            .is_some_and(|device| self.is_uneven(device));
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let capacity = Capacity::parse(&reply.data).ok().filter(|_| good);
        let Some(size) = capacity.and_then(Capacity::sectors_of_512).map(Sectors) else {
            path.reread_owed |= uneven;
            return;
        };
        let before = path.size();
        path.measured = Some(size);
        if before != Some(size) {
            path.sized_at = now;
        }
        let kernel = path.facts.block.as_ref().map(|block| block.size);
        path.reread_owed |= kernel != Some(size);
        if before != Some(size) {
            for member in self.members_with(id) {
                self.judge(member);
            }
        }
    }

    /// Whether paths of a device differ in size, from each other or from the map, or from what the kernel has.
    fn is_uneven(&self, device: &Device) -> bool {
        let mut common = device.length;
        self.paths_of(device).any(|path| {
            let Some(size) = path.size().filter(|_| path.proof.unit().is_some()) else {
                return false;
            };
            let kernel = path.facts.block.as_ref().map(|block| block.size);
            *common.get_or_insert(size) != size || kernel != Some(size)
        })
    }

    /// When the size of one of its paths changed last.
    fn changed_at(&self, device: &Device) -> Millis {
        let units = self
            .paths_of(device)
            .filter(|path| path.proof.unit().is_some());
        units.map(|path| path.sized_at).max().unwrap_or_default()
    }

    /// Whether the sizes of its paths differ, and not every path has answered since: then none joins.
    pub(super) fn is_being_measured(&self, device: &Device) -> bool {
        if !self.is_uneven(device) {
            return false;
        }
        let changed = self.changed_at(device);
        self.paths_of(device)
            .any(|path| path.proof.may_carry_io() && !path.is_measured(changed))
    }

    /// Compares the paths of a device with each other, and asks them where they differ.
    pub(super) fn compare_paths(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let model = self.common_model(device);
        let renamed = model.is_some();
        let repeated = self.repeated(device);
        let again = repeated != device.repeated;
        let uneven = self.is_uneven(device);
        let odd = |path: &Path| path.repeats || path.mismatch.is_some();
        let odd = self.paths_of(device).any(odd);
        if !(renamed || again || uneven || odd || repeated.is_some()) {
            return;
        }
        let id = device.id.clone();
        let members: Vec<Hctl> = device.paths.iter().copied().collect();
        if let Some(device) = self.devices.get_mut(wwid) {
            device.repeated = repeated;
            if renamed {
                device.model = model;
            }
        }
        if let Some((first, second)) = repeated.filter(|_| again) {
            let (first, second) = (first.to_string(), second.to_string());
            let effect =
                "the paths of one LUN are used: those in the table of its map, or the lower LUN";
            let details = [("first", &*first), ("second", &*second), ("effect", effect)];
            self.notify(Severity::Error, "IDENTITY_REPEATED", id, &details);
        }
        self.stand_aside(wwid, &members);
        if uneven {
            self.measure(wwid, &members);
        }
        for member in &members {
            self.judge(*member);
        }
    }

    /// Has each path say its size that did not since one of them changed.
    fn measure(&mut self, wwid: &str, members: &[Hctl]) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let changed = self.changed_at(device);
        for id in members {
            let Some(path) = self.paths.get_mut(id) else {
                continue;
            };
            let asked = path.is_measured(changed) || path.is_being_measured();
            if path.proof.may_carry_io() && !asked {
                path.measure = true;
                self.examine_now(*id);
            }
        }
    }

    /// Notes which paths are of a LUN that repeats the identity of another.
    fn stand_aside(&mut self, wwid: &str, members: &[Hctl]) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let mapped = self.is_mapped(wwid);
        let held: BTreeSet<u64> = self
            .paths_of(device)
            .filter(|path| self.is_held(path))
            .map(|path| path.facts.hctl.lun)
            .collect();
        let says = |path: &&Path| is_unit(path) && self.other_model(path, device).is_none();
        let units = self.paths_of(device).filter(says);
        let least = units.map(|path| path.facts.hctl.lun).min();
        let repeated = device.repeated.is_some();
        for id in members {
            let Some(path) = self.paths.get_mut(id) else {
                continue;
            };
            let first = if held.is_empty() {
                least == Some(id.lun)
            } else {
                held.contains(&id.lun)
            };
            let stays = path.repeats && mapped && !held.contains(&id.lun);
            path.repeats = stays || (repeated && !first);
        }
    }

    /// The first two LUNs of one target port that belong to a device.
    fn repeated(&self, device: &Device) -> Option<(Hctl, Hctl)> {
        let mut before: Option<Hctl> = None;
        for path in self.paths_of(device) {
            if path.proof.unit().is_none() || !path.is_ours() {
                continue;
            }
            let id = path.facts.hctl;
            let port = |id: Hctl| (id.host, id.channel, id.target);
            match before {
                Some(other) if port(other) == port(id) => return Some((other, id)),
                _ => before = Some(id),
            }
        }
        None
    }

    /// Whether a device has a map with a table. That it is open may not be known: nobody announces it.
    fn is_mapped(&self, wwid: &str) -> bool {
        self.map_of(wwid).is_some_and(|map| !map.is_shell())
    }

    /// Vendor and product of the unit, if they are not those that are noted.
    fn common_model(&self, device: &Device) -> Option<(String, String)> {
        let held = self.paths_of(device).any(|path| self.is_held(path));
        let mapped = self.is_mapped(&device.wwid);
        let mut said = self
            .paths_of(device)
            .filter(|path| is_unit(path) && (!held || self.is_held(path)))
            .filter_map(model)
            .peekable();
        let (vendor, product) = said.peek().copied()?;
        if let Some((noted_vendor, noted_product)) = &device.model {
            let noted = |said: (&str, &str)| said == (noted_vendor, noted_product);
            // In a map none of whose paths is there other I/O may wait than that of a new one.
            if said.any(noted) || (mapped && !held) {
                return None;
            }
        }
        Some((vendor.to_owned(), product.to_owned()))
    }
}

/// Whether a path says what its unit is.
fn is_unit(path: &Path) -> bool {
    path.proof.may_carry_io() && path.is_ours() && path.size().is_some()
}

/// INQUIRY vendor and product.
fn model(path: &Path) -> Option<(&str, &str)> {
    let inquiry = path.inquiry.as_ref()?;
    Some((inquiry.vendor_trimmed(), inquiry.product_trimmed()))
}

fn other_size(own: Sectors, other: Sectors) -> String {
    format!(
        "it has the identity of the unit and is another: {} sectors, where the unit has {}",
        own.0, other.0
    )
}
