//! Generates input for graphviz: `psactl graph naa.6001... --format=dot | dot -Tpdf`.

use super::{Alike, carries_io, group_title, groups, others, port_name, trouble};
use crate::api::types::Topology;
use crate::cli::printable::printable;
use std::collections::BTreeSet;
use std::fmt::Write;

/// The graph of these devices.
#[must_use]
pub fn dot(all: &[Alike<'_>]) -> String {
    let mut out = String::from(
        "digraph psa {\n  rankdir=LR;\n  nodesep=0.15;\n  ranksep=1.2;\n  node [shape=box, fontname=\"sans-serif\", fontsize=11];\n  edge [dir=none];\n",
    );
    for (number, alike) in all.iter().enumerate() {
        if let Some(device) = alike.first() {
            card(&mut out, number, alike, device);
        }
    }
    out.push_str("}\n");
    out
}

/// The colour and line style of a path and its edges, by state.
fn look(state: &str) -> (&'static str, &'static str) {
    match state {
        "active" => ("#1a7f37", "solid"),
        "active unoptimized" => ("#0550ae", "solid"),
        "standby" => ("#57606a", "dotted"),
        "dead" => ("#cf222e", "dashed"),
        "off" | "masked" => ("#6e7781", "dashed"),
        _ => ("#9a6700", "dotted"),
    }
}

fn card(out: &mut String, card: usize, alike: &Alike<'_>, device: &Topology) {
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "  {text}");
    };
    let node = |kind: &str, name: &str| quoted(&[format!("{card} {kind} {name}").as_str()]);
    let mut adapters = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for path in &device.paths {
        if adapters.insert(&path.adapter) {
            let label = quoted(&[&path.adapter, &port_name(&path.adapter_identifier)]);
            let name = node("adapter", &path.adapter);
            line(format!("{name} [label={label}, style=rounded];"));
        }
        if ports.insert(&path.target_identifier) {
            let label = quoted(&["target port", &port_name(&path.target_identifier)]);
            let name = node("port", &path.target_identifier);
            line(format!("{name} [label={label}, style=rounded];"));
        }
    }
    for (place, (group, paths)) in groups(device).into_iter().enumerate() {
        let current = carries_io(group, &paths);
        let (colour, width) = match current {
            true => ("#0969da", 2),
            false => ("#8c959f", 1),
        };
        let label = quoted(&[&group_title(device, group, &paths)]);
        line(format!(
            "subgraph cluster_{card}_{place} {{ label={label}; color=\"{colour}\"; penwidth={width};"
        ));
        for path in paths {
            let (colour, style) = look(&path.state);
            let disk = path.disk.as_deref().unwrap_or("no disk");
            let io = if path.carries_io { ", I/O" } else { "" };
            let state = format!("{}{io}", path.state);
            let label = quoted(&[&path.runtime_name, disk, &state]);
            let name = node("path", &path.runtime_name);
            line(format!(
                "  {name} [label={label}, color=\"{colour}\", style={style}];"
            ));
        }
        line("}".to_owned());
    }
    let (title, names) = others(alike).unwrap_or_else(|| (device.device.clone(), String::new()));
    let trouble = trouble(device).unwrap_or_default();
    let rules = format!("{} {}", device.satp, device.psp);
    let map = device.map.as_deref().unwrap_or("no map");
    let label = quoted(&[&title, &names, &device.status, &rules, map, &trouble]);
    let unit = node("device", &device.device);
    line(format!("{unit} [label={label}, penwidth=2];"));
    for path in &device.paths {
        let (colour, style) = look(&path.state);
        let width = if path.carries_io { 3 } else { 1 };
        let attributes = format!("[color=\"{colour}\", style={style}, penwidth={width}]");
        let [adapter, name, port] = [
            ("adapter", &path.adapter),
            ("path", &path.runtime_name),
            ("port", &path.target_identifier),
        ]
        .map(|(kind, name)| node(kind, name));
        line(format!("{adapter} -> {name} -> {port} {attributes};"));
    }
    for port in ports {
        let port = node("port", port);
        line(format!("{port} -> {unit} [color=\"#8c959f\"];"));
    }
}

/// Lines as a quoted string of the dot language. `\n` is a line break in labels, so a backslash in a name is doubled.
fn quoted(lines: &[&str]) -> String {
    let lines = lines.iter().filter(|line| !line.is_empty());
    let escaped = lines.map(|line| {
        let line = printable(line).replace('\\', "\\\\");
        line.replace('"', "\\\"")
    });
    format!("\"{}\"", escaped.collect::<Vec<_>>().join("\\n"))
}
