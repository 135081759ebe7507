//! Renders the view for a window of any size.
//!
//! ```text
//! psactl top: 4 devices, 1 degraded; 16 paths, 2 dead
//! sort iops, every 2 s   ? help
//! DEVICE / PATH                  STATE             IOPS    MB/s  LAT ms  INFL SHARE
//! naa.60014058d2…d1db0c4df       degraded          1234    12.3    0.42    12
//!   vmhba2:C0:T0:L1 sdc          active             617     6.1    0.40     6   50%
//! ```
//!
//! If the window is too narrow, columns are left out in the order given in `COLUMNS`, and the state below a width of 30.
//! Names are shortened in the middle.

use super::{DeviceRow, Load, PathRow, View};
use crate::cli::graph::shortened;
use crate::cli::printable::printable;
use std::collections::BTreeMap;

const STATE: usize = 14;
/// Names, widths, and the order in which columns are left out.
const COLUMNS: [(&str, usize, u8); 5] = [
    ("IOPS", 7, 5),
    ("MB/s", 7, 3),
    ("LAT ms", 7, 4),
    ("INFL", 5, 2),
    ("SHARE", 5, 1),
];
/// The minimum width of the name; columns are left out to keep it.
const LEAST_NAME: usize = 20;
/// Number of lines above the rows.
const HEAD: usize = 3;

const HELP: [&str; 12] = [
    "q            quit",
    "arrows       one line up or down; PgUp, PgDn, Home, End",
    "s            next order: iops, throughput, latency, inflight, state, name",
    "p            show only devices with a problem, or all devices",
    "space        pause or continue",
    "?            show or hide this help",
    "",
    "STATE        of a device: on, degraded, dead, ...; apd: all paths down, I/O queues or fails",
    "LAT ms       average time of a read or write, including queueing in the host",
    "INFL         reads and writes in flight",
    "SHARE        percentage of the I/O of all paths of the device",
    "MB/s         10^6 bytes per second",
];

/// The appearance of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Plain,
    Reverse,
    Bold,
    Red,
    Yellow,
    Faint,
}

/// The number of rows that fit into a window of this height.
#[must_use]
pub fn page(height: usize) -> usize {
    height.saturating_sub(HEAD)
}

/// The number of rows to show.
#[must_use]
pub fn length(devices: &[DeviceRow], view: &View) -> usize {
    shown(devices, view)
        .map(|row| row.paths.len().saturating_add(1))
        .sum()
}

fn shown<'a>(devices: &'a [DeviceRow], view: &View) -> impl Iterator<Item = &'a DeviceRow> {
    let problems = view.problems;
    devices
        .iter()
        .filter(move |row| row.is_problem || !problems)
}

/// The lines of a window: at most `height` lines, each at most `width` wide.
#[must_use]
pub fn draw(
    devices: &[DeviceRow],
    view: &View,
    (width, height): (usize, usize),
    colour: bool,
) -> Vec<String> {
    let columns = columns(width);
    let mut lines = vec![
        (Paint::Bold, summary(devices)),
        match &view.trouble {
            Some(trouble) => (Paint::Red, format!("no answer, retrying: {trouble}")),
            None => (Paint::Plain, choices(devices, view, height)),
        },
    ];
    if view.help {
        lines.push((Paint::Reverse, pad("KEYS AND COLUMNS", width)));
        lines.extend(HELP.iter().map(|line| (Paint::Plain, (*line).to_owned())));
    } else {
        lines.push((Paint::Reverse, headings(&columns, width)));
        let rows = shown(devices, view).flat_map(|device| {
            let paths = device.paths.iter().map(|path| path_line(path, &columns));
            std::iter::once(device_line(device, &columns)).chain(paths)
        });
        lines.extend(rows.skip(view.skipped));
        if devices.is_empty() && view.trouble.is_none() {
            lines.push((Paint::Faint, "There is no device yet.".to_owned()));
        } else if view.problems && shown(devices, view).next().is_none() {
            lines.push((Paint::Faint, "No device has a problem.".to_owned()));
        }
    }
    lines.truncate(height);
    lines
        .into_iter()
        .map(|(paint, line)| {
            // A line contains only characters that are one column wide.
            let line = ascii(&line).chars().take(width).collect::<String>();
            painted(paint, line.trim_end_matches(' '), &line, colour)
        })
        .collect()
}

/// The text with `?` for each character that could be wider than one column.
fn ascii(text: &str) -> String {
    let narrow = |c: char| if c.is_ascii() || c == '…' { c } else { '?' };
    printable(text).chars().map(narrow).collect()
}

fn painted(paint: Paint, trimmed: &str, full: &str, colour: bool) -> String {
    let (code, text) = match paint {
        Paint::Plain => return trimmed.to_owned(),
        Paint::Reverse => ("7", full),
        Paint::Bold => ("1", trimmed),
        Paint::Red => ("31", trimmed),
        Paint::Yellow => ("33", trimmed),
        Paint::Faint => ("2", trimmed),
    };
    match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => trimmed.to_owned(),
    }
}

