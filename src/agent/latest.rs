//! Work for a thread, of which only the latest counts: what was overtaken before the thread came to it is never done.
//!
//! Whoever has work never waits. How much can wait is bound by what it is about: one entry for each thing.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What waits, shared by those who have work and the thread that does it.
pub struct Latest<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    waiting: T,
    stop: bool,
}

impl<T: Default> Latest<T> {
    /// Nothing waits.
    pub fn new() -> Latest<T> {
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

    /// Changes what waits, and wakes the thread.
    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock().waiting);
        self.0.wake.notify_one();
    }

    /// Has the thread end when nothing waits any more.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.0.wake.notify_one();
    }

    /// The thread's side: waits for something that `take` takes; `None` when all is done and the agent stops.
    pub fn next<R>(&self, take: impl Fn(&mut T) -> Option<R>) -> Option<R> {
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
    fn the_latest_is_done_and_then_the_end_comes() {
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
