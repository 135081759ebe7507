//! The report of an import: the result for each rule, section and keyword, as `psactl import` prints it.

use crate::cli::layout::{Column, Layout};
use crate::cli::record::{Style, Value};

/// The result for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It became a rule or a setting, or a part of one.
    Imported,
    /// It exists already.
    There,
    /// It requests what dm-psa does anyway.
    Same,
    /// There is no equivalent, and it does not affect how devices are treated.
    NoEquivalent,
    /// It was not requested, or it has no effect where it comes from.
    LeftOut,
    /// It should have been imported, but could not be.
    Refused,
}

impl Outcome {
    /// The word in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Imported => "imported",
            Outcome::There => "already there",
            Outcome::Same => "same here",
            Outcome::NoEquivalent => "no equivalent",
            Outcome::LeftOut => "left out",
            Outcome::Refused => "refused",
        }
    }
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line in the text, from 1.
    pub line: usize,
    /// The rule, or the keyword with its value.
    pub subject: String,
    /// The result.
    pub outcome: Outcome,
    /// What it became, or why it was not imported.
    pub detail: String,
}

impl Layout for Entry {
    const KIND: &'static str = "Import";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Line", |e| {
            Value::Number(u64::try_from(e.line).unwrap_or(u64::MAX))
        }),
        ("Result", |e| e.outcome.as_str().into()),
        ("Subject", |e| (&e.subject).into()),
        ("Detail", |e| (&e.detail).into()),
    ];
}
