//! What an admin may change while the agent runs, and why a change is refused.
//!
//! Each change is checked and applied in `psa/changes`.

use crate::psa::adapter::RuntimeName;
use crate::psa::claim::Match;
use crate::psa::mpp::Plugin;
use crate::psa::names::DeviceId;
use crate::psa::psp::PspKind;
use crate::psa::settings::{DeviceSettings, RoundRobin};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What rules that are now in force would decide differently, if what is claimed were claimed by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RulesEffect {
    /// The number of claimed paths that would get another plug-in.
    pub paths: usize,
    /// The number of claimed devices that would get another SATP, PSP or options.
    pub devices: usize,
}

impl fmt::Display for RulesEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RulesEffect { paths, devices } = self;
        if (*paths, *devices) == (0, 0) {
            return f.write_str(
                "the rules are in force; they change nothing for claimed paths and devices",
            );
        }
        write!(
            f,
            "the rules are in force; they would change {paths} claimed paths and {devices} claimed devices: \
             `psactl storage core claiming reclaim -d DEVICE` applies them, or `claiming unclaim` and `claimrule run`"
        )
    }
}

/// A change. Devices are named by their device id, paths by their runtime name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// `nmp device set --psp`; `None` returns to the PSP of the rule or SATP.
    Psp {
        /// The device.
        device: DeviceId,
        /// Its PSP.
        psp: Option<PspKind>,
    },
    /// `nmp psp fixed deviceconfig set`; `None` lets the PSP choose again.
    Preferred {
        /// The device.
        device: DeviceId,
        /// The preferred path.
        path: Option<RuntimeName>,
    },
    /// `nmp psp roundrobin deviceconfig set`: fields that are given replace the settings so far.
    RoundRobin {
        /// The device.
        device: DeviceId,
        /// What is set.
        set: RoundRobin,
    },
    /// `hpp device set`: fields that are given replace the settings so far.
    Hpp {
        /// The device.
        device: DeviceId,
        /// What is set.
        set: Box<DeviceSettings>,
        /// Let HPP choose the path again.
        no_preferred: bool,
    },
    /// `nmp psp generic pathconfig set --config rank=N`
    Rank {
        /// The path.
        path: RuntimeName,
        /// Higher is better; 0 is the default.
        rank: i32,
    },
    /// `core path set --state`
    PathState {
        /// The path.
        path: RuntimeName,
        /// `true` is `off`, `false` is `active`.
        off: bool,
        /// Whether the state is stored; otherwise it is forgotten when the path is removed, or when the agent ends.
        #[serde(default = "yes")]
        persist: bool,
    },
    /// `core device set --state`
    DeviceState {
        /// The device.
        device: DeviceId,
        /// `true` is `off`, `false` is `on`.
        off: bool,
        /// Whether the state is stored; otherwise it is forgotten when the agent ends.
        persist: bool,
    },
    /// Removes the map of a device as soon as nobody has it open. The device gets no map until all its paths are gone, or
    /// until it is turned on.
    Flush {
        /// The device.
        device: DeviceId,
    },
    /// Reads the facts of the paths of a device again: their sizes have changed, and udev may be late to report it.
    Refresh {
        /// The device.
        device: DeviceId,
    },
    /// `core device set --name`
    DeviceName {
        /// The device.
        device: DeviceId,
        /// The display name; `None` returns to the default name.
        name: Option<String>,
        /// Whether the name is stored; otherwise it is forgotten when the agent ends.
        persist: bool,
    },
    /// `core device setconfig`: fields that are given replace the settings so far.
    DeviceFlags {
        /// The device.
        device: DeviceId,
        /// Another host holds a reservation permanently.
        perennially_reserved: Option<bool>,
        /// Other hosts use it too.
        shared_clusterwide: Option<bool>,
    },
    /// `core device detached remove`
    RemoveDetached {
        /// Its id; the device need not be present. `None` means all devices that are off.
        device: Option<DeviceId>,
    },
    /// `nmp satp generic deviceconfig set`
    Satp {
        /// The device.
        device: DeviceId,
        /// One of `SATP_WORDS`.
        name: String,
        /// Whether it is enabled.
        on: bool,
    },
    /// `core claiming unclaim`
    Unclaim(Scope),
    /// `core claimrule run`, on all unclaimed paths or on some
    RunRules(Option<Scope>),
    /// `core claiming autoclaim`: whether unclaimed paths are claimed automatically: new ones when they are found,
    /// others every `claim_interval_ms`.
    Autoclaim {
        /// Whether they are.
        on: bool,
    },
    /// `core claiming reclaim`
    Reclaim {
        /// The device.
        device: DeviceId,
    },
    /// `core device queueing end`: I/O that waits for a path fails now.
    EndQueueing {
        /// The device.
        device: DeviceId,
    },
}

/// What `satp generic deviceconfig set` can enable and disable: the name of the option (as in
/// `enable_alua_followover`), its name in the device config, and what it means here.
pub(crate) const SATP_WORDS: [(&str, &str, &str); 3] = [
    (
        "explicit_alua",
        "explicit_allow",
        "stored and shown; the kernel's device handler activates groups, and only if no optimized group is left",
    ),
    (
        "alua_followover",
        "alua_followover",
        "stored and shown; changes by the array or another host are always followed here",
    ),
    (
        "action_OnRetryErrors",
        "action_OnRetryErrors",
        "stored and shown; a path that passes checks but fails I/O is always held back here",
    ),
];

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such device or path.
    NotFound(String),
    /// It would do harm, or makes no sense: the reason, and what to do instead.
    Refused(String),
}

/// Which paths are affected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Those that a claim rule with these attributes would match.
    Matching(Match),
    /// Those of a plug-in.
    Plugin(Plugin),
    /// One, by its runtime name.
    Path(String),
    /// Those of a device, by its id.
    Device(DeviceId),
}

/// For journals of before: everything that an admin turned off was stored.
fn yes() -> bool {
    true
}
