//! Deadlines: one per path, one per device, and a few for the agent itself.

use crate::psa::lookup::Lookup;
use crate::psa::names::Wwid;
use crate::psa::units::{Hctl, Millis};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The subject of a deadline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// The next examination of a path.
    Path(Hctl),
    /// The next look at a device: settling, regrouping, APD, a retry.
    Device(Wwid),
    /// The next run of the claim rules over unclaimed paths.
    ClaimRules,
    /// The next time that the memory is stored.
    Memory,
    /// In an initramfs: the next look at what is expected.
    Initramfs,
}

/// From 400 paths on, at least this many and at most twice as many checks are due at the same moment. Waking a thread
/// costs more than sending a command, so one wake-up sends many commands; even more of them would be a burst.
const AT_ONCE: usize = 200;

/// Log2 of the number of moments in an interval at which checks are due, at most: 64 moments.
const MOMENTS_LOG2: u32 = 6;

/// At most one deadline for each key. A deadline stays until it is taken or cancelled. Deadlines of the same moment
/// come in the order in which they were set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Millis, Key)>", into = "Vec<(Millis, Key)>")]
pub struct Schedule {
    /// No queue is empty. Checks share few moments. So setting a deadline, which happens with each check, is little
    /// more than a push. Removing one searches the queue of its moment, and is rare.
    by_time: BTreeMap<Millis, VecDeque<Key>>,
    /// `None` for a key that was due and has no deadline now: most get one again soon.
    by_key: Lookup<Key, Option<Millis>>,
}

impl From<Vec<(Millis, Key)>> for Schedule {
    fn from(deadlines: Vec<(Millis, Key)>) -> Schedule {
        let mut schedule = Schedule::default();
        for (at, key) in deadlines {
            schedule.set(key, at);
        }
        schedule
    }
}

impl From<Schedule> for Vec<(Millis, Key)> {
    fn from(schedule: Schedule) -> Self {
        let moments = schedule.by_time.into_iter();
        moments
            .flat_map(|(at, keys)| keys.into_iter().map(move |key| (at, key)))
            .collect()
    }
}

impl Schedule {
    /// Sets the deadline of a key, replacing the previous one.
    pub fn set(&mut self, key: Key, at: Millis) {
        if let Some(before) = self.by_key.insert(key.clone(), Some(at)).flatten() {
            self.take_back(&key, before);
        }
        self.by_time.entry(at).or_default().push_back(key);
    }

    /// Sets the deadline of a key unless it is already due earlier.
    pub(crate) fn no_later_than(&mut self, key: Key, at: Millis) {
        match self.by_key.get_mut(&key) {
            Some(Some(present)) if *present <= at => {}
            Some(none @ None) => {
                *none = Some(at);
                self.by_time.entry(at).or_default().push_back(key);
            }
            Some(Some(_)) | None => self.set(key, at),
        }
    }

    /// Forgets a key.
    pub(crate) fn cancel(&mut self, key: &Key) {
        if let Some(at) = self.by_key.remove(key).flatten() {
            self.take_back(key, at);
        }
    }

    fn take_back(&mut self, key: &Key, at: Millis) {
        let Some(keys) = self.by_time.get_mut(&at) else {
            return;
        };
        if let Some(place) = keys.iter().position(|one| one == key) {
            keys.remove(place);
        }
        if keys.is_empty() {
            self.by_time.remove(&at);
        }
    }

    /// Removes and returns a key that is due at `now`, the earliest first.
    pub(crate) fn pop_due(&mut self, now: Millis) -> Option<Key> {
        let mut first = self
            .by_time
            .first_entry()
            .filter(|first| *first.key() <= now)?;
        let key = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        if let Some(deadline) = self.by_key.get_mut(key.as_ref()?) {
            *deadline = None;
        }
        key
    }

    /// The deadline of a key.
    pub(crate) fn at(&self, key: &Key) -> Option<Millis> {
        self.by_key.get(key).copied().flatten()
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.by_time.first_key_value().map(|(at, _)| *at)
    }

    /// The number of moments in an interval at which this many paths are checked: a power of two, so that it seldom
    /// changes.
    #[must_use]
    pub(crate) fn moments(paths: usize) -> u64 {
        1 << (paths / AT_ONCE).max(1).ilog2().min(MOMENTS_LOG2)
    }

    /// The next tick after `now` of a clock that ticks every `interval`, shifted by a phase that depends only on
    /// `name`. Checks of one device coincide, and those of different devices are spread over the `moments` of the
    /// interval. The checks of one moment are sent, and answered, together.
    #[must_use]
    pub(crate) fn tick(now: Millis, interval: Millis, moments: u64, name: &str) -> Millis {
        // FNV-1a. Any fixed function would do, as long as it is the same in every run.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Names that differ only in their last digits give similar hashes, so the hash is mixed once more (the last
        // step of MurmurHash3).
        let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        // The middle of the part of the interval that the hash selects.
        let part = interval.0.checked_div(moments).unwrap_or(interval.0);
        let number = (mixed >> 33).checked_rem(moments).unwrap_or(0);
        let phase = part.saturating_mul(number).saturating_add(part / 2);
        let shifted = now.0.saturating_add(interval.0).saturating_sub(phase);
        let Some(passed) = shifted.checked_rem(interval.0) else {
            return now.after(Millis(1));
        };
        Millis(now.0.saturating_add(interval.0.saturating_sub(passed)))
    }

