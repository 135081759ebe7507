//! An agent in an initramfs decides only on devices that the system runs from, or that had a map before.
//!
//! Another device may hold a copy of the system, such as a snapshot of its LUN. LVM takes the volume group of the copy if it
//! sees that first, so the copy stays hidden until the agent of the root file system decides. Two things end that:
//!
//! - All expected devices have had their maps for a while. Then nothing takes a copy for them, and disks that get no map are
//!   released: one of them may be a part of the same volume group or array.
//! - None of them has a map when the time is over. Then the system was moved to other devices, and everything is decided.

use crate::psa::codes;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::initramfs::{Initramfs, Scope};
use crate::psa::state::schedule::Key;
use crate::psa::units::Millis;
use std::collections::BTreeSet;

/// The pause between two looks. In this time udev and LVM take the volumes of a new map.
const LOOK: Millis = Millis::from_secs(5);

/// Begins to leave devices undecided. The scope grows as above, if there is a time `until`.
pub(in crate::psa) fn begin(
    world: &mut World,
    scope: Scope,
    expected: BTreeSet<Wwid>,
    until: Option<Millis>,
) {
    if until.is_some() {
        world.schedule.set(Key::Initramfs, LOOK);
    }
    // The system runs from them.
    world.memory.devices.extend(expected.iter().cloned());
    world.initramfs = Initramfs {
        scope,
        expected,
        until,
        were_complete: false,
    };
}

/// Looks whether more is to be decided on.
pub(in crate::psa) fn look_again(world: &mut World) {
    let state = &world.initramfs;
    let has_map = |wwid: &&Wwid| world.map_of(wwid).is_some_and(|map| !map.is_shell());
    let present = state.expected.iter().filter(has_map).count();
    let are_complete = present == state.expected.len();
    let is_over = state.until.is_none_or(|until| until <= world.now);
    if is_over && present == 0 {
        let names: Vec<&str> = state.expected.iter().map(Wwid::as_str).collect();
        let names = names.join(", ");
        world.initramfs = Initramfs::default();
        world.notify(codes::BOOT_DEVICES_MISSING, "agent", &[("devices", &names)]);
    } else if is_over || are_complete && state.were_complete {
        world.initramfs.scope = Scope::KnownAndUnmapped;
    } else {
        let next = world.now.after(LOOK);
        let next = state.until.map_or(next, |until| next.min(until));
        world.initramfs.were_complete = are_complete;
        return world.schedule.set(Key::Initramfs, next);
    }
    let all: Vec<Wwid> = world.devices.keys().cloned().collect();
    world.dirty.extend(all);
}
