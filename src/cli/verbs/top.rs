//! `psactl top`: a live view of devices and their paths, or tables of the same data for scripts.

use super::arguments::{flag, option, text};
use super::host::device;
use super::verb::Verb;
use crate::api::requests::GetTopology;
use crate::api::types::Topology;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::printable::printable;
use crate::cli::record::{Listing, Record, Style, Value};
use crate::cli::top::screen::{draw, length, page};
use crate::cli::top::{DeviceRow, Load, Reading, Sort, View, rows};
use crate::kernel::sysfs::Sysfs;
use crate::kernel::terminal::{Input, Key, Terminal};
use clap::{Arg, ArgMatches, value_parser};
use std::io::IsTerminal;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[Verb {
    words: &["top"],
    about: "Watch devices and their paths: state, I/O per second, latency, I/O in flight",
    arguments: &[device, delay, sort, batch, iterations],
    run: top,
    legacy: false,
}];

/// The maximum time to wait for the agent, because keys must be handled.
const PATIENCE: Duration = Duration::from_secs(1);

/// The maximum time until the first figures are shown.
const FIRST: Duration = Duration::from_millis(500);

fn delay() -> Arg {
    option(
        "delay",
        None,
        "SECONDS",
        "Seconds between two readings, 0.1 to 3600 [default: 2]",
    )
    .value_parser(|text: &str| match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("use 0.1 to 3600 seconds".to_owned()),
    })
}

fn sort() -> Arg {
    option("sort", None, "BY", "Sort order of devices [default: iops]")
        .value_parser(value_parser!(Sort))
}

fn batch() -> Arg {
    flag("batch", Some('b'), "Print tables instead of the live view")
}

fn iterations() -> Arg {
    option(
        "iterations",
        Some('n'),
        "N",
        "With --batch: number of tables [default: 1]",
    )
    .requires("batch")
    .value_parser(value_parser!(u64).range(1..))
}

fn top(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let host = context.host()?;
    let request = GetTopology {
        device: text(given, "device"),
    };
    let delay = given.get_one("delay").copied();
    let delay = delay.unwrap_or(Duration::from_secs(2));
    let sort = given.get_one("sort").copied().unwrap_or_default();
    if given.get_flag("batch") {
        let count = given.get_one("iterations").copied().unwrap_or(1);
        return tables(context, &host, &request, delay, sort, count);
    }
    if !std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "standard output is not a terminal: use --batch".to_owned(),
        ));
    }
    let view = View {
        sort,
        delay,
        ..View::default()
    };
    context.wait_no_longer_than(PATIENCE);
    // A device that does not exist will not appear, so this is reported before the screen changes. An agent that is not
    // running may start.
    let devices = match context.ask(&request) {
        Err(failure) if !matches!(&failure, Failure::Agent(why) if why.is_unreachable()) => {
            return Err(failure);
        }
        answer => answer.map(|reply| reply.devices).unwrap_or_default(),
    };
    let terminal = Terminal::open().map_err(|why| {
        Failure::Refused(format!(
            "standard output cannot be used as a terminal: {why}; use --batch"
        ))
    })?;
    live(context, &host, &request, view, devices, terminal)?;
    Ok(Listing::lines([]))
}

fn tables(
    context: &mut Context,
    host: &Sysfs,
    request: &GetTopology,
    delay: Duration,
    sort: Sort,
    count: u64,
) -> Result<Listing, Failure> {
    let mut devices = context.ask(request)?.devices;
    let mut before = Reading::of(host, &devices);
    let mut left = count;
    loop {
        sleep(delay);
        devices = context.ask(request)?.devices;
        let now = Reading::of(host, &devices);
        let mut found = rows(&devices, Some(&before), &now);
        sort.sort(&mut found);
        let table = table(&found);
        left = left.saturating_sub(1);
        if left == 0 {
            return Ok(table);
        }
        context.print(&table)?;
        before = now;
    }
}

