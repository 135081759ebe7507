//! What an admin changes while the agent runs.
//!
//! A [`Change`] is checked against the world as it is ([`World::check`], which says what it will mean or why it is
//! refused) and then taken in as an event, so that a recorded run holds it too. It is remembered over restarts.
//! Input that names something which is not there is refused; nothing is changed by a refused change.

use super::action::Severity;
use super::adapter::RuntimeName;
use super::claiming::Scope;
use super::device::{Device, Disposition};
use super::path::PathState;
use super::plugin::Plugin;
use super::psp::PspKind;
use super::satp::rules::Selection;
use super::settings::{DeviceSettings, RoundRobin};
use super::world::World;
use serde::{Deserialize, Serialize};

/// A change; devices are named by their id, paths by their runtime name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// `nmp device set --psp`; `None` goes back to what rule and SATP say.
    Psp {
        /// The device.
        device: String,
        /// Its PSP.
        psp: Option<PspKind>,
    },
    /// `nmp psp fixed deviceconfig set`; `None` goes back to the choice of the PSP.
    Preferred {
        /// The device.
        device: String,
        /// The preferred path.
        path: Option<RuntimeName>,
    },
    /// `nmp psp roundrobin deviceconfig set`: what is given replaces what was set.
    RoundRobin {
        /// The device.
        device: String,
        /// What is set.
        set: RoundRobin,
    },
    /// `hpp device set`: what is given replaces what was set.
    Hpp {
        /// The device.
        device: String,
        /// What is set.
        set: Box<DeviceSettings>,
        /// The choice of the path goes back to HPP.
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
        /// `off` or `active`.
        off: bool,
    },
    /// `core device set --state`
    DeviceState {
        /// The device.
        device: String,
        /// `off` or `on`.
        off: bool,
        /// Whether it is remembered, or forgotten when the agent ends.
        persist: bool,
    },
    /// `core device set --name`
    DeviceName {
        /// The device.
        device: String,
        /// What people call it; `None` goes back to the name that it has by itself.
        name: Option<String>,
        /// Whether it is remembered, or forgotten when the agent ends.
        persist: bool,
    },
    /// `core device setconfig`: what is given replaces what was set.
    DeviceFlags {
        /// The device.
        device: String,
        /// Another host holds a reservation for good.
        perennially_reserved: Option<bool>,
        /// Other hosts use it too.
        shared_clusterwide: Option<bool>,
    },
    /// `core device detached remove`
    RemoveDetached {
        /// Its id, also of a device that is not there; `None` is all that are off.
        device: Option<String>,
    },
    /// `nmp satp generic deviceconfig set`
    Satp {
        /// The device.
        device: String,
        /// One of [`SATP_WORDS`].
        name: String,
        /// Enabled or disabled.
        on: bool,
    },
    /// `core claiming unclaim`
    Unclaim(Scope),
    /// `core claimrule run`, of all unclaimed paths or of some
    RunRules(Option<Scope>),
    /// `core claiming autoclaim`: whether unclaimed paths are claimed by themselves, new ones when they are found,
    /// others every `claim_interval_ms`.
    Autoclaim {
        /// They are.
        on: bool,
    },
    /// `core claiming reclaim`
    Reclaim {
        /// The device.
        device: String,
    },
    /// `core device queueing end`: I/O that waits for a path fails now.
    EndQueueing {
        /// The device.
        device: String,
    },
}

/// What `satp generic deviceconfig set` may enable and disable (`enable_alua_followover`), its name in the device
/// config, and what it means here.
pub const SATP_WORDS: [(&str, &str, &str); 3] = [
    (
        "explicit_alua",
        "explicit_allow",
        "stored and shown; groups are activated by the kernel's handler, and only where no optimized group is left",
    ),
    (
        "alua_followover",
        "alua_followover",
        "stored and shown; a change that the array or another host made is always followed here",
    ),
    (
        "action_OnRetryErrors",
        "action_OnRetryErrors",
        "stored and shown; a path that only says that it is well is held back in any case",
    ),
];

/// The longest display name, in bytes: ESXi's limit.
const LONGEST_NAME: usize = 255;

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such device or path.
    NotFound(String),
    /// It would do harm, or makes no sense: why, and what to do.
    Refused(String),
}

