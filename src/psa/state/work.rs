//! The work on the map of a device: the change that is wanted, the action in progress, and the last failure.

use crate::psa::action::MapStep;
use crate::psa::table::model::{Message, Table};
use crate::psa::units::{DevT, Millis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// First pause after a failed action on a map; [`RETRY_LONGEST`] is the longest.
const RETRY_FIRST: Millis = Millis(1000);

const RETRY_LONGEST: Millis = Millis(60_000);

/// A failed resume is tried again after this time. All I/O of the map waits for the resume, so the pause never grows.
const RESUME_AGAIN: Millis = Millis(1_000);

/// A change of the table that is delayed until the paths settle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::psa) struct Pending {
    /// The wanted table. If another table is wanted, the delay starts again.
    pub(in crate::psa) table: Table,
    /// Since when it is wanted.
    pub(in crate::psa) since: Millis,
}

/// What an action on a map does to its paths. It distinguishes failures of paths by the kernel from those that the
/// agent caused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Order {
    /// Paths that it fails.
    pub(in crate::psa) failed: BTreeSet<DevT>,
    /// Paths that the action leaves active, as far as the action itself activates them.
    pub(in crate::psa) activated: BTreeSet<DevT>,
    /// The only step is the resume of a map that another program left suspended.
    pub(in crate::psa) resumes: bool,
}

impl Order {
    /// The effect of these steps.
    fn of(steps: &[MapStep]) -> Order {
        let mut order = Order {
            resumes: steps == [MapStep::Resume],
            ..Order::default()
        };
        for step in steps {
            match step {
                MapStep::Create { table, .. } | MapStep::Reload { table, .. } => {
                    order.failed.clear();
                    order.activated = table.paths().map(|path| path.dev).collect();
                }
                MapStep::Message(Message::FailPath(dev)) => {
                    order.activated.remove(dev);
                    order.failed.insert(*dev);
                }
                MapStep::Message(Message::ReinstatePath(dev)) => {
                    order.failed.remove(dev);
                    order.activated.insert(*dev);
                }
                _ => {}
            }
        }
        order
    }
}

/// A failed action on a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::psa) struct Failure {
    /// What failed and why.
    pub(in crate::psa) text: String,
    /// The number of failures in a row.
    pub(in crate::psa) count: u32,
    /// The action is not tried again before this time.
    pub(in crate::psa) retry_at: Millis,
    /// When it failed.
    at: Millis,
    /// Which kind of step failed.
    step: FailedStep,
}

/// The kind of step that failed on a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::psa) enum FailedStep {
    /// A message.
    Message,
    /// The resume of a map that another program left suspended.
    Resume,
    /// A table, or the removal of the map.
    Other,
}

impl Failure {
    /// Whether a step may be tried now. Each kind of step has its own pause: a path can be reinstated although the
    /// kernel refused a table, and no other failure delays the resume of a map.
    pub(in crate::psa) fn allows(&self, step: &MapStep, now: Millis) -> bool {
        match step {
            MapStep::Resume => {
                self.step != FailedStep::Resume || self.at.after(RESUME_AGAIN) <= now
            }
            MapStep::Message(_) => self.step != FailedStep::Message || self.retry_at <= now,
            _ => self.retry_at <= now,
        }
    }

    /// When the next of the steps that have to wait may be tried.
    pub(in crate::psa) fn next_try(&self, now: Millis) -> Millis {
        let resume = self.at.after(RESUME_AGAIN);
        if self.step == FailedStep::Resume && resume > now {
            self.retry_at.min(resume)
        } else {
            self.retry_at
        }
    }
}

/// The work on a map. At most one action is in progress.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Work {
    /// A change of the table that is delayed.
    pending: Option<Pending>,
    /// Ticket of the action in progress.
    in_flight: Option<u64>,
    /// What that action does to the paths of the map.
    order: Order,
    /// When the last action ended.
    last_done: Millis,
    /// The failure of the last action.
    failure: Option<Failure>,
    /// Whether the last table that was loaded again was read-only.
    loaded_read_only: Option<bool>,
    /// Which paths were active when the map was read last, while it cannot be read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    before_unread: BTreeMap<DevT, bool>,
}

impl Work {
    /// A change to this table is wanted. Returns since when.
    pub(in crate::psa) fn wants(&mut self, table: &Table, now: Millis) -> Millis {
        match &self.pending {
            Some(pending) if pending.table == *table => pending.since,
            _ => {
                let table = table.clone();
                self.pending = Some(Pending { table, since: now });
                now
            }
        }
    }

    /// The change that is delayed.
    pub(in crate::psa) fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// No change of the table is wanted any more.
    pub(in crate::psa) fn settled(&mut self) {
        self.pending = None;
    }

