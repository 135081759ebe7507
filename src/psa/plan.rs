//! From the states of the paths to the wanted table, and to what has to be done about the kernel's.

use super::action::{MapStep, Severity};
use super::apd::LAST_PATH_HOLD;
use super::device::{Apd, Device, Disposition, Pending};
use super::path::{Path, PathState};
use super::plugin::Plugin;
use super::psp::{Arrangement, Candidate, Options};
use super::satp::{Class, Link};
use super::schedule::Key;
use super::table::diff::{Difference, Wanted, diff};
use super::table::model::{GroupState, Map, QueueMode};
use super::units::{DevT, Hctl, Millis, Sectors};
use super::wanted::{View, avoided, place_unknown, table_of, within};
use super::world::World;
use std::collections::BTreeSet;

/// A map without paths is removed when its last user has closed it, and one turns read-only or writable only then; one whose
/// paths all wait is given a path when somebody opens it. Nothing announces it: the map is looked at this often.
const CLOSE_POLL: Millis = Millis(5_000);

/// That nobody has a map open is believed for so long.
const JUST_SEEN: Millis = Millis(500);

/// A map whose table or status could not be read is looked at this often.
const UNREADABLE_POLL: Millis = Millis(1_000);

impl World {
    /// Looks at a device: decides anew whatever may have changed, and acts on the difference.
    pub(super) fn look_at(&mut self, wwid: &str) {
        self.forget_if_empty(wwid);
        let now = self.now;
        let Some(device) = self.devices.get_mut(wwid) else {
            // Set after the device was forgotten.
            return self.schedule.cancel(&Key::Device(wwid.to_owned()));
        };
        device.looked_at = now;
        for id in &device.paths {
            if let Some(path) = self.paths.get_mut(id) {
                path.judged = false;
            }
        }
        if !self.started {
            return;
        }
        let unseen = self.members(wwid).unseen;
        if !unseen.is_empty() && !self.look_up(wwid, &unseen) {
            return; // Nothing is decided about a map before its members are known.
        }
        self.release_strays(wwid);
        self.compare_paths(wwid);
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        if device.selection.is_none() || self.map_of(wwid).is_none() {
            self.select(wwid);
        }
        self.unite(wwid);
        self.dispose(wwid);
        self.mark_owners(wwid);
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        if device.in_flight.is_some() {
            return; // MapDone comes back here.
        }
        if matches!(device.disposition, Disposition::Foreign(_)) {
            return;
        }
        self.withdraw(wwid);
        self.remove_lost(wwid);
        self.set_port_timers(wwid);
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let stacked = device.disposition == Disposition::Stacked;
        let view = self.view(device);
        let map = self.map_of(wwid).cloned();
        self.watch_owner(wwid, &view);
        let usable = map
            .as_ref()
            .map_or_else(BTreeSet::new, |map| self.usable(wwid, map, &view, &unseen));
        self.watch_apd(wwid, &view, map.as_ref(), &usable, &unseen);
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let failure = device
            .failure
            .clone()
            .filter(|failure| failure.retry_at > self.now);
        let arrangement = self.arrangement(device, &view);
        if let Some(device) = self.devices.get_mut(wwid) {
            device.options = Options {
                chosen: arrangement.chosen,
                ..view.options.clone()
            };
        }
        let mut steps = match &map {
            None if stacked => self.creation(wwid, &view, &arrangement),
            None => Vec::new(),
            Some(map) => self.correction(wwid, map, &view, &arrangement, usable, &unseen),
        };
        if let Some(failure) = failure {
            // Messages that were to follow a first table have no map.
            let has_map = map.is_some();
            steps.retain(|step| {
                failure.allows(step, self.now) && (has_map || !matches!(step, MapStep::Message(_)))
            });
            self.schedule
                .no_later_than(Key::Device(wwid.to_owned()), failure.next_try(self.now));
        }
        // Nothing announces that somebody opens the map.
        if steps.is_empty() && self.is_unused(wwid) && self.map_of(wwid).is_some() {
            steps = self.observe_after(wwid, CLOSE_POLL);
        }
        if !steps.is_empty() {
            self.note_orders(wwid, &view, &steps);
            self.act(wwid, steps);
        }
    }

