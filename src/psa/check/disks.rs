//! Paths of one device that differ from each other.
//!
//! Some paths cannot be in the same table: a disk that is smaller than the map, or read-only where others are not.
//! Other paths report the same identity although they lead to two units: firmware that gives each LUN the same EUI-64,
//! cloned volumes, cloned targets. The same identity with another size, or with another vendor or product, is another
//! unit, and so is a second LUN of one target port. (A second LUN of the same port adds nothing to one unit, and may be
//! another.) These rules decide which path is the odd one:
//!
//! - With a map, the paths in its table define the unit. A path whose disk is larger than the map stays as long as the
//!   unit may have grown, that is until another path of the table, asked since then, still reports the size of the map.
//!   A path that is not in the table joins when it agrees with those in the table, or with the map if there are none.
//! - Without a map, the first proven path by address defines the unit.
//! - A product that every path in the table reports is that of the unit, whatever it was before: arrays that move a
//!   unit between RAID groups change it. A second LUN stays out while there is a map, even if the first LUN is removed.
//! - A map that is closed, and has no path that is proven to lead to it, is removed so that the other paths can be
//!   used.
//!
//! The sizes that the kernel knows may be old. When sizes differ, each path is sent READ CAPACITY, and no map is
//! created before the answers. Where an answer differs from the kernel's value, the kernel has to read the disk again.

use crate::psa::check::ask;
use crate::psa::codes;
use crate::psa::evidence::{Link, PathState};
use crate::psa::identity::contradict;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::state::proof::Identity;
use crate::psa::units::{Hctl, Millis, Sectors};
use std::collections::BTreeSet;

/// Compares the disk of a path with its device, and notifies users when it stops or starts to fit into the device's
/// tables.
pub(in crate::psa) fn compare_disk(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let device = world.device_of(path);
    let found = device.and_then(|device| mismatch(world, path, device));
    if found.as_deref() == path.fit.mismatch() {
        return;
    }
    let (name, wwid) = (path.name().to_string(), path.device.clone());
    let device_id = device
        .map(|device| device.id().to_string())
        .unwrap_or_default();
    let before = path.fit.mismatch().is_some();
    if let Some(path) = world.paths.get_mut(&id) {
        path.fit.compared(found.clone());
    }
    world.dirty.extend(wwid);
    let about = ("device", device_id.as_str());
    match found {
        Some(reason) if !before => {
            let details = [about, ("reason", &reason)];
            world.notify(codes::PATH_MISMATCHED, name, &details);
            ask_others_for_model(world, id);
        }
        None => world.notify(codes::PATH_MISMATCH_ENDED, name, &[about]),
        Some(_) => {}
    }
}

/// If a path differs from the others, the INQUIRY data of the others may be older than its own, so the others are
/// asked.
fn ask_others_for_model(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let device = world.device_of(path);
    if device.is_none_or(|device| other_model(world, path, device).is_none()) {
        return;
    }
    for member in world.members_with(id) {
        let other = world.paths.get_mut(&member).filter(|_| member != id);
        if let Some(path) = other {
            path.proof.owe();
            ask::examine_now(world, member);
        }
    }
}

/// Why the disk of a path fits in no table of its device; `None` if it fits.
fn mismatch(world: &World, path: &Path, device: &Device) -> Option<String> {
    other_model(world, path, device)
        .or_else(|| other_names(world, path, device))
        .or_else(|| other_lun(path, device))
        .or_else(|| other_size(world, path, device))
        .or_else(|| other_writability(world, path, device))
}

fn other_writability(world: &World, path: &Path, device: &Device) -> Option<String> {
    let block = path.facts().block.as_ref()?;
    if !block.read_only || path.proof.unit().is_none() {
        return None;
    }
    // Every write to this path would fail, although another path would accept it. That other path counts even while it
    // is down, because it may return at any moment and writers wait for it.
    let writable = world.paths_of(device).find(|other| {
        other.is_read_only() == Some(false)
            && other.is_ours()
            && other.proof.unit().is_some()
            && !matches!(other.health.link(), Link::PermanentLoss(_))
    })?;
    let name = writable.facts().block.as_ref().map(|block| &block.name)?;
    Some(format!(
        "its disk is read-only, but {name}, of the same unit, is not"
    ))
}

