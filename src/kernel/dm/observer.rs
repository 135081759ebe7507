//! Observations that reach the sink in the order in which they were made.
//!
//! A worker and the watcher may look at the same map at the same time. If the older look arrived last, the world
//! would take the past for the present, and undo what was just done. So to observe a map and to report it is one
//! deed under one lock. There are several locks, by name, so that maps do not wait for each other.

use super::client::Client;
use crate::kernel::Sink;
use crate::psa::event::{Event, MapError};
use crate::psa::table::model::Map;
use crate::psa::units::DevT;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

const LOCKS: usize = 64;

/// Observes maps and reports them.
pub struct Observer {
    client: Arc<Client>,
    sink: Sink,
    locks: [Mutex<()>; LOCKS],
}

impl Observer {
    /// Reports go to the sink.
    #[must_use]
    pub fn new(client: Arc<Client>, sink: Sink) -> Self {
        Observer {
            client,
            sink,
            locks: std::array::from_fn(|_| Mutex::new(())),
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

    /// Observes a map and reports what `event` makes of it, if anything.
    pub(super) fn report(&self, name: &str, event: impl FnOnce(Option<Map>) -> Option<Event>) {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let lock = &self.locks[hasher.finish() as usize % LOCKS];
        let _one_at_a_time = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let map = self
            .client
            .observe(name)
            .unwrap_or_else(|error| Some(unreadable(name, &error)));
        if let Some(event) = event(map) {
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
