//! `list`: the heading, then `Key: value` lines indented by three blanks, with a blank line between records.

use super::value::Paint;
use crate::cli::printable::printable;
use crate::cli::record::{Listing, Style};

pub(super) fn render(listing: &Listing, paint: Paint) -> String {
    let mut out = String::new();
    for (index, record) in listing.records.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        // Records of a table have no heading, so the value of the first column is used.
        let first = (listing.style == Style::Table)
            .then(|| record.fields.first().map(|(_, value)| value.text()))
            .flatten();
        if let Some(heading) = record.heading.as_ref().or(first.as_ref()) {
            out += &printable(heading);
            out.push('\n');
        }
        for (name, value) in &record.fields {
            let value = paint.value(value, str::to_owned);
            out += &format!("   {name}: {value}\n");
        }
    }
    out
}
