//! The main loop: an event comes in, the world changes, actions go out.
//!
//! ```text
//! PathSeen ──> check/discovery: name it, examine it ──> claiming ──> SATP, PSP ─────┐
//! Examined ──> check/answers: link, port groups, identity ──────────────────────────┼─> reconcile: wanted table
//! MapSeen, MapDone ──> reconcile/observed: what the kernel has ─────────────────────┘   against the kernel's
//! ```
//!
//! Invariants: "What it never does" in the README. Tests: `tests/world.rs` (examples), `tests/properties.rs` (over
//! `sim/`), `tests/golden/world` (stories).

use crate::psa::action::Action;
use crate::psa::changes::claiming;
use crate::psa::check::{answers, ask, attention, discovery, hints, marginal};
use crate::psa::claiming::mask_path;
use crate::psa::event::Event;
use crate::psa::evidence::Link;
use crate::psa::lookup::OrderedLookup;
use crate::psa::memory::{Memory, Unstored};
use crate::psa::names::Wwid;
use crate::psa::reconcile::{apd, correct, initramfs, membership, observed, takeover};
use crate::psa::rules::Rules;
use crate::psa::settings::Settings;
use crate::psa::state::Counters;
pub use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::hints::IoReports;
use crate::psa::state::index::Index;
use crate::psa::state::initramfs::{Initramfs, Scope};
use crate::psa::state::lookups::Lookups;
use crate::psa::state::outages::Outages;
use crate::psa::state::path::Path;
use crate::psa::state::schedule::{Key, Schedule};
use crate::psa::state::statistics::Statistics;
use crate::psa::state::takeovers::Recalled;
use crate::psa::units::Millis;
use crate::psa::{changes, reconcile};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// A world that has seen no events yet, with the minimal rules.
    #[must_use]
    pub fn new(settings: Settings, memory: Memory) -> World {
        World::with_rules(settings, memory, Rules::default())
    }

    /// A world that has seen no events yet.
    #[must_use]
    pub(crate) fn with_rules(settings: Settings, memory: Memory, rules: Rules) -> World {
        let mut world = World {
            settings,
            rules,
            memory,
            initramfs: Initramfs::default(),
            unstored: Unstored::default(),
            newly_numbered: BTreeSet::new(),
            paths: OrderedLookup::default(),
            withdrawn: OrderedLookup::default(),
            disks: BTreeMap::new(),
            lookups: Lookups::default(),
            devices: OrderedLookup::default(),
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
        mask_path::recall_withdrawn(&mut world);
        world
    }

    /// Processes an event and returns the actions it calls for, in order. `now` never goes back.
    pub fn step(&mut self, now: Millis, event: Event) -> Vec<Action> {
        self.now = self.now.max(now);
        self.statistics.event(&event);
        match event {
            Event::PathSeen(facts) => discovery::path_seen(self, *facts),
            Event::PathGone(path) => discovery::path_gone(self, path),
            Event::PathsListed(present) => discovery::paths_listed(self, &present),
            Event::UnitAttention { path, kind } => attention::unit_attention(self, path, kind),
            Event::FabricNotification { host, ports, what } => {
                marginal::fabric_notified(self, host, &ports, &what);
            }
            Event::IoTrouble { what, count } => hints::io_trouble(self, &what, count),
            Event::IoTroubleLost(count) => hints::io_trouble_lost(self, count),
            Event::Examined(examination) => answers::examined(self, &examination),
            Event::MapSeen(map) => observed::map_seen(self, *map),
            Event::MapGone(name) => observed::map_gone(self, &name),
            Event::MapsListed(present) => observed::maps_listed(self, &present),
            Event::MapDone {
                map,
                ticket,
                result,
                observed,
            } => {
                observed::map_done(self, &map, ticket, result, observed.map(|map| *map));
            }
            Event::OutagesRecalled(outages) => apd::outages_recalled(self, &outages),
            Event::TakeoversRecalled(budgets) => takeover::takeovers_recalled(self, budgets),
            Event::DisksFound(disks) => membership::disks_found(self, disks),
            Event::RulesLoaded(rules) => claiming::rules_loaded(self, *rules),
            Event::Change(change) => changes::change(self, *change),
            Event::Timer => {}
        }
        while let Some(key) = self.schedule.pop_due(self.now) {
            match key {
                Key::Path(path) => ask::path_due(self, path),
                Key::Device(wwid) => {
                    self.dirty.insert(wwid);
                }
                Key::ClaimRules if self.memory.autoclaim_off => {}
                Key::ClaimRules => claiming::run_rules(self, None),
                Key::Memory => self.remember(),
                Key::Initramfs => initramfs::look_again(self),
            }
        }
        self.note_started();
        while let Some(wwid) = self.dirty.pop_first() {
            reconcile::look_at(self, &wwid);
        }
        takeover::store_takeovers(self);
        std::mem::take(&mut self.actions)
    }

    /// In an initramfs: decides only on devices of this scope, because another one may hold a copy of the system. The system
    /// runs from `expected`. If none of them is found until the time `until`, the agent decides on all devices.
    /// To be called before the first event.
    pub(crate) fn decide_on(
        &mut self,
        scope: Scope,
        expected: BTreeSet<Wwid>,
        until: Option<Millis>,
    ) {
        initramfs::begin(self, scope, expected, until);
    }

    /// Whether everything that is known has been acted upon: no path waits to be identified, and no map to be created
    /// or changed. Periodic checks do not count.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        // A path that does not work is asked again and again, so waiting for it would never end.
        let waits = |path: &Path| {
            let asked =
                path.exams.current().is_some() && self.unidentified.contains(&path.facts().hctl);
            asked && matches!(path.health.link(), Link::Unchecked(_) | Link::Up)
        };
        let busy = |device: &Device| {
            device.work.in_flight().is_some()
                || device.work.pending().is_some()
                || correct::awaits_creation(self, device)
        };
        let identifying = self.paths.values().any(waits);
        let missed = self.lookups.waits(self.now);
        self.started && !identifying && !missed && !self.devices.values().any(busy)
    }

    /// Whether device-mapper is working on a map. The map may be suspended.
    #[must_use]
    pub fn is_changing_maps(&self) -> bool {
        let works = |device: &Device| device.work.in_flight().is_some();
        self.devices.values().any(works)
    }

    /// Notes the first moment at which both listings were seen, and every path that was found is identified or has had
    /// its time. Maps are touched from here on.
    fn note_started(&mut self) {
        if self.started || !self.paths_listed || !self.maps_listed {
            return;
        }
        let patience = self.settings.check_deadline_ms;
        let waiting = self.unidentified.iter().any(|path| {
            self.paths.get(path).is_some_and(|p| {
                p.exams.current().is_some() && self.now.since(p.health.since()) < patience
            })
        });
        if !waiting {
            self.started = true;
            self.started_at = self.now;
            apd::forget_outages(self);
            self.dirty.extend(self.devices.keys().cloned());
        }
    }
}
