//! What a path is asked, and when.
//!
//! Every check of a path that is in a table reads its identity (VPD page 83h). TEST UNIT READY, target port groups, write
//! protection and capacity are asked for less often, by turns, and immediately where something is in doubt.

use crate::psa::action::Action;
use crate::psa::adapter::Transport;
use crate::psa::evidence::Link;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::{Exam, Path, Stage, is_well};
use crate::psa::state::proof::Identity;
use crate::psa::state::schedule::{Key, Schedule};
use crate::psa::units::{Hctl, Millis};
use crate::scsi::cdb::{Command, Commands};
use crate::scsi::vpd;
use std::borrow::Cow;

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

/// The target has other LUNs than before, which it may tell by any of them: what is behind each is asked again.
pub(in crate::psa) fn prove_target(world: &mut World, id: Hctl) {
    let members: Vec<Hctl> = world.paths.range(id.nexus()).map(|(id, _)| *id).collect();
    for member in members {
        if let Some(path) = world.paths.get_mut(&member) {
            path.proof.owe();
        }
        examine_now(world, member);
    }
}

/// Examines a path at once, or once more when the examination under way has ended.
pub(in crate::psa) fn examine_now(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    if path.exam.is_some() {
        path.again = true;
    } else {
        path.ready_at = Millis(0); // There is a reason to ask it everything.
        path_due(world, id);
    }
}

/// The examination of a path is due.
pub(in crate::psa) fn path_due(world: &mut World, id: Hctl) {
    let now = world.now;
    let Some(path) = world.paths.get_mut(&id) else {
        // Set after the path went: the schedule keeps a key until it is cancelled.
        return world.schedule.cancel(&Key::Path(id));
    };
    if path.exam.is_some() {
        return;
    }
    let Some(sg) = path.facts.sg else {
        // No pass-through device yet; its uevent brings new facts. The module may also be missing.
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
    world.actions.push(Action::Examine {
        path: id,
        sg,
        ticket,
        commands,
        timeout,
        deadline,
    });
}

/// What to ask a path.
fn commands_for(world: &World, id: Hctl, path: &Path) -> (Stage, Commands) {
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
    let identified = !world.unidentified.contains(&id);
    let returns = identified && path.proof.expected().is_some() && !settled;
    let turn = is_due(world, path.proof.proven_at(), PROVE_AGAIN);
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
        Identity::Proven(_) => owed || turn || path.measure || world.is_held(path),
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
        if path.measure || compare {
            commands.to_mut().push(Command::ReadCapacity16);
        }
    }
    // What else is asked depends on the device, and there is nothing else to ask a path that is well.
    let report_due = path
        .reported_at
        .is_none_or(|at| is_due(world, at, REPORT_AGAIN));
    let well = path.judged
        && path.link == Link::Up
        && path.failed_since.is_none()
        && path.suspect_since.is_none();
    if well && !report_due && !path.ask_groups && path.ownership.is_none() {
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

/// Whether a path that is well need not say now that it is ready: the paths of its device take turns, half of them with
/// each check.
fn is_proof_enough(world: &World, id: Hctl, path: &Path) -> bool {
    let interval = world.settings.check_interval_ms;
    let next = world.now.after(interval);
    if !is_well(path) || next > path.ready_at.after(READY_AGAIN).after(SLACK) {
        return false;
    }
    let Some(device) = world.device_of(path) else {
        return false;
    };
    // Where one controller serves at a time the answer says which.
    let selection = device.selection.as_ref();
    if selection.is_none_or(|selection| selection.satp.is_exclusive()) {
        return false;
    }
    // Odd turns are the proof alone; neighbours differ, and so do two checks of a path.
    let round = world.now.0.checked_div(interval.0).unwrap_or(0);
    let (mut is_odd, mut others) = (round % 2 == 1, false);
    for member in &device.paths {
        if *member != id && world.paths.get(member).is_some_and(is_well) {
            others = true;
            is_odd ^= *member < id;
        }
    }
    others && is_odd
}

/// Whether a path that proves itself says too whether it takes writes: each time when there is a reason to doubt it, and
/// else in every fourth turn, when it is its turn among the paths of its device. When one says something new the others
/// are asked immediately.
fn is_asked_for_writes(world: &World, id: Hctl, path: &Path) -> bool {
    let proven = path.proof.may_carry_io();
    if !proven || path.proof.is_owed() || path.write_protected != Some(false) {
        return true;
    }
    let members = world.device_of(path).map(|device| device.paths.iter());
    let place = members.and_then(|mut members| members.position(|member| *member == id));
    let place = place.and_then(|place| u64::try_from(place).ok());
    place.is_none_or(|place| place % TURNS == turn(world, world.now, PROVE_AGAIN) % TURNS)
}

/// See [`Schedule::turn`].
fn turn(world: &World, at: Millis, every: Millis) -> u64 {
    let interval = world.settings.check_interval_ms;
    Schedule::turn(at, interval, Schedule::moments(world.paths.len()), every)
}

/// Whether the path asks for the states of the port groups: one working path of each group does every
/// [`REPORT_AGAIN`], since the ports of a controller answer from that controller's view; and any path that
/// is not known to work, so that its first good answer comes with the states.
fn is_reporter(world: &World, id: Hctl, path: &Path, device: &Device, due: bool) -> bool {
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
            world.paths.get(other).is_some_and(|o| {
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
fn is_due(world: &World, last: Millis, every: Millis) -> bool {
    world.now.since(last).after(SLACK) >= every
        || turn(world, world.now, every) != turn(world, last, every)
}
