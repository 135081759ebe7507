//! Outages: devices whose map has no usable path, since when, and which of them a previous agent saw.
//!
//! `psa/reconcile/apd.rs` decides what follows from an outage.

use crate::psa::names::Wwid;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Outages of devices by WWID: those in progress, and those of the previous agent that were not acted upon yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Outages(BTreeMap<Wwid, Outage>);

/// An outage: no usable path since a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::psa) struct Outage {
    /// When it began, or when this agent started.
    pub(in crate::psa) since: Millis,
    /// How long it had already lasted when this agent started.
    pub(in crate::psa) before: Millis,
}

impl Outage {
    pub(in crate::psa) fn lasted(self, now: Millis) -> Millis {
        now.since(self.since).after(self.before)
    }
}

/// Whether all paths are down (APD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Apd {
    /// At least one path may serve I/O.
    No,
    /// No path does, and I/O is queued until the deadline.
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
    /// Every path reports that the logical unit is gone permanently (PDL): I/O fails.
    Lost {
        /// Since when.
        since: Millis,
    },
}

/// How the map of a device treats I/O while no path serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::psa) struct Queueing {
    apd: Apd,
    ended: bool,
    served: bool,
}

impl Default for Queueing {
    fn default() -> Queueing {
        Queueing {
            apd: Apd::No,
            ended: false,
            served: false,
        }
    }
}

impl Queueing {
    /// Whether all paths are down.
    pub(in crate::psa) fn apd(&self) -> Apd {
        self.apd
    }

    /// An admin ended queueing. It is in effect until a path serves I/O again.
    pub(in crate::psa) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether an admin ended queueing.
    pub(in crate::psa) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether a path served I/O since the agent started.
    pub(in crate::psa) fn has_served(&self) -> bool {
        self.served
    }

    /// Whether I/O that finds no path fails.
    pub(in crate::psa) fn fails(&self) -> bool {
        matches!(self.apd, Apd::TimedOut { .. } | Apd::Lost { .. })
    }

    /// The paths were looked at: the state of the outage, whether a path serves, and whether the admin's end of queueing
    /// is still in effect.
    pub(in crate::psa) fn update(&mut self, apd: Apd, serves: bool, ended: bool) {
        self.apd = apd;
        self.served |= serves;
        self.ended = ended;
    }
}

impl Outages {
    /// The outage of a device.
    pub(in crate::psa) fn of(&self, wwid: &Wwid) -> Option<Outage> {
        self.0.get(wwid).copied()
    }

    pub(in crate::psa) fn insert(&mut self, wwid: &Wwid, outage: Outage) {
        self.0.insert(wwid.to_owned(), outage);
    }

    /// Ends the outage of a device. Returns whether there was one.
    pub(in crate::psa) fn remove(&mut self, wwid: &Wwid) -> bool {
        self.0.remove(wwid).is_some()
    }

    /// Records the outages that a previous agent had in progress, with the time each had lasted when this agent
    /// started.
    pub(in crate::psa) fn recall(&mut self, lasted: &BTreeMap<Wwid, Millis>, now: Millis) {
        let outages = lasted.iter().map(|(wwid, before)| {
            let (since, before) = (now, *before);
            (wwid.clone(), Outage { since, before })
        });
        self.0.extend(outages);
    }

    /// Forgets the outages of devices for which `keep` returns `false`. Returns whether there were any.
    pub(in crate::psa) fn retain(&mut self, keep: impl Fn(&Wwid) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|wwid, _| keep(wwid));
        self.0.len() != before
    }

    /// How long each outage has lasted.
    pub(in crate::psa) fn lasted(&self, now: Millis) -> BTreeMap<Wwid, Millis> {
        let each = self.0.iter();
        each.map(|(wwid, outage)| (wwid.clone(), outage.lasted(now)))
            .collect()
    }
}
