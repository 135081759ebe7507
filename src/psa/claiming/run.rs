//! Applies the claim rules to one path: which plug-in owns it.

use crate::psa::change::Scope;
use crate::psa::claim::{CATCH_ALL, Claim};
use crate::psa::codes;
use crate::psa::mpp::Plugin;
use crate::psa::names::Wwid;
use crate::psa::rules::Rules;
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::units::Hctl;

/// The decision of these rules on a path, regardless of who owns it now.
pub(in crate::psa) fn claim_by(world: &World, rules: &Rules, path: &Path) -> Option<Claim> {
    Some(rules.claim.decide(&world.subject(path)?))
}

/// The paths in a scope.
pub(in crate::psa) fn in_scope(world: &World, scope: &Scope) -> Vec<Hctl> {
    let meant = |path: &Path| match scope {
        Scope::Matching(matches) => world
            .subject(path)
            .is_some_and(|subject| matches.test(&subject).is_ok()),
        Scope::Plugin(plugin) => path
            .owner
            .claim()
            .is_some_and(|claim| claim.plugin == *plugin),
        Scope::Path(name) => path.name().to_string() == *name,
        Scope::Device(id) => world
            .device_of(path)
            .is_some_and(|device| device.id() == id),
    };
    let paths = world.paths().filter(|(_, path)| meant(path));
    paths.map(|(id, _)| *id).collect()
}

/// Claims a path that was discovered, unless that is left to a run of the rules.
pub(in crate::psa) fn claim_found(world: &mut World, id: Hctl) {
    // A member of a map is not new, even if it answers for the first time: it was down when the agent started.
    let is_held = world.paths.get(&id).is_some_and(|path| world.is_held(path));
    let waits = world.memory.autoclaim_off && world.started && !is_held;
    match world.paths.get_mut(&id) {
        Some(path) if waits && path.owner.claim().is_none() => path.owner.unclaim(),
        _ => claim(world, id),
    }
}

/// Decides which plug-in owns the path; needs its INQUIRY strings. The last path that is known to serve a device in use
/// stays with its plug-in, whatever the rules say. When the agent starts, no path is known to serve yet, so all of them
/// stay.
pub(in crate::psa) fn claim(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let Some(subject) = world.subject(path) else {
        return;
    };
    let (name, before) = (path.name(), path.owner.claim());
    let mut claim = world.rules.claim.decide(&subject);
    if claim.plugin == Plugin::MaskPath && is_last_of_users(world, id) {
        let kept = before.filter(|claim| claim.plugin != Plugin::MaskPath);
        let against = claim.rule;
        claim = kept.unwrap_or(UNMASKED);
        kept_against(
            world,
            name.to_string(),
            claim,
            against,
            "it is the last path of a device in use",
        );
    }
    if let Some(path) = world.paths.get_mut(&id) {
        path.owner.claimed(claim);
    }
}

/// The owner of a path that is not masked although a rule says so.
const UNMASKED: Claim = Claim {
    plugin: Plugin::Nmp,
    rule: CATCH_ALL,
};

fn kept_against(world: &mut World, name: String, claim: Claim, rule: u32, why: &str) {
    let rule = rule.to_string();
    let details = [
        ("plugin", claim.plugin.as_str()),
        ("against_rule", &*rule),
        ("reason", why),
    ];
    world.notify(codes::CLAIM_KEPT, name, &details);
}

/// A path turned out to be in the table of a map after the rules had decided on it. As at the start of the agent, it is not
/// masked while the map is open.
pub(in crate::psa) fn leave_unmasked(world: &mut World, id: Hctl, wwid: &Wwid) {
    let is_open = world.map_of(wwid).is_some_and(|map| map.open_count > 0);
    let Some(path) = world.paths.get_mut(&id).filter(|_| is_open) else {
        return;
    };
    let masked = path
        .owner
        .claim()
        .filter(|claim| claim.plugin == Plugin::MaskPath);
    if let Some(claim) = masked {
        path.owner.claimed(UNMASKED);
        let name = path.name().to_string();
        kept_against(
            world,
            name,
            UNMASKED,
            claim.rule,
            "its disk is in a map that is in use",
        );
    }
}

/// Whether the path is in the table of a map that is open, and no other path of the map serves.
fn is_last_of_users(world: &World, id: Hctl) -> bool {
    let Some(path) = world.paths.get(&id) else {
        return false;
    };
    let device = world.device_of(path);
    let Some((device, map)) = device.and_then(|d| Some((d, world.map_of(d.wwid())?))) else {
        return false;
    };
    let table = map.table.as_ref().ok();
    let held = table.is_some_and(|table| table.paths().any(|held| Some(held.dev) == path.dev()));
    let others = device.paths().iter().filter(|other| **other != id);
    let serves = |other: &Hctl| {
        world
            .paths
            .get(other)
            .is_some_and(|path| path.is_ours() && path.state().serves_io())
    };
    map.open_count > 0 && held && !others.into_iter().any(serves)
}
