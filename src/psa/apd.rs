//! All paths down (APD): no path that the kernel's map can use. I/O is queued until one deadline, and fails after it.
//!
//! One place decides that no path is usable, [`World::service`], by what device-mapper may use: a path that it has
//! failed and that is not about to be reinstated does not count, whatever is unknown of it. A path that fails I/O each time
//! it is reinstated does not end the outage either: the deadline stays what it was. The deadline also survives the
//! agent: outages are stored as they begin and end ([`Action::StoreOutages`]), and an agent that starts goes on with them.
//!
//! Invariants: queueing never ends before the deadline, and never lasts past it. Tests: `tests/apd.rs`, `tests/world.rs`.

use super::action::{Action, Severity};
use super::device::Apd;
use super::maps::RELAPSE_WINDOW;
use super::path::{Path, PathState};
use super::satp::Link;
use super::schedule::Key;
use super::table::model::Map;
use super::takeover::{ASK_AFTER, LAST_CALL, Standing};
use super::units::{DevT, Millis};
use super::wanted::View;
use super::world::World;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the paths of a device do for its I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// A path that device-mapper may use serves, or would once it is activated.
    Serves,
    /// It is not known yet whether one does: each such wait ends by itself.
    Unsettled,
    /// No path is usable.
    Down,
}

/// The last path that serves is not held back longer than this after the kernel failed it.
pub(super) const LAST_PATH_HOLD: Millis = Millis(1_000);

/// A path that relapsed ends an outage when it has carried I/O for this long: I/O waits for it, and fails at once if it
/// still does not work.
const SHOWN: Millis = Millis(10_000);

/// Outages of devices, by WWID: those under way, and those of the agent before that were not decided upon yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Outages(BTreeMap<String, Outage>);

/// No usable path since a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Outage {
    /// When it began, or when this agent started.
    since: Millis,
    /// How long it had lasted before this agent started.
    before: Millis,
}

impl Outage {
    fn lasted(self, now: Millis) -> Millis {
        now.since(self.since).after(self.before)
    }
}

impl Path {
    /// Whether it failed I/O again after it had been reinstated, and has yet to show that it carries I/O.
    fn is_relapsing(&self, now: Millis) -> bool {
        self.relapses > 0 && now < self.relapsing_until()
    }

    fn relapsing_until(&self) -> Millis {
        self.failed_at.after(LAST_PATH_HOLD).after(SHOWN)
    }

    /// Whether its access state has been changing for longer than the array should take.
    pub(super) fn is_transition_overdue(&self, now: Millis) -> bool {
        self.transition_until.is_some_and(|until| until <= now)
    }
}

/// What one path of a device contributes.
enum Prospect {
    Serves,
    /// Not known before this moment.
    Until(Millis),
    /// Not known, and device-mapper uses it: it finds out with the next I/O.
    InUse,
    Nothing,
}

impl World {
    /// What the paths of a map do for its I/O, by what device-mapper has and is to use (`usable`).
    fn service(
        &mut self,
        wwid: &str,
        view: &View,
        map: &Map,
        usable: &BTreeSet<DevT>,
        unseen: &BTreeSet<DevT>,
    ) -> Service {
        let (Ok(_), Ok(status)) = (&map.table, &map.status) else {
            return Service::Unsettled;
        };
        let paths = status.groups.iter().flat_map(|group| &group.paths);
        let active: BTreeSet<DevT> = paths.filter(|p| p.active).map(|p| p.dev).collect();
        let mut service = if active.is_disjoint(unseen) {
            Service::Down
        } else {
            Service::Unsettled
        };
        let Some(device) = self.devices.get(wwid) else {
            return service;
        };
        let mut settles: Option<Millis> = None;
        for path in self.paths_of(device) {
            match self.prospect(path, view, usable, &active) {
                Prospect::Serves => return Service::Serves,
                Prospect::InUse => service = Service::Unsettled,
                Prospect::Until(at) if at > self.now => {
                    service = Service::Unsettled;
                    settles = Some(settles.map_or(at, |before| before.min(at)));
                }
                Prospect::Until(_) | Prospect::Nothing => {}
            }
        }
        if let Some(at) = settles {
            self.schedule
                .no_later_than(Key::Device(wwid.to_owned()), at);
        }
        service
    }

