//! What came of each rule, section and keyword: the lines that `psactl import` prints.

use crate::cli::layout::{Column, Layout};
use crate::cli::record::{Style, Value};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It became a rule or a setting, or a part of one.
    Imported,
    /// The same is here already.
    There,
    /// It asks for what dm-psa does anyway.
    Same,
    /// There is nothing like it here. Which device is treated how does not hang on it.
    NoEquivalent,
    /// It was not meant to be imported, or counts for nothing where it comes from.
    LeftOut,
    /// It should have been imported, and could not.
    Refused,
}

impl Outcome {
    /// The word of the report.
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
    /// The line of the text that it is about, from 1.
    pub line: usize,
    /// The rule, or the keyword with its value.
    pub subject: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What it became, or why it did not.
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
