//! A queue for a thread in which only the latest state counts: work that was superseded before the thread got to it is
//! never done.
//!
//! The sender never waits. The queue is bounded because it has one entry for each subject.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

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

/// A queue and the thread that works on it. The thread ends when this is dropped and no work waits.
pub(super) struct Worker<T> {
    queue: Latest<T>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Default + Send + 'static> Worker<T> {
    /// Starts the thread, which works until [`Latest::next`] returns `None`.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub(super) fn start(
        name: &str,
        work: impl FnOnce(&Latest<T>) + Send + 'static,
    ) -> io::Result<Worker<T>> {
        let queue = Latest::new();
        let theirs = queue.clone();
        let thread = crate::kernel::thread(name).spawn(move || work(&theirs))?;
        Ok(Worker {
            queue,
            thread: Some(thread),
        })
    }
}

impl<T> Worker<T> {
    /// Changes the waiting work. Never waits.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        self.queue.change(change);
    }

    /// Waits until all work is done and the thread has ended.
    pub(super) fn finish(&mut self) {
        self.queue.stop();
        // A panic of the thread was reported when it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl<T> Drop for Worker<T> {
    /// Does not wait for the thread, which may hang in the kernel.
    fn drop(&mut self) {
        self.queue.stop();
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
