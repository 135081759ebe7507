//! Outages: devices whose map has no usable path, since when, and what of that an earlier agent saw.
//!
//! What an outage leads to is decided in `psa/reconcile/apd.rs`.

use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Outages of devices, by WWID: those under way, and those of the agent before that were not decided upon yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Outages(BTreeMap<String, Outage>);

/// No usable path since a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::psa) struct Outage {
    /// When it began, or when this agent started.
    pub(in crate::psa) since: Millis,
    /// How long it had lasted before this agent started.
    pub(in crate::psa) before: Millis,
}

impl Outage {
    pub(in crate::psa) fn lasted(self, now: Millis) -> Millis {
        now.since(self.since).after(self.before)
    }
}

/// All paths down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Apd {
    /// At least one path may serve I/O.
    No,
    /// None does, and I/O is queued until the deadline.
    Waiting {
        /// Since when.
        since: Millis,
        /// Until when.
        deadline: Millis,
    },
    /// The deadline passed, and I/O fails until a path returns.
    TimedOut {
        /// Since when no path serves I/O.
        since: Millis,
    },
    /// Every path says that the logical unit is gone for good (PDL): I/O fails.
    Lost {
        /// Since when.
        since: Millis,
    },
}

impl Outages {
    /// The outage of a device.
    pub(in crate::psa) fn of(&self, wwid: &str) -> Option<Outage> {
        self.0.get(wwid).copied()
    }

    pub(in crate::psa) fn insert(&mut self, wwid: &str, outage: Outage) {
        self.0.insert(wwid.to_owned(), outage);
    }

    /// Whether there was one.
    pub(in crate::psa) fn remove(&mut self, wwid: &str) -> bool {
        self.0.remove(wwid).is_some()
    }

    /// Takes in what an agent before this one had under way, and how long each had lasted when this one started.
    pub(in crate::psa) fn recall(&mut self, lasted: &BTreeMap<String, Millis>, now: Millis) {
        let outages = lasted.iter().map(|(wwid, before)| {
            let (since, before) = (now, *before);
            (wwid.clone(), Outage { since, before })
        });
        self.0.extend(outages);
    }

    /// Forgets those of other devices; whether there were some.
    pub(in crate::psa) fn retain(&mut self, keep: impl Fn(&str) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|wwid, _| keep(wwid));
        self.0.len() != before
    }

    /// How long each has lasted.
    pub(in crate::psa) fn lasted(&self, now: Millis) -> BTreeMap<String, Millis> {
        let each = self.0.iter();
        each.map(|(wwid, outage)| (wwid.clone(), outage.lasted(now)))
            .collect()
    }
}
