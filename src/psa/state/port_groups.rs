//! The target port groups of a device, as its paths reported them.

use crate::psa::evidence::PortGroup;
use crate::psa::units::Millis;
use crate::scsi::tpgs::{AccessState, TargetPortGroup, TargetPortGroups};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A group that changes its state is given this much time, if the array does not report a time of its own. It is as
/// long as the kernel's handler waits (`ALUA_FAILOVER_TIMEOUT`).
pub(in crate::psa) const TRANSITION: Millis = Millis::from_secs(60);

/// The groups by identifier, and the report that they are from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PortGroups {
    groups: BTreeMap<u16, PortGroup>,
    /// The report as it came in; an identical report changes nothing. Empty if not all of it was taken.
    report: Vec<u8>,
    /// The longest time that a change of access states takes, according to the report.
    transition: Option<Millis>,
}

/// What a report changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::psa) struct Changes {
    /// Changes of access states, as text: `1:AO->SB`.
    pub(in crate::psa) states: Vec<String>,
    /// A group is changing its state.
    pub(in crate::psa) transitioning: bool,
    /// Anything differs from before.
    pub(in crate::psa) differs: bool,
}

impl PortGroups {
    /// The groups by identifier.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<u16, PortGroup> {
        &self.groups
    }

    /// A group by its identifier.
    #[must_use]
    pub fn get(&self, id: u16) -> Option<&PortGroup> {
        self.groups.get(&id)
    }

    /// Whether no report was read yet.
    pub(in crate::psa) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The report as it came in.
    pub(in crate::psa) fn report(&self) -> &[u8] {
        &self.report
    }

    /// The longest time that a change of access states takes; `None` before the first report.
    pub(in crate::psa) fn transition(&self) -> Option<Millis> {
        self.transition
    }

    /// Whether this report is byte for byte the one before, and no group is changing its state.
    pub(in crate::psa) fn repeats(&self, report: &[u8]) -> bool {
        let mut states = self.groups.values().map(|group| group.access);
        self.report == report && !states.any(|access| access == AccessState::Transitioning)
    }

    /// Takes a report, given parsed and as it came in, except for the groups that are `withheld`.
    pub(in crate::psa) fn take(
        &mut self,
        report: &TargetPortGroups,
        data: &[u8],
        withheld: impl Fn(u16) -> bool,
    ) -> Changes {
        self.transition = Some(match report.implicit_transition_time {
            None | Some(0) => TRANSITION,
            Some(seconds) => Millis::from_secs(seconds.into()),
        });
        if report.groups.iter().any(|group| withheld(group.id)) {
            self.report.clear();
        } else {
            data.clone_into(&mut self.report);
        }
        let mut changes = Changes::default();
        let taken = |group: &&TargetPortGroup| !withheld(group.id);
        for group in report.groups.iter().filter(taken) {
            let before = self.groups.get(&group.id);
            let settled = match group.access_state {
                AccessState::Transitioning => before.and_then(|b| b.settled),
                access => Some(access),
            };
            changes.transitioning |= group.access_state == AccessState::Transitioning;
            if before.map(|b| b.access) != Some(group.access_state) {
                let from = before.map_or("unknown", |b| b.access.short());
                let to = group.access_state.short();
                changes.states.push(format!("{}:{from}->{to}", group.id));
            }
            let now = PortGroup {
                access: group.access_state,
                settled,
                preferred: group.preferred,
                status_code: group.status_code,
            };
            changes.differs |= before != Some(&now);
            self.groups.insert(group.id, now);
        }
        changes
    }
}
