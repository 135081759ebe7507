//! The topology of maps: the text of `multipath -ll` and of `show topology`.

use super::format::{address, disk, group_of, number, write_protection};
use super::host::{Host, checker_state, device_state, dm_state, size};
use crate::api::types::{MultipathMap, MultipathPath};

/// How much is known about the paths that are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Everything: `-ll`.
    Full,
    /// Only what device-mapper says: `-l` prints neither priorities nor states of checkers.
    OfKernel,
}

/// Prints maps. `action` is the word before the name of a map that was changed.
pub(super) fn topology(
    host: &Host,
    maps: &[&MultipathMap],
    detail: Detail,
    action: Option<&str>,
) -> String {
    let widths = Widths::of(maps.iter().flat_map(|map| host.paths_of(map)), detail);
    let texts = maps
        .iter()
        .map(|map| one(host, map, detail, action, &widths));
    texts.collect()
}

fn one(
    host: &Host,
    map: &MultipathMap,
    detail: Detail,
    action: Option<&str>,
    widths: &Widths,
) -> String {
    let action = action.map_or_else(String::new, |action| format!("{action}: "));
    let name = if map.name == map.wwid {
        map.name.clone()
    } else {
        format!("{} ({})", map.name, map.wwid)
    };
    let model = host.model(map).map_or_else(
        || "##,##".to_owned(),
        |path| format!("{},{}", path.vendor.trim_end(), path.model.trim_end()),
    );
    let mut out = format!(
        "{action}{name} {} {model}\nsize={} features='{}' hwhandler='{}' wp={}\n",
        map.kernel_name,
        size(map.sectors),
        map.features,
        map.handler,
        write_protection(map)
    );
    let last = map.groups.len();
    for (number, group) in (1_u32..).zip(&map.groups) {
        let is_last = usize::try_from(number) == Ok(last);
        let (corner, bar) = if is_last { ('`', ' ') } else { ('|', '|') };
        let priority = match detail {
            Detail::Full => group_of(host, map, number),
            Detail::OfKernel => 0,
        };
        out += &format!(
            "{corner}-+- policy='{}' prio={priority} status={}\n",
            group.selector, group.state
        );
        let paths = host.paths_in(map, number);
        for (place, path) in (1..).zip(&paths) {
            let corner = if place == paths.len() { '`' } else { '|' };
            out += &format!("{bar} {corner}- {}\n", widths.line(&columns(path, detail)));
        }
    }
    out
}

fn columns(path: &MultipathPath, detail: Detail) -> [String; 6] {
    let checker = match detail {
        Detail::Full => checker_state(path),
        Detail::OfKernel => "undef",
    };
    [
        address(path),
        disk(path),
        number(path),
        dm_state(path).to_owned(),
        checker.to_owned(),
        device_state(path).to_owned(),
    ]
}

/// The width of each column of the paths.
struct Widths([usize; 6]);

impl Widths {
    fn of<'a>(paths: impl Iterator<Item = &'a MultipathPath>, detail: Detail) -> Widths {
        let mut widths = [0; 6];
        for path in paths {
            for (width, cell) in widths.iter_mut().zip(columns(path, detail)) {
                *width = cell.chars().count().max(*width);
            }
        }
        Widths(widths)
    }

    fn line(&self, columns: &[String; 6]) -> String {
        let cells = columns.iter().zip(self.0);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join(" ")
    }
}
