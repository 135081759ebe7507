//! An auditor of journals: judges what an agent did only by the input of that agent.
//!
//! Input: the journal of one agent from its start. Output: what the agent had no right to do. The auditor does not ask
//! the world, so a world with wrong beliefs is found out.

use dm_psa::psa::action::{Action, MapStep};
use dm_psa::psa::event::{Event, Examination};
use dm_psa::psa::evidence::{Link, link_from};
use dm_psa::psa::identity::{Listing, Problem};
use dm_psa::psa::names::Wwid;
use dm_psa::psa::table::model::{Map, MapId, Message, PathStatus, Table};
use dm_psa::psa::units::{DevT, Hctl, Millis};
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::vpd::DEVICE_IDENTIFICATION;
use dm_psa::sim::run::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What an agent had no right to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict {
    /// A path was given I/O although it had not proven its unit since it was last in doubt. (If port groups take paths
    /// out of use this is too strict: such a path is not in doubt.)
    pub identity: Vec<String>,
    /// A map was removed although it was open when last seen.
    pub harm: Vec<String>,
    /// A second action was given to a map while one was in progress.
    pub order: Vec<String>,
}

#[derive(Default)]
struct Audit {
    now: Millis,
    devs: BTreeMap<Hctl, DevT>,
    /// The outstanding examination, and when it was sent.
    sent: BTreeMap<Hctl, (u64, Millis)>,
    /// The designators with which a path proved its unit.
    proven: BTreeMap<Hctl, Listing>,
    doubted: BTreeMap<Hctl, Millis>,
    /// By UUID.
    maps: BTreeMap<String, Map>,
    under_way: BTreeMap<String, u64>,
    /// The paths that the action in progress fails, by UUID of the map: their failure says nothing about them.
    failing: BTreeMap<String, BTreeSet<DevT>>,
    verdict: Verdict,
}

/// Audits the journal of an agent.
pub(crate) fn audit(journal: &[Entry]) -> Verdict {
    let mut audit = Audit::default();
    for entry in journal {
        audit.now = entry.at;
        audit.hear(&entry.event);
        entry
            .actions
            .iter()
            .for_each(|action| audit.judge(action, &entry.event));
    }
    audit.verdict
}

fn paths(map: &Map) -> impl Iterator<Item = &PathStatus> {
    let groups = map.status.iter().flat_map(|status| &status.groups);
    groups.flat_map(|group| &group.paths)
}

