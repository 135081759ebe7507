//! Marks for udev, written on a thread of their own: raising a uevent takes locks of the kernel.

use crate::config::Places;
use crate::kernel::Teller;
use crate::kernel::owner::Marks;
use crate::psa::action::Notice;
use crate::psa::units::DevT;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What a disk is to be: marked, with its name and whether it is ours; or without a mark.
type Order = Option<(String, bool)>;

#[derive(Default)]
struct State {
    /// The last order for each disk: one that was overtaken is never carried out.
    orders: BTreeMap<DevT, Order>,
    stop: bool,
}

type Shared = (Mutex<State>, Condvar);

/// Writes marks.
pub struct Marker(Arc<Shared>);

impl Marker {
    /// Starts the thread; it ends with the marker.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub fn start(places: &Places, tell: Teller) -> io::Result<Marker> {
        let marks = Marks::new(places.run().join("paths"), "/sys");
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        crate::kernel::thread("marks").spawn(move || serve(&marks, &theirs, &tell))?;
        Ok(Marker(shared))
    }

    /// Marks a disk. Never waits.
    pub fn mark(&self, dev: DevT, name: String, owned: bool) {
        self.change(|state| drop(state.orders.insert(dev, Some((name, owned)))));
    }

    /// Forgets the mark of a disk that is gone. Never waits.
    pub fn forget(&self, dev: DevT) {
        self.change(|state| drop(state.orders.insert(dev, None)));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let (state, wake) = &*self.0;
        change(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        wake.notify_one();
    }
}

impl Drop for Marker {
    /// Waits for no thread: it may be in the middle of a uevent.
    fn drop(&mut self) {
        self.change(|state| state.stop = true);
    }
}

/// Waits for an order; `None` when all are carried out and the agent stops.
fn next((state, wake): &Shared) -> Option<(DevT, Order)> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(order) = state.orders.pop_first() {
            return Some(order);
        }
        if state.stop {
            return None;
        }
        state = wake.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn serve(marks: &Marks, orders: &Shared, tell: &Teller) {
    while let Some((dev, order)) = next(orders) {
        let (what, result) = match order {
            Some((name, owned)) => (
                format!("{name} ({dev})"),
                marks.mark(dev, &name, owned).map(drop),
            ),
            None => (dev.to_string(), marks.forget(dev)),
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