/// Finds units that share one of several names. The paths in a table define the unit of the device; without any, its
/// first path does.
fn other_names(world: &World, path: &Path, device: &Device) -> Option<String> {
    path.proof.unit()?;
    let own = path.proof.names();
    if own.len() < 2 {
        return None;
    }
    let rank = |path: &Path| (!world.is_held(path), path.facts().hctl);
    let others = world
        .paths_of(device)
        .filter(|other| other.proof.unit().is_some() && other.fit.mismatch().is_none());
    let first = others.min_by_key(|other| rank(other))?;
    let differs = rank(first) < rank(path) && contradict(own, first.proof.names(), device.wwid());
    let name = own.iter().find(|(_, name)| name != device.wwid())?;
    differs.then(|| {
        format!(
            "it shares one identity with the unit, but is another unit: VPD page 83h also names {}",
            name.1
        )
    })
}

fn other_size(world: &World, path: &Path, device: &Device) -> Option<String> {
    let own = path.size()?;
    let kernel = path.kernel_size();
    let least = kernel
        .filter(|size| size.0 != 0)
        .map_or(own, |k| k.min(own));
    let Some(length) = device.length() else {
        let says = |other: &&Path| {
            is_unit(other) && !other.fit.repeats() && other_model(world, other, device).is_none()
        };
        let first = world.paths_of(device).find(says)?;
        let size = first.size()?;
        let changed = changed_at(world, device);
        let decided = path.fit.is_measured(changed) && first.fit.is_measured(changed);
        let differs = is_unit(path) && own != size;
        return (differs && decided).then(|| size_differs(own, size));
    };
    if least < length {
        return Some(format!(
            "its disk has {} sectors, fewer than the {} of the map",
            least.0, length.0
        ));
    }
    path.proof.unit()?;
    let in_table = |other: &&Path| {
        other.facts().hctl != path.facts().hctl
            && other.proof.unit().is_some()
            && other.fit.mismatch().is_none()
            && world.is_held(other)
    };
    let mut others = world.paths_of(device).filter(in_table).peekable();
    if world.is_held(path) {
        // It may have grown. If another path, asked since then, reports that the unit has not, that path is right.
        let selection = device.selection.as_ref();
        let exclusive = selection.is_some_and(|selection| selection.satp.is_exclusive());
        // A controller in standby does not report the size, and the kernel has the old value.
        let silent = |other: &&Path| exclusive && other.state() == PathState::Standby;
        let contradicts = |other: &&Path| {
            other.proof.may_carry_io()
                && !silent(other)
                && other.fit.is_measured(path.fit.sized_at())
                && other.size() != Some(own)
                && (other.size() == Some(length) || other.facts().hctl < path.facts().hctl)
        };
        let other = others.filter(|_| own > length).find(contradicts)?;
        return Some(size_differs(own, other.size()?));
    }
    let changed = changed_at(world, device);
    if !path.fit.is_measured(changed) {
        return None; // It does not join before it has been asked.
    }
    if others.peek().is_none() {
        return (own != length).then(|| size_differs(own, length));
    }
    let known =
        others.filter(|other| other.fit.is_measured(changed) || !other.proof.may_carry_io());
    let sizes: BTreeSet<Sectors> = known.filter_map(Path::size).collect();
    let size = sizes.first().filter(|_| !sizes.contains(&own))?;
    Some(size_differs(own, *size))
}

/// Whether a path that is in no table has the identity of its device but leads to another unit.
pub(in crate::psa) fn is_twin(world: &World, path: &Path, device: &Device) -> bool {
    let larger = || path.size() > device.length() && other_size(world, path, device).is_some();
    let other = || other_model(world, path, device).is_some() || path.fit.repeats() || larger();
    path.fit.mismatch().is_some() && !world.is_held(path) && other()
}

/// Whether the sizes of a device's paths differ from each other, from the map, or from the kernel's values.
pub(in crate::psa) fn is_uneven(world: &World, device: &Device) -> bool {
    let mut common = device.length();
    world.paths_of(device).any(|path| {
        let Some(size) = path.size().filter(|_| path.proof.unit().is_some()) else {
            return false;
        };
        let kernel = path.kernel_size();
        *common.get_or_insert(size) != size || kernel != Some(size)
    })
}

/// When the size of any of its paths last changed.
pub(in crate::psa) fn changed_at(world: &World, device: &Device) -> Millis {
    let units = world
        .paths_of(device)
        .filter(|path| path.proof.unit().is_some());
    units
        .map(|path| path.fit.sized_at())
        .max()
        .unwrap_or_default()
}

