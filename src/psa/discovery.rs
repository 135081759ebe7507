//! From a path that was seen to a path whose logical unit, owner and device are known.

use super::action::{Action, Severity};
use super::adapter::{Transport, runtime_name};
use super::claim::Subject;
use super::device::Device;
use super::event::UnitAttention;
use super::identity::{self, LogicalUnit};
use super::path::{BlockFacts, Exam, Identity, Path, PathFacts, Stage};
use super::satp::Link;
use super::schedule::{Key, Schedule};
use super::units::{Hctl, Millis};
use super::world::World;
use crate::scsi::cdb::{Command, Commands};
use crate::scsi::vpd::{self, DeviceIdentification};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The device id that goes with a WWID, as far as that tells: what a device is called until a path proves more.
pub(super) fn device_id_of(wwid: &str) -> String {
    let hex = |rest: &str| rest.bytes().all(|b| b.is_ascii_hexdigit());
    match wwid.split_at_checked(1) {
        Some(("3", rest)) if hex(rest) => format!("naa.{rest}"),
        Some(("2", rest)) if hex(rest) => format!("eui.{rest}"),
        _ => identity::safe_name(wwid),
    }
}

/// Peripheral device type 00h: direct access block device. Nothing else is multipathed.
const DIRECT_ACCESS: u8 = 0;

/// A change of the states raises a unit attention on every nexus (SPC-5 5.18.2.3), the next TEST UNIT READY brings it
/// to light, and then the states are asked for at once. So asking without that is for arrays that keep it to themselves.
const REPORT_AGAIN: Millis = Millis::from_secs(60);

/// A path that serves proves its identity this often without being asked to. Arrays tell of a LUN that leads elsewhere by
/// a unit attention, but not all of them, and not to the host whose path it is (LIO tells the other LUNs alone).
const PROVE_AGAIN: Millis = Millis::from_secs(60);

/// With one proof of so many, a path that was well says whether it takes writes. An array that protects one port of many
/// is rare, and a command more with each proof would be a fifteenth of all.
const TURNS: u64 = 4;

/// What is due so soon is done with this check: checks come at slots of the interval, not to the millisecond.
const SLACK: Millis = Millis(500);

impl World {
    /// A path is there: new, come back as another disk, or with other facts.
    pub(super) fn path_seen(&mut self, facts: PathFacts) {
        let id = facts.hctl;
        let dev = facts.block.as_ref().map(|block| block.dev);
        let known = self
            .paths
            .get(&id)
            .map(|path| (path.dev(), path.facts == facts));
        match known {
            // The disk went and came back under the same address while nobody was looking: another path.
            Some((Some(before), _)) if dev.is_some_and(|dev| dev != before) => {
                self.path_gone(id);
                self.path_new(facts);
            }
            Some((_, true)) => {}
            Some((before, false)) => {
                let mut other_disk = false;
                if let Some(path) = self.paths.get_mut(&id) {
                    // A disk that is being removed loses its block device first; its number stays until then.
                    let block = facts.block.clone().or_else(|| path.facts.block.clone());
                    let shape = |block: &Option<BlockFacts>| {
                        block.as_ref().map(|block| (block.size, block.read_only))
                    };
                    other_disk = shape(&path.facts.block) != shape(&block);
                    path.facts = PathFacts { block, ..facts };
                    self.index.path(path);
                }
                if before.is_none() {
                    self.disk_bound(id);
                }
                self.mark_dirty(id);
                if other_disk {
                    self.compare_disks(id);
                }
                if self.unidentified.contains(&id) {
                    self.schedule.set(Key::Path(id), self.now);
                }
            }
            None => self.path_new(facts),
        }
    }

    fn path_new(&mut self, facts: PathFacts) {
        let id = facts.hctl;
        let (name, learned) = runtime_name(&mut self.memory, &facts);
        if learned {
            self.remember();
        }
        let is_disk = facts.device_type == DIRECT_ACCESS;
        let path = Path::new(facts, name, self.now);
        self.returned(&path);
        self.index.path(&path);
        self.paths.insert(id, Box::new(path));
        if is_disk {
            self.unidentified.insert(id);
            self.disk_bound(id);
            self.schedule.set(Key::Path(id), self.now);
        }
    }

