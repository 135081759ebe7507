//! Which commands are sent to a path, and when.
//!
//! Every check of a path that is in a table reads its identity (VPD page 83h). TEST UNIT READY, target port groups,
//! write protection and capacity are asked for less often, in turns, and immediately where something is in doubt.

use crate::psa::action::{Action, Examine};
use crate::psa::adapter::Transport;
use crate::psa::evidence::Link;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::exams::{Exam, Stage};
use crate::psa::state::path::Path;
use crate::psa::state::proof::Identity;
use crate::psa::state::schedule::{Key, Schedule};
use crate::psa::units::{Hctl, Millis};
use crate::scsi::cdb::{Command, Commands};
use crate::scsi::vpd;
use std::borrow::Cow;

/// A change of the states raises a unit attention on every nexus (SPC-5 5.18.2.3). The next TEST UNIT READY reveals it,
/// and then the states are asked for immediately. The periodic query is for arrays that do not report such changes.
const REPORT_AGAIN: Millis = Millis::from_secs(60);

/// A path that is in no table proves its identity this often. A path in a table proves it with every check. Arrays
/// report by a unit attention that a LUN leads elsewhere, but not all arrays do, and not to the host whose path it is
/// (LIO informs only the other LUNs). While no I/O runs, nothing else would show it.
const PROVE_AGAIN: Millis = Millis::from_secs(60);

/// The commands for a path that works and is in no table.
const READY: &[Command] = &[Command::TestUnitReady];

/// The commands of most checks: for a path that works and is in a table.
const READY_AND_PROOF: &[Command] = &[
    Command::TestUnitReady,
    Command::Vpd(vpd::DEVICE_IDENTIFICATION),
];

/// Every other check of such a path, while it works and other paths lead to its device. A path that proves its identity
/// does answer, and the array reports a change by a unit attention to TEST UNIT READY on any path. Sending both
/// commands to each path every time would take a third more CPU time.
const PROOF: &[Command] = &[Command::Vpd(vpd::DEVICE_IDENTIFICATION)];

/// Each path is sent TEST UNIT READY at least this often; with each check, if the check interval is more than half of
/// this.
const READY_AGAIN: Millis = Millis::from_secs(10);

/// In one of this many turns, each as long as [`PROVE_AGAIN`], a path that works is asked whether it is
/// write-protected. It is rare that an array protects one of many ports, and doing this every turn would be one command
/// in twenty-five.
const TURNS: u64 = 4;

/// What is due within this time is done with the current check: checks come at slots of the interval, not to the
/// millisecond.
const SLACK: Millis = Millis(500);

/// The LUNs of the target changed, which the target may report on any LUN. All paths to the target have to prove their
/// identity again.
pub(in crate::psa) fn prove_target(world: &mut World, id: Hctl) {
    let members: Vec<Hctl> = world.paths.range(id.nexus()).map(|(id, _)| *id).collect();
    for member in members {
        if let Some(path) = world.paths.get_mut(&member) {
            path.proof.owe();
        }
        examine_now(world, member);
    }
}

/// Examines a path immediately, or once more when the examination in progress ends.
pub(in crate::psa) fn examine_now(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    if path.exams.current().is_some() {
        path.exams.repeat();
    } else {
        path.exams.ask_ready(); // There is a reason to ask it everything.
        path_due(world, id);
    }
}

