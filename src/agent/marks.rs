//! Marks for udev, written on a thread of their own: raising a uevent takes locks of the kernel.

use crate::config::Places;
use crate::kernel::Teller;
use crate::kernel::owner::Marks;
use crate::psa::action::Notice;
use crate::psa::units::DevT;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Orders that wait at a time: more than there can be disks behind one HBA.
const QUEUE: usize = 65_536;

enum Order {
    Mark {
        dev: DevT,
        name: String,
        owned: bool,
    },
    Forget(DevT),
}

/// Writes marks.
pub struct Marker(SyncSender<Order>, Teller);

impl Marker {
    /// Starts the thread; it ends with the marker.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub fn start(places: &Places, tell: Teller) -> io::Result<Marker> {
        let marks = Marks::new(places.run().join("paths"), "/sys");
        let (orders, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("marks".to_owned())
            .spawn({
                let tell = tell.clone();
                move || serve(&marks, &queue, &tell)
            })?;
        Ok(Marker(orders, tell))
    }

    /// Marks a disk. Never waits.
    pub fn mark(&self, dev: DevT, name: String, owned: bool) {
        self.order(Order::Mark { dev, name, owned });
    }

    /// Forgets the mark of a disk that is gone. Never waits.
    pub fn forget(&self, dev: DevT) {
        self.order(Order::Forget(dev));
    }

    fn order(&self, order: Order) {
        if let Err(TrySendError::Full(_)) = self.0.try_send(order) {
            let reason = format!("{QUEUE} orders wait");
            let details = [
                ("reason", reason.as_str()),
                ("effect", "udev may show a path as a disk"),
            ];
            self.1.tell(Notice::new("MARK_LOST", "agent", &details));
        }
    }
}

fn serve(marks: &Marks, queue: &Receiver<Order>, tell: &Teller) {
    for order in queue {
        let (what, result) = match order {
            Order::Mark { dev, name, owned } => (
                format!("{name} ({dev})"),
                marks.mark(dev, &name, owned).map(drop),
            ),
            Order::Forget(dev) => (dev.to_string(), marks.forget(dev)),
        };
        // A disk that went meanwhile needs no mark.
        if let Err(error) = result
            && !matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
        {
            tell.tell(Notice::new(
                "MARK_FAILED",
                what,
                &[("reason", &error.to_string())],
            ));
        }
    }
}
