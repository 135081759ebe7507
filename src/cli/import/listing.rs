//! Reads a listing of rules in any format of esxcli: detects the format and returns the rows.

use super::report::{Entry, Outcome};
use super::rows::{Rows, is_column, is_command};
use super::{csv, json, keyvalue, list, table, xml};

/// Reads a listing.
///
/// # Errors
/// No format fits, or the text is malformed as a whole: line, reason and remedy.
pub(super) fn read(text: &str) -> Result<Rows, String> {
    let mut asides = Rows::default();
    let body = without_commands(text, &mut asides);
    let Some(reader) = reader(&body) else {
        return Err(
            "this is not a listing of rules: give what `esxcli storage core claimrule list`, `esxcli storage nmp satp rule list`, `esxcli storage nmp satp list` or `esxcli storage nmp device list` prints, with the line of column names; with --formatter=csv, xml, json or keyvalue it is read too"
                .to_owned(),
        );
    };
    let mut rows = reader(&body)?;
    asides.asides.append(&mut rows.asides);
    rows.asides = asides.asides;
    unknown_columns(&mut rows);
    Ok(rows)
}

/// The text with blank lines in place of the commands at its beginning.
fn without_commands(text: &str, asides: &mut Rows) -> String {
    let mut rest = text;
    let mut blanks = String::new();
    while let Some((first, after)) = rest.split_once('\n') {
        if !first.trim().is_empty() {
            if is_xml(first) || is_json(first) || !is_command(first) {
                break;
            }
            let line = blanks.len() + 1;
            let why = "a command, not its output";
            asides.aside(line, first, Outcome::LeftOut, why);
        }
        blanks.push('\n');
        rest = after;
    }
    blanks + rest
}

type Reader = fn(&str) -> Result<Rows, String>;

/// The reader for the format of the text.
fn reader(text: &str) -> Option<Reader> {
    if is_xml(text) {
        Some(xml::read)
    } else if is_json(text) {
        Some(json::read)
    } else if text.lines().any(keyvalue::is_line) {
        Some(keyvalue::read)
    } else if text.lines().any(csv::is_header) {
        Some(csv::read)
    } else if table::has_header(text) {
        Some(table::read)
    } else if text.lines().filter(|line| list::is_line(line)).count() > 2 {
        Some(list::read)
    } else {
        None
    }
}

fn is_xml(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

/// A prompt can begin with a bracket as well: `[root@esx01:~]`.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let inner = text.strip_prefix('[').map(str::trim_start);
    text.starts_with('{') || inner.is_some_and(|inner| inner.starts_with(['{', ']']))
}

/// Reports each unknown column that has values, once.
fn unknown_columns(rows: &mut Rows) {
    let mut reported: Vec<String> = Vec::new();
    for row in &rows.rows {
        for (name, value) in &row.cells {
            if value.is_empty() || is_column(name) || reported.contains(name) {
                continue;
            }
            reported.push(name.clone());
            rows.asides.push(Entry {
                line: row.line,
                subject: format!("column {name}"),
                outcome: Outcome::LeftOut,
                detail: "rules here have no such value".to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "\n\n",
            "hello\nworld\n",
            "a,b,c\n1,2,3\n",
            "Name\n----\nx\n",
        ] {
            assert!(read(text).unwrap_err().contains("not a listing"), "{text}");
        }
    }
}
