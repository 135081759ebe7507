//! A decoded answer, and how its fields are written.

use crate::cli::record::{Listing, Record, Style, Value};
use crate::scsi::ParseError;

/// A decoded answer.
#[derive(Debug, Clone)]
pub struct Decoded {
    structures: Vec<Record>,
    /// Why the answer was not decoded completely.
    pub missing: Option<ParseError>,
}

impl Decoded {
    /// Combines the structures of an answer that was parsed up to `end`. `after` are bytes at the end of `data` that do
    /// not belong to the answer.
    pub(super) fn new(
        mut structures: Vec<Record>,
        (end, missing): (usize, Option<ParseError>),
        data: &[u8],
        after: &[u8],
    ) -> Decoded {
        let bytes = |bytes| ("Bytes", Value::Text(hex(bytes)));
        if let Some(error) = &missing {
            let stop = data.len().saturating_sub(after.len());
            let rest = data.get(end..stop).unwrap_or_default();
            let mut fields = vec![("Reason", Value::Text(error.to_string()))];
            if !rest.is_empty() {
                fields.push(bytes(rest));
            }
            structures.push(structure("Not decoded", fields));
        }
        if !after.is_empty() {
            structures.push(structure("After the end", vec![bytes(after)]));
        }
        Decoded {
            structures,
            missing,
        }
    }

    /// The listing to print.
    #[must_use]
    pub fn listing(self) -> Listing {
        let mut columns = Vec::new();
        for (name, _) in self.structures.iter().flat_map(|record| &record.fields) {
            if !columns.contains(name) {
                columns.push(*name);
            }
        }
        Listing {
            kind: "Structure",
            style: Style::List,
            title: None,
            heading: Some("Structure"),
            columns,
            records: self.structures,
        }
    }
}

pub(super) fn structure(heading: impl Into<String>, fields: Vec<(&'static str, Value)>) -> Record {
    Record {
        heading: Some(heading.into()),
        fields,
    }
}

/// `60 01 40`
pub(super) fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

/// `06h (SPC-4)`
pub(super) fn code(code: u8, meaning: &str) -> Value {
    Value::Text(format!("{code:02X}h ({meaning})"))
}

/// The `Display` text of a value that describes itself.
pub(super) fn said(what: impl std::fmt::Display) -> Value {
    Value::Text(what.to_string())
}

/// The number of bytes, for data with a length field of one byte.
pub(super) fn count(bytes: &[u8]) -> Value {
    u8::try_from(bytes.len()).unwrap_or(u8::MAX).into()
}
