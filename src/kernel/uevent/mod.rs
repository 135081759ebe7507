//! Discovery: which paths there are, and when their facts change.
//!
//! Input: uevents of the kernel and of udev, netlink messages of FC and iSCSI, changes of the mount and swap tables,
//! and requests. Output:
//! `PathSeen`, `PathGone`, `PathsListed` and `UnitAttention` of [`crate::psa::event::Event`]. One thread owns all
//! of it, libudev's objects included.
//!
//! Invariants:
//! - whatever is lost on the way (a full socket) is made good by a new enumeration;
//! - facts that were read before a removal are not told after it;
//! - any number of uevents of one path within [`QUIET`] are one reading of its facts;
//! - requests never block and never get lost; the thread waits where the receiver of the events is slow.
//!
//! Tests: `message.rs` for what messages mean; the rest needs a kernel (`tests/lab`).

mod fpin;
mod message;
mod missed;
mod socket;
mod transport;
mod watcher;

use super::Sink;
use super::sysfs::Sysfs;
use crate::psa::units::Hctl;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use watcher::Watcher;

/// How long uevents of paths are gathered before facts are read.
pub const QUIET: Duration = Duration::from_millis(20);

/// More requests than this at once are answered by an enumeration.
const ASKED: usize = 65_536;

/// The way to talk to the thread of discovery, which ends when this is dropped. It is not waited for: an attribute
/// that it reads may take its time.
#[derive(Debug)]
pub struct Discovery {
    desk: Arc<Desk>,
}

/// What is asked of the thread.
#[derive(Debug)]
struct Desk {
    inbox: Mutex<Inbox>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Inbox {
    /// Bounded by [`ASKED`].
    asked: BTreeSet<Hctl>,
    enumerate: bool,
    stop: bool,
}

impl Discovery {
    /// Begins to listen, then enumerates, then tells what happens, all in a thread of its own. `map_changed` is called
    /// when a map may have got another table; it must not wait.
    ///
    /// # Errors
    /// What the kernel says to the sockets, files and the thread that are needed.
    pub fn start(
        sysfs: Sysfs,
        events: Sink,
        map_changed: impl Fn() + Send + 'static,
    ) -> io::Result<Discovery> {
        let desk = Arc::new(Desk {
            inbox: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        });
        let (started, result) = sync_channel(1);
        let theirs = Arc::clone(&desk);
        super::thread("uevent").spawn(move || {
            match Watcher::new(sysfs, events, Box::new(map_changed), theirs) {
                Ok(mut watcher) => {
                    let _ = started.send(Ok(()));
                    watcher.run();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        let ended = || Err(io::Error::other("the thread ended at once"));
        result.recv().unwrap_or_else(|_| ended())?;
        Ok(Discovery { desk })
    }

    /// Reads the facts of a path again; answered by `PathSeen` or `PathGone`. Never blocks.
    pub fn refresh(&self, path: Hctl) {
        let mut inbox = self.desk.inbox();
        if inbox.asked.len() < ASKED {
            inbox.asked.insert(path);
        } else {
            inbox.enumerate = true;
        }
        drop(inbox);
        self.desk.wake();
    }

    /// Reads the facts of all paths; answered by a `PathSeen` for each and `PathsListed` at the end. Never blocks.
    pub fn enumerate(&self) {
        self.desk.inbox().enumerate = true;
        self.desk.wake();
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.desk.inbox().stop = true;
        self.desk.wake();
    }
}

impl Desk {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The only failure is a full counter, and that wakes too.
        let _ = self.wake.write(1);
    }
}
