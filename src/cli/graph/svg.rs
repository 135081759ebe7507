//! Draws a picture without external programs: each device is a card, with layers from left to right in the direction of
//! I/O.
//!
//! ```text
//! host adapters ──> paths, framed by priority group ──> target ports ──> device
//! ```
//!
//! Paths are stacked by group, then by name. Adapters and ports are placed at the mean height of their paths, and moved
//! apart where they would overlap. All lengths are in pixels.

use super::{
    Alike, carries_io, group_title, groups, others, port_name, shortened, trouble, without_lun,
};
use crate::api::types::{Topology, TopologyPath};
use crate::cli::printable::printable;
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: i32 = 1240;
const MARGIN: i32 = 28;
/// Left edge and width of each layer.
const ADAPTER: (i32, i32) = (MARGIN, 200);
const FRAME: (i32, i32) = (332, 316);
const PATH: (i32, i32) = (342, 296);
const PORT: (i32, i32) = (752, 206);
const DEVICE: (i32, i32) = (1028, 184);
/// Height of the title and the names of the layers, above the layers of a card.
const HEAD: i32 = 96;
const FRAME_HEAD: i32 = 28;
const FRAME_GAP: i32 = 18;
const GAP: i32 = 12;
const BOX: i32 = 46;
const DEVICE_BOX: i32 = 114;
/// Additional height if there is a problem to show.
const TROUBLE: i32 = 34;
const LEGEND: i32 = 44;
/// Width of a character in the monospaced font at 12 px, rounded up.
const CHARACTER: i32 = 8;

const INK: &str = "#1f2328";
const FAINT: &str = "#59636e";
const LINE: &str = "#afb8c1";
const ACCENT: &str = "#0969da";

/// A state: its word, its colour, and the line style of its edges.
struct State {
    word: &'static str,
    colour: &'static str,
    dash: &'static str,
}

const STATES: [State; 7] = [
    State {
        word: "active",
        colour: "#1a7f37",
        dash: "",
    },
    State {
        word: "active unoptimized",
        colour: "#0550ae",
        dash: "",
    },
    State {
        word: "standby",
        colour: "#59636e",
        dash: "2 4",
    },
    State {
        word: "dead",
        colour: "#cf222e",
        dash: "7 5",
    },
    State {
        word: "off",
        colour: "#59636e",
        dash: "7 5",
    },
    State {
        word: "unknown",
        colour: "#9a6700",
        dash: "2 4",
    },
    State {
        word: "masked",
        colour: "#59636e",
        dash: "7 5",
    },
];

fn state_of(word: &str) -> &'static State {
    let [_, _, _, _, _, unknown, _] = &STATES;
    STATES
        .iter()
        .find(|state| state.word == word)
        .unwrap_or(unknown)
}

/// The picture of these devices, one below the other.
#[must_use]
pub fn svg(all: &[Alike<'_>]) -> String {
    let mut body = String::new();
    let mut top = MARGIN;
    for alike in all {
        if let Some(device) = alike.first() {
            top += card(&mut body, top, alike, device) + MARGIN;
        }
    }
    legend(&mut body, top);
    let height = top + LEGEND;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"'DejaVu Sans', 'Liberation Sans', Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n\
         <style>.m {{ font-family: 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace }} .b {{ font-weight: bold }}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// An adapter or port in a layer.
struct Place<'a> {
    name: &'a str,
    detail: String,
    /// The heights of its paths.
    paths: Vec<i32>,
    top: i32,
}

impl Place<'_> {
    fn middle(&self) -> i32 {
        self.top + BOX / 2
    }
}