impl World {
    /// Whether a change can be made, and what it will mean: a line for the admin.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(&self, change: &Change) -> Result<String, Refusal> {
        match change {
            Change::Psp { device, psp } => {
                let device = self.known_device(device)?;
                let name = psp
                    .map_or_else(|| self.default_psp_of(device), |psp| psp)
                    .name();
                let origin = if psp.is_some() { "" } else { " (the default)" };
                let alone = match &device.disposition {
                    Disposition::LeftAlone(why) => format!("; it has no map: {why}"),
                    Disposition::Foreign(what) => {
                        format!("; its map holds {what}, and is left as it is")
                    }
                    _ if device.plugin() == Plugin::Hpp => {
                        return Err(Refusal::Refused(format!(
                            "{} belongs to HPP, which has no PSPs: `psactl hpp device set --pss SCHEME` is for it",
                            device.id
                        )));
                    }
                    _ => String::new(),
                };
                Ok(format!(
                    "{}: the PSP is now {name}{origin}{alone}",
                    device.id
                ))
            }
            Change::Preferred { device, path } => {
                let device = self.known_device(device)?;
                if let Some(path) = path {
                    self.is_path_of(device, &path.to_string())?;
                }
                let preferred =
                    path.map_or_else(|| "the PSP's choice".to_owned(), |p| p.to_string());
                let effect = self.only_with(device, PspKind::Fixed);
                Ok(format!(
                    "{}: the preferred path is now {preferred}{effect}",
                    device.id
                ))
            }
            Change::RoundRobin { device, set } => {
                let device = self.known_device(device)?;
                let merged = set.over(&self.device_settings(device).round_robin);
                let effect = self.only_with(device, PspKind::RoundRobin);
                Ok(format!(
                    "{}: in effect: {}{effect}",
                    device.id,
                    merged.in_effect()
                ))
            }
            Change::Hpp { device, set, .. } => self.check_hpp(self.known_device(device)?, set),
            Change::Rank { path, rank } => {
                let device = self.device_with(*path)?;
                let effect = self.only_with(device, PspKind::Mru);
                Ok(format!("{path}: the rank is now {rank}{effect}"))
            }
            Change::PathState { path, off } => {
                let device = self.device_with(*path)?;
                let others = self.paths_of(device).any(|other| {
                    other.name != *path
                        && (other.state().serves_io() || other.state() == PathState::Standby)
                });
                if *off && !others {
                    return Err(Refusal::Refused(format!(
                        "no other path of {} serves I/O: turning {path} off would take the device away",
                        device.id
                    )));
                }
                Ok(format!(
                    "{path}: {}",
                    if *off {
                        "off"
                    } else {
                        "on; its state is what the checks say"
                    }
                ))
            }
            Change::DeviceState {
                device,
                off,
                persist,
            } => {
                let device = self.known_device(device)?;
                if let Disposition::Foreign(what) = &device.disposition {
                    return Err(Refusal::Refused(format!(
                        "the map of {} holds {what}: it is not ours to change",
                        device.id
                    )));
                }
                let users = self.map_of(&device.wwid).map_or(0, |map| map.open_count);
                if *off && users > 0 {
                    return Err(Refusal::Refused(format!(
                        "{} is in use ({users} users): unmount it, stop what is built on it, and try again",
                        device.id
                    )));
                }
                if *off && let Disposition::LeftAlone(why) = &device.disposition {
                    return Err(Refusal::Refused(format!(
                        "{} has no map that could be taken away: {why}",
                        device.id
                    )));
                }
                let state = if *off {
                    "off; its map is removed as soon as nobody has it open"
                } else {
                    "on"
                };
                Ok(format!("{}: {state}{}", device.id, lasting(*persist)))
            }
            Change::DeviceName {
                device,
                name,
                persist,
            } => {
                let device = self.known_device(device)?;
                let lasts = lasting(*persist);
                match name {
                    Some(name) if name.is_empty() || name.len() > LONGEST_NAME => {
                        Err(Refusal::Refused(format!(
                            "a display name has 1 to {LONGEST_NAME} bytes, this one {}",
                            name.len()
                        )))
                    }
                    Some(name) if name.chars().any(char::is_control) => Err(Refusal::Refused(
                        "a display name is one line of printable text: leave control characters out"
                            .to_owned(),
                    )),
                    Some(name) => Ok(format!(
                        "{}: the display name is now {name}{lasts}",
                        device.id
                    )),
                    None => Ok(format!(
                        "{}: the display name is the device's own again{lasts}",
                        device.id
                    )),
                }
            }
            Change::DeviceFlags {
                device,
                perennially_reserved,
                shared_clusterwide,
            } => {
                let device = self.known_device(device)?;
                let named = [
                    ("perennially reserved", perennially_reserved),
                    ("shared clusterwide", shared_clusterwide),
                ];
                let set: Vec<String> = named
                    .iter()
                    .filter_map(|(name, value)| Some(format!("{name}: {}", (**value)?)))
                    .collect();
                Ok(format!(
                    "{}: {}; stored and shown, Linux treats such a device as any other",
                    device.id,
                    set.join(", ")
                ))
            }
            Change::RemoveDetached { device } => match device {
                Some(id) if !self.is_off(id) => Err(Refusal::Refused(format!(
                    "{id} is not detached; `psactl storage core device detached list` shows those that are"
                ))),
                Some(id) => Ok(format!("{id}: no longer detached")),
                None => {
                    let all = self.devices_off();
                    let named = if all.is_empty() {
                        "none was".to_owned()
                    } else {
                        all.join(", ")
                    };
                    Ok(format!("no longer detached: {named}"))
                }
            },
            Change::Satp { device, name, on } => {
                let device = self.known_device(device)?;
                let found = SATP_WORDS.iter().find(|(word, ..)| word == name);
                let Some((_, shown, effect)) = found else {
                    return Err(Refusal::Refused(format!("a SATP has no word {name}")));
                };
                let config = self.satp_device_config(device);
                if !config.contains(shown) {
                    let satp = device.selection.as_ref().map_or("", |s| s.satp.name());
                    return Err(Refusal::Refused(format!(
                        "SATP {satp} of {} does not know {name}",
                        device.id
                    )));
                }
                Ok(format!(
                    "{}: {shown}={} is {effect}",
                    device.id,
                    if *on { "on" } else { "off" }
                ))
            }
            Change::Unclaim(scope) => self.check_unclaim(scope),
            Change::RunRules(scope) => Ok(self.check_run(scope.as_ref())),
            Change::Autoclaim { on } => Ok(if *on {
                "paths are claimed by themselves".to_owned()
            } else {
                "paths are claimed by `psactl storage core claimrule run` alone, new ones too"
                    .to_owned()
            }),
            Change::Reclaim { device } => Ok(self.check_reclaim(self.known_device(device)?)),
            Change::EndQueueing { device } => self.check_end_queueing(self.known_device(device)?),
        }
    }

    /// Takes a change in. One that [`World::check`] would refuse changes nothing.
    pub(super) fn change(&mut self, change: Change) {
        let Ok(effect) = self.check(&change) else {
            return;
        };
        let memory = &mut self.memory;
        let subject = match change {
            Change::Unclaim(scope) => return self.unclaim(&scope),
            Change::RunRules(scope) => return self.run_rules(scope.as_ref()),
            Change::Reclaim { device } => return self.reclaim(&device),
            Change::EndQueueing { device } => return self.end_queueing(&device),
            Change::Satp { device, name, on } => {
                let set = memory.settings.entry(device.clone()).or_default();
                set.satp.insert(name, on);
                device
            }
            Change::Psp { device, psp } => {
                let set = memory.settings.entry(device.clone()).or_default();
                set.psp = psp.map(|psp| psp.name().to_owned());
                device
            }
            Change::Preferred { device, path } => {
                let set = memory.settings.entry(device.clone()).or_default();
                set.preferred = path.map(|path| path.to_string());
                device
            }
            Change::RoundRobin { device, set } => {
                let before = memory.settings.entry(device.clone()).or_default();
                before.round_robin = set.over(&before.round_robin);
                device
            }
            Change::Hpp {
                device,
                set,
                no_preferred,
            } => {
                let before = memory.settings.entry(device.clone()).or_default();
                if no_preferred {
                    before.preferred = None;
                }
                *before = set.over(before);
                device
            }
            Change::Rank { path, rank } => {
                let Ok(device) = self.device_with(path).map(|device| device.id.clone()) else {
                    return;
                };
                let set = self.memory.settings.entry(device.clone()).or_default();
                set.ranks.insert(path.to_string(), rank);
                device
            }
            Change::PathState { path, off } => {
                let name = path.to_string();
                if off {
                    memory.paths_off.insert(name);
                } else {
                    memory.paths_off.remove(&name);
                }
                let members: Vec<_> = self
                    .paths
                    .iter()
                    .filter(|(_, one)| one.name == path)
                    .map(|(id, _)| *id)
                    .collect();
                for id in members {
                    self.judge(id);
                    self.examine_now(id);
                }
                path.to_string()
            }
            Change::Autoclaim { on } => {
                memory.autoclaim_off = !on;
                "agent".to_owned()
            }
            Change::DeviceState {
                device,
                off,
                persist,
            } => {
                if persist {
                    self.unstored.off.remove(&device);
                    if off {
                        memory.devices_off.insert(device.clone());
                    } else {
                        memory.devices_off.remove(&device);
                    }
                } else {
                    self.unstored.off.insert(device.clone(), off);
                }
                device
            }
            Change::DeviceName {
                device,
                name,
                persist,
            } => {
                match name {
                    Some(name) if !persist => {
                        self.unstored.names.insert(device.clone(), name);
                    }
                    name => {
                        self.unstored.names.remove(&device);
                        if persist {
                            let set = memory.settings.entry(device.clone()).or_default();
                            set.display_name = name;
                        }
                    }
                }
                device
            }
            Change::DeviceFlags {
                device,
                perennially_reserved,
                shared_clusterwide,
            } => {
                let set = memory.settings.entry(device.clone()).or_default();
                set.perennially_reserved = perennially_reserved.or(set.perennially_reserved);
                set.shared_clusterwide = shared_clusterwide.or(set.shared_clusterwide);
                device
            }
            Change::RemoveDetached { device } => {
                match &device {
                    Some(id) => {
                        self.unstored.off.remove(id);
                        memory.devices_off.remove(id);
                    }
                    None => {
                        self.unstored.off.clear();
                        memory.devices_off.clear();
                    }
                }
                device.unwrap_or_else(|| "all".to_owned())
            }
        };
        self.memory
            .settings
            .retain(|_, set| *set != DeviceSettings::default());
        self.remember();
        self.notify(
            Severity::Info,
            "SETTING_CHANGED",
            subject,
            &[("effect", &effect)],
        );
        self.dirty.extend(self.devices.keys().cloned());
    }

    /// What is set for a device: by `psactl`, below that by the settings (see `World::settings_of`).
    #[must_use]
    pub fn device_settings(&self, device: &Device) -> DeviceSettings {
        let below = self.settings_of(device);
        match self.memory.settings.get(&device.id) {
            Some(set) => set.over(&below),
            None => below,
        }
    }

    /// What the admin's file says of a device, below that what it says of every device, below that what the rule of
    /// the device says (but for the PSP of a SATP rule, which is in [`super::satp::rules::Selection`]), below that, if
    /// no rule names its array, what the file says of such devices, and below that what it says of the others.
    fn settings_of(&self, device: &Device) -> DeviceSettings {
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
        match self.settings.device.get(&device.id) {
            Some(own) => own.over(&every),
            None => every,
        }
    }

    /// The PSP that a device has if the admin sets none with `psactl`.
    fn default_psp_of(&self, device: &Device) -> PspKind {
        device.psp(&self.settings_of(device))
    }

    fn check_hpp(&self, device: &Device, set: &DeviceSettings) -> Result<String, Refusal> {
        let only_mark = DeviceSettings {
            is_ssd: set.is_ssd,
            ..DeviceSettings::default()
        };
        if device.plugin() != Plugin::Hpp && (*set != only_mark || set.is_ssd.is_none()) {
            return Err(Refusal::Refused(format!(
                "{} belongs to {}: `psactl storage nmp device set` is for it, or a claim rule that gives it to HPP",
                device.id,
                device.plugin()
            )));
        }
        if let Some(path) = &set.preferred {
            self.is_path_of(device, path)?;
        }
        if let Some(is_ssd) = set.is_ssd.filter(|_| *set == only_mark) {
            let word = if is_ssd { "an SSD" } else { "no SSD" };
            return Ok(format!("{}: counts as {word}", device.id));
        }
        let settings = set.over(&self.device_settings(device));
        let scheme = settings.scheme.unwrap_or_default();
        Ok(format!(
            "{}: {} {}, in effect: {}",
            device.id,
            scheme.name(),
            scheme.config(&settings),
            scheme.in_effect()
        ))
    }

    fn is_path_of(&self, device: &Device, path: &str) -> Result<(), Refusal> {
        if self
            .paths_of(device)
            .any(|one| one.name.to_string() == path)
        {
            return Ok(());
        }
        Err(Refusal::Refused(format!(
            "{path} is not a path of {}; `psactl core path list -d {}` shows them",
            device.id, device.id
        )))
    }

    pub(super) fn known_device(&self, id: &str) -> Result<&Device, Refusal> {
        self.find_device(id)
            .ok_or_else(|| Refusal::NotFound(id.to_owned()))
    }

    fn device_with(&self, name: RuntimeName) -> Result<&Device, Refusal> {
        let path = self.paths.values().find(|path| path.name == name);
        path.and_then(|path| self.device_of(path))
            .ok_or_else(|| Refusal::NotFound(name.to_string()))
    }

    /// What to add where a setting is another's than that of the PSP in force.
    fn only_with(&self, device: &Device, psp: PspKind) -> String {
        if device.plugin() == Plugin::Hpp {
            return "; it takes effect with NMP, and the device is HPP's: `psactl hpp device set` is for it"
                .to_owned();
        }
        let now = self.psp_of(device);
        if now == psp {
            String::new()
        } else {
            format!(
                "; it takes effect with {}, the PSP is {}",
                psp.name(),
                now.name()
            )
        }
    }
}

/// How long a change lasts, where that is not for good.
fn lasting(persist: bool) -> &'static str {
    if persist {
        ""
    } else {
        "; until the agent ends"
    }
}
