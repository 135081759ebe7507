//! `keyvalue`: a `Type[n].Name.type=value` line for each value, for `grep` and `cut`; absent values have no line.

use super::value::{identifier, type_name};
use crate::cli::printable::printable;
use crate::cli::record::{Listing, Value};

pub(super) fn render(listing: &Listing) -> String {
    let mut out = String::new();
    for (index, record) in listing.records.iter().enumerate() {
        for (name, value) in listing.all_fields(record) {
            let key = format!("{}[{index}].{}", listing.kind, identifier(name));
            match &value {
                Value::Absent(_) => {}
                Value::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        out += &format!("{key}[{index}].string={}\n", printable(item));
                    }
                }
                one => {
                    let text = one.text();
                    out += &format!("{key}.{}={}\n", type_name(one), printable(&text));
                }
            }
        }
    }
    out
}
