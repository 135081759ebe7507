//! Observations that reach the sink in the order in which they were made.
//!
//! A worker and the watcher may look at the same map at the same time. If the older look arrived last, the world
//! would take the past for the present, and undo what was just done. So to observe a map and to report it is one
//! deed under one lock. There are several locks, by name, so that maps do not wait for each other.
//!
//! What was observed last is kept under the same lock: the watcher reports what differs from it, whoever looked last.
//! Were it to compare with its own last look, a map that somebody suspends again after each resume by a worker would
//! look the same to it for ever.

use super::client::Client;
use crate::kernel::Sink;
use crate::psa::event::{Event, MapError};
use crate::psa::table::model::Map;
use crate::psa::units::DevT;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const LOCKS: usize = 64;

/// Observes maps and reports them.
pub struct Observer {
    client: Arc<Client>,
    sink: Sink,
    /// Maps as they were observed last, by name.
    shelves: [Mutex<Shelf>; LOCKS],
}

type Shelf = BTreeMap<String, Map>;

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
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let shelf = &self.shelves[hasher.finish() as usize % LOCKS];
        shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a map is to all appearance as it was observed last.
    pub(super) fn is_as_before(&self, name: &str, same: impl FnOnce(&Map) -> bool) -> bool {
        self.shelf(name).get(name).is_some_and(same)
    }

    /// Observes a map and reports what `event` makes of what it was and is, if anything.
    pub(super) fn report(
        &self,
        name: &str,
        event: impl FnOnce(Option<Map>, Option<Map>) -> Option<Event>,
    ) {
        let mut shelf = self.shelf(name);
        let map = self
            .client
            .observe(name)
            .unwrap_or_else(|error| Some(unreadable(name, &error)));
        let before = match &map {
            Some(map) => shelf.insert(name.to_owned(), map.clone()),
            None => shelf.remove(name),
        };
        if let Some(event) = event(before, map) {
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
        table: Err(error.to_string()),
        status: Err(error.to_string()),
    }
}
