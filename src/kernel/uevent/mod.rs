//! Discovery: finds the paths, and notices when their facts change.
//!
//! Input: uevents of the kernel and of udev, netlink messages of FC and iSCSI, changes of the mount and swap tables,
//! and requests. Output: `PathSeen`, `PathGone`, `PathsListed`, `UnitAttention` and `FabricNotification` of
//! [`crate::psa::event::Event`]. One thread owns all of it, including the libudev objects.
//!
//! Invariants:
//! - Lost messages (a full socket) are made up for by a new enumeration.
//! - Facts that were read before a removal are not reported after it.
//! - Any number of uevents of one path within `QUIET` cause one read of its facts.
//! - Requests never block and are never lost; the thread waits while the receiver of the events is slow.
//!
//! Tests: `message.rs` for the meaning of messages; the rest needs a kernel (`tests/lab`).

mod fpin;
mod message;
mod missed;
mod shared;
mod socket;
mod transport;
mod watcher;

use super::sysfs::Sysfs;
use super::{NoticeSink, Sink};
use crate::psa::units::Hctl;
use nix::sys::eventfd::{EfdFlags, EventFd};
use shared::Shared;
use std::io;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use watcher::Watcher;

/// If more requests than this are pending, an enumeration answers them.
const ASKED: usize = 65_536;

/// The handle of the discovery thread. The thread ends when this is dropped, but the drop does not wait for it, because
/// an attribute that it reads may take long.
#[derive(Debug)]
pub(crate) struct Discovery {
    shared: Arc<Shared>,
}

impl Discovery {
    /// Starts a thread that listens, then enumerates, then reports what happens. `map_changed` is called when a map may
    /// have got another table; it must not wait.
    ///
    /// # Errors
    /// The kernel's error for the sockets, files or the thread.
    pub(crate) fn start(
        sysfs: Sysfs,
        events: Sink,
        notice_sink: NoticeSink,
        map_changed: impl Fn() + Send + 'static,
    ) -> io::Result<Discovery> {
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        });
        let (started, result) = sync_channel(1);
        let theirs = Arc::clone(&shared);
        super::thread("uevent").spawn(move || {
            match Watcher::new(sysfs, events, notice_sink, Box::new(map_changed), theirs) {
                Ok(mut watcher) => {
                    let _ = started.send(Ok(()));
                    watcher.run();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
        let ended = || Err(io::Error::other("the thread ended immediately"));
        result.recv().unwrap_or_else(|_| ended())?;
        Ok(Discovery { shared })
    }

    /// Reads the facts of a path again, and answers with `PathSeen` or `PathGone`. Never blocks.
    pub(crate) fn refresh(&self, path: Hctl) {
        let mut inbox = self.shared.inbox();
        if inbox.asked.len() < ASKED {
            inbox.asked.insert(path);
        } else {
            inbox.enumerate = true;
        }
        drop(inbox);
        self.shared.wake();
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.shared.inbox().stop = true;
        self.shared.wake();
    }
}
