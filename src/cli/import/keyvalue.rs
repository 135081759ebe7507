//! Reads `--formatter=keyvalue`: one line for each value. ESXi writes `structure[0].NMPSATPRule.RuleGroup.string=user`,
//! psactl writes `SATPRule[0].RuleGroup.string=user`.

use super::report::Outcome;
use super::rows::{Row, Rows};

/// Whether a line has this format.
pub(super) fn is_line(line: &str) -> bool {
    parts(line).is_some()
}

/// The record that a line belongs to, the name of its column, and the value.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (key, value) = line.split_once('=')?;
    let (key, _kind) = key.trim_start().rsplit_once('.')?;
    let (record, column) = key.rsplit_once('.')?;
    // `WorkingPaths[0]`: one of several values.
    let column = column.split('[').next().unwrap_or(column);
    let number = record.split_once('[')?.1.split_once(']')?.0;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let is_plain = |c: char| c.is_alphanumeric() || "[]._".contains(c);
    (is_number && key.chars().all(is_plain)).then_some((record, column, value))
}

/// Reads the lines of a text.
///
/// # Errors
/// None: lines in another format are reported.
pub(super) fn read(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    let mut current = "";
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let Some((record, column, value)) = parts(line) else {
            let why = "not a line of the form Type[0].Column.string=value";
            rows.aside(at + 1, line, Outcome::Refused, why);
            continue;
        };
        // The numbers of the next listing may start from zero again.
        let is_new = rows
            .rows
            .last()
            .is_none_or(|row| record != current || row.has(column));
        if is_new {
            current = record;
            rows.rows.push(Row {
                line: at + 1,
                cells: Vec::new(),
            });
        }
        if let Some(row) = rows.rows.last_mut() {
            row.cells.push((column.to_owned(), value.to_owned()));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_both_forms() {
        let text = "\
structure[0].NMPSATPRule.Name.string=X
structure[0].NMPSATPRule.Description.string=a=b [c]

structure[1].NMPSATPRule.Name.string=Y
SATPRule[0].Name.string=Z
SATPRule[0].Name.string=Z
what else
";
        let rows = read(text).unwrap();
        let names: Vec<&str> = rows.rows.iter().map(|row| row.get("Name")).collect();
        assert_eq!(names, ["X", "Y", "Z", "Z"]);
        assert_eq!(rows.rows[0].get("Description"), "a=b [c]");
        assert_eq!(rows.asides[0].line, 7);
    }
}
