//! Observes maps, and reports observations to the sink in the order in which they were made.
//!
//! A worker and the watcher may observe the same map at the same time. If the older observation arrived last, the world
//! would take an outdated state for the present one, and undo what was just done. So a map is observed and reported
//! under one lock. There are several locks, chosen by name, so that maps do not wait for each other.
//!
//! The last observation is kept under the same lock, and the watcher reports what differs from it, whether it was made
//! by the watcher or by a worker. If the watcher compared with its own last observation, a map that somebody suspends
//! again after each resume by a worker would always look unchanged to it.

use super::client::{Client, Seen};
use super::texts::Room;
use crate::kernel::Sink;
use crate::psa::event::{Event, MapError};
use crate::psa::table::model::Map;
use crate::psa::units::DevT;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const LOCKS: usize = 64;

/// Observes maps and reports them.
pub(super) struct Observer {
    client: Arc<Client>,
    sink: Sink,
    /// The last observation of each map, by name.
    shelves: [Mutex<Shelf>; LOCKS],
}

type Shelf = BTreeMap<String, Shelved>;

struct Shelved {
    map: Map,
    /// See [`Seen::print`].
    print: Option<u64>,
}

impl Observer {
    /// Creates an observer that reports to `sink`.
    #[must_use]
    pub(super) fn new(client: Arc<Client>, sink: Sink) -> Self {
        Observer {
            client,
            sink,
            shelves: std::array::from_fn(|_| Mutex::default()),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Reports an event that is not about one map.
    pub(super) fn put(&self, event: Event) {
        // This fails only when the agent is stopping and nothing receives events.
        let _ = self.sink.put(event);
    }

    fn shelf(&self, name: &str) -> MutexGuard<'_, Shelf> {
        // FNV-1a, because the hash is computed often and nobody gains from names that share a lock.
        let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let shelf = &self.shelves[hash as usize % LOCKS];
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `same` holds for the last observation of a map.
    pub(super) fn is_as_before(&self, name: &str, same: impl FnOnce(&Map) -> bool) -> bool {
        self.shelf(name)
            .get(name)
            .is_some_and(|shelved| same(&shelved.map))
    }

    /// Observes a map, and reports the event that `event` returns for the previous and the new observation, if any.
    /// Unless `anyway`, `event` is not called if the kernel's texts are the same as last time.
    pub(super) fn report(
        &self,
        name: &str,
        room: &mut Room,
        anyway: bool,
        event: impl FnOnce(Option<&Map>, Option<&Map>) -> Option<Event>,
    ) {
        let mut shelf = self.shelf(name);
        let before = shelf.get(name);
        let last = before.filter(|_| !anyway).and_then(|shelved| shelved.print);
        let seen = match self.client.look(name, room, last) {
            Ok(Some(seen)) => seen,
            Ok(None) => return,
            Err(error) => Seen {
                map: Some(unreadable(name, &error)),
                print: None,
            },
        };
        let event = event(before.map(|shelved| &shelved.map), seen.map.as_ref());
        match seen.map {
            Some(map) => {
                let print = seen.print;
                shelf.insert(name.to_owned(), Shelved { map, print });
            }
            None => {
                shelf.remove(name);
            }
        }
        if let Some(event) = event {
            self.put(event);
        }
    }
}

/// A map of which only the name is known: a failure to read it does not mean that it is gone.
fn unreadable(name: &str, error: &MapError) -> Map {
    Map {
        name: name.to_owned(),
        uuid: String::new(),
        dev: DevT { major: 0, minor: 0 },
        event_nr: 0,
        open_count: 0,
        suspended: false,
        read_only: false,
        table: Err(error.to_string()),
        status: Err(error.to_string()),
    }
}
