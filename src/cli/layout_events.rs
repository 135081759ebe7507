//! The columns of events, event codes and replays.

use super::layout::{Column, Layout};
use super::record::{Style, Value};
use super::when;
use crate::api::types::Event;
use crate::psa::codes::Code;

impl Layout for Event {
    const KIND: &'static str = "Event";
    const STYLE: Style = Style::Log;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Number", |e| e.number.into()),
        ("Time", |e| when::text(e.time_ms).as_str().into()),
        ("Severity", |e| Value::State(e.severity.clone())),
        ("Code", |e| (&e.code).into()),
        ("Subject", |e| (&e.subject).into()),
        ("Details", |e| {
            let details = e.details.iter();
            Value::List(details.map(|d| format!("{}={}", d.name, d.value)).collect())
        }),
    ];
}

impl Layout for Code {
    const KIND: &'static str = "EventCode";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Code");
    const COLUMNS: &'static [Column<Self>] = &[
        ("Severity", |c| c.severity.as_str().into()),
        ("Meaning", |c| c.meaning.into()),
        ("What To Do", |c| c.remedy.into()),
    ];
    fn heading(&self) -> Option<&str> {
        Some(self.name)
    }
}

/// A line of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplayLine {
    /// The time, in ms since 1970.
    pub time_ms: u64,
    /// `event`, `notice`, `map`, `state`, `journal`.
    pub kind: &'static str,
    /// What it concerns, such as a device, a path, a map or a file.
    pub subject: String,
    /// The text of the line.
    pub text: String,
}

impl Layout for ReplayLine {
    const KIND: &'static str = "ReplayLine";
    const STYLE: Style = Style::Log;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Time", |l| when::text(l.time_ms).as_str().into()),
        ("Kind", |l| l.kind.into()),
        ("Subject", |l| (&l.subject).into()),
        ("Text", |l| (&l.text).into()),
    ];
}
