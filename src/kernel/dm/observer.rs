//! Observations that reach the sink in the order in which they were made.
//!
//! A worker and the watcher may look at the same map at the same time. If the older look arrived last, the world
//! would take the past for the present, and undo what was just done. So to observe a map and to report it is one
//! deed under one lock. There are several locks, by name, so that maps do not wait for each other.
//!
//! What was observed last is kept under the same lock: the watcher reports what differs from it, whoever looked last.
//! Were it to compare with its own last look, a map that somebody suspends again after each resume by a worker would
//! look the same to it for ever.

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
pub struct Observer {
    client: Arc<Client>,
    sink: Sink,
    /// Maps as they were observed last, by name.
    shelves: [Mutex<Shelf>; LOCKS],
}

type Shelf = BTreeMap<String, Shelved>;

struct Shelved {
    map: Map,
    /// See [`Seen::print`].
    print: Option<u64>,
}

impl Observer {
    /// Reports go to the sink.
    #[must_use]
    pub fn new(client: Arc<Client>, sink: Sink) -> Self {
        Observer {
            client,
            sink,
            shelves: std::array::from_fn(|_| Mutex::default()),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Reports what is about no map in particular.
    pub(super) fn tell(&self, event: Event) {
        // Nobody receives any more only when the agent stops.
        let _ = self.sink.put(event);
    }

    fn shelf(&self, name: &str) -> MutexGuard<'_, Shelf> {
        // FNV-1a: it is done for each map again and again, and nobody gains by names that share a lock.
        let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let shelf = &self.shelves[hash as usize % LOCKS];
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a map is to all appearance as it was observed last.
    pub(super) fn is_as_before(&self, name: &str, same: impl FnOnce(&Map) -> bool) -> bool {
        self.shelf(name)
            .get(name)
            .is_some_and(|shelved| same(&shelved.map))
    }

    /// Observes a map and reports what `event` makes of what it was and is, if anything. Unless `anyway`, `event` is
    /// not asked about a map of which the kernel says word for word what it said the last time.
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
            self.tell(event);
        }
    }
}

/// A map of which only the name is known: that it could not be read does not mean that it is gone.
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
