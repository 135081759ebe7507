//! `csv`: RFC 4180 with a header line of the printed column names.

use crate::cli::printable::printable;
use crate::cli::record::{Listing, cells};

pub(super) fn render(listing: &Listing) -> String {
    let names = listing.all_columns();
    let mut out = line(names.iter().copied().map(quote));
    for record in &listing.records {
        let cells = cells(&names, listing.all_fields(record));
        out += &line(cells.iter().map(|value| quote(&value.text())));
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
