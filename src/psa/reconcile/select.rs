//! Applies the selection of plug-in, SATP and PSP to a device.

use crate::psa::check::{ask, judge};
use crate::psa::claim::Claim;
use crate::psa::claiming::selection;
use crate::psa::codes;
use crate::psa::mpp::Plugin;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::units::Hctl;

/// Selects plug-in, SATP and PSP of a device by the rules in force.
pub(in crate::psa) fn select(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let Some(selection) =
        selection::selection(world, &world.rules, device, |path| path.owner.claim())
    else {
        return;
    };
    let before = device.selection.as_ref().map(|s| s.satp.name());
    let changed = before != Some(selection.satp.name());
    let members: Vec<Hctl> = device.paths().iter().copied().collect();
    if let Some(device) = world.devices.get_mut(wwid) {
        device.selection = Some(selection);
    }
    if changed {
        for member in members {
            judge::judge(world, member);
            // An ALUA path is usable only once the state of its group is known.
            ask::examine_now(world, member);
        }
    }
}

/// Assigns to the device's plug-in those of its paths that rules assigned to another plug-in.
pub(in crate::psa) fn unite(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let Some(plugin) = device.selection.as_ref().map(|s| s.plugin) else {
        return;
    };
    for id in device.paths().clone() {
        let Some(path) = world.paths.get_mut(&id) else {
            continue;
        };
        let other = |claim: &Claim| ![plugin, Plugin::MaskPath].contains(&claim.plugin);
        let Some(claim) = path.owner.claim().filter(other) else {
            continue;
        };
        path.owner.claimed(Claim { plugin, ..claim });
        let (rule, name) = (claim.rule.to_string(), path.name().to_string());
        world.notify(
            codes::CLAIM_KEPT,
            name,
            &[
                ("plugin", plugin.as_str()),
                ("against_rule", &rule),
                ("reason", "its device belongs to that plug-in already"),
            ],
        );
    }
}
