//! Storing what the agent remembers, on a thread of its own: a slow disk must not hold up the owner.

use super::latest::Latest;
use crate::config::{Places, store};
use crate::kernel::Teller;
use crate::psa::action::Notice;
use crate::psa::memory::Memory;
use std::thread::JoinHandle;

/// Writes the latest memory; one that was overtaken by a later before it was written is never written.
pub struct Keeper {
    latest: Latest<Option<Memory>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub fn start(places: Places, tell: Teller) -> std::io::Result<Keeper> {
        let latest = Latest::<Option<Memory>>::new();
        let theirs = latest.clone();
        let thread = crate::kernel::thread("memory").spawn(move || {
            while let Some(memory) = theirs.next(Option::take) {
                write(&places, &memory, &tell);
            }
        })?;
        Ok(Keeper {
            latest,
            thread: Some(thread),
        })
    }

    /// Stores this from now on.
    pub fn remember(&self, memory: Memory) {
        self.latest.change(|latest| *latest = Some(memory));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.latest.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic of the thread was reported when it happened.
        }
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
