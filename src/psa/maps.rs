//! What the kernel has: maps as they are observed, and the actions on them as they end.

use super::action::{Action, MapStep, Severity};
use super::device::{Device, FailedStep, Failure, Order};
use super::discovery::device_id_of;
use super::event::MapError;
use super::path::PathState;
use super::satp::Link;
use super::schedule::Key;
use super::table::model::{Map, PathStatus, Table};
use super::units::{DevT, Hctl, Millis};
use super::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// Every dm UUID of a multipath map begins so; the rest is the WWID.
pub const UUID_PREFIX: &str = "mpath-";

/// First and longest pause after a failed action on a map.
const RETRY_FIRST: Millis = Millis(1000);
const RETRY_LONGEST: Millis = Millis(60_000);

/// A path that the kernel fails again within this time after checks found it well has relapsed: a command that gives no
/// answer fails 30 s after it was sent, and error recovery takes its time.
pub(super) const RELAPSE_WINDOW: Millis = Millis(60_000);
/// The longest that a relapsing path is kept waiting.
const HOLD_LONGEST: Millis = Millis(60_000);

impl World {
    /// A map was found or changed.
    pub(super) fn map_seen(&mut self, map: Map) {
        if let Some(wwid) = map.uuid.strip_prefix(UUID_PREFIX).map(str::to_owned) {
            let device = self.devices.get(&wwid);
            // While an action is under way its failures may be seen already.
            let failed = device.map_or_else(BTreeSet::new, |device| device.order.failed.clone());
            let order = Order {
                failed,
                ..Order::default()
            };
            self.observed(&wwid, map, &order);
        }
    }

    /// A map is gone by somebody's doing.
    pub(super) fn map_gone(&mut self, name: &str) {
        let Some(map) = self.maps.get(name) else {
            return;
        };
        let wwid = map
            .uuid
            .strip_prefix(UUID_PREFIX)
            .unwrap_or_default()
            .to_owned();
        if self
            .devices
            .get(&wwid)
            .is_some_and(|device| device.in_flight.is_some())
        {
            return; // MapDone says what there is.
        }
        self.forget_map(&wwid, name);
        self.notify(
            Severity::Warning,
            "MAP_GONE",
            name,
            &[("uuid", &format!("{UUID_PREFIX}{wwid}"))],
        );
    }

    /// The first listing of maps ended.
    pub(super) fn maps_listed(&mut self, present: &BTreeSet<String>) {
        let gone: Vec<String> = self
            .maps
            .keys()
            .filter(|name| !present.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            self.map_gone(&name);
        }
        self.maps_listed = true;
    }

    /// The steps on a map ended.
    pub(super) fn map_done(
        &mut self,
        name: &str,
        ticket: u64,
        result: Result<(), MapError>,
        observed: Option<Map>,
    ) {
        let Some(wwid) = self.index.tickets.remove(&ticket) else {
            return;
        };
        let now = self.now;
        let mut problem = None;
        let mut order = Order::default();
        if let Some(device) = self.devices.get_mut(&wwid) {
            device.in_flight = None;
            device.last_done = now;
            order = std::mem::take(&mut device.order);
            match &result {
                Ok(()) => device.failure = None,
                Err(error) => {
                    let count = device
                        .failure
                        .as_ref()
                        .map_or(0, |f| f.count)
                        .saturating_add(1);
                    let doubled = RETRY_FIRST
                        .0
                        .saturating_mul(1 << count.saturating_sub(1).min(10));
                    let retry_at = now.after(Millis(doubled.min(RETRY_LONGEST.0)));
                    let step = match error.step.split(' ').next() {
                        Some("message") => FailedStep::Message,
                        // The resume after a table load is part of that.
                        Some("resume") if order.resumes => FailedStep::Resume,
                        _ => FailedStep::Other,
                    };
                    device.failure = Some(Failure {
                        text: error.to_string(),
                        count,
                        retry_at,
                        at: now,
                        step,
                    });
                    self.counters.map_failures = self.counters.map_failures.saturating_add(1);
                    problem = Some((error.to_string(), retry_at.since(now)));
                }
            }
        }
        if problem.is_some() {
            // Perhaps somebody else uses one of the disks: that shows in the facts.
            let members = self
                .devices
                .get(&wwid)
                .map(|device| device.paths.clone())
                .unwrap_or_default();
            self.actions
                .extend(members.into_iter().map(Action::RefreshFacts));
        }
        if let Some((text, pause)) = problem {
            let retry = format!("{} ms", pause.0);
            self.notify(
                Severity::Error,
                "MAP_ACTION_FAILED",
                name,
                &[("reason", &text), ("retry_in", &retry)],
            );
        }
        match observed {
            Some(map) => {
                if result.is_err() {
                    // How far it came is not known.
                    order.activated.clear();
                }
                self.observed(&wwid, map, &order);
            }
            None => self.forget_map(&wwid, name),
        }
    }

