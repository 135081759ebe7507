//! MASK_PATH: a masked path is in no table, and its SCSI device is removed from the host as soon as nothing uses it.
//!
//! The path is remembered, so that it is listed as masked although the host no longer has the device. It returns after
//! a rescan of its HBA, or by this module: when rules are run after it was unclaimed, and they no longer mask it.

use crate::psa::action::Action;
use crate::psa::claim::Claim;
use crate::psa::claiming::run;
use crate::psa::codes;
use crate::psa::facts::PathFacts;
use crate::psa::memory::MaskedPath;
use crate::psa::mpp::Plugin;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::units::{DevT, Hctl, Millis};
use crate::scsi::inquiry::StandardInquiry;

/// A device that could not be removed, because something was using it after all, is tried again after this time.
const RETRY: Millis = Millis(60_000);

/// Removes the masked paths of a device from the host, except for those in a map and those whose disks are in use.
pub(in crate::psa) fn withdraw(world: &mut World, wwid: &Wwid) {
    let Some(device) = world
        .devices
        .get(wwid)
        .filter(|_| world.settings.remove_masked)
    else {
        return;
    };
    let table = world.map_of(wwid).and_then(|map| map.table.as_ref().ok());
    let free = |path: &&Path| {
        let held = table.is_some_and(|t| t.paths().any(|one| Some(one.dev) == path.dev()));
        let used = path
            .facts()
            .block
            .iter()
            .any(|block| !block.usage.is_empty());
        let asked = path
            .requested
            .removed_at()
            .is_some_and(|at| world.now < at.after(RETRY));
        path.is_masked() && !path.owner.is_unclaimed() && !held && !used && !asked
    };
    // A path whose disk is not known is not removed, because it cannot be known what uses it.
    let free: Vec<(Hctl, DevT)> = world
        .paths_of(device)
        .filter(free)
        .filter_map(|path| Some((path.facts().hctl, path.dev()?)))
        .collect();
    for (id, dev) in free {
        if let Some(path) = world.paths.get_mut(&id) {
            path.requested.remove(world.now);
        }
        world.actions.push(Action::DeleteDevice { path: id, dev });
    }
}

/// A path that was withdrawn is gone: remembers it.
pub(in crate::psa) fn withdrawn(world: &mut World, path: &Path) {
    let name = path.name().to_string();
    let (Some(claim), Some(inquiry)) = (path.owner.claim(), &path.inquiry) else {
        return;
    };
    let masked = MaskedPath {
        facts: PathFacts {
            block: None,
            sg: None,
            ..path.facts().clone()
        },
        inquiry: inquiry.raw.clone(),
        device: path.device().cloned(),
        rule: claim.rule,
    };
    if let Some(path) = masked_path(world, &masked) {
        world.withdrawn.insert(path.facts().hctl, Box::new(path));
    }
    world.memory.masked.insert(name, masked);
    world.remember();
}

/// Restores the withdrawn paths that were stored before the agent started.
pub(in crate::psa) fn recall_withdrawn(world: &mut World) {
    let masked: Vec<MaskedPath> = world.memory.masked.values().cloned().collect();
    for masked in masked {
        if let Some(path) = masked_path(world, &masked) {
            world.withdrawn.insert(path.facts().hctl, Box::new(path));
        }
    }
}

fn masked_path(world: &mut World, masked: &MaskedPath) -> Option<Path> {
    let (name, _) = world.runtime_name(&masked.facts);
    let inquiry = StandardInquiry::parse(&masked.inquiry).ok()?;
    let claim = Claim {
        plugin: Plugin::MaskPath,
        rule: masked.rule,
    };
    let mut path = Path::withdrawn(masked.facts.clone(), name, inquiry, claim, world.now);
    path.device.clone_from(&masked.device);
    Some(path)
}

/// A path of this name is present again: it is no longer withdrawn.
pub(in crate::psa) fn returned(world: &mut World, path: &Path) {
    world.withdrawn.retain(|other| other.name() != path.name());
    if world
        .memory
        .masked
        .remove(&path.name().to_string())
        .is_some()
    {
        world.remember();
    }
}

/// Has the host scan for a withdrawn path, if rules no longer mask it.
pub(in crate::psa) fn release(world: &mut World, id: Hctl) {
    let path = world.withdrawn.get(&id);
    let decided = path.and_then(|path| run::claim_by(world, &world.rules, path));
    let Some(path) = world.withdrawn.get_mut(&id) else {
        return;
    };
    path.owner.run();
    let Some(claim) = decided.filter(|claim| claim.plugin != Plugin::MaskPath) else {
        return;
    };
    let (name, rule) = (path.name().to_string(), claim.rule.to_string());
    if let Some(path) = world.withdrawn.remove(&id) {
        returned(world, &path);
    }
    world.actions.push(Action::ScanFor(id));
    let effect = "its HBA is scanned for it";
    world.notify(
        codes::PATH_UNMASKED,
        name,
        &[("rule", &rule), ("effect", effect)],
    );
}
