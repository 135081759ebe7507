//! A queue for a thread in which only the latest state counts: work that was superseded before the thread got to it is
//! never done.
//!
//! The sender never waits. The queue is bounded because it has one entry for each subject.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The waiting work, shared by the senders and the thread that does it.
pub(super) struct Latest<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    waiting: T,
    stop: bool,
}

impl<T: Default> Latest<T> {
    /// Creates an empty queue.
    pub(super) fn new() -> Latest<T> {
        let state = Mutex::new(State {
            waiting: T::default(),
            stop: false,
        });
        let wake = Condvar::new();
        Latest(Arc::new(Shared { state, wake }))
    }
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Latest<T> {
        Latest(Arc::clone(&self.0))
    }
}

impl<T> Latest<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the waiting work and wakes the thread.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock().waiting);
        self.0.wake.notify_one();
    }

    /// Makes the thread end once no work waits.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.0.wake.notify_one();
    }

    /// Called by the thread: waits until `take` returns work. Returns `None` when all work is done and the agent stops.
    pub(super) fn next<R>(&self, take: impl Fn(&mut T) -> Option<R>) -> Option<R> {
        let mut state = self.lock();
        loop {
            if let Some(work) = take(&mut state.waiting) {
                return Some(work);
            }
            if state.stop {
                return None;
            }
            let woken = self.0.wake.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_item_is_processed_before_the_end() {
        let latest = Latest::<Option<u32>>::new();
        latest.change(|waiting| *waiting = Some(1));
        latest.change(|waiting| *waiting = Some(2));
        latest.stop();
        assert_eq!(latest.next(Option::take), Some(2));
        assert_eq!(latest.next(Option::take), None);
    }

    #[test]
    fn the_thread_is_woken() {
        let latest = Latest::<Option<u32>>::new();
        let theirs = latest.clone();
        let thread = std::thread::spawn(move || theirs.next(Option::take));
        latest.change(|waiting| *waiting = Some(3));
        assert_eq!(thread.join().unwrap(), Some(3));
    }
}