    /// A device without paths and without a map is nothing.
    fn forget_if_empty(&mut self, wwid: &str) {
        let empty = self
            .devices
            .get(wwid)
            .is_some_and(|d| d.paths.is_empty() && d.in_flight.is_none());
        if empty && self.map_of(wwid).is_none() {
            self.devices.remove(wwid);
            self.schedule.cancel(&Key::Device(wwid.to_owned()));
        }
    }

    /// Gathers what the table is made of.
    pub(super) fn view(&self, device: &Device) -> View {
        let settings = self.device_settings(device);
        let psp = device.psp(&settings);
        let is_hpp = device.plugin() == Plugin::Hpp;
        let named = |name: &str| {
            device
                .paths
                .iter()
                .filter_map(|id| self.paths.get(id))
                .filter(|path| path.marginal.is_none())
                .map(|path| path.name)
                .find(|candidate| candidate.to_string() == name)
        };
        let options = Options {
            preferred: settings.preferred.as_deref().and_then(named),
            chosen: device
                .options
                .chosen
                .or_else(|| self.chosen_before(&device.wwid)),
            round_robin: settings.round_robin.clone(),
            selector: is_hpp.then(|| settings.scheme.unwrap_or_default().selector()),
        };
        let table = self
            .map_of(&device.wwid)
            .and_then(|map| map.table.as_ref().ok());
        let in_table: BTreeSet<DevT> = table
            .map(|t| t.paths().map(|p| p.dev).collect())
            .unwrap_or_default();
        let measuring = self.is_being_measured(device);
        let mut candidates = Vec::new();
        let mut unplaced = Vec::new();
        let length = table.map(|table| table.length);
        // The kernel takes no table that is longer than one of its disks.
        let mut least: Option<Sectors> = None;
        let mut handler = None;
        let mut read_only = None;
        for (id, path) in device
            .paths
            .iter()
            .filter_map(|id| Some((*id, self.paths.get(id)?)))
        {
            let Some(block) = &path.facts.block else {
                continue;
            };
            let held = in_table.contains(&block.dev);
            let proven = path.proof.may_carry_io();
            // A path that the kernel does not hold yet joins when it is proven and of use.
            let joins = proven
                && !measuring
                && block.usage.is_empty()
                && (path.state().serves_io() || path.state() == PathState::Standby);
            let out = !path.is_ours() || path.is_quarantined();
            if out || !(held || joins) {
                continue;
            }
            // Few devices have ranks, and their key is a text that would be made for each path.
            let rank = if settings.ranks.is_empty() {
                0
            } else {
                let name = path.name.to_string();
                settings.ranks.get(&name).copied().unwrap_or(0)
            };
            candidates.push(Candidate {
                path: id,
                dev: block.dev,
                name: path.name,
                state: path.state(),
                class: match &path.marginal {
                    Some(_) => Class::Last,
                    None => path.judgement.class.unwrap_or(Class::Last),
                },
                rank,
            });
            read_only = Some(read_only.unwrap_or(true) && block.read_only);
            // dm takes a disk whose size is not known.
            if block.size.0 > 0 {
                least = Some(least.map_or(block.size, |least| least.min(block.size)));
            }
            if handler.is_none() && proven {
                let evidence = Self::evidence(path, &device.groups);
                handler = device
                    .selection
                    .as_ref()
                    .and_then(|s| s.satp.handler(&evidence));
            }
        }
        if let Some(table) = table {
            unplaced = place_unknown(&mut candidates, table, |id| {
                self.paths
                    .get(&id)
                    .is_some_and(|path| path.judgement.class.is_some())
            });
            // Nobody proved anything since the start: the kernel's table is all there is to go by.
            handler = handler.or_else(|| table.handler.clone());
        }
        // The kernel takes no table of another mode for a map that is there; one of bios has no handler.
        let queue_mode = table.and_then(|table| table.features.queue_mode);
        if queue_mode == Some(QueueMode::Bio) {
            handler = None;
        }
        // A unit that grew: its map grows with it, once all of its disks are seen to have grown. It never shrinks.
        let length = length.max(least);
        View {
            settings,
            psp,
            options,
            read_only,
            candidates,
            unplaced,
            length: length.unwrap_or_default(),
            handler,
            queue_mode,
        }
    }

