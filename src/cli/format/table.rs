//! `table`: a header, a line of dashes, then a line for each record; columns are separated by two spaces, numbers are
//! right-aligned.
//!
//! As in esxcli, the dashes of a last column of text are as long as its name, and its values are not padded.

use super::value::Paint;
use crate::cli::printable::printable;
use crate::cli::record::{Listing, Value, cells};

struct Column {
    name: &'static str,
    width: usize,
    right: bool,
}

pub(super) fn render(listing: &Listing, paint: Paint) -> String {
    let names = listing.all_columns();
    let rows: Vec<Vec<Value>> = listing
        .records
        .iter()
        .map(|record| cells(&names, listing.all_fields(record)))
        .collect();
    let columns: Vec<Column> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let cells = || rows.iter().filter_map(|row| row.get(index));
            let right = rows.iter().len() > 0 && cells().all(|v| matches!(v, Value::Number(_)));
            let last = index.saturating_add(1) == names.len();
            let widest = cells().map(|value| width(&value.text())).max();
            Column {
                name,
                width: match widest {
                    Some(widest) if right || !last => widest.max(width(name)),
                    _ => width(name),
                },
                right,
            }
        })
        .collect();
    let mut out = String::new();
    line(&mut out, &columns, |column, _| column.pad(column.name));
    line(&mut out, &columns, |column, _| "-".repeat(column.width));
    for row in &rows {
        line(&mut out, &columns, |column, index| {
            row.get(index).map_or_else(String::new, |value| {
                paint.value(value, |text| column.pad(text))
            })
        });
    }
    out
}

fn line(out: &mut String, columns: &[Column], cell: impl Fn(&Column, usize) -> String) {
    let cells: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| cell(column, index))
        .collect();
    *out += cells.join("  ").trim_end_matches(' ');
    out.push('\n');
}

fn width(text: &str) -> usize {
    printable(text).chars().count()
}

impl Column {
    fn pad(&self, text: &str) -> String {
        if self.right {
            format!("{text:>0$}", self.width)
        } else {
            format!("{text:<0$}", self.width)
        }
    }
}
