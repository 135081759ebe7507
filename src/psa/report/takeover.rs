//! Output about takeover budgets: lines of `explain`, of the device config, and of metrics.

use crate::psa::evidence::PathState;
use crate::psa::reconcile::view;
use crate::psa::satp::by_name;
use crate::psa::state::World;
use crate::psa::state::device::Device;
use crate::psa::state::path::Path;
use crate::psa::takeover::{CONTESTED, Grant};

impl World {
    /// What a device is waiting for, for an admin; empty if it is not waiting.
    pub(in crate::psa) fn takeover_lines(&self, device: &Device) -> Vec<String> {
        let takeover = &device.takeover;
        let mut lines = Vec::new();
        match takeover.grant() {
            _ if self.is_served(device) => {}
            Grant::NotBefore(at) => lines.push(format!(
                "the controller that serves the unit is not reachable by any path: the unit is not taken over for another {} ms, and I/O is queued",
                at.since(self.now).0
            )),
            Grant::Unused => lines.push(
                "the controller that serves the unit is not reachable by any path, and nobody has the map open: the unit is taken over when the map is opened".to_owned(),
            ),
            Grant::Asking => lines.push("its paths stopped serving: checks find out which controller serves the unit".to_owned()),
            Grant::Ordered => lines.push("the controller that serves the unit is not reachable by any path: the unit is being taken over".to_owned()),
            Grant::Now => {}
        }
        if takeover.ordered() > 0 || takeover.seen() > 0 {
            lines.push(format!(
                "since the agent started, this host had the array move the unit {} times, and others {} times",
                takeover.ordered(), takeover.seen()
            ));
        }
        if takeover.losses() >= CONTESTED {
            lines.push(
                "another host needs the unit on the other controller: give all hosts access to both controllers (cabling, zoning)".to_owned(),
            );
        }
        lines
    }

    /// The budget as one of the configuration strings of a device; `None` if there is nothing to say.
    pub(in crate::psa) fn takeover_config(&self, device: &Device) -> Option<String> {
        let takeover = &device.takeover;
        let state = match takeover.grant() {
            _ if self.is_served(device) => "idle".to_owned(),
            Grant::NotBefore(at) => {
                format!("waiting {} s", at.since(self.now).0.div_ceil(1000))
            }
            Grant::Unused => "when opened".to_owned(),
            Grant::Ordered => "ordered".to_owned(),
            Grant::Asking | Grant::Now => "idle".to_owned(),
        };
        let (ordered, seen) = (takeover.ordered(), takeover.seen());
        let silent = state == "idle" && ordered == 0 && seen == 0;
        (!silent).then(|| format!("{{takeover={state};ordered={ordered};seen={seen}}}"))
    }

    /// Whether I/O of a device is queued until its unit may be moved.
    pub(in crate::psa) fn waits_for_takeover(&self, device: &Device) -> bool {
        matches!(device.takeover.grant(), Grant::NotBefore(_)) && !self.is_served(device)
    }

    /// Whether a path of a device serves, or no path waits for activation.
    fn is_served(&self, device: &Device) -> bool {
        let waits = |path: &Path| {
            path.state() == PathState::Standby && view::can_activate(self, path.facts().hctl)
        };
        self.paths_of(device).any(|path| path.state().serves_io())
            || !self.paths_of(device).any(waits)
    }
}

/// Whether an admin's rescan may make the kernel read the disk of a path again, given the state and SATP from listings.
#[must_use]
pub(crate) fn may_reread(state: &str, satp: Option<&str>) -> bool {
    let exclusive = satp
        .and_then(by_name)
        .is_none_or(|satp| satp.is_exclusive());
    !(exclusive && state == PathState::Standby.as_str())
}
