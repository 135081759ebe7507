//! Shows what would change if other rules were put into force and applied to everything. Nothing is touched.

use crate::psa::check::judge;
use crate::psa::claim::Claim;
use crate::psa::claiming::run;
use crate::psa::claiming::selection::in_words;
use crate::psa::mpp::Plugin;
use crate::psa::names::Wwid;
use crate::psa::reconcile::wanted::table_of;
use crate::psa::reconcile::{disposition, select, view, wanted};
use crate::psa::rules::Rules;
use crate::psa::settings::Settings;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::path::Path;
use crate::psa::table::emit::emit;
use crate::psa::units::Hctl;

/// The properties of a device that are compared.
struct Before {
    id: String,
    /// Name, plug-in and decision of each path.
    paths: Vec<(Hctl, String, Option<Plugin>, String)>,
    selection: Option<String>,
    map: String,
}

fn describe(world: &World, claim: Option<Claim>) -> String {
    claim.map_or_else(
        || "unclaimed".to_owned(),
        |claim| world.rules.claim.describe(claim),
    )
}

impl World {
    /// What each device would gain and lose if these rules claimed all of its paths again. One section for each device
    /// or path with a change.
    #[must_use]
    pub fn plan(&self, rules: &Rules) -> Vec<(String, Vec<String>)> {
        self.clone().into_plan(rules)
    }

    /// As [`World::plan`], with other settings as well.
    #[must_use]
    pub(crate) fn plan_with(
        &self,
        rules: &Rules,
        settings: &Settings,
    ) -> Vec<(String, Vec<String>)> {
        self.clone().into_plan_with(rules, settings)
    }

    /// As [`World::plan`], but consumes the world, which has to be a snapshot.
    #[must_use]
    pub fn into_plan(self, rules: &Rules) -> Vec<(String, Vec<String>)> {
        let settings = self.settings.clone();
        self.into_plan_with(rules, &settings)
    }

    fn into_plan_with(mut self, rules: &Rules, settings: &Settings) -> Vec<(String, Vec<String>)> {
        let before: Vec<(Wwid, Before)> = self
            .devices
            .values()
            .map(|device| (device.wwid().to_owned(), self.before(device)))
            .collect();
        let unmasked = self.plan_withdrawn(rules);
        self.rules = rules.clone();
        self.settings = settings.clone();
        let all: Vec<Hctl> = self.paths.keys().copied().collect();
        for id in &all {
            run::claim(&mut self, *id);
        }
        for wwid in self.devices.keys().cloned().collect::<Vec<_>>() {
            if let Some(device) = self.devices.get_mut(&wwid) {
                device.selection = None;
            }
            select::select(&mut self, &wwid);
            select::unite(&mut self, &wwid);
        }
        for id in &all {
            judge::judge(&mut self, *id);
        }
        let changed = before.into_iter().filter_map(|(wwid, before)| {
            let lines = self.changes(&before, self.devices.get(&wwid)?);
            (!lines.is_empty()).then_some((before.id, lines))
        });
        changed.chain(unmasked).collect()
    }

    fn before(&self, device: &Device) -> Before {
        let path = |path: &Path| {
            let plugin = path.owner.claim().map(|claim| claim.plugin);
            let decision = describe(self, path.owner.claim());
            (path.facts().hctl, path.name().to_string(), plugin, decision)
        };
        Before {
            id: device.id().to_string(),
            paths: self.paths_of(device).map(path).collect(),
            selection: device.selection.as_ref().map(in_words),
            map: self.wanted_map(device),
        }
    }

    fn changes(&self, before: &Before, then: &Device) -> Vec<String> {
        let mut lines = Vec::new();
        for (id, name, plugin, decision) in &before.paths {
            let then = self.paths.get(id).and_then(|path| path.owner.claim());
            if *plugin != then.map(|claim| claim.plugin) {
                lines.push(format!("{name}: {decision} -> {}", describe(self, then)));
            }
        }
        if let (Some(now), Some(then)) = (&before.selection, then.selection.as_ref().map(in_words))
            && *now != then
        {
            lines.push(format!("{now} -> {then}"));
        }
        let map = self.wanted_map(then);
        if before.map != map {
            lines.push(format!("map now:  {}", before.map));
            lines.push(format!("map then: {map}"));
        }
        lines
    }

    /// The masked paths that were removed from the host and for which the host would scan again.
    fn plan_withdrawn(&self, rules: &Rules) -> Vec<(String, Vec<String>)> {
        let mut sections = Vec::new();
        for path in self.withdrawn.values() {
            let claim = run::claim_by(self, rules, path);
            if let Some(claim) =
                claim.filter(|claim| Some(claim.plugin) != path.owner.claim().map(|c| c.plugin))
            {
                let line = format!(
                    "{} -> {}: its HBA is scanned for it",
                    describe(self, path.owner.claim()),
                    claim.plugin
                );
                sections.push((path.name().to_string(), vec![line]));
            }
        }
        sections
    }

    /// The wanted table of a device by the rules of this world, in dmsetup's syntax, or why it has none.
    #[must_use]
    pub fn wanted_map(&self, device: &Device) -> String {
        match disposition::disposition(self, device) {
            Disposition::Stacked => {}
            Disposition::Off => return "none: turned off".to_owned(),
            Disposition::LeftAlone(why) | Disposition::Undecided(why) => {
                return format!("none: {why}");
            }
            Disposition::Foreign(what) => return format!("left as it is: it contains {what}"),
        }
        let view = view::view(self, device);
        let arrangement = wanted::arrangement(device, &view);
        if view.candidates.is_empty() {
            return "none: no path is usable".to_owned();
        }
        let table = table_of(&view, &arrangement, true);
        let length = table.length.0;
        match emit(&table) {
            Ok(text) => format!("0 {length} multipath {text}"),
            Err(problem) => format!("{problem:?}"),
        }
    }
}
