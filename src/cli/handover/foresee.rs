//! What an agent would do to the maps of this host: one is run here on the disks and maps as they are now. It sends only
//! commands that change nothing, and its actions are not carried out.

use super::{Decisions, disks};
use crate::cli::exit::Failure;
use crate::kernel::passthrough::sg::once::PassThrough;
use crate::kernel::sysfs::{Shortage, Survey, Sysfs};
use crate::psa::action::{Action, Examine, MapStep};
use crate::psa::event::{Event, Examination, Reply};
use crate::psa::report::offline;
use crate::psa::state::World;
use crate::psa::table::emit::emit;
use crate::psa::table::model::{Map, Table};
use crate::psa::units::{DevT, Hctl, Millis};
use crate::scsi::cdb::Command;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How long the agent runs on its own clock after it has waited for paths that do not answer: until new devices have waited
/// for their other paths.
const LIFE: Millis = Millis(10_000);

/// How long all commands together may take. Paths that have not answered by then count as silent.
const WITHIN: Duration = Duration::from_secs(60);

/// What the agent would do.
pub(super) struct Foreseen {
    /// The table that it would load into each map, by the name of the map.
    tables: BTreeMap<String, Table>,
    /// The disks that did not answer. What it would do to their maps is not known.
    silent: BTreeSet<DevT>,
}

/// Runs an agent that sees the maps.
///
/// # Errors
/// The paths of the host cannot be listed or read.
pub(super) fn foresee(
    host: &Sysfs,
    maps: &[Map],
    decisions: Decisions,
) -> Result<Foreseen, Failure> {
    let Decisions {
        rules,
        settings,
        memory,
    } = decisions;
    let end = settings.check_deadline_ms.after(LIFE);
    let mut world = World::with_rules(settings, memory, rules);
    let mut silent = BTreeSet::new();
    let until = Instant::now() + WITHIN;
    let events = found(host, maps)?;
    let mut tables = BTreeMap::new();
    offline::run(&mut world, events, end, |action| match action {
        Action::Examine(asked) => {
            let path = asked.path;
            let answer = answer(host, asked, until);
            if answer.is_none() {
                silent.insert(path);
            }
            answer
        }
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
    let dev_of = |path: Hctl| world.paths().find(|(id, _)| **id == path)?.1.dev();
    let silent = silent.into_iter().filter_map(dev_of).collect();
    Ok(Foreseen { tables, silent })
}

/// What an agent finds when it starts.
fn found(host: &Sysfs, maps: &[Map]) -> Result<VecDeque<Event>, Failure> {
    let unknown = |_: Shortage| {
        Failure::Refused(
            "the paths of the host cannot be read: files or memory are short".to_owned(),
        )
    };
    let mut survey = Survey::new(host.clone());
    let paths = host.list_paths().map_err(unknown)?;
    let mut events = VecDeque::new();
    for path in &paths {
        let facts = survey.read(*path).map_err(unknown)?;
        events.extend(facts.map(|facts| Event::PathSeen(Box::new(facts))));
    }
    events.push_back(Event::PathsListed(paths));
    let seen = maps.iter().cloned();
    events.extend(seen.map(|map| Event::MapSeen(Box::new(map))));
    let names = maps.iter().map(|map| map.name.clone());
    events.push_back(Event::MapsListed(names.collect()));
    Ok(events)
}

fn table_of(step: MapStep) -> Option<Table> {
    match step {
        MapStep::Create { table, .. } | MapStep::Reload { table, .. } => Some(table),
        _ => None,
    }
}

/// Sends the commands of an examination. The device is open only meanwhile, because a host may have more of them than a
/// process may open. `None` if it does not answer.
fn answer(host: &Sysfs, asked: Examine, until: Instant) -> Option<Event> {
    let device = PassThrough::open(host, &asked.path.to_string()).ok()?;
    let mut replies = Vec::new();
    for command in asked.commands.iter() {
        // An agent that starts moves no unit before it has taken the maps over.
        let changes = matches!(command, Command::SetTargetPortGroups(_));
        if changes || Instant::now() > until {
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

/// What would happen to each map, in lines.
pub(super) fn lines(maps: &[Map], foreseen: &Foreseen) -> Vec<String> {
    let Foreseen { tables, silent } = foreseen;
    let shown = |table: &Table| emit(table).unwrap_or_else(|why| why.to_string());
    let mut lines = Vec::new();
    for map in maps {
        let name = &map.name;
        let unknown: Vec<String> = disks(map)
            .intersection(silent)
            .map(DevT::to_string)
            .collect();
        if !unknown.is_empty() {
            let disks = unknown.join(", ");
            lines.push(format!(
                "{name}: whether a table would be loaded is not known, because these disks do not answer: {disks}"
            ));
            continue;
        }
        let Some(then) = tables.get(name) else {
            lines.push(format!("{name}: no table would be loaded"));
            continue;
        };
        lines.push(format!("{name}: a table would be loaded:"));
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
