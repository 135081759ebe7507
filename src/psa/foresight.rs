//! What would change if other rules were put into force and applied to everything: nothing is touched.

use super::claiming::in_words;
use super::device::{Device, Disposition};
use super::settings::Settings;
use super::table::emit::emit;
use super::units::Hctl;
use super::wanted::{keep_apart, table_of};
use super::world::{Rules, World};

impl World {
    /// What each device would gain and lose by these rules, were all of its paths claimed anew: a section for each
    /// device or path of which something changes.
    #[must_use]
    pub fn plan(&self, rules: &Rules) -> Vec<(String, Vec<String>)> {
        self.plan_with(rules, &self.settings)
    }

    /// As [`World::plan`], with other settings as well.
    #[must_use]
    pub fn plan_with(&self, rules: &Rules, settings: &Settings) -> Vec<(String, Vec<String>)> {
        let mut after = self.clone();
        after.rules = rules.clone();
        after.settings = settings.clone();
        let all: Vec<Hctl> = after.paths.keys().copied().collect();
        for id in &all {
            after.claim(*id);
        }
        for wwid in after.devices.keys().cloned().collect::<Vec<_>>() {
            if let Some(device) = after.devices.get_mut(&wwid) {
                device.selection = None;
            }
            after.select(&wwid);
            after.unite(&wwid);
        }
        for id in &all {
            after.judge(*id);
        }
        let mut sections = Vec::new();
        for (wwid, before) in &self.devices {
            let Some(then) = after.devices.get(wwid) else {
                continue;
            };
            let mut lines = self.plan_paths(before, &after);
            let words = |device: &Device| device.selection.as_ref().map(in_words);
            if let (Some(now), Some(then)) = (words(before), words(then))
                && now != then
            {
                lines.push(format!("{now} -> {then}"));
            }
            let (now, then) = (self.wanted_map(before), after.wanted_map(then));
            if now != then {
                lines.push(format!("map now:  {now}"));
                lines.push(format!("map then: {then}"));
            }
            if !lines.is_empty() {
                sections.push((before.id.clone(), lines));
            }
        }
        for path in self.withdrawn.values() {
            let claim = self.claim_by(rules, path);
            if let Some(claim) =
                claim.filter(|claim| Some(claim.plugin) != path.claim.map(|c| c.plugin))
            {
                let line = format!(
                    "{} -> {}: its HBA is scanned for it",
                    describe(self, path.claim),
                    claim.plugin
                );
                sections.push((path.name.to_string(), vec![line]));
            }
        }
        sections
    }

    fn plan_paths(&self, device: &Device, after: &World) -> Vec<String> {
        let mut lines = Vec::new();
        for path in self.paths_of(device) {
            let then = after
                .paths
                .get(&path.facts.hctl)
                .and_then(|path| path.claim);
            let plugin = |claim: Option<super::claim::Claim>| claim.map(|claim| claim.plugin);
            if plugin(path.claim) != plugin(then) {
                lines.push(format!(
                    "{}: {} -> {}",
                    path.name,
                    describe(self, path.claim),
                    describe(after, then)
                ));
            }
        }
        lines
    }

    /// The table that a device is to have by the rules that the world has, in dmsetup's words, or why it has none.
    #[must_use]
    pub fn wanted_map(&self, device: &Device) -> String {
        match self.disposition(device) {
            Disposition::Stacked => {}
            Disposition::Off => return "none: turned off".to_owned(),
            Disposition::LeftAlone(why) | Disposition::Undecided(why) => {
                return format!("none: {why}");
            }
            Disposition::Foreign(what) => return format!("left as it is: it holds {what}"),
        }
        let view = self.view(device);
        let mut arrangement = view.psp.plugin().arrange(&view.candidates, &view.options);
        keep_apart(&mut arrangement, &view.unplaced);
        if view.candidates.is_empty() {
            return "none: no path is of use".to_owned();
        }
        let table = table_of(&view, &arrangement, true);
        let length = table.length.0;
        match emit(&table) {
            Ok(text) => format!("0 {length} multipath {text}"),
            Err(problem) => format!("{problem:?}"),
        }
    }
}

fn describe(world: &World, claim: Option<super::claim::Claim>) -> String {
    claim.map_or_else(
        || "unclaimed".to_owned(),
        |claim| world.rules.claim.describe(claim),
    )
}
