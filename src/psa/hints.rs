//! Hints: errors of ordinary I/O, as the kernel reports them. A hint makes the agent ask; it never decides by itself.
//!
//! | the kernel reports | it may mean | what follows |
//! |---|---|---|
//! | ILLEGAL REQUEST, HARDWARE ERROR, a target error, a reservation conflict | another logical unit; dm-multipath passes it to the application and keeps the path | the identity of the path and of the others to the device is asked immediately; the path rests until it has proven itself, if another one serves |
//! | a timeout | a path that is silent; dm-multipath learns of it when the error handling has ended | the same, for this path |
//! | a medium error | a bad block, or another logical unit | the identity is asked |
//! | a transport error, or what the kernel repeats | a path in decay; dm-multipath fails it if it lasts | it is counted; a failed command that is repeated has the path checked |
//! | the error handling of a host begins | all paths of the host are about to stall | they are checked |
//!
//! Bounds: a path is asked by hints once in `PAUSE`, and only after the answer before; it rests once for errors of one
//! kind until they have stopped for `SERIES`; and only if another path serves that is as good, so that no hint takes the last
//! path away or makes an array move a logical unit. Errors that no other path of the device has count as failures of the
//! path (`marginal`). The commands of checks are not among the hints, so a check cannot lead to the next.
//! Tests: `tests/world_hints.rs`.

use super::action::{Action, Severity};
use super::device::Disposition;
use super::event::IoTrouble;
use super::path::Path;
use super::schedule::Key;
use super::units::{Hctl, Millis};
use super::world::World;
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::{
    ABORTED_COMMAND, HARDWARE_ERROR, ILLEGAL_REQUEST, MEDIUM_ERROR, NOT_READY,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Between two examinations of a path that hints ask for, and between two failures that are counted for them.
const PAUSE: Millis = Millis(100);
/// Errors of one kind that come closer together than this are one series.
const SERIES: Millis = Millis::from_secs(60);
/// After a series began, the kernel reports every command that ends with an error for so long.
const CLOSELY: Millis = Millis::from_secs(120);

/// Errors of block requests (`blk_errors` in the kernel) by their numbers, which are Linux's.
const ENODEV: i32 = 19;
const EBADE: i32 = 52;
const ENODATA: i32 = 61;
const ENOLINK: i32 = 67;
const ETIMEDOUT: i32 = 110;
const EREMOTEIO: i32 = 121;

/// Kinds of errors of ordinary I/O. The order is that of [`Hints::counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoErrorKind {
    /// The target refuses the request or cannot carry it out (EREMOTEIO).
    Target,
    /// Another initiator holds a reservation (EBADE).
    Reservation,
    /// The medium has an error there (ENODATA).
    Medium,
    /// No way to the target (ENOLINK, ENODEV).
    Transport,
    /// Any other end of a request.
    Other,
    /// The kernel's timer for a command ran out.
    Timeout,
    /// A command ended with an error; the request it was for may have succeeded later.
    Command,
    /// The driver did not take a command.
    NotTaken,
}

impl IoErrorKind {
    /// All of them, in order.
    pub const ALL: [IoErrorKind; 8] = [
        IoErrorKind::Target,
        IoErrorKind::Reservation,
        IoErrorKind::Medium,
        IoErrorKind::Transport,
        IoErrorKind::Other,
        IoErrorKind::Timeout,
        IoErrorKind::Command,
        IoErrorKind::NotTaken,
    ];

