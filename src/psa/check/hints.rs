//! Hints: errors of ordinary I/O, as the kernel reports them. A hint makes the agent ask a path; it never decides
//! anything by itself.
//!
//! | the kernel reports | it may mean | what follows |
//! |---|---|---|
//! | ILLEGAL REQUEST, HARDWARE ERROR, a target error, a reservation conflict | another logical unit; dm-multipath passes it to the application and keeps the path | the path and the others of the device prove their identity immediately; the path rests until it has proven itself, if another one serves |
//! | a timeout | a path that does not respond; dm-multipath learns of it when the error handling has ended | the same, for this path |
//! | a medium error | a bad block, or another logical unit | the path proves its identity |
//! | a transport error, or what the kernel repeats | a degrading path; dm-multipath fails it if it lasts | it is counted; a failed command that is repeated has the path checked |
//! | the error handling of a host begins | all paths of the host are about to stall | they are checked |
//!
//! Limits: hints have a path asked at most once in `PAUSE`, and only after it answered the previous time. The path
//! rests once for errors of one kind, and not again until they have stopped for `SERIES`. It rests only if another path
//! serves that is as good, so that no hint removes the last path or makes an array move a logical unit. Errors that no
//! other path of the device has count as failures of the path (`marginal`). The commands of checks do not produce
//! hints, so a check cannot cause the next one. Tests: `tests/world_hints.rs`.

use crate::psa::action::Action;
use crate::psa::check::{ask, disks, marginal, prove};
use crate::psa::codes;
use crate::psa::event::IoTrouble;
use crate::psa::names::DeviceId;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::hints::{IoErrorKind, PAUSE, SERIES};
use crate::psa::state::path::Path;
use crate::psa::state::schedule::Key;
use crate::psa::units::{Hctl, Millis};
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::{
    ABORTED_COMMAND, HARDWARE_ERROR, ILLEGAL_REQUEST, MEDIUM_ERROR, NOT_READY,
};

/// After a series begins, the kernel reports every command that ends with an error for this long.
const CLOSELY: Millis = Millis::from_secs(120);

/// What follows from an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is counted.
    Count,
    /// The path has to prove its identity.
    Ask,
    /// The path has to prove its identity, and rests until it has.
    Doubt,
    /// As `Doubt`, and the other paths of the device have to prove their identity too.
    DoubtAll,
}

/// Errors of ordinary I/O were reported, all of the same kind.
pub(in crate::psa) fn io_trouble(world: &mut World, what: &IoTrouble, count: u64) {
    let id = match what {
        IoTrouble::HostRecovers(host) => return host_recovers(world, *host),
        IoTrouble::GivenUp { disk, .. } => world.disks.get(disk).copied(),
        IoTrouble::Ended { path, .. } | IoTrouble::TimedOut(path) | IoTrouble::NotTaken(path) => {
            Some(*path)
        }
    };
    let (Some(id), Some((kind, answer, fails))) = (id, meaning(what)) else {
        return;
    };
    let now = world.now;
    // Not every disk is a path, and not every address that the kernel reports is one either.
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let said = text(kind, what);
    let hints = path.hints.get_or_insert_default();
    let is_new = hints.take(kind, count, said.clone(), now);
    // A disk that is left to the host is not watched over.
    let device = world.paths.get(&id).and_then(|path| world.device_of(path));
    let Some(device) = device.filter(|device| device.disposition == Disposition::Stacked) else {
        return;
    };
    let device_id = device.id().to_owned();
    let doubts = is_new && matches!(answer, Answer::Doubt | Answer::DoubtAll);
    let rests = doubts && may_rest(world, id);
    // Before the path rests, because only a path that serves can fail.
    if fails {
        fails_by_hint(world, id, kind);
    }
    if rests {
        if let Some(hints) = world
            .paths
            .get_mut(&id)
            .and_then(|path| path.hints.as_deref_mut())
        {
            hints.pending = true;
        }
        prove::doubt(
            world,
            id,
            &format!("its I/O ended with a {}", kind.as_str()),
        );
    } else if answer != Answer::Count {
        hint(world, id);
    }
    if is_new && answer == Answer::DoubtAll {
        // Usually a logical unit is changed on all ports, and I/O that leaves this path goes to the others.
        world
            .members_with(id)
            .into_iter()
            .filter(|other| *other != id)
            .for_each(|other| hint(world, other));
    }
    if is_new && answer != Answer::Count && kind != IoErrorKind::Command {
        io_error(world, id, &device_id, kind, &said, rests);
    }
}

