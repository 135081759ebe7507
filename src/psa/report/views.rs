//! Read-only views of the world, from which the API builds its records.

use crate::psa::adapter::{RuntimeName, Transport};
use crate::psa::change::SATP_WORDS;
use crate::psa::evidence::{Class, PathState};
use crate::psa::psp::Candidate;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::path::Path;
use crate::psa::units::{DevT, Hctl};
use std::collections::BTreeSet;

impl World {
    /// All names that refer to a device, its map and its paths.
    #[must_use]
    pub(crate) fn names_of(&self, device: &Device) -> BTreeSet<String> {
        let mut names = BTreeSet::from([device.id().to_string(), device.wwid().to_string()]);
        names.extend(self.map_names.get(device.wwid()).cloned());
        for path in self.paths_of(device) {
            names.extend([path.name().to_string(), path.facts().hctl.to_string()]);
            names.extend(path.facts().block.as_ref().map(|block| block.name.clone()));
        }
        names
    }

    /// A path by runtime name, UID, kernel name (`sdc`, `/dev/sdc`), device number or H:C:T:L.
    #[must_use]
    pub fn find_path(&self, subject: &str) -> Option<&Path> {
        let name = subject.strip_prefix("/dev/").unwrap_or(subject);
        if let Ok(id) = name.parse::<Hctl>() {
            return self.paths.get(&id).or_else(|| self.withdrawn.get(&id));
        }
        if let Ok(dev) = name.parse::<DevT>() {
            return self.paths.get(self.disks.get(&dev)?);
        }
        self.paths().map(|(_, path)| path).find(|path| {
            path.name().to_string() == name
                || path
                    .facts()
                    .block
                    .as_ref()
                    .is_some_and(|block| block.name == name)
                || self.path_uid(path) == name
        })
    }

    /// ESXi's UID of a path: adapter, target and device.
    #[must_use]
    pub(crate) fn path_uid(&self, path: &Path) -> String {
        let device = self
            .device_of(path)
            .map_or("", |device| device.id().as_str());
        let (adapter, target) = (
            &path.facts().adapter.identifier,
            &path.facts().target.identifier,
        );
        format!("{adapter}-{target}-{device}")
    }

    /// The ids of the devices that are off, including devices that are not present.
    #[must_use]
    pub fn devices_off(&self) -> Vec<&str> {
        let known = self
            .memory
            .devices_off
            .iter()
            .chain(self.unstored.off.keys());
        let off: BTreeSet<&str> = known
            .filter(|id| self.is_off(id))
            .map(|id| id.as_str())
            .collect();
        off.into_iter().collect()
    }

    /// The display name of a device: the admin's, or the name that ESXi would give it.
    #[must_use]
    pub fn display_name(&self, device: &Device) -> String {
        let unstored = self.unstored.names.get(device.id()).cloned();
        if let Some(name) = unstored.or_else(|| self.device_settings(device).display_name) {
            return name;
        }
        let path = self.paths_of(device).next();
        let vendor = path
            .and_then(|p| p.inquiry.as_ref())
            .map_or("Unknown", |i| i.vendor_trimmed());
        let kind = match path.map(|p| p.facts().transport) {
            Some(Transport::Fc | Transport::Fcoe) => "Fibre Channel Disk",
            Some(Transport::Iscsi) => "iSCSI Disk",
            Some(Transport::Sas) => "Serial Attached SCSI Disk",
            Some(Transport::Sata | Transport::Ide) => "ATA Disk",
            Some(Transport::Usb) => "USB Disk",
            _ => "Disk",
        };
        format!("{vendor} {kind} ({})", device.id())
    }

    /// Runtime names of the paths that carry I/O now. For a device without a map: of the paths that serve.
    #[must_use]
    pub fn working_paths(&self, device: &Device) -> Vec<RuntimeName> {
        let in_use = self.in_use(device);
        let stacked = self.map_of(device.wwid()).is_some();
        self.paths_of(device)
            .filter(|path| path.state() != PathState::Dead)
            .filter(|path| {
                if stacked {
                    path.dev().is_some_and(|dev| in_use.contains(&dev))
                } else {
                    path.state().serves_io()
                }
            })
            .map(|path| path.name())
            .collect()
    }

