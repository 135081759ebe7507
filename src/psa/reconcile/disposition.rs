//! Decides whether a device gets a map, and configures udev and the kernel for its disks and ports.

use crate::psa::action::{Action, PortTimers};
use crate::psa::codes;
use crate::psa::facts::Usage;
use crate::psa::names::Wwid;
use crate::psa::reconcile::lone::Lone;
use crate::psa::reconcile::{lone, membership};
use crate::psa::state::World;
use crate::psa::state::device::{Device, Disposition};
use crate::psa::state::initramfs::Scope;
use crate::psa::state::path::Path;
use crate::psa::state::proof::Identity;
use crate::psa::state::schedule::Key;
use crate::psa::units::Hctl;

/// Decides whether the device gets a map.
pub(in crate::psa) fn dispose(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let disposition = disposition(world, device);
    if matches!(disposition, Disposition::Undecided(_))
        && let Some(Lone::Waits(until)) = lone::lone(world, device)
    {
        world
            .schedule
            .no_later_than(Key::Device(wwid.to_owned()), until);
    }
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    if device.disposition == disposition {
        return;
    }
    let id = device.id().to_owned();
    match &disposition {
        Disposition::Stacked => {
            let satp = device.selection.as_ref().map_or("", |s| s.satp.name());
            let plugin = device.plugin().as_str();
            world.notify(
                codes::DEVICE_CLAIMED,
                id,
                &[("plugin", plugin), ("satp", satp)],
            );
            world.remember_device(wwid);
        }
        Disposition::LeftAlone(why) => {
            let why = why.clone();
            // It had a map, and now its users have lost every path but one.
            let is_taken = world.memory.devices.contains(wwid) && usage(world, device).is_some();
            let code = match is_taken {
                true => codes::DEVICE_ON_ONE_PATH,
                false => codes::DEVICE_LEFT_ALONE,
            };
            world.notify(code, id, &[("reason", &why)]);
        }
        Disposition::Foreign(what) => {
            let what = what.clone();
            let effect = "the agent changes neither the map nor its disks";
            let found = [("member", &*what), ("effect", effect)];
            world.notify(codes::MAP_FOREIGN, id, &found);
        }
        Disposition::Off | Disposition::Undecided(_) => {}
    }
    if let Some(device) = world.devices.get_mut(wwid) {
        device.disposition = disposition;
    }
}

pub(in crate::psa) fn disposition(world: &World, device: &Device) -> Disposition {
    if let Some(what) = membership::members(world, device.wwid()).foreign {
        return Disposition::Foreign(what);
    }
    // A device that has a map keeps it: its users would lose their disk.
    if world
        .map_of(device.wwid())
        .is_some_and(|map| !map.is_shell())
    {
        return Disposition::Stacked;
    }
    let members = || device.paths().iter().filter_map(|id| world.paths.get(id));
    if let Some(why) = members().find_map(|path| match path.proof.identity() {
        Identity::Nameless(why) => Some(why),
        _ => None,
    }) {
        return Disposition::LeftAlone(format!("the logical unit reports no identity: {why}"));
    }
    if world.is_off(device.id()) {
        return Disposition::Off;
    }
    let Some(selection) = &device.selection else {
        return Disposition::Undecided("none of its paths is identified yet".to_owned());
    };
    let ours: Vec<&Path> = members().filter(|path| path.is_ours()).collect();
    if ours.is_empty() {
        let unclaimed = members().any(|path| !path.is_masked());
        return Disposition::LeftAlone(if unclaimed {
            "none of its paths are claimed: `psactl storage core claimrule run` claims them"
                .to_owned()
        } else {
            "all its paths are masked".to_owned()
        });
    }
    let is_new = !world.memory.devices.contains(device.wwid());
    let scope = world.initramfs.scope;
    let undecided = || {
        let why = "it never had a map: the agent of the root file system decides";
        Disposition::Undecided(why.to_owned())
    };
    if is_new && scope == Scope::Known {
        return undecided();
    }
    if !selection.satp.is_stacked() {
        let satp = selection.satp.name();
        return Disposition::LeftAlone(match &selection.rule {
            Some(rule) => format!("{rule} leaves it as it is"),
            None => format!("a local disk with one path ({satp}) stays as it is"),
        });
    }
    if world.device_settings(device).map == Some(false) {
        let why = "`map = false` in dm-psa.toml leaves it as it is";
        return Disposition::LeftAlone(why.to_owned());
    }
    if let Some(usage) = usage(world, device) {
        return Disposition::LeftAlone(format!("in use: {usage}"));
    }
    match lone::lone(world, device) {
        None | Some(Lone::Mapped(_)) if is_new && scope != Scope::All => undecided(),
        None | Some(Lone::Mapped(_)) => Disposition::Stacked,
        Some(Lone::LeftAlone(why)) => Disposition::LeftAlone(why),
        Some(Lone::Waits(_)) => Disposition::Undecided(
            "only one path leads to it so far: another one may follow".to_owned(),
        ),
    }
}

/// Who uses a disk of the device, other than a map.
fn usage<'a>(world: &'a World, device: &'a Device) -> Option<&'a Usage> {
    let ours = world.paths_of(device).filter(|path| path.is_ours());
    let blocks = ours.filter_map(|path| path.facts().block.as_ref());
    blocks.flat_map(|block| &block.usage).next()
}

/// Marks for udev who owns these disks, where that is decided.
pub(in crate::psa) fn mark_owners(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    let hidden = match device.disposition {
        Disposition::Undecided(_) | Disposition::Foreign(_) => return,
        Disposition::Stacked | Disposition::Off => true,
        Disposition::LeftAlone(_) => false,
    };
    let members: Vec<Hctl> = device.paths().iter().copied().collect();
    for id in members {
        let Some(path) = world.paths.get_mut(&id) else {
            continue;
        };
        let owned = hidden || path.is_masked();
        if path.facts().block.is_none() || !path.requested.mark(owned) {
            continue;
        }
        let block = path.facts().block.as_ref();
        world.actions.extend(block.map(|block| Action::MarkOwner {
            dev: block.dev,
            name: block.name.clone(),
            owned,
        }));
    }
}

/// If a device has several paths, makes the kernel fail I/O on their ports soon enough when a port is lost.
pub(in crate::psa) fn set_port_timers(world: &mut World, wwid: &Wwid) {
    let Some(device) = world.devices.get(wwid) else {
        return;
    };
    if device.disposition != Disposition::Stacked {
        return;
    }
    let settings = world.device_settings(device);
    let timers = PortTimers {
        fast_io_fail: settings
            .fast_io_fail_tmo
            .unwrap_or(world.settings.fast_io_fail_tmo),
        at_most: settings.fast_io_fail_tmo.is_none(),
        dev_loss: settings.dev_loss_tmo,
    };
    if timers.fast_io_fail == 0 {
        return;
    }
    for id in device.paths().clone() {
        let set = world
            .paths
            .get(&id)
            .and_then(|path| path.requested.timers());
        // A disk behind the same port that is in use without a map has no other path, and should rather wait.
        if set == Some(timers) || world.index.has_user_behind(id) {
            continue;
        }
        let Some(path) = world.paths.get_mut(&id) else {
            continue;
        };
        // The kernel accepts the timers only for a port that is online.
        let up = matches!(
            path.facts().target.port_state.as_deref(),
            Some("Online" | "LOGGED_IN")
        );
        if up && path.is_ours() {
            path.requested.set_timers(timers);
            world
                .actions
                .push(Action::SetPortTimers { path: id, timers });
        }
    }
}
