//! A device: one logical unit and what was decided about it.

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
    /// Not decided yet: why.
    Undecided(String),
    /// It gets a map.
    Stacked,
    /// The admin turned it off: it has no map, and its disks stay hidden.
    Off,
    /// It is left alone: why.
    LeftAlone(String),
    /// It has a map that is not ours to change: what is in its table.
    Foreign(String),
}

/// A change of the table that waits for things to settle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The table that is wanted; another one starts the wait anew.
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
    /// That report, as it came in: the same again changes nothing.
    pub report: Vec<u8>,
    /// How long a change of access states takes at most, by that report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Millis>,
    /// Whether it gets a map.
    pub disposition: Disposition,
    /// What the PSP was told and what it chose.
    pub options: Options,
    /// All paths down?
    pub apd: Apd,
    /// The admin ended queueing; until a path serves I/O again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queueing_ended: bool,
    /// How often this host may have the array move it to another controller.
    #[serde(default)]
    pub takeover: Takeover,
    /// A path served I/O since the agent started.
    pub served: bool,
    /// When it was looked at last.
    pub looked_at: Millis,
    /// When the first path joined.
    pub first_join: Millis,
    /// When the set of paths changed last.
    pub last_join: Millis,
    /// INQUIRY vendor and product of the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<(String, String)>,
    /// Two LUNs of one target port that both answer by its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<(Hctl, Hctl)>,
    /// Whether the last table that was loaded was read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_read_only: Option<bool>,
    /// The length of the table that the kernel has; not written down, because the map says it.
    #[serde(skip)]
    pub length: Option<Sectors>,
    /// A change of the table that waits.
    pub pending: Option<Pending>,
    /// Ticket of the action on the map that is under way.
    pub in_flight: Option<u64>,
    /// What that action does to the paths of the map.
    #[serde(default)]
    pub order: Order,
    /// When the last action on the map ended.
    pub last_done: Millis,
    /// The last failure of an action, and until when nothing is tried.
    pub failure: Option<Failure>,
    /// What was counted.
    pub statistics: DeviceStatistics,
}

/// What an action on a map means for its paths: so a failure that is the kernel's doing is told from one of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Order {
    /// Paths that it fails.
    pub failed: BTreeSet<DevT>,
    /// Paths that are active when it has ended, as far as it makes them so.
    pub activated: BTreeSet<DevT>,
    /// It is nothing but the resume of a map that somebody left suspended.
    pub resumes: bool,
}

impl Order {
    /// What these steps mean.
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
    /// How many in a row.
    pub count: u32,
    /// It is not tried again before.
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
    /// The resume of a map that somebody left suspended.
    Resume,
    /// A table, or the removal of the map.
    Other,
}

/// A resume that failed is tried again this long after: I/O waits for nothing but that, so the pause never grows.
const RESUME_AGAIN: Millis = Millis(1_000);

impl Failure {
    /// Whether a step may be tried now. Each kind of step has a pause of its own: a table that the kernel refuses keeps
    /// no path from being reinstated, and nothing delays the resume of a map.
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

    /// When the next step may be tried that cannot be tried now.
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
    /// A device of which nothing but the name is known.
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
            disposition: Disposition::Undecided("its paths are being examined".to_owned()),
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

    /// The PSP in force, with what is set for the device.
    #[must_use]
    pub fn psp(&self, settings: &DeviceSettings) -> PspKind {
        if self.plugin() == Plugin::Hpp {
            return settings.scheme.unwrap_or_default().psp();
        }
        let set = settings.psp.as_deref().and_then(PspKind::by_name);
        set.or_else(|| self.selection.as_ref().map(|s| s.psp))
            .unwrap_or(PspKind::Mru)
    }
}

/// The device id that goes with a WWID, as far as that tells: what a device is called until a path proves more.
pub(in crate::psa) fn device_id_of(wwid: &str) -> String {
    let hex = |rest: &str| rest.bytes().all(|b| b.is_ascii_hexdigit());
    match wwid.split_at_checked(1) {
        Some(("3", rest)) if hex(rest) => format!("naa.{rest}"),
        Some(("2", rest)) if hex(rest) => format!("eui.{rest}"),
        _ => identity::safe_name(wwid),
    }
}
