//! Format strings: `show maps format "%n %w"`, `show paths raw format "%i %d"`.
//!
//! Each `%x` is replaced, other text is copied, and an unknown letter prints nothing. Without `raw` there is a header
//! line, and every column, the last one too, is as wide as the widest of header and values.

use super::host::{
    Host, checker, checker_state, device_state, dm_state, group_priority, priority, size,
};
use crate::api::types::{MultipathMap, MultipathPath};

/// The most letters of a format that are replaced. All fields of a path are half of that.
const MOST_FIELDS: usize = 64;

/// The widest column.
const WIDEST: usize = 255;

/// A letter with its header and the value of one object.
pub(super) struct Field<T: ?Sized> {
    pub(super) letter: char,
    pub(super) header: &'static str,
    value: fn(&Host, &T) -> String,
}

/// The fields of a map.
pub(super) const MAP_FIELDS: &[Field<MultipathMap>] = &[
    field('n', "name", |_, map| map.name.clone()),
    field('w', "uuid", |_, map| map.wwid.clone()),
    field('d', "sysfs", |_, map| map.kernel_name.clone()),
    // The PSPs return to a better group as soon as it is usable.
    field('F', "failback", |_, _| "immediate".to_owned()),
    field('Q', "queueing", |_, map| queueing(map)),
    field('N', "paths", |host, map| host.active_paths(map).to_string()),
    field('r', "write_prot", |_, map| write_protection(map).to_owned()),
    field('t', "dm-st", |_, map| state(map).to_owned()),
    field('S', "size", |_, map| size(map.sectors)),
    field('f', "features", |_, map| map.features.clone()),
    field('x', "failures", |_, map| map.outages.to_string()),
    field('h', "hwhandler", |_, map| map.handler.clone()),
    field('A', "action", |_, _| String::new()),
    field('0', "path_faults", |host, map| {
        faults(host, map).to_string()
    }),
    field('1', "switch_grp", |_, map| map.group_switches.to_string()),
    field('2', "map_loads", |_, map| map.tables_loaded.to_string()),
    field('3', "total_q_time", |_, map| map.queued_seconds.to_string()),
    field('4', "q_timeouts", |_, map| map.timeouts.to_string()),
    field('s', "vend/prod/rev", |host, map| {
        let model = host.model(map);
        let text = |of: fn(&MultipathPath) -> &String| or_hashes(model.map(of));
        format!("{},{}", text(|path| &path.vendor), text(|path| &path.model))
    }),
    field('v', "vend", |host, map| {
        or_hashes(host.model(map).map(|path| &path.vendor))
    }),
    field('p', "prod", |host, map| {
        or_hashes(host.model(map).map(|path| &path.model))
    }),
    field('e', "rev", |host, map| {
        or_hashes(host.model(map).map(|path| &path.revision))
    }),
    field('G', "foreign", |_, _| "--".to_owned()),
    field('g', "vpd page data", |_, _| "[undef]".to_owned()),
];

/// The fields of a path.
pub(super) const PATH_FIELDS: &[Field<MultipathPath>] = &[
    field('w', "uuid", |_, path| path.wwid.clone().unwrap_or_default()),
    field('i', "hcil", |_, path| address(path)),
    field('d', "dev", |_, path| disk(path)),
    field('D', "dev_t", |_, path| number(path)),
    field('t', "dm_st", |_, path| dm_state(path).to_owned()),
    field('o', "dev_st", |_, path| {
        in_map(path, device_state, "unknown")
    }),
    field('T', "chk_st", |_, path| {
        in_map(path, checker_state, "undef")
    }),
    field('s', "vend/prod/rev", |_, path| {
        let [vendor, model, revision] =
            [&path.vendor, &path.model, &path.revision].map(|text| or_hashes(Some(text)));
        format!("{vendor},{model},{revision}")
    }),
    field('c', "checker", |_, path| checker(path).to_owned()),
    field('C', "next_check", |_, path| next_check(path)),
    field('p', "pri", |_, path| match path.state.as_str() {
        "unknown" => "-1".to_owned(),
        _ => priority(path).to_string(),
    }),
    field('S', "size", |_, path| size(path.sectors)),
    field('z', "serial", |host, path| host.serial(path)),
    field('M', "marginal_st", |_, path| marginal(path).to_owned()),
    field('m', "multipath", |_, path| {
        path.map.clone().unwrap_or_else(|| "[orphan]".to_owned())
    }),
    field('N', "host WWNN", |_, path| wwn(&path.adapter_identifier, 0)),
    field('n', "target WWNN", |_, path| target_name(path)),
    field('R', "host WWPN", |_, path| wwn(&path.adapter_identifier, 1)),
    field('r', "target WWPN", |_, path| {
        wwn(&path.target_identifier, 1)
    }),
    field('a', "host adapter", |_, path| adapter(path)),
    field('G', "foreign", |_, _| "--".to_owned()),
    field('g', "vpd page data", |_, _| "[undef]".to_owned()),
    field('0', "failures", |_, path| path.failures.to_string()),
    field('P', "protocol", |_, path| protocol(path).to_owned()),
    field('I', "init_st", |_, _| "ok".to_owned()),
    field('L', "LUN hex", |_, path| lun_hex(path)),
    field('A', "TPG", |_, path| {
        let group = path.port_group.map(|group| format!("{group:#06x}"));
        group.unwrap_or_else(|| "[undef]".to_owned())
    }),
    field('k', "max_sectors_kb", |_, path| {
        match path.maximum_io_size / 1024 {
            0 => "n/a".to_owned(),
            kib => kib.to_string(),
        }
    }),
];