fn summary(devices: &[DeviceRow]) -> String {
    let states = |states: Vec<&str>, good: &[&str]| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for state in states {
            *counts.entry(state).or_default() += 1;
        }
        let bad = counts.iter().filter(|(state, _)| !good.contains(state));
        bad.map(|(state, count)| format!(", {count} {state}"))
            .collect::<String>()
    };
    let of_device = |row: &DeviceRow| match row.state.starts_with("apd ") {
        true => "apd".to_owned(),
        false => row.state.clone(),
    };
    let words: Vec<String> = devices.iter().map(of_device).collect();
    let paths: Vec<&str> = devices
        .iter()
        .flat_map(|row| row.paths.iter().map(|path| path.state.as_str()))
        .collect();
    format!(
        "psactl top: {} devices{}; {} paths{}",
        devices.len(),
        states(words.iter().map(String::as_str).collect(), &["on"]),
        paths.len(),
        states(paths, &["active", "active unoptimized", "standby"]),
    )
}

fn choices(devices: &[DeviceRow], view: &View, height: usize) -> String {
    let mut line = format!(
        "sort {}, every {} s",
        view.sort.as_str(),
        view.delay.as_secs_f64()
    );
    if view.problems {
        line += ", problems only";
    }
    if view.paused {
        line += ", paused";
    }
    let (rows, page) = (length(devices, view), page(height));
    if rows > page {
        let first = view.skipped.saturating_add(1).min(rows);
        let last = view.skipped.saturating_add(page).min(rows);
        line += &format!(", rows {first}-{last} of {rows}");
    }
    line + "   ? help"
}

/// The layout at some width: which columns are shown, the width of the name, and the width of the state.
struct Layout {
    shown: [bool; COLUMNS.len()],
    name: usize,
    state: usize,
}

fn columns(width: usize) -> Layout {
    let mut shown = [true; COLUMNS.len()];
    let used = |shown: &[bool; COLUMNS.len()]| -> usize {
        let pairs = COLUMNS.iter().zip(shown).filter(|(_, shown)| **shown);
        pairs
            .map(|((_, width, _), _)| width.saturating_add(1))
            .sum()
    };
    let state = if width >= 30 { STATE + 1 } else { 0 };
    for round in 1..=5 {
        if width.saturating_sub(state).saturating_sub(used(&shown)) >= LEAST_NAME {
            break;
        }
        for ((_, _, order), shown) in COLUMNS.iter().zip(&mut shown) {
            *shown &= *order != round;
        }
    }
    Layout {
        name: width.saturating_sub(state).saturating_sub(used(&shown)),
        shown,
        state: state.saturating_sub(1),
    }
}

fn headings(columns: &Layout, width: usize) -> String {
    let names = COLUMNS.map(|(name, _, _)| name.to_owned());
    pad(&compose("DEVICE / PATH", "STATE", names, columns), width)
}

fn device_line(row: &DeviceRow, columns: &Layout) -> (Paint, String) {
    let name = shortened(&ascii(&row.name), columns.name);
    let line = compose(&name, &row.state, figures(row.load.as_ref(), None), columns);
    let paint = match row.state.as_str() {
        "on" | "off" => Paint::Bold,
        "degraded" | "unknown" => Paint::Yellow,
        _ => Paint::Red,
    };
    (paint, line)
}

fn path_line(path: &PathRow, columns: &Layout) -> (Paint, String) {
    let room = columns.name.saturating_sub(2);
    let disk = ascii(&path.disk);
    let left = room.saturating_sub(disk.chars().count().saturating_add(1));
    let name = shortened(&ascii(&path.name), left);
    let name = shortened(&format!("{name} {disk}"), room);
    let state = match path.state.as_str() {
        "active unoptimized" => "unoptimized",
        state => state,
    };
    let figures = figures(path.load.as_ref(), path.share);
    let line = compose(&format!("  {name}"), state, figures, columns);
    let paint = match path.state.as_str() {
        "dead" => Paint::Red,
        "unknown" => Paint::Yellow,
        "off" | "masked" => Paint::Faint,
        _ => Paint::Plain,
    };
    (paint, line)
}

/// The figures of a line: IOPS, MB/s, latency, in flight, share.
fn figures(load: Option<&Load>, share: Option<u64>) -> [String; COLUMNS.len()] {
    let none = || "-".to_owned();
    let Some(load) = load else {
        return [none(), none(), none(), none(), none()];
    };
    [
        number(load.iops, 0),
        number(load.megabytes, 1),
        load.latency.map_or_else(none, |latency| number(latency, 2)),
        load.in_flight.to_string(),
        share.map_or_else(String::new, |share| format!("{share}%")),
    ]
}

/// A number in at most seven characters.
fn number(value: f64, digits: usize) -> String {
    match value {
        _ if value < 1000.0 => format!("{value:.digits$}"),
        _ if value < 1e6 => format!("{value:.0}"),
        _ if value < 1e9 => format!("{:.1}M", value / 1e6),
        _ => format!("{:.1}G", value / 1e9),
    }
}

fn compose(name: &str, state: &str, figures: [String; COLUMNS.len()], columns: &Layout) -> String {
    let mut line = pad(name, columns.name);
    if columns.state > 0 {
        line.push(' ');
        line += &pad(state, columns.state);
    }
    for ((figure, (_, width, _)), shown) in figures.iter().zip(COLUMNS).zip(columns.shown) {
        if shown {
            line += &format!(" {figure:>width$}");
        }
    }
    line
}

/// The text, padded or cut to exactly `width` characters.
fn pad(text: &str, width: usize) -> String {
    let text: String = text.chars().take(width).collect();
    format!("{text:<width$}")
}
