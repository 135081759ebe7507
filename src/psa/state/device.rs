//! A device: one logical unit, and what was decided about it.

use crate::psa::action::MapStep;
use crate::psa::evidence::PortGroup;
use crate::psa::identity;
use crate::psa::identity::LogicalUnit;
use crate::psa::mpp::Plugin;
use crate::psa::psp::{Options, PspKind};
use crate::psa::satp::rules::Selection;
use crate::psa::settings::DeviceSettings;
use crate::psa::state::outages::Apd;
use crate::psa::state::statistics::DeviceStatistics;
use crate::psa::table::model::{Message, Table};
use crate::psa::takeover::Takeover;
use crate::psa::units::{DevT, Hctl, Millis, Sectors};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a device gets a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disposition {
    /// Not decided yet: the reason.
    Undecided(String),
    /// It gets a map.
    Stacked,
    /// The admin turned it off: it has no map, and its disks stay hidden.
    Off,
    /// It is left alone: the reason.
    LeftAlone(String),
    /// It has a map that dm-psa must not change: what is in its table.
    Foreign(String),
}

/// A change of the table that is delayed until the paths settle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The wanted table. If another table is wanted, the delay starts again.
    pub table: Table,
    /// Since when it is wanted.
    pub since: Millis,
}

/// A device as the world knows it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Device {
    /// WWID: the key of the device, and its dm UUID without `mpath-`.
    pub wwid: String,
    /// `naa.6001...`
    pub id: String,
    /// Its identity, once a path proved it.
    pub unit: Option<LogicalUnit>,
    /// Its paths.
    pub paths: BTreeSet<Hctl>,
    /// Plug-in, SATP and PSP; `None` until a path is identified.
    pub selection: Option<Selection>,
    /// Port groups as last reported.
    pub groups: BTreeMap<u16, PortGroup>,
    /// The report of the port groups as it came in; an identical report changes nothing.
    pub report: Vec<u8>,
    /// The longest time that a change of access states takes, according to that report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Millis>,
    /// Whether it gets a map.
    pub disposition: Disposition,
    /// What was set for the PSP, and what the PSP chose.
    pub options: Options,
    /// Whether all paths are down.
    pub apd: Apd,
    /// The admin ended queueing; in effect until a path serves I/O again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queueing_ended: bool,
    /// Limits how often this host may have the array move the device to another controller.
    #[serde(default)]
    pub takeover: Takeover,
    /// Whether a path served I/O since the agent started.
    pub served: bool,
    /// Time of the last look at the device.
    pub looked_at: Millis,
    /// When the first path joined.
    pub first_join: Millis,
    /// When the set of paths changed last.
    pub last_join: Millis,
    /// INQUIRY vendor and product of the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<(String, String)>,
    /// Two LUNs of the same target port that both report the identity of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<(Hctl, Hctl)>,
    /// Whether the last table that was loaded was read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_read_only: Option<bool>,
    /// The length of the table in the kernel. Not serialized, because it follows from the map.
    #[serde(skip)]
    pub length: Option<Sectors>,
    /// A change of the table that is delayed.
    pub pending: Option<Pending>,
    /// Ticket of the action on the map that is in progress.
    pub in_flight: Option<u64>,
    /// What that action does to the paths of the map.
    #[serde(default)]
    pub order: Order,
    /// When the last action on the map ended.
    pub last_done: Millis,
    /// The last failure of an action, and how long nothing is tried after it.
    pub failure: Option<Failure>,
    /// Counters.
    pub statistics: DeviceStatistics,
}

/// What an action on a map does to its paths. It distinguishes failures of paths by the kernel from those that the
/// agent caused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Order {
    /// Paths that it fails.
    pub failed: BTreeSet<DevT>,
    /// Paths that the action leaves active, as far as the action itself activates them.
    pub activated: BTreeSet<DevT>,
    /// The only step is the resume of a map that another program left suspended.
    pub resumes: bool,
}

