//! What the admin may set, with the defaults and their reasons. `config/` reads it from TOML.

use super::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All settings of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Between two checks of a healthy path. ESXi's `Disk.PathEvalTime` is 300 s; Linux admins expect 5 s.
    pub check_interval_ms: Millis,
    /// Between two checks of a path that failed less than `retry_backoff_after_ms` ago. Half a second keeps
    /// "path back" to "path in use" below one second.
    pub retry_interval_ms: Millis,
    /// After this long a failed path is checked only every `check_interval_ms`.
    pub retry_backoff_after_ms: Millis,
    /// The kernel's timer for one check command. On its expiry the command is aborted, and an abort that fails
    /// starts error recovery of the whole HBA, so this is generous; `check_deadline_ms` is what decides.
    pub check_timeout_ms: Millis,
    /// After this long without an answer the path counts as giving no answer, though the command is still out.
    pub check_deadline_ms: Millis,
    /// How long an open map queues I/O with all paths down: ESXi's `Misc.APDTimeout`, 20..=99999 s there.
    pub apd_timeout_ms: Millis,
    /// A new device waits this long after its last path joined before its map is made, so that one table holds
    /// all its paths.
    pub settle_ms: Millis,
    /// A changed grouping waits this long before the table is reloaded: arrays pass through intermediate
    /// states while they move a logical unit, and a switch of groups by message has served the I/O meanwhile.
    pub regroup_ms: Millis,
    /// Settings of single devices by device id (`naa.6001...`).
    pub device: BTreeMap<String, DeviceSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            check_interval_ms: Millis::from_secs(5),
            retry_interval_ms: Millis(500),
            retry_backoff_after_ms: Millis::from_secs(600),
            check_timeout_ms: Millis::from_secs(20),
            check_deadline_ms: Millis::from_secs(5),
            apd_timeout_ms: Millis::from_secs(140),
            settle_ms: Millis(500),
            regroup_ms: Millis::from_secs(1),
            device: BTreeMap::new(),
        }
    }
}

/// Settings of one device; what is absent follows the rule or the SATP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSettings {
    /// `VMW_PSP_FIXED`, `VMW_PSP_MRU`, `VMW_PSP_RR`.
    pub psp: Option<String>,
    /// FIXED: runtime name of the preferred path, `vmhba2:C0:T0:L1`.
    pub preferred: Option<String>,
    /// RR: whether active-unoptimized paths carry I/O next to the optimized ones.
    pub use_ano: bool,
    /// MRU: rank by runtime name; higher is better, 0 is the default.
    pub ranks: BTreeMap<String, i32>,
    /// Own APD timeout.
    pub apd_timeout_ms: Option<Millis>,
}
