//! `show maps json` and `show map M json`, in version 0.1 of that format. libdmmp refuses any other major version.

use super::format::{MAP_FIELDS, PATH_FIELDS, lun_hex, marginal, value};
use super::host::{Host, group_priority, priority};
use crate::api::types::{MultipathMap, MultipathPath};
use serde_json::{Map, Value, json};

/// All maps.
pub(super) fn maps(host: &Host, maps: &[&MultipathMap]) -> String {
    let maps: Vec<Value> = maps.iter().map(|map| map_value(host, map)).collect();
    document("maps", Value::Array(maps))
}

/// One map.
pub(super) fn map(host: &Host, map: &MultipathMap) -> String {
    document("map", map_value(host, map))
}

fn document(key: &str, content: Value) -> String {
    let document = json!({ "major_version": 0, "minor_version": 1, key: content });
    // A value of text, numbers and lists is always printable.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn map_value(host: &Host, map: &MultipathMap) -> Value {
    let text = |letter| value(host, map, MAP_FIELDS, letter);
    let number = |letter| text(letter).parse::<u64>().unwrap_or(0);
    let mut object = Map::new();
    for (key, letter) in [
        ("name", 'n'),
        ("uuid", 'w'),
        ("sysfs", 'd'),
        ("failback", 'F'),
        ("queueing", 'Q'),
        ("write_prot", 'r'),
        ("dm_st", 't'),
        ("features", 'f'),
        ("hwhandler", 'h'),
        ("action", 'A'),
        ("vend", 'v'),
        ("prod", 'p'),
        ("rev", 'e'),
    ] {
        object.insert(key.to_owned(), Value::String(text(letter)));
    }
    for (key, letter) in [
        ("paths", 'N'),
        ("path_faults", '0'),
        ("switch_grp", '1'),
        ("map_loads", '2'),
        ("total_q_time", '3'),
        ("q_timeouts", '4'),
    ] {
        object.insert(key.to_owned(), Value::from(number(letter)));
    }
    let groups = (1_u32..).zip(&map.groups).map(|(number, group)| {
        let paths = host.paths_in(map, number);
        json!({
            "selector": group.selector,
            "pri": group_priority(&paths),
            "dm_st": group.state,
            "marginal_st": "normal",
            "group": number,
            "paths": paths.iter().map(|path| path_value(host, path)).collect::<Vec<Value>>(),
        })
    });
    object.insert("path_groups".to_owned(), groups.collect());
    Value::Object(object)
}

fn path_value(host: &Host, path: &MultipathPath) -> Value {
    let text = |letter| value(host, path, PATH_FIELDS, letter);
    json!({
        "dev": text('d'),
        "dev_t": text('D'),
        "dm_st": text('t'),
        "dev_st": text('o'),
        "chk_st": text('T'),
        "checker": text('c'),
        "pri": priority(path),
        "host_wwnn": text('N'),
        "target_wwnn": text('n'),
        "host_wwpn": text('R'),
        "target_wwpn": text('r'),
        "host_adapter": text('a'),
        "lun_hex": lun_hex(path),
        "marginal_st": marginal(path),
    })
}
