//! Encodes events and actions as records, and shortens those that repeat earlier ones.
//!
//! With ten thousand paths, two thousand checks run per second, and nearly every path gives the same answers as before.
//! So writer and reader both keep the questions that paths are asked, which are few, and the last answer of each path
//! to each command. Both start empty at the beginning of a segment.
//!
//! ```text
//! 1  time, length, JSON    an event
//! 2  time, seat            Examined: the path of this seat answered each command of its question as before
//! 3  time                  Timer
//! 4  length, JSON          an action: it belongs to the preceding event
//! 5  seat, number, ticket  Examine: the path of this seat is asked the question with this number
//! ```
//!
//! Times are relative to the preceding record and tickets to the preceding ticket; both are variable-length numbers. A
//! path gets the next seat, counting from 0, when it is first asked in the segment. A question gets the next number,
//! counting from 0, when it is first written in full; after the last number, numbering restarts at 0.

use super::varint;
use crate::psa::action::{Action, Examine};
use crate::psa::event::{Event, Examination, Reply};
use crate::psa::lookup::Lookup;
use crate::psa::units::{Hctl, Millis, Sg};
use crate::scsi::cdb::Commands;

const EVENT: u8 = 1;
const SAME_ANSWER: u8 = 2;
const TIMER: u8 = 3;
const ACTION: u8 = 4;
const SAME_QUESTION: u8 = 5;

/// Maximum number of questions that are kept. About a dozen are in use; a change of the timeout setting creates new
/// ones.
const QUESTIONS: usize = 32;

/// Maximum number of answers that are kept for a path, and of answers in one repetition: no path is asked for more.
const ANSWERS: usize = 8;
/// Maximum length of an answer that is kept, so that a tiny file cannot expand to gigabytes. No allocation length
/// exceeds it.
const LONGEST: usize = 16 << 10;

/// What is remembered about a path.
#[derive(Debug, Clone)]
struct Seat {
    path: Hctl,
    sg: Sg,
    /// Ticket of the last examination.
    ticket: u64,
    /// Number of the question asked in the last examination.
    question: usize,
    /// The last answer to each command.
    replies: Vec<Reply>,
    /// How many answers were added to `replies`, including those that replaced an older one.
    count: usize,
}

impl Seat {
    fn learn(&mut self, reply: &Reply) {
        if reply.data.len() > LONGEST {
            return;
        }
        let same = |known: &&mut Reply| known.command == reply.command;
        if let Some(known) = self.replies.iter_mut().find(same) {
            known.clone_from(reply);
        } else {
            put_in_turn(&mut self.replies, ANSWERS, &mut self.count, reply.clone());
        }
    }
}

/// The parameters of an examination without its path and ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    commands: Commands,
    timeout: Millis,
    deadline: Millis,
}

/// Adds an item to a list of at most `room` items, replacing the oldest once the list is full. Returns its index.
fn put_in_turn<T>(list: &mut Vec<T>, room: usize, count: &mut usize, item: T) -> usize {
    let place = *count % room;
    *count += 1;
    match list.get_mut(place) {
        Some(oldest) => *oldest = item,
        None => list.push(item),
    }
    place
}

/// The state that writer and reader keep in step.
#[derive(Debug, Clone, Default)]
struct Known {
    at: Millis,
    ticket: u64,
    seats: Vec<Seat>,
    by_path: Lookup<Hctl, usize>,
    questions: Vec<Question>,
    /// How many questions were added, including those that replaced an older one.
    count: usize,
}

impl Known {
    fn seat(&self, path: Hctl) -> Option<(usize, &Seat)> {
        let number = *self.by_path.get(&path)?;
        Some((number, self.seats.get(number)?))
    }

    /// Whether a [`SAME_ANSWER`] for this seat would decode to exactly this examination.
    fn is_repeated(&self, seat: &Seat, examination: &Examination) -> bool {
        let Some(question) = self.questions.get(seat.question) else {
            return false;
        };
        let replies = &examination.replies;
        seat.ticket == examination.ticket
            && replies.len() <= ANSWERS
            && replies.len() == question.commands.len()
            && question
                .commands
                .iter()
                .zip(replies)
                .all(|(command, reply)| reply.command == *command && seat.replies.contains(reply))
    }

