//! One agent at a time works on the maps of a host: a lock that a run of `dm-psad --once` and the daemon share.
//!
//! Without it, a daemon that starts while `psactl activate` makes the maps would make the same maps at the same time.

use super::error::{AgentError, start};
use crate::config::Places;
use crate::psa::action::Notice;
use crate::psa::codes;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long an agent waits for the other one. A run ends soon, unless a thread of it hangs in the kernel: then the process
/// keeps the lock after it was killed, and nobody may wait for it.
const WAIT: Duration = Duration::from_secs(5);

/// The pause between two attempts.
const AGAIN: Duration = Duration::from_millis(20);

/// Which agent has the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Daemon,
    Once,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Daemon => "dm-psad",
            Role::Once => "dm-psad --once",
        }
    }
}

/// The lock; it is given back when this is dropped, or the process ends.
pub(super) struct Alone(#[expect(dead_code, reason = "held, not read")] Option<Flock<File>>);

/// Why the lock is not ours.
enum Refused {
    /// Another agent has it.
    Held(String),
    /// It cannot be used.
    Broken(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Broken(error)
    }
}

/// Waits until no other agent works on the maps of this host, but not long: the notice says that one still does, or that the
/// lock cannot be used. Paths have to be served in both cases.
///
/// # Errors
/// A single run finds a daemon.
pub(super) fn take(places: &Places, role: Role) -> Result<(Alone, Option<Notice>), AgentError> {
    take_within(places, role, WAIT)
}

fn take_within(
    places: &Places,
    role: Role,
    wait: Duration,
) -> Result<(Alone, Option<Notice>), AgentError> {
    let reason = match lock(places, role, wait) {
        Ok(lock) => return Ok((Alone(Some(lock)), None)),
        Err(Refused::Held(other)) if role == Role::Once && other == Role::Daemon.word() => {
            let running = io::Error::new(io::ErrorKind::ResourceBusy, "dm-psad is running");
            let remedy = "it makes the maps";
            return Err(start("a single run", remedy)(running));
        }
        Err(Refused::Held(other)) => format!("`{other}` does not end"),
        Err(Refused::Broken(error)) => format!("cannot lock {}: {error}", places.lock().display()),
    };
    let notice = Notice::new(codes::AGENT_NOT_ALONE, "agent", &[("reason", &*reason)]);
    Ok((Alone(None), Some(notice)))
}

fn lock(places: &Places, role: Role, wait: Duration) -> Result<Flock<File>, Refused> {
    fs::create_dir_all(places.run())?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.mode(0o600).open(places.lock())?;
    let until = Instant::now() + wait;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)?;
                lock.rewind()?;
                lock.write_all(role.word().as_bytes())?;
                return Ok(lock);
            }
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
            Err((_, errno)) => return Err(Refused::Broken(errno.into())),
        }
        if Instant::now() >= until {
            break;
        }
        sleep(AGAIN);
    }
    let mut holder = String::new();
    // Longer than any word of a role.
    file.take(64).read_to_string(&mut holder)?;
    Err(Refused::Held(holder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn below(root: &tempfile::TempDir) -> Places {
        Places::below(root.path())
    }

    #[test]
    fn the_lock_is_free_again_when_the_other_agent_has_ended() {
        let root = tempfile::tempdir().unwrap();
        for role in [Role::Once, Role::Daemon, Role::Once] {
            let (_alone, notice) = take_within(&below(&root), role, SHORT).unwrap();
            assert_eq!(notice, None);
        }
    }

    #[test]
    fn a_daemon_does_not_wait_for_ever_for_a_run_that_hangs() {
        let root = tempfile::tempdir().unwrap();
        let _hangs = take_within(&below(&root), Role::Once, SHORT).unwrap();
        for role in [Role::Daemon, Role::Once] {
            let (_alone, notice) = take_within(&below(&root), role, SHORT).unwrap();
            assert_eq!(notice.unwrap().code, codes::AGENT_NOT_ALONE.name);
        }
    }

    #[test]
    fn a_lock_that_cannot_be_used_stops_no_agent() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(below(&root).lock()).unwrap();
        let (_alone, notice) = take_within(&below(&root), Role::Daemon, SHORT).unwrap();
        assert_eq!(notice.unwrap().code, codes::AGENT_NOT_ALONE.name);
    }

    #[test]
    fn a_single_run_is_refused_beside_a_daemon() {
        let root = tempfile::tempdir().unwrap();
        let _daemon = take_within(&below(&root), Role::Daemon, SHORT).unwrap();
        let refused = take_within(&below(&root), Role::Once, SHORT).err().unwrap();
        assert!(
            refused.to_string().contains("dm-psad is running"),
            "{refused}"
        );
    }
}
