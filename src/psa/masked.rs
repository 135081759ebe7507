//! MASK_PATH: a masked path is in no table, and its SCSI device is taken away from the host as soon as nobody uses it.
//!
//! The path is remembered, so that it is listed as masked although the host has no such device any more. It comes back
//! by a rescan of its HBA, or here: by a run of the rules after it was unclaimed, if they do not mask it any more.

use super::action::{Action, Severity};
use super::claim::Claim;
use super::memory::MaskedPath;
use super::path::{Path, PathFacts, PathState};
use super::plugin::Plugin;
use super::satp::{Judgement, Link};
use super::units::{DevT, Hctl, Millis};
use super::world::World;
use crate::scsi::inquiry::StandardInquiry;

/// A device that could not be taken away, because somebody used it after all, is tried again this long after.
const RETRY: Millis = Millis(60_000);

impl World {
    /// Takes the masked paths of a device away from the host, as far as no map holds them and nobody uses their disks.
    pub(super) fn withdraw(&mut self, wwid: &str) {
        let Some(device) = self
            .devices
            .get(wwid)
            .filter(|_| self.settings.remove_masked)
        else {
            return;
        };
        let table = self.map_of(wwid).and_then(|map| map.table.as_ref().ok());
        let free = |path: &&Path| {
            let held = table.is_some_and(|t| t.paths().any(|one| Some(one.dev) == path.dev()));
            let used = path.facts.block.iter().any(|block| !block.usage.is_empty());
            let asked = path
                .withdrawn_at
                .is_some_and(|at| self.now < at.after(RETRY));
            path.is_masked() && !path.unclaimed && !held && !used && !asked
        };
        // A path whose disk is not known is not taken away: nobody could tell who uses it.
        let free: Vec<(Hctl, DevT)> = self
            .paths_of(device)
            .filter(free)
            .filter_map(|path| Some((path.facts.hctl, path.dev()?)))
            .collect();
        for (id, dev) in free {
            if let Some(path) = self.paths.get_mut(&id) {
                path.withdrawn_at = Some(self.now);
            }
            self.actions.push(Action::DeleteDevice { path: id, dev });
        }
    }

    /// A path is gone that was withdrawn: it is kept in mind.
    pub(super) fn withdrawn(&mut self, path: Path) {
        let name = path.name.to_string();
        let (Some(claim), Some(inquiry)) = (path.claim, &path.inquiry) else {
            return;
        };
        let masked = MaskedPath {
            facts: PathFacts {
                block: None,
                sg: None,
                ..path.facts
            },
            inquiry: inquiry.raw.clone(),
            device: path.device,
            rule: claim.rule,
        };
        if let Some(path) = self.masked_path(&masked) {
            self.withdrawn.insert(path.facts.hctl, Box::new(path));
        }
        self.memory.masked.insert(name, masked);
        self.remember();
    }

    /// The withdrawn paths that are remembered from before the agent started.
    pub(super) fn recall_withdrawn(&mut self) {
        let masked: Vec<MaskedPath> = self.memory.masked.values().cloned().collect();
        for masked in masked {
            if let Some(path) = self.masked_path(&masked) {
                self.withdrawn.insert(path.facts.hctl, Box::new(path));
            }
        }
    }

    fn masked_path(&mut self, masked: &MaskedPath) -> Option<Path> {
        let (name, _) = self.runtime_name(&masked.facts);
        let mut path = Path::new(masked.facts.clone(), name, self.now);
        path.inquiry = Some(StandardInquiry::parse(&masked.inquiry).ok()?);
        path.device.clone_from(&masked.device);
        path.claim = Some(Claim {
            plugin: Plugin::MaskPath,
            rule: masked.rule,
        });
        path.link = Link::Unchecked(String::new());
        path.judgement = Judgement {
            state: PathState::Masked,
            reason: "owned by MASK_PATH: its SCSI device was taken away from the host".to_owned(),
            class: None,
        };
        Some(path)
    }

    /// A path of this name is there again: it is withdrawn no more.
    pub(super) fn returned(&mut self, path: &Path) {
        self.withdrawn.retain(|other| other.name != path.name);
        if self.memory.masked.remove(&path.name.to_string()).is_some() {
            self.remember();
        }
    }

    /// Has the host look again for a withdrawn path, if rules mask it no more.
    pub(super) fn release(&mut self, id: Hctl) {
        let path = self.withdrawn.get(&id);
        let decided = path.and_then(|path| self.claim_by(&self.rules, path));
        let Some(path) = self.withdrawn.get_mut(&id) else {
            return;
        };
        path.unclaimed = false;
        let Some(claim) = decided.filter(|claim| claim.plugin != Plugin::MaskPath) else {
            return;
        };
        let (name, rule) = (path.name.to_string(), claim.rule.to_string());
        if let Some(path) = self.withdrawn.remove(&id) {
            self.returned(&path);
        }
        self.actions.push(Action::ScanFor(id));
        let effect = "its HBA is scanned for it";
        self.notify(
            Severity::Info,
            "PATH_UNMASKED",
            name,
            &[("rule", &rule), ("effect", effect)],
        );
    }
}
