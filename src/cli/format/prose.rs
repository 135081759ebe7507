//! `prose`, the style of `explain`: the subject, then a paragraph for each section.

use crate::cli::printable::printable;
use crate::cli::record::{Listing, Value};

pub(super) fn render(listing: &Listing) -> String {
    let mut out = String::new();
    if let Some(title) = &listing.title {
        out += &format!("{}\n", printable(title));
    }
    for record in &listing.records {
        if let Some(heading) = &record.heading {
            out += &format!("   {}:\n", printable(heading));
        }
        for (_, value) in &record.fields {
            if let Value::List(lines) = value {
                for line in lines {
                    out += &format!("      {}\n", printable(line));
                }
            }
        }
    }
    out
}

/// The fields of each record on one line.
pub(super) fn render_log(listing: &Listing) -> String {
    let line = |record: &crate::cli::record::Record| {
        let fields = record.fields.iter().map(|(_, value)| match value {
            // The few state words are padded to one width, so that the text after them is aligned.
            Value::State(word) => format!("{word:<7}"),
            other => other.text(),
        });
        let fields: Vec<String> = fields.filter(|text| !text.is_empty()).collect();
        format!("{}\n", printable(fields.join("  ").trim_end()))
    };
    listing.records.iter().map(line).collect()
}

/// The text of each record on one line.
pub(super) fn render_lines(listing: &Listing) -> String {
    let fields = listing.records.iter().flat_map(|record| &record.fields);
    fields
        .map(|(_, value)| format!("{}\n", printable(&value.text())))
        .collect()
}