/// The kernel overwrote reports. Any path of a map may be the one that they were about, so each proves itself.
pub(in crate::psa) fn io_trouble_lost(world: &mut World, count: u64) {
    world.statistics.lost_io_reports = world.statistics.lost_io_reports.saturating_add(count);
    let now = world.now;
    let lost_at = &mut world.io_reports.lost_at;
    if lost_at.is_some_and(|at| now.since(at) < SERIES) {
        return;
    }
    *lost_at = Some(now);
    let count = count.to_string();
    let effect = "the paths of all maps prove themselves now";
    world.notify(
        codes::IO_REPORTS_LOST,
        "agent",
        &[("count", &count), ("effect", effect)],
    );
    // Whether a map is open may not be known.
    let mapped = |device: &&Device| disks::is_mapped(world, device.wwid());
    let devices = world.devices.values().filter(mapped);
    let paths: Vec<Hctl> = devices
        .flat_map(|device| device.paths().iter().copied())
        .collect();
    for id in paths {
        hint(world, id);
    }
}

/// Has a path prove its identity: now, or as soon as `PAUSE` permits. An examination in progress may be older than the
/// error; when it ends, the next one is scheduled.
fn hint(world: &mut World, id: Hctl) {
    let now = world.now;
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    let hints = path.hints.get_or_insert_default();
    hints.pending = true;
    match hints.due(now) {
        _ if path.exams.current().is_some() => {}
        Some(at) if at > now => world.schedule.no_later_than(Key::Path(id), at),
        _ => ask::path_due(world, id),
    }
}

/// Whether a path can be without I/O for a moment: another path serves that is as good.
fn may_rest(world: &World, id: Hctl) -> bool {
    let Some(path) = world
        .paths
        .get(&id)
        .filter(|path| path.proof.may_carry_io())
    else {
        return false;
    };
    let as_good = |other: &Path| {
        other.facts().hctl != id
            && other.state().serves_io()
            && other.proof.may_carry_io()
            && !other.is_marginal()
            && other.class().is_some()
            && other.class() <= path.class()
    };
    world
        .device_of(path)
        .is_some_and(|device| world.paths_of(device).any(as_good))
}

/// Counts a failure of a path that continues to serve, unless other paths of the device have the same errors. In that
/// case the cause is the logical unit, or what it is asked to do.
fn fails_by_hint(world: &mut World, id: Hctl, kind: IoErrorKind) {
    let (now, window) = (world.now, world.settings.marginal_window_ms);
    let recent = |path: &Path| {
        let last = path.hints.as_deref().and_then(|hints| hints.last(kind));
        last.is_some_and(|last| now.since(last) < window)
    };
    let Some(path) = world.paths.get(&id).filter(|path| path.state().serves_io()) else {
        return;
    };
    let device = world.device_of(path);
    let shared = device.is_some_and(|device| {
        world
            .paths_of(device)
            .any(|other| other.facts().hctl != id && recent(other))
    });
    let counted = path
        .hints
        .as_deref()
        .is_some_and(|hints| hints.failed_at != Millis(0) && now.since(hints.failed_at) < PAUSE);
    if shared || counted {
        return;
    }
    if let Some(hints) = world
        .paths
        .get_mut(&id)
        .and_then(|path| path.hints.as_deref_mut())
    {
        hints.failed_at = now;
    }
    marginal::failed(world, id);
}

/// Notifies users that errors of a kind began on a path, and has more errors reported for a while.
fn io_error(
    world: &mut World,
    id: Hctl,
    device: &DeviceId,
    kind: IoErrorKind,
    said: &str,
    rests: bool,
) {
    let Some(name) = world.paths.get(&id).map(|path| path.name().to_string()) else {
        return;
    };
    let effect = if rests {
        "it carries no I/O until it has proven its identity"
    } else {
        "its identity is checked"
    };
    let details = [
        ("device", device.as_str()),
        ("error", said),
        ("effect", effect),
    ];
    match kind {
        IoErrorKind::Timeout => world.notify(codes::IO_TIMEOUT, name, &details),
        _ => world.notify(codes::IO_ERROR, name, &details),
    }
    let (now, until) = (world.now, world.now.after(CLOSELY));
    if now.after(SERIES) > world.io_reports.closely_until {
        world.io_reports.closely_until = until;
        world.actions.push(Action::WatchClosely(CLOSELY));
    }
}

