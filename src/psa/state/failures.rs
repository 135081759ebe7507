//! Questions about a path that failed and returned: whether it may be believed.

use crate::psa::state::path::Path;
use crate::psa::units::Millis;

/// The last path that serves is not held back longer than this after the kernel failed it.
pub(in crate::psa) const LAST_PATH_HOLD: Millis = Millis(1_000);

/// A path that relapsed ends an outage when it has carried I/O for this long: I/O waits for it, and fails at once if it
/// still does not work.
const SHOWN: Millis = Millis(10_000);

impl Path {
    /// Whether it failed I/O again after it had been reinstated, and has yet to show that it carries I/O.
    pub(in crate::psa) fn is_relapsing(&self, now: Millis) -> bool {
        self.relapses > 0 && now < self.relapsing_until()
    }

    pub(in crate::psa) fn relapsing_until(&self) -> Millis {
        self.failed_at.after(LAST_PATH_HOLD).after(SHOWN)
    }

    /// Whether its access state has been changing for longer than the array should take.
    pub(in crate::psa) fn is_transition_overdue(&self, now: Millis) -> bool {
        self.transition_until.is_some_and(|until| until <= now)
    }
}

/// A path that the kernel fails again within this time after checks found it well has relapsed: a command that gives no
/// answer fails 30 s after it was sent, and error recovery takes its time.
pub(in crate::psa) const RELAPSE_WINDOW: Millis = Millis(60_000);

/// A marginal path that failed is not reinstated before it has worked for so long, while others serve: it would fail and
/// return by a message each as often as it flaps.
const HELD_BACK: Millis = Millis::from_secs(5);

impl Path {
    /// Whether it is marginal because it fails and returns, and is looked at for that.
    pub(in crate::psa) fn is_on_trial(&self) -> bool {
        self.marginal.is_some() && !self.failures.is_empty()
    }

    /// Not to be reinstated before, while others serve.
    pub(in crate::psa) fn held_until(&self) -> Millis {
        self.tried_until().max(self.hold_until)
    }

    /// What of that is because it is marginal.
    pub(in crate::psa) fn tried_until(&self) -> Millis {
        let trial = self.marginal.as_ref().filter(|_| self.is_on_trial());
        trial.map_or(Millis(0), |marginal| marginal.last.after(HELD_BACK))
    }
}
