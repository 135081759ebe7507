//! Reads `--formatter=csv`: RFC 4180 with a line of column names. ESXi ends each line with a comma. `Export-Csv` of
//! PowerShell quotes every value and begins with a line `#TYPE ...`; its delimiter is a semicolon in locales where
//! numbers contain a comma, or any other that the user chose. There can be several listings, one after the other.

use super::report::Outcome;
use super::rows::{Row, Rows, are_columns, is_column};

/// The accepted delimiters.
const DELIMITERS: [char; 3] = [',', ';', '\t'];

/// Whether a line names the columns of a listing.
pub(super) fn is_header(line: &str) -> bool {
    delimiter(line).is_some()
}

/// The delimiter of a line of column names; `None` for other lines.
fn delimiter(line: &str) -> Option<char> {
    DELIMITERS.into_iter().find(|delimiter| {
        let names = line.trim_end().split(*delimiter);
        is_names(names.map(|name| name.trim_matches('"')))
    })
}

fn is_names<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let known = names.iter().filter(|name| is_column(name)).count();
    are_columns(names.iter().copied()) && known * 2 > names.len()
}

/// Reads the listings in a text.
///
/// # Errors
/// A quote that is not closed, with its line.
pub(super) fn read(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    let mut names: Option<Vec<String>> = None;
    let delimiter = text.lines().find_map(delimiter).unwrap_or(',');
    for (line, values) in records(text, delimiter)? {
        if is_names(values.iter().map(String::as_str)) {
            names = Some(values);
            continue;
        }
        let whole = values.join(",");
        match &names {
            Some(names) if names.len() == values.len() => {
                let cells = names.iter().cloned().zip(values);
                let cells = cells.filter(|(name, value)| !(name.is_empty() && value.is_empty()));
                rows.rows.push(Row {
                    line,
                    cells: cells.collect(),
                });
            }
            Some(names) => {
                let why = format!(
                    "{} values, but {} columns: quote a value that contains a comma",
                    values.len(),
                    names.len()
                );
                rows.aside(line, &whole, Outcome::Refused, &why);
            }
            None if whole.starts_with('#') => {
                let why = "a comment, not a rule";
                rows.aside(line, &whole, Outcome::LeftOut, why);
            }
            None => {
                let why = "no line with column names comes before it";
                rows.aside(line, &whole, Outcome::Refused, why);
            }
        }
    }
    Ok(rows)
}

/// The records, each with the line where it begins; blank lines are skipped.
fn records(text: &str, delimiter: char) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut records = Vec::new();
    let mut values: Vec<String> = Vec::new();
    let mut value = String::new();
    // The line of the opening quote, if a quote is open.
    let mut quoted: Option<usize> = None;
    let (mut line, mut begin) = (1, 1);
    let mut chars = text.chars().peekable();
    loop {
        let c = chars.next();
        match c {
            Some('"') if quoted.is_some() => {
                if chars.next_if_eq(&'"').is_some() {
                    value.push('"');
                } else {
                    quoted = None;
                }
            }
            Some('"') if value.is_empty() => quoted = Some(line),
            Some(c) if c == delimiter && quoted.is_none() => {
                values.push(std::mem::take(&mut value))
            }
            None | Some('\n') if quoted.is_none() => {
                if value.ends_with('\r') {
                    value.pop();
                }
                values.push(std::mem::take(&mut value));
                let record = std::mem::take(&mut values);
                if record.iter().any(|value| !value.is_empty()) {
                    records.push((begin, record));
                }
                begin = line + 1;
            }
            Some(c) => value.push(c),
            None => {}
        }
        match c {
            Some('\n') => line += 1,
            Some(_) => {}
            None => break,
        }
    }
    match quoted {
        None => Ok(records),
        Some(line) => Err(format!(
            "line {line}: the quote that starts here is never closed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_commas_and_line_breaks() {
        let text = "a,\"b, \"\"c\"\"\",\r\n\r\n\"x\ny\",z\n";
        assert_eq!(
            records(text, ',').unwrap(),
            [
                (1, vec!["a".into(), "b, \"c\"".into(), String::new()]),
                (3, vec!["x\ny".into(), "z".into()]),
            ]
        );
        assert!(
            records("a\n\"b\n", ',')
                .unwrap_err()
                .starts_with("line 2: ")
        );
    }

    #[test]
    fn other_delimiters_are_accepted() {
        for text in [
            "#TYPE X\n\"Name\";\"Vendor\";\"Model\";\"RuleGroup\"\r\n\"X\";\"V\";\"M, N\";\"user\"\r\n",
            "Name\tVendor\tModel\tRuleGroup\nX\tV\tM, N\tuser\n",
        ] {
            assert!(text.lines().any(is_header), "{text}");
            let rows = read(text).unwrap();
            assert_eq!(rows.rows[0].get("Model"), "M, N");
            assert_eq!(rows.rows[0].get("Rule Group"), "user");
        }
        assert!(is_header("\"DefaultPSP\",\"Description\",\"Name\""));
        assert!(!is_header("Name,Description,Version"));
    }

    #[test]
    fn a_comma_may_end_each_line() {
        let rows = read("Name,Vendor,Model,RuleGroup,\nX,V,\"M, N\",user,\nX,V\n").unwrap();
        assert_eq!(rows.rows.len(), 1);
        assert_eq!(rows.rows[0].get("Model"), "M, N");
        assert_eq!(rows.rows[0].get("Rule Group"), "user");
        assert_eq!((rows.asides[0].line, rows.asides.len()), (3, 1));
    }
}
