//! Records: each an event or an action, made as short as may be where it says what was said before.
//!
//! Ten thousand paths are checked two thousand times a second, and nearly all of them answer what they answered before.
//! So writer and reader both keep, for each path, the questions that it is asked in turn, and what it answered to each
//! last. They start with nothing at the begin of a segment.
//!
//! ```text
//! 1  time, length, JSON    an event
//! 2  time, seat            Examined: that path answered as it did last time to the same question
//! 3  time                  Timer
//! 4  length, JSON          an action: it belongs to the event before it
//! 5  seat, number, ticket  Examine: that path is asked the question of that number again
//! ```
//!
//! Times count from the record before, tickets from the ticket before, both as variable-length numbers. A path gets the
//! next seat, from 0, when it is first asked in the segment, and each question that is written in full the next number,
//! from 0; the fifth takes the place of the first.

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

/// How many questions of a path are kept: whether it serves, that and its port groups, who it is.
const QUESTIONS: usize = 4;

/// What is kept of a path.
#[derive(Debug, Clone)]
struct Seat {
    path: Hctl,
    /// Of the last examination.
    ticket: u64,
    /// Which question that was.
    current: usize,
    questions: Vec<Question>,
    /// How many were written in full.
    count: usize,
}

/// A question, and how it was answered last.
#[derive(Debug, Clone)]
struct Question {
    asked: Asked,
    replies: Option<Vec<Reply>>,
}

/// An examination, without its path and ticket.
#[derive(Debug, Clone)]
struct Asked {
    sg: Sg,
    commands: Commands,
    timeout: Millis,
    deadline: Millis,
}

/// What writer and reader both know.
#[derive(Debug, Clone, Default)]
struct Known {
    at: Millis,
    ticket: u64,
    seats: Vec<Seat>,
    by_path: Lookup<Hctl, usize>,
}

impl Known {
    fn seat(&self, path: Hctl) -> Option<(usize, &Seat)> {
        let number = *self.by_path.get(&path)?;
        Some((number, self.seats.get(number)?))
    }

    /// The seat of a path, a new one if it has none.
    fn seat_for(&mut self, path: Hctl) -> Option<&mut Seat> {
        let known = self.by_path.get(&path).copied();
        let number = known.unwrap_or(self.seats.len());
        if known.is_none() {
            self.by_path.insert(path, number);
            self.seats.push(Seat {
                path,
                ticket: 0,
                current: 0,
                questions: Vec::new(),
                count: 0,
            });
        }
        self.seats.get_mut(number)
    }

    /// Learns from an event that was written in full.
    fn heard(&mut self, event: &Event) {
        if let Event::Examined(examination) = event
            && let Some(number) = self.by_path.get(&examination.path)
            && let Some(seat) = self.seats.get_mut(*number)
            && seat.ticket == examination.ticket
            && let Some(question) = seat.questions.get_mut(seat.current)
        {
            question.replies = Some(examination.replies.clone());
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
                if let Some(seat) = self.seat_for(*path) {
                    seat.ticket = *ticket;
                    seat.current = seat.count % QUESTIONS;
                    seat.count += 1;
                    let question = Question {
                        asked: Asked {
                            sg: *sg,
                            commands: commands.clone(),
                            timeout: *timeout,
                            deadline: *deadline,
                        },
                        replies: None,
                    };
                    match seat.questions.get_mut(seat.current) {
                        Some(old) => *old = question,
                        None => seat.questions.push(question),
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
                    && seat.ticket == examination.ticket
                    && let Some(question) = seat.questions.get(seat.current)
                    && question.replies.as_ref() == Some(&examination.replies)
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
                    (seat.ticket, seat.current) = (ticket, question);
                }
            } else {
                self.put(ACTION, &[]);
                self.put_json(&super::json(action));
                self.known.wanted(action);
            }
        }
    }

    /// Seat, question and ticket, if the path is asked what it was asked before.
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
            let asked = &question.asked;
            asked.commands == *commands
                && asked.sg == *sg
                && asked.timeout == *timeout
                && asked.deadline == *deadline
        };
        let question = seat.questions.iter().position(same)?;
        (*ticket >= self.known.ticket).then_some((number, question, *ticket))
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
                let question = seat.questions.get(seat.current);
                let replies = question
                    .and_then(|question| question.replies.clone())
                    .ok_or("it repeats an answer that was not given")?;
                let examination = Examination {
                    path: seat.path,
                    ticket: seat.ticket,
                    replies,
                };
                self.known.at = at;
                Record::Event(at, Event::Examined(examination))
            }
            ACTION => {
                let action = json!();
                self.known.wanted(&action);
                Record::Action(action)
            }
            SAME_QUESTION => {
                let number = number!();
                let question = usize::try_from(number!()).unwrap_or(usize::MAX);
                let ticket = self.known.ticket.saturating_add(number!());
                let seat = self.seat(number)?;
                let asked = seat.questions.get(question);
                let asked = asked
                    .map(|question| question.asked.clone())
                    .ok_or("it repeats a question that was not asked")?;
                let path = seat.path;
                (seat.ticket, seat.current) = (ticket, question);
                self.known.ticket = ticket;
                Record::Action(Action::Examine {
                    path,
                    sg: asked.sg,
                    ticket,
                    commands: asked.commands,
                    timeout: asked.timeout,
                    deadline: asked.deadline,
                })
            }
            other => return Err(format!("there is no record of kind {other}")),
        };
        *from = rest;
        Ok(Some(record))
    }

    fn seat(&mut self, number: u64) -> Result<&mut Seat, String> {
        let seat = usize::try_from(number)
            .ok()
            .and_then(|number| self.known.seats.get_mut(number));
        seat.ok_or_else(|| {
            format!("it is about path {number} of the segment, which has not so many")
        })
    }
}