impl Audit {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::PathSeen(facts) => {
                if let Some(dev) = facts.block.as_ref().map(|block| block.dev)
                    && self.devs.insert(facts.hctl, dev) != Some(dev)
                {
                    self.proven.remove(&facts.hctl);
                }
            }
            Event::PathGone(path) => self.forget(*path),
            Event::PathsListed(present) => {
                let gone = self.devs.keys().filter(|path| !present.contains(path));
                for path in gone.copied().collect::<Vec<_>>() {
                    self.forget(path);
                }
            }
            Event::Examined(examination) => self.examined(examination),
            Event::MapSeen(map) => self.observed(map),
            Event::MapGone(name) => self.maps.retain(|_, map| map.name != *name),
            Event::MapDone {
                map,
                ticket,
                observed,
                ..
            } => {
                let ended = self.under_way.iter().find(|(_, other)| *other == ticket);
                let ended = ended.map(|(uuid, _)| uuid.clone());
                self.under_way.retain(|_, under_way| under_way != ticket);
                match observed {
                    Some(map) => self.observed(map),
                    None => self.maps.retain(|_, other| other.name != *map),
                }
                if let Some(uuid) = ended {
                    self.failing.remove(&uuid);
                }
            }
            _ => {}
        }
    }

    fn forget(&mut self, path: Hctl) {
        self.devs.remove(&path);
        self.proven.remove(&path);
        self.sent.remove(&path);
    }

    fn doubt(&mut self, path: Hctl) {
        self.proven.remove(&path);
        self.doubted.insert(path, self.now);
    }

    fn examined(&mut self, examination: &Examination) {
        let path = examination.path;
        let Some((ticket, sent)) = self.sent.get(&path).copied() else {
            return;
        };
        let outdated = self.doubted.get(&path).is_some_and(|since| sent < *since);
        if ticket != examination.ticket || outdated {
            return;
        }
        for reply in &examination.replies {
            match &reply.command {
                Command::TestUnitReady => {
                    let link = link_from(&reply.outcome);
                    if matches!(
                        link,
                        Link::Down(_) | Link::NoAnswer(_) | Link::PermanentLoss(_)
                    ) {
                        self.doubt(path);
                    }
                }
                Command::Inquiry
                    if reply.outcome.carried_out()
                        && reply.data.first().is_some_and(|byte| byte >> 5 != 0) =>
                {
                    self.doubt(path);
                }
                Command::Vpd(DEVICE_IDENTIFICATION) if reply.outcome.carried_out() => {
                    match Listing::parse(&reply.data) {
                        Ok(listing) => {
                            self.proven.insert(path, listing);
                        }
                        Err(Problem::NoLogicalUnit(_)) => self.doubt(path),
                        Err(_) => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn observed(&mut self, map: &Map) {
        let before: BTreeMap<DevT, PathStatus> = self
            .maps
            .get(&map.uuid)
            .into_iter()
            .flat_map(paths)
            .map(|path| (path.dev, path.clone()))
            .collect();
        for path in paths(map) {
            let failed = before
                .get(&path.dev)
                .is_some_and(|b| b.active && !path.active);
            let ours = self.failing.get(&map.uuid);
            let failed = failed && ours.is_none_or(|ours| !ours.contains(&path.dev));
            let id = self.devs.iter().find(|(_, dev)| **dev == path.dev);
            if let Some((id, _)) = id.filter(|_| failed) {
                self.doubt(*id);
            }
        }
        self.maps.retain(|_, other| other.name != map.name);
        self.maps.insert(map.uuid.clone(), map.clone());
    }

    fn judge(&mut self, action: &Action, why: &Event) {
        match action {
            Action::Examine(asked) => {
                self.sent.insert(asked.path, (asked.ticket, self.now));
            }
            Action::Map { map, ticket, steps } => {
                let MapId { name, uuid } = map;
                if let Some(other) = self.under_way.insert(uuid.clone(), *ticket) {
                    let text = format!("{name}: {ticket} while {other} is under way, for {why:?}");
                    self.verdict.order.push(text);
                }
                self.steps(name, uuid, steps);
            }
            _ => {}
        }
    }

    fn steps(&mut self, name: &str, uuid: &str, steps: &[MapStep]) {
        let active: BTreeSet<DevT> = self
            .maps
            .get(uuid)
            .into_iter()
            .flat_map(paths)
            .filter(|path| path.active)
            .map(|path| path.dev)
            .collect();
        let failed: BTreeSet<DevT> = steps
            .iter()
            .filter_map(|step| match step {
                MapStep::Message(Message::FailPath(dev)) => Some(*dev),
                _ => None,
            })
            .collect();
        self.failing.insert(uuid.to_owned(), failed.clone());
        let used = |table: &Table| -> Vec<DevT> {
            let devs = table.paths().map(|path| path.dev);
            devs.filter(|dev| !failed.contains(dev) && !active.contains(dev))
                .collect()
        };
        for step in steps {
            let devs = match step {
                MapStep::Create { table, .. } | MapStep::Reload { table, .. } => used(table),
                MapStep::Message(Message::ReinstatePath(dev)) => vec![*dev],
                MapStep::Remove => {
                    let open = self.maps.get(uuid).is_some_and(|map| map.open_count > 0);
                    if open {
                        self.verdict
                            .harm
                            .push(format!("{name} is removed, and open"));
                    }
                    continue;
                }
                _ => continue,
            };
            for dev in devs {
                let path = self.devs.iter().find(|(_, known)| **known == dev);
                let listing = path.and_then(|(path, _)| self.proven.get(path));
                let wwid = Wwid::from(uuid.strip_prefix("mpath-").unwrap_or_default());
                if listing.is_none_or(|listing| listing.find(&wwid).is_none()) {
                    let text = format!("{:?} {name}: {dev} has listed {listing:?}", self.now);
                    self.verdict.identity.push(text);
                }
            }
        }
    }
}