const fn field<T>(letter: char, header: &'static str, value: fn(&Host, &T) -> String) -> Field<T> {
    Field {
        letter,
        header,
        value,
    }
}

/// Whether there is a header and columns are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A header, and padded columns.
    Columns,
    /// Neither.
    Raw,
}

/// Prints one line for each object.
pub(super) fn lines<T>(
    host: &Host,
    objects: &[&T],
    fields: &[Field<T>],
    format: &str,
    style: Style,
) -> String {
    let parts = parts(format, fields);
    let mut table: Vec<Vec<String>> = Vec::new();
    if style == Style::Columns {
        table.push(cells(&parts, |field| field.header.to_owned()));
    }
    for object in objects {
        table.push(cells(&parts, |field| (field.value)(host, object)));
    }
    let mut widths = vec![0; parts.len()];
    if style == Style::Columns {
        for row in &table {
            for (width, (cell, part)) in widths.iter_mut().zip(row.iter().zip(&parts)) {
                if matches!(part, Part::Field(_)) {
                    *width = cell.chars().count().min(WIDEST).max(*width);
                }
            }
        }
    }
    let mut out = String::new();
    for row in table {
        for (cell, width) in row.iter().zip(&widths) {
            out += &format!("{cell:width$}");
        }
        out.push('\n');
    }
    out
}

enum Part<'a, T> {
    Text(String),
    Field(&'a Field<T>),
}

fn parts<'a, T>(format: &str, fields: &'a [Field<T>]) -> Vec<Part<'a, T>> {
    let mut parts = Vec::new();
    let (mut text, mut letters) = (String::new(), format.chars());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let wanted = letters.next();
        if parts.len() / 2 >= MOST_FIELDS {
            continue;
        }
        if let Some(field) = fields.iter().find(|field| Some(field.letter) == wanted) {
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(Part::Field(field));
        }
    }
    parts.push(Part::Text(text));
    parts
}

fn cells<T>(parts: &[Part<'_, T>], value: impl Fn(&Field<T>) -> String) -> Vec<String> {
    let cells = parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Field(field) => value(field),
    });
    cells.collect()
}

/// Lists the letters of a table, for `show wildcards`.
pub(super) fn wildcards<T>(fields: &[Field<T>]) -> String {
    let line = |field: &Field<T>| format!("%{}  {}\n", field.letter, field.header);
    fields.iter().map(line).collect()
}

/// One value: of the field with this letter.
pub(super) fn value<T>(host: &Host, object: &T, fields: &[Field<T>], letter: char) -> String {
    let field = fields.iter().find(|field| field.letter == letter);
    field.map_or_else(String::new, |field| (field.value)(host, object))
}

pub(super) fn address(path: &MultipathPath) -> String {
    path.hctl.clone().unwrap_or_else(|| "#:#:#:#".to_owned())
}

pub(super) fn disk(path: &MultipathPath) -> String {
    path.disk.clone().unwrap_or_else(|| "-".to_owned())
}