    /// The disk of a path is known: is it in the table of a map that was there before us?
    fn disk_bound(&mut self, id: Hctl) {
        let path = self.paths.get(&id);
        let path = path.filter(|path| path.facts.device_type == DIRECT_ACCESS);
        let Some(dev) = path.and_then(Path::dev) else {
            return;
        };
        self.disks.insert(dev, id);
        self.lookups.bound(dev);
        if let Some(wwid) = self.index.holder(dev).map(str::to_owned) {
            self.assume(id, &wwid);
        }
    }

    /// A path stands in the table of this device's map: it belongs to it unless a proof says otherwise.
    pub(super) fn assume(&mut self, id: Hctl, wwid: &str) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if path.identity == Identity::Unknown {
            path.identity = Identity::Assumed(wwid.to_owned());
            self.join(id, wwid, &device_id_of(wwid), None);
        }
    }

    /// A path is gone.
    pub(super) fn path_gone(&mut self, id: Hctl) {
        let Some(path) = self.paths.remove(&id) else {
            return;
        };
        self.index.path_gone(id);
        self.retried.remove(&id);
        self.schedule.cancel(&Key::Path(id));
        self.unidentified.remove(&id);
        if let Some(dev) = path.dev() {
            if self.disks.get(&dev) == Some(&id) {
                self.disks.remove(&dev);
                if self.index.holder(dev).is_some() {
                    self.lookups.removed(dev);
                }
            }
            self.actions.push(Action::ForgetOwner(dev));
        }
        let device = path.device.as_ref().and_then(|wwid| self.devices.get(wwid));
        let device_id = device.map(|device| device.id.clone());
        self.leave(id, path.device.as_deref());
        if path.is_masked() && path.withdrawn_at.is_some() {
            let name = path.name.to_string();
            self.withdrawn(*path);
            let effect = "its SCSI device is taken away from the host";
            return self.notify(
                Severity::Info,
                "PATH_WITHDRAWN",
                name,
                &[("effect", effect)],
            );
        }
        if let Some(device_id) = device_id {
            self.notify(
                Severity::Warning,
                "PATH_REMOVED",
                path.name.to_string(),
                &[("device", &device_id), ("hctl", &id.to_string())],
            );
        }
    }

    fn leave(&mut self, id: Hctl, wwid: Option<&str>) {
        let Some(device) = wwid.and_then(|wwid| self.devices.get_mut(wwid)) else {
            return;
        };
        device.paths.remove(&id);
        device.last_join = self.now;
        self.dirty.insert(device.wwid.clone());
    }

    /// A full enumeration ended.
    pub(super) fn paths_listed(&mut self, present: &BTreeSet<Hctl>) {
        let gone: Vec<Hctl> = self
            .paths
            .keys()
            .filter(|id| !present.contains(id))
            .copied()
            .collect();
        for id in gone {
            self.path_gone(id);
        }
        self.paths_listed = true;
    }

    /// A unit attention: what it makes doubtful is asked for at once.
    pub(super) fn unit_attention(&mut self, id: Hctl, kind: UnitAttention) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        match kind {
            UnitAttention::InquiryDataHasChanged => self.doubt(id, "its INQUIRY data changed"),
            UnitAttention::ReportedLunsDataHasChanged => return self.prove_target(id),
            UnitAttention::PowerOnResetOccurred => path.reprove = true,
            UnitAttention::CapacityDataHasChanged => self.actions.push(Action::RescanDevice(id)),
            // Write protection is a mode parameter. That the kernel reads it again is all there is to be done.
            UnitAttention::ModeParametersChanged => {
                return self.actions.push(Action::RescanDevice(id));
            }
            UnitAttention::AsymmetricAccessStateChanged => path.ask_groups = true,
            UnitAttention::ThinProvisioningSoftThresholdReached => return,
        }
        self.examine_now(id);
    }

    /// Perhaps another logical unit is there from this command on, and the kernel repeats the I/O that it refused: until
    /// the path has proven itself I/O goes to others, if there are any.
    pub(super) fn doubt(&mut self, id: Hctl, why: &str) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        path.reprove = true;
        if let Identity::Proven(unit) = &path.identity {
            path.identity = Identity::Stale(unit.clone());
            path.link = Link::NoAnswer(format!("{why}; it is to prove itself again"));
            self.judge(id);
            self.mark_dirty(id);
        }
    }

    /// The target has other LUNs than before, which it may tell by any of them: what is behind each is asked again.
    fn prove_target(&mut self, id: Hctl) {
        let members: Vec<Hctl> = self.paths.range(id.nexus()).map(|(id, _)| *id).collect();
        for member in members {
            if let Some(path) = self.paths.get_mut(&member) {
                path.reprove = true;
            }
            self.examine_now(member);
        }
    }

    /// Examines a path at once, or once more when the examination under way has ended.
    pub(super) fn examine_now(&mut self, id: Hctl) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if path.exam.is_some() {
            path.again = true;
        } else {
            self.path_due(id);
        }
    }

    /// The examination of a path is due.
    pub(super) fn path_due(&mut self, id: Hctl) {
        let now = self.now;
        let Some(path) = self.paths.get_mut(&id) else {
            // Set after the path went: the schedule keeps a key until it is cancelled.
            return self.schedule.cancel(&Key::Path(id));
        };
        if path.exam.is_some() {
            return;
        }
        let Some(sg) = path.facts.sg else {
            // No pass-through device yet; its uevent brings new facts. The module may also be missing.
            let at = self.now.after(self.settings.check_interval_ms);
            self.schedule.set(Key::Path(id), at);
            self.actions.push(Action::RefreshFacts(id));
            return;
        };
        if let Some(hints) = path.hints.as_deref_mut() {
            path.reprove |= hints.is_asked(now);
        }
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let (stage, commands) = self.commands_for(id, path);
        let ticket = self.ticket();
        let timeout = self.settings.check_timeout_ms;
        let deadline = self.settings.check_deadline_ms;
        let sent = self.now;
        if let Some(path) = self.paths.get_mut(&id) {
            path.exam = Some(Exam {
                ticket,
                sent,
                stage,
            });
            path.again = false;
            path.ask_groups = false;
        }
        self.actions.push(Action::Examine {
            path: id,
            sg,
            ticket,
            commands,
            timeout,
            deadline,
        });
    }

    /// What to ask a path.
    fn commands_for(&self, id: Hctl, path: &Path) -> (Stage, Commands) {
        let Some(inquiry) = &path.inquiry else {
            return (Stage::Inquiry, Cow::Borrowed(&[Command::Inquiry]));
        };
        let page83 = Command::Vpd(vpd::DEVICE_IDENTIFICATION);
        let report = if path.short_header {
            Command::ReportTargetPortGroupsShort
        } else {
            Command::ReportTargetPortGroups
        };
        // Many USB bridges hang on a VPD page that they do not know; their disks are never stacked.
        let askable = path.facts.transport != Transport::Usb;
        let mut commands = Commands::Borrowed(&[Command::TestUnitReady]);
        if path.reprove {
            commands.to_mut().push(Command::Inquiry);
        }
        if self.unidentified.contains(&id) {
            if askable {
                commands.to_mut().extend([page83, Command::ModeSense6]);
            }
            if inquiry.tpgs != crate::scsi::inquiry::Tpgs::None {
                commands.to_mut().push(report);
            }
            return (Stage::Identify, commands);
        }
        let doubtful = match path.identity {
            Identity::Proven(_) => path.reprove || self.is_due(path.proven_at, PROVE_AGAIN),
            Identity::Nameless(_) => path.reprove,
            _ => true,
        };
        if askable && doubtful {
            commands.to_mut().push(page83);
            if self.is_asked_for_writes(id, path) {
                commands.to_mut().push(Command::ModeSense6);
            }
        }
        // What else is asked depends on the device, and there is nothing else to ask a path that is well.
        let report_due = path
            .reported_at
            .is_none_or(|at| self.is_due(at, REPORT_AGAIN));
        let well = path.judged
            && path.link == Link::Up
            && path.failed_since.is_none()
            && path.suspect_since.is_none();
        if well && !report_due && !path.ask_groups && path.ownership.is_none() {
            return (Stage::Check, commands);
        }
        let device = self.device_of(path);
        if device.is_some_and(|device| self.is_reporter(id, path, device, report_due)) {
            commands.to_mut().push(report);
        }
        let selection = device.and_then(|device| device.selection.as_ref());
        let page = selection.and_then(|selection| selection.satp.ownership_page());
        if let Some(page) = page {
            commands.to_mut().push(Command::Vpd(page));
        }
        (Stage::Check, commands)
    }

    /// Whether a path that proves itself says too whether it takes writes: each time when there is a reason to doubt it, and
    /// else every fourth time, when it is its turn among the paths of its device. What one says anew the others are asked
    /// about at once.
    fn is_asked_for_writes(&self, id: Hctl, path: &Path) -> bool {
        let proven = matches!(path.identity, Identity::Proven(_));
        if !proven || path.reprove || path.write_protected != Some(false) {
            return true;
        }
        let members = self.device_of(path).map(|device| device.paths.iter());
        let place = members.and_then(|mut members| members.position(|member| *member == id));
        let place = place.and_then(|place| u64::try_from(place).ok());
        place.is_none_or(|place| place % TURNS == self.turn(self.now, PROVE_AGAIN) % TURNS)
    }

    /// See [`Schedule::turn`].
    fn turn(&self, at: Millis, every: Millis) -> u64 {
        let interval = self.settings.check_interval_ms;
        Schedule::turn(at, interval, Schedule::moments(self.paths.len()), every)
    }

    /// Whether the path asks for the states of the port groups: one working path of each group does every
    /// [`REPORT_AGAIN`], since the ports of a controller answer from that controller's view; and any path that
    /// is not known to work, so that its first good answer comes with the states.
    fn is_reporter(&self, id: Hctl, path: &Path, device: &Device, due: bool) -> bool {
        if !device
            .selection
            .as_ref()
            .is_some_and(|s| s.satp.reports_port_groups())
        {
            return false;
        }
        // It would tell of another unit.
        if matches!(
            path.identity,
            Identity::Quarantined { .. } | Identity::Nameless(_)
        ) {
            return false;
        }
        // A port that refuses because of the state that its group is known to have tells nothing new.
        let expected = match &path.link {
            Link::Up => true,
            Link::Refused(state, _) => {
                let group = path.port_group.and_then(|id| device.groups.get(&id));
                group.is_some_and(|group| group.access == *state)
            }
            _ => false,
        };
        if !expected || path.ask_groups || path.suspect_since.is_some() {
            return true;
        }
        due && {
            let first = device.paths.iter().find(|other| {
                self.paths.get(other).is_some_and(|o| {
                    let proven = matches!(o.identity, Identity::Proven(_));
                    let answers = matches!(o.link, Link::Up | Link::Refused(..));
                    proven && o.port_group == path.port_group && answers
                })
            });
            first == Some(&id)
        }
    }

    /// Whether what was done last then is due again: after `every` at the latest, and before where it is the turn of all
    /// that are checked at this moment.
    fn is_due(&self, last: Millis, every: Millis) -> bool {
        self.now.since(last).after(SLACK) >= every
            || self.turn(self.now, every) != self.turn(last, every)
    }

    /// Page 83h was read, or could not be: what it means for the path.
    pub(super) fn identify(&mut self, id: Hctl, page83: Result<&[u8], String>) {
        let page = page83.as_ref().map_or(&[][..], |bytes| bytes);
        let found = page83.as_ref().map_err(String::clone).and_then(|bytes| {
            let unit = identity::identify(bytes).map_err(|problem| problem.to_string())?;
            let page = DeviceIdentification::parse(bytes).map_err(|error| error.to_string())?;
            Ok((unit, page.target_port_group(), page.relative_target_port()))
        });
        let now = self.now;
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if path.reprove && path.again {
            return; // The unit attention may be younger than the answer; the path is asked once more.
        }
        // What a path proved itself by is what it is compared with: nothing else takes the place of that.
        if found.is_ok() || !matches!(path.identity, Identity::Proven(_)) {
            page.clone_into(&mut path.answers.identification);
        }
        let (unit, port_group, relative_port) = match found {
            Ok(found) => found,
            Err(why) => {
                // A path in use that cannot prove itself just now is not taken out of use for that: only a
                // contradiction is a proof. It stays stale, if it was, and carries no I/O until proven.
                match path.identity {
                    Identity::Unknown => self.nameless(id, why),
                    Identity::Nameless(_) => path.reprove = false,
                    _ => self.unproven(id, why),
                }
                return;
            }
        };
        path.reprove = false;
        path.proof_problem = None;
        path.proven_at = now;
        let expected = match &path.identity {
            Identity::Assumed(wwid) => Some(wwid.clone()),
            Identity::Proven(before) | Identity::Stale(before) => Some(before.wwid.clone()),
            Identity::Quarantined { expected, .. } => Some(expected.clone()),
            Identity::Unknown | Identity::Nameless(_) => None,
        };
        if expected.as_ref().is_some_and(|wwid| *wwid != unit.wwid) {
            self.quarantine(id, &expected.unwrap_or_default(), &unit);
            return;
        }
        path.port_group = port_group;
        path.relative_port = relative_port;
        let released = matches!(path.identity, Identity::Quarantined { .. });
        path.identity = Identity::Proven(unit.clone());
        let name = path.name.to_string();
        self.unidentified.remove(&id);
        if released {
            self.notify(
                Severity::Info,
                "PATH_QUARANTINE_ENDED",
                name,
                &[("device", &unit.device_id)],
            );
        }
        let (wwid, device_id) = (unit.wwid.clone(), unit.device_id.clone());
        self.join(id, &wwid, &device_id, Some(unit));
    }

    /// A path that says by the very same page what it said before is what it was; nothing follows from it.
    pub(super) fn proven_again(&mut self, id: Hctl, page83: &[u8]) -> bool {
        let now = self.now;
        let Some(path) = self.paths.get_mut(&id) else {
            return false;
        };
        let same = matches!(path.identity, Identity::Proven(_))
            && path.device.is_some()
            && path.answers.identification == page83;
        // With both, the unit attention may be younger than the answer.
        if same && !(path.reprove && path.again) {
            path.reprove = false;
            path.proof_problem = None;
            path.proven_at = now;
        }
        same
    }

    /// The unit was known and does not say who it is now.
    fn unproven(&mut self, id: Hctl, why: String) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if path.proof_problem.as_ref() == Some(&why) {
            return;
        }
        path.proof_problem = Some(why.clone());
        let effect = if matches!(path.identity, Identity::Proven(_)) {
            "it stays in use: only another identity is a reason to end that"
        } else {
            "it carries no I/O until it proves to be the same logical unit"
        };
        let name = path.name.to_string();
        self.notify(
            Severity::Warning,
            "PATH_UNPROVEN",
            name,
            &[("reason", &why), ("effect", effect)],
        );
    }

    /// The logical unit does not name itself: it is listed, and never stacked.
    pub(super) fn nameless(&mut self, id: Hctl, why: String) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        path.identity = Identity::Nameless(why.clone());
        let name = path.name;
        self.unidentified.remove(&id);
        let device_id = format!("mpx.{name}");
        self.join(id, &device_id, &device_id, None);
        self.notify(
            Severity::Warning,
            "DEVICE_NAMELESS",
            device_id,
            &[("reason", &why)],
        );
    }

    /// Another logical unit answers than the one that the path is in use for: no I/O goes there.
    fn quarantine(&mut self, id: Hctl, expected: &str, unit: &LogicalUnit) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let found = format!("{} answers where {expected} is expected", unit.device_id);
        let quarantined = Identity::Quarantined {
            expected: expected.to_owned(),
            found: found.clone(),
        };
        if path.identity == quarantined {
            return;
        }
        path.identity = quarantined;
        let (name, device) = (path.name.to_string(), path.device.clone());
        self.unidentified.remove(&id);
        self.dirty.extend(device);
        self.notify(
            Severity::Error,
            "PATH_QUARANTINED",
            name,
            &[
                ("reason", &found),
                ("action", "map the LUN back, or delete the path and rescan"),
            ],
        );
    }

    /// The path belongs to this device.
    fn join(&mut self, id: Hctl, wwid: &str, device_id: &str, unit: Option<LogicalUnit>) {
        let now = self.now;
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let before = path.device.replace(wwid.to_owned());
        if before.as_deref() != Some(wwid) {
            self.leave(id, before.as_deref());
        }
        let device = self
            .devices
            .entry(wwid.to_owned())
            .or_insert_with(|| Device::new(wwid, device_id, now));
        if device.paths.insert(id) {
            device.last_join = now;
        }
        if let Some(unit) = unit {
            device.id.clone_from(&unit.device_id);
            device.unit = Some(unit);
        }
        self.dirty.insert(wwid.to_owned());
        // A rule for a device could not match before the device was known.
        if before.as_deref() != Some(wwid) && self.rules.claim.asks_for_device() {
            self.claim_found(id);
        }
    }

    /// What claim rules may look at; `None` while its INQUIRY strings are not known.
    pub(super) fn subject<'a>(&'a self, path: &'a Path) -> Option<Subject<'a>> {
        let inquiry = path.inquiry.as_ref()?;
        Some(Subject {
            vendor: inquiry.vendor_trimmed(),
            model: inquiry.product_trimmed(),
            inquiry: &inquiry.raw,
            facts: &path.facts,
            name: path.name,
            device: self.device_of(path).map(|device| device.id.as_str()),
        })
    }

    /// The device of the path is to be looked at.
    pub(super) fn mark_dirty(&mut self, id: Hctl) {
        if let Some(wwid) = self.paths.get(&id).and_then(|path| path.device.clone()) {
            self.dirty.insert(wwid);
        }
    }
}
