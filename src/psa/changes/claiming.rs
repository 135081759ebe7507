//! Claims again: new rules take effect, and paths are unclaimed, claimed and reclaimed by them.
//!
//! As on ESXi, new rules do not affect what is already claimed; `unclaim` and `run`, or `reclaim`, apply them. Unlike
//! on ESXi, an unclaimed path continues to serve until rules are run, and a device in use keeps at least one path:
//! nothing in this module ends the I/O of a map.

use crate::psa::change::{Refusal, RulesEffect, Scope};
use crate::psa::check::{ask, judge};
use crate::psa::claim::Claim;
use crate::psa::claiming::selection::in_words;
use crate::psa::claiming::{mask_path, run, selection};
use crate::psa::codes;
use crate::psa::names::DeviceId;
use crate::psa::rules::Rules;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::schedule::Key;
use crate::psa::units::Hctl;

impl World {
    /// What new rules would decide differently.
    #[must_use]
    pub fn check_rules(&self, rules: &Rules) -> RulesEffect {
        let paths = self.paths.values().filter(|path| {
            let decided = run::claim_by(self, rules, path).map(|claim| claim.plugin);
            path.owner
                .claim()
                .is_some_and(|claim| decided.is_some_and(|plugin| plugin != claim.plugin))
        });
        let devices = self.devices.values().filter(|device| {
            let decided =
                selection::selection(self, rules, device, |path| run::claim_by(self, rules, path));
            let now = device.selection.as_ref();
            now.zip(decided)
                .is_some_and(|(now, new)| in_words(now) != in_words(&new))
        });
        RulesEffect {
            paths: paths.count(),
            devices: devices.count(),
        }
    }
}

/// New rules take effect. A device without a map gets its SATP from them at its next look. A device that was left alone
/// is looked at now, because the rules may name its array.
pub(in crate::psa) fn rules_loaded(world: &mut World, rules: Rules) {
    let effect = world.check_rules(&rules).to_string();
    world.rules = rules;
    let left_alone = world
        .devices
        .values()
        .filter(|device| matches!(device.disposition, Disposition::LeftAlone(_)))
        .map(|device| device.wwid().to_owned());
    world.dirty.extend(left_alone);
    world.notify(codes::RULES_LOADED, "agent", &[("effect", &effect)]);
}

pub(in crate::psa) fn check_unclaim(world: &World, scope: &Scope) -> Result<String, Refusal> {
    match run::in_scope(world, scope).len() {
        0 => Err(Refusal::Refused(
            "no path matches; `psactl storage core path list` shows all paths".to_owned(),
        )),
        count => {
            let seconds = world.settings.claim_interval_ms.0 / 1000;
            Ok(format!(
                "{count} paths are unclaimed; they stay in use until `psactl storage core claimrule run`, or for {seconds} s"
            ))
        }
    }
}

pub(in crate::psa) fn unclaim(world: &mut World, scope: &Scope) {
    for id in run::in_scope(world, scope) {
        let path = world.paths.get_mut(&id);
        if let Some(path) = path.or_else(|| world.withdrawn.get_mut(&id)) {
            path.owner.unclaim();
        }
    }
    let at = world.now.after(world.settings.claim_interval_ms);
    world.schedule.no_later_than(Key::ClaimRules, at);
}

pub(in crate::psa) fn check_run(world: &World, scope: Option<&Scope>) -> String {
    let count = unclaimed(world, scope).len();
    format!("{count} unclaimed paths are claimed by the rules in force")
}

fn unclaimed(world: &World, scope: Option<&Scope>) -> Vec<Hctl> {
    let meant = scope.map(|scope| run::in_scope(world, scope));
    world
        .paths()
        .filter(|(id, path)| {
            path.owner.is_unclaimed() && meant.as_ref().is_none_or(|meant| meant.contains(id))
        })
        .map(|(id, _)| *id)
        .collect()
}

/// Claims unclaimed paths by the rules.
pub(in crate::psa) fn run_rules(world: &mut World, scope: Option<&Scope>) {
    for id in unclaimed(world, scope) {
        decide_again(world, id);
    }
}

pub(in crate::psa) fn check_reclaim(world: &World, device: &Device) -> String {
    let decided = selection::selection(world, &world.rules, device, |path| {
        run::claim_by(world, &world.rules, path)
    });
    match decided {
        Some(selection) => format!("{}: reclaimed with {}", device.id(), in_words(&selection)),
        None => format!("{}: reclaimed", device.id()),
    }
}

/// Claims all paths of a device again, and selects its SATP and PSP again.
pub(in crate::psa) fn reclaim(world: &mut World, device_id: &DeviceId) {
    for id in run::in_scope(world, &Scope::Device(device_id.to_owned())) {
        decide_again(world, id);
    }
    let found = world.device_with_id(device_id);
    let wwid = found.map(|device| device.wwid().to_owned());
    if let Some(wwid) = wwid
        && let Some(device) = world.devices.get_mut(&wwid)
    {
        device.selection = None;
        world.dirty.insert(wwid);
    }
}

fn decide_again(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get_mut(&id) else {
        return mask_path::release(world, id);
    };
    path.owner.run();
    let before = path.owner.claim();
    run::claim(world, id);
    let Some((name, after)) = world
        .paths
        .get(&id)
        .map(|path| (path.name(), path.owner.claim()))
    else {
        return;
    };
    if before.map(|claim| claim.plugin) == after.map(|claim| claim.plugin) {
        return;
    }
    let plugin = |claim: Option<Claim>| {
        claim.map_or_else(|| "none".to_owned(), |claim| claim.plugin.to_string())
    };
    let (from, to) = (plugin(before), plugin(after));
    world.notify(
        codes::PATH_CLAIMED,
        name.to_string(),
        &[("from", &from), ("to", &to)],
    );
    judge::judge(world, id);
    ask::examine_now(world, id);
    world.mark_dirty(id);
    let wwid = world.paths.get(&id).and_then(|path| path.device.as_ref());
    if let Some(device) = wwid.and_then(|wwid| world.devices.get_mut(wwid)) {
        device.selection = None;
    }
}
