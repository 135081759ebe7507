//! Everything that the agent knows. `check`, `reconcile` and `changes` modify it; this module has the data, and
//! questions that need only the data.

mod access;
pub mod device;
pub(crate) mod exams;
pub(crate) mod failures;
mod fit;
mod health;
pub(crate) mod hints;
pub(in crate::psa) mod index;
pub mod initramfs;
pub(crate) mod lookups;
pub(crate) mod maps;
pub(in crate::psa) mod naming;
pub(crate) mod outages;
pub(crate) mod path;
pub mod port_groups;
pub mod proof;
pub(crate) mod schedule;
pub(crate) mod statistics;
pub(in crate::psa) mod takeovers;
pub(in crate::psa) mod work;

use crate::psa::action::{Action, Notice};
use crate::psa::codes::Code;
use crate::psa::evidence::{Link, PortGroup};
use crate::psa::facts::Subject;
use crate::psa::identity;
use crate::psa::lookup::OrderedLookup;
use crate::psa::memory::{Memory, Unstored};
use crate::psa::names::{DeviceId, Wwid};
use crate::psa::psp::PspKind;
use crate::psa::rules::Rules;
use crate::psa::satp::Evidence;
use crate::psa::satp::rules::Selection;
use crate::psa::settings::{DeviceSettings, Settings};
use crate::psa::state::device::Device;
use crate::psa::state::hints::IoReports;
use crate::psa::state::index::Index;
use crate::psa::state::initramfs::Initramfs;
use crate::psa::state::lookups::Lookups;
use crate::psa::state::outages::Outages;
use crate::psa::state::path::Path;
use crate::psa::state::schedule::{Key, Schedule};
use crate::psa::state::statistics::Statistics;
use crate::psa::state::takeovers::Recalled;
use crate::psa::table::model::{GroupState, Map};
use crate::psa::units::{DevT, Hctl, Millis};
use crate::scsi::inquiry::Tpgs;
use std::collections::{BTreeMap, BTreeSet};

/// New devices are stored this long after the first of them was found. A host with a thousand new devices would
/// otherwise write a thousand devices a thousand times. If the agent ends before that, it finds them again by their
/// maps.
const SOON: Millis = Millis::from_secs(1);

/// Everything that the agent knows. All decisions are made from it.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct World {
    pub(in crate::psa) settings: Settings,
    pub(in crate::psa) rules: Rules,
    pub(in crate::psa) memory: Memory,
    /// What is decided on, if the agent runs in an initramfs.
    #[serde(default, skip_serializing_if = "Initramfs::is_none")]
    pub(in crate::psa) initramfs: Initramfs,
    /// What the admin set until the agent ends.
    pub(in crate::psa) unstored: Unstored,
    /// Adapters for which no target port was stored when their first port was seen.
    #[serde(default)]
    pub(in crate::psa) newly_numbered: BTreeSet<String>,
    /// The paths present on the host.
    pub(in crate::psa) paths: OrderedLookup<Hctl, Path>,
    /// Masked paths whose SCSI devices were removed from the host.
    pub(in crate::psa) withdrawn: OrderedLookup<Hctl, Path>,
    /// The path of each disk.
    pub(in crate::psa) disks: BTreeMap<DevT, Hctl>,
    /// The kernel's answers about members of maps that are not paths.
    #[serde(default)]
    pub(in crate::psa) lookups: Lookups,
    /// Devices by WWID.
    pub(in crate::psa) devices: OrderedLookup<Wwid, Device>,
    /// dm-multipath maps by dm name.
    pub(in crate::psa) maps: BTreeMap<String, Map>,
    /// dm name by WWID.
    pub(in crate::psa) map_names: BTreeMap<Wwid, String>,
    /// Outages of maps: all paths down.
    #[serde(default)]
    pub(in crate::psa) outages: Outages,
    /// Takeover budgets of the previous agent.
    #[serde(default)]
    pub(in crate::psa) takeovers: Recalled,
    pub(in crate::psa) schedule: Schedule,
    /// Devices to look at before the step ends.
    pub(in crate::psa) dirty: BTreeSet<Wwid>,
    /// Whether both first listings were seen; no map is touched before that.
    pub(in crate::psa) paths_listed: bool,
    pub(in crate::psa) maps_listed: bool,
    /// Paths whose logical unit is not known yet.
    pub(in crate::psa) unidentified: BTreeSet<Hctl>,
    /// Paths that failed recently and are therefore checked more often.
    #[serde(default)]
    pub(in crate::psa) retried: BTreeSet<Hctl>,
    /// The paths found at start are identified. A path that is new after this was added.
    pub(in crate::psa) started: bool,
    pub(in crate::psa) started_at: Millis,
    pub(in crate::psa) next_ticket: u64,
    pub(in crate::psa) now: Millis,
    pub(in crate::psa) actions: Vec<Action>,
    #[serde(default)]
    pub(in crate::psa) io_reports: IoReports,
    /// Counters for users.
    pub(in crate::psa) counters: Counters,
    pub(in crate::psa) statistics: Statistics,
    #[serde(skip)]
    pub(in crate::psa) index: Index,
}