impl Order {
    /// The effect of these steps.
    #[must_use]
    pub fn of(steps: &[MapStep]) -> Order {
        let mut order = Order {
            resumes: steps == [MapStep::Resume],
            ..Order::default()
        };
        for step in steps {
            match step {
                MapStep::Create { table, .. } | MapStep::Reload { table, .. } => {
                    order.failed.clear();
                    order.activated = table.paths().map(|path| path.dev).collect();
                }
                MapStep::Message(Message::FailPath(dev)) => {
                    order.activated.remove(dev);
                    order.failed.insert(*dev);
                }
                MapStep::Message(Message::ReinstatePath(dev)) => {
                    order.failed.remove(dev);
                    order.activated.insert(*dev);
                }
                _ => {}
            }
        }
        order
    }
}

/// A failed action on a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed and why.
    pub text: String,
    /// The number of failures in a row.
    pub count: u32,
    /// The action is not tried again before this time.
    pub retry_at: Millis,
    /// When it failed.
    pub at: Millis,
    /// Which kind of step failed.
    pub step: FailedStep,
}

/// The kind of step that failed on a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailedStep {
    /// A message.
    Message,
    /// The resume of a map that another program left suspended.
    Resume,
    /// A table, or the removal of the map.
    Other,
}

/// A failed resume is tried again after this time. All I/O of the map waits for the resume, so the pause never grows.
const RESUME_AGAIN: Millis = Millis(1_000);

impl Failure {
    /// Whether a step may be tried now. Each kind of step has its own pause: a path can be reinstated although the
    /// kernel refused a table, and no other failure delays the resume of a map.
    #[must_use]
    pub fn allows(&self, step: &MapStep, now: Millis) -> bool {
        match step {
            MapStep::Resume => {
                self.step != FailedStep::Resume || self.at.after(RESUME_AGAIN) <= now
            }
            MapStep::Message(_) => self.step != FailedStep::Message || self.retry_at <= now,
            _ => self.retry_at <= now,
        }
    }

    /// When the next of the steps that have to wait may be tried.
    #[must_use]
    pub fn next_try(&self, now: Millis) -> Millis {
        let resume = self.at.after(RESUME_AGAIN);
        if self.step == FailedStep::Resume && resume > now {
            self.retry_at.min(resume)
        } else {
            self.retry_at
        }
    }
}

impl Device {
    /// A device of which only the name is known.
    #[must_use]
    pub fn new(wwid: &str, id: &str, now: Millis) -> Device {
        Device {
            wwid: wwid.to_owned(),
            id: id.to_owned(),
            unit: None,
            paths: BTreeSet::new(),
            selection: None,
            groups: BTreeMap::new(),
            report: Vec::new(),
            transition: None,
            disposition: Disposition::Undecided("its paths are being checked".to_owned()),
            options: Options::default(),
            apd: Apd::No,
            queueing_ended: false,
            takeover: Takeover::default(),
            served: false,
            looked_at: Millis(0),
            first_join: now,
            last_join: now,
            model: None,
            repeated: None,
            loaded_read_only: None,
            length: None,
            pending: None,
            in_flight: None,
            order: Order::default(),
            last_done: Millis(0),
            failure: None,
            statistics: DeviceStatistics::default(),
        }
    }

    /// The plug-in that its paths belong to.
    #[must_use]
    pub fn plugin(&self) -> Plugin {
        self.selection.as_ref().map_or(Plugin::Nmp, |s| s.plugin)
    }

    /// The PSP in force, considering the settings of the device.
    #[must_use]
    pub fn psp(&self, settings: &DeviceSettings) -> PspKind {
        if self.plugin() == Plugin::Hpp {
            return settings.scheme.unwrap_or_default().psp();
        }
        let selected = || self.selection.as_ref().map(|s| s.psp);
        settings.psp.or_else(selected).unwrap_or(PspKind::Mru)
    }
}

/// The device id that corresponds to a WWID, as far as it can be derived. A device has this id until a path proves
/// more.
pub(in crate::psa) fn device_id_of(wwid: &str) -> String {
    let hex = |rest: &str| rest.bytes().all(|b| b.is_ascii_hexdigit());
    match wwid.split_at_checked(1) {
        Some(("3", rest)) if hex(rest) => format!("naa.{rest}"),
        Some(("2", rest)) if hex(rest) => format!("eui.{rest}"),
        _ => identity::safe_name(wwid),
    }
}
