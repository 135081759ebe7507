//! The failures of a path, and from when on it can be trusted again.

use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};

/// The last path that serves is held back for at most this time after the kernel failed it.
pub(in crate::psa) const LAST_PATH_HOLD: Millis = Millis(1_000);

/// A path that relapsed ends an outage only when it has carried I/O for this long. Until then I/O waits for it, and
/// fails immediately if it still does not work.
const SHOWN: Millis = Millis(10_000);

/// A path has relapsed if the kernel fails it again within this time after checks found it good. A command that gets no
/// answer fails 30 s after it was sent, and error recovery takes additional time.
pub(in crate::psa) const RELAPSE_WINDOW: Millis = Millis(60_000);

/// The shortest and the longest time for which a relapsing path is held back.
const HOLD_FIRST: Millis = Millis(500);

const HOLD_LONGEST: Millis = Millis(60_000);

/// While other paths serve, a marginal path that failed is reinstated only after it has worked for this long. Otherwise
/// each failure and each return would send a message, as often as the path flaps.
const HELD_BACK: Millis = Millis::from_secs(5);

/// Why a path is marginal, and since when it has worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marginal {
    /// Why, as text for the user.
    pub reason: String,
    /// When it was last seen down; for a port whose state is marginal, when that state was last seen.
    pub last: Millis,
}

/// What checks say about a path that the kernel failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::psa) enum Recheck {
    /// I/O failed, but checks find the path good, or would after activation.
    Passed,
    /// Another host took over the unit, and this host can have it activated here: nothing is wrong with the path.
    AwaitsActivation,
    /// The check agrees with the kernel.
    Failed,
}

/// The failures of a path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failures {
    /// When the kernel failed it, until a check that was sent later has a result.
    suspect_since: Option<Millis>,
    /// When the kernel failed it last.
    failed_at: Millis,
    /// Since when it has not served I/O.
    down_since: Option<Millis>,
    /// How often the kernel failed it again although checks had found it good.
    relapses: u32,
    /// When a check last found it good after the kernel had failed it; 0 means never. If the kernel fails it again soon
    /// after that, it has relapsed.
    passed_at: Millis,
    /// It is not reinstated before this time, because of its relapses.
    hold_until: Millis,
    /// The times of its last failures, at most as many as make it marginal.
    recent: Vec<Millis>,
    /// Set while it is marginal.
    marginal: Option<Marginal>,
}

impl Failures {
    /// The kernel failed the path because I/O on it failed. A path that checks find good while I/O on it fails must not
    /// flap: each relapse doubles the wait.
    pub(in crate::psa) fn failed_by_kernel(&mut self, now: Millis) {
        self.suspect_since = Some(now);
        self.failed_at = now;
        let trusted_at = self.passed_at.max(self.hold_until);
        if self.passed_at != Millis(0) && now.since(trusted_at) < RELAPSE_WINDOW {
            self.relapses = self.relapses.saturating_add(1);
            let pause = HOLD_FIRST.0.saturating_mul(1 << self.relapses.min(8));
            self.hold_until = now.after(Millis(pause.min(HOLD_LONGEST.0)));
        } else {
            self.relapses = 0;
        }
    }

    /// A check that was sent after the kernel failed the path has a result. Without such a failure, nothing changes.
    pub(in crate::psa) fn rechecked(&mut self, result: Recheck, now: Millis) {
        if self.suspect_since.take().is_none() {
            return;
        }
        match result {
            // If I/O fails again, the path has relapsed.
            Recheck::Passed => self.passed_at = now,
            // It has not relapsed if it fails again: the takeover budget decides when it is tried.
            Recheck::AwaitsActivation => {
                self.passed_at = Millis(0);
                self.relapses = 0;
            }
            // That is no relapse, but earlier relapses are not over either.
            Recheck::Failed => {}
        }
    }

    /// Whether a check that was sent at this time says nothing about the path now, because the kernel failed it since.
    pub(in crate::psa) fn is_outdated(&self, sent: Millis) -> bool {
        self.suspect_since.is_some_and(|since| sent < since)
    }

    /// When the kernel failed it, if no check has had a result since.
    pub(in crate::psa) fn suspect_since(&self) -> Option<Millis> {
        self.suspect_since
    }

    /// The path was judged: it serves I/O or is kept out of use on purpose, or it is down.
    pub(super) fn judged(&mut self, is_fine: bool, now: Millis) {
        self.down_since = if is_fine {
            None
        } else {
            Some(self.down_since.unwrap_or(now))
        };
    }

    /// Since when it has not served I/O.
    pub(in crate::psa) fn down_since(&self) -> Option<Millis> {
        self.down_since
    }

    /// When the kernel failed it last; 0 means never.
    pub(in crate::psa) fn failed_at(&self) -> Millis {
        self.failed_at
    }

    /// How often the kernel failed it again although checks had found it good.
    pub(in crate::psa) fn relapses(&self) -> u32 {
        self.relapses
    }