/// Draws a card below `top` and returns its height.
fn card(out: &mut String, top: i32, alike: &Alike<'_>, device: &Topology) -> i32 {
    let groups = groups(device);
    let row = if device.paths.len() > 16 { 24 } else { 32 };
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX / 64);
    let frame_height = |paths: usize| FRAME_HEAD + count(paths) * row + 8;
    let frames: i32 = groups
        .iter()
        .map(|(_, paths)| frame_height(paths.len()) + FRAME_GAP)
        .sum::<i32>()
        - FRAME_GAP;

    // The heights of paths, which determine those of the other layers.
    let mut rows: Vec<(&TopologyPath, i32)> = Vec::new();
    let mut tops = Vec::new();
    let layers = |pick: fn(&TopologyPath) -> &str| {
        let names: std::collections::BTreeSet<&str> = device.paths.iter().map(pick).collect();
        count(names.len()) * (BOX + GAP) - GAP
    };
    let tallest = frames
        .max(layers(|path| &path.adapter))
        .max(layers(|path| &path.target_identifier))
        .max(DEVICE_BOX + TROUBLE);
    let start = top + HEAD;
    let mut y = start + (tallest - frames) / 2;
    for (_, paths) in &groups {
        tops.push(y);
        for (place, path) in paths.iter().enumerate() {
            rows.push((path, y + FRAME_HEAD + count(place) * row + row / 2));
        }
        y += frame_height(paths.len()) + FRAME_GAP;
    }
    let area = (start, start + tallest);
    let adapters = layer(&rows, area, |p| &p.adapter, |p| &p.adapter_identifier);
    let ports = layer(
        &rows,
        area,
        |p| &p.target_identifier,
        |p| &p.target_identifier,
    );
    let middle = start + tallest / 2;

    head(out, top, alike, device);
    for ((group, paths), y) in groups.iter().zip(&tops) {
        let current = carries_io(*group, paths);
        frame(
            out,
            (*y, frame_height(paths.len())),
            &group_title(device, *group, paths),
            current,
            group.is_none(),
        );
    }
    edges(out, &rows, &adapters, &ports, middle);
    for (path, y) in &rows {
        path_row(out, path, *y, row, alike.devices.len());
    }
    for place in &adapters {
        node(out, ADAPTER, place, place.name, "adapter");
    }
    for place in &ports {
        node(out, PORT, place, "target port", "port");
    }
    device_box(out, middle, alike, device);
    HEAD + tallest
}

/// The items of a layer in the order of their paths, without overlaps.
fn layer<'a>(
    rows: &[(&'a TopologyPath, i32)],
    (top, bottom): (i32, i32),
    name: fn(&TopologyPath) -> &str,
    identifier: fn(&TopologyPath) -> &str,
) -> Vec<Place<'a>> {
    let mut found: BTreeMap<&str, Place<'a>> = BTreeMap::new();
    for (path, y) in rows {
        let place = found.entry(name(path)).or_insert_with(|| Place {
            name: name(path),
            detail: port_name(identifier(path)),
            paths: Vec::new(),
            top: 0,
        });
        place.paths.push(*y);
    }
    let mut places: Vec<Place<'a>> = found.into_values().collect();
    let mean = |place: &Place<'_>| {
        let count = i32::try_from(place.paths.len()).unwrap_or(i32::MAX);
        place.paths.iter().sum::<i32>() / count.max(1)
    };
    places.sort_by_key(|place| (mean(place), place.name));
    let mut least = top;
    for place in &mut places {
        place.top = (mean(place) - BOX / 2).max(least);
        least = place.top + BOX + GAP;
    }
    // Items that were pushed beyond the lower end move up again.
    let mut most = bottom - BOX;
    for place in places.iter_mut().rev() {
        place.top = place.top.min(most);
        most = place.top - BOX - GAP;
    }
    places
}

fn head(out: &mut String, top: i32, alike: &Alike<'_>, device: &Topology) {
    let (name, detail) =
        others(alike).unwrap_or_else(|| (device.device.clone(), device.display_name.clone()));
    text(
        out,
        (MARGIN, top + 22),
        "font-size=\"20\" class=\"b\"",
        &name,
    );
    let most = 150;
    text(
        out,
        (MARGIN, top + 44),
        &format!("fill=\"{FAINT}\""),
        &shortened(&printable(&detail), most),
    );
    for ((x, _), name) in [
        (ADAPTER, "HOST ADAPTERS"),
        (FRAME, "PATHS BY PRIORITY GROUP"),
        (PORT, "TARGET PORTS"),
        (DEVICE, "DEVICE"),
    ] {
        let style = format!("fill=\"{FAINT}\" font-size=\"10\" letter-spacing=\"1\"");
        text(out, (x, top + 80), &style, name);
    }
}

