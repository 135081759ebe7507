//! `Name: value` lines: our `--formatter=list`, and PowerCLI's `Format-List`. A blank line ends a record.

use super::listing::{Row, Rows, is_column};
use super::report::Outcome;

/// Whether a line has a value of a rule.
pub(super) fn is_line(line: &str) -> bool {
    parts(line).is_some_and(|(name, _)| is_column(name))
}

fn parts(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim(), value.strip_prefix(' ').unwrap_or(value)))
}

/// Reads the records of a text.
///
/// # Errors
/// None: a line that is of another form is told of.
pub fn read(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    let mut is_open = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            is_open = false;
            continue;
        }
        let named = parts(line).filter(|(name, _)| is_open || is_column(name));
        let Some((name, value)) = named else {
            // What stands above a record names it, and the record says the same.
            let is_heading = !is_open && !line.starts_with(' ');
            if !is_heading {
                let why = "no line of the form Column: value";
                rows.aside(at + 1, line, Outcome::Refused, why);
            }
            continue;
        };
        if !is_open {
            is_open = true;
            rows.rows.push(Row {
                line: at + 1,
                cells: Vec::new(),
            });
        }
        if let Some(row) = rows.rows.last_mut() {
            row.cells.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let text = "\
VMW_SATP_X
   Name: VMW_SATP_X
   Description:  a: b
   Model: 

ClaimOptions : tpgs_on
Name         : VMW_SATP_Y
 wrapped
";
        let rows = read(text).unwrap();
        assert_eq!(rows.rows.len(), 2);
        assert_eq!(rows.rows[0].get("Description"), " a: b");
        assert_eq!(rows.rows[0].get("Model"), "");
        assert_eq!(rows.rows[1].get("Name"), "VMW_SATP_Y");
        assert_eq!(rows.rows[1].get("Claim Options"), "tpgs_on");
        assert_eq!(rows.asides[0].line, 8);
    }
}
