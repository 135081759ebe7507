//! Decides whether a path that failed and returned can be trusted.

use crate::psa::state::path::Path;
use crate::psa::units::Millis;

/// The last path that serves is held back for at most this time after the kernel failed it.
pub(in crate::psa) const LAST_PATH_HOLD: Millis = Millis(1_000);

/// A path that relapsed ends an outage only when it has carried I/O for this long. Until then I/O waits for it, and
/// fails immediately if it still does not work.
const SHOWN: Millis = Millis(10_000);

impl Path {
    /// Whether the path failed I/O again after it was reinstated, and has not yet shown that it carries I/O.
    pub(in crate::psa) fn is_relapsing(&self, now: Millis) -> bool {
        self.relapses > 0 && now < self.relapsing_until()
    }

    pub(in crate::psa) fn relapsing_until(&self) -> Millis {
        self.failed_at.after(LAST_PATH_HOLD).after(SHOWN)
    }

    /// Whether the access state has been changing for longer than the array should need.
    pub(in crate::psa) fn is_transition_overdue(&self, now: Millis) -> bool {
        self.transition_until.is_some_and(|until| until <= now)
    }
}

/// A path has relapsed if the kernel fails it again within this time after checks found it good. A command that gets no
/// answer fails 30 s after it was sent, and error recovery takes additional time.
pub(in crate::psa) const RELAPSE_WINDOW: Millis = Millis(60_000);

/// While other paths serve, a marginal path that failed is reinstated only after it has worked for this long. Otherwise
/// each failure and each return would send a message, as often as the path flaps.
const HELD_BACK: Millis = Millis::from_secs(5);

impl Path {
    /// Whether the path is marginal because it fails and returns, and is being observed for that.
    pub(in crate::psa) fn is_on_trial(&self) -> bool {
        self.marginal.is_some() && !self.failures.is_empty()
    }

    /// The path is not reinstated before this time while other paths serve.
    pub(in crate::psa) fn held_until(&self) -> Millis {
        self.tried_until().max(self.hold_until)
    }

    /// The part of [`Path::held_until`] that is due to the path being marginal.
    pub(in crate::psa) fn tried_until(&self) -> Millis {
        let trial = self.marginal.as_ref().filter(|_| self.is_on_trial());
        trial.map_or(Millis(0), |marginal| marginal.last.after(HELD_BACK))
    }
}