    /// Its words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            IoErrorKind::Target => "target error",
            IoErrorKind::Reservation => "reservation conflict",
            IoErrorKind::Medium => "medium error",
            IoErrorKind::Transport => "transport error",
            IoErrorKind::Other => "other error",
            IoErrorKind::Timeout => "timeout",
            IoErrorKind::Command => "failed command",
            IoErrorKind::NotTaken => "refused by the driver",
        }
    }

    fn of_errno(errno: i32) -> IoErrorKind {
        match errno {
            EREMOTEIO => IoErrorKind::Target,
            EBADE => IoErrorKind::Reservation,
            ENODATA => IoErrorKind::Medium,
            ENOLINK | ENODEV => IoErrorKind::Transport,
            ETIMEDOUT => IoErrorKind::Timeout,
            _ => IoErrorKind::Other,
        }
    }

    fn place(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

/// How many errors of each of [`IoErrorKind::ALL`].
pub type IoErrors = [u64; IoErrorKind::ALL.len()];

/// The errors of ordinary I/O on a path; a path that never had one has none of this.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hints {
    /// How many there were of each of [`IoErrorKind::ALL`].
    pub counts: IoErrors,
    /// When each came last; 0 is never.
    last: [Millis; IoErrorKind::ALL.len()],
    /// The last error of all, as the kernel reports it.
    pub text: String,
    /// Something was reported that has not been asked about yet.
    pending: bool,
    /// When an examination was sent for a hint.
    asked_at: Millis,
    /// When a failure was counted for a hint.
    failed_at: Millis,
}

impl Hints {
    fn last(&self, kind: IoErrorKind) -> Option<Millis> {
        let last = self.last.get(kind.place()).copied();
        last.filter(|last| *last != Millis(0))
    }

    /// Takes an error in; whether a series begins with it.
    fn take(&mut self, kind: IoErrorKind, count: u64, text: String, now: Millis) -> bool {
        let is_new = self.last(kind).is_none_or(|last| now.since(last) >= SERIES);
        if let Some(total) = self.counts.get_mut(kind.place()) {
            *total = total.saturating_add(count);
        }
        if let Some(last) = self.last.get_mut(kind.place()) {
            *last = now.max(Millis(1));
        }
        self.text = text;
        is_new
    }
}

/// What an error leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is counted.
    Count,
    /// The path is asked who it is.
    Ask,
    /// The path is asked who it is, and rests until it has answered.
    Doubt,
    /// The same, and the other paths of the device are asked too.
    DoubtAll,
}

