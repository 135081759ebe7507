//! Workers: carry out the steps of each map in order, and of different maps in parallel.
//!
//! A map with work gets a thread, up to [`MOST_THREADS`]; further maps wait for one. [`KEPT_THREADS`] are started in
//! advance, have memory for their stacks and stay, so that a path can be reinstated even if no thread can be started;
//! other threads end when there is no work. So a table load that waits for a SCSI host to recover delays only its own map, until as many maps
//! hang as there are threads.

use super::observer::Observer;
use super::texts::Room;
use crate::kernel::{NoticeLimit, NoticeSink};
use crate::psa::action::{MapStep, Notice};
use crate::psa::codes;
use crate::psa::event::{DmStep, Event, MapError};
use crate::psa::table::model::MapId;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The most maps that are worked on at the same time.
pub(super) const MOST_THREADS: usize = 64;

/// How many threads are kept waiting for work: enough to go on while some maps hang.
pub(super) const KEPT_THREADS: usize = 4;

/// A list of steps to carry out on a map.
struct Job {
    map: MapId,
    ticket: u64,
    steps: Vec<MapStep>,
}

#[derive(Default)]
struct Queues {
    /// Maps with work, each with its jobs in order. The queue is empty while the map's last job is being carried out.
    jobs: BTreeMap<String, VecDeque<Job>>,
    /// Maps that wait for a thread, in order.
    waiting: VecDeque<String>,
    threads: usize,
    /// The number of threads that wait for work.
    idle: usize,
    /// Set when nothing will be submitted any more.
    ended: bool,
    /// Limits notices that no thread could be started.
    no_thread: NoticeLimit,
}

type Carry = dyn Fn(&Job) -> Result<(), MapError> + Send + Sync;
type Report = dyn Fn(&str, u64, Result<(), MapError>) + Send + Sync;

struct Shared {
    queues: Mutex<Queues>,
    wake: Condvar,
    most: usize,
    carry_out: Box<Carry>,
    report: Box<Report>,
    notice_sink: NoticeSink,
}

/// The workers. Jobs submitted before this is dropped are still carried out.
pub(super) struct Workers {
    shared: Arc<Shared>,
}