    /// The path that the kernel uses of a FIXED table: what was chosen before a restart.
    fn chosen_before(&self, wwid: &str) -> Option<Hctl> {
        let map = self.map_of(wwid)?;
        let (table, status) = (map.table.as_ref().ok()?, map.status.as_ref().ok()?);
        let in_use = status
            .groups
            .iter()
            .position(|group| group.state == GroupState::Active);
        let next = usize::try_from(status.group_now)
            .ok()
            .and_then(|n| n.checked_sub(1));
        let dev = table.groups.get(in_use.or(next)?)?.paths.first()?.dev;
        self.disks.get(&dev).copied()
    }

    /// The first table of a device, once its paths have settled.
    fn creation(&mut self, wwid: &str, view: &View, arrangement: &Arrangement) -> Vec<MapStep> {
        let Some(device) = self.devices.get(wwid) else {
            return Vec::new();
        };
        if view.candidates.is_empty() || view.length.0 == 0 || self.is_being_measured(device) {
            return Vec::new();
        }
        if let Some(at) = self.settles_at(device) {
            self.schedule
                .no_later_than(Key::Device(wwid.to_owned()), at);
            return Vec::new();
        }
        let table = table_of(view, arrangement, true);
        // Where all paths wait, the first read would have the array move the unit, and that is udev's.
        let waiting = self.waiting_alone(view);
        let usable = view.candidates.iter().map(|c| c.dev);
        let usable = usable.filter(|dev| !waiting.contains(dev)).collect();
        let wanted = Wanted {
            avoid: avoided(&table, view),
            table,
            usable,
        };
        let create = MapStep::Create {
            table: wanted.table_to_load(),
            usable: waiting.is_empty(),
            read_only: view.read_only.unwrap_or(false),
        };
        let held = wanted.messages_after_load();
        let held = held.into_iter().map(MapStep::Message);
        std::iter::once(create).chain(held).collect()
    }

    /// What becomes of a map without a table, left by an agent that was killed while it made the map.
    fn fill(
        &mut self,
        wwid: &str,
        map: &Map,
        view: &View,
        arrangement: &Arrangement,
    ) -> Vec<MapStep> {
        let needed = self
            .devices
            .get(wwid)
            .is_some_and(|device| device.disposition == Disposition::Stacked);
        if !needed && map.open_count == 0 {
            return vec![MapStep::Remove];
        }
        let first = if needed {
            self.creation(wwid, view, arrangement)
        } else {
            Vec::new()
        };
        first
            .into_iter()
            .map(|step| match step {
                MapStep::Create {
                    table,
                    usable,
                    read_only,
                } => MapStep::Reload {
                    table,
                    usable,
                    read_only,
                },
                other => other,
            })
            .collect()
    }

    /// Whether the device is about to get its map.
    pub(super) fn awaits_creation(&self, device: &Device) -> bool {
        let serves = |path: &Path| path.state().serves_io() && path.proof.may_carry_io();
        device.disposition == Disposition::Stacked
            && device.failure.is_none()
            && self.map_of(&device.wwid).is_none()
            && self.paths_of(device).any(serves)
    }

    /// When the set of paths of a new device may be taken for complete; `None` if it may be now.
    fn settles_at(&self, device: &Device) -> Option<Millis> {
        let settle = self.settings.settle_ms;
        let undecided = device
            .paths
            .iter()
            .filter_map(|id| self.paths.get(id))
            .any(|path| {
                path.exam.is_some() && (path.link == Link::Up) && path.judgement.class.is_none()
            });
        // Paths that were there at start were all examined before the start was over.
        if device.last_join <= self.started_at && !undecided {
            return None;
        }
        let quiet = device.last_join.after(settle);
        let patience = device.first_join.after(Millis(settle.0.saturating_mul(4)));
        let at = quiet.min(patience);
        (at > self.now).then_some(at)
    }

