//! The owner's inbox: a bounded channel that knows how many inputs wait in it, and a second channel for questions. The
//! owner answers questions between two events, so a caller waits for one event and not for all the events of a host
//! with many paths.

use super::metrics::Picture;
use super::planner::Snapshot;
use crate::api::error::ApiError;
use crate::api::requests::Request;
use crate::kernel::Sink;
use crate::psa::action::Notice;
use crate::psa::event::Event;
use crate::psa::rules::Rules;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// An input of the owner. The inbox reserves space for many of these, so large values are boxed.
pub(super) enum Input {
    /// Events for the world, in order.
    Events(Vec<Event>),
    /// A notice from another thread.
    Notice(Box<Notice>),
    /// A question was asked: wakes the owner.
    Asked,
    /// SIGTERM or SIGINT.
    Stop,
}

/// Receives the answer of an API call.
type Reply = SyncSender<Result<serde_json::Value, ApiError>>;

/// A question to the owner, whose sender waits for the answer.
pub(super) enum Question {
    /// A call of the API.
    Call(Box<Request>, Reply),
    /// New rules to put into force.
    Rules(Box<Rules>, Reply),
    /// A copy of the world.
    Snapshot(SyncSender<Snapshot>),
    /// The current metrics.
    Metrics(SyncSender<Picture>),
}

/// The sending end.
#[derive(Clone)]
pub(super) struct Inbox {
    sender: SyncSender<Input>,
    questions: SyncSender<Question>,
    waiting: Arc<AtomicUsize>,
}

/// The receiving end.
pub(super) struct Inputs {
    receiver: Receiver<Input>,
    questions: Receiver<Question>,
    waiting: Arc<AtomicUsize>,
}

/// The input was not accepted: the inbox is full, or the owner stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotTaken;

/// Creates an inbox that holds up to `room` inputs and `questions` questions.
#[must_use]
pub(super) fn inbox(room: usize, questions: usize) -> (Inbox, Inputs) {
    let (sender, receiver) = sync_channel(room);
    let (asker, asked) = sync_channel(questions);
    let waiting = Arc::new(AtomicUsize::new(0));
    let inputs = Inputs {
        receiver,
        questions: asked,
        waiting: Arc::clone(&waiting),
    };
    let inbox = Inbox {
        sender,
        questions: asker,
        waiting,
    };
    (inbox, inputs)
}

impl Inbox {
    /// Sends an input; waits while the inbox is full.
    ///
    /// # Errors
    /// The owner stopped.
    pub(super) fn send(&self, input: Input) -> Result<(), NotTaken> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.send(input);
        if sent.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent.map_err(|_| NotTaken)
    }

    /// Sends an input if there is space.
    ///
    /// # Errors
    /// The inbox is full, or the owner stopped.
    pub(super) fn try_send(&self, input: Input) -> Result<(), NotTaken> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.try_send(input);
        if sent.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent.map_err(|_| NotTaken)
    }

    /// Asks the owner a question, if there is space.
    ///
    /// # Errors
    /// Too many questions wait, or the owner stopped.
    pub(super) fn ask(&self, question: Question) -> Result<(), NotTaken> {
        self.questions.try_send(question).map_err(|_| NotTaken)?;
        // Wake the owner. If the inbox is full, this is not needed: the owner answers one question after each input
        // that it takes, and a full inbox holds more inputs than there can be questions.
        let _ = self.try_send(Input::Asked);
        Ok(())
    }
}

impl Inputs {
    /// Returns the next input; waits at most this long.
    ///
    /// # Errors
    /// Nothing arrived in time, or all senders are gone.
    pub(super) fn recv_timeout(&self, wait: Duration) -> Result<Input, RecvTimeoutError> {
        let input = self.receiver.recv_timeout(wait)?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(input)
    }

    /// Returns the oldest question, if any.
    pub(super) fn question(&self) -> Option<Question> {
        self.questions.try_recv().ok()
    }

    /// Number of waiting inputs, including those of senders that wait for space.
    #[must_use]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Returns a sink that puts kernel events into the owner's inbox.
pub(super) fn sink(inbox: &Inbox) -> Sink {
    let inbox = inbox.clone();
    Sink::new(move |events| inbox.send(Input::Events(events)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_inputs_are_counted() {
        let (inbox, inputs) = inbox(2, 1);
        inbox.send(Input::Stop).unwrap();
        inbox.try_send(Input::Stop).unwrap();
        assert!(inbox.try_send(Input::Stop).is_err());
        assert_eq!(inputs.waiting(), 2);
        assert!(inputs.recv_timeout(Duration::ZERO).is_ok());
        assert_eq!(inputs.waiting(), 1);
        drop(inputs);
        assert!(inbox.send(Input::Stop).is_err());
    }

    #[test]
    fn a_question_does_not_wait_behind_the_rest() {
        let (inbox, inputs) = inbox(2, 1);
        let ask = || inbox.ask(Question::Metrics(sync_channel(1).0));
        inbox.send(Input::Stop).unwrap();
        ask().unwrap();
        assert_eq!(ask(), Err(NotTaken));
        assert!(inputs.question().is_some());
        assert!(inputs.question().is_none());
        // The inbox is full and the wake-up is dropped; the owner has other inputs to wake up for.
        ask().unwrap();
        assert_eq!(inputs.waiting(), 2);
        assert!(inputs.question().is_some());
    }
}
