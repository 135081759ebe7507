//! What the array reports about the access to a logical unit through one of its ports.

use crate::psa::units::Millis;
use crate::scsi::ownership::Ownership;
use serde::{Deserialize, Serialize};

/// The port of a path, and the relation of its controller to the logical unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Access {
    /// Target port group, from VPD page 83h.
    port_group: Option<u16>,
    /// Relative target port, from VPD page 83h.
    relative_port: Option<u16>,
    /// The relation of the controller to the logical unit, where the array has a page for that.
    ownership: Option<Ownership>,
    /// When it, or another port of its group, last reported the states of the port groups.
    reported_at: Option<Millis>,
    /// Why its last report could not be read.
    problem: Option<String>,
    /// While the access state is changing: when the change should have ended.
    transition_until: Option<Millis>,
}

impl Access {
    /// The path proved its identity, by a page that also names its port.
    pub(in crate::psa) fn proven(&mut self, port_group: Option<u16>, relative_port: Option<u16>) {
        self.port_group = port_group;
        self.relative_port = relative_port;
    }

    /// The path leads to another logical unit now: what was known referred to the previous one.
    pub(in crate::psa) fn forget(&mut self) {
        self.port_group = None;
        self.ownership = None;
        self.reported_at = None;
    }

    /// Target port group.
    pub(in crate::psa) fn port_group(&self) -> Option<u16> {
        self.port_group
    }

    /// Relative target port.
    pub(in crate::psa) fn relative_port(&self) -> Option<u16> {
        self.relative_port
    }

    /// The relation of the controller to the logical unit.
    pub(in crate::psa) fn ownership(&self) -> Option<Ownership> {
        self.ownership
    }

    /// The page that names the owning controller was read.
    pub(in crate::psa) fn owned(&mut self, ownership: Ownership) {
        self.ownership = Some(ownership);
        self.problem = None;
    }

    /// A report could not be read. Returns whether that is new.
    pub(in crate::psa) fn unreadable(&mut self, why: &str) -> bool {
        if self.problem.as_deref() == Some(why) {
            return false;
        }
        self.problem = Some(why.to_owned());
        true
    }

    /// A report of the port groups could be read.
    pub(in crate::psa) fn readable(&mut self) {
        self.problem = None;
    }

    /// Why its last report could not be read.
    #[must_use]
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// It, or another port of its group, reported the states of the port groups.
    pub(in crate::psa) fn reported(&mut self, now: Millis) {
        self.reported_at = Some(now);
    }

    /// When it, or another port of its group, last reported the states of the port groups.
    pub(in crate::psa) fn reported_at(&self) -> Option<Millis> {
        self.reported_at
    }

    /// The access state is changing until this time, or not at all.
    pub(in crate::psa) fn set_transition(&mut self, until: Option<Millis>) {
        self.transition_until = until;
    }

    /// While the access state is changing: when the change should have ended.
    pub(in crate::psa) fn transition_until(&self) -> Option<Millis> {
        self.transition_until
    }

    /// Whether the access state has been changing for longer than the array should need.
    pub(in crate::psa) fn is_transition_overdue(&self, now: Millis) -> bool {
        self.transition_until.is_some_and(|until| until <= now)
    }
}
