//! From a path that was seen to a path whose logical unit, owner and device are known.

use super::action::{Action, Severity};
use super::adapter::Transport;
use super::claim::Subject;
use super::device::Device;
use super::event::UnitAttention;
use super::health::is_well;
use super::identity::{self, LogicalUnit};
use super::path::{BlockFacts, Exam, Path, PathFacts, Stage};
use super::proof::{Answer, Identity, Proven};
use super::satp::Link;
use super::schedule::{Key, Schedule};
use super::units::{Hctl, Millis};
use super::world::World;
use crate::scsi::cdb::{Command, Commands};
use crate::scsi::vpd;
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

/// A path that is in no table proves its identity this often. One that is in a table proves it with every check: arrays
/// report a LUN that leads elsewhere by a unit attention, but not all of them, and not to the host whose path it is (LIO
/// informs the other LUNs alone), and while no I/O runs nothing else would ever show it.
const PROVE_AGAIN: Millis = Millis::from_secs(60);

/// What a path is asked that works and is in no table.
const READY: &[Command] = &[Command::TestUnitReady];

/// What most checks are: a path that works and is in a table.
const READY_AND_PROOF: &[Command] = &[
    Command::TestUnitReady,
    Command::Vpd(vpd::DEVICE_IDENTIFICATION),
];

/// Every other check of such a path, while it is well and others lead to its device: a path that says who it is answers, and
/// a change of the array is reported by a unit attention to TEST UNIT READY on any path. To ask each of them both questions
/// each time costs the processor a third more.
const PROOF: &[Command] = &[Command::Vpd(vpd::DEVICE_IDENTIFICATION)];

/// Each path is asked whether it is ready at least this often; where checks are rarer than half of that, with each.
const READY_AGAIN: Millis = Millis::from_secs(10);

