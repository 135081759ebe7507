//! The loop on one screen: an event comes in, the world changes, actions go out.
//!
//! ```text
//! PathSeen ──> discovery: name it, examine it ──> identity ──> claim ──> SATP, PSP ─┐
//! Examined ──> health: link, port groups, identity ─────────────────────────────────┼─> plan: wanted table
//! MapSeen, MapDone ──> what the kernel has ─────────────────────────────────────────┘   against the kernel's
//! ```
//!
//! Invariants: "What it never does" in the README. Tests: `tests/world.rs` (examples), `tests/properties.rs` (over `sim/`).

use super::action::{Action, Notice, Severity};
use super::apd::Outages;
use super::claim::Ruleset;
use super::device::Device;
use super::event::Event;
use super::hints::IoReports;
use super::index::Index;
use super::membership::Lookups;
use super::memory::{Memory, Unstored};
use super::path::Path;
use super::paths::Paths;
use super::satp::Link;
use super::satp::rules::SatpRules;
use super::schedule::{Key, Schedule};
use super::settings::Settings;
use super::statistics::Statistics;
use super::table::model::Map;
use super::takeover::Recalled;
use super::units::{DevT, Hctl, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that the agent knows, and the only thing that decides.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct World {
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    pub(super) memory: Memory,
    /// What is in force until the agent ends.
    pub(super) unstored: Unstored,
    /// Adapters of whose target ports nothing was remembered when the first of them was seen.
    #[serde(default)]
    pub(super) newly_numbered: BTreeSet<String>,
    /// The paths that the host has.
    pub(super) paths: Paths,
    /// Masked paths whose SCSI devices were taken away from the host.
    pub(super) withdrawn: Paths,
    /// Which path has this disk.
    pub(super) disks: BTreeMap<DevT, Hctl>,
    /// What the kernel said of members of maps that are no paths.
    #[serde(default)]
    pub(super) lookups: Lookups,
    /// Devices by WWID.
    pub(super) devices: BTreeMap<String, Device>,
    /// dm-multipath maps by dm name.
    pub(super) maps: BTreeMap<String, Map>,
    /// dm name by WWID.
    pub(super) map_names: BTreeMap<String, String>,
    /// Outages of maps: all paths down.
    #[serde(default)]
    pub(super) outages: Outages,
    /// Takeover budgets of the agent before.
    #[serde(default)]
    pub(super) takeovers: Recalled,
    pub(super) schedule: Schedule,
    /// Devices to be looked at before the step ends.
    pub(super) dirty: BTreeSet<String>,
    /// Both first listings were seen; before that no map is touched.
    pub(super) paths_listed: bool,
    pub(super) maps_listed: bool,
    /// Paths of which it is not known yet what is behind them.
    pub(super) unidentified: BTreeSet<Hctl>,
    /// Paths that failed lately and are checked the more often for it.
    #[serde(default)]
    pub(super) retried: BTreeSet<Hctl>,
    /// The paths found at start are identified: from now on a new path is one that was added.
    pub(super) started: bool,
    pub(super) started_at: Millis,
    pub(super) next_ticket: u64,
    pub(super) now: Millis,
    pub(super) actions: Vec<Action>,
    #[serde(default)]
    pub(super) io_reports: IoReports,
    /// Counters for people.
    pub(super) counters: Counters,
    pub(super) statistics: Statistics,
    #[serde(skip)]
    pub(super) index: Index,
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rules {
    /// Which plug-in owns a path.
    pub claim: Ruleset,
    /// Which SATP takes a device of NMP.
    pub satp: SatpRules,
}

impl Default for Rules {
    /// What works without any file: NMP takes all but access LUNs, and ALUA what reports target port groups.
    fn default() -> Rules {
        Rules {
            claim: Ruleset::basic(),
            satp: SatpRules::basic(),
        }
    }
}

/// What the agent did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Examinations that ended.
    pub examinations: u64,
    /// Tables loaded, first ones included.
    pub tables_loaded: u64,
    /// Those of them that were the first of their map.
    pub maps_created: u64,
    /// Messages sent to maps.
    pub messages: u64,
    /// Maps resumed that somebody had left suspended.
    pub resumes: u64,
    /// Removals of maps.
    pub removals: u64,
    /// Actions on maps that failed.
    pub map_failures: u64,
}

impl World {
    /// A world that has seen nothing yet, with the least rules that work.
    #[must_use]
    pub fn new(settings: Settings, memory: Memory) -> World {
        World::with_rules(settings, memory, Rules::default())
    }

    /// A world that has seen nothing yet.
    #[must_use]
    pub fn with_rules(settings: Settings, memory: Memory, rules: Rules) -> World {
        let mut world = World {
            settings,
            rules,
            memory,
            unstored: Unstored::default(),
            newly_numbered: BTreeSet::new(),
            paths: Paths::default(),
            withdrawn: Paths::default(),
            disks: BTreeMap::new(),
            lookups: Lookups::default(),
            devices: BTreeMap::new(),
            maps: BTreeMap::new(),
            map_names: BTreeMap::new(),
            outages: Outages::default(),
            takeovers: Recalled::default(),
            schedule: Schedule::default(),
            dirty: BTreeSet::new(),
            paths_listed: false,
            maps_listed: false,
            unidentified: BTreeSet::new(),
            retried: BTreeSet::new(),
            started: false,
            started_at: Millis(0),
            next_ticket: 1,
            now: Millis(0),
            actions: Vec::new(),
            io_reports: IoReports::default(),
            counters: Counters::default(),
            statistics: Statistics::default(),
            index: Index::default(),
        };
        world.recall_withdrawn();
        world
    }

    /// Takes in an event and returns what is to be done about it, in order. `now` never goes back.
    pub fn step(&mut self, now: Millis, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        self.statistics.event(&event);
        match event {
            Event::PathSeen(facts) => self.path_seen(*facts),
            Event::PathGone(path) => self.path_gone(path),
            Event::PathsListed(present) => self.paths_listed(&present),
            Event::UnitAttention { path, kind } => self.unit_attention(path, kind),
            Event::FabricNotification { host, ports, what } => {
                self.fabric_notified(host, &ports, &what);
            }
            Event::IoTrouble { what, count } => self.io_trouble(&what, count),
            Event::IoTroubleLost(count) => self.io_trouble_lost(count),
            Event::Examined(examination) => self.examined(&examination),
            Event::MapSeen(map) => self.map_seen(*map),
            Event::MapGone(name) => self.map_gone(&name),
            Event::MapsListed(present) => self.maps_listed(&present),
            Event::MapDone {
                map,
                ticket,
                result,
                observed,
            } => {
                self.map_done(&map, ticket, result, observed.map(|map| *map));
            }
            Event::OutagesRecalled(outages) => self.outages_recalled(&outages),
            Event::TakeoversRecalled(budgets) => self.takeovers_recalled(budgets),
            Event::DisksFound(disks) => self.disks_found(disks),
            Event::RulesLoaded(rules) => self.rules_loaded(*rules),
            Event::Change(change) => self.change(*change),
            Event::Timer => {}
        }
        while let Some(key) = self.schedule.pop_due(self.now) {
            match key {
                Key::Path(path) => self.path_due(path),
                Key::Device(wwid) => {
                    self.dirty.insert(wwid);
                }
                Key::ClaimRules if self.memory.autoclaim_off => {}
                Key::ClaimRules => self.run_rules(None),
                Key::Memory => self.remember(),
            }
        }
        self.note_started();
        while let Some(wwid) = self.dirty.pop_first() {
            self.look_at(&wwid);
        }
        self.store_takeovers();
        std::mem::take(&mut self.actions)
    }

    /// When to send [`Event::Timer`] if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.schedule.next()
    }

    /// Whether everything that is known was acted upon: no path waits to be identified, no map to be made or
    /// changed. Checks go on all the time and do not count.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        // One that does not work is asked again and again; nobody can wait for that.
        let waits = |path: &Path| {
            let asked = path.exam.is_some() && self.unidentified.contains(&path.facts.hctl);
            asked && matches!(path.link, Link::Unchecked(_) | Link::Up)
        };
        let busy = |device: &Device| {
            device.in_flight.is_some() || device.pending.is_some() || self.awaits_creation(device)
        };
        let identifying = self.paths.values().any(waits);
        let missed = self.lookups.waits(self.now);
        self.started && !identifying && !missed && !self.devices.values().any(busy)
    }

    /// Whether nothing at all is under way, checks included.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.is_settled() && self.paths.values().all(|path| path.exam.is_none())
    }

    /// What the agent did since it started.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The map of a device.
    #[must_use]
    pub fn map_of(&self, wwid: &str) -> Option<&Map> {
        self.maps.get(self.map_names.get(wwid)?)
    }

    /// Has stored what is to be there after a restart.
    pub(super) fn remember(&mut self) {
        let memory = Box::new(self.memory.clone());
        self.actions.push(Action::Remember(memory));
    }

    pub(super) fn ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket = ticket.saturating_add(1);
        ticket
    }

    /// The first moment at which both listings were seen and every path found is identified, or has had its
    /// time: from here on maps are touched.
    fn note_started(&mut self) {
        if self.started || !self.paths_listed || !self.maps_listed {
            return;
        }
        let patience = self.settings.check_deadline_ms;
        let waiting = self.unidentified.iter().any(|path| {
            self.paths
                .get(path)
                .is_some_and(|p| p.exam.is_some() && self.now.since(p.since) < patience)
        });
        if !waiting {
            self.started = true;
            self.started_at = self.now;
            self.forget_outages();
            self.dirty.extend(self.devices.keys().cloned());
        }
    }

    pub(super) fn notify(
        &mut self,
        severity: Severity,
        code: &str,
        subject: impl Into<String>,
        details: &[(&str, &str)],
    ) {
        self.statistics.notice(code);
        self.actions.push(Action::Notify(Notice {
            severity,
            code: code.to_owned(),
            subject: subject.into(),
            details: details
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        }));
    }
}
