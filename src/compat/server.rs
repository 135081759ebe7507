//! The server on multipathd's sockets.
//!
//! Each connection has a thread, and at most `MOST` of them run. Few of the places are for users other than root,
//! because a reply may take megabytes, and no user may shut out what runs OpenStack or a backup. A peer that sends nothing or takes nothing for a while is dropped.

use super::daemon::reply;
use super::host::Agent;
use super::wire::{LONGEST_COMMAND, LONGEST_REPLY, receive, send};
use crate::api::client::ClientError;
use crate::api::requests::GetStatus;
use crate::kernel::activation::Sockets;
use nix::sys::socket::{getsockopt, sockopt};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::Duration;

/// Most connections at a time, and most of users other than root.
const MOST: usize = 64;
const MOST_OF_USERS: usize = 8;

/// How long a peer may be silent, as an open `multipathd -k` is, and how long it may take to accept a reply.
const IDLE: Duration = Duration::from_secs(300);
const IDLE_OF_USERS: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_secs(10);

/// The server ends after this time without a connection, unless it is to be there as long as the agent. The socket starts it
/// again.
const UNUSED: Duration = Duration::from_secs(60);

/// How many connections there are.
#[derive(Debug, Default)]
struct Places {
    all: AtomicUsize,
    users: AtomicUsize,
}

/// A place; given back when it is dropped.
struct Place(Arc<Places>, bool);

impl Place {
    fn take(places: &Arc<Places>, is_root: bool) -> Option<Place> {
        let place = Place(Arc::clone(places), is_root);
        let all = places.all.fetch_add(1, Ordering::SeqCst);
        let users = places
            .users
            .fetch_add(usize::from(!is_root), Ordering::SeqCst);
        (all < MOST && (is_root || users < MOST_OF_USERS)).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.all.fetch_sub(1, Ordering::SeqCst);
        self.0
            .users
            .fetch_sub(usize::from(!self.1), Ordering::SeqCst);
    }
}

/// How long the server serves its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until there was no connection for a while.
    Unused,
    /// Likewise, but not while the agent runs: callers that look for a process or a unit `multipathd` find it.
    AgentEnds,
}

/// Serves the sockets.
///
/// # Errors
/// The sockets cannot be polled.
pub fn serve(agent: &Agent, sockets: &Sockets, until: Until) -> io::Result<()> {
    let places = Arc::new(Places::default());
    loop {
        let accepted = sockets.accept(UNUSED)?;
        if accepted.is_empty() && places.all.load(Ordering::SeqCst) == 0 {
            // An agent that is slow to answer runs.
            let ended = || {
                let answer = agent.call(&GetStatus {});
                matches!(answer, Err(ClientError::NotRunning { .. }))
            };
            if until == Until::Unused || ended() {
                return Ok(());
            }
        }
        for peer in accepted {
            admit(agent, &places, peer);
        }
    }
}

fn admit(agent: &Agent, places: &Arc<Places>, peer: UnixStream) {
    // Without credentials, the peer gets the rights of a user.
    let is_root = getsockopt(&peer, sockopt::PeerCredentials).is_ok_and(|peer| peer.uid() == 0);
    // Without a place, the connection is closed: the peer sees that there is no answer.
    let Some(place) = Place::take(places, is_root) else {
        return;
    };
    let agent = agent.clone();
    // If there are no more threads, the place and the connection are dropped with the closure.
    let _ = Builder::new().name("peer".to_owned()).spawn(move || {
        let _place = place;
        // Ends with the connection, whatever the reason.
        let _ = converse(&agent, peer, is_root);
    });
}

fn converse(agent: &Agent, mut peer: UnixStream, is_root: bool) -> io::Result<()> {
    let idle = if is_root { IDLE } else { IDLE_OF_USERS };
    peer.set_write_timeout(Some(SLOW))?;
    peer.set_read_timeout(Some(idle))?;
    while let Some(command) = receive(&mut peer, LONGEST_COMMAND)? {
        let mut answer = reply(agent, &command, is_root);
        if answer.len() >= LONGEST_REPLY {
            answer = "fail\nthe reply is too long: ask for one map, or use a shorter format\n"
                .to_owned();
        }
        send(&mut peer, &answer)?;
    }
    Ok(())
}
