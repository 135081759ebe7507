//! The server: one thread, a poll loop over the listening socket and the sessions.

use super::error::ApiError;
use super::listener::Listener;
use super::service::{self, Answer};
use super::session::Session;
use super::wire;
use log::{debug, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use serde_json::Value;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Most connections taken in one turn of the loop, so that a storm of them cannot starve the sessions.
const ACCEPTS: usize = 16;

/// How long to leave the listening socket alone after the kernel refused a connection for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Most bytes of replies that one user may leave unread and still be given another one.
const UNREAD: usize = 32 << 20;

/// The thread's stack, in bytes: it reads rules, plans and writes JSON. The agent locks its memory, stacks too.
const STACK: usize = 512 << 10;

/// Who calls: the credentials at the time of the connection, from the kernel (`SO_PEERCRED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Process.
    pub pid: i32,
}

/// Who answers the calls of `io.dmpsa`.
///
/// Called on the server's thread, one call at a time: an answer that takes long holds up the others, so answer from
/// a snapshot, and give up with [`ApiError::Unavailable`] after a second.
pub trait Handler: Send {
    /// Answers a call; [`super::requests::Request::parse`] understands it.
    ///
    /// # Errors
    /// What the caller gets instead.
    fn call(&self, method: &str, parameters: &Value, peer: Peer) -> Result<Value, ApiError>;

    /// Begins to answer a call on another thread; `None` for a call that [`Handler::call`] answers. The session waits for
    /// the answer, and all others go on.
    fn begin(&self, _method: &str, _parameters: &Value, _peer: Peer) -> Option<Pending> {
        None
    }
}

/// An answer that is not there yet. If its sender goes without one, the call is answered as unavailable.
pub type Pending = Receiver<Result<Value, ApiError>>;

/// How often it is looked for an answer of another thread while one is awaited.
const LOOK: Duration = Duration::from_millis(20);

/// How much the server takes upon itself; the defaults are for the agent, other values for tests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions at a time. Further clients wait in the kernel's backlog.
    pub sessions: usize,
    /// Those of them that only root gets, so that an admin is heard whatever the users of the host do.
    pub reserved: usize,
    /// How long a session may say nothing.
    pub idle: Duration,
    /// How long a session may say nothing while others wait for a place.
    pub idle_when_full: Duration,
    /// From the first byte of a call to its answer.
    pub call: Duration,
    /// From a call to its answer, if that is made on another thread.
    pub work: Duration,
    /// From the first byte of a reply to its last, read by the client.
    pub reply: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: 64,
            reserved: 8,
            idle: Duration::from_secs(60),
            idle_when_full: Duration::from_secs(1),
            call: Duration::from_secs(5),
            work: Duration::from_secs(30),
            reply: Duration::from_secs(10),
        }
    }
}