    /// An action with these steps begins. Messages do not reset the delay of a change of the table. Otherwise paths that
    /// come and go would postpone it forever.
    pub(in crate::psa) fn begin(&mut self, ticket: u64, steps: &[MapStep]) {
        self.in_flight = Some(ticket);
        self.order = Order::of(steps);
        let loads =
            |step: &MapStep| matches!(step, MapStep::Create { .. } | MapStep::Reload { .. });
        if steps.iter().any(loads) {
            self.pending = None;
        }
    }

    /// The map was observed; these paths were active `before`, and `is_read` says whether it could be read now. Returns what
    /// to compare it with: the last state that could be read.
    pub(in crate::psa) fn observed(
        &mut self,
        before: BTreeMap<DevT, bool>,
        is_read: bool,
    ) -> BTreeMap<DevT, bool> {
        let unread = std::mem::take(&mut self.before_unread);
        let before = if unread.is_empty() { before } else { unread };
        if !is_read {
            self.before_unread.clone_from(&before);
        }
        before
    }

    /// The table of the map is loaded again, read-only or not.
    pub(in crate::psa) fn reloads(&mut self, read_only: bool) {
        self.loaded_read_only = Some(read_only);
    }

    /// The action in progress has no failed step. Returns what it did to the paths.
    pub(in crate::psa) fn succeeded(&mut self, now: Millis) -> Order {
        self.failure = None;
        self.ended(now)
    }

    /// A step of the action in progress failed: each failure in a row doubles the pause. Returns what the action was to
    /// do to the paths, and the pause.
    pub(in crate::psa) fn failed(
        &mut self,
        text: String,
        step: FailedStep,
        now: Millis,
    ) -> (Order, Millis) {
        let count = self.failure.as_ref().map_or(0, |failure| failure.count);
        let pause = RETRY_FIRST.0.saturating_mul(1 << count.min(10));
        let pause = Millis(pause.min(RETRY_LONGEST.0));
        self.failure = Some(Failure {
            text,
            count: count.saturating_add(1),
            retry_at: now.after(pause),
            at: now,
            step,
        });
        (self.ended(now), pause)
    }

    fn ended(&mut self, now: Millis) -> Order {
        self.in_flight = None;
        self.last_done = now;
        std::mem::take(&mut self.order)
    }

    /// The ticket of the action in progress.
    pub(in crate::psa) fn in_flight(&self) -> Option<u64> {
        self.in_flight
    }

    /// What the action in progress does to the paths.
    pub(in crate::psa) fn order(&self) -> &Order {
        &self.order
    }

    /// When the last action ended.
    pub(in crate::psa) fn last_done(&self) -> Millis {
        self.last_done
    }

    /// The failure of the last action.
    pub(in crate::psa) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether the last reload was read-only; `None` before the first.
    pub(in crate::psa) fn loaded_read_only(&self) -> Option<bool> {
        self.loaded_read_only
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_compared_with_the_last_state_that_could_be_read() {
        let at = |minor: u32, active: bool| BTreeMap::from([(DevT { major: 8, minor }, active)]);
        let mut work = Work::default();
        assert_eq!(work.observed(at(0, true), false), at(0, true));
        assert_eq!(work.observed(BTreeMap::new(), false), at(0, true));
        assert_eq!(work.observed(BTreeMap::new(), true), at(0, true));
        assert_eq!(work.observed(at(1, false), true), at(1, false));
    }
    use crate::psa::table::model::Features;
    use crate::psa::units::Sectors;

    #[test]
    fn each_failure_in_a_row_doubles_the_pause() {
        let mut work = Work::default();
        let mut pauses = Vec::new();
        for n in 0..8 {
            work.begin(n, &[MapStep::Resume]);
            assert_eq!(work.in_flight(), Some(n));
            let (order, pause) = work.failed("no".to_owned(), FailedStep::Resume, Millis(9));
            assert!(order.resumes && work.in_flight().is_none());
            pauses.push(pause.0 / 1000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        work.begin(9, &[MapStep::Observe]);
        work.succeeded(Millis(10));
        assert_eq!((work.failure(), work.last_done()), (None, Millis(10)));
    }

    #[test]
    fn another_wanted_table_starts_the_delay_again() {
        let table = |length| Table {
            length: Sectors(length),
            features: Features::default(),
            handler: None,
            groups: Vec::new(),
            initial_group: 0,
        };
        let mut work = Work::default();
        assert_eq!(work.wants(&table(1), Millis(5)), Millis(5));
        assert_eq!(work.wants(&table(1), Millis(8)), Millis(5));
        assert_eq!(work.wants(&table(2), Millis(9)), Millis(9));
        // Messages leave the delay as it is; a table ends it.
        let message = MapStep::Message(Message::FailIfNoPath);
        work.begin(1, &[message]);
        assert!(work.pending().is_some());
        let reload = MapStep::Reload {
            table: table(2),
            usable: true,
            read_only: false,
        };
        work.begin(2, &[reload]);
        assert!(work.pending().is_none());
    }
}