/// What the agent did since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Examinations that ended.
    pub examinations: u64,
    /// Tables loaded, including the first one of each map.
    pub tables_loaded: u64,
    /// Those of them that were the first table of their map.
    pub maps_created: u64,
    /// Messages sent to maps.
    pub messages: u64,
    /// Resumes of maps that another program had left suspended.
    pub resumes: u64,
    /// Removals of maps.
    pub removals: u64,
    /// Actions on maps that failed.
    pub map_failures: u64,
}

impl World {
    /// What is set for a device: by `psactl`, and below that by the settings (see `World::settings_of`).
    #[must_use]
    pub fn device_settings(&self, device: &Device) -> DeviceSettings {
        let below = self.settings_of(device);
        match self.memory.settings.get(device.id()) {
            Some(set) => set.over(&below),
            None => below,
        }
    }

    /// The settings of a device from the admin's file and the rules. In order of precedence: what the file says of the
    /// device; what it says of every device; what the device's rule says (except for the PSP of a SATP rule, which is
    /// in [`super::satp::rules::Selection`]); if no rule names its array, what the file says of such devices; and what
    /// the file says as the default.
    pub(in crate::psa) fn settings_of(&self, device: &Device) -> DeviceSettings {
        let selection = device.selection.as_ref();
        let of_rule = selection.map_or_else(DeviceSettings::default, |s| s.settings.clone());
        let is_listed = selection.is_some_and(Selection::is_listed);
        let below = if is_listed {
            of_rule
        } else {
            of_rule.over(&self.settings.unlisted_device)
        };
        let below = below.over(&self.settings.default_device);
        let every = self.settings.every_device.over(&below);
        match self.settings.device.get(device.id()) {
            Some(own) => own.over(&every),
            None => every,
        }
    }

    /// Whether the disk of the path is in the table of a map.
    pub(in crate::psa) fn is_held(&self, path: &Path) -> bool {
        path.dev()
            .is_some_and(|dev| self.index.holder(dev).is_some())
    }

    /// What claim rules can look at; `None` while the INQUIRY strings of the path are not known.
    pub(in crate::psa) fn subject<'a>(&'a self, path: &'a Path) -> Option<Subject<'a>> {
        let inquiry = path.inquiry.as_ref()?;
        Some(Subject {
            vendor: inquiry.vendor_trimmed(),
            model: inquiry.product_trimmed(),
            inquiry: &inquiry.raw,
            facts: path.facts(),
            name: path.name(),
            device: self.device_of(path).map(|device| device.id()),
        })
    }

    /// Marks the device of the path to be looked at.
    pub(in crate::psa) fn mark_dirty(&mut self, id: Hctl) {
        if let Some(wwid) = self.paths.get(&id).and_then(|path| path.device.clone()) {
            self.dirty.insert(wwid);
        }
    }