    /// Decodes a [`SAME_ANSWER`] for a seat; `None` if an answer is not known.
    fn repeated(&self, seat: &Seat) -> Option<Examination> {
        let question = self.questions.get(seat.question)?;
        if question.commands.len() > ANSWERS {
            return None;
        }
        let replies = question.commands.iter().map(|command| {
            let reply = seat.replies.iter().find(|reply| reply.command == *command);
            reply.cloned()
        });
        Some(Examination {
            path: seat.path,
            ticket: seat.ticket,
            replies: replies.collect::<Option<Vec<Reply>>>()?,
        })
    }

    /// Learns from an event that was written in full.
    fn heard(&mut self, event: &Event) {
        if let Event::Examined(examination) = event
            && let Some(number) = self.by_path.get(&examination.path)
            && let Some(seat) = self.seats.get_mut(*number)
        {
            examination
                .replies
                .iter()
                .for_each(|reply| seat.learn(reply));
        }
    }

    /// Learns from an action that was written in full.
    fn wanted(&mut self, action: &Action) {
        match action {
            Action::Examine(Examine {
                path,
                sg,
                ticket,
                commands,
                timeout,
                deadline,
            }) => {
                self.ticket = *ticket;
                let asked = Question {
                    commands: commands.clone(),
                    timeout: *timeout,
                    deadline: *deadline,
                };
                let known = self.questions.iter().position(|known| *known == asked);
                let question = known.unwrap_or_else(|| {
                    put_in_turn(&mut self.questions, QUESTIONS, &mut self.count, asked)
                });
                match self.by_path.get(path) {
                    Some(number) => {
                        if let Some(seat) = self.seats.get_mut(*number) {
                            (seat.sg, seat.ticket, seat.question) = (*sg, *ticket, question);
                        }
                    }
                    None => {
                        self.by_path.insert(*path, self.seats.len());
                        self.seats.push(Seat {
                            path: *path,
                            sg: *sg,
                            ticket: *ticket,
                            question,
                            replies: Vec::new(),
                            count: 0,
                        });
                    }
                }
            }
            Action::Map { ticket, .. } => self.ticket = *ticket,
            _ => {}
        }
    }
}

/// Writes records into a buffer.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    out: Vec<u8>,
    known: Known,
}

impl Encoder {
    /// Begins a segment with empty state, as its reader does. Records that were not taken are discarded.
    pub fn begin(&mut self, at: Millis) {
        self.out.clear();
        self.known = Known {
            at,
            ..Known::default()
        };
    }

    /// Takes the records written since the last call. Must be called between two steps.
    pub fn take(&mut self) -> Vec<u8> {
        // The next batch will be about as large.
        let room = self.out.len();
        std::mem::replace(&mut self.out, Vec::with_capacity(room))
    }

    /// Number of bytes that can be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there are no bytes to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    fn put(&mut self, tag: u8, numbers: &[u64]) {
        self.out.push(tag);
        for number in numbers {
            varint::put(&mut self.out, *number);
        }
    }

    fn put_json(&mut self, json: &[u8]) {
        varint::put(&mut self.out, json.len() as u64);
        self.out.extend_from_slice(json);
    }

    /// Records an event before the world receives it. Times never go back; the world ignores a step back as well.
    pub fn event(&mut self, at: Millis, event: &Event) {
        let time = at.since(self.known.at).0;
        self.known.at = self.known.at.max(at);
        match event {
            Event::Timer => return self.put(TIMER, &[time]),
            Event::Examined(examination) => {
                if let Some((number, seat)) = self.known.seat(examination.path)
                    && self.known.is_repeated(seat, examination)
                {
                    return self.put(SAME_ANSWER, &[time, number as u64]);
                }
            }
            _ => {}
        }
        self.put(EVENT, &[time]);
        self.put_json(&super::json(event));
        self.known.heard(event);
    }

    /// Records the actions that the world returned for the preceding event.
    pub fn actions(&mut self, actions: &[Action]) {
        for action in actions {
            if let Some((number, question, ticket)) = self.same_question(action) {
                let later = ticket - self.known.ticket;
                self.put(SAME_QUESTION, &[number as u64, question as u64, later]);
                self.known.ticket = ticket;
                if let Some(seat) = self.known.seats.get_mut(number) {
                    (seat.ticket, seat.question) = (ticket, question);
                }
            } else {
                self.put(ACTION, &[]);
                self.put_json(&super::json(action));
                self.known.wanted(action);
            }
        }
    }

    /// Returns seat, question and ticket if the path has a seat and the question is known.
    fn same_question(&self, action: &Action) -> Option<(usize, usize, u64)> {
        let Action::Examine(Examine {
            path,
            sg,
            ticket,
            commands,
            timeout,
            deadline,
        }) = action
        else {
            return None;
        };
        let (number, seat) = self.known.seat(*path)?;
        let same = |question: &Question| {
            question.commands == *commands
                && question.timeout == *timeout
                && question.deadline == *deadline
        };
        // Usually a path is asked the same question as last time.
        let before = self.known.questions.get(seat.question);
        let question = match before.is_some_and(same) {
            true => seat.question,
            false => self.known.questions.iter().position(same)?,
        };
        (seat.sg == *sg && *ticket >= self.known.ticket).then_some((number, question, *ticket))
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An event that the world received, and when.
    Event(Millis, Event),
    /// An action that the world returned for the preceding event.
    Action(Action),
}