    /// `Storage Array Type Device Config` of a device.
    #[must_use]
    pub fn satp_device_config(&self, device: &Device) -> String {
        match (
            &device.selection,
            self.paths_of(device).find(|path| path.inquiry.is_some()),
        ) {
            (Some(selection), Some(path)) => {
                let mut config = selection
                    .satp
                    .device_config(&Self::evidence(path, device.ports.groups()));
                let set = self.device_settings(device).satp;
                for (word, shown, _) in SATP_WORDS {
                    let (on, off) = (format!("{shown}=on"), format!("{shown}=off"));
                    config = match set.get(word) {
                        Some(true) => config.replace(&off, &on),
                        Some(false) => config.replace(&on, &off),
                        None => config,
                    };
                }
                match self.takeover_config(device) {
                    None => config,
                    Some(takeover) if config == selection.satp.no_device_config() => takeover,
                    Some(takeover) => format!("{config}{takeover}"),
                }
            }
            _ => String::new(),
        }
    }

    /// `Storage Array Type Path Config` of a path.
    #[must_use]
    pub fn satp_path_config(&self, path: &Path) -> String {
        let selection = self
            .device_of(path)
            .and_then(|device| Some((device, device.selection.as_ref()?)));
        selection.map_or_else(String::new, |(device, selection)| {
            selection
                .satp
                .path_config(&Self::evidence(path, device.ports.groups()))
        })
    }

    /// `Path Selection Policy Device Config` of a device.
    #[must_use]
    pub fn psp_device_config(&self, device: &Device) -> String {
        self.psp_of(device)
            .plugin()
            .device_config(&device.options, &self.working_paths(device))
    }

    /// `Path Selection Policy Path Config` of a path.
    #[must_use]
    pub fn psp_path_config(&self, id: Hctl, path: &Path) -> String {
        let Some(device) = self.device_of(path) else {
            return String::new();
        };
        let settings = self.device_settings(device);
        let rank = settings.ranks.get(&path.name());
        let candidate = Candidate {
            path: id,
            dev: path.dev().unwrap_or(DevT { major: 0, minor: 0 }),
            name: path.name(),
            state: path.state(),
            class: path.class().unwrap_or(Class::Last),
            rank: rank.copied().unwrap_or(0),
        };
        let is_current = self.working_paths(device).contains(&path.name());
        let config =
            self.psp_of(device)
                .plugin()
                .path_config(&candidate, &device.options, is_current);
        match path.failures.marginal() {
            Some(marginal) => format!("{config} marginal: {}", marginal.reason),
            None => config,
        }
    }

    /// What activates standby paths of a device: `kernel` if its table has a handler, otherwise `none`.
    #[must_use]
    pub fn activation(&self, device: &Device) -> &'static str {
        let table = self
            .map_of(device.wwid())
            .and_then(|map| map.table.as_ref().ok());
        if table.is_some_and(|table| table.handler.is_some()) {
            "kernel"
        } else {
            "none"
        }
    }

    /// ESXi's status of a device, from the states of its paths. Masked paths do not count.
    ///
    /// | status | the paths |
    /// |---|---|
    /// | `off` | the admin turned the device off |
    /// | `on` | all carry I/O, or would after activation |
    /// | `degraded` | some do |
    /// | `unknown` | none has been judged yet |
    /// | `dead` | none does: all paths down |
    /// | `not connected` | there is none, or the array reports on all of them that the unit is permanently gone |
    #[must_use]
    pub fn device_status(&self, device: &Device) -> &'static str {
        if device.disposition == Disposition::Off {
            return "off";
        }
        let paths = self.paths_of(device).filter(|path| !path.is_masked());
        let states: Vec<PathState> = paths.map(Path::state).collect();
        let serving = states
            .iter()
            .filter(|s| s.serves_io() || **s == PathState::Standby)
            .count();
        match (states.len(), serving) {
            (0, _) => "not connected",
            (all, serving) if all == serving => "on",
            (_, 0) if self.is_lost(device) => "not connected",
            (_, 0) if states.iter().all(|s| *s == PathState::Unknown) => "unknown",
            (_, 0) => "dead",
            _ => "degraded",
        }
    }
}