fn edges(
    out: &mut String,
    rows: &[(&TopologyPath, i32)],
    adapters: &[Place<'_>],
    ports: &[Place<'_>],
    middle: i32,
) {
    let height = |places: &[Place<'_>], name: &str| {
        let found = places.iter().find(|place| place.name == name);
        found.map_or(middle, Place::middle)
    };
    // Edges that carry I/O are drawn last, on top of the others.
    let mut ordered: Vec<_> = rows.iter().collect();
    ordered.sort_by_key(|(path, _)| path.carries_io);
    for (path, y) in ordered {
        let state = state_of(&path.state);
        let (width, opacity) = if path.carries_io {
            (3, "1")
        } else {
            (1, "0.75")
        };
        let style = format!(
            "stroke=\"{}\" stroke-width=\"{width}\" stroke-opacity=\"{opacity}\" stroke-dasharray=\"{}\"",
            state.colour, state.dash
        );
        let from = (ADAPTER.0 + ADAPTER.1, height(adapters, &path.adapter));
        let to = (PORT.0, height(ports, &path.target_identifier));
        curve(out, from, (PATH.0, *y), &style);
        curve(out, (PATH.0 + PATH.1, *y), to, &style);
    }
    for place in ports {
        let carries =
            |path: &&TopologyPath| path.carries_io && path.target_identifier == place.name;
        let carries = rows
            .iter()
            .map(|(path, _)| *path)
            .any(|path| carries(&path));
        let (colour, width) = if carries { (ACCENT, 3) } else { (LINE, 1) };
        let style = format!("stroke=\"{colour}\" stroke-width=\"{width}\"");
        let from = (PORT.0 + PORT.1, place.middle());
        curve(out, from, (DEVICE.0, middle), &style);
    }
}

fn curve(out: &mut String, (x1, y1): (i32, i32), (x2, y2): (i32, i32), style: &str) {
    let bend = (x2 - x1) / 2;
    let (c1, c2) = (x1 + bend, x2 - bend);
    let style = style.replace(" stroke-dasharray=\"\"", "");
    let _ = writeln!(
        out,
        "<path d=\"M{x1} {y1}C{c1} {y1} {c2} {y2} {x2} {y2}\" fill=\"none\" {style}/>"
    );
}

fn frame(out: &mut String, (y, height): (i32, i32), title: &str, current: bool, loose: bool) {
    let (x, width) = FRAME;
    let (stroke, fill, weight) = match current {
        true => (ACCENT, "#ddf4ff", 2),
        false => (LINE, "#f6f8fa", 1),
    };
    let dash = if loose {
        " stroke-dasharray=\"4 4\""
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"{weight}\"{dash}/>"
    );
    let ink = if current { ACCENT } else { FAINT };
    let style = format!("class=\"b\" font-size=\"11\" fill=\"{ink}\"");
    text(out, (x + 12, y + 18), &style, title);
}

fn path_row(out: &mut String, path: &TopologyPath, middle: i32, row: i32, devices: usize) {
    let (x, width) = PATH;
    let state = state_of(&path.state);
    let (top, height) = (middle - row / 2 + 1, row - 4);
    let stroke = if path.carries_io { 2 } else { 1 };
    let why = match path.reason.as_str() {
        "" => path.state.clone(),
        reason => format!("{}: {reason}", path.state),
    };
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"5\" fill=\"#ffffff\" stroke=\"{}\" stroke-width=\"{stroke}\"/>",
        escaped(&format!("{} {why}", path.runtime_name)),
        state.colour
    );
    shape(out, state, (x + 14, middle - 1));
    let (name, disk) = match devices {
        1 => (path.runtime_name.as_str(), path.disk.clone()),
        count => (without_lun(&path.runtime_name), Some(format!("×{count}"))),
    };
    let base = middle + 3;
    text(
        out,
        (x + 28, base),
        "class=\"m b\" font-size=\"11\"",
        &shortened(&printable(name), 19),
    );
    let style = format!("class=\"m\" font-size=\"11\" fill=\"{FAINT}\"");
    text(
        out,
        (x + 166, base),
        &style,
        &disk.unwrap_or_else(|| "–".to_owned()),
    );
    let word = match path.state.as_str() {
        "active unoptimized" => "unoptimized",
        word => word,
    };
    let style = format!("font-size=\"11\" fill=\"{}\"", state.colour);
    text(out, (x + 200, base), &style, word);
    if path.carries_io {
        let (left, top) = (x + width - 26, middle - 8);
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"22\" height=\"14\" rx=\"3\" fill=\"{}\"/>",
            state.colour
        );
        let style = "class=\"b\" font-size=\"9\" fill=\"#ffffff\" text-anchor=\"middle\"";
        text(out, (left + 11, top + 11), style, "I/O");
    }
    out.push_str("</g>\n");
}

/// Draws the shape of a state, which shows the state without colour.
fn shape(out: &mut String, state: &State, (x, y): (i32, i32)) {
    let colour = state.colour;
    let ring = format!(
        "<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
    );
    let stroke =
        format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linecap=\"round\"");
    let (left, right, up, down) = (x - 4, x + 4, y - 4, y + 4);
    let drawn = match state.word {
        "active" => format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>"),
        "active unoptimized" => format!(
            "{ring}<path d=\"M{x} {}A5 5 0 0 0 {x} {}Z\" fill=\"{colour}\"/>",
            y - 5,
            y + 5
        ),
        "standby" => ring,
        "dead" => {
            format!("<path d=\"M{left} {up}L{right} {down}M{right} {up}L{left} {down}\" {stroke}/>")
        }
        "off" => format!("<rect x=\"{left}\" y=\"{up}\" width=\"8\" height=\"8\" {stroke}/>"),
        "masked" => format!("<path d=\"M{left} {y}L{right} {y}\" {stroke}/>"),
        _ => format!(
            "<path d=\"M{x} {}L{} {y}L{x} {}L{} {y}Z\" {stroke}/>",
            y - 5,
            x + 5,
            y + 5,
            x - 5
        ),
    };
    out.push_str(&drawn);
    out.push('\n');
}

