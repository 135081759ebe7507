//! The takeover budget: how often this host may have an array move a logical unit to a controller that the host reaches.
//!
//! With an active/passive array one controller serves a unit at a time. Two hosts of which each reaches another controller
//! take the unit from each other (path thrashing): each return of a waiting path to a map without a path that serves is an
//! order to the kernel to have the array move the unit. So such a return is a decision here, and rationed.
//!
//! - A move counts if this host ordered it, or if its kernel went over to another controller by itself.
//! - A unit that was taken away by somebody else is not taken back before a hold is over; it counts from the moment the loss
//!   is seen, so that the other host has as long. Each move of ours and each loss doubles the hold, from 10 s to a
//!   minute: two hosts that contend come to one move a minute. An hour of calm resets it.
//! - A unit whose new controller this host reaches is followed, without an order.
//! - Nothing is ordered for a map that nobody has open: making a map, and what udev reads of it, moves nothing.
//! - No I/O fails because of a hold: it is queued, and the hold is shorter than the time that I/O is queued for.
//! - An agent that starts goes on with the hold of the one before; a unit that it knows nothing of waits for the first hold.
//!
//! Input: what a look at a device sees. Output: [`Grant`], which `plan` asks, and lines for reports. Tests: below, and
//! `tests/two_hosts.rs`.

mod budget;

use super::action::{Action, MapStep, Severity};
use super::device::{Apd, Device};
use super::path::{Path, PathState};
use super::satp::{Link, by_name};
use super::schedule::Key;
use super::table::model::Message;
use super::units::{DevT, Hctl, Millis};
use super::wanted::View;
use super::world::World;
pub(super) use budget::{ASK_AFTER, LAST_CALL, Standing};
pub use budget::{Grant, StoredTakeover, Takeover};

use budget::{CONTESTED, Finding, LONGEST, SHORTEST, Sight};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Budgets of the agent before, by WWID, from the start of this one; and whether something has to be stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Recalled {
    budgets: BTreeMap<String, StoredTakeover>,
    at: Millis,
    changed: bool,
}

