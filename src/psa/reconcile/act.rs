//! Sends steps on a map to the map's worker.

use crate::psa::action::{Action, MapStep};
use crate::psa::codes;
use crate::psa::names::Wwid;
use crate::psa::state::World;
use crate::psa::state::schedule::Key;
use crate::psa::table::model::{MapId, Table, UUID_PREFIX};

/// Starts an action on a map with these steps.
pub(in crate::psa) fn act(world: &mut World, wwid: &Wwid, steps: Vec<MapStep>) {
    let ticket = world.ticket();
    let Some(name) = world.devices.get(wwid).map(|device| world.map_name(device)) else {
        return;
    };
    let Some(device) = world.devices.get_mut(wwid) else {
        return;
    };
    device.work.begin(ticket, &steps);
    let loads = |step: &&MapStep| matches!(step, MapStep::Create { .. } | MapStep::Reload { .. });
    for _ in steps.iter().filter(loads) {
        device.statistics.table_loaded();
    }
    let subject = device.id().to_owned();
    world.index.tickets.insert(ticket, wwid.to_owned());
    for step in &steps {
        let counters = &mut world.counters;
        let (count, first) = match step {
            MapStep::Create { .. } => (&mut counters.tables_loaded, true),
            MapStep::Reload { .. } => (&mut counters.tables_loaded, false),
            MapStep::Message(_) => (&mut counters.messages, false),
            MapStep::Resume => (&mut counters.resumes, false),
            MapStep::Remove => (&mut counters.removals, false),
            MapStep::Observe => continue,
        };
        *count = count.saturating_add(1);
        counters.maps_created = counters.maps_created.saturating_add(first.into());
    }
    let said: Vec<String> = steps.iter().filter_map(describe).collect();
    if !said.is_empty() {
        world.notify(
            codes::MAP_ACTION,
            subject,
            &[("map", &name), ("steps", &said.join("; "))],
        );
    }
    let uuid = format!("{UUID_PREFIX}{wwid}");
    world.schedule.cancel(&Key::Device(wwid.to_owned()));
    world.actions.push(Action::Map {
        map: MapId { name, uuid },
        ticket,
        steps,
    });
}

/// Describes a step for the log; `None` for an observation, which is not worth a line.
pub(in crate::psa) fn describe(step: &MapStep) -> Option<String> {
    let load = |verb: &str, table: &Table, read_only: bool| {
        let how = if read_only { ", read-only" } else { "" };
        format!("{verb} with {} paths{how}", table.paths().count())
    };
    match step {
        MapStep::Create {
            table, read_only, ..
        } => Some(load("create", table, *read_only)),
        MapStep::Reload {
            table, read_only, ..
        } => Some(load("reload", table, *read_only)),
        MapStep::Resume => Some("resume".to_owned()),
        MapStep::Remove => Some("remove".to_owned()),
        MapStep::Observe => None,
        MapStep::Message(message) => Some(message.to_string()),
    }
}
