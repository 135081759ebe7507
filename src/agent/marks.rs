//! Writes the marks for udev on a separate thread, because raising a uevent takes locks in the kernel.

use super::latest::{Latest, Worker};
use crate::config::Places;
use crate::kernel::NoticeSink;
use crate::kernel::owner::Marks;
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::units::DevT;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The marks to write, and whether the end of the boot is to be noted after them.
#[derive(Default)]
struct Orders {
    /// The wanted mark of each disk: its name and whether dm-psa owns it, or no mark.
    marks: BTreeMap<DevT, Option<(String, bool)>>,
    decided: bool,
}

enum Order {
    Mark(DevT, Option<(String, bool)>),
    Decided,
}

impl Orders {
    fn next(&mut self) -> Option<Order> {
        let mark = self.marks.pop_first();
        mark.map(|(dev, mark)| Order::Mark(dev, mark))
            .or_else(|| std::mem::take(&mut self.decided).then_some(Order::Decided))
    }
}

/// Writes marks.
pub(super) struct Marker(Worker<Orders>);

impl Marker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub(super) fn start(places: &Places, notice_sink: NoticeSink) -> io::Result<Marker> {
        let marks = Marks::new(places.run().join("paths"), "/sys");
        let decided = places.decided();
        Worker::start("marks", move |orders| {
            serve(&marks, &decided, orders, &notice_sink);
        })
        .map(Marker)
    }

    /// Marks a disk. Never waits.
    pub(super) fn mark(&self, dev: DevT, name: String, owned: bool) {
        self.0
            .change(|orders| drop(orders.marks.insert(dev, Some((name, owned)))));
    }

    /// Removes the mark of a disk that is gone. Never waits.
    pub(super) fn forget(&self, dev: DevT) {
        self.0.change(|orders| drop(orders.marks.insert(dev, None)));
    }

    /// Notes, after the marks, that the disks of this boot were decided upon ([`Places::decided`]). Never waits.
    pub(super) fn decided(&self) {
        self.0.change(|orders| orders.decided = true);
    }

    /// Waits until all marks are written.
    pub(super) fn finish(mut self) {
        self.0.finish();
    }
}

fn serve(marks: &Marks, decided: &Path, orders: &Latest<Orders>, notice_sink: &NoticeSink) {
    while let Some(order) = orders.next(Orders::next) {
        let (what, result) = match order {
            Order::Mark(dev, Some((name, owned))) => (
                format!("{name} ({dev})"),
                marks.mark(dev, &name, owned).map(drop),
            ),
            Order::Mark(dev, None) => (dev.to_string(), marks.forget(dev)),
            Order::Decided => (decided.display().to_string(), fs::write(decided, "")),
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
