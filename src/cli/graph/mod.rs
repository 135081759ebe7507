//! Draws devices with the host adapters, paths (in priority groups) and target ports that lead to them.
//!
//! Input: the records of `GetTopology`. Output: text for graphviz ([`dot`]) or a picture with its own layout ([`svg`]).
//! A state is always shown by a word and a shape, never by a colour alone. Invariant: no byte from a device gets into
//! the text unescaped. Tests: `tests/views.rs`, with the pictures in `tests/golden/graph/`.

pub mod dot;
pub mod svg;

use crate::api::types::{Topology, TopologyGroup, TopologyPath};
use std::collections::HashMap;

/// Devices that are drawn as one: they have the same states on paths from the same adapters to the same target ports.
#[derive(Debug, Clone)]
pub struct Alike<'a> {
    /// At least one device.
    pub devices: Vec<&'a Topology>,
}

impl<'a> Alike<'a> {
    /// The device that is drawn.
    #[must_use]
    pub fn first(&self) -> Option<&'a Topology> {
        self.devices.first().copied()
    }

    /// Groups devices that look alike, in the order of the first device of each group.
    #[must_use]
    pub fn fold(devices: &'a [Topology]) -> Vec<Alike<'a>> {
        let mut folds: Vec<Alike<'a>> = Vec::new();
        let mut places: HashMap<Look<'_>, usize> = HashMap::new();
        for device in devices {
            let look = Look::of(device);
            if let Some(fold) = places.get(&look).and_then(|place| folds.get_mut(*place)) {
                fold.devices.push(device);
                continue;
            }
            places.insert(look, folds.len());
            let devices = vec![device];
            folds.push(Alike { devices });
        }
        folds
    }

    /// Puts each device in a group of its own.
    #[must_use]
    pub fn single(devices: &'a [Topology]) -> Vec<Alike<'a>> {
        let one = |device| Alike {
            devices: vec![device],
        };
        devices.iter().map(one).collect()
    }
}

/// Everything that must be equal for devices to be folded.
#[derive(PartialEq, Eq, Hash)]
struct Look<'a> {
    words: [&'a str; 4],
    down: (bool, bool),
    has_map: bool,
    groups: Vec<(&'a str, bool)>,
    paths: Vec<(&'a str, &'a str, &'a str, Option<u32>, bool)>,
}

impl<'a> Look<'a> {
    fn of(device: &'a Topology) -> Look<'a> {
        let path = |path: &'a TopologyPath| {
            (
                without_lun(&path.runtime_name),
                path.target_identifier.as_str(),
                path.state.as_str(),
                path.group,
                path.carries_io,
            )
        };
        let groups = device.groups.iter();
        Look {
            words: [&device.status, &device.plugin, &device.satp, &device.psp].map(String::as_str),
            down: (device.apd_seconds.is_some(), device.queueing),
            has_map: device.map.is_some(),
            groups: groups.map(|g| (g.state.as_str(), g.current)).collect(),
            paths: device.paths.iter().map(path).collect(),
        }
    }
}

/// `vmhba2:C0:T0` of `vmhba2:C0:T0:L1`.
fn without_lun(runtime_name: &str) -> &str {
    runtime_name
        .rsplit_once(':')
        .map_or(runtime_name, |(target, _)| target)
}

/// The groups of a device with their paths, in the order of its table. Paths without a group come last, if there are
/// any.
fn groups(device: &Topology) -> Vec<(Option<&TopologyGroup>, Vec<&TopologyPath>)> {
    let of = |number: Option<u32>| -> Vec<&TopologyPath> {
        let known = |path: &&TopologyPath| match number {
            Some(_) => path.group == number,
            None => device.groups.iter().all(|g| path.group != Some(g.number)),
        };
        device.paths.iter().filter(known).collect()
    };
    let known = device.groups.iter();
    let mut all: Vec<_> = known.map(|g| (Some(g), of(Some(g.number)))).collect();
    let alone = of(None);
    if !alone.is_empty() {
        all.push((None, alone));
    }
    all
}

/// Whether the group carries I/O now.
fn carries_io(group: Option<&TopologyGroup>, paths: &[&TopologyPath]) -> bool {
    group.is_some_and(|group| group.current) && paths.iter().any(|path| path.carries_io)
}

/// The title above a group.
fn group_title(
    device: &Topology,
    group: Option<&TopologyGroup>,
    paths: &[&TopologyPath],
) -> String {
    match group {
        Some(TopologyGroup {
            number,
            state,
            current,
        }) => {
            let role = match (*current, carries_io(group, paths)) {
                (true, true) => "carries I/O",
                (true, false) => "no path left",
                (false, _) => "waiting",
            };
            format!("Group {number}: {state}, {role}")
        }
        None if device.map.is_none() => "No map: plain disk".to_owned(),
        None => "Not in a group".to_owned(),
    }
}

/// A problem of the device as a whole, if it has one.
fn trouble(device: &Topology) -> Option<String> {
    let seconds = device.apd_seconds?;
    let effect = if device.queueing {
        "I/O is queued"
    } else {
        "I/O fails"
    };
    Some(format!("All paths down for {seconds} s: {effect}"))
}

/// The usual notation of a port identifier: `fc.W:21000024ff8af5c1` becomes `21:00:00:24:ff:8a:f5:c1`.
fn port_name(identifier: &str) -> String {
    let wwn = identifier.rsplit([':', '.']).next().unwrap_or(identifier);
    let is_wwn = wwn.len() == 16 && wwn.bytes().all(|b| b.is_ascii_hexdigit());
    let transports = ["fc.", "fcoe.", "sas."];
    if !(is_wwn && transports.iter().any(|t| identifier.starts_with(t))) {
        return identifier.to_owned();
    }
    let pairs: Vec<String> = wwn
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned())
        .collect();
    pairs.join(":")
}

/// The text, shortened in the middle to at most `most` characters.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let end = text.chars().skip(count.saturating_sub(tail));
    text.chars().take(head).chain(['…']).chain(end).collect()
}

/// The title and the names of devices that are drawn as one; `None` for a single device.
fn others(alike: &Alike<'_>) -> Option<(String, String)> {
    let names: Vec<&str> = alike.devices.iter().map(|d| d.device.as_str()).collect();
    match names.len() {
        0 | 1 => None,
        count => {
            let shown = names.get(..3.min(count)).unwrap_or_default().join(", ");
            let rest = if count > 3 { ", …" } else { "" };
            Some((format!("{count} similar devices"), shown + rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_in_the_middle() {
        assert_eq!(shortened("naa.6001405abcdef", 9), "naa.…cdef");
        assert_eq!(shortened("naa.6001", 8), "naa.6001");
        assert_eq!(shortened("äöü", 2), "ä…");
        assert_eq!(shortened("abc", 1), "…");
        assert_eq!(shortened("abc", 0), "…");
    }

    #[test]
    fn fc_port_names_are_written_with_colons() {
        let fc = "fc.20000024ff8af5c1:21000024ff8af5c1";
        assert_eq!(port_name(fc), "21:00:00:24:ff:8a:f5:c1");
        let iscsi = "iqn.2003-01.org.linux-iscsi:a,t,1";
        assert_eq!(port_name(iscsi), iscsi);
    }
}
