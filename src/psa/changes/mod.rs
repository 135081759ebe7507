//! Changes by an admin while the agent runs.
//!
//! A [`Change`] is checked against the current state ([`World::check`] returns its effect, or why it is refused). Then
//! it is processed as an event, so that a recorded run contains it too. It is stored across restarts. Input that names
//! something that does not exist is refused. A refused change changes nothing.

pub(in crate::psa) mod claiming;
pub(in crate::psa) mod queueing;

use crate::psa::action::{Action, MapStep};
use crate::psa::adapter::RuntimeName;
use crate::psa::change::{Change, Refusal, SATP_WORDS};
use crate::psa::check::{ask, judge};
use crate::psa::codes;
use crate::psa::evidence::PathState;
use crate::psa::mpp::Plugin;
use crate::psa::names::DeviceId;
use crate::psa::psp::PspKind;
use crate::psa::reconcile::act;
use crate::psa::settings::DeviceSettings;
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};

/// The longest display name, in bytes: ESXi's limit.
const LONGEST_NAME: usize = 255;

impl World {
    /// Whether a change can be made. Returns its effect, as one line for the admin.
    ///
    /// # Errors
    /// A [`Refusal`] with the reason.
    pub fn check(&self, change: &Change) -> Result<String, Refusal> {
        match change {
            Change::Psp { device, psp } => {
                let device = known_device(self, device)?;
                let name = psp
                    .map_or_else(|| default_psp_of(self, device), |psp| psp)
                    .name();
                let origin = if psp.is_some() { "" } else { " (the default)" };
                let alone = match &device.disposition {
                    Disposition::LeftAlone(why) => format!("; it has no map: {why}"),
                    Disposition::Foreign(what) => {
                        format!("; its map contains {what}, and is left as it is")
                    }
                    _ if device.plugin() == Plugin::Hpp => {
                        return Err(Refusal::Refused(format!(
                            "{} belongs to HPP, which has no PSPs: use `psactl hpp device set --pss SCHEME`",
                            device.id()
                        )));
                    }
                    _ => String::new(),
                };
                Ok(format!(
                    "{}: the PSP is now {name}{origin}{alone}",
                    device.id()
                ))
            }
            Change::Preferred { device, path } => {
                let device = known_device(self, device)?;
                if let Some(path) = path {
                    is_path_of(self, device, *path)?;
                }
                let preferred =
                    path.map_or_else(|| "the PSP's choice".to_owned(), |p| p.to_string());
                let effect = only_with(self, device, PspKind::Fixed);
                Ok(format!(
                    "{}: the preferred path is now {preferred}{effect}",
                    device.id()
                ))
            }
            Change::RoundRobin { device, set } => {
                let device = known_device(self, device)?;
                let merged = set.over(&self.device_settings(device).round_robin);
                let effect = only_with(self, device, PspKind::RoundRobin);
                Ok(format!(
                    "{}: in effect: {}{effect}",
                    device.id(),
                    merged.in_effect()
                ))
            }
            Change::Hpp { device, set, .. } => check_hpp(self, known_device(self, device)?, set),
            Change::Rank { path, rank } => {
                let device = device_with(self, *path)?;
                let effect = only_with(self, device, PspKind::Mru);
                Ok(format!("{path}: the rank is now {rank}{effect}"))
            }
            Change::PathState { path, off, persist } => {
                let device = device_with(self, *path)?;
                let others = self.paths_of(device).any(|other| {
                    other.name() != *path
                        && (other.state().serves_io() || other.state() == PathState::Standby)
                });
                if *off && !others {
                    return Err(Refusal::Refused(format!(
                        "no other path of {} serves I/O: turning {path} off would take the device away",
                        device.id()
                    )));
                }
                let state = match (*off, *persist) {
                    (true, true) => "off",
                    (true, false) => "off until it is removed from the host, or the agent ends",
                    (false, _) => "on; the next check determines its state",
                };
                Ok(format!("{path}: {state}"))
            }
            Change::DeviceState {
                device,
                off,
                persist,
            } => {
                let device = known_device(self, device)?;
                check_state(device, *off)?;
                let users = self.map_of(device.wwid()).map_or(0, |map| map.open_count);
                if *off && users > 0 {
                    return Err(Refusal::Refused(format!(
                        "{} is in use ({users} users): unmount it, stop what uses it, and try again",
                        device.id()
                    )));
                }
                let state = if *off {
                    "off; its map is removed as soon as nobody has it open"
                } else {
                    "on"
                };
                Ok(format!("{}: {state}{}", device.id(), lasting(*persist)))
            }
            Change::Flush { device } => {
                let device = known_device(self, device)?;
                check_state(device, true)?;
                Ok(format!(
                    "{}: its map is removed unless it is open; it gets no map until all its paths are gone",
                    device.id()
                ))
            }
            Change::Refresh { device } => Ok(format!(
                "{}: its paths are read again",
                known_device(self, device)?.id()
            )),
            Change::DeviceName {
                device,
                name,
                persist,
            } => {
                let device = known_device(self, device)?;
                let lasts = lasting(*persist);
                match name {
                    Some(name) if name.is_empty() || name.len() > LONGEST_NAME => {
                        Err(Refusal::Refused(format!(
                            "a display name has 1 to {LONGEST_NAME} bytes, this one has {}",
                            name.len()
                        )))
                    }
                    Some(name) if name.chars().any(char::is_control) => Err(Refusal::Refused(
                        "a display name is one line of printable text: remove the control characters"
                            .to_owned(),
                    )),
                    Some(name) => Ok(format!(
                        "{}: the display name is now {name}{lasts}",
                        device.id()
                    )),
                    None => Ok(format!(
                        "{}: the display name is the default again{lasts}",
                        device.id()
                    )),
                }
            }
            Change::DeviceFlags {
                device,
                perennially_reserved,
                shared_clusterwide,
            } => {
                let device = known_device(self, device)?;
                let named = [
                    ("perennially reserved", perennially_reserved),
                    ("shared clusterwide", shared_clusterwide),
                ];
                let set: Vec<String> = named
                    .iter()
                    .filter_map(|(name, value)| Some(format!("{name}: {}", (**value)?)))
                    .collect();
                Ok(format!(
                    "{}: {}; stored and shown, without effect on Linux",
                    device.id(),
                    set.join(", ")
                ))
            }
            Change::RemoveDetached { device } => match device {
                Some(id) if !self.is_off(id) => Err(Refusal::Refused(format!(
                    "{id} is not detached; `psactl storage core device detached list` shows detached devices"
                ))),
                Some(id) => Ok(format!("{id}: no longer detached")),
                None => Ok(match self.devices_off() {
                    all if all.is_empty() => "no device was detached".to_owned(),
                    all => format!("no longer detached: {}", all.join(", ")),
                }),
            },
            Change::Satp { device, name, on } => {
                let device = known_device(self, device)?;
                let found = SATP_WORDS.iter().find(|(word, ..)| word == name);
                let Some((_, shown, effect)) = found else {
                    return Err(Refusal::Refused(format!("no SATP has an option {name}")));
                };
                let config = self.satp_device_config(device);
                if !config.contains(shown) {
                    let satp = device.selection.as_ref().map_or("", |s| s.satp.name());
                    return Err(Refusal::Refused(format!(
                        "SATP {satp} of {} has no option {name}",
                        device.id()
                    )));
                }
                Ok(format!(
                    "{}: {shown}={}: {effect}",
                    device.id(),
                    if *on { "on" } else { "off" }
                ))
            }
            Change::Unclaim(scope) => claiming::check_unclaim(self, scope),
            Change::RunRules(scope) => Ok(claiming::check_run(self, scope.as_ref())),
            Change::Autoclaim { on } => Ok(if *on {
                "paths are claimed automatically".to_owned()
            } else {
                "paths, including new ones, are claimed only by `psactl storage core claimrule run`"
                    .to_owned()
            }),
            Change::Reclaim { device } => {
                Ok(claiming::check_reclaim(self, known_device(self, device)?))
            }
            Change::EndQueueing { device } => {
                queueing::check_end_queueing(self, known_device(self, device)?)
            }
        }
    }
}