/// Decodes records.
#[derive(Debug, Default)]
pub struct Decoder {
    known: Known,
}

impl Decoder {
    /// Creates a decoder for a segment that begins at this time.
    #[must_use]
    pub fn new(at: Millis) -> Decoder {
        Decoder {
            known: Known {
                at,
                ..Known::default()
            },
        }
    }

    /// Takes a record from the front. Returns `None` and takes nothing if the record is incomplete.
    ///
    /// # Errors
    /// These bytes are not a record.
    pub fn take(&mut self, from: &mut &[u8]) -> Result<Option<Record>, String> {
        let mut rest = *from;
        let Some((tag, after)) = rest.split_first() else {
            return Ok(None);
        };
        rest = after;
        macro_rules! number {
            () => {
                match varint::take(&mut rest)? {
                    Some(number) => number,
                    None => return Ok(None),
                }
            };
        }
        macro_rules! json {
            () => {{
                let length = usize::try_from(number!()).unwrap_or(usize::MAX);
                let Some((text, after)) = rest.split_at_checked(length) else {
                    return Ok(None);
                };
                rest = after;
                serde_json::from_slice(text)
                    .map_err(|why| format!("this build cannot read it: {why}"))?
            }};
        }
        let record = match *tag {
            EVENT => {
                let at = self.known.at.after(Millis(number!()));
                let event = json!();
                self.known.at = at;
                self.known.heard(&event);
                Record::Event(at, event)
            }
            TIMER => {
                self.known.at = self.known.at.after(Millis(number!()));
                Record::Event(self.known.at, Event::Timer)
            }
            SAME_ANSWER => {
                let at = self.known.at.after(Millis(number!()));
                let seat = self.seat(number!())?;
                let seat = self.known.seats.get(seat);
                let examination = seat
                    .and_then(|seat| self.known.repeated(seat))
                    .ok_or("it repeats an answer that does not exist")?;
                self.known.at = at;
                Record::Event(at, Event::Examined(examination))
            }
            ACTION => {
                let action = json!();
                self.known.wanted(&action);
                Record::Action(action)
            }
            SAME_QUESTION => {
                let number = self.seat(number!())?;
                let question = usize::try_from(number!()).unwrap_or(usize::MAX);
                let ticket = self.known.ticket.saturating_add(number!());
                let known = &mut self.known;
                let asked = known.questions.get(question);
                let (Some(seat), Some(asked)) = (known.seats.get_mut(number), asked) else {
                    return Err("it repeats a question that does not exist".to_owned());
                };
                (seat.ticket, seat.question) = (ticket, question);
                known.ticket = ticket;
                Record::Action(Action::Examine(Examine {
                    path: seat.path,
                    sg: seat.sg,
                    ticket,
                    commands: asked.commands.clone(),
                    timeout: asked.timeout,
                    deadline: asked.deadline,
                }))
            }
            other => return Err(format!("unknown record kind {other}")),
        };
        *from = rest;
        Ok(Some(record))
    }

    /// Converts the number of an existing seat to an index.
    fn seat(&self, number: u64) -> Result<usize, String> {
        usize::try_from(number)
            .ok()
            .filter(|number| *number < self.known.seats.len())
            .ok_or_else(|| {
                format!("it refers to path {number} of the segment, which does not exist")
            })
    }
}
