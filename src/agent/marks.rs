//! Writes the marks for udev on a separate thread, because raising a uevent takes locks in the kernel.

use super::latest::Latest;
use crate::config::Places;
use crate::kernel::NoticeSink;
use crate::kernel::owner::Marks;
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::units::DevT;
use std::collections::BTreeMap;
use std::io;

/// The wanted mark of each disk: its name and whether dm-psa owns it, or no mark.
type Orders = BTreeMap<DevT, Option<(String, bool)>>;

/// Writes marks.
pub(super) struct Marker(Latest<Orders>);

impl Marker {
    /// Starts the thread; it ends with the marker.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub(super) fn start(places: &Places, notice_sink: NoticeSink) -> io::Result<Marker> {
        let marks = Marks::new(places.run().join("paths"), "/sys");
        let orders = Latest::new();
        let theirs = orders.clone();
        crate::kernel::thread("marks").spawn(move || serve(&marks, &theirs, &notice_sink))?;
        Ok(Marker(orders))
    }

    /// Marks a disk. Never waits.
    pub(super) fn mark(&self, dev: DevT, name: String, owned: bool) {
        self.0
            .change(|orders| drop(orders.insert(dev, Some((name, owned)))));
    }

    /// Removes the mark of a disk that is gone. Never waits.
    pub(super) fn forget(&self, dev: DevT) {
        self.0.change(|orders| drop(orders.insert(dev, None)));
    }
}

impl Drop for Marker {
    /// Does not wait for the thread, which may be in the middle of a uevent.
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn serve(marks: &Marks, orders: &Latest<Orders>, notice_sink: &NoticeSink) {
    while let Some((dev, order)) = orders.next(Orders::pop_first) {
        let (what, result) = match order {
            Some((name, owned)) => (
                format!("{name} ({dev})"),
                marks.mark(dev, &name, owned).map(drop),
            ),
            None => (dev.to_string(), marks.forget(dev)),
        };
        // A disk that disappeared in the meantime needs no mark.
        if let Err(error) = result
            && !matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
        {
            notice_sink.notify(Notice::new(
                codes::MARK_FAILED,
                what,
                &[("reason", &error.to_string())],
            ));
        }
    }
}
