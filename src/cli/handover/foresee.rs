//! What an agent would do to the maps of this host: one is run here on the disks and maps as they are now. It sends only
//! commands that change nothing, and its actions are not carried out.

use super::Decisions;
use crate::kernel::passthrough::sg::once::PassThrough;
use crate::kernel::sysfs::{Survey, Sysfs};
use crate::psa::action::{Action, Examine, MapStep};
use crate::psa::event::{Event, Examination, Reply};
use crate::psa::report::offline;
use crate::psa::state::World;
use crate::psa::table::emit::emit;
use crate::psa::table::model::{Map, Table};
use crate::psa::units::{Hctl, Millis};
use crate::scsi::cdb::Command;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How long the agent runs on its own clock: until all paths have been judged, and new devices have waited for their
/// other paths.
const LIFE: Millis = Millis(10_000);

/// How long all commands together may take. Paths that have not answered by then count as silent.
const WITHIN: Duration = Duration::from_secs(60);

/// The table that the agent would load into each map, by the name of the map. Maps that are not in the table exist
/// already as they would be.
pub(super) fn tables(host: &Sysfs, maps: &[Map], decisions: Decisions) -> BTreeMap<String, Table> {
    let Decisions {
        rules,
        settings,
        memory,
    } = decisions;
    let mut world = World::with_rules(settings, memory, rules);
    let mut commands = Commands {
        host,
        open: BTreeMap::new(),
        until: Instant::now() + WITHIN,
    };
    let mut survey = Survey::new(host.clone());
    let events = found(host, &mut survey, maps);
    let mut tables = BTreeMap::new();
    offline::run(&mut world, events, LIFE, |action| match action {
        Action::Examine(asked) => commands.answer(asked),
        Action::LookUpDisks(devs) => {
            let kinds = devs.into_iter();
            let kinds = kinds.filter_map(|dev| Some((dev, host.disk_kind(dev)?)));
            Some(Event::DisksFound(kinds.collect()))
        }
        // It is never answered, so the agent does nothing more to this map.
        Action::Map { map, steps, .. } => {
            let table = steps.into_iter().find_map(table_of);
            tables.extend(table.map(|table| (map.name, table)));
            None
        }
        _ => None,
    });
    tables
}

/// What an agent finds when it starts.
fn found(host: &Sysfs, survey: &mut Survey, maps: &[Map]) -> VecDeque<Event> {
    let paths = host.list_paths().unwrap_or_default();
    let facts = paths.iter().filter_map(|path| survey.read(*path).ok()?);
    let mut events: VecDeque<Event> = facts
        .map(|facts| Event::PathSeen(Box::new(facts)))
        .collect();
    events.push_back(Event::PathsListed(paths));
    let seen = maps.iter().cloned();
    events.extend(seen.map(|map| Event::MapSeen(Box::new(map))));
    let names = maps.iter().map(|map| map.name.clone());
    events.push_back(Event::MapsListed(names.collect()));
    events
}

fn table_of(step: MapStep) -> Option<Table> {
    match step {
        MapStep::Create { table, .. } | MapStep::Reload { table, .. } => Some(table),
        _ => None,
    }
}

/// Sends the commands of examinations.
struct Commands<'a> {
    host: &'a Sysfs,
    /// The devices that are open; `None` if a device cannot be opened.
    open: BTreeMap<Hctl, Option<PassThrough>>,
    until: Instant,
}

impl Commands<'_> {
    /// The answers of a path; `None` if it is silent.
    fn answer(&mut self, asked: Examine) -> Option<Event> {
        let device = self.open.entry(asked.path).or_insert_with(|| {
            let name = asked.path.to_string();
            PassThrough::open(self.host, &name).ok()
        });
        let device = device.as_ref()?;
        let mut replies = Vec::new();
        for command in asked.commands.iter() {
            // An agent that starts moves no unit before it has taken the maps over.
            let changes = matches!(command, Command::SetTargetPortGroups(_));
            if changes || Instant::now() > self.until {
                return None;
            }
            let (outcome, data) = device.send_patiently(command, asked.timeout).ok()?;
            replies.push(Reply {
                command: command.clone(),
                outcome,
                data,
            });
        }
        Some(Event::Examined(Examination {
            path: asked.path,
            ticket: asked.ticket,
            replies,
        }))
    }
}

/// What would happen to each map, in lines.
pub(super) fn lines(maps: &[Map], tables: &BTreeMap<String, Table>) -> Vec<String> {
    let shown = |table: &Table| emit(table).unwrap_or_else(|why| why.to_string());
    let mut lines = Vec::new();
    for map in maps {
        let Some(then) = tables.get(&map.name) else {
            lines.push(format!("{}: no table would be loaded", map.name));
            continue;
        };
        lines.push(format!("{}: a table would be loaded:", map.name));
        if let Ok(now) = &map.table {
            lines.push(format!("  now:  {}", shown(now)));
        }
        lines.push(format!("  then: {}", shown(then)));
    }
    let known: BTreeSet<&String> = maps.iter().map(|map| &map.name).collect();
    for (name, table) in tables.iter().filter(|(name, _)| !known.contains(name)) {
        lines.push(format!("{name}: would be a new map: {}", shown(table)));
    }
    lines
}
