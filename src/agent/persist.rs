//! Storing what the agent remembers, on a thread of its own: a slow disk must not hold up the owner.

use crate::config::{Places, store};
use crate::kernel::Teller;
use crate::psa::action::Notice;
use crate::psa::memory::Memory;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Writes the latest memory; one that was overtaken by a later before it was written is never written.
pub struct Keeper {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    latest: Option<Memory>,
    stop: bool,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub fn start(places: Places, tell: Teller) -> std::io::Result<Keeper> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let thread = crate::kernel::thread("memory").spawn(move || {
            while let Some(memory) = next(&theirs) {
                write(&places, &memory, &tell);
            }
        })?;
        Ok(Keeper {
            shared,
            thread: Some(thread),
        })
    }

    /// Stores this from now on.
    pub fn remember(&self, memory: Memory) {
        let (state, wake) = &*self.shared;
        state.lock().unwrap_or_else(PoisonError::into_inner).latest = Some(memory);
        wake.notify_one();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let (state, wake) = &*self.shared;
        state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic of the thread was reported when it happened.
        }
    }
}

/// Waits for something to write; `None` when all is written and the agent stops.
fn next(shared: &(Mutex<State>, Condvar)) -> Option<Memory> {
    let (state, wake) = shared;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(memory) = state.latest.take() {
            return Some(memory);
        }
        if state.stop {
            return None;
        }
        state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn write(places: &Places, memory: &Memory, tell: &Teller) {
    let file = places.memory();
    let result = serde_json::to_vec_pretty(memory)
        .map_err(std::io::Error::other)
        .and_then(|text| store::replace(&file, &text));
    if let Err(error) = result {
        let (file, reason) = (file.display().to_string(), error.to_string());
        let effect = "names may change after a restart";
        let details = [
            ("file", file.as_str()),
            ("reason", &reason),
            ("effect", effect),
        ];
        tell.tell(Notice::new("MEMORY_NOT_STORED", "agent", &details));
    }
}
