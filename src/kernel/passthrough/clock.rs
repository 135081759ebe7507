//! The time of a transport.

use crate::psa::units::Millis;
use std::time::Instant;

/// The origin of a transport's time.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) struct Clock(Instant);

impl Clock {
    pub(in crate::kernel) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(in crate::kernel) fn now(self) -> Millis {
        Millis::from(self.0.elapsed())
    }
}