/// Whether the sizes of its paths differ, and not every path has answered since; then no path joins.
pub(in crate::psa) fn is_being_measured(world: &World, device: &Device) -> bool {
    if !is_uneven(world, device) {
        return false;
    }
    let changed = changed_at(world, device);
    world
        .paths_of(device)
        .any(|path| path.proof.may_carry_io() && !path.fit.is_measured(changed))
}

/// The first two LUNs of one target port that belong to a device.
pub(in crate::psa) fn repeated(world: &World, device: &Device) -> Option<(Hctl, Hctl)> {
    let mut before: Option<Hctl> = None;
    for path in world.paths_of(device) {
        // The disk of a map that has not answered since the agent started is not less the unit than one that has.
        let is_assumed = matches!(path.proof.identity(), Identity::Assumed(_));
        if path.proof.unit().is_none() && !is_assumed || !path.is_ours() {
            continue;
        }
        let id = path.facts().hctl;
        let port = |id: Hctl| (id.host, id.channel, id.target);
        match before {
            Some(other) if port(other) == port(id) => return Some((other, id)),
            _ => before = Some(id),
        }
    }
    None
}

/// Whether a device has a map with a table. Whether the map is open may not be known, because that is not announced.
pub(in crate::psa) fn is_mapped(world: &World, wwid: &Wwid) -> bool {
    world.map_of(wwid).is_some_and(|map| !map.is_shell())
}

/// Vendor and product of the unit, if they differ from the stored ones.
pub(in crate::psa) fn common_model(world: &World, device: &Device) -> Option<(String, String)> {
    let held = world.paths_of(device).any(|path| world.is_held(path));
    let mapped = is_mapped(world, device.wwid());
    let mut said = world
        .paths_of(device)
        .filter(|path| is_unit(path) && (!held || world.is_held(path)))
        .filter_map(model)
        .peekable();
    let (vendor, product) = said.peek().copied()?;
    if let Some((noted_vendor, noted_product)) = device.model() {
        let noted = |said: (&str, &str)| said == (noted_vendor, noted_product);
        // If a map has none of its paths, the I/O that waits in it may be for another unit than the one that appears.
        if said.any(noted) || (mapped && !held) {
            return None;
        }
    }
    Some((vendor.to_owned(), product.to_owned()))
}

/// Whether a path is suited to define the unit.
pub(in crate::psa) fn is_unit(path: &Path) -> bool {
    path.proof.may_carry_io() && path.is_ours() && path.size().is_some()
}

/// INQUIRY vendor and product.
pub(in crate::psa) fn model(path: &Path) -> Option<(&str, &str)> {
    let inquiry = path.inquiry.as_ref()?;
    Some((inquiry.vendor_trimmed(), inquiry.product_trimmed()))
}

fn size_differs(own: Sectors, other: Sectors) -> String {
    format!(
        "it has the identity of the unit, but is another unit: it has {} sectors, the unit has {}",
        own.0, other.0
    )
}

/// What the kernel read as INQUIRY vendor and product when it found the disk of a path.
fn scanned_model(path: &Path) -> Option<(&str, &str)> {
    let facts = path.facts();
    let scanned = (facts.vendor.as_str(), facts.model.as_str());
    (scanned != ("", "")).then_some(scanned)
}

pub(in crate::psa) fn other_model(world: &World, path: &Path, device: &Device) -> Option<String> {
    path.proof.unit()?;
    let ((own_vendor, own_product), (vendor, product)) = match device.model() {
        Some((vendor, product)) => (model(path)?, (vendor.as_str(), product.as_str())),
        // No path of the table has reported it since the agent started: the kernel's values of both are compared.
        None if !world.is_held(path) => {
            let mut held = world.paths_of(device).filter(|other| world.is_held(other));
            (scanned_model(path)?, held.find_map(scanned_model)?)
        }
        None => return None,
    };
    let same = (own_vendor, own_product) == (vendor, product);
    (!same).then(|| {
        format!(
            "it has the identity of the unit, but is another unit: INQUIRY reports `{own_vendor}` `{own_product}`, the \
             unit is `{vendor}` `{product}`"
        )
    })
}

fn other_lun(path: &Path, device: &Device) -> Option<String> {
    let lun = path.facts().hctl.lun;
    path.fit.repeats().then(|| match device.repeated() {
        Some((first, second)) => format!(
            "LUN {} and LUN {} of one target port have the same identity: LUN {lun} may be another unit",
            first.lun, second.lun
        ),
        None => format!(
            "another LUN of its target port had the same identity: LUN {lun} may be another unit"
        ),
    })
}