    /// The number of the turn that contains `at`, for what is done once in `every` instead of with each check. A turn
    /// begins together for all paths that are checked at the same moment of [`Schedule::tick`], because an additional
    /// command for some of them costs as many wake-ups as one for all. Different moments have their turns one after the
    /// other.
    #[must_use]
    pub fn turn(at: Millis, interval: Millis, moments: u64, every: Millis) -> u64 {
        let over = |a: u64, b: u64| a.checked_div(b).unwrap_or(0);
        // A moment is in the middle of its part. A check is never early, but an answer may be late by one part.
        let part = over(interval.0, moments);
        let at = at.0.saturating_sub(part / 2);
        let number = over(at.checked_rem(interval.0).unwrap_or(0), part);
        let round = over(at, interval.0).saturating_add(number);
        over(round, over(every.0, interval.0).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_once() {
        let mut schedule = Schedule::default();
        let (a, b) = (Key::Device("a".into()), Key::Device("b".into()));
        schedule.set(a.clone(), Millis(5));
        schedule.set(b.clone(), Millis(3));
        schedule.no_later_than(b.clone(), Millis(9));
        schedule.no_later_than(a.clone(), Millis(2));
        assert_eq!(schedule.next(), Some(Millis(2)));
        assert_eq!(schedule.pop_due(Millis(1)), None);
        assert_eq!(schedule.pop_due(Millis(4)), Some(a.clone()));
        assert_eq!(schedule.pop_due(Millis(4)), Some(b.clone()));
        assert_eq!(schedule.pop_due(Millis(4)), None);
        schedule.set(a.clone(), Millis(7));
        schedule.set(b.clone(), Millis(7));
        schedule.set(a.clone(), Millis(9));
        schedule.cancel(&b);
        assert_eq!(schedule.next(), Some(Millis(9)));
        schedule.cancel(&a);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn ticks_of_one_name_coincide_and_are_never_now() {
        let interval = Millis(5000);
        for now in [0, 1, 4999, 5000, 123_456] {
            let tick = Schedule::tick(Millis(now), interval, 8, "naa.1");
            assert!(tick.0 > now && tick.0 <= now + 5000);
            assert_eq!(
                tick.0 % 5000,
                Schedule::tick(Millis(7), interval, 8, "naa.1").0 % 5000
            );
        }
    }

    #[test]
    fn entries_of_one_moment_are_due_together() {
        let (interval, every) = (Millis(5000), Millis(60_000));
        for moments in [1, 2, 32] {
            let mut turns = BTreeMap::new();
            for n in 0..200 {
                let name = format!("naa.6001405{n:025x}");
                let mut at = Schedule::tick(Millis(1_000_000), interval, moments, &name);
                let began = |at: Millis| {
                    let turn = |at| Schedule::turn(at, interval, moments, every);
                    turn(at) != turn(Millis(at.0 - 5000))
                };
                // Once a minute; a late step or answer does not change that.
                let ticks: Vec<Millis> = (0..24).map(|n| Millis(at.0 + n * 5000)).collect();
                assert_eq!(ticks.iter().filter(|at| began(**at)).count(), 2);
                for tick in &ticks {
                    let turn =
                        |late| Schedule::turn(Millis(tick.0 + late), interval, moments, every);
                    assert_eq!(turn(0), turn(5000 / moments - 1));
                }
                while !began(at) {
                    at = at.after(interval);
                }
                turns.entry(at.0 % 5000).or_insert_with(Vec::new).push(at.0);
            }
            assert!(
                turns
                    .values()
                    .all(|of_one| of_one.iter().all(|at| *at == of_one[0]))
            );
            let mut rounds: Vec<u64> = turns.values().map(|of_one| of_one[0] / 5000).collect();
            rounds.dedup();
            assert_eq!(rounds.len() as u64, moments);
        }
        assert_eq!(
            Schedule::turn(Millis(300_000), Millis(300_000), 1, every),
            0
        );
        assert_eq!(
            Schedule::turn(Millis(450_000), Millis(300_000), 1, every),
            1
        );
    }

    #[test]
    fn more_paths_have_more_moments() {
        let moments = [0, 1, 399, 400, 799, 800, 4_000, 10_000, 1_000_000].map(Schedule::moments);
        assert_eq!(moments, [1, 1, 1, 2, 2, 4, 16, 32, 64]);
        for count in [1, 2, 8] {
            let mut moments = BTreeMap::new();
            for n in 0..1000 {
                let name = format!("naa.6001405{n:025x}");
                let tick = Schedule::tick(Millis(0), Millis(5000), count, &name);
                *moments.entry(tick.0).or_insert(0_u64) += 1;
            }
            assert_eq!(moments.len() as u64, count);
            let even = 1000 / count;
            let near = even / 2..=even * 3 / 2;
            assert!(moments.values().all(|n| near.contains(n)), "{moments:?}");
        }
    }
}
