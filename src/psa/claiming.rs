//! Deciding again: new rules come into force, and paths are unclaimed, claimed and reclaimed by them.
//!
//! As on ESXi new rules do not touch what is claimed; `unclaim` and `run`, or `reclaim`, apply them. Other than
//! there an unclaimed path serves on until rules are run, and a device in use keeps at least one path: nothing on
//! this page ends the I/O of a map.

use super::action::Severity;
use super::change::Refusal;
use super::claim::{CATCH_ALL, Claim, Match};
use super::device::{Device, Disposition};
use super::path::Path;
use super::plugin::Plugin;
use super::satp::rules::Selection;
use super::schedule::Key;
use super::units::Hctl;
use super::world::{Rules, World};
use serde::{Deserialize, Serialize};

/// Which paths are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Those that a claim rule with these attributes would match.
    Matching(Match),
    /// Those of a plug-in.
    Plugin(Plugin),
    /// One, by its runtime name.
    Path(String),
    /// Those of a device, by its id.
    Device(String),
}

impl World {
    /// What new rules will mean: a line for the admin.
    #[must_use]
    pub fn check_rules(&self, rules: &Rules) -> String {
        let paths = self.paths.values().filter(|path| {
            let decided = self.claim_by(rules, path).map(|claim| claim.plugin);
            path.claim
                .is_some_and(|claim| decided.is_some_and(|plugin| plugin != claim.plugin))
        });
        let devices = self.devices.values().filter(|device| {
            let decided = self.selection(rules, device, |path| self.claim_by(rules, path));
            let now = device.selection.as_ref();
            now.zip(decided)
                .is_some_and(|(now, new)| in_words(now) != in_words(&new))
        });
        let (paths, devices) = (paths.count(), devices.count());
        if paths == 0 && devices == 0 {
            return "the rules are in force; nothing that is claimed is decided otherwise by them"
                .to_owned();
        }
        format!(
            "the rules are in force; {paths} claimed paths and {devices} claimed devices would be decided otherwise: \
             `psactl storage core claiming reclaim -d DEVICE` applies them, or `claiming unclaim` and `claimrule run`"
        )
    }

    /// New rules: they decide from now on. A device without a map takes its SATP by them at its next look, and one that
    /// was left alone is looked at now: they may name its array.
    pub(super) fn rules_loaded(&mut self, rules: Rules) {
        let effect = self.check_rules(&rules);
        self.rules = rules;
        let left_alone = self
            .devices
            .values()
            .filter(|device| matches!(device.disposition, Disposition::LeftAlone(_)))
            .map(|device| device.wwid.clone());
        self.dirty.extend(left_alone);
        self.notify(
            Severity::Info,
            "RULES_LOADED",
            "agent",
            &[("effect", &effect)],
        );
    }

    /// What rules decide on a path, whoever has it now.
    pub(super) fn claim_by(&self, rules: &Rules, path: &Path) -> Option<Claim> {
        Some(rules.claim.decide(&self.subject(path)?))
    }

    /// The paths in a scope.
    fn in_scope(&self, scope: &Scope) -> Vec<Hctl> {
        let meant = |path: &Path| match scope {
            Scope::Matching(matches) => self
                .subject(path)
                .is_some_and(|subject| matches.test(&subject).is_ok()),
            Scope::Plugin(plugin) => path.claim.is_some_and(|claim| claim.plugin == *plugin),
            Scope::Path(name) => path.name.to_string() == *name,
            Scope::Device(id) => self.device_of(path).is_some_and(|device| device.id == *id),
        };
        let paths = self.paths().filter(|(_, path)| meant(path));
        paths.map(|(id, _)| *id).collect()
    }

    pub(super) fn check_unclaim(&self, scope: &Scope) -> Result<String, Refusal> {
        match self.in_scope(scope).len() {
            0 => Err(Refusal::Refused(
                "no path is meant by that; `psactl storage core path list` shows all".to_owned(),
            )),
            count => {
                let seconds = self.settings.claim_interval_ms.0 / 1000;
                Ok(format!(
                    "{count} paths are unclaimed; they serve on until `psactl storage core claimrule run`, or for {seconds} s"
                ))
            }
        }
    }

    pub(super) fn unclaim(&mut self, scope: &Scope) {
        for id in self.in_scope(scope) {
            let path = self.paths.get_mut(&id);
            if let Some(path) = path.or_else(|| self.withdrawn.get_mut(&id)) {
                path.unclaimed = true;
            }
        }
        let at = self.now.after(self.settings.claim_interval_ms);
        self.schedule.no_later_than(Key::ClaimRules, at);
    }

    pub(super) fn check_run(&self, scope: Option<&Scope>) -> String {
        let count = self.unclaimed(scope).len();
        format!("{count} unclaimed paths are decided by the rules in force")
    }

    fn unclaimed(&self, scope: Option<&Scope>) -> Vec<Hctl> {
        let meant = scope.map(|scope| self.in_scope(scope));
        self.paths()
            .filter(|(id, path)| {
                path.unclaimed && meant.as_ref().is_none_or(|meant| meant.contains(id))
            })
            .map(|(id, _)| *id)
            .collect()
    }