/// Observes the map of a device: how often it is open may have changed since the last observation.
fn observe(world: &mut World, device: &DeviceId) {
    let Some(device) = world.device_with_id(device) else {
        return;
    };
    let wwid = device.wwid().clone();
    if device.work.in_flight().is_none() && world.map_of(&wwid).is_some() {
        act::act(world, &wwid, vec![MapStep::Observe]);
    }
}

/// Whether the device can be turned on or off.
fn check_state(device: &Device, off: bool) -> Result<(), Refusal> {
    if let Disposition::Foreign(what) = &device.disposition {
        return Err(Refusal::Refused(format!(
            "the map of {} contains {what}: the agent does not change such a map",
            device.id()
        )));
    }
    if off && let Disposition::LeftAlone(why) = &device.disposition {
        return Err(Refusal::Refused(format!(
            "{} has no map that could be removed: {why}",
            device.id()
        )));
    }
    Ok(())
}

/// Applies a change. A change that [`World::check`] would refuse changes nothing.
pub(in crate::psa) fn change(world: &mut World, change: Change) {
    let Ok(effect) = world.check(&change) else {
        return;
    };
    let memory = &mut world.memory;
    let subject = match change {
        Change::Unclaim(scope) => return claiming::unclaim(world, &scope),
        Change::RunRules(scope) => return claiming::run_rules(world, scope.as_ref()),
        Change::Reclaim { device } => return claiming::reclaim(world, &device),
        Change::EndQueueing { device } => return queueing::end_queueing(world, &device),
        Change::Refresh { device } => {
            let members = world.device_with_id(&device).map(Device::paths).into_iter();
            let orders = members.flatten().copied().map(Action::RefreshFacts);
            return world.actions.extend(orders.collect::<Vec<Action>>());
        }
        Change::Satp { device, name, on } => {
            let set = memory.settings.entry(device.clone()).or_default();
            set.satp.insert(name, on);
            device.into()
        }
        Change::Psp { device, psp } => {
            let set = memory.settings.entry(device.clone()).or_default();
            set.psp = psp;
            device.into()
        }
        Change::Preferred { device, path } => {
            let set = memory.settings.entry(device.clone()).or_default();
            set.preferred = path;
            device.into()
        }
        Change::RoundRobin { device, set } => {
            let before = memory.settings.entry(device.clone()).or_default();
            before.round_robin = set.over(&before.round_robin);
            device.into()
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
            device.into()
        }
        Change::Rank { path, rank } => {
            let Ok(device) = device_with(world, path).map(|device| device.id().to_owned()) else {
                return;
            };
            let set = world.memory.settings.entry(device.clone()).or_default();
            set.ranks.insert(path, rank);
            device.into()
        }
        Change::PathState { path, off, persist } => {
            let name = path.to_string();
            match off {
                true if persist => drop(memory.paths_off.insert(name)),
                true => {}
                false => drop(memory.paths_off.remove(&name)),
            }
            let members: Vec<_> = world
                .paths
                .iter()
                .filter(|(_, one)| one.name() == path)
                .map(|(id, _)| *id)
                .collect();
            for id in members {
                if let Some(path) = world.paths.get_mut(&id) {
                    path.turn(off && !persist);
                }
                judge::judge(world, id);
                ask::examine_now(world, id);
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
            world.unstored.flushed.remove(&device);
            if persist {
                world.unstored.off.remove(&device);
                if off {
                    memory.devices_off.insert(device.clone());
                } else {
                    memory.devices_off.remove(&device);
                }
            } else {
                world.unstored.off.insert(device.clone(), off);
            }
            device.into()
        }
        Change::Flush { device } => {
            let now = world.now;
            // What an admin turned off stays off.
            if !world.is_off(&device) || world.is_flushed(device.as_str()) {
                world.unstored.off.insert(device.clone(), true);
                world.unstored.flushed.insert(device.clone(), now);
            }
            observe(world, &device);
            device.into()
        }
        Change::DeviceName {
            device,
            name,
            persist,
        } => {
            match name {
                Some(name) if !persist => {
                    world.unstored.names.insert(device.clone(), name);
                }
                name => {
                    world.unstored.names.remove(&device);
                    if persist {
                        let set = memory.settings.entry(device.clone()).or_default();
                        set.display_name = name;
                    }
                }
            }
            device.into()
        }
        Change::DeviceFlags {
            device,
            perennially_reserved,
            shared_clusterwide,
        } => {
            let set = memory.settings.entry(device.clone()).or_default();
            set.perennially_reserved = perennially_reserved.or(set.perennially_reserved);
            set.shared_clusterwide = shared_clusterwide.or(set.shared_clusterwide);
            device.into()
        }
        Change::RemoveDetached { device } => {
            match &device {
                Some(id) => {
                    world.unstored.off.remove(id);
                    world.unstored.flushed.remove(id);
                    memory.devices_off.remove(id);
                }
                None => {
                    world.unstored.off.clear();
                    world.unstored.flushed.clear();
                    memory.devices_off.clear();
                }
            }
            device.map_or_else(|| "all".to_owned(), String::from)
        }
    };
    world
        .memory
        .settings
        .retain(|_, set| *set != DeviceSettings::default());
    world.remember();
    world.notify(codes::SETTING_CHANGED, subject, &[("effect", &effect)]);
    world.dirty.extend(world.devices.keys().cloned());
}

/// The PSP that a device has unless the admin sets one with `psactl`.
fn default_psp_of(world: &World, device: &Device) -> PspKind {
    device.psp(&world.settings_of(device))
}

fn check_hpp(world: &World, device: &Device, set: &DeviceSettings) -> Result<String, Refusal> {
    let only_mark = DeviceSettings {
        is_ssd: set.is_ssd,
        ..DeviceSettings::default()
    };
    if device.plugin() != Plugin::Hpp && (*set != only_mark || set.is_ssd.is_none()) {
        return Err(Refusal::Refused(format!(
            "{} belongs to {}: use `psactl storage nmp device set`, or give it to HPP with a claim rule",
            device.id(),
            device.plugin()
        )));
    }
    if let Some(path) = set.preferred {
        is_path_of(world, device, path)?;
    }
    if let Some(is_ssd) = set.is_ssd.filter(|_| *set == only_mark) {
        let word = if is_ssd {
            "an SSD"
        } else {
            "a device that is not an SSD"
        };
        return Ok(format!("{}: counts as {word}", device.id()));
    }
    let settings = set.over(&world.device_settings(device));
    let scheme = settings.scheme.unwrap_or_default();
    Ok(format!(
        "{}: {} {}, in effect: {}",
        device.id(),
        scheme.name(),
        scheme.config(&settings),
        scheme.in_effect()
    ))
}

fn is_path_of(world: &World, device: &Device, path: RuntimeName) -> Result<(), Refusal> {
    if world.paths_of(device).any(|one| one.name() == path) {
        return Ok(());
    }
    Err(Refusal::Refused(format!(
        "{path} is not a path of {}; `psactl core path list -d {}` shows its paths",
        device.id(),
        device.id()
    )))
}

fn known_device<'a>(world: &'a World, id: &DeviceId) -> Result<&'a Device, Refusal> {
    world
        .device_with_id(id)
        .ok_or_else(|| Refusal::NotFound(id.to_string()))
}

fn device_with(world: &World, name: RuntimeName) -> Result<&Device, Refusal> {
    let path = world.paths.values().find(|path| path.name() == name);
    path.and_then(|path| world.device_of(path))
        .ok_or_else(|| Refusal::NotFound(name.to_string()))
}

/// What to add if a setting belongs to another PSP than the one in force.
fn only_with(world: &World, device: &Device, psp: PspKind) -> String {
    if device.plugin() == Plugin::Hpp {
        return "; it takes effect only under NMP, but the device belongs to HPP: use `psactl hpp device set`"
            .to_owned();
    }
    let now = world.psp_of(device);
    if now == psp {
        String::new()
    } else {
        format!(
            "; it takes effect only with {}, but the PSP is {}",
            psp.name(),
            now.name()
        )
    }
}

/// How long a change lasts, if not permanently.
fn lasting(persist: bool) -> &'static str {
    if persist {
        ""
    } else {
        "; until the agent ends"
    }
}
