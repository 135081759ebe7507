//! The owner's inbox: a bounded channel that can say how much waits in it, and one beside it for questions, which the owner
//! answers between two events. So who asks waits for one event, and not for all that came of a host with many paths.

use super::run::{Input, Question};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The end that puts in.
#[derive(Clone)]
pub struct Inbox {
    sender: SyncSender<Input>,
    questions: SyncSender<Question>,
    waiting: Arc<AtomicUsize>,
}

/// The end that takes out.
pub struct Inputs {
    receiver: Receiver<Input>,
    questions: Receiver<Question>,
    waiting: Arc<AtomicUsize>,
}

/// It was not put in: there is no room, or the owner stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTaken;

/// An inbox with room for so much, and for so many questions besides.
#[must_use]
pub fn inbox(room: usize, questions: usize) -> (Inbox, Inputs) {
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
    /// Puts something in, and waits for room.
    ///
    /// # Errors
    /// The owner stopped.
    pub fn send(&self, input: Input) -> Result<(), NotTaken> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.send(input);
        if sent.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent.map_err(|_| NotTaken)
    }

    /// Puts something in if there is room.
    ///
    /// # Errors
    /// There is none, or the owner stopped.
    pub fn try_send(&self, input: Input) -> Result<(), NotTaken> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let sent = self.sender.try_send(input);
        if sent.is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent.map_err(|_| NotTaken)
    }

    /// Asks the owner, if there is room.
    ///
    /// # Errors
    /// There is none, or the owner stopped.
    pub fn ask(&self, question: Question) -> Result<(), NotTaken> {
        self.questions.try_send(question).map_err(|_| NotTaken)?;
        // It wakes the owner, who answers a question with each thing taken out; an inbox without room has more of them than
        // there are questions.
        let _ = self.try_send(Input::Asked);
        Ok(())
    }
}

impl Inputs {
    /// Waits for what comes next, but no longer than this.
    ///
    /// # Errors
    /// Nothing came, or nobody can send any more.
    pub fn recv_timeout(&self, wait: Duration) -> Result<Input, RecvTimeoutError> {
        let input = self.receiver.recv_timeout(wait)?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(input)
    }

    /// The question that waits longest, if one does.
    pub fn question(&self) -> Option<Question> {
        self.questions.try_recv().ok()
    }

    /// How much waits, with the senders that wait for room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted() {
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
        // No room to wake the owner, who has enough to wake up for.
        ask().unwrap();
        assert_eq!(inputs.waiting(), 2);
        assert!(inputs.question().is_some());
    }
}
