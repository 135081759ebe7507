//! Whether a device gets a map, and what udev and the kernel are told of its disks and ports.

use super::action::{Action, PortTimers, Severity};
use super::device::{Device, Disposition};
use super::lone::Lone;
use super::path::Path;
use super::proof::Identity;
use super::schedule::Key;
use super::units::Hctl;
use super::world::World;

impl World {
    /// Decides whether the device gets a map.
    pub(super) fn dispose(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let disposition = self.disposition(device);
        if matches!(disposition, Disposition::Undecided(_))
            && let Some(Lone::Waits(until)) = self.lone(device)
        {
            self.schedule
                .no_later_than(Key::Device(wwid.to_owned()), until);
        }
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        if device.disposition == disposition {
            return;
        }
        let id = device.id.clone();
        match &disposition {
            Disposition::Stacked => {
                let satp = device.selection.as_ref().map_or("", |s| s.satp.name());
                let plugin = device.plugin().as_str();
                self.notify(
                    Severity::Info,
                    "DEVICE_CLAIMED",
                    id,
                    &[("plugin", plugin), ("satp", satp)],
                );
                if self.memory.devices.insert(wwid.to_owned()) {
                    self.remember_soon();
                }
            }
            Disposition::LeftAlone(why) => {
                let why = why.clone();
                self.notify(Severity::Info, "DEVICE_LEFT_ALONE", id, &[("reason", &why)]);
            }
            Disposition::Foreign(what) => {
                let what = what.clone();
                let effect = "nothing is done to the map; its disks are left to whoever made it";
                let found = [("member", &*what), ("effect", effect)];
                self.notify(Severity::Warning, "MAP_FOREIGN", id, &found);
            }
            Disposition::Off | Disposition::Undecided(_) => {}
        }
        if let Some(device) = self.devices.get_mut(wwid) {
            device.disposition = disposition;
        }
    }

    pub(super) fn disposition(&self, device: &Device) -> Disposition {
        if let Some(what) = self.members(&device.wwid).foreign {
            return Disposition::Foreign(what);
        }
        // What has a map keeps it: its users would lose their disk.
        if self.map_of(&device.wwid).is_some_and(|map| !map.is_shell()) {
            return Disposition::Stacked;
        }
        let members = || device.paths.iter().filter_map(|id| self.paths.get(id));
        if let Some(why) = members().find_map(|path| match path.proof.identity() {
            Identity::Nameless(why) => Some(why),
            _ => None,
        }) {
            return Disposition::LeftAlone(format!("the logical unit does not name itself: {why}"));
        }
        if self.is_off(&device.id) {
            return Disposition::Off;
        }
        let Some(selection) = &device.selection else {
            return Disposition::Undecided("none of its paths is identified yet".to_owned());
        };
        let ours: Vec<&Path> = members().filter(|path| path.is_ours()).collect();
        if ours.is_empty() {
            let unclaimed = members().any(|path| !path.is_masked());
            return Disposition::LeftAlone(if unclaimed {
                "none of its paths is claimed: `psactl storage core claimrule run` claims them"
                    .to_owned()
            } else {
                "all its paths are masked".to_owned()
            });
        }
        if !selection.satp.is_stacked() {
            let satp = selection.satp.name();
            return Disposition::LeftAlone(match &selection.rule {
                Some(rule) => format!("{rule} leaves it as it is"),
                None => format!("a local disk with one path ({satp}) stays as it is"),
            });
        }
        if self.device_settings(device).map == Some(false) {
            let why = "`map = false` in dm-psa.toml leaves it as it is";
            return Disposition::LeftAlone(why.to_owned());
        }
        let usage = ours
            .iter()
            .filter_map(|path| path.facts.block.as_ref())
            .flat_map(|block| &block.usage)
            .next();
        if let Some(usage) = usage {
            return Disposition::LeftAlone(format!("in use: {usage}"));
        }
        match self.lone(device) {
            None | Some(Lone::Mapped(_)) => Disposition::Stacked,
            Some(Lone::LeftAlone(why)) => Disposition::LeftAlone(why),
            Some(Lone::Waits(_)) => Disposition::Undecided(
                "one path leads to it, which was just found: another one may follow".to_owned(),
            ),
        }
    }

    /// Tells udev whose disks these are, as far as that is decided.
    pub(super) fn mark_owners(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        let hidden = match device.disposition {
            Disposition::Undecided(_) | Disposition::Foreign(_) => return,
            Disposition::Stacked | Disposition::Off => true,
            Disposition::LeftAlone(_) => false,
        };
        let members: Vec<Hctl> = device.paths.iter().copied().collect();
        for id in members {
            let Some(path) = self.paths.get_mut(&id) else {
                continue;
            };
            let Some(block) = &path.facts.block else {
                continue;
            };
            let owned = hidden || path.is_masked();
            if path.marked != Some(owned) {
                path.marked = Some(owned);
                let mark = Action::MarkOwner {
                    dev: block.dev,
                    name: block.name.clone(),
                    owned,
                };
                self.actions.push(mark);
            }
        }
    }

    /// Has the kernel fail I/O on a lost port soon enough, for the paths of a device that has others.
    pub(super) fn set_port_timers(&mut self, wwid: &str) {
        let Some(device) = self.devices.get(wwid) else {
            return;
        };
        if device.disposition != Disposition::Stacked {
            return;
        }
        let settings = self.device_settings(device);
        let timers = PortTimers {
            fast_io_fail: settings
                .fast_io_fail_tmo
                .unwrap_or(self.settings.fast_io_fail_tmo),
            at_most: settings.fast_io_fail_tmo.is_none(),
            dev_loss: settings.dev_loss_tmo,
        };
        if timers.fast_io_fail == 0 {
            return;
        }
        for id in device.paths.clone() {
            let set = self.paths.get(&id).and_then(|path| path.port_timers);
            // What is in use without a map behind the same port has no other path, and would rather wait.
            if set == Some(timers) || self.index.has_user_behind(id) {
                continue;
            }
            let Some(path) = self.paths.get_mut(&id) else {
                continue;
            };
            // The kernel takes them of a port that is there.
            let up = matches!(
                path.facts.target.port_state.as_deref(),
                Some("Online" | "LOGGED_IN")
            );
            if up && path.is_ours() {
                path.port_timers = Some(timers);
                self.actions
                    .push(Action::SetPortTimers { path: id, timers });
            }
        }
    }
}
