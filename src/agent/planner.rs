//! `Plan`: works out what other rules would change, on a separate thread and from a snapshot of the world.
//!
//! The snapshot is the only cost for the owner. One plan is made at a time. All users share one place in the queue;
//! after each plan of a user there is a pause in proportion to the cost of its snapshot. Root has places of its own,
//! and goes first.

use crate::api::error::ApiError;
use crate::api::handler::Pending;
use crate::psa::world::World;
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of plans of root that wait.
const ROOT_WAITS: usize = 4;

/// The share of the owner's time that snapshots for users may take: one part in this many.
const SHARE: u32 = 50;

/// The longest pause between two plans of users, so that a user who waits for it still has time for the plan itself. Up
/// to a snapshot of 400 ms, the pause keeps to [`SHARE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// A copy of the world, and what it cost the owner to make it.
pub(super) struct Snapshot {
    /// The world when the snapshot was taken.
    pub world: Box<World>,
    /// How long the owner was busy making it.
    pub took: Duration,
}

/// The thread's stack, in bytes: it reads rules, plans and writes JSON.
const STACK: usize = 512 << 10;

/// Makes plans.
pub(super) struct Planner(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

type Reply = SyncSender<Result<Value, ApiError>>;

#[derive(Default)]
struct Queue {
    root: VecDeque<Reply>,
    /// The place that all users share: a request that waits.
    user: Option<Reply>,
    user_is_served: bool,
    /// No plan of a user starts before this time.
    pause_until: Option<Instant>,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent between any two changes, so a poisoned lock is usable.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Planner {
    /// Starts the thread. `make` makes a plan, and returns what its snapshot cost the owner.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub(super) fn start(
        make: impl Fn() -> (Result<Value, ApiError>, Duration) + Send + 'static,
    ) -> io::Result<Planner> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        crate::kernel::thread("plan")
            .stack_size(STACK)
            .spawn(move || serve(&theirs, &make))?;
        Ok(Planner(shared))
    }

    /// Asks for a plan, for root or for another user.
    ///
    /// # Errors
    /// Too many plans are waiting.
    pub(super) fn ask(&self, is_root: bool) -> Result<Pending, ApiError> {
        let (reply, answer) = sync_channel(1);
        let mut queue = self.0.lock();
        let place = if is_root {
            (queue.root.len() < ROOT_WAITS).then(|| queue.root.push_back(reply))
        } else {
            let free = queue.user.is_none() && !queue.user_is_served;
            free.then(|| queue.user = Some(reply))
        };
        self.0.changed.notify_one();
        place.map(|()| answer).ok_or_else(|| ApiError::Unavailable {
            reason: "another plan is being made".to_owned(),
        })
    }
}

impl Drop for Planner {
    /// Does not wait for the thread: a plan for thousands of paths takes time.
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_one();
    }
}

/// Returns the next plan to make and whether it is for a user; `None` when the planner stops.
fn next(shared: &Shared) -> Option<(Reply, bool)> {
    let mut queue = shared.lock();
    loop {
        if queue.stopped {
            return None;
        }
        if let Some(reply) = queue.root.pop_front() {
            return Some((reply, false));
        }
        let pause = queue.pause_until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        });
        if pause.is_zero()
            && let Some(reply) = queue.user.take()
        {
            queue.user_is_served = true;
            return Some((reply, true));
        }
        let wait = if queue.user.is_some() {
            pause
        } else {
            Duration::from_secs(3600)
        };
        queue = shared
            .changed
            .wait_timeout(queue, wait)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

fn serve(shared: &Shared, make: &dyn Fn() -> (Result<Value, ApiError>, Duration)) {
    while let Some((reply, of_user)) = next(shared) {
        let (answer, took) = make();
        if of_user {
            let mut queue = shared.lock();
            queue.user_is_served = false;
            queue.pause_until = Some(Instant::now() + (took * SHARE).min(LONGEST_PAUSE));
        }
        // A caller that gave up does not take the answer.
        let _ = reply.try_send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// A planner whose plans end when the test allows it; each returns how many were made before it.
    fn planner(took: Duration) -> (Planner, std::sync::mpsc::Sender<()>) {
        let (go, gone) = channel::<()>();
        let count = Mutex::new((0_u64, gone));
        let planner = Planner::start(move || {
            let mut count = count.lock().unwrap();
            let _ = count.1.recv();
            count.0 += 1;
            (Ok(Value::from(count.0)), took)
        });
        (planner.unwrap(), go)
    }

    fn wait(answer: &Pending) -> Value {
        answer
            .recv_timeout(Duration::from_secs(20))
            .unwrap()
            .unwrap()
    }

    /// Waits until the thread has taken the request.
    fn is_taken(planner: &Planner) {
        loop {
            let queue = planner.0.lock();
            if queue.user_is_served || queue.user.is_none() && queue.root.is_empty() {
                return;
            }
            drop(queue);
            std::thread::yield_now();
        }
    }

    #[test]
    fn users_share_one_place_and_root_goes_first() {
        let (planner, go) = planner(Duration::ZERO);
        let first = planner.ask(false).unwrap();
        is_taken(&planner);
        // While it is being made, all other users are refused.
        for _ in 0..3 {
            let refused = planner.ask(false).unwrap_err().to_string();
            assert!(refused.contains("another plan"), "{refused}");
        }
        let root: Vec<Pending> = (0..ROOT_WAITS)
            .map(|_| planner.ask(true).unwrap())
            .collect();
        assert!(planner.ask(true).is_err());
        go.send(()).unwrap();
        assert_eq!(wait(&first), 1);
        let second = planner.ask(false).unwrap();
        for _ in 0..=ROOT_WAITS {
            go.send(()).unwrap();
        }
        for (n, answer) in root.iter().enumerate() {
            assert_eq!(wait(answer), n as u64 + 2);
        }
        assert_eq!(wait(&second), ROOT_WAITS as u64 + 2);
    }

    #[test]
    fn users_pause_and_root_does_not() {
        let (planner, go) = planner(Duration::from_millis(10));
        for _ in 0..8 {
            go.send(()).unwrap();
        }
        wait(&planner.ask(false).unwrap());
        let began = Instant::now();
        let user = planner.ask(false).unwrap();
        wait(&planner.ask(true).unwrap());
        wait(&planner.ask(true).unwrap());
        assert!(user.try_recv().is_err());
        wait(&user);
        assert!(
            began.elapsed() >= Duration::from_millis(400),
            "{:?}",
            began.elapsed()
        );
    }

    #[test]
    fn a_caller_who_gave_up_leaves_the_place_free() {
        let (planner, go) = planner(Duration::ZERO);
        drop(planner.ask(false).unwrap());
        go.send(()).unwrap();
        let mut asked = planner.ask(false);
        while asked.is_err() {
            std::thread::yield_now();
            asked = planner.ask(false);
        }
        go.send(()).unwrap();
        wait(&asked.unwrap());
    }
}
