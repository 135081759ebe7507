//! One session: a socket, an incoming call, an outgoing reply, and a deadline for each.

use super::error::ApiError;
use super::handler::{Limits, Peer, Pending};
use super::service;
use super::wire::{Decoder, MAX_CALL, WireError};
use nix::poll::PollFlags;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::TryRecvError;
use std::time::Instant;

/// Maximum number of bytes read from one session per iteration of the loop.
const CHUNK: usize = 64 << 10;

/// The session must end.
pub(super) struct Over;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No call or reply is in progress.
    Idle,
    /// A call has begun to arrive, or waits for its turn.
    Calling,
    /// Another thread makes the answer; nothing is read in this phase.
    Awaiting,
    /// A reply is being sent; nothing is read in this phase, so that a peer cannot accumulate replies.
    Replying,
}

pub(super) struct Session {
    socket: UnixStream,
    pub(super) peer: Peer,
    calls: Decoder,
    reply: Vec<u8>,
    sent: usize,
    /// Receives the answer that another thread makes.
    awaited: Option<Pending>,
    /// The peer will send no more data; it may still read.
    half_closed: bool,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When the phase must be over.
    pub(super) deadline: Instant,
}

impl Session {
    pub(super) fn new(socket: UnixStream, peer: Peer, limits: &Limits, now: Instant) -> Session {
        Session {
            socket,
            peer,
            calls: Decoder::new(MAX_CALL),
            reply: Vec::new(),
            sent: 0,
            awaited: None,
            half_closed: false,
            phase: Phase::Idle,
            since: now,
            deadline: now + limits.idle,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The events to poll for.
    pub(super) fn interest(&self) -> PollFlags {
        if self.pending() > 0 {
            PollFlags::POLLOUT
        } else if self.half_closed || self.is_awaiting() || self.calls.is_ready() {
            PollFlags::empty()
        } else {
            PollFlags::POLLIN
        }
    }

    /// Number of bytes of the reply that were not sent yet.
    pub(super) fn pending(&self) -> usize {
        self.reply.len() - self.sent
    }

    /// Whether a complete call has arrived and may be answered.
    pub(super) fn is_ready(&self) -> bool {
        self.pending() == 0 && !self.is_awaiting() && self.calls.is_ready()
    }

    /// Whether an answer of another thread is awaited.
    pub(super) fn is_awaiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Begins to wait for an answer that another thread makes.
    pub(super) fn wait_for(&mut self, pending: Pending, limits: &Limits, now: Instant) {
        self.awaited = Some(pending);
        self.settle(limits, now);
    }

    /// Sends the answer of another thread if it has arrived.
    pub(super) fn look(&mut self, limits: &Limits, now: Instant) -> Result<(), Over> {
        let Some(pending) = &self.awaited else {
            return Ok(());
        };
        let result = match pending.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(ApiError::Unavailable {
                reason: "it dropped this call".to_owned(),
            }),
        };
        self.awaited = None;
        let bytes = service::encode(result, "this call").map_err(|_| Over)?;
        self.reply(bytes, limits, now)
    }

    /// Whether all replies were sent and the peer will send no more calls.
    pub(super) fn is_finished(&self) -> bool {
        self.half_closed && self.pending() == 0 && !self.is_awaiting() && !self.calls.is_ready()
    }

    /// Since when the session is idle; `None` if it is not.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.phase == Phase::Idle).then_some(self.since)
    }

    /// Reads and writes as far as the socket is ready.
    pub(super) fn serve(
        &mut self,
        events: PollFlags,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Over> {
        let interest = self.interest();
        if events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL)
            || (events.contains(PollFlags::POLLHUP) && !interest.contains(PollFlags::POLLIN))
        {
            return Err(Over);
        }
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
            self.receive()?;
        }
        if events.contains(PollFlags::POLLOUT) {
            self.flush()?;
        }
        self.settle(limits, now);
        Ok(())
    }

    /// Takes the call that [`Session::is_ready`] reported.
    pub(super) fn take(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        self.calls.take()
    }

    /// Starts sending a reply.
    pub(super) fn reply(
        &mut self,
        bytes: Vec<u8>,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Over> {
        self.reply = bytes;
        self.sent = 0;
        // Each reply has its own deadline, even when it directly follows another.
        self.phase = Phase::Idle;
        self.flush()?;
        self.since = now;
        self.deadline = now + limits.idle;
        self.settle(limits, now);
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Over> {
        let mut chunk = [0; CHUNK];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.half_closed = true,
            Ok(count) => self.calls.push(&chunk[..count]),
            Err(why) if is_transient(&why) => {}
            Err(_) => return Err(Over),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Over> {
        while let Some(rest) = self.reply.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(Over),
                Ok(count) => self.sent += count,
                Err(why) if is_transient(&why) => return Ok(()),
                Err(_) => return Err(Over),
            }
        }
        self.reply = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Updates the phase; sets its deadline if the phase changed.
    fn settle(&mut self, limits: &Limits, now: Instant) {
        let (phase, span) = if self.pending() > 0 {
            (Phase::Replying, limits.reply)
        } else if self.is_awaiting() {
            (Phase::Awaiting, limits.work)
        } else if self.calls.is_empty() {
            (Phase::Idle, limits.idle)
        } else {
            (Phase::Calling, limits.call)
        };
        if phase != self.phase {
            self.phase = phase;
            self.since = now;
            self.deadline = now + span;
        }
    }
}

fn is_transient(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
