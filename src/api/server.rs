//! The server: one thread with a poll loop over the listening socket and the sessions.

use super::error::ApiError;
use super::handler::{Handler, Limits, Peer};
use super::listener::Listener;
use super::service::{self, Answer};
use super::session::Session;
use super::wire;
use log::{debug, warn};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Maximum number of connections accepted per iteration of the loop, so that many of them cannot starve the sessions.
const ACCEPTS: usize = 16;

/// How long to ignore the listening socket after `accept` failed for lack of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Maximum number of unread reply bytes of one user. Above it, no further call of that user is answered.
const UNREAD: usize = 32 << 20;

/// The thread's stack size, in bytes: the thread reads rules, plans and writes JSON. It is small because the agent
/// locks its memory, including stacks.
const STACK: usize = 512 << 10;

/// How often to check for an answer of another thread while one is awaited.
const LOOK: Duration = Duration::from_millis(20);

/// A running server; dropping it stops the thread.
#[derive(Debug)]
pub struct Server {
    /// Dropping this end makes the thread stop.
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

    /// Whether the thread still runs; it ends on its own only if the handler panics or `poll` fails.
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

    /// Whether a new session can be admitted: there is a free place, or an idle session can be ended.
    fn has_room(&self, now: Instant) -> bool {
        self.sessions.len() < self.limits.sessions
            || self
                .idlest(|_| true)
                .is_some_and(|(_, since)| since + self.limits.idle_when_full <= now)
    }

    /// Returns the session that has been idle longest, of those accepted by `of`.
    fn idlest(&self, of: impl Fn(&Session) -> bool) -> Option<(usize, Instant)> {
        self.sessions
            .iter()
            .enumerate()
            .filter(|(_, session)| of(session))
            .filter_map(|(index, session)| Some((index, session.idle_since()?)))
            .min_by_key(|(_, since)| *since)
    }

    /// Ends the session that has been idle longest, if it has been idle for `idle_when_full`. Returns whether it did.
    fn evict(&mut self, now: Instant, of: impl Fn(&Session) -> bool) -> bool {
        match self.idlest(of) {
            Some((index, since)) if since + self.limits.idle_when_full <= now => {
                self.sessions.swap_remove(index);
                true
            }
            _ => false,
        }
    }

    /// Whether a call of this session is ready and its user is below the limit of unread replies.
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
                    // Once this time has passed, the listening socket is polled instead.
                    .filter(|at| full && *at > now),
            )
            .min();
        match next {
            None => PollTimeout::NONE,
            // One more millisecond, so that the deadline has passed at wake-up and the loop does not spin until then.
            Some(at) => {
                PollTimeout::try_from(at.saturating_duration_since(now) + Duration::from_millis(1))
                    .unwrap_or(PollTimeout::MAX)
            }
        }
    }

    /// Reads from and writes to the sessions that are ready.
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

    /// Answers a call of the session. Returns `false` if the session must end.
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
                    // EMFILE and the like: the socket stays readable, so polling it again immediately would spin.
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

/// The result of `poll`.
struct Events {
    stopped: PollFlags,
    listener: PollFlags,
    sessions: Vec<PollFlags>,
}

/// Sends a client the reason why it is not served. The buffer of a new socket is large enough, so this does not block.
fn refuse(mut socket: UnixStream, others: usize) -> io::Result<()> {
    let busy = ApiError::Unavailable {
        reason: format!("{others} other clients are being served"),
    };
    let bytes = wire::encode(&busy, wire::MAX_REPLY).map_err(io::Error::other)?;
    socket.write_all(&bytes)
}
