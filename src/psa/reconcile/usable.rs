//! Which paths of a map may carry I/O now. The others are failed, or not reinstated yet.

use crate::psa::evidence::PathState;
use crate::psa::names::Wwid;
use crate::psa::psp::Candidate;
use crate::psa::reconcile::view::View;
use crate::psa::reconcile::{takeover, view};
use crate::psa::state::World;
use crate::psa::state::failures::LAST_PATH_HOLD;
use crate::psa::state::schedule::Key;
use crate::psa::table::model::Map;
use crate::psa::units::DevT;
use std::collections::BTreeSet;

/// The paths that dm should use. These are the paths that serve I/O, and those whose state is unknown if dm uses them
/// already. A path of unknown state is excluded if it gives no answer while others do, or if its proven identity is in
/// doubt. The last usable path is never failed because its state is unknown, and neither is a member that discovery has
/// not reported.
pub(in crate::psa) fn usable(
    world: &mut World,
    wwid: &Wwid,
    map: &Map,
    view: &View,
    unseen: &BTreeSet<DevT>,
) -> BTreeSet<DevT> {
    let active: BTreeSet<DevT> = map
        .status
        .iter()
        .flat_map(|status| &status.groups)
        .flat_map(|group| &group.paths)
        .filter(|path| path.active)
        .map(|path| path.dev)
        .collect();
    let mut usable: BTreeSet<DevT> = active.intersection(unseen).copied().collect();
    let mut held = BTreeSet::new();
    let mut silent = BTreeSet::new();
    let mut waiting = BTreeSet::new();
    let mut standby = Vec::new();
    for candidate in &view.candidates {
        let Some(path) = world.paths.get(&candidate.path) else {
            continue;
        };
        let is_active = active.contains(&candidate.dev);
        let wanted = match candidate.state {
            PathState::Active | PathState::ActiveUnoptimized => true,
            // The kernel may use a standby path that the host can activate, within the budget. A path that only the
            // array can activate is reinstated only while others serve; otherwise the kernel would try it in a loop.
            PathState::Standby if !is_active && !view::can_activate(world, candidate.path) => {
                if path.failures.held_until() <= world.now {
                    waiting.insert(candidate.dev);
                }
                false
            }
            PathState::Standby if !is_active => {
                standby.push((candidate.dev, path.failures.held_until()));
                false
            }
            PathState::Standby => true,
            PathState::Unknown if path.is_doubtful() => {
                if is_active {
                    silent.insert(candidate.dev);
                }
                false
            }
            PathState::Unknown => is_active,
            PathState::Dead | PathState::Off | PathState::Masked => false,
        };
        let serves = candidate.state != PathState::Unknown;
        let held_until = path.failures.held_until();
        if wanted && serves && held_until > world.now && !is_active {
            held.insert((held_until, candidate.dev, candidate.path));
        } else if wanted {
            usable.insert(candidate.dev);
        }
    }
    // The last path is held back only briefly, but long enough not to fail and return in a loop.
    let alone = usable.is_empty();
    for (hold_until, dev, id) in held {
        let Some(path) = world.paths.get(&id) else {
            continue;
        };
        let at = if alone {
            path.failures
                .failed_at()
                .after(LAST_PATH_HOLD)
                .min(hold_until)
        } else {
            hold_until
        };
        if at <= world.now {
            usable.insert(dev);
        } else if let Some(wwid) = path.device.clone() {
            world.schedule.no_later_than(Key::Device(wwid), at);
        }
    }
    let serves = |c: &Candidate| c.state.serves_io() && usable.contains(&c.dev);
    let served = view.candidates.iter().any(serves);
    if served {
        usable.extend(waiting);
    }
    usable.extend(takeover::granted(world, wwid, &standby, served));
    if usable.is_empty() {
        usable = silent;
    }
    usable
}