impl World {
    /// Takes in what a look at a device shows of its controllers, before anything is decided by it.
    pub(super) fn watch_owner(&mut self, wwid: &str, view: &View) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let waiting = self.activatable(view);
        let selection = device.selection.as_ref();
        let exclusive = selection.is_some_and(|selection| selection.satp.is_exclusive());
        // Most devices have nothing that could be taken over.
        if waiting.is_empty() && !exclusive && !device.takeover.is_begun() {
            return;
        }
        let serving = view.candidates.iter().filter(|c| c.state.serves_io());
        let carriers: BTreeSet<Hctl> = serving.map(|c| c.path).collect();
        let turned = waiting
            .iter()
            .any(|(id, _)| device.takeover.was_served_by(*id));
        let under_way = |id: &Hctl| {
            let path = self.paths.get(id);
            path.is_some_and(|path| path.exam.is_some() || path.again)
        };
        let unknown = view
            .candidates
            .iter()
            .filter(|c| c.state == PathState::Unknown);
        let map = self.map_of(wwid);
        let in_kernel = map
            .and_then(|map| map.status.as_ref().ok())
            .is_some_and(|status| {
                let mut paths = status.groups.iter().flat_map(|group| &group.paths);
                paths.any(|path| path.active && waiting.iter().any(|(_, dev)| *dev == path.dev))
            });
        let sight = Sight {
            now: self.now,
            serves: !carriers.is_empty(),
            waits: !waiting.is_empty(),
            turned,
            checking: waiting.iter().any(|(id, _)| under_way(id)),
            undecided: unknown.clone().any(|c| under_way(&c.path)),
            in_kernel,
            open: map.is_some_and(|map| map.open_count > 0),
            longest: self.longest_hold(view),
            phase: self.phase(device),
            deadline: match device.apd {
                Apd::Waiting { deadline, .. } => Some(deadline),
                _ => None,
            },
        };
        let before = self.takeovers.budgets.get(wwid);
        let before = before.map(|stored| (*stored, self.takeovers.at));
        let Some(device) = self.devices.get_mut(wwid) else {
            return;
        };
        let takeover = &mut device.takeover;
        let (finding, changed) = takeover.take_in(&sight, carriers, before);
        let grant = takeover.grant();
        let again = match grant {
            Grant::Now | Grant::Unused | Grant::Ordered => None,
            Grant::NotBefore(at) => Some(at),
            Grant::Asking => Some(sight.now.after(ASK_AFTER)),
        };
        if let Some(at) = again.filter(|_| sight.waits) {
            self.schedule
                .no_later_than(Key::Device(wwid.to_owned()), at);
        }
        self.takeovers.changed |= changed;
        if grant == Grant::Ordered {
            waiting.iter().for_each(|(id, _)| self.ask_for_move(*id));
        }
        match finding {
            Finding::Nothing | Finding::Refused => {}
            Finding::Ask => waiting.iter().for_each(|(id, _)| self.examine_now(*id)),
            Finding::Lost => self.report_loss(wwid),
        }
    }

    /// Whether a path waits that the host can have activated, whatever is known of its identity.
    pub(super) fn is_activatable(&self, id: Hctl) -> bool {
        let path = self.paths.get(&id);
        let device = path.and_then(|path| self.device_of(path));
        let (Some(path), Some(device)) = (path, device) else {
            return false;
        };
        let evidence = Self::evidence(path, &device.groups);
        device.selection.as_ref().is_some_and(|selection| {
            let satp = selection.satp;
            satp.judge(&evidence).state == PathState::Standby && satp.can_activate(&evidence)
        })
    }

    /// The waiting paths of a device that the host can have activated.
    fn activatable(&self, view: &View) -> Vec<(Hctl, DevT)> {
        let waits = view.candidates.iter();
        waits
            .filter(|c| c.state == PathState::Standby && self.can_activate(c.path))
            .map(|c| (c.path, c.dev))
            .collect()
    }

    /// The waiting paths of a device of which none serves.
    pub(super) fn waiting_alone(&self, view: &View) -> BTreeSet<DevT> {
        if view.candidates.iter().any(|c| c.state.serves_io()) {
            return BTreeSet::new();
        }
        let waiting = self.activatable(view).into_iter();
        waiting.map(|(_, dev)| dev).collect()
    }

    /// Whether nobody has the map of a device open, so that nothing is moved for it.
    pub(super) fn is_unused(&self, wwid: &str) -> bool {
        let device = self.devices.get(wwid);
        device.is_some_and(|device| device.takeover.grant() == Grant::Unused)
    }

    /// Whether a move was ordered that has not been seen yet: a path more to the same end is no other order.
    pub(super) fn is_ordered(&self, wwid: &str) -> bool {
        let device = self.devices.get(wwid);
        device.is_some_and(|device| device.takeover.grant() == Grant::Ordered)
    }

    /// Whether a table must not be loaded now: its first I/O would have the array move the unit. With an order given it may,
    /// however long nobody does I/O.
    pub(super) fn reload_must_wait(&self, wwid: &str, view: &View) -> bool {
        let grant = self.devices.get(wwid).map(|device| device.takeover.grant());
        let held = matches!(grant, Some(Grant::NotBefore(_) | Grant::Asking));
        held && !self.waiting_alone(view).is_empty()
    }

    /// Of waiting paths that the kernel does not use, those that it may use now; each with the time until which it is held
    /// back for another reason.
    pub(super) fn granted(
        &mut self,
        wwid: &str,
        standby: &[(DevT, Millis)],
        served: bool,
    ) -> Vec<DevT> {
        let now = self.now;
        let grant = self.devices.get(wwid).map(|device| device.takeover.grant());
        let granted = match grant {
            Some(Grant::Now) => true,
            // With another that serves the kernel needs them when that fails.
            Some(Grant::Unused) => served,
            _ => false,
        };
        let mut free = Vec::new();
        for (dev, held_until) in standby.iter().filter(|_| granted) {
            if !served || *held_until <= now {
                free.push(*dev);
            } else {
                self.schedule
                    .no_later_than(Key::Device(wwid.to_owned()), *held_until);
            }
        }
        free
    }

    /// I/O that is queued must not fail because of a hold, so a hold ends well before.
    fn longest_hold(&self, view: &View) -> Millis {
        let queued = view
            .settings
            .apd_timeout_ms
            .unwrap_or(self.settings.apd_timeout_ms);
        let most = Millis(queued.0.saturating_mul(3) / 4);
        LONGEST.min(most).max(SHORTEST)
    }

    /// A number below 1024 that differs between hosts: of the adapters by which this one reaches the device.
    fn phase(&self, device: &Device) -> u64 {
        let keys = self
            .paths_of(device)
            .flat_map(|path| path.facts.adapter.key.bytes());
        // FNV-1a, as for the schedule.
        let hash = keys.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash ^ (hash >> 29)) % 1024
    }

    fn report_loss(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let takeover = &device.takeover;
        let severity = if takeover.losses() < CONTESTED {
            Severity::Warning
        } else {
            Severity::Error
        };
        let reach: BTreeSet<String> = self
            .paths_of(device)
            .map(|path| path.facts.target.identifier.clone())
            .collect();
        let reach: Vec<String> = reach.into_iter().collect();
        let id = device.id.clone();
        let losses = takeover.losses().to_string();
        let wait = format!("{} ms", takeover.wait(self.now).0);
        self.notify(
            severity,
            "OWNERSHIP_CONTESTED",
            id,
            &[
                ("losses", &losses),
                ("reaches", &reach.join(" ")),
                ("effect", "I/O is queued"),
                ("not_taken_back_for", &wait),
            ],
        );
    }

    /// Counts what the steps on a map make the kernel do: a waiting path that comes into use where none serves.
    pub(super) fn note_orders(&mut self, wwid: &str, view: &View, steps: &[MapStep]) {
        if view.candidates.iter().any(|c| c.state.serves_io()) {
            return;
        }
        let waiting = self.activatable(view);
        let waits = |dev: &DevT| waiting.iter().any(|(_, one)| one == dev);
        let failed = |dev: &DevT| {
            let fails = |step: &MapStep| *step == MapStep::Message(Message::FailPath(*dev));
            steps.iter().any(fails)
        };
        let orders = steps.iter().any(|step| match step {
            MapStep::Message(Message::ReinstatePath(dev)) => waits(dev),
            MapStep::Create { table, .. } | MapStep::Reload { table, .. } => {
                let mut devs = table.paths().map(|path| path.dev);
                devs.any(|dev| waits(&dev) && !failed(&dev))
            }
            _ => false,
        });
        if !orders {
            return;
        }
        let longest = self.longest_hold(view);
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let (phase, now) = (self.phase(device), self.now);
        let Some(device) = self.devices.get_mut(wwid) else {
            return;
        };
        device.takeover.order(now, longest, phase);
        let id = device.id.clone();
        let next = format!("{} ms", device.takeover.wait(now).0);
        self.notify(
            Severity::Info,
            "TAKEOVER_ORDERED",
            id,
            &[("next_not_before", &next)],
        );
        self.takeovers.changed = true;
        for (id, _) in waiting {
            self.ask_for_move(id);
            self.schedule
                .no_later_than(Key::Path(id), now.after(ASK_AFTER));
        }
    }

    /// The next check of a path asks for the port groups too: many arrays answer TEST UNIT READY alike in standby and after a
    /// move, so nothing else shows that it has come about.
    fn ask_for_move(&mut self, id: Hctl) {
        if let Some(path) = self.paths.get_mut(&id) {
            path.ask_groups = true;
        }
    }

    /// What a device waits for, for an administrator; empty if for nothing.
    pub(super) fn takeover_lines(&self, device: &Device) -> Vec<String> {
        let takeover = &device.takeover;
        let mut lines = Vec::new();
        match takeover.grant() {
            _ if self.is_served(device) => {}
            Grant::NotBefore(at) => lines.push(format!(
                "another controller serves the unit, to which no path leads: it is not taken over for {} ms more, and I/O is queued",
                at.since(self.now).0
            )),
            Grant::Unused => lines.push(
                "another controller serves the unit, to which no path leads, and nobody has the map open: it is taken over when somebody opens it".to_owned(),
            ),
            Grant::Asking => lines.push("its paths stopped serving, and are asked where the unit is".to_owned()),
            Grant::Ordered => lines.push("another controller serves the unit, to which no path leads: it is being taken over".to_owned()),
            Grant::Now => {}
        }
        if takeover.ordered() > 0 || takeover.seen() > 0 {
            lines.push(format!(
                "since the agent started this host had the array move the unit {} times; others did {} times",
                takeover.ordered(), takeover.seen()
            ));
        }
        if takeover.losses() >= CONTESTED {
            lines.push(
                "another host needs the unit by the other controller: have all hosts reach both controllers (cabling, zoning)".to_owned(),
            );
        }
        lines
    }

    /// The budget among the configuration strings of a device, while there is something to say.
    pub(super) fn takeover_config(&self, device: &Device) -> Option<String> {
        let takeover = &device.takeover;
        let state = match takeover.grant() {
            _ if self.is_served(device) => "idle".to_owned(),
            Grant::NotBefore(at) => {
                format!("waiting {} s", at.since(self.now).0.div_ceil(1000))
            }
            Grant::Unused => "when opened".to_owned(),
            Grant::Ordered => "ordered".to_owned(),
            Grant::Asking | Grant::Now => "idle".to_owned(),
        };
        let (ordered, seen) = (takeover.ordered(), takeover.seen());
        let silent = state == "idle" && ordered == 0 && seen == 0;
        (!silent).then(|| format!("{{takeover={state};ordered={ordered};seen={seen}}}"))
    }

    /// Whether I/O of a device is queued until its unit may be moved.
    pub(super) fn waits_for_takeover(&self, device: &Device) -> bool {
        matches!(device.takeover.grant(), Grant::NotBefore(_)) && !self.is_served(device)
    }

    /// Whether a path of a device serves, or none waits to be activated.
    fn is_served(&self, device: &Device) -> bool {
        let waits =
            |path: &Path| path.state() == PathState::Standby && self.can_activate(path.facts.hctl);
        self.paths_of(device).any(|path| path.state().serves_io())
            || !self.paths_of(device).any(waits)
    }

    /// Budgets that an agent before this one had, as of now.
    pub(super) fn takeovers_recalled(&mut self, budgets: BTreeMap<String, StoredTakeover>) {
        self.takeovers.at = self.now;
        self.takeovers.budgets = budgets;
    }

    /// At the end of a step: has the budgets stored if one of them changed.
    pub(super) fn store_takeovers(&mut self) {
        if !std::mem::take(&mut self.takeovers.changed) {
            return;
        }
        let now = self.now;
        let budgets = self.devices.iter();
        let budgets: BTreeMap<String, StoredTakeover> = budgets
            .filter_map(|(wwid, device)| Some((wwid.clone(), device.takeover.to_store(now)?)))
            .collect();
        self.actions.push(Action::StoreTakeovers(budgets));
    }

    /// Has the kernel read the disk of a path again (size, write protection), once that moves nothing: `sd` sends START STOP
    /// UNIT to a unit that asks for it, and a controller that waits takes the unit over by that. What is known of a path may
    /// be older than a move, so the path is asked first where controllers take over.
    pub(super) fn reread(&mut self, id: Hctl) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let selection = self
            .device_of(path)
            .and_then(|device| device.selection.as_ref());
        let takes_over = selection.is_none_or(|selection| selection.satp.is_exclusive());
        if let Some(path) = self.paths.get_mut(&id) {
            path.reread_owed = true;
        }
        if takes_over {
            self.examine_now(id);
        } else {
            self.pay_reread(id);
        }
    }

    /// Has it done now if it is owed and moves nothing. The one place that decides on it.
    pub(super) fn pay_reread(&mut self, id: Hctl) {
        let due = |path: &&mut Path| {
            path.reread_owed && path.link == Link::Up && path.state() != PathState::Standby
        };
        if let Some(path) = self.paths.get_mut(&id).filter(due) {
            path.reread_owed = false;
            self.actions.push(Action::RescanDevice(id));
        }
    }
}

/// Whether an administrator's rescan may have the kernel read the disk of a path again, by the words of listings.
#[must_use]
pub fn may_reread(state: &str, satp: Option<&str>) -> bool {
    let exclusive = satp
        .and_then(by_name)
        .is_none_or(super::satp::Satp::is_exclusive);
    !(exclusive && state == PathState::Standby.as_str())
}
