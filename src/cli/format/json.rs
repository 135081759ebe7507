//! `json`: an array of objects with the printed column names as keys, in the printed order. Numbers, booleans and lists
//! keep their types; absent values are null. The `get` commands print one object.

use crate::cli::printable::is_unsafe;
use crate::cli::record::{Listing, Style, Value};
use serde::ser::{Serialize, SerializeMap, Serializer};

pub(super) fn render(listing: &Listing) -> String {
    let objects: Vec<Object> = listing
        .records
        .iter()
        .map(|record| Object(listing.all_fields(record)))
        .collect();
    let text = match (listing.style, objects.as_slice()) {
        (Style::Sheet, [object]) => serde_json::to_string_pretty(object),
        (_, objects) => serde_json::to_string_pretty(objects),
    };
    // Serializing cannot fail: keys are strings, and the output is a string in memory.
    escape(&text.unwrap_or_default())
}

/// One object per line for each record.
pub(super) fn render_each(listing: &Listing) -> String {
    let objects = listing.records.iter();
    let texts = objects.map(|record| serde_json::to_string(&Object(listing.all_fields(record))));
    texts
        .map(|text| escape(&text.unwrap_or_default()))
        .collect()
}

struct Object(Vec<(&'static str, Value)>);

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_key(name)?;
            match value {
                Value::Text(text) | Value::State(text) => map.serialize_value(text)?,
                Value::Number(number) => map.serialize_value(number)?,
                Value::Flag(flag) => map.serialize_value(flag)?,
                Value::List(items) => map.serialize_value(items)?,
                Value::Absent(_) => map.serialize_value(&())?,
            }
        }
        map.end()
    }
}

/// serde_json escapes C0 controls only. The other unsafe characters occur only inside strings, so they can be escaped
/// afterwards.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len().saturating_add(1));
    for c in json.chars() {
        if c != '\n' && is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out += &format!("\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}