fn node(out: &mut String, (x, width): (i32, i32), place: &Place<'_>, title: &str, kind: &str) {
    let _ = writeln!(
        out,
        "<g><title>{kind} {}</title><rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{BOX}\" rx=\"8\" fill=\"#ffffff\" stroke=\"#6e7781\"/>",
        escaped(&place.detail),
        place.top
    );
    let paths = match place.paths.len() {
        1 => "1 path".to_owned(),
        count => format!("{count} paths"),
    };
    text(out, (x + 12, place.top + 19), "class=\"b\"", title);
    let style = format!("fill=\"{FAINT}\" font-size=\"10\" text-anchor=\"end\"");
    text(out, (x + width - 12, place.top + 19), &style, &paths);
    let most = usize::try_from((width - 24) / 7).unwrap_or(0);
    let style = format!("class=\"m\" font-size=\"11\" fill=\"{FAINT}\"");
    let detail = shortened(&printable(&place.detail), most);
    text(out, (x + 12, place.top + 36), &style, &detail);
    out.push_str("</g>\n");
}

fn device_box(out: &mut String, middle: i32, alike: &Alike<'_>, device: &Topology) {
    let (x, width) = DEVICE;
    let trouble = trouble(device);
    let height = DEVICE_BOX + if trouble.is_some() { TROUBLE } else { 0 };
    let top = middle - height / 2;
    let (colour, fill) = match device.status.as_str() {
        "on" => ("#1a7f37", "#ffffff"),
        "degraded" | "unknown" => ("#9a6700", "#fff8c5"),
        "off" => ("#59636e", "#f6f8fa"),
        _ => ("#cf222e", "#ffebe9"),
    };
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"10\" fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        escaped(&device.device)
    );
    let most = usize::try_from((width - 20) / CHARACTER).unwrap_or(0);
    let name = match alike.devices.len() {
        1 => shortened(&printable(&device.device), most),
        count => format!("{count} devices"),
    };
    text(out, (x + 12, top + 22), "class=\"m b\"", &name);
    let status = format!("class=\"b\" font-size=\"13\" fill=\"{colour}\"");
    text(out, (x + 12, top + 44), &status, &device.status);
    let size = match device.size_mib {
        mib if mib >= 1024 * 1024 => format!("{:.1} TiB", tenths(mib, 1024 * 1024)),
        mib if mib >= 1024 => format!("{:.1} GiB", tenths(mib, 1024)),
        mib => format!("{mib} MiB"),
    };
    let map = device.map.as_deref().unwrap_or("no map");
    let about = match alike.devices.len() {
        1 => format!("{size}, {map}"),
        _ => "each has its own map".to_owned(),
    };
    let faint = format!("fill=\"{FAINT}\" font-size=\"11\"");
    let lines = [about, device.satp.clone(), device.psp.clone()];
    for (y, line) in (66..)
        .step_by(17)
        .zip(lines.iter().filter(|l| !l.is_empty()))
    {
        text(out, (x + 12, top + y), &faint, line);
    }
    if let Some(trouble) = trouble {
        let style = "class=\"b\" font-size=\"10\" fill=\"#cf222e\"";
        let (what, effect) = trouble.split_once(": ").unwrap_or((&trouble, ""));
        text(out, (x + 12, top + DEVICE_BOX + 6), style, what);
        text(out, (x + 12, top + DEVICE_BOX + 21), style, effect);
    }
    out.push_str("</g>\n");
}

#[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
fn tenths(mib: u64, unit: u64) -> f64 {
    mib as f64 / unit as f64
}

fn legend(out: &mut String, top: i32) {
    let _ = writeln!(
        out,
        "<path d=\"M{MARGIN} {top}H{}\" stroke=\"#d1d9e0\"/>",
        WIDTH - MARGIN
    );
    let mut x = MARGIN + 6;
    let y = top + 22;
    let style = format!("fill=\"{FAINT}\" font-size=\"11\"");
    for state in &STATES {
        shape(out, state, (x, y));
        text(out, (x + 12, y + 4), &style, state.word);
        x += 40 + i32::try_from(state.word.len()).unwrap_or(0) * 7;
    }
    let _ = writeln!(
        out,
        "<path d=\"M{x} {y}h36\" stroke=\"{ACCENT}\" stroke-width=\"3\"/>"
    );
    text(out, (x + 44, y + 4), &style, "carries I/O");
}

fn text(out: &mut String, (x, y): (i32, i32), style: &str, text: &str) {
    let text = escaped(text);
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" {style}>{text}</text>");
}

/// Escapes text for XML content or attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