    fn forget_map(&mut self, wwid: &str, name: &str) {
        self.drop_map(name);
        self.forget_lookups();
        if self.map_names.get(wwid).is_some_and(|n| n == name) {
            self.map_names.remove(wwid);
        }
        // What was about to be changed is gone.
        if let Some(device) = self.devices.get_mut(wwid) {
            device.pending = None;
        }
        self.dirty.insert(wwid.to_owned());
    }

    /// What a map is like now. `order` is what we did to its paths since the last observation.
    fn observed(&mut self, wwid: &str, map: Map, order: &Order) {
        let first = !self.maps.contains_key(&map.name);
        let before = paths_of(self.map_of(wwid));
        let (name, now) = (map.name.clone(), self.now);
        // Its name was another's, which was renamed or removed; that is told of later.
        if let Some(other) = self
            .maps
            .get(&name)
            .and_then(|other| other.uuid.strip_prefix(UUID_PREFIX))
            && other != wwid
        {
            let other = other.to_owned();
            self.forget_map(&other, &name);
        }
        // Renamed by somebody: the UUID is what counts.
        if let Some(old) = self.map_names.insert(wwid.to_owned(), name.clone())
            && old != name
        {
            self.drop_map(&old);
        }
        let after = paths_of(Some(&map));
        self.devices
            .entry(wwid.to_owned())
            .or_insert_with(|| Device::new(wwid, &device_id_of(wwid), now))
            .statistics
            .carried_by(&map);
        self.keep_map(map);
        self.forget_lookups();
        let (mut failed, mut back) = (Vec::new(), Vec::new());
        for (dev, status) in &after {
            let Some(id) = self.disks.get(dev).copied() else {
                continue;
            };
            if first {
                self.assume(id, wwid);
            }
            // The kernel's counts of failures start again at 0 with each table, so they tell nothing.
            let before = before.get(dev).map(|before| before.active);
            let was_active = before == Some(true) && !order.failed.contains(dev);
            if !status.active && (was_active || order.activated.contains(dev)) {
                failed.push(id);
            } else if status.active && before == Some(false) {
                back.push(id);
            }
        }
        for id in back {
            if let Some(path) = self.paths.get_mut(&id) {
                path.statistics.reinstated();
            }
        }
        for id in failed {
            self.failed_by_kernel(id);
        }
        self.dirty.insert(wwid.to_owned());
    }