    fn prospect(
        &self,
        path: &Path,
        view: &View,
        usable: &BTreeSet<DevT>,
        active: &BTreeSet<DevT>,
    ) -> Prospect {
        let Some(block) = path.facts.block.as_ref().filter(|_| path.is_ours()) else {
            return Prospect::Nothing;
        };
        let is_candidate = view.candidates.iter().any(|c| c.dev == block.dev);
        let may_be_used = usable.contains(&block.dev);
        let state = path.state();
        let patience = self.settings.check_deadline_ms;
        match state {
            PathState::Active | PathState::ActiveUnoptimized | PathState::Standby => {
                // What only the array can activate serves nobody.
                if state == PathState::Standby && !self.can_activate(path.facts.hctl) {
                    return Prospect::Nothing;
                }
                if !is_candidate {
                    // Its place in the table is still to come.
                    let joins = block.usage.is_empty() && !path.is_quarantined();
                    return if joins {
                        Prospect::Until(path.since.after(patience))
                    } else {
                        Prospect::Nothing
                    };
                }
                if state == PathState::Standby
                    && let Some(prospect) = self.waiting_prospect(path)
                {
                    return prospect;
                }
                if may_be_used && path.relapses == 0 {
                    return Prospect::Serves;
                }
                if may_be_used && path.is_relapsing(self.now) {
                    return Prospect::Until(path.relapsing_until());
                }
                if may_be_used {
                    return Prospect::Serves;
                }
                // Held back for a moment after its first failure.
                if path.relapses == 0 {
                    return Prospect::Until(path.failed_at.after(LAST_PATH_HOLD));
                }
                Prospect::Nothing
            }
            PathState::Unknown if path.transition_until.is_some() => {
                Prospect::Until(path.transition_until.unwrap_or_default())
            }
            PathState::Unknown if active.contains(&block.dev) => Prospect::InUse,
            // The kernel failed it and it gives no answer.
            PathState::Unknown if matches!(path.link, Link::NoAnswer(_)) => Prospect::Nothing,
            PathState::Unknown if block.usage.is_empty() && !path.is_quarantined() => {
                Prospect::Until(path.since.max(path.failed_at).after(patience))
            }
            PathState::Unknown | PathState::Dead | PathState::Off | PathState::Masked => {
                Prospect::Nothing
            }
        }
    }

    /// What a waiting path contributes by the takeover budget, if that says anything; one that is held back is not usable.
    fn waiting_prospect(&self, path: &Path) -> Option<Prospect> {
        let takeover = &self.device_of(path)?.takeover;
        match takeover.standing() {
            Standing::Free => None,
            Standing::WhenOpened => Some(Prospect::Serves),
            Standing::Asking => Some(Prospect::Until(self.now.after(ASK_AFTER))),
            Standing::Refused => Some(Prospect::Nothing),
        }
    }

    /// Starts, ends and times out "all paths down".
    pub(super) fn watch_apd(
        &mut self,
        wwid: &str,
        view: &View,
        map: Option<&Map>,
        usable: &BTreeSet<DevT>,
        unseen: &BTreeSet<DevT>,
    ) {
        let service = map.map(|map| self.service(wwid, view, map, usable, unseen));
        let table = map.and_then(|map| map.table.as_ref().ok());
        let queues = table.is_none_or(|table| table.features.queue_if_no_path);
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let timeout = view
            .settings
            .apd_timeout_ms
            .unwrap_or(self.settings.apd_timeout_ms);
        let (id, now) = (device.id.clone(), self.now);
        let lost = self.is_lost(device);
        let ended = device.queueing_ended && !matches!(service, None | Some(Service::Serves));
        let before = device.apd;
        let next = match (before, service) {
            (Apd::Lost { .. }, _) if lost => before,
            _ if lost => Apd::Lost { since: now },
            (_, None | Some(Service::Serves)) => Apd::No,
            // It was gone for good, and is down for another reason now: its I/O has failed, and is not queued again.
            (Apd::Lost { .. }, _) => Apd::TimedOut { since: now },
            (Apd::No, Some(Service::Unsettled)) => before,
            (Apd::No, Some(Service::Down)) => self.outage_begins(wwid, timeout, queues),
            (Apd::Waiting { since, deadline }, Some(Service::Down)) if now >= deadline => {
                Apd::TimedOut { since }
            }
            _ => before,
        };
        // The admin ended queueing: the deadline is now, whatever is known of the paths.
        let next = match next {
            Apd::Waiting { since, .. } if ended => Apd::TimedOut { since },
            Apd::No if ended => Apd::TimedOut { since: now },
            unchanged => unchanged,
        };
        if let Apd::Waiting { deadline, .. } = next
            && deadline > now
        {
            let key = Key::Device(wwid.to_owned());
            self.schedule.no_later_than(key.clone(), deadline);
            // A path that waits for its turn is tried before I/O fails.
            let last_call = deadline.since(LAST_CALL);
            if last_call > now || next != before {
                self.schedule.no_later_than(key, last_call.max(now));
            }
        }
        let relapsed = self.relapses(wwid);
        if let Some(device) = self.devices.get_mut(wwid) {
            device.served |= service == Some(Service::Serves);
            device.queueing_ended = ended;
            device.apd = next;
            device.statistics.apd(before, next, now);
        }
        match next {
            // Only checks say that it is over: if I/O fails again it goes on.
            Apd::No if relapsed => {
                let at = now.after(RELAPSE_WINDOW);
                self.schedule
                    .no_later_than(Key::Device(wwid.to_owned()), at);
            }
            Apd::No if service == Some(Service::Unsettled) => {}
            Apd::No | Apd::Lost { .. } => self.outage_ends(wwid),
            Apd::Waiting { .. } | Apd::TimedOut { .. } => {}
        }
        if next == before {
            return;
        }
        self.report_apd(&id, before, next);
    }