pub(super) fn number(path: &MultipathPath) -> String {
    let number = path.device_number.clone();
    number.unwrap_or_else(|| "#:#".to_owned())
}

fn in_map(path: &MultipathPath, word: fn(&MultipathPath) -> &'static str, none: &str) -> String {
    if path.map.is_some() {
        word(path).to_owned()
    } else {
        none.to_owned()
    }
}

fn or_hashes(text: Option<&String>) -> String {
    match text.map(|text| text.trim_end()) {
        None | Some("") => "##".to_owned(),
        Some(text) => text.to_owned(),
    }
}

/// What happens to I/O while no path works.
fn queueing(map: &MultipathMap) -> String {
    match map.queues_for {
        Some(seconds) => format!("{seconds} sec"),
        None if map.queues => "on".to_owned(),
        None => "off".to_owned(),
    }
}

pub(super) fn write_protection(map: &MultipathMap) -> &'static str {
    if map.read_only { "ro" } else { "rw" }
}

fn state(map: &MultipathMap) -> &'static str {
    if map.suspended { "suspend" } else { "active" }
}

fn faults(host: &Host, map: &MultipathMap) -> u64 {
    let paths = host.paths_of(map).into_iter();
    paths.fold(0, |sum, path| sum.saturating_add(path.failures))
}

pub(super) fn marginal(path: &MultipathPath) -> &'static str {
    if path.is_marginal {
        "marginal"
    } else {
        "normal"
    }
}

/// A bar of ten characters, then the seconds until the next check and those between two checks.
fn next_check(path: &MultipathPath) -> String {
    let (Some(left), true) = (path.next_check_ms, path.map.is_some()) else {
        return "orphan".to_owned();
    };
    let left = left.div_ceil(1000);
    let total = left.max(5);
    let filled = usize::try_from(left.saturating_mul(10) / total).unwrap_or(10);
    let bar = "X".repeat(filled.min(10)) + &".".repeat(10_usize.saturating_sub(filled));
    format!("{bar} {left}/{total}")
}

/// A name of FC, from `fc.WWNN:WWPN`.
fn wwn(identifier: &str, place: usize) -> String {
    let names = identifier.strip_prefix("fc.");
    let name = names.and_then(|names| names.split(':').nth(place));
    name.map_or_else(|| "[undef]".to_owned(), |name| format!("0x{name}"))
}

fn target_name(path: &MultipathPath) -> String {
    let identifier = path.target_identifier.as_str();
    match path.transport.as_str() {
        "iscsi" | "iscsivendor" => identifier
            .split(",t,")
            .next()
            .unwrap_or(identifier)
            .to_owned(),
        "sas" => identifier.trim_start_matches("sas.").to_owned(),
        _ => wwn(identifier, 0),
    }
}

/// The PCI address of the adapter: `0000:3b:00.0`.
fn adapter(path: &MultipathPath) -> String {
    let first = path.adapter_description.split(' ').next().unwrap_or("");
    let first = first.trim_matches(['(', ')']);
    let is_pci = first.split(':').count() == 3 && first.contains('.');
    if is_pci { first } else { "[undef]" }.to_owned()
}

fn protocol(path: &MultipathPath) -> &'static str {
    match path.transport.as_str() {
        _ if path.hctl.is_none() => "undef",
        "fc" | "fcoe" => "scsi:fcp",
        "iscsi" | "iscsivendor" => "scsi:iscsi",
        "sas" => "scsi:sas",
        "sata" | "ide" => "scsi:ata",
        "usb" => "scsi:usb",
        "parallel" => "scsi:spi",
        _ => "scsi:unspec",
    }
}

/// The LUN in the layout of SAM: the kernel's number has the first 16 bits of the LUN lowest.
pub(super) fn lun_hex(path: &MultipathPath) -> String {
    let lun = path.hctl.as_ref().and_then(|hctl| hctl.rsplit(':').next());
    let lun: u64 = lun.and_then(|lun| lun.parse().ok()).unwrap_or(0);
    let word = |place: u32| (lun >> (16 * place)) & 0xffff;
    let sam = (0..4).fold(0, |sam, place| sam << 16 | word(place));
    format!("{sam:#018x}")
}

pub(super) fn group_of(host: &Host, map: &MultipathMap, number: u32) -> u32 {
    group_priority(&host.paths_in(map, number))
}
