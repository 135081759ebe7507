//! A device: one logical unit, and what was decided about it.

use crate::psa::identity::LogicalUnit;
use crate::psa::mpp::Plugin;
use crate::psa::names::{DeviceId, Wwid};
use crate::psa::psp::{Options, PspKind};
use crate::psa::satp::rules::Selection;
use crate::psa::settings::DeviceSettings;
use crate::psa::state::outages::{Apd, Queueing};
use crate::psa::state::port_groups::PortGroups;
use crate::psa::state::statistics::DeviceStatistics;
use crate::psa::state::work::Work;
use crate::psa::takeover::Takeover;
use crate::psa::units::{Hctl, Millis, Sectors};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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

/// A device as the world knows it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Device {
    wwid: Wwid,
    id: DeviceId,
    /// Its identity, once a path proved it.
    unit: Option<LogicalUnit>,
    paths: BTreeSet<Hctl>,
    /// When the first path joined.
    first_join: Millis,
    /// When the set of paths changed last.
    last_join: Millis,
    /// INQUIRY vendor and product of the unit.
    model: Option<(String, String)>,
    /// Two LUNs of the same target port that both report the identity of the device.
    repeated: Option<(Hctl, Hctl)>,
    /// The length of the table in the kernel. Not serialized, because it follows from the map.
    #[serde(skip)]
    length: Option<Sectors>,
    /// Time of the last look at the device.
    looked_at: Millis,
    /// Plug-in, SATP and PSP; `None` until a path is identified.
    pub(in crate::psa) selection: Option<Selection>,
    /// Port groups as last reported.
    pub(in crate::psa) ports: PortGroups,
    /// Whether it gets a map.
    pub(in crate::psa) disposition: Disposition,
    /// What was set for the PSP, and what the PSP chose.
    pub(in crate::psa) options: Options,
    /// How its map treats I/O while no path serves it.
    pub(in crate::psa) queueing: Queueing,
    /// Limits how often this host may have the array move the device to another controller.
    pub(in crate::psa) takeover: Takeover,
    /// The kernel refused the name for its map, because a device of another kind has it: its map is named by its id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::psa) is_name_taken: bool,
    /// The work on its map.
    pub(in crate::psa) work: Work,
    /// Counters.
    pub(in crate::psa) statistics: DeviceStatistics,
}

impl Device {
    /// A device of which only the name is known.
    #[must_use]
    pub fn new(wwid: &Wwid, id: &DeviceId, now: Millis) -> Device {
        Device {
            wwid: wwid.clone(),
            id: id.clone(),
            unit: None,
            paths: BTreeSet::new(),
            first_join: now,
            last_join: now,
            model: None,
            repeated: None,
            length: None,
            looked_at: Millis(0),
            selection: None,
            ports: PortGroups::default(),
            disposition: Disposition::Undecided("its paths are being examined".to_owned()),
            options: Options::default(),
            queueing: Queueing::default(),
            takeover: Takeover::default(),
            is_name_taken: false,
            work: Work::default(),
            statistics: DeviceStatistics::default(),
        }
    }

    /// WWID: the key of the device, and its dm UUID without `mpath-`.
    #[must_use]
    pub fn wwid(&self) -> &Wwid {
        &self.wwid
    }

    /// `naa.6001...`
    #[must_use]
    pub fn id(&self) -> &DeviceId {
        &self.id
    }

    /// A path proved the identity of the device, which also gives it its id.
    pub(in crate::psa) fn prove(&mut self, unit: LogicalUnit) {
        self.id.clone_from(&unit.device_id);
        self.unit = Some(unit);
    }

    /// Whether a path proved its identity.
    pub(in crate::psa) fn is_proven(&self) -> bool {
        self.unit.is_some()
    }

    /// Its paths.
    #[must_use]
    pub fn paths(&self) -> &BTreeSet<Hctl> {
        &self.paths
    }

    /// A path belongs to the device.
    pub(in crate::psa) fn join(&mut self, path: Hctl, now: Millis) {
        if self.paths.insert(path) {
            self.last_join = now;
        }
    }

    /// A path no longer belongs to the device.
    pub(in crate::psa) fn leave(&mut self, path: Hctl, now: Millis) {
        self.paths.remove(&path);
        self.last_join = now;
    }

    /// When the first path joined.
    pub(in crate::psa) fn first_join(&self) -> Millis {
        self.first_join
    }

    /// When the set of paths changed last.
    pub(in crate::psa) fn last_join(&self) -> Millis {
        self.last_join
    }

    /// INQUIRY vendor and product of the unit.
    pub(in crate::psa) fn model(&self) -> Option<&(String, String)> {
        self.model.as_ref()
    }

    /// The paths were compared: vendor and product of the unit.
    pub(in crate::psa) fn set_model(&mut self, model: (String, String)) {
        self.model = Some(model);
    }

    /// Two LUNs of the same target port that both report the identity of the device.
    pub(in crate::psa) fn repeated(&self) -> Option<(Hctl, Hctl)> {
        self.repeated
    }

    /// The paths were compared: two LUNs of the same target port that both report the identity of the device.
    pub(in crate::psa) fn set_repeated(&mut self, repeated: Option<(Hctl, Hctl)>) {
        self.repeated = repeated;
    }

    /// The length of the table in the kernel; `None` without one.
    pub(in crate::psa) fn length(&self) -> Option<Sectors> {
        self.length
    }

    pub(super) fn set_length(&mut self, length: Option<Sectors>) {
        self.length = length;
    }

    /// The device is looked at.
    pub(in crate::psa) fn look(&mut self, now: Millis) {
        self.looked_at = now;
    }

    /// Time of the last look at the device.
    pub(in crate::psa) fn looked_at(&self) -> Millis {
        self.looked_at
    }

    /// Its counters.
    #[must_use]
    pub(crate) fn statistics(&self) -> &DeviceStatistics {
        &self.statistics
    }

    /// Plug-in, SATP and PSP; `None` until a path is identified.
    #[must_use]
    pub fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }

    /// Port groups as last reported.
    #[must_use]
    pub fn ports(&self) -> &PortGroups {
        &self.ports
    }

    /// Whether it gets a map.
    #[must_use]
    pub fn disposition(&self) -> &Disposition {
        &self.disposition
    }

    /// What was set for the PSP, and what the PSP chose.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether all paths are down.
    #[must_use]
    pub fn apd(&self) -> Apd {
        self.queueing.apd()
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