/// In one turn of so many, each as long as [`PROVE_AGAIN`], a path that was well says whether it takes writes. An array that
/// protects one port of many is rare, and a command more in each turn would be one of twenty-five.
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
                    let size = path.size();
                    let kernel = |block: &Option<BlockFacts>| block.as_ref().map(|b| b.size);
                    if kernel(&path.facts.block) != kernel(&block) {
                        path.measured = None; // The kernel has just asked.
                    }
                    path.facts = PathFacts { block, ..facts };
                    if path.size() != size {
                        path.sized_at = self.now;
                    }
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
        let (name, learned) = self.runtime_name(&facts);
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
        if path.proof.assume(wwid) {
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
            UnitAttention::InquiryDataHasChanged => {
                return self.doubt(id, "its INQUIRY data changed");
            }
            UnitAttention::ReportedLunsDataHasChanged => return self.prove_target(id),
            UnitAttention::PowerOnResetOccurred => path.proof.owe(),
            UnitAttention::CapacityDataHasChanged => {
                path.measure = true;
                self.reread(id);
            }
            // Write protection is a mode parameter. That the kernel reads it again is all there is to be done.
            UnitAttention::ModeParametersChanged => {
                return self.reread(id);
            }
            UnitAttention::AsymmetricAccessStateChanged => path.ask_groups = true,
            UnitAttention::ThinProvisioningSoftThresholdReached => return,
        }
        self.examine_now(id);
    }

    /// Perhaps another logical unit is behind the path: it is asked now, and until it has proven itself I/O goes to
    /// others, if there are any. The kernel repeats I/O that was refused with a unit attention, so nothing waits for the
    /// answer. For every hint, whoever gives it.
    pub(super) fn doubt(&mut self, id: Hctl, why: &str) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        path.proof.owe();
        if path.proof.doubt(why) {
            self.judge(id);
            self.mark_dirty(id);
        }
        self.examine_now(id);
    }

    /// The target has other LUNs than before, which it may tell by any of them: what is behind each is asked again.
    fn prove_target(&mut self, id: Hctl) {
        let members: Vec<Hctl> = self.paths.range(id.nexus()).map(|(id, _)| *id).collect();
        for member in members {
            if let Some(path) = self.paths.get_mut(&member) {
                path.proof.owe();
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
            path.ready_at = Millis(0); // There is a reason to ask it everything.
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
        if let Some(hints) = path.hints.as_deref_mut()
            && hints.is_asked(now)
        {
            path.proof.owe();
        }
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let (stage, commands) = self.commands_for(id, path);
        let ticket = self.ticket();
        let timeout = self.settings.check_timeout_ms;
        let deadline = self.settings.check_deadline_ms;
        let sent = self.now;
        let measures = commands.contains(&Command::ReadCapacity16);
        if let Some(path) = self.paths.get_mut(&id) {
            path.exam = Some(Exam {
                ticket,
                sent,
                stage,
                measures,
            });
            path.again = false;
            path.measure = false;
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
        let mut commands = Commands::Borrowed(READY);
        let owed = path.proof.is_owed();
        let settled = path.proof.may_carry_io() && !owed;
        // One that comes back is compared with the others in all: the same identity with another product or size is
        // another unit.
        let identified = !self.unidentified.contains(&id);
        let returns = identified && path.proof.expected().is_some() && !settled;
        let turn = self.is_due(path.proof.proven_at(), PROVE_AGAIN);
        let compare = returns || (turn && path.mismatch.is_some());
        if owed || compare {
            commands.to_mut().push(Command::Inquiry);
        }
        if !identified {
            if askable {
                commands.to_mut().extend([page83, Command::ModeSense6]);
            }
            if inquiry.tpgs != crate::scsi::inquiry::Tpgs::None {
                commands.to_mut().push(report);
            }
            return (Stage::Identify, commands);
        }
        let asked = match path.proof.identity() {
            Identity::Proven(_) => owed || turn || path.measure || self.is_held(path),
            Identity::Nameless(_) => owed,
            _ => true,
        };
        if askable && asked {
            if settled && !compare {
                commands = Commands::Borrowed(READY_AND_PROOF);
            } else {
                commands.to_mut().push(page83);
            }
            if (turn || !settled) && self.is_asked_for_writes(id, path) {
                commands.to_mut().push(Command::ModeSense6);
            }
            if path.measure || compare {
                commands.to_mut().push(Command::ReadCapacity16);
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
            let is_proof = matches!(commands, Commands::Borrowed(READY_AND_PROOF));
            if is_proof && !turn && self.is_proof_enough(id, path) {
                commands = Commands::Borrowed(PROOF);
            }
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

    /// Whether a path that is well need not say now that it is ready: the paths of its device take turns, half of them with
    /// each check.
    fn is_proof_enough(&self, id: Hctl, path: &Path) -> bool {
        let interval = self.settings.check_interval_ms;
        let next = self.now.after(interval);
        if !is_well(path) || next > path.ready_at.after(READY_AGAIN).after(SLACK) {
            return false;
        }
        let Some(device) = self.device_of(path) else {
            return false;
        };
        // Where one controller serves at a time the answer says which.
        let selection = device.selection.as_ref();
        if selection.is_none_or(|selection| selection.satp.is_exclusive()) {
            return false;
        }
        // Odd turns are the proof alone; neighbours differ, and so do two checks of a path.
        let round = self.now.0.checked_div(interval.0).unwrap_or(0);
        let (mut is_odd, mut others) = (round % 2 == 1, false);
        for member in &device.paths {
            if *member != id && self.paths.get(member).is_some_and(is_well) {
                others = true;
                is_odd ^= *member < id;
            }
        }
        others && is_odd
    }

    /// Whether the disk of the path is in the table of a map.
    pub(super) fn is_held(&self, path: &Path) -> bool {
        path.dev()
            .is_some_and(|dev| self.index.holder(dev).is_some())
    }

    /// Whether a path that proves itself says too whether it takes writes: each time when there is a reason to doubt it, and
    /// else in every fourth turn, when it is its turn among the paths of its device. When one says something new the others
    /// are asked immediately.
    fn is_asked_for_writes(&self, id: Hctl, path: &Path) -> bool {
        let proven = path.proof.may_carry_io();
        if !proven || path.proof.is_owed() || path.write_protected != Some(false) {
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
            path.proof.identity(),
            Identity::Quarantined { .. } | Identity::Absent { .. } | Identity::Nameless(_)
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
                    let proven = o.proof.may_carry_io();
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

    /// Page 83h was read, or is refused: what it means for the path.
    pub(super) fn identify(&mut self, id: Hctl, page83: Result<&[u8], &str>) {
        let now = self.now;
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if page83.is_ok_and(|page| path.device.is_some() && path.proof.repeats(page)) {
            return path.proof.repeated(now);
        }
        match path.proof.answered(page83, path.again, now) {
            Answer::Outdated => {}
            Answer::Proven(proven) => self.is_proven(id, &proven),
            Answer::Different { found, news } => {
                if news {
                    self.is_different(id, &found);
                }
            }
            Answer::Absent { why, news } => {
                if news {
                    self.is_absent(id, &why);
                }
            }
            Answer::Unproven { why, news, repeat } => {
                path.again |= repeat;
                if news {
                    self.is_unproven(id, &why);
                }
            }
            Answer::Nameless { why, news } => {
                if news {
                    self.is_nameless(id, &why);
                }
            }
        }
    }

    /// The path leads to the logical unit that is expected, or to the first that it named.
    fn is_proven(&mut self, id: Hctl, proven: &Proven) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        path.port_group = proven.port_group;
        path.relative_port = proven.relative_port;
        let name = path.name.to_string();
        self.unidentified.remove(&id);
        let unit = &proven.unit;
        if proven.was_quarantined {
            let details = [("device", unit.device_id.as_str())];
            self.notify(
                Severity::Info,
                "PATH_QUARANTINE_ENDED",
                name.clone(),
                &details,
            );
        }
        if let Some(remark) = &proven.remark {
            let details = [
                ("device", unit.device_id.as_str()),
                ("reason", remark),
                ("effect", "the designators before it count"),
            ];
            self.notify(
                Severity::Warning,
                "IDENTIFICATION_MALFORMED",
                name,
                &details,
            );
        }
        self.join(id, &unit.wwid, &unit.device_id, Some(unit.clone()));
        if proven.lists_others {
            for member in self.members_with(id) {
                self.judge(member);
            }
        }
    }

    /// The unit was known and does not say who it is now. That is no proof that another is there: the path is used while
    /// there is no other.
    fn is_unproven(&mut self, id: Hctl, why: &str) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let name = path.name.to_string();
        let effect = "it carries I/O only while no other path serves, until it proves to be the same logical unit";
        let details = [("reason", why), ("effect", effect)];
        self.notify(Severity::Warning, "PATH_UNPROVEN", name, &details);
    }

    /// The path is not to be asked for its identity.
    pub(super) fn is_named_by_address(&mut self, id: Hctl, why: &str) {
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if let Answer::Nameless { news: true, .. } = path.proof.nameless(why.to_owned()) {
            self.is_nameless(id, why);
        }
    }

    /// The logical unit does not name itself: it is listed, and never stacked.
    pub(super) fn is_nameless(&mut self, id: Hctl, why: &str) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        let device_id = format!("mpx.{}", path.name);
        self.unidentified.remove(&id);
        self.join(id, &device_id, &device_id, None);
        let details = [("reason", why)];
        self.notify(Severity::Warning, "DEVICE_NAMELESS", device_id, &details);
    }

    /// The path belongs to this device.
    pub(super) fn join(
        &mut self,
        id: Hctl,
        wwid: &str,
        device_id: &str,
        unit: Option<LogicalUnit>,
    ) {
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