    /// The evidence about a path.
    pub(in crate::psa) fn evidence<'a>(
        path: &'a Path,
        groups: &'a std::collections::BTreeMap<u16, PortGroup>,
    ) -> Evidence<'a> {
        Evidence {
            tpgs: path
                .inquiry
                .as_ref()
                .map_or(Tpgs::None, |inquiry| inquiry.tpgs),
            port_group: path.access.port_group(),
            relative_port: path.access.relative_port(),
            groups,
            link: path.health.link(),
            ownership: path.access.ownership(),
            handler: &path.facts().handler,
        }
    }

    /// Whether every path of a device reports that the logical unit is gone permanently.
    pub(in crate::psa) fn is_lost(&self, device: &Device) -> bool {
        let mut ours = self
            .paths_of(device)
            .filter(|path| path.is_ours())
            .peekable();
        ours.peek().is_some()
            && ours.all(|path| matches!(path.health.link(), Link::PermanentLoss(_)))
    }

    /// Schedules storing the memory. Only for what can be found again. Settings by the admin and masked paths that were
    /// removed from the host cannot; they are stored immediately instead.
    pub(in crate::psa) fn remember_soon(&mut self) {
        self.schedule
            .no_later_than(Key::Memory, self.now.after(SOON));
    }

    /// Stores that the device has a map, its id if a path proved it and it does not follow from the WWID, and the name of
    /// its map if that is not the id. A device that is new here gets the name of its map now.
    pub(in crate::psa) fn remember_device(&mut self, wwid: &Wwid) {
        let mut is_new = self.memory.devices.insert(wwid.to_owned());
        if is_new {
            self.name_new_map(wwid);
        }
        let device = self.devices.get(wwid).filter(|device| device.is_proven());
        if let Some(id) = device.map(Device::id)
            && *id != self.assumed_id(wwid)
        {
            self.memory.ids.insert(wwid.to_owned(), id.to_owned());
            is_new = true;
        }
        if let Some(name) = self.map_names.get(wwid) {
            let names = &mut self.memory.names;
            is_new |= match identity::is_usable_name(name) {
                true => names.insert(wwid.to_owned(), name.clone()).as_ref() != Some(name),
                false => names.remove(wwid).is_some(),
            };
        }
        if is_new {
            self.remember_soon();
        }
    }

    /// The id of a device until a path proves it: the one that was proven last, or what the WWID says.
    pub(in crate::psa) fn assumed_id(&self, wwid: &Wwid) -> DeviceId {
        let proven = self.memory.ids.get(wwid).cloned();
        proven.unwrap_or_else(|| identity::device_id_of(wwid))
    }

    /// The name of the device's map. If it has no map: the name in the admin's file or the stored one, unless it cannot be
    /// used or another map has it, or the id of the device.
    pub(in crate::psa) fn map_name(&self, device: &Device) -> String {
        let wwid = device.wwid();
        if let Some(name) = self.map_names.get(wwid) {
            return name.clone();
        }
        if device.is_name_taken {
            return device.id().to_string();
        }
        let set = self.settings.device.get(device.id());
        let names = [
            set.and_then(|settings| settings.map_name.as_ref()),
            self.memory.names.get(wwid),
        ];
        let is_free =
            |name: &&String| identity::is_usable_name(name) && !self.maps.contains_key(*name);
        let name = names.into_iter().flatten().find(is_free);
        name.map_or_else(|| device.id().to_string(), String::clone)
    }

    /// The settings of the host.
    #[must_use]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it is decided which maps of the host belong to the agent; before that [`World::kept_maps`] is
    /// incomplete.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started
    }

    /// All paths by address. Masked paths that are no longer present on the host come last.
    pub fn paths(&self) -> impl Iterator<Item = (&Hctl, &Path)> {
        self.paths.iter().chain(self.withdrawn.iter())
    }

    /// All devices by WWID.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// The paths of a device.
    pub fn paths_of<'a>(&'a self, device: &'a Device) -> impl Iterator<Item = &'a Path> + 'a {
        device.paths().iter().filter_map(|id| self.paths.get(id))
    }

    /// The device of a path.
    #[must_use]
    pub(crate) fn device_of(&self, path: &Path) -> Option<&Device> {
        self.devices.get(path.device.as_ref()?)
    }

    /// The addresses of all paths of a path's device, including the path itself. A copy, so that the paths can be
    /// changed in a loop.
    pub(in crate::psa) fn members_with(&self, id: Hctl) -> BTreeSet<Hctl> {
        let device = self.paths.get(&id).and_then(|path| self.device_of(path));
        device
            .map(|device| device.paths().clone())
            .unwrap_or_default()
    }

    /// What is stored across a restart.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// A device by device id, WWID, dm name, or the kernel name of its map.
    #[must_use]
    pub fn find_device(&self, subject: &str) -> Option<&Device> {
        let name = subject.strip_prefix("/dev/mapper/").unwrap_or(subject);
        let by_map = || {
            self.map_names
                .iter()
                .find(|(_, map)| *map == name)
                .map(|(wwid, _)| wwid)
        };
        self.devices
            .get(name)
            .or_else(|| {
                self.devices
                    .values()
                    .find(|device| device.id().as_str() == name)
            })
            .or_else(|| self.devices.get(by_map()?))
    }

    /// The device with this id.
    #[must_use]
    pub(in crate::psa) fn device_with_id(&self, id: &DeviceId) -> Option<&Device> {
        self.devices.values().find(|device| device.id() == id)
    }

    /// Whether the admin turned a device off.
    #[must_use]
    pub(crate) fn is_off(&self, device: &DeviceId) -> bool {
        let unstored = self.unstored.off.get(device).copied();
        unstored.unwrap_or_else(|| self.memory.devices_off.contains(device))
    }

    /// When the path is checked next.
    #[must_use]
    pub(crate) fn next_check(&self, path: &Path) -> Option<Millis> {
        self.schedule.at(&Key::Path(path.facts().hctl))
    }

    /// Whether a device is off until all its paths are gone.
    #[must_use]
    pub(crate) fn is_flushed(&self, device: &str) -> bool {
        self.unstored.flushed.contains_key(device)
    }

    /// The PSP of a device.
    #[must_use]
    pub fn psp_of(&self, device: &Device) -> PspKind {
        device.psp(&self.device_settings(device))
    }

    /// The disks that the kernel uses now: the active paths of the group in use, or else of the group to be used next.
    #[must_use]
    pub fn in_use(&self, device: &Device) -> BTreeSet<DevT> {
        let Some(status) = self
            .map_of(device.wwid())
            .and_then(|map| map.status.as_ref().ok())
        else {
            return BTreeSet::new();
        };
        let in_use = status
            .groups
            .iter()
            .find(|group| group.state == GroupState::Active);
        let next = usize::try_from(status.group_now)
            .ok()
            .and_then(|n| status.groups.get(n.checked_sub(1)?));
        let group = in_use.or(next);
        let active = group.into_iter().flat_map(|g| &g.paths);
        let mut used: BTreeSet<DevT> = active.filter(|p| p.active).map(|p| p.dev).collect();
        // Paths that the selector uses only when no other path is left.
        let table = self
            .map_of(device.wwid())
            .and_then(|map| map.table.as_ref().ok());
        let paths = table.into_iter().flat_map(|table| &table.groups);
        let spare: BTreeSet<DevT> = paths
            .filter(|group| group.selector.name == "service-time")
            .flat_map(|group| &group.paths)
            .filter(|path| path.args.get(1).is_some_and(|arg| arg == "0"))
            .map(|path| path.dev)
            .collect();
        if !used.is_subset(&spare) {
            used.retain(|dev| !spare.contains(dev));
        }
        used
    }

    /// When to send [`crate::psa::event::Event::Timer`] if no other event happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.schedule.next()
    }

    /// What the agent did since it started.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The map of a device.
    #[must_use]
    pub fn map_of(&self, wwid: &Wwid) -> Option<&Map> {
        self.maps.get(self.map_names.get(wwid)?)
    }

    /// Stores what has to be there after a restart.
    pub(in crate::psa) fn remember(&mut self) {
        let memory = Box::new(self.memory.clone());
        self.actions.push(Action::Remember(memory));
    }

    pub(in crate::psa) fn ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket = ticket.saturating_add(1);
        ticket
    }

    /// Raises a notice with the severity of its code.
    pub(in crate::psa) fn notify(
        &mut self,
        code: Code,
        subject: impl Into<String>,
        details: &[(&str, &str)],
    ) {
        self.raise(Notice::new(code, subject, details));
    }

    /// Raises a notice whose severity may differ from that of its code.
    pub(in crate::psa) fn raise(&mut self, notice: Notice) {
        self.statistics.notice(&notice.code);
        self.actions.push(Action::Notify(notice));
    }
}
