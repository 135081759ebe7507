//! Stores what the agent remembers on a separate thread, so that a slow disk does not delay the owner.

use super::latest::{Latest, Worker};
use crate::config::{Places, memory_file, store};
use crate::kernel::NoticeSink;
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::memory::Memory;

/// Writes the latest version of something; a version that is superseded before it is written is never written. When this
/// is dropped, it waits until the last version is written.
pub(super) struct Writer<T>(Worker<Option<T>>);

impl<T: Send + 'static> Writer<T> {
    /// Starts the thread, which calls `write` for each version.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub(super) fn start(
        name: &str,
        write: impl Fn(&T) + Send + 'static,
    ) -> std::io::Result<Writer<T>> {
        Worker::start(name, move |latest: &Latest<Option<T>>| {
            while let Some(one) = latest.next(Option::take) {
                write(&one);
            }
        })
        .map(Writer)
    }

    /// Stores this version.
    pub(super) fn store(&self, one: T) {
        self.0.change(|latest| *latest = Some(one));
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Starts the thread that stores the memory.
///
/// # Errors
/// The kernel has no more threads.
pub(super) fn memory_writer(
    places: Places,
    notice_sink: NoticeSink,
) -> std::io::Result<Writer<Memory>> {
    Writer::start("memory", move |memory| write(&places, memory, &notice_sink))
}

fn write(places: &Places, memory: &Memory, notice_sink: &NoticeSink) {
    let file = places.memory();
    if let Err(error) = store::replace(&file, &memory_file::write(memory)) {
        let (file, reason) = (file.display().to_string(), error.to_string());
        let effect = "names may change after a restart";
        let details = [
            ("file", file.as_str()),
            ("reason", &reason),
            ("effect", effect),
        ];
        notice_sink.notify(Notice::new(codes::MEMORY_NOT_STORED, "agent", &details));
    }
}