/// The examination of a path is due: sends it.
pub(in crate::psa) fn path_due(world: &mut World, id: Hctl) {
    let now = world.now;
    let Some(path) = world.paths.get_mut(&id) else {
        // The key was set after the path was removed: the schedule keeps a key until it is cancelled.
        return world.schedule.cancel(&Key::Path(id));
    };
    if path.exams.current().is_some() {
        return;
    }
    let Some(sg) = path.facts().sg else {
        // No pass-through device yet. Its uevent will bring new facts, unless the module is missing.
        let at = world.now.after(world.settings.check_interval_ms);
        world.schedule.set(Key::Path(id), at);
        world.actions.push(Action::RefreshFacts(id));
        return;
    };
    if let Some(hints) = path.hints.as_deref_mut()
        && hints.is_asked(now)
    {
        path.proof.owe();
    }
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    let (stage, commands) = commands_for(world, id, path);
    let ticket = world.ticket();
    let timeout = world.settings.check_timeout_ms;
    let deadline = world.settings.check_deadline_ms;
    let sent = world.now;
    let measures = commands.contains(&Command::ReadCapacity16);
    if let Some(path) = world.paths.get_mut(&id) {
        path.exams.begin(Exam {
            ticket,
            sent,
            stage,
            measures,
        });
    }
    world.actions.push(Action::Examine(Examine {
        path: id,
        sg,
        ticket,
        commands,
        timeout,
        deadline,
    }));
}

/// The purpose and the commands of the next examination of a path.
fn commands_for(world: &World, id: Hctl, path: &Path) -> (Stage, Commands) {
    let Some(inquiry) = &path.inquiry else {
        return (Stage::Inquiry, Cow::Borrowed(&[Command::Inquiry]));
    };
    let page83 = Command::Vpd(vpd::DEVICE_IDENTIFICATION);
    let report = if path.exams.has_short_header() {
        Command::ReportTargetPortGroupsShort
    } else {
        Command::ReportTargetPortGroups
    };
    // Many USB bridges hang on a VPD page that they do not support. Their disks never get a map. If one has a map, made by
    // another program, it has answered that program.
    let askable = path.facts().transport != Transport::Usb || world.is_held(path);
    let mut commands = Commands::Borrowed(READY);
    let owed = path.proof.is_owed();
    let settled = path.proof.may_carry_io() && !owed;
    // A path that returns is compared with the others in all respects: the same identity with another product or size
    // is another unit.
    let identified = !world.unidentified.contains(&id);
    let returns = identified && path.proof.expected().is_some() && !settled;
    let turn = is_due(world, path.proof.proven_at(), PROVE_AGAIN);
    let compare = returns || (turn && path.fit.mismatch().is_some());
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
        Identity::Proven(_) => owed || turn || path.exams.asks_capacity() || world.is_held(path),
        Identity::Nameless(_) => owed,
        _ => true,
    };
    if askable && asked {
        if settled && !compare {
            commands = Commands::Borrowed(READY_AND_PROOF);
        } else {
            commands.to_mut().push(page83);
        }
        if (turn || !settled) && is_asked_for_writes(world, id, path) {
            commands.to_mut().push(Command::ModeSense6);
        }
        if path.exams.asks_capacity() || compare {
            commands.to_mut().push(Command::ReadCapacity16);
        }
    }
    // All other commands depend on the device, and a path that works needs none of them.
    let report_due = path
        .access
        .reported_at()
        .is_none_or(|at| is_due(world, at, REPORT_AGAIN));
    let well = path.health.is_current()
        && path.is_up()
        && path.failures.down_since().is_none()
        && path.failures.suspect_since().is_none();
    if well && !report_due && !path.exams.asks_groups() && path.access.ownership().is_none() {
        let is_proof = matches!(commands, Commands::Borrowed(READY_AND_PROOF));
        if is_proof && !turn && is_proof_enough(world, id, path) {
            commands = Commands::Borrowed(PROOF);
        }
        return (Stage::Check, commands);
    }
    let device = world.device_of(path);
    if device.is_some_and(|device| is_reporter(world, id, path, device, report_due)) {
        commands.to_mut().push(report);
    }
    let selection = device.and_then(|device| device.selection.as_ref());
    let page = selection.and_then(|selection| selection.satp.ownership_page());
    if let Some(page) = page {
        commands.to_mut().push(Command::Vpd(page));
    }
    (Stage::Check, commands)
}