    /// What has to change about a map that exists. While some of its members are `unseen` only what leaves these as they
    /// are.
    fn correction(
        &mut self,
        wwid: &str,
        map: &Map,
        view: &View,
        arrangement: &Arrangement,
        usable: BTreeSet<DevT>,
        unseen: &BTreeSet<DevT>,
    ) -> Vec<MapStep> {
        let Some(device) = self.devices.get(wwid) else {
            return Vec::new();
        };
        if map.is_shell() {
            return self.fill(wwid, map, view, arrangement);
        }
        if map.suspended {
            return vec![MapStep::Resume];
        }
        let (Ok(table), Ok(_)) = (&map.table, &map.status) else {
            return self.observe_after(wwid, UNREADABLE_POLL);
        };
        let all_known = unseen.is_empty();
        let orphaned = all_known && device.paths.is_empty();
        let masked = self.paths_of(device).all(|path| path.is_masked());
        let off = self.is_off(&device.id);
        let lost = matches!(device.apd, Apd::Lost { .. });
        let given_away = self.is_given_away(device);
        let strays = given_away || self.has_strays(device) || self.has_refused(device);
        if all_known && (orphaned || masked || off || lost || given_away) && map.open_count == 0 {
            return vec![MapStep::Remove];
        }
        // Until a path is known to serve, a restart leaves the queueing as it was.
        let queue = !matches!(device.apd, Apd::TimedOut { .. } | Apd::Lost { .. })
            && (device.served || table.features.queue_if_no_path);
        // A map does not turn under a user: the kernel announces it by an event (DISK_RO) at which lvm2's udev rules take
        // the links of the map away until the next one, and systemd may unmount what was mounted by one of them.
        let in_use = map.open_count > 0;
        let waits_to_turn = in_use && view.read_only.is_some_and(|wanted| wanted != map.read_only);
        let read_only = view.read_only.filter(|_| !in_use).unwrap_or(map.read_only);
        let ideal = table_of(view, arrangement, queue);
        // Without a proven path there is nothing better to go by than the table that is there.
        let proven = view.candidates.iter().any(|c| {
            self.paths
                .get(&c.path)
                .is_some_and(|path| path.proof.unit().is_some())
        });
        let known = proven && all_known && !fails_what_it_queues(map);
        let mut wanted = Wanted {
            avoid: avoided(&ideal, view),
            table: ideal,
            usable,
        };
        if known || orphaned {
            let difference = match diff(map, &wanted) {
                Difference::None | Difference::Messages(_) if self.turns(wwid, map, read_only) => {
                    Difference::Reload(turned(read_only).to_owned())
                }
                difference => difference,
            };
            match difference {
                Difference::None => {
                    self.settled(wwid);
                    return if orphaned || lost || waits_to_turn || strays {
                        self.observe_after(wwid, CLOSE_POLL)
                    } else {
                        Vec::new()
                    };
                }
                Difference::Messages(messages) => {
                    self.settled(wwid);
                    return messages.into_iter().map(MapStep::Message).collect();
                }
                // Another queue mode would take a new map, and the users of this one their disk.
                Difference::Recreate(_) => {}
                Difference::Reload(reason) => {
                    let mut load = self.proven_part(&wanted, view);
                    let waiting = self.waiting_alone(view);
                    if self.is_unused(wwid) {
                        load.usable.retain(|dev| !waiting.contains(dev));
                    } else if self.is_ordered(wwid) {
                        load.usable.extend(&waiting);
                    }
                    if load.table.groups.is_empty() && !orphaned {
                        self.settled(wwid); // Until a path proves itself a new table brings nothing.
                    } else if !self.reload_must_wait(wwid, view)
                        && self.reload_is_due(wwid, map, &wanted)
                    {
                        if read_only != map.read_only && !self.was_seen_lately(wwid) {
                            return vec![MapStep::Observe]; // Perhaps somebody has it open by now.
                        }
                        let id = self
                            .devices
                            .get(wwid)
                            .map(|d| d.id.clone())
                            .unwrap_or_default();
                        self.notify(Severity::Info, "TABLE_RELOAD", id, &[("reason", &reason)]);
                        let reload = MapStep::Reload {
                            table: load.table_to_load(),
                            usable: load.usable.iter().any(|dev| !waiting.contains(dev)),
                            read_only,
                        };
                        if let Some(device) = self.devices.get_mut(wwid) {
                            device.loaded_read_only = Some(read_only);
                        }
                        let after = load.messages_after_load().into_iter().map(MapStep::Message);
                        return std::iter::once(reload).chain(after).collect();
                    }
                }
            }
        }
        if !(known || orphaned) {
            self.settled(wwid); // A change that was waited for has nothing to stand on any more.
        }
        // The table stays as it is for now: keep its paths and the choice of its groups true.
        wanted.table = within(table, arrangement, queue);
        wanted.avoid = avoided(&wanted.table, view);
        match diff(map, &wanted) {
            Difference::Messages(messages) => messages.into_iter().map(MapStep::Message).collect(),
            // When it is closed it is removed, or its paths join the units that they lead to.
            _ if lost || strays => self.observe_after(wwid, CLOSE_POLL),
            Difference::None | Difference::Reload(_) | Difference::Recreate(_) => Vec::new(),
        }
    }

