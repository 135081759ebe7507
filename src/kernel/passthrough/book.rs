//! The books of one SCSI host: which examinations run, which commands are out, what is due next. Pure data: no clock,
//! no file.
//!
//! A path has at most one *line*: an examination that waits for its turn, an examination whose command is with the
//! kernel, or an orphan, which is a command whose examination has ended without it. A path with an orphan takes no
//! other command.

use crate::psa::action::Examine;
use crate::psa::event::{Examination, Reply};
use crate::psa::lookup::Lookup;
use crate::psa::units::{Hctl, Millis, Sg};
use crate::scsi::cdb::{Command, Space, is_cut};
use crate::scsi::outcome::Outcome;
use std::collections::VecDeque;

/// How many commands of one host may be out at the same time if nothing more is known about the host: enough to keep an
/// HBA busy with commands that take a round trip each, few enough to leave the tags of the host to I/O.
pub(in crate::kernel) const WINDOW: usize = 64;

/// A command that has been out for longer than this does not count for the window. So a window full of commands on hung
/// paths delays the others by no more than this.
pub(in crate::kernel) const YOUNG: Millis = Millis(250);

/// A thread reports to its books if it could send nothing for this long. This is far shorter than any deadline, and
/// longer than the wait for a receiver that keeps up.
pub(in crate::kernel) const HELD_UP: Millis = Millis(100);

/// The most examinations that wait or run on one host. The world has at most one per path.
pub(in crate::kernel) const LINES: usize = 16_384;

/// The capacity that is kept when there are no lines: only at its start does the agent examine all paths at the same
/// time.
const ROOM: usize = 256;

/// The most repetitions per command because of UNIT ATTENTION.
const ATTENTIONS: u32 = 3;
/// The most repetitions per command because of transient failures.
const RETRIES: u32 = 2;

impl Examine {
    /// The answer to an order of which nothing was sent: `outcome` for its first command.
    pub(in crate::kernel) fn answer(self, outcome: Outcome) -> Examination {
        let first = self.commands.first().cloned();
        Examination {
            path: self.path,
            ticket: self.ticket,
            replies: first
                .map(|command| Reply {
                    command,
                    outcome,
                    data: Vec::new(),
                })
                .into_iter()
                .collect(),
        }
    }
}

/// A command to send now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernel) struct Sending {
    pub(in crate::kernel) path: Hctl,
    pub(in crate::kernel) sg: Sg,
    pub(in crate::kernel) command: Command,
    /// [`Space::Usual`], or [`Space::Longest`] if the answer did not fit.
    pub(in crate::kernel) space: Space,
    pub(in crate::kernel) timeout: Millis,
}

/// What happens after a command came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernel) enum Next {
    /// The examination continues.
    GoesOn,
    /// The examination has ended with this answer.
    Ended(Examination),
    /// The command was an orphan.
    Reaped,
}

/// The books of a host.
#[derive(Debug)]
pub(in crate::kernel) struct Book {
    /// How many commands may be out at the same time.
    window: usize,
    lines: Lookup<Hctl, Line>,
    /// Paths whose next command has not been sent, in order.
    queue: VecDeque<Hctl>,
    /// When to check the examinations that wait or are out, ordered by time. The entry of an examination that has ended
    /// stays until its time comes, at most one deadline later.
    deadlines: VecDeque<(Millis, Hctl)>,
    /// When each command that counts for the window was sent, ordered by time.
    young: VecDeque<(Millis, Hctl)>,
    /// No thread serves these books any more.
    pub(in crate::kernel) closed: bool,
}

#[derive(Debug)]
struct Line {
    /// The command waits for its turn; otherwise it is with the kernel, or on its way there.
    queued: bool,
    since: Millis,
    /// Its time in [`Book::deadlines`], which is not after the examination is overdue.
    look_at: Millis,
    /// `None` for an orphan.
    exam: Option<Exam>,
}

#[derive(Debug)]
struct Exam {
    order: Examine,
    /// The command that is next or out: the one at `place` in the order, or its substitute.
    current: Command,
    place: usize,
    /// The space that the current command asks for.
    space: Space,
    attentions: u32,
    retries: u32,
    replies: Vec<Reply>,
}

impl Default for Book {
    /// With the window [`WINDOW`].
    fn default() -> Book {
        Book::new(WINDOW)
    }
}

impl Book {
    /// Creates the books of a host that takes `window` commands at the same time.
    pub(in crate::kernel) fn new(window: usize) -> Book {
        Book {
            window,
            lines: Lookup::default(),
            queue: VecDeque::new(),
            deadlines: VecDeque::new(),
            young: VecDeque::new(),
            closed: false,
        }
    }