    /// I/O failed on a path: whatever was known of it is out of date.
    fn failed_by_kernel(&mut self, id: Hctl) {
        let now = self.now;
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let ours = matches!(
            path.judgement.state,
            PathState::Dead | PathState::Off | PathState::Masked
        );
        path.statistics.failed(!ours);
        if ours {
            return; // We failed it ourselves, or would have.
        }
        path.suspect_since = Some(now);
        path.failed_at = now;
        path.link = Link::Unchecked("the kernel failed it; it is being checked".to_owned());
        path.proof.doubt("the kernel failed the path");
        // Checks that say "well" while I/O fails must not make the path flap: each relapse waits twice as long.
        if path.last_relapse.0 != 0
            && now.since(path.last_relapse.max(path.hold_until)) < RELAPSE_WINDOW
        {
            path.relapses = path.relapses.saturating_add(1);
            let pause = Millis(500).0.saturating_mul(1 << path.relapses.min(8));
            path.hold_until = now.after(Millis(pause.min(HOLD_LONGEST.0)));
        } else {
            path.relapses = 0;
        }
        let name = path.name.to_string();
        let device = path.device.clone().unwrap_or_default();
        let device = self
            .devices
            .get(&device)
            .map(|device| device.id.clone())
            .unwrap_or_default();
        self.notify(
            Severity::Warning,
            "PATH_FAILED_BY_KERNEL",
            name,
            &[("device", &device)],
        );
        self.judge(id);
        self.examine_now(id);
    }

    /// Gives a map something to do.
    pub(super) fn act(&mut self, wwid: &str, steps: Vec<MapStep>) {
        let ticket = self.ticket();
        let Some(device) = self.devices.get_mut(wwid) else {
            return;
        };
        device.in_flight = Some(ticket);
        device.order = Order::of(&steps);
        self.index.tickets.insert(ticket, wwid.to_owned());
        // Messages do not end the wait of a change of the table, or paths that come and go would put it off for ever.
        let loads =
            |step: &MapStep| matches!(step, MapStep::Create { .. } | MapStep::Reload { .. });
        if steps.iter().any(loads) {
            device.pending = None;
        }
        let name = self
            .map_names
            .get(wwid)
            .cloned()
            .unwrap_or_else(|| device.id.clone());
        let subject = device.id.clone();
        for step in &steps {
            let counters = &mut self.counters;
            let (count, first) = match step {
                MapStep::Create { .. } => (&mut counters.tables_loaded, true),
                MapStep::Reload { .. } => (&mut counters.tables_loaded, false),
                MapStep::Message(_) => (&mut counters.messages, false),
                MapStep::Resume => (&mut counters.resumes, false),
                MapStep::Remove => (&mut counters.removals, false),
                MapStep::Observe => continue,
            };
            *count = count.saturating_add(1);
            counters.maps_created = counters.maps_created.saturating_add(first.into());
        }
        let said: Vec<String> = steps.iter().filter_map(describe).collect();
        if !said.is_empty() {
            self.notify(
                Severity::Info,
                "MAP_ACTION",
                subject,
                &[("map", &name), ("steps", &said.join("; "))],
            );
        }
        let uuid = format!("{UUID_PREFIX}{wwid}");
        self.schedule.cancel(&Key::Device(wwid.to_owned()));
        self.actions.push(Action::Map {
            name,
            uuid,
            ticket,
            steps,
        });
    }
}

/// A step in words, for the log; an observation is not worth a line.
fn describe(step: &MapStep) -> Option<String> {
    let load = |verb: &str, table: &Table, read_only: bool| {
        let how = if read_only { ", read-only" } else { "" };
        format!("{verb} with {} paths{how}", table.paths().count())
    };
    match step {
        MapStep::Create {
            table, read_only, ..
        } => Some(load("create", table, *read_only)),
        MapStep::Reload {
            table, read_only, ..
        } => Some(load("reload", table, *read_only)),
        MapStep::Resume => Some("resume".to_owned()),
        MapStep::Remove => Some("remove".to_owned()),
        MapStep::Observe => None,
        MapStep::Message(message) => Some(message.to_string()),
    }
}

/// The status of every path of a map.
fn paths_of(map: Option<&Map>) -> BTreeMap<DevT, PathStatus> {
    map.and_then(|map| map.status.as_ref().ok())
        .iter()
        .flat_map(|status| &status.groups)
        .flat_map(|group| &group.paths)
        .map(|path| (path.dev, path.clone()))
        .collect()
}
