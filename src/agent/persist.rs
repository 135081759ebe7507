//! Stores what the agent remembers on a separate thread, so that a slow disk does not delay the owner.

use super::latest::{Latest, Worker};
use crate::config::{Places, memory_file, store, wwids};
use crate::kernel::NoticeSink;
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::memory::Memory;
use crate::psa::names::Wwid;
use std::collections::BTreeSet;

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

/// Starts the thread that stores the memory. `known` are the devices that it has now.
///
/// # Errors
/// The kernel has no more threads.
pub(super) fn memory_writer(
    places: Places,
    known: BTreeSet<Wwid>,
    notice_sink: NoticeSink,
) -> std::io::Result<Writer<Memory>> {
    Worker::start("memory", move |latest: &Latest<Option<Memory>>| {
        let mut kept = BTreeSet::new();
        keep_wwids(&places, &known, &mut kept, &notice_sink);
        while let Some(memory) = latest.next(Option::take) {
            write(&places, &memory, &notice_sink);
            keep_wwids(&places, &memory.devices, &mut kept, &notice_sink);
        }
    })
    .map(Writer)
}

/// Where multipath-tools or the programs of its names are installed, adds the devices that had a map to
/// `/etc/multipath/wwids`: LVM takes no disk with such a WWID for a volume. `kept` are those that were added.
fn keep_wwids(
    places: &Places,
    devices: &BTreeSet<Wwid>,
    kept: &mut BTreeSet<Wwid>,
    notice_sink: &NoticeSink,
) {
    let root = places.root();
    let mut new = devices.difference(kept).peekable();
    if new.peek().is_none() || !root.join("etc/multipath").is_dir() {
        return;
    }
    match wwids::add_all(root, new.map(Wwid::as_str)) {
        Ok(_) => kept.clone_from(devices),
        Err(error) => {
            let reason = error.to_string();
            let details = [("file", "/etc/multipath/wwids"), ("reason", &*reason)];
            notice_sink.notify(Notice::new(codes::WWIDS_NOT_STORED, "agent", &details));
        }
    }
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
