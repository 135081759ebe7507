//! Decides whether a device with only one path gets a map.
//!
//! A disk with only one path may be a volume that a container runtime or an admin uses directly, and a map over it
//! would take it away from them. So it gets a map only with evidence that it is multipath: its array is known, a claim
//! rule names it, it had a map before, or the admin configured it. With a second path the question does not arise.

use crate::psa::claim::matching::Match;
use crate::psa::settings::LonePaths;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::units::Millis;

/// The decision on a device with one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::psa) enum Lone {
    /// It gets a map: the reason.
    Mapped(String),
    /// Not decided yet: a second path may follow until this time.
    Waits(Millis),
    /// It stays as it is: the reason.
    LeftAlone(String),
}

/// Decides on a device with one path; `None` if the device has several paths or none.
pub(in crate::psa) fn lone(world: &World, device: &Device) -> Option<Lone> {
    let mut ours = world.paths_of(device).filter(|path| path.is_ours());
    let path = ours.next()?;
    if ours.next().is_some() {
        return None;
    }
    if let Some(why) = lone_evidence(world, device, path) {
        return Some(Lone::Mapped(why));
    }
    // Paths that were present at start were all found before the start was over.
    let due = device.last_join().after(world.settings.settle_ms);
    if device.last_join() > world.started_at && due > world.now {
        return Some(Lone::Waits(due));
    }
    let array = path.inquiry.as_ref().map_or_else(String::new, |inquiry| {
        let (vendor, model) = (inquiry.vendor_trimmed(), inquiry.product_trimmed());
        format!(" (vendor `{vendor}`, model `{model}`)")
    });
    Some(Lone::LeftAlone(format!(
        "only one path leads to it, and no rule names its array{array}: it gets a map when a second path is found; to give it \
         one now, add a rule (`psactl storage nmp satp rule add`) or set lone_paths = \"all\" in dm-psa.toml"
    )))
}

/// Why one path is enough for a map; `None` if it is not.
fn lone_evidence(world: &World, device: &Device, path: &Path) -> Option<String> {
    let satp_rule = device.selection.as_ref().and_then(|s| s.rule.as_ref());
    if let Some(rule) = satp_rule.filter(|rule| rule.names_array()) {
        return Some(format!("its array is known: {rule}"));
    }
    let claim_rule = path.owner.claim().and_then(|claim| {
        let mut rules = world.rules.claim.rules().iter();
        rules.find(|rule| rule.number == claim.rule && rule.plugin == claim.plugin.as_str())
    });
    if let Some(rule) = claim_rule.filter(|rule| names(&rule.matches)) {
        return Some(format!("claim {rule} names it"));
    }
    if world.settings.lone_paths == LonePaths::All {
        return Some("lone_paths = \"all\" is set".to_owned());
    }
    if world.memory.devices.contains(device.wwid()) {
        return Some("it had a map before".to_owned());
    }
    world
        .map_of(device.wwid())
        .map(|_| "it has a map".to_owned())
}

/// Whether a claim rule is about certain devices, not about everything with a certain transport or driver.
fn names(matches: &Match) -> bool {
    match matches {
        Match::Vendor { vendor, model, .. } => !vendor.is_any() || !model.is_any(),
        Match::NvmeController(model) => !model.is_any(),
        Match::Location {
            adapter,
            channel,
            target,
            lun,
        } => adapter.is_some() || channel.is_some() || target.is_some() || lun.is_some(),
        Match::Device(_) | Match::Target { .. } => true,
        Match::Transport(_) | Match::Driver(_) => false,
    }
}