    /// No path of a map is usable: since when, and until when I/O is queued.
    fn outage_begins(&mut self, wwid: &str, timeout: Millis, queues: bool) -> Apd {
        let now = self.now;
        let served = self.devices.get(wwid).is_some_and(|device| device.served);
        let known = self.outages.0.get(wwid).copied();
        // An outage that only checks have ended goes on if I/O fails again, and so does one of the agent before.
        let goes_on = known.filter(|_| !served || self.relapses(wwid));
        // The agent was restarted, and the time had passed before.
        if !served && !queues {
            return Apd::TimedOut { since: now };
        }
        let outage = goes_on.unwrap_or(Outage {
            since: now,
            before: Millis(0),
        });
        if goes_on.is_none() {
            self.outages.0.insert(wwid.to_owned(), outage);
            self.store_outages();
        }
        let left = timeout.since(outage.lasted(now));
        if left == Millis(0) {
            return Apd::TimedOut {
                since: outage.since,
            };
        }
        Apd::Waiting {
            since: outage.since,
            deadline: now.after(left),
        }
    }

    fn outage_ends(&mut self, wwid: &str) {
        if self.outages.0.remove(wwid).is_some() {
            self.store_outages();
        }
    }

    /// Whether I/O fails on a path of the device again and again although checks say that it is well.
    fn relapses(&self, wwid: &str) -> bool {
        let device = self.devices.get(wwid);
        let mut paths = device.iter().flat_map(|device| self.paths_of(device));
        paths.any(|path| path.relapses > 0 && self.now.since(path.failed_at) < RELAPSE_WINDOW)
    }

    fn store_outages(&mut self) {
        let lasted = self.outages.0.iter();
        let lasted = lasted.map(|(wwid, outage)| (wwid.clone(), outage.lasted(self.now)));
        self.actions.push(Action::StoreOutages(lasted.collect()));
    }

    /// Outages that an agent before this one had under way, and how long they had lasted when this one started.
    pub(super) fn outages_recalled(&mut self, outages: &BTreeMap<String, Millis>) {
        let since = self.now;
        let outages = outages.iter().map(|(wwid, before)| {
            let before = *before;
            (wwid.clone(), Outage { since, before })
        });
        self.outages.0.extend(outages);
    }

    /// Forgets recalled outages of devices that have no map any more.
    pub(super) fn forget_outages(&mut self) {
        let names = &self.map_names;
        let before = self.outages.0.len();
        self.outages.0.retain(|wwid, _| names.contains_key(wwid));
        if self.outages.0.len() != before {
            self.store_outages();
        }
    }

    fn report_apd(&mut self, id: &str, before: Apd, next: Apd) {
        let now = self.now;
        let lasted = |since: Millis| format!("{} ms", now.since(since).0);
        match (before, next) {
            (_, Apd::Waiting { deadline, .. }) => {
                let left = format!("{} ms", deadline.since(now).0);
                self.notify(
                    Severity::Error,
                    "APD_START",
                    id,
                    &[("effect", "I/O is queued"), ("for", &left)],
                );
            }
            (_, Apd::Lost { .. }) => {
                let effect = "I/O fails; its map is removed when the last user has closed it";
                self.notify(Severity::Error, "PDL_START", id, &[("effect", effect)]);
            }
            (Apd::Lost { since }, Apd::No | Apd::TimedOut { .. }) => {
                self.notify(Severity::Info, "PDL_EXIT", id, &[("after", &lasted(since))]);
            }
            (_, Apd::TimedOut { since }) => {
                let (lasted, effect) = (lasted(since), "I/O fails until a path returns");
                self.notify(
                    Severity::Error,
                    "APD_TIMEOUT",
                    id,
                    &[("effect", effect), ("after", &lasted)],
                );
            }
            (Apd::Waiting { since, .. } | Apd::TimedOut { since }, Apd::No) => {
                self.notify(Severity::Info, "APD_EXIT", id, &[("after", &lasted(since))]);
            }
            (Apd::No, Apd::No) => {}
        }
    }
}