    /// Whether the map takes writes and its disks do not any more, or the other way round. A table is loaded once for
    /// that: if the map stays as it was, somebody set it so.
    fn turns(&self, wwid: &str, map: &Map, read_only: bool) -> bool {
        let device = self.devices.get(wwid);
        let tried = device.and_then(|device| device.loaded_read_only);
        map.read_only != read_only && tried != Some(read_only)
    }

    /// Whether a step on the map ended just now, with an observation.
    fn was_seen_lately(&self, wwid: &str) -> bool {
        let device = self.devices.get(wwid);
        device.is_some_and(|device| self.now.since(device.last_done) < JUST_SEEN)
    }

    /// Looks at the map again this long after the last look.
    fn observe_after(&mut self, wwid: &str, pause: Millis) -> Vec<MapStep> {
        let Some(device) = self.devices.get(wwid) else {
            return Vec::new();
        };
        let at = device.last_done.after(pause);
        if at <= self.now {
            return vec![MapStep::Observe];
        }
        self.schedule
            .no_later_than(Key::Device(wwid.to_owned()), at);
        Vec::new()
    }

    /// Whether a wanted reload has waited long enough.
    fn reload_is_due(&mut self, wwid: &str, map: &Map, wanted: &Wanted) -> bool {
        let (ideal, usable) = (&wanted.table, &wanted.usable);
        let (now, settings) = (self.now, &self.settings);
        let Some(device) = self.devices.get_mut(wwid) else {
            return false;
        };
        let since = match &device.pending {
            Some(pending) if pending.table == *ideal => pending.since,
            _ => {
                device.pending = Some(Pending {
                    table: ideal.clone(),
                    since: now,
                });
                now
            }
        };
        let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
            return false;
        };
        let before: BTreeSet<DevT> = table.paths().map(|p| p.dev).collect();
        let after: BTreeSet<DevT> = ideal.paths().map(|p| p.dev).collect();
        let serves = status
            .groups
            .iter()
            .flat_map(|g| &g.paths)
            .any(|p| p.active && usable.contains(&p.dev));
        let wait = if before == after {
            settings.regroup_ms
        } else if !serves && after.iter().any(|dev| usable.contains(dev)) {
            Millis(0) // I/O waits for the very path that the reload brings.
        } else {
            settings.settle_ms
        };
        // After a failure what messages can do comes first, as if the change were not due yet.
        let retry_at = device.failure.as_ref().map(|failure| failure.retry_at);
        let at = since.after(wait).max(retry_at.unwrap_or_default());
        if at > now {
            self.schedule
                .no_later_than(Key::Device(wwid.to_owned()), at);
        }
        at <= now
    }

    /// All paths of a new table are active until messages fail them. A path that has to prove itself must not carry
    /// I/O for that long: it joins again when it has. (One that is being checked has its proof at once.)
    fn proven_part(&self, wanted: &Wanted, view: &View) -> Wanted {
        let unproven = |path: &Path| {
            let checked = !matches!(path.link, Link::Unchecked(_));
            checked && !path.proof.may_carry_io()
        };
        let out: BTreeSet<DevT> = view
            .candidates
            .iter()
            .filter(|c| self.paths.get(&c.path).is_some_and(unproven))
            .map(|c| c.dev)
            .filter(|dev| !wanted.usable.contains(dev))
            .collect();
        let mut table = wanted.table.clone();
        for group in &mut table.groups {
            group.paths.retain(|path| !out.contains(&path.dev));
        }
        table.groups.retain(|group| !group.paths.is_empty());
        Wanted {
            avoid: avoided(&table, view),
            table,
            usable: wanted.usable.clone(),
        }
    }

    fn settled(&mut self, wwid: &str) {
        if let Some(device) = self.devices.get_mut(wwid) {
            device.pending = None;
        }
    }

    /// The paths that dm should use: those that serve I/O; and those of which that is not known, as dm has them,
    /// unless they give no answer while others do, or what they were proven to be is in doubt. The last usable path is
    /// never failed on "unknown", nor is a member that discovery has not reported.
    fn usable(
        &mut self,
        wwid: &str,
        map: &Map,
        view: &View,
        unseen: &BTreeSet<DevT>,
    ) -> BTreeSet<DevT> {
        let active: BTreeSet<DevT> = map
            .status
            .iter()
            .flat_map(|status| &status.groups)
            .flat_map(|group| &group.paths)
            .filter(|path| path.active)
            .map(|path| path.dev)
            .collect();
        let mut usable: BTreeSet<DevT> = active.intersection(unseen).copied().collect();
        let mut held = BTreeSet::new();
        let mut silent = BTreeSet::new();
        let mut waiting = BTreeSet::new();
        let mut standby = Vec::new();
        for candidate in &view.candidates {
            let Some(path) = self.paths.get(&candidate.path) else {
                continue;
            };
            let is_active = active.contains(&candidate.dev);
            let wanted = match candidate.state {
                PathState::Active | PathState::ActiveUnoptimized => true,
                // A standby path that the host can activate is the kernel's to use, by the budget. One that only the
                // array can activate comes back while others serve, or the kernel would try it in a loop.
                PathState::Standby if !is_active && !self.can_activate(candidate.path) => {
                    if path.held_until() <= self.now {
                        waiting.insert(candidate.dev);
                    }
                    false
                }
                PathState::Standby if !is_active => {
                    standby.push((candidate.dev, path.held_until()));
                    false
                }
                PathState::Standby => true,
                PathState::Unknown if path.is_doubtful() => {
                    if is_active {
                        silent.insert(candidate.dev);
                    }
                    false
                }
                PathState::Unknown => is_active,
                PathState::Dead | PathState::Off | PathState::Masked => false,
            };
            let serves = candidate.state != PathState::Unknown;
            let held_until = path.held_until();
            if wanted && serves && held_until > self.now && !is_active {
                held.insert((held_until, candidate.dev, candidate.path));
            } else if wanted {
                usable.insert(candidate.dev);
            }
        }
        // The last path is not held for long, but long enough not to fail and return in a loop.
        let alone = usable.is_empty();
        for (hold_until, dev, id) in held {
            let Some(path) = self.paths.get(&id) else {
                continue;
            };
            let at = if alone {
                path.failed_at.after(LAST_PATH_HOLD).min(hold_until)
            } else {
                hold_until
            };
            if at <= self.now {
                usable.insert(dev);
            } else if let Some(wwid) = path.device.clone() {
                self.schedule.no_later_than(Key::Device(wwid), at);
            }
        }
        let serves = |c: &Candidate| c.state.serves_io() && usable.contains(&c.dev);
        let served = view.candidates.iter().any(serves);
        if served {
            usable.extend(waiting);
        }
        usable.extend(self.granted(wwid, &standby, served));
        if usable.is_empty() {
            usable = silent;
        }
        usable
    }

    pub(super) fn can_activate(&self, id: Hctl) -> bool {
        let Some(path) = self.paths.get(&id) else {
            return false;
        };
        let Some(device) = path
            .device
            .as_deref()
            .and_then(|wwid| self.devices.get(wwid))
        else {
            return false;
        };
        let evidence = Self::evidence(path, &device.groups);
        device
            .selection
            .as_ref()
            .is_some_and(|s| s.satp.can_activate(&evidence))
    }
}

/// Whether a new table would fail I/O that the map holds back: one of bios fails what it queues at each table load
/// (measured on 6.1, 6.12 and 7), and queues while it has no path.
fn fails_what_it_queues(map: &Map) -> bool {
    let (Ok(table), Ok(status)) = (&map.table, &map.status) else {
        return false;
    };
    let mut paths = status.groups.iter().flat_map(|group| &group.paths);
    table.features.queue_mode == Some(QueueMode::Bio)
        && table.features.queue_if_no_path
        && !paths.any(|path| path.active)
}

/// Why a map turns, for the log.
fn turned(read_only: bool) -> &'static str {
    if read_only {
        "its disks are read-only now"
    } else {
        "its disks are writable now"
    }
}