    /// Accepts an order. Returns whether the thread must be woken, which is not needed if other orders wait already.
    ///
    /// # Errors
    /// The answer, if it is known immediately: no commands (no replies), an orphan on the path (Overdue), an
    /// examination on the path (EBUSY), or too many examinations (EAGAIN).
    pub(in crate::kernel) fn accept(
        &mut self,
        order: Examine,
        now: Millis,
    ) -> Result<bool, Examination> {
        let path = order.path;
        let refusal = match self.lines.get(&path) {
            Some(Line { exam: None, .. }) => Some(Outcome::Overdue),
            Some(_) => Some(Outcome::of_errno(libc::EBUSY)),
            None if self.lines.len() >= LINES => Some(Outcome::of_errno(libc::EAGAIN)),
            None => None,
        };
        if let Some(outcome) = refusal {
            return Err(order.answer(outcome));
        }
        let Some(current) = order.commands.first().cloned() else {
            return Err(Examination {
                path,
                ticket: order.ticket,
                replies: Vec::new(),
            });
        };
        let exam = Exam {
            current,
            place: 0,
            space: Space::Usual,
            attentions: 0,
            retries: 0,
            replies: Vec::with_capacity(order.commands.len()),
            order,
        };
        self.open_line(path, exam, now);
        self.queue.push_back(path);
        Ok(self.queue.len() == 1)
    }

    fn open_line(&mut self, path: Hctl, exam: Exam, now: Millis) {
        let line = Line {
            queued: true,
            since: now,
            look_at: exam.due(now),
            exam: Some(exam),
        };
        self.look_later(line.look_at, path);
        self.lines.insert(path, line);
    }

    fn look_later(&mut self, at: Millis, path: Hctl) {
        let place = self.deadlines.partition_point(|(due, _)| *due <= at);
        self.deadlines.insert(place, (at, path));
    }

    /// How many commands that are out, or about to be, count for the window.
    pub(in crate::kernel) fn young(&mut self, now: Millis) -> usize {
        while let Some((since, _)) = self.young.front()
            && since.after(YOUNG) <= now
        {
            self.young.pop_front();
        }
        self.young.len()
    }

    /// The next command to send, if there is one and the window is not full. If sending it fails, [`Book::not_sent`]
    /// must be called.
    pub(in crate::kernel) fn take(&mut self, now: Millis) -> Option<Sending> {
        if self.young(now) >= self.window {
            return None;
        }
        while let Some(path) = self.queue.pop_front() {
            let Some(line) = self.lines.get_mut(&path) else {
                continue;
            };
            let Some(exam) = &line.exam else {
                continue;
            };
            self.young.push_back((now, path));
            line.queued = false;
            line.since = now;
            return Some(Sending {
                path,
                sg: exam.order.sg,
                command: exam.current.clone(),
                space: exam.space,
                timeout: exam.order.timeout,
            });
        }
        None
    }

    /// The command of a path could not be sent, or the path is gone while its command is out. The path becomes free.
    /// Returns the examination that ends.
    pub(in crate::kernel) fn not_sent(
        &mut self,
        path: Hctl,
        outcome: Outcome,
    ) -> Option<Examination> {
        let line = self.close_line(path)?;
        line.exam.map(|exam| exam.end(path, outcome))
    }

    /// The command of a path came back.
    pub(in crate::kernel) fn returned(
        &mut self,
        path: Hctl,
        outcome: Outcome,
        data: Vec<u8>,
        now: Millis,
    ) -> Next {
        if let Some(line) = self.lines.get_mut(&path)
            && let Some(exam) = &mut line.exam
            && exam.goes_on(outcome, data)
        {
            // Its entry in `deadlines` stays: it comes earlier than this command is overdue, and is entered again then.
            (line.since, line.queued) = (now, true);
            self.leave_window(path);
            // An examination under way has its file open, so it ends before others begin.
            self.queue.push_front(path);
            return Next::GoesOn;
        }
        let exam = self.close_line(path).and_then(|line| line.exam);
        exam.map_or(Next::Reaped, |exam| {
            Next::Ended(Examination {
                path,
                ticket: exam.order.ticket,
                replies: exam.replies,
            })
        })
    }

    /// Ends the overdue examinations. A command of theirs that is with the kernel becomes an orphan.
    pub(in crate::kernel) fn expire(&mut self, now: Millis) -> Vec<Examination> {
        let mut ended = Vec::new();
        let mut unsent = false;
        while let Some(due) = self.first_deadline()
            && due <= now
            && let Some((_, path)) = self.deadlines.pop_front()
            && let Some(line) = self.lines.get_mut(&path)
        {
            // The command may have been sent after the deadline was entered, so it is overdue only later.
            let overdue = line.exam.as_ref().map(|exam| exam.due(line.since));
            if let Some(later) = overdue.filter(|due| *due > now) {
                line.look_at = later;
                self.look_later(later, path);
                continue;
            }
            let exam = line.exam.take();
            ended.extend(exam.map(|exam| exam.end(path, Outcome::Overdue)));
            if line.queued {
                unsent = true;
                self.lines.remove(&path);
            }
        }
        if unsent {
            let lines = &self.lines;
            self.queue.retain(|path| lines.contains_key(path));
        }
        ended
    }

