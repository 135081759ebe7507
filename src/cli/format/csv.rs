//! `csv`: RFC 4180 with a header line of the printed column names.

use crate::cli::printable::printable;
use crate::cli::record::Listing;

pub(super) fn render(listing: &Listing) -> String {
    let header = listing.all_columns().into_iter().map(quote);
    let mut out = line(header);
    for record in &listing.records {
        let fields = listing.all_fields(record);
        out += &line(fields.iter().map(|(_, value)| quote(&value.text())));
    }
    out
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    cells.join(",") + "\n"
}

fn quote(text: &str) -> String {
    let text = printable(text);
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into_owned()
    }
}