/// A running server; stops when it goes.
#[derive(Debug)]
pub struct Server {
    /// Its end tells the thread to stop.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel has no more threads or file descriptors.
    pub fn start(
        listener: Listener,
        handler: Box<dyn Handler>,
        limits: Limits,
    ) -> io::Result<Server> {
        listener.socket.set_nonblocking(true)?;
        let (stop, stopped) = UnixStream::pair()?;
        let server = Loop {
            listener,
            stopped,
            handler,
            limits,
            sessions: Vec::new(),
            paused_until: None,
        };
        let thread = thread::Builder::new()
            .name("api".to_owned())
            .stack_size(STACK)
            .spawn(move || server.run())?;
        Ok(Server {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Whether the thread still runs; it ends by itself only if the handler panics or `poll` fails.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

struct Loop {
    listener: Listener,
    stopped: UnixStream,
    handler: Box<dyn Handler>,
    limits: Limits,
    sessions: Vec<Session>,
    paused_until: Option<Instant>,
}

impl Loop {
    fn run(mut self) {
        loop {
            let now = Instant::now();
            self.sessions
                .retain(|session| !session.is_finished() && session.deadline > now);
            if self.paused_until.is_some_and(|until| until <= now) {
                self.paused_until = None;
            }
            let events = match self.wait(now) {
                Ok(events) => events,
                Err(Errno::EINTR) => continue,
                Err(why) => {
                    warn!("event=API_STOPPED reason=\"poll: {why}\"");
                    return;
                }
            };
            if !events.stopped.is_empty() {
                return;
            }
            let now = Instant::now();
            self.serve(&events.sessions, now);
            self.sessions
                .retain_mut(|session| session.look(&self.limits, now).is_ok());
            self.answer(now);
            if events.listener.contains(PollFlags::POLLIN) {
                self.accept(now);
            }
        }
    }

    /// Whether a newcomer can have a place: there is one, or an idle session makes one.
    fn has_room(&self, now: Instant) -> bool {
        self.sessions.len() < self.limits.sessions
            || self
                .idlest(|_| true)
                .is_some_and(|(_, since)| since + self.limits.idle_when_full <= now)
    }

    /// The session that has been idle longest, of those that `of` takes.
    fn idlest(&self, of: impl Fn(&Session) -> bool) -> Option<(usize, Instant)> {
        self.sessions
            .iter()
            .enumerate()
            .filter(|(_, session)| of(session))
            .filter_map(|(index, session)| Some((index, session.idle_since()?)))
            .min_by_key(|(_, since)| *since)
    }

    /// Ends the session that has been idle longest, if it has been idle long enough to give way.
    fn evict(&mut self, now: Instant, of: impl Fn(&Session) -> bool) -> bool {
        match self.idlest(of) {
            Some((index, since)) if since + self.limits.idle_when_full <= now => {
                self.sessions.swap_remove(index);
                true
            }
            _ => false,
        }
    }

    /// Whether this session's call may be answered now.
    fn may_answer(&self, session: &Session) -> bool {
        session.is_ready() && self.unread_by(session.peer.uid) < UNREAD
    }

    fn unread_by(&self, uid: u32) -> usize {
        self.sessions
            .iter()
            .filter(|session| session.peer.uid == uid)
            .map(Session::pending)
            .sum()
    }

    fn wait(&self, now: Instant) -> nix::Result<Events> {
        let listening = self.paused_until.is_none() && self.has_room(now);
        let interest = |wanted: bool| {
            if wanted {
                PollFlags::POLLIN
            } else {
                PollFlags::empty()
            }
        };
        let mut fds = vec![
            PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.socket.as_fd(), interest(listening)),
        ];
        fds.extend(
            self.sessions
                .iter()
                .map(|session| PollFd::new(session.fd(), session.interest())),
        );
        poll(&mut fds, self.timeout(now))?;
        let mut events = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(Events {
            stopped: events.next().unwrap_or(PollFlags::empty()),
            listener: events.next().unwrap_or(PollFlags::empty()),
            sessions: events.collect(),
        })
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        if self.sessions.iter().any(|session| self.may_answer(session)) {
            return PollTimeout::ZERO;
        }
        let full = self.sessions.len() >= self.limits.sessions;
        let look = self.sessions.iter().any(Session::is_awaiting);
        let next = self
            .sessions
            .iter()
            .map(|session| session.deadline)
            .chain(look.then(|| now + LOOK))
            .chain(self.paused_until)
            .chain(
                self.idlest(|_| true)
                    .map(|(_, since)| since + self.limits.idle_when_full)
                    // Once it has passed, the listening socket itself is waited for.
                    .filter(|at| full && *at > now),
            )
            .min();
        match next {
            None => PollTimeout::NONE,
            // One more millisecond, so that the moment has passed and the loop does not spin up to it.
            Some(at) => {
                PollTimeout::try_from(at.saturating_duration_since(now) + Duration::from_millis(1))
                    .unwrap_or(PollTimeout::MAX)
            }
        }
    }

    /// Moves bytes.
    fn serve(&mut self, events: &[PollFlags], now: Instant) {
        let limits = &self.limits;
        let mut events = events.iter();
        self.sessions.retain_mut(|session| {
            let events = events.next().copied().unwrap_or(PollFlags::empty());
            events.is_empty() || session.serve(events, limits, now).is_ok()
        });
    }

    /// Answers at most one call of each session.
    fn answer(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(session) = self.sessions.get(index) {
            if !self.may_answer(session) || self.answer_one(index, now) {
                index += 1;
            } else {
                self.sessions.swap_remove(index);
            }
        }
    }

    /// Whether the session goes on.
    fn answer_one(&mut self, index: usize, now: Instant) -> bool {
        let Some(session) = self.sessions.get_mut(index) else {
            return false;
        };
        let answer = match session.take() {
            Ok(Some(frame)) => service::answer(self.handler.as_ref(), &frame, session.peer),
            Ok(None) => return true,
            Err(why) => Err(why),
        };
        match answer {
            Ok(Answer::Now(bytes)) => session.reply(bytes, &self.limits, now).is_ok(),
            Ok(Answer::Later(pending)) => {
                session.wait_for(pending, &self.limits, now);
                true
            }
            Err(why) => {
                debug!(
                    "event=API_REFUSED uid={} pid={} reason=\"{why}\"",
                    session.peer.uid, session.peer.pid
                );
                false
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            if !self.has_room(now) {
                return;
            }
            match self.listener.socket.accept() {
                Ok((socket, _)) => {
                    if let Err(why) = self.admit(socket, now) {
                        debug!("event=API_REFUSED reason=\"{why}\"");
                    }
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(why)
                    if matches!(
                        why.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(why) => {
                    // EMFILE and the like: the socket stays readable, and asking again at once would spin.
                    warn!("event=API_CANNOT_ACCEPT reason=\"{why}\"");
                    self.paused_until = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: UnixStream, now: Instant) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
        let peer = Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        };
        let users = self.sessions.iter().filter(|s| s.peer.uid != 0).count();
        let for_users = self.limits.sessions.saturating_sub(self.limits.reserved);
        let refused =
            (peer.uid != 0 && users >= for_users && !self.evict(now, |s| s.peer.uid != 0))
                || (self.sessions.len() >= self.limits.sessions && !self.evict(now, |_| true));
        if refused {
            return refuse(socket, self.sessions.len());
        }
        self.sessions
            .push(Session::new(socket, peer, &self.limits, now));
        Ok(())
    }
}

/// What `poll` said.
struct Events {
    stopped: PollFlags,
    listener: PollFlags,
    sessions: Vec<PollFlags>,
}

/// Tells a client why it is not served. A new socket has room for this, so nothing waits.
fn refuse(mut socket: UnixStream, others: usize) -> io::Result<()> {
    let busy = ApiError::Unavailable {
        reason: format!("{others} other clients are being served"),
    };
    let bytes = wire::encode(&busy, wire::MAX_REPLY).map_err(io::Error::other)?;
    socket.write_all(&bytes)
}
