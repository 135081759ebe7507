//! How a value, its name and its type are printed.

use crate::cli::printable::printable;
use crate::cli::record::Value;

/// Colours that highlight values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    /// The printable text of a value, padded by `pad`, and red if it is a state that needs attention.
    pub(super) fn value(self, value: &Value, pad: impl Fn(&str) -> String) -> String {
        let text = value.text();
        let padded = pad(&printable(&text));
        match value {
            Value::State(state)
                if self.colour && matches!(state.as_str(), "dead" | "link-down") =>
            {
                format!("\x1b[31m{padded}\x1b[0m")
            }
            _ => padded,
        }
    }
}

/// A column name as an identifier: without blanks and punctuation.
pub(super) fn identifier(column: &str) -> String {
    column.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The name of the type of a value.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "integer",
        Value::Flag(_) => "boolean",
        Value::Text(_) | Value::State(_) | Value::List(_) | Value::Absent(_) => "string",
    }
}