fn table(rows: &[DeviceRow]) -> Listing {
    let columns = [
        "Device",
        "Path",
        "Disk",
        "State",
        "IOPS",
        "MB/s",
        "Latency (ms)",
        "In Flight",
        "Share (%)",
    ];
    let number = |value: Option<f64>, digits: usize| {
        let text = value.map(|value| format!("{value:.digits$}"));
        text.map_or(Value::Absent("-"), Value::Text)
    };
    let record = |names: [&str; 4], load: Option<Load>, share: Option<u64>| {
        let [device, path, disk, state] = names;
        let or_dash = |text: &str| match text {
            "" => Value::Absent("-"),
            text => Value::from(text),
        };
        let values = [
            Value::from(device),
            or_dash(path),
            or_dash(disk),
            Value::State(state.to_owned()),
            number(load.map(|load| load.iops), 1),
            number(load.map(|load| load.megabytes), 2),
            number(load.and_then(|load| load.latency), 2),
            load.map_or(Value::Absent("-"), |load| load.in_flight.into()),
            share.map_or(Value::Absent("-"), Value::from),
        ];
        Record {
            heading: None,
            fields: columns.into_iter().zip(values).collect(),
        }
    };
    let records = rows.iter().flat_map(|row| {
        let paths = row.paths.iter().map(|path| {
            let names = [row.name.as_str(), &path.name, &path.disk, &path.state];
            record(names, path.load, path.share)
        });
        let own = record([&row.name, "", "", &row.state], row.load, None);
        std::iter::once(own).chain(paths)
    });
    Listing {
        kind: "Load",
        style: Style::Table,
        title: None,
        heading: None,
        columns: columns.to_vec(),
        records: records.collect(),
    }
}

fn live(
    context: &mut Context,
    host: &Sysfs,
    request: &GetTopology,
    mut view: View,
    mut devices: Vec<Topology>,
    mut terminal: Terminal,
) -> Result<(), Failure> {
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let utf8 = speaks_utf8();
    let mut before = Reading::of(host, &devices);
    let mut found = rows(&devices, None, &before);
    let mut due = Instant::now() + view.delay.min(FIRST);
    loop {
        view.sort.sort(&mut found);
        let size = terminal.size();
        let last = length(&found, &view).saturating_sub(page(size.1));
        view.skipped = view.skipped.min(last);
        let mut lines = draw(&found, &view, size, colour);
        if !utf8 {
            lines
                .iter_mut()
                .for_each(|line| *line = line.replace('…', "~"));
        }
        terminal.show(&lines)?;
        match terminal.wait(due.saturating_duration_since(Instant::now())) {
            Input::Stop => return Ok(()),
            Input::Keys(keys) => {
                for key in keys {
                    if press(&mut view, key, page(size.1)) {
                        return Ok(());
                    }
                }
            }
            Input::Resized | Input::Nothing => {}
        }
        if Instant::now() < due {
            continue;
        }
        due = Instant::now() + view.delay;
        if view.paused {
            continue;
        }
        view.trouble = match context.ask(request) {
            Ok(reply) => {
                devices = reply.devices;
                None
            }
            Err(why) => {
                let why = why.to_string();
                let first = why.lines().next().unwrap_or_default();
                Some(printable(first).into_owned())
            }
        };
        // The kernel counts without the agent.
        let now = Reading::of(host, &devices);
        found = rows(&devices, Some(&before), &now);
        before = now;
    }
}

/// Handles a key; returns whether it ends the view.
fn press(view: &mut View, key: Key, page: usize) -> bool {
    let page = page.saturating_sub(1).max(1);
    match key {
        Key::Char('q') => return true,
        Key::Escape if !view.help => return true,
        Key::Char('?' | 'h') | Key::Escape => view.help = !view.help,
        Key::Char('s') => view.sort = view.sort.next(),
        Key::Char('p') => view.problems = !view.problems,
        Key::Char(' ') => view.paused = !view.paused,
        Key::Char(_) => {}
        Key::Up => view.skipped = view.skipped.saturating_sub(1),
        Key::Down => view.skipped = view.skipped.saturating_add(1),
        Key::PageUp => view.skipped = view.skipped.saturating_sub(page),
        Key::PageDown => view.skipped = view.skipped.saturating_add(page),
        Key::Home => view.skipped = 0,
        Key::End => view.skipped = usize::MAX,
    }
    false
}

/// Whether the locale of the terminal is UTF-8 (locale(7)).
fn speaks_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"));
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
