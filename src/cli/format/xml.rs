//! `xml`: the elements of esxcli: a list of structures, with fields that contain a typed value.

use super::value::{identifier, type_name};
use crate::cli::printable::printable;
use crate::cli::record::{Listing, Value};

pub(super) fn render(listing: &Listing) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<output>\n");
    out += "  <list type=\"structure\">\n";
    for record in &listing.records {
        out += &format!("    <structure typeName=\"{}\">\n", listing.kind);
        for (name, value) in listing.all_fields(record) {
            let name = identifier(name);
            let value = match &value {
                Value::Absent(_) => String::new(),
                Value::List(items) => {
                    let items: String = items.iter().map(|item| element("string", item)).collect();
                    format!("<list type=\"string\">{items}</list>")
                }
                one => element(type_name(one), &one.text()),
            };
            out += &format!("      <field name=\"{name}\">{value}</field>\n");
        }
        out += "    </structure>\n";
    }
    out += "  </list>\n</output>\n";
    out
}

fn element(name: &str, text: &str) -> String {
    let text = printable(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("<{name}>{text}</{name}>")
}