impl Workers {
    /// Starts the threads that are kept.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn new(observer: Arc<Observer>, notice_sink: NoticeSink) -> io::Result<Self> {
        let reporter = Arc::clone(&observer);
        let workers = Workers::of(
            MOST_THREADS,
            Box::new(move |job| observer.client().execute(&job.map, &job.steps)),
            Box::new(move |map, ticket, result| {
                reporter.report(map, &mut Room::default(), true, |_, observed| {
                    Some(Event::MapDone {
                        map: map.to_owned(),
                        ticket,
                        result,
                        observed: observed.cloned().map(Box::new),
                    })
                });
            }),
            notice_sink,
        );
        for _ in 0..KEPT_THREADS {
            let mut queues = workers.shared.lock();
            workers.shared.start(true)?;
            queues.threads += 1;
        }
        Ok(workers)
    }

    /// Creates the workers without starting a thread.
    fn of(
        most: usize,
        carry_out: Box<Carry>,
        report: Box<Report>,
        notice_sink: NoticeSink,
    ) -> Self {
        let queues = Mutex::default();
        Workers {
            shared: Arc::new(Shared {
                queues,
                wake: Condvar::new(),
                most: most.max(1),
                carry_out,
                report,
                notice_sink,
            }),
        }
    }

    /// Carries out the steps after everything submitted for the map before. The answer is `MapDone`, with the map as it
    /// is then, whether the steps succeeded or not. Never blocks.
    pub(super) fn submit(&self, map: MapId, ticket: u64, steps: Vec<MapStep>) {
        let name = map.name.clone();
        let job = Job { map, ticket, steps };
        let mut queues = self.shared.lock();
        if let Some(jobs) = queues.jobs.get_mut(&name) {
            jobs.push_back(job);
            return;
        }
        queues.jobs.insert(name.clone(), VecDeque::from([job]));
        queues.waiting.push_back(name);
        if queues.idle >= queues.waiting.len() {
            self.shared.wake.notify_one();
        } else if queues.threads < self.shared.most {
            match self.shared.start(false) {
                Ok(()) => queues.threads += 1,
                // Another thread will take it.
                Err(error) if queues.threads > 0 => {
                    if queues.no_thread.admits(Instant::now()) {
                        let name = queues.waiting.back().cloned().unwrap_or_default();
                        let reason = error.to_string();
                        let details = [("reason", &*reason), ("effect", "the map waits")];
                        let notice = Notice::new(codes::NO_THREAD, name, &details);
                        self.shared.notice_sink.notify(notice);
                    }
                }
                // No thread would ever take it: the caller is notified by the event that it waits for.
                Err(error) => {
                    let waiting = std::mem::take(&mut queues.waiting);
                    let failed: Vec<_> = waiting
                        .into_iter()
                        .filter_map(|name| queues.jobs.remove_entry(&name))
                        .collect();
                    drop(queues);
                    for (name, jobs) in failed {
                        for job in jobs {
                            let reason = format!("no thread could be started: {error}");
                            (self.shared.report)(&name, job.ticket, Err(internal(reason)));
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    /// Starts a thread, which stays or ends when there is no work. The caller counts it.
    fn start(self: &Arc<Self>, stays: bool) -> io::Result<()> {
        let shared = Arc::clone(self);
        let thread = crate::kernel::thread("dm-worker");
        let thread = if stays {
            thread
        } else {
            thread.not_essential()
        };
        thread.spawn(move || shared.work(stays))?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop of a thread: carries out one job at a time, of the map that has waited longest.
    fn work(&self, stays: bool) {
        let mut queues = self.lock();
        loop {
            let Some(name) = queues.waiting.pop_front() else {
                if queues.ended || !stays {
                    break;
                }
                queues.idle += 1;
                let woken = self.wake.wait(queues);
                queues = woken.unwrap_or_else(PoisonError::into_inner);
                queues.idle -= 1;
                continue;
            };
            let Some(job) = queues.jobs.get_mut(&name).and_then(VecDeque::pop_front) else {
                continue;
            };
            drop(queues);
            // The caller waits for an answer, which a panic in here must not prevent.
            let result =
                catch_unwind(AssertUnwindSafe(|| (self.carry_out)(&job))).unwrap_or_else(|_| {
                    Err(internal("internal error; see the agent's log".to_owned()))
                });
            let reported = catch_unwind(AssertUnwindSafe(|| {
                (self.report)(&name, job.ticket, result);
            }));
            if reported.is_err() {
                let details = [("reason", "the result of an action on a map was lost")];
                self.notice_sink
                    .notify(Notice::new(codes::INTERNAL, &*name, &details));
            }
            queues = self.lock();
            if queues.jobs.get(&name).is_some_and(|jobs| !jobs.is_empty()) {
                queues.waiting.push_back(name);
            } else {
                queues.jobs.remove(&name);
            }
        }
        queues.threads -= 1;
    }
}

fn internal(reason: String) -> MapError {
    MapError {
        step: DmStep::Start,
        errno: None,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    /// Map, ticket, result.
    type Answer = (String, u64, Result<(), MapError>);

    /// Workers whose jobs block on a map called `hung` until the barrier is reached, and panic on `bug`.
    fn workers(most: usize, barrier: Arc<Barrier>) -> (Workers, Receiver<Answer>) {
        let (send, receive) = channel();
        let send = Mutex::new(send);
        let carry_out = move |job: &Job| {
            match job.map.name.as_str() {
                "hung" => {
                    barrier.wait();
                }
                "bug" => panic!("as wanted by the test"),
                _ => {}
            }
            Ok(())
        };
        let report = move |map: &str, ticket, result| {
            let _ = send.lock().unwrap().send((map.to_owned(), ticket, result));
        };
        (
            Workers::of(
                most,
                Box::new(carry_out),
                Box::new(report),
                NoticeSink::discard(),
            ),
            receive,
        )
    }

    fn submit(workers: &Workers, map: &str, ticket: u64) {
        let map = MapId {
            name: map.to_owned(),
            uuid: String::new(),
        };
        workers.submit(map, ticket, vec![]);
    }

    #[test]
    fn a_hung_map_delays_no_other() {
        let barrier = Arc::new(Barrier::new(2));
        let (workers, results) = workers(2, Arc::clone(&barrier));
        submit(&workers, "hung", 1);
        submit(&workers, "hung", 2);
        for ticket in 0..100 {
            submit(&workers, &format!("map{}", ticket % 10), ticket);
        }
        for _ in 0..100 {
            assert_ne!(results.recv_timeout(SOON).unwrap().0, "hung");
        }
        barrier.wait();
        assert_eq!(results.recv_timeout(SOON).unwrap().1, 1);
        barrier.wait();
        assert_eq!(results.recv_timeout(SOON).unwrap().1, 2);
    }

    #[test]
    fn jobs_of_a_map_are_done_in_order() {
        let (workers, results) = workers(8, Arc::new(Barrier::new(1)));
        for ticket in 0..1000 {
            submit(&workers, ["a", "b", "c"][ticket as usize % 3], ticket);
        }
        let mut last = BTreeMap::new();
        for _ in 0..1000 {
            let (map, ticket, _) = results.recv_timeout(SOON).unwrap();
            assert!(
                last.insert(map, ticket)
                    .is_none_or(|before| before < ticket)
            );
        }
    }

    #[test]
    fn idle_threads_end() {
        let (workers, results) = workers(4, Arc::new(Barrier::new(1)));
        for round in 0..3 {
            submit(&workers, "a", round);
            assert_eq!(results.recv_timeout(SOON).unwrap().1, round);
        }
        while workers.shared.lock().threads > 0 {
            std::thread::yield_now();
        }
        assert!(workers.shared.lock().jobs.is_empty());
    }

    #[test]
    fn kept_threads_do_the_work_and_end_with_the_workers() {
        let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
        let (send, results) = channel();
        let (seen, send) = (Arc::clone(&threads), Mutex::new(send));
        let workers = Workers::of(
            2,
            Box::new(move |_| {
                seen.lock().unwrap().insert(std::thread::current().id());
                Ok(())
            }),
            Box::new(move |_, ticket, _| send.lock().unwrap().send(ticket).unwrap_or(())),
            NoticeSink::discard(),
        );
        for _ in 0..2 {
            workers.shared.start(true).unwrap();
            workers.shared.lock().threads += 1;
        }
        for ticket in 0..100 {
            submit(&workers, "a", ticket);
            assert_eq!(results.recv_timeout(SOON).unwrap(), ticket);
        }
        assert_eq!(workers.shared.lock().threads, 2);
        assert!(threads.lock().unwrap().len() <= 2);
        let shared = Arc::clone(&workers.shared);
        drop(workers);
        while shared.lock().threads > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_panic_is_answered_too() {
        let (workers, results) = workers(1, Arc::new(Barrier::new(1)));
        submit(&workers, "bug", 7);
        let (_, ticket, result) = results.recv_timeout(SOON).unwrap();
        assert!(ticket == 7 && result.is_err());
        submit(&workers, "fine", 8);
        assert!(results.recv_timeout(SOON).unwrap().2.is_ok());
    }
}