/// Of which kind an error is, what it leads to, and whether it counts as a failure of the path.
fn meaning(what: &IoTrouble) -> Option<(IoErrorKind, Answer, bool)> {
    Some(match what {
        IoTrouble::HostRecovers(_) => return None,
        IoTrouble::TimedOut(_) => (IoErrorKind::Timeout, Answer::Doubt, true),
        IoTrouble::NotTaken(_) => (IoErrorKind::NotTaken, Answer::Count, false),
        IoTrouble::GivenUp { errno, .. } => {
            let kind = IoErrorKind::of_errno(*errno);
            match kind {
                IoErrorKind::Target => (kind, Answer::DoubtAll, true),
                // It is the will of another initiator, or another logical unit.
                IoErrorKind::Reservation => (kind, Answer::DoubtAll, false),
                IoErrorKind::Medium => (kind, Answer::Ask, false),
                // dm-multipath fails the path for these, which is known as soon.
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

/// The error as the kernel reports it, for users.
fn text(kind: IoErrorKind, what: &IoTrouble) -> String {
    match what {
        IoTrouble::GivenUp { errno, .. } => format!("{} (errno {errno})", kind.as_str()),
        IoTrouble::Ended { outcome, .. } => format!("{}: {outcome}", kind.as_str()),
        IoTrouble::TimedOut(_) | IoTrouble::NotTaken(_) | IoTrouble::HostRecovers(_) => {
            kind.as_str().to_owned()
        }
    }
}

/// What is known of the reports as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct IoReports {
    /// SCSI hosts whose error handling began, and when their paths were checked for that; for [`SERIES`].
    recovering: BTreeMap<u32, Millis>,
    /// Until when every command that ends with an error is reported.
    closely_until: Millis,
    /// When the loss of reports was notified last.
    lost_at: Option<Millis>,
}

impl World {
    /// Errors of ordinary I/O were reported, all alike.
    pub(super) fn io_trouble(&mut self, what: &IoTrouble, count: u64) {
        let id = match what {
            IoTrouble::HostRecovers(host) => return self.host_recovers(*host),
            IoTrouble::GivenUp { disk, .. } => self.disks.get(disk).copied(),
            IoTrouble::Ended { path, .. }
            | IoTrouble::TimedOut(path)
            | IoTrouble::NotTaken(path) => Some(*path),
        };
        let (Some(id), Some((kind, answer, fails))) = (id, meaning(what)) else {
            return;
        };
        let now = self.now;
        // Not every disk is a path, and not every address that the kernel reports is one.
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let said = text(kind, what);
        let hints = path.hints.get_or_insert_default();
        let is_new = hints.take(kind, count, said.clone(), now);
        // A disk that is left to the host is the host's to look after.
        let device = self.paths.get(&id).and_then(|path| self.device_of(path));
        let Some(device) = device.filter(|device| device.disposition == Disposition::Stacked)
        else {
            return;
        };
        let device_id = device.id.clone();
        let doubts = is_new && matches!(answer, Answer::Doubt | Answer::DoubtAll);
        let rests = doubts && self.may_rest(id);
        // Before it rests: only a path that serves fails.
        if fails {
            self.fails_by_hint(id, kind);
        }
        if rests {
            if let Some(hints) = self
                .paths
                .get_mut(&id)
                .and_then(|path| path.hints.as_deref_mut())
            {
                hints.pending = true;
            }
            self.doubt(id, &format!("its I/O ended with a {}", kind.as_str()));
        } else if answer != Answer::Count {
            self.hint(id);
        }
        if is_new && answer == Answer::DoubtAll {
            // Mostly a logical unit is changed on all ports, and I/O that leaves this path goes to the others.
            self.members_with(id)
                .into_iter()
                .filter(|other| *other != id)
                .for_each(|other| self.hint(other));
        }
        if is_new && answer != Answer::Count && kind != IoErrorKind::Command {
            self.io_error(id, &device_id, kind, &said, rests);
        }
    }

    /// The kernel overwrote reports: what they were about is found by the next checks.
    pub(super) fn io_trouble_lost(&mut self, count: u64) {
        self.statistics.lost_io_reports = self.statistics.lost_io_reports.saturating_add(count);
        let now = self.now;
        let lost_at = &mut self.io_reports.lost_at;
        if lost_at.is_some_and(|at| now.since(at) < SERIES) {
            return;
        }
        *lost_at = Some(now);
        let count = count.to_string();
        let effect = "errors on other paths than the reported ones are found by the next checks";
        self.notify(
            Severity::Info,
            "IO_REPORTS_LOST",
            "agent",
            &[("count", &count), ("effect", effect)],
        );
    }

    /// Asks a path who it is: now, or as soon as it is not asked too often by that. An examination under way may be older than the
    /// error; when it ends, the next is scheduled.
    fn hint(&mut self, id: Hctl) {
        let now = self.now;
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let hints = path.hints.get_or_insert_default();
        hints.pending = true;
        match hints.due(now) {
            _ if path.exam.is_some() => {}
            Some(at) if at > now => self.schedule.no_later_than(Key::Path(id), at),
            _ => self.path_due(id),
        }
    }

    /// Whether a path can do without I/O for a moment: another one that is as good serves.
    fn may_rest(&self, id: Hctl) -> bool {
        let Some(path) = self.paths.get(&id).filter(|path| path.proof.may_carry_io()) else {
            return false;
        };
        let as_good = |other: &Path| {
            other.facts.hctl != id
                && other.state().serves_io()
                && other.proof.may_carry_io()
                && other.marginal.is_none()
                && other.judgement.class.is_some()
                && other.judgement.class <= path.judgement.class
        };
        self.device_of(path)
            .is_some_and(|device| self.paths_of(device).any(as_good))
    }

    /// Counts a failure of a path that goes on to serve, unless other paths of the device have the same errors: then they are
    /// those of the logical unit, or of what is asked of it.
    fn fails_by_hint(&mut self, id: Hctl, kind: IoErrorKind) {
        let (now, window) = (self.now, self.settings.marginal_window_ms);
        let recent = |path: &Path| {
            let last = path.hints.as_deref().and_then(|hints| hints.last(kind));
            last.is_some_and(|last| now.since(last) < window)
        };
        let Some(path) = self.paths.get(&id).filter(|path| path.state().serves_io()) else {
            return;
        };
        let device = self.device_of(path);
        let shared = device.is_some_and(|device| {
            self.paths_of(device)
                .any(|other| other.facts.hctl != id && recent(other))
        });
        let counted = path.hints.as_deref().is_some_and(|hints| {
            hints.failed_at != Millis(0) && now.since(hints.failed_at) < PAUSE
        });
        if shared || counted {
            return;
        }
        if let Some(hints) = self
            .paths
            .get_mut(&id)
            .and_then(|path| path.hints.as_deref_mut())
        {
            hints.failed_at = now;
        }
        self.failed(id);
    }

    /// Reports that errors of a kind began on a path, and has more reported for a while.
    fn io_error(&mut self, id: Hctl, device: &str, kind: IoErrorKind, said: &str, rests: bool) {
        let Some(name) = self.paths.get(&id).map(|path| path.name.to_string()) else {
            return;
        };
        let effect = if rests {
            "it carries no I/O until it has proven itself"
        } else {
            "it is asked who it is"
        };
        let details = [("device", device), ("error", said), ("effect", effect)];
        match kind {
            IoErrorKind::Timeout => self.notify(Severity::Warning, "IO_TIMEOUT", name, &details),
            _ => self.notify(Severity::Warning, "IO_ERROR", name, &details),
        }
        let (now, until) = (self.now, self.now.after(CLOSELY));
        if now.after(SERIES) > self.io_reports.closely_until {
            self.io_reports.closely_until = until;
            self.actions.push(Action::WatchClosely(CLOSELY));
        }
    }

    /// The error handling of a host begins. Checks that its paths do not answer are known the sooner.
    fn host_recovers(&mut self, host: u32) {
        let now = self.now;
        let recovering = &mut self.io_reports.recovering;
        recovering.retain(|_, at| now.since(*at) < SERIES);
        let before = recovering.get(&host).copied();
        if before.is_some_and(|at| now.since(at) < self.settings.check_interval_ms) {
            return;
        }
        recovering.insert(host, now);
        let stacked = |path: &Path| {
            self.device_of(path)
                .is_some_and(|device| device.disposition == Disposition::Stacked)
        };
        let paths: Vec<Hctl> = self
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
            let effect = "I/O through this host waits until it has ended; its paths are checked";
            self.notify(
                Severity::Warning,
                "HOST_RECOVERY",
                format!("host{host}"),
                &[("paths", &count), ("effect", effect)],
            );
        }
        for id in paths {
            if let Some(path) = self.paths.get_mut(&id) {
                path.ready_at = Millis(0);
            }
            self.path_due(id);
        }
    }

    /// The errors of ordinary I/O on a path, in a line.
    pub(super) fn hint_line(&self, path: &Path) -> Option<String> {
        let hints = path.hints.as_deref()?;
        let counts = hints.named().map(|(kind, count)| format!("{count} {kind}"));
        let counts: Vec<String> = counts.collect();
        if counts.is_empty() {
            return None;
        }
        let last = hints.last_error()?;
        Some(format!(
            "errors of ordinary I/O that the kernel reported: {}; the last one {} s ago: {}",
            counts.join(", "),
            self.now.since(last).0 / 1000,
            hints.text
        ))
    }
}

impl Hints {
    /// The kinds that there were, by their words, and how many.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let all = IoErrorKind::ALL.iter().map(|kind| kind.as_str());
        all.zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// When the last error was reported.
    #[must_use]
    pub fn last_error(&self) -> Option<Millis> {
        self.last
            .iter()
            .max()
            .copied()
            .filter(|last| *last != Millis(0))
    }

    /// When the path is to be asked because of a hint.
    pub(super) fn due(&self, now: Millis) -> Option<Millis> {
        self.pending.then(|| self.asked_at.after(PAUSE).max(now))
    }

    /// An examination is sent; whether it is to ask who the path is.
    pub(super) fn is_asked(&mut self, now: Millis) -> bool {
        let asks = std::mem::take(&mut self.pending);
        if asks {
            self.asked_at = now;
        }
        asks
    }
}
