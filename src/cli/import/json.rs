//! Reads `--formatter=json`, and objects converted by `ConvertTo-Json` of PowerCLI: an array of objects, or a single
//! object. There can be several, one after the other.

use super::report::Outcome;
use super::rows::{Row, Rows};
use serde_json::{Deserializer, Value};

/// Reads the objects in a text.
///
/// # Errors
/// The text is not JSON; the error has line and column.
pub(super) fn read(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    let mut begin = 0;
    let mut documents = Deserializer::from_str(text).into_iter::<Value>();
    while let Some(document) = documents.next() {
        let document = document.map_err(|why| format!("this is not JSON: {why}"))?;
        let end = documents.byte_offset();
        let mut lines = object_lines(text, begin, end).into_iter();
        begin = end;
        let values = match document {
            Value::Array(values) => values,
            other => vec![other],
        };
        for value in values {
            if let Value::Object(object) = value {
                rows.rows.push(Row {
                    line: lines.next().unwrap_or(1),
                    cells: object
                        .into_iter()
                        .map(|(name, value)| (name, plain(&value)))
                        .collect(),
                });
            } else {
                let why = "this is not an object, but a rule must be one";
                rows.aside(1, &value.to_string(), Outcome::Refused, why);
            }
        }
    }
    Ok(rows)
}

/// A value as the other formats print it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(plain).collect();
            values.join(", ")
        }
        other => other.to_string(),
    }
}

/// The lines where the outermost objects of `text[begin..end]`, which is valid JSON, begin. (The parser does not keep
/// them.)
fn object_lines(text: &str, begin: usize, end: usize) -> Vec<usize> {
    let before = text.get(..begin).unwrap_or_default();
    let mut line = before.matches('\n').count() + 1;
    let mut lines = Vec::new();
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for c in text.get(begin..end).unwrap_or_default().chars() {
        match c {
            '\n' => line += 1,
            _ if in_string => {
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
            }
            '"' => in_string = true,
            '{' => {
                if depth == 0 {
                    lines.push(line);
                }
                depth += 1;
            }
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_with_their_lines() {
        let text = "[\n  {\"Rule Group\": \"us\\\"er {\",\n \"x\": {\"y\": 1}},\n\n  {\"RuleGroup\": null}\n]\n{\"Rule\": 5}";
        let rows = read(text).unwrap().rows;
        let lines: Vec<usize> = rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 5, 7]);
        assert_eq!(rows[0].get("RuleGroup"), "us\"er {");
        assert_eq!(rows[1].get("RuleGroup"), "");
        assert_eq!(rows[2].get("Rule"), "5");
    }

    #[test]
    fn invalid_json_is_reported_with_its_line() {
        assert!(read("[\n{\"a\": }\n]").unwrap_err().contains("line 2"));
        assert!(read("[{\"a\": 1}").unwrap_err().contains("line 1"));
        assert_eq!(read("[1]").unwrap().asides.len(), 1);
    }
}
