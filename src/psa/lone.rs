//! One path only: whether that is enough for a map.
//!
//! A disk that one path leads to may be a volume that a container runtime or an admin uses as it is: a map over it would
//! take it away from them. So it gets a map only on evidence that it is multipath: its array is known, a claim rule
//! names it, it was multipath before, or the admin wants it so. With a second path the question does not arise.

use super::claim::matching::Match;
use super::device::Device;
use super::path::Path;
use super::settings::LonePaths;
use super::units::Millis;
use super::world::World;

/// What becomes of a device to which one path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lone {
    /// It gets a map: why.
    Mapped(String),
    /// It is not decided yet: a second path may follow until then.
    Waits(Millis),
    /// It stays as it is: why.
    LeftAlone(String),
}

impl World {
    /// Judges a device to which one path leads, this one; `None` where more lead to it.
    pub(super) fn lone(&self, device: &Device) -> Option<Lone> {
        let mut ours = self.paths_of(device).filter(|path| path.is_ours());
        let path = ours.next()?;
        if ours.next().is_some() {
            return None;
        }
        if let Some(why) = self.lone_evidence(device, path) {
            return Some(Lone::Mapped(why));
        }
        // Paths that were there at start were all found before it was over.
        let due = device.last_join.after(self.settings.settle_ms);
        if device.last_join > self.started_at && due > self.now {
            return Some(Lone::Waits(due));
        }
        let array = path.inquiry.as_ref().map_or_else(String::new, |inquiry| {
            let (vendor, model) = (inquiry.vendor_trimmed(), inquiry.product_trimmed());
            format!(" (vendor `{vendor}`, model `{model}`)")
        });
        Some(Lone::LeftAlone(format!(
            "one path leads to it, and no rule names its array{array}: it gets a map when a second path is found, by a \
             rule (`psactl storage nmp satp rule add`), or with lone_paths = \"all\" in dm-psa.toml"
        )))
    }

    /// Why one path is enough.
    fn lone_evidence(&self, device: &Device, path: &Path) -> Option<String> {
        let satp_rule = device.selection.as_ref().and_then(|s| s.rule.as_ref());
        if let Some(rule) = satp_rule.filter(|rule| rule.names_array()) {
            return Some(format!("its array is known: {rule}"));
        }
        let claim_rule = path.claim.and_then(|claim| {
            let mut rules = self.rules.claim.rules().iter();
            rules.find(|rule| rule.number == claim.rule && rule.plugin == claim.plugin.as_str())
        });
        if let Some(rule) = claim_rule.filter(|rule| names(&rule.matches)) {
            return Some(format!("claim {rule} names it"));
        }
        if self.settings.lone_paths == LonePaths::All {
            return Some("lone_paths = \"all\" is set".to_owned());
        }
        if self.memory.devices.contains(&device.wwid) {
            return Some("it was multipath before".to_owned());
        }
        self.map_of(&device.wwid).map(|_| "it has a map".to_owned())
    }
}

/// Whether a claim rule is about certain devices, and not about whatever comes by a transport or a driver.
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