    /// It is not reinstated before this time, because of its relapses.
    pub(in crate::psa) fn hold_until(&self) -> Millis {
        self.hold_until
    }

    /// Whether the path failed I/O again after it was reinstated, and has not yet shown that it carries I/O.
    pub(in crate::psa) fn is_relapsing(&self, now: Millis) -> bool {
        self.relapses > 0 && now < self.relapsing_until()
    }

    /// Until when a path that relapsed has to carry I/O to have shown that it works.
    pub(in crate::psa) fn relapsing_until(&self) -> Millis {
        self.failed_at.after(LAST_PATH_HOLD).after(SHOWN)
    }

    /// The path stopped serving. Returns the number of failures within the window when they are `most`, as many as make
    /// a path marginal.
    pub(in crate::psa) fn counted(
        &mut self,
        now: Millis,
        window: Millis,
        most: u32,
    ) -> Option<usize> {
        self.recent.retain(|at| now.since(*at) < window);
        self.recent.push(now);
        let count = self.recent.len();
        if count < usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        self.recent.remove(0);
        Some(count)
    }

    /// The path becomes marginal.
    pub(in crate::psa) fn turn_marginal(&mut self, reason: String, now: Millis) {
        self.marginal = Some(Marginal { reason, last: now });
    }

    /// What makes a marginal path marginal was seen again. It may not have been trusted since the last failure, and so
    /// may not have failed again.
    pub(in crate::psa) fn still_marginal(&mut self, now: Millis) {
        if let Some(marginal) = &mut self.marginal {
            marginal.last = now;
        }
    }

    /// A marginal path has worked for long enough.
    pub(in crate::psa) fn recovered(&mut self) {
        self.marginal = None;
        self.recent.clear();
    }

    /// Why it is marginal; `None` if it is not.
    #[must_use]
    pub fn marginal(&self) -> Option<&Marginal> {
        self.marginal.as_ref()
    }

    /// Whether the path is marginal because it fails and returns, and is being observed for that.
    pub(in crate::psa) fn is_on_trial(&self) -> bool {
        self.marginal.is_some() && !self.recent.is_empty()
    }

    /// The path is not reinstated before this time while other paths serve.
    pub(in crate::psa) fn held_until(&self) -> Millis {
        self.tried_until().max(self.hold_until)
    }

    /// The part of [`Failures::held_until`] that is due to the path being marginal.
    pub(in crate::psa) fn tried_until(&self) -> Millis {
        let trial = self.marginal.as_ref().filter(|_| self.is_on_trial());
        trial.map_or(Millis(0), |marginal| marginal.last.after(HELD_BACK))
    }

    /// Whether nothing speaks against the path.
    pub(super) fn is_clean(&self) -> bool {
        self.suspect_since.is_none() && self.down_since.is_none() && self.marginal.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_relapse_doubles_the_hold() {
        let mut failures = Failures::default();
        let mut now = Millis(1_000);
        failures.failed_by_kernel(now);
        assert_eq!((failures.relapses(), failures.hold_until()), (0, Millis(0)));
        let mut holds = Vec::new();
        for _ in 0..9 {
            failures.rechecked(Recheck::Passed, now);
            now = now.max(failures.hold_until()).after(Millis(100));
            failures.failed_by_kernel(now);
            holds.push(failures.hold_until().since(now).0);
        }
        assert_eq!(
            holds,
            [
                1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000
            ]
        );
        // It worked for longer than the window: the next failure is the first again.
        failures.rechecked(Recheck::Passed, now);
        failures.failed_by_kernel(failures.hold_until().after(RELAPSE_WINDOW));
        assert_eq!(failures.relapses(), 0);
    }

    #[test]
    fn only_a_path_that_passed_its_check_relapses() {
        let after = |recheck| {
            let mut failures = Failures::default();
            failures.failed_by_kernel(Millis(1_000));
            failures.rechecked(recheck, Millis(2_000));
            assert_eq!(failures.suspect_since(), None);
            failures.failed_by_kernel(Millis(3_000));
            failures.relapses()
        };
        assert_eq!(after(Recheck::Passed), 1);
        assert_eq!(after(Recheck::AwaitsActivation), 0);
        assert_eq!(after(Recheck::Failed), 0);
        // Without a failure by the kernel, checks say nothing here.
        let mut failures = Failures::default();
        failures.rechecked(Recheck::Passed, Millis(2_000));
        assert_eq!(failures, Failures::default());
    }

    #[test]
    fn as_many_failures_as_set_make_a_path_marginal_within_the_window() {
        let window = Millis(10_000);
        let mut failures = Failures::default();
        let mut count = |at| failures.counted(Millis(at), window, 3);
        assert_eq!([count(0), count(4_000), count(11_000)], [None, None, None]);
        assert_eq!([count(12_000), count(12_500)], [Some(3), Some(3)]);
    }
}