/// Whether a path that works can be checked without TEST UNIT READY this time. The paths of its device take turns: with
/// each check, half of them get TEST UNIT READY.
fn is_proof_enough(world: &World, id: Hctl, path: &Path) -> bool {
    let interval = world.settings.check_interval_ms;
    let next = world.now.after(interval);
    if !path.is_well() || next > path.exams.ready_at().after(READY_AGAIN).after(SLACK) {
        return false;
    }
    let Some(device) = world.device_of(path) else {
        return false;
    };
    // If only one controller serves at a time, the answer to TEST UNIT READY shows which one.
    let selection = device.selection.as_ref();
    if selection.is_none_or(|selection| selection.satp.is_exclusive()) {
        return false;
    }
    // In odd turns only the identity is read. Neighbouring paths differ in this, and so do two successive checks of one
    // path.
    let round = world.now.0.checked_div(interval.0).unwrap_or(0);
    let (mut is_odd, mut others) = (round % 2 == 1, false);
    for member in device.paths() {
        if *member != id && world.paths.get(member).is_some_and(|path| path.is_well()) {
            others = true;
            is_odd ^= *member < id;
        }
    }
    others && is_odd
}

/// Whether a path that proves its identity is also asked whether it is write-protected. It is asked each time when
/// there is a reason for doubt. Otherwise it is asked in every fourth turn, by its position among the paths of its
/// device. When one path reports something new, the others are asked immediately.
fn is_asked_for_writes(world: &World, id: Hctl, path: &Path) -> bool {
    let proven = path.proof.may_carry_io();
    if !proven || path.proof.is_owed() || path.fit.write_protected() != Some(false) {
        return true;
    }
    let members = world.device_of(path).map(|device| device.paths().iter());
    let place = members.and_then(|mut members| members.position(|member| *member == id));
    let place = place.and_then(|place| u64::try_from(place).ok());
    place.is_none_or(|place| place % TURNS == turn(world, world.now, PROVE_AGAIN) % TURNS)
}

/// See [`Schedule::turn`].
fn turn(world: &World, at: Millis, every: Millis) -> u64 {
    let interval = world.settings.check_interval_ms;
    Schedule::turn(at, interval, Schedule::moments(world.paths.len()), every)
}

/// Whether to ask this path for the states of the port groups. One working path of each group is asked every
/// [`REPORT_AGAIN`], because the ports of a controller answer from that controller's view. A path that is not known to
/// work is asked too, so that the states come with its first good answer.
fn is_reporter(world: &World, id: Hctl, path: &Path, device: &Device, due: bool) -> bool {
    if !device
        .selection
        .as_ref()
        .is_some_and(|s| s.satp.reports_port_groups())
    {
        return false;
    }
    // The path would report the states of another unit.
    if matches!(
        path.proof.identity(),
        Identity::Quarantined { .. } | Identity::Absent { .. } | Identity::Nameless(_)
    ) {
        return false;
    }
    // If a port refuses because of the known state of its group, its report has nothing new.
    let expected = match path.health.link() {
        Link::Up => true,
        Link::Refused(state, _) => {
            let group = path.access.port_group().and_then(|id| device.ports.get(id));
            group.is_some_and(|group| group.access == *state)
        }
        _ => false,
    };
    if !expected || path.exams.asks_groups() || path.failures.suspect_since().is_some() {
        return true;
    }
    due && {
        let first = device.paths().iter().find(|other| {
            world.paths.get(other).is_some_and(|o| {
                let proven = o.proof.may_carry_io();
                let answers = matches!(o.health.link(), Link::Up | Link::Refused(..));
                proven && o.access.port_group() == path.access.port_group() && answers
            })
        });
        first == Some(&id)
    }
}

/// Whether what was last done at `last` is due again. It is due after `every` at the latest, and earlier when the turn
/// comes for all paths that are checked at this moment.
fn is_due(world: &World, last: Millis, every: Millis) -> bool {
    world.now.since(last).after(SLACK) >= every
        || turn(world, world.now, every) != turn(world, last, every)
}
