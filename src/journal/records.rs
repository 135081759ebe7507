//! Records: each an event or an action, made as short as may be where it says what was said before.
//!
//! Ten thousand paths are checked two thousand times a second, and nearly all of them answer what they answered before.
//! So writer and reader both keep the questions that paths are asked, which are few, and what each path answered last to each
//! command. They start with nothing at the begin of a segment.
//!
//! ```text
//! 1  time, length, JSON    an event
//! 2  time, seat            Examined: that path answered each command of its question as it did last
//! 3  time                  Timer
//! 4  length, JSON          an action: it belongs to the event before it
//! 5  seat, number, ticket  Examine: that path is asked the question of that number
//! ```
//!
//! Times count from the record before, tickets from the ticket before, both as variable-length numbers. A path gets the
//! next seat, from 0, when it is first asked in the segment, and a question the next number, from 0, when it is first written
//! in full; after the last number the first is given again.

use super::varint;
use crate::psa::action::Action;
use crate::psa::event::{Event, Examination, Reply};
use crate::psa::lookup::Lookup;
use crate::psa::units::{Hctl, Millis, Sg};
use crate::scsi::cdb::Commands;

const EVENT: u8 = 1;
const SAME_ANSWER: u8 = 2;
const TIMER: u8 = 3;
const ACTION: u8 = 4;
const SAME_QUESTION: u8 = 5;

/// How many questions are kept. A dozen are asked; another timeout, by a setting, makes others of them.
const QUESTIONS: usize = 32;

/// To how many commands the answers of a path are kept, and repeated at once: no path is asked for more things than that.
const ANSWERS: usize = 8;
/// What is longer is not kept, or a file of some bytes would be told as gigabytes; no allocation length is longer.
const LONGEST: usize = 16 << 10;

/// What is kept of a path.
#[derive(Debug, Clone)]
struct Seat {
    path: Hctl,
    sg: Sg,
    /// Of the last examination.
    ticket: u64,
    /// Number of the question that it was asked then.
    question: usize,
    /// The last answer to each command.
    replies: Vec<Reply>,
    /// How many commands were answered for the first time.
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

/// An examination, without its path and ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    commands: Commands,
    timeout: Millis,
    deadline: Millis,
}

/// Puts the next of a list that is full when it holds so many, and from then on takes the place of the oldest. Where.
fn put_in_turn<T>(list: &mut Vec<T>, room: usize, count: &mut usize, item: T) -> usize {
    let place = *count % room;
    *count += 1;
    match list.get_mut(place) {
        Some(oldest) => *oldest = item,
        None => list.push(item),
    }
    place
}

/// What writer and reader both know.
#[derive(Debug, Clone, Default)]
struct Known {
    at: Millis,
    ticket: u64,
    seats: Vec<Seat>,
    by_path: Lookup<Hctl, usize>,
    questions: Vec<Question>,
    /// How many were written in full.
    count: usize,
}

impl Known {
    fn seat(&self, path: Hctl) -> Option<(usize, &Seat)> {
        let number = *self.by_path.get(&path)?;
        Some((number, self.seats.get(number)?))
    }

    /// Whether a path answered what a [`SAME_ANSWER`] of its seat says.
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

    /// What [`SAME_ANSWER`] says of a seat.
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
            Action::Examine {
                path,
                sg,
                ticket,
                commands,
                timeout,
                deadline,
            } => {
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
    /// Begins a segment: what was said before is not known to its reader. What was not taken is gone.
    pub fn begin(&mut self, at: Millis) {
        self.out.clear();
        self.known = Known {
            at,
            ..Known::default()
        };
    }

    /// What was written since it was taken last; to be taken between two steps.
    pub fn take(&mut self) -> Vec<u8> {
        // Much the same will be written next.
        let room = self.out.len();
        std::mem::replace(&mut self.out, Vec::with_capacity(room))
    }

    /// Bytes that are there to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there is nothing to be taken.
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

    /// Writes down what the world is about to be told. Times never go back; the world would not follow if they did.
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

    /// Writes down what the world wants to be done about the event before.
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

    /// Seat, question and ticket, if the path is there and the question is known.
    fn same_question(&self, action: &Action) -> Option<(usize, usize, u64)> {
        let Action::Examine {
            path,
            sg,
            ticket,
            commands,
            timeout,
            deadline,
        } = action
        else {
            return None;
        };
        let (number, seat) = self.known.seat(*path)?;
        let same = |question: &Question| {
            question.commands == *commands
                && question.timeout == *timeout
                && question.deadline == *deadline
        };
        // Mostly a path is asked what it was asked before.
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
    /// What the world was told, and when.
    Event(Millis, Event),
    /// What it wanted to be done about the event before.
    Action(Action),
}

/// Reads records.
#[derive(Debug, Default)]
pub struct Decoder {
    known: Known,
}

impl Decoder {
    /// Of a segment that begins at this time.
    #[must_use]
    pub fn new(at: Millis) -> Decoder {
        Decoder {
            known: Known {
                at,
                ..Known::default()
            },
        }
    }

    /// Takes a record from the front; `None` if what is there is no whole one, and then nothing is taken.
    ///
    /// # Errors
    /// These bytes are no record.
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
                    .map_err(|why| format!("it does not say what this build understands: {why}"))?
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
                    .ok_or("it repeats an answer that was not given")?;
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
                    return Err("it repeats a question that was not asked".to_owned());
                };
                (seat.ticket, seat.question) = (ticket, question);
                known.ticket = ticket;
                Record::Action(Action::Examine {
                    path: seat.path,
                    sg: seat.sg,
                    ticket,
                    commands: asked.commands.clone(),
                    timeout: asked.timeout,
                    deadline: asked.deadline,
                })
            }
            other => return Err(format!("there is no record of kind {other}")),
        };
        *from = rest;
        Ok(Some(record))
    }

    /// The place of a seat that there is.
    fn seat(&self, number: u64) -> Result<usize, String> {
        usize::try_from(number)
            .ok()
            .filter(|number| *number < self.known.seats.len())
            .ok_or_else(|| {
                format!("it is about path {number} of the segment, which has not so many")
            })
    }
}