/// The error handling of a host begins. Its paths are checked, so that paths that do not answer are noticed earlier.
fn host_recovers(world: &mut World, host: u32) {
    let now = world.now;
    let recovering = &mut world.io_reports.recovering;
    recovering.retain(|_, at| now.since(*at) < SERIES);
    let before = recovering.get(&host).copied();
    if before.is_some_and(|at| now.since(at) < world.settings.check_interval_ms) {
        return;
    }
    recovering.insert(host, now);
    let stacked = |path: &Path| {
        world
            .device_of(path)
            .is_some_and(|device| device.disposition == Disposition::Stacked)
    };
    let paths: Vec<Hctl> = world
        .paths
        .range(Hctl::of_host(host))
        .filter(|(_, path)| stacked(path))
        .map(|(id, _)| *id)
        .collect();
    if paths.is_empty() {
        return;
    }
    if before.is_none() {
        let count = paths.len().to_string();
        let effect = "I/O through this host waits until error handling ends; its paths are checked";
        world.notify(
            codes::HOST_RECOVERY,
            format!("host{host}"),
            &[("paths", &count), ("effect", effect)],
        );
    }
    for id in paths {
        if let Some(path) = world.paths.get_mut(&id) {
            path.exams.ask_ready();
        }
        ask::path_due(world, id);
    }
}

/// The errors of ordinary I/O on a path, as one line.
pub(in crate::psa) fn hint_line(world: &World, path: &Path) -> Option<String> {
    let hints = path.hints.as_deref()?;
    let counts = hints.named().map(|(kind, count)| format!("{count} {kind}"));
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() {
        return None;
    }
    let last = hints.last_error()?;
    Some(format!(
        "errors of ordinary I/O, reported by the kernel: {}; the last one {} s ago: {}",
        counts.join(", "),
        world.now.since(last).0 / 1000,
        hints.text
    ))
}

/// The kind of an error, what follows from it, and whether it counts as a failure of the path.
fn meaning(what: &IoTrouble) -> Option<(IoErrorKind, Answer, bool)> {
    Some(match what {
        IoTrouble::HostRecovers(_) => return None,
        IoTrouble::TimedOut(_) => (IoErrorKind::Timeout, Answer::Doubt, true),
        IoTrouble::NotTaken(_) => (IoErrorKind::NotTaken, Answer::Count, false),
        IoTrouble::GivenUp { errno, .. } => {
            let kind = IoErrorKind::of_errno(*errno);
            match kind {
                IoErrorKind::Target => (kind, Answer::DoubtAll, true),
                // Either another initiator reserved the unit, or this is another logical unit.
                IoErrorKind::Reservation => (kind, Answer::DoubtAll, false),
                IoErrorKind::Medium => (kind, Answer::Ask, false),
                // dm-multipath fails the path for these errors, which is noticed just as soon.
                _ => (kind, Answer::Count, false),
            }
        }
        IoTrouble::Ended { outcome, .. } => {
            let (answer, fails) = match outcome {
                Outcome::CheckCondition(sense) => match sense.key {
                    ILLEGAL_REQUEST => (Answer::DoubtAll, false),
                    HARDWARE_ERROR => (Answer::DoubtAll, true),
                    MEDIUM_ERROR | NOT_READY => (Answer::Ask, false),
                    ABORTED_COMMAND => (Answer::Count, true),
                    _ => (Answer::Count, false),
                },
                Outcome::ReservationConflict => (Answer::DoubtAll, false),
                Outcome::NoConnect(_) | Outcome::Retry(_) | Outcome::Host(_) | Outcome::Timeout => {
                    (Answer::Ask, true)
                }
                _ => (Answer::Count, false),
            };
            (IoErrorKind::Command, answer, fails)
        }
    })
}

/// The error as the kernel reports it, as text for users.
fn text(kind: IoErrorKind, what: &IoTrouble) -> String {
    match what {
        IoTrouble::GivenUp { errno, .. } => format!("{} (errno {errno})", kind.as_str()),
        IoTrouble::Ended { outcome, .. } => format!("{}: {outcome}", kind.as_str()),
        IoTrouble::TimedOut(_) | IoTrouble::NotTaken(_) | IoTrouble::HostRecovers(_) => {
            kind.as_str().to_owned()
        }
    }
}