    /// Decides on unclaimed paths.
    pub(super) fn run_rules(&mut self, scope: Option<&Scope>) {
        for id in self.unclaimed(scope) {
            self.decide_again(id);
        }
    }

    pub(super) fn check_reclaim(&self, device: &Device) -> String {
        let decided = self.selection(&self.rules, device, |path| self.claim_by(&self.rules, path));
        match decided {
            Some(selection) => format!("{}: reclaimed with {}", device.id, in_words(&selection)),
            None => format!("{}: reclaimed", device.id),
        }
    }

    /// Decides again on all paths of a device, and on its SATP and PSP.
    pub(super) fn reclaim(&mut self, device_id: &str) {
        for id in self.in_scope(&Scope::Device(device_id.to_owned())) {
            self.decide_again(id);
        }
        let found = self
            .devices
            .values_mut()
            .find(|device| device.id == device_id);
        if let Some(device) = found {
            device.selection = None;
            self.dirty.insert(device.wwid.clone());
        }
    }

    fn decide_again(&mut self, id: Hctl) {
        let Some(path) = self.paths.get_mut(&id) else {
            return self.release(id);
        };
        path.unclaimed = false;
        let before = path.claim;
        self.claim(id);
        let Some((name, after)) = self.paths.get(&id).map(|path| (path.name, path.claim)) else {
            return;
        };
        if before.map(|claim| claim.plugin) == after.map(|claim| claim.plugin) {
            return;
        }
        let plugin = |claim: Option<Claim>| {
            claim.map_or_else(|| "none".to_owned(), |claim| claim.plugin.to_string())
        };
        let (from, to) = (plugin(before), plugin(after));
        self.notify(
            Severity::Info,
            "PATH_CLAIMED",
            name.to_string(),
            &[("from", &from), ("to", &to)],
        );
        self.judge(id);
        self.examine_now(id);
        self.mark_dirty(id);
        let wwid = self.paths.get(&id).and_then(|path| path.device.as_ref());
        if let Some(device) = wwid.and_then(|wwid| self.devices.get_mut(wwid)) {
            device.selection = None;
        }
    }

    /// Decides on a path that was found, unless that is left to a run of the rules.
    pub(super) fn claim_found(&mut self, id: Hctl) {
        let waits = self.memory.autoclaim_off && self.started;
        match self.paths.get_mut(&id) {
            Some(path) if waits && path.claim.is_none() => path.unclaimed = true,
            _ => self.claim(id),
        }
    }

    /// Decides who owns the path; needs its INQUIRY strings. The last path that is known to serve a device in use stays
    /// with its plug-in whatever the rules say; when the agent starts, none is known to serve yet, and all stay.
    pub(super) fn claim(&mut self, id: Hctl) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let Some(subject) = self.subject(path) else {
            return;
        };
        let (name, before) = (path.name, path.claim);
        let mut claim = self.rules.claim.decide(&subject);
        if claim.plugin == Plugin::MaskPath && self.is_last_of_users(id) {
            let rule = claim.rule.to_string();
            claim = before
                .filter(|claim| claim.plugin != Plugin::MaskPath)
                .unwrap_or(Claim {
                    plugin: Plugin::Nmp,
                    rule: CATCH_ALL,
                });
            let why = "it is the last path of a device in use";
            self.notify(
                Severity::Warning,
                "CLAIM_KEPT",
                name.to_string(),
                &[
                    ("plugin", claim.plugin.as_str()),
                    ("against_rule", &rule),
                    ("reason", why),
                ],
            );
        }
        if let Some(path) = self.paths.get_mut(&id) {
            path.claim = Some(claim);
        }
    }

    /// Whether the path stands in the table of a map that is open, and no other path of it serves.
    fn is_last_of_users(&self, id: Hctl) -> bool {
        let Some(path) = self.paths.get(&id) else {
            return false;
        };
        let device = self.device_of(path);
        let Some((device, map)) = device.and_then(|d| Some((d, self.map_of(&d.wwid)?))) else {
            return false;
        };
        let table = map.table.as_ref().ok();
        let held =
            table.is_some_and(|table| table.paths().any(|held| Some(held.dev) == path.dev()));
        let others = device.paths.iter().filter(|other| **other != id);
        let serves = |other: &Hctl| {
            self.paths
                .get(other)
                .is_some_and(|path| path.is_ours() && path.state().serves_io())
        };
        map.open_count > 0 && held && !others.into_iter().any(serves)
    }
}

/// A selection in words: what a change of rules would make different.
pub(super) fn in_words(selection: &Selection) -> String {
    match selection.plugin {
        Plugin::Hpp => format!(
            "HPP ({})",
            selection.settings.scheme.unwrap_or_default().name()
        ),
        _ => format!("{} and {}", selection.satp.name(), selection.psp.name()),
    }
}