    /// The thread could not send between `from` and `until`, because its answers were not taken. That time does not
    /// count for commands that wait for their turn. Otherwise a receiver that is behind would see healthy paths as
    /// overdue, have them examined again, and fall further behind.
    pub(in crate::kernel) fn held_up(&mut self, from: Millis, until: Millis) {
        for path in &self.queue {
            if let Some(line) = self.lines.get_mut(path).filter(|line| line.queued) {
                line.since = line.since.after(until.since(line.since.max(from)));
            }
        }
    }

    /// The earliest time at which an examination may be overdue.
    pub(in crate::kernel) fn first_deadline(&mut self) -> Option<Millis> {
        while let Some((due, path)) = self.deadlines.front() {
            let line = self.lines.get(path);
            if line.is_some_and(|line| line.exam.is_some() && line.look_at == *due) {
                return Some(*due);
            }
            self.deadlines.pop_front();
        }
        None
    }

    /// When there is next something to do if nothing comes back before.
    pub(in crate::kernel) fn next_moment(&mut self) -> Option<Millis> {
        let due = self.first_deadline();
        let room = match self.queue.is_empty() {
            true => None,
            false => self.young.front().map(|(since, _)| since.after(YOUNG)),
        };
        due.into_iter().chain(room).min()
    }

    /// Whether a path has an examination or an orphan.
    #[cfg(feature = "io-uring")]
    pub(in crate::kernel) fn has(&self, path: Hctl) -> bool {
        self.lines.contains_key(&path)
    }

    /// Whether there is neither an examination nor an orphan.
    pub(in crate::kernel) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn close_line(&mut self, path: Hctl) -> Option<Line> {
        let line = self.lines.remove(&path)?;
        if self.lines.is_empty() {
            self.lines.shrink_to(ROOM);
        }
        self.leave_window(path);
        Some(line)
    }

    /// The command of a path is not out any more, so it does not count for the window.
    fn leave_window(&mut self, path: Hctl) {
        if let Some(place) = self.young.iter().position(|(_, young)| *young == path) {
            self.young.remove(place);
        }
    }
}

impl Exam {
    /// When the current command is overdue if it is sent, or begins to wait, at `since`.
    fn due(&self, since: Millis) -> Millis {
        since.after(self.order.deadline)
    }

    /// Records how the current command ended. Returns whether there is a command to send next.
    fn goes_on(&mut self, outcome: Outcome, data: Vec<u8>) -> bool {
        let key = outcome.sense().map(|sense| sense.key);
        if key == Some(UNIT_ATTENTION) && self.attentions < ATTENTIONS {
            self.attentions += 1;
            return true;
        }
        if matches!(outcome, Outcome::Retry(_)) && self.retries < RETRIES {
            self.retries += 1;
            return true;
        }
        if self.current == Command::ReportTargetPortGroups && is_refused(&outcome) {
            self.current = Command::ReportTargetPortGroupsShort;
            return true;
        }
        if self.space != Space::Longest && outcome.carried_out() && is_cut(&self.current, &data) {
            self.space = Space::Longest;
            return true;
        }
        self.place += 1;
        let next = self.order.commands.get(self.place).cloned();
        let more = next.is_some() && !ends_examination(&outcome);
        let command = match next {
            Some(next) => std::mem::replace(&mut self.current, next),
            None => self.current.clone(),
        };
        self.space = Space::Usual;
        self.replies.push(Reply {
            command,
            outcome,
            data,
        });
        self.attentions = 0;
        self.retries = 0;
        more
    }

    fn end(mut self, path: Hctl, outcome: Outcome) -> Examination {
        self.replies.push(Reply {
            command: self.current,
            outcome,
            data: Vec::new(),
        });
        Examination {
            path,
            ticket: self.order.ticket,
            replies: self.replies,
        }
    }
}

const ILLEGAL_REQUEST: u8 = 5;
const UNIT_ATTENTION: u8 = 6;

/// Whether a target refused a field of the CDB. The standard requires INVALID FIELD IN CDB, but some arrays report
/// ILLEGAL REQUEST without details (kernel `alua_rtpg`, which therefore checks only the sense key).
fn is_refused(outcome: &Outcome) -> bool {
    outcome
        .sense()
        .is_some_and(|sense| sense.key == ILLEGAL_REQUEST && matches!(sense.asc, 0x00 | 0x24))
}

/// Whether an outcome means that the path failed and not the command: other commands would fail too.
fn ends_examination(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::NoConnect(_)
        | Outcome::Host(_)
        | Outcome::Timeout
        | Outcome::Overdue
        | Outcome::Gone
        | Outcome::Errno(_)
        | Outcome::NotSent(_) => true,
        Outcome::Good
        | Outcome::CheckCondition(_)
        | Outcome::Busy
        | Outcome::ReservationConflict
        | Outcome::Status(_)
        | Outcome::Retry(_) => false,
    }
}

#[cfg(test)]
mod tests;
