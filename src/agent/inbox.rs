//! The owner's inbox: a bounded channel that can say how much waits in it.

use super::run::Input;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// The end that puts in.
#[derive(Clone)]
pub struct Inbox {
    sender: SyncSender<Input>,
    waiting: Arc<AtomicUsize>,
}

/// The end that takes out.
pub struct Inputs {
    receiver: Receiver<Input>,
    waiting: Arc<AtomicUsize>,
}

/// It was not put in: there is no room, or the owner stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTaken;

/// An inbox with room for so much.
#[must_use]
pub fn inbox(room: usize) -> (Inbox, Inputs) {
    let (sender, receiver) = sync_channel(room);
    let waiting = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&waiting);
    let inputs = Inputs {
        receiver,
        waiting: theirs,
    };
    (Inbox { sender, waiting }, inputs)
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
        let (inbox, inputs) = inbox(2);
        inbox.send(Input::Stop).unwrap();
        inbox.try_send(Input::Stop).unwrap();
        assert!(inbox.try_send(Input::Stop).is_err());
        assert_eq!(inputs.waiting(), 2);
        assert!(inputs.recv_timeout(Duration::ZERO).is_ok());
        assert_eq!(inputs.waiting(), 1);
        drop(inputs);
        assert!(inbox.send(Input::Stop).is_err());
    }
}
