//! Marginal paths. A path that fails and returns again and again costs more than it carries. If it fails too often
//! within a time window (settings `marginal_failures`, `marginal_window_ms`), it moves to a group of last resort, and
//! returns when it has worked for `marginal_recovery_ms`. A Fibre Channel port whose state in the kernel is `Marginal`
//! is treated the same way as long as it is in this state. So is a port about which the fabric complains by FPIN, until
//! there were no complaints for that recovery time.

use crate::psa::codes;
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::state::schedule::Key;
use crate::psa::units::{Hctl, Millis};
use std::collections::BTreeSet;

/// A path stopped serving, other than by a decision of the array or an admin.
pub(in crate::psa) fn failed(world: &mut World, id: Hctl) {
    let (now, most) = (world.now, world.settings.marginal_failures);
    let window = world.settings.marginal_window_ms;
    let Some(path) = world.paths.get_mut(&id).filter(|_| most > 0) else {
        return;
    };
    let Some(count) = path.failures.counted(now, window, most) else {
        return;
    };
    is_marginal(
        world,
        id,
        format!("it failed {count} times within {} s", window.0 / 1000),
    );
}

/// The fabric complains about ports: of a target, or of the HBA itself, which affects all paths of the HBA.
pub(in crate::psa) fn fabric_notified(
    world: &mut World,
    host: u32,
    ports: &BTreeSet<u64>,
    what: &str,
) {
    // `fc.WWNN:WWPN`
    let is_one = |identifier: &str| {
        let name = identifier.rsplit_once(':').map(|(_, port)| port);
        let number = name.and_then(|name| u64::from_str_radix(name, 16).ok());
        number.is_some_and(|number| ports.contains(&number))
    };
    let hit: Vec<Hctl> = world
        .paths
        .iter()
        .filter(|(id, path)| {
            let facts = path.facts();
            id.host == host
                && (is_one(&facts.target.identifier) || is_one(&facts.adapter.identifier))
        })
        .map(|(id, _)| *id)
        .collect();
    for id in hit {
        is_marginal(world, id, format!("the fabric reports {what} (FPIN)"));
    }
}

/// Updates whether a path is marginal, from the state of its port and from how long it has worked. Called after each
/// check.
pub(in crate::psa) fn review_marginal(world: &mut World, id: Hctl) {
    let Some(path) = world.paths.get(&id) else {
        return;
    };
    if path.facts().target.port_state.as_deref() == Some("Marginal") {
        is_marginal(world, id, "its remote port is marginal".to_owned());
        return;
    }
    let (now, recovery) = (world.now, world.settings.marginal_recovery_ms);
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    if path.health.link().is_broken() {
        path.failures.still_marginal(now);
    }
    let Some(marginal) = path.failures.marginal() else {
        return;
    };
    if !path.is_up() || marginal.last.after(recovery) > now {
        return;
    }
    path.failures.recovered();
    let name = path.name().to_string();
    let lasted = format!("{} s", recovery.0 / 1000);
    world.notify(codes::PATH_MARGINAL_ENDED, name, &[("worked_for", &lasted)]);
    world.mark_dirty(id);
}

fn is_marginal(world: &mut World, id: Hctl, reason: String) {
    let now = world.now;
    // If no better path serves, no other path could take over its I/O, and loading a table would be a risk.
    let better = world.paths.get(&id).and_then(|path| world.device_of(path));
    let better = better.is_some_and(|device| {
        world.paths_of(device).any(|other| {
            other.facts().hctl != id && !other.is_marginal() && other.state().serves_io()
        })
    });
    let Some(path) = world.paths.get_mut(&id) else {
        return;
    };
    if path.is_marginal() {
        return path.failures.still_marginal(now);
    }
    if !better {
        return;
    }
    let name = path.name().to_string();
    let reason_text = reason.clone();
    path.failures.turn_marginal(reason, now);
    let effect = "it carries I/O only if no other path does";
    world.notify(
        codes::PATH_MARGINAL,
        name,
        &[("reason", &reason_text), ("effect", effect)],
    );
    world.mark_dirty(id);
    world.schedule.no_later_than(Key::Path(id), now);
}

/// Describes a marginal path, as one line.
pub(in crate::psa) fn marginal_line(world: &World, path: &Path) -> Option<String> {
    let marginal = path.failures.marginal()?;
    let left = marginal
        .last
        .after(world.settings.marginal_recovery_ms)
        .since(world.now);
    let held = path.failures.tried_until().since(world.now);
    let held = match held {
        Millis(0) => String::new(),
        Millis(ms) => format!(", and not reinstated for another {ms} ms while other paths serve"),
    };
    Some(format!(
        "marginal: {}; it is in a group of last resort until it has worked for another {} s{held}",
        marginal.reason,
        left.0 / 1000
    ))
}
