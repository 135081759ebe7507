//! What is generated from the table of all commands. Two commands print it, so they get it through the context: the
//! table is above the commands.

use clap::Command;

/// A manual page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The name of its file: `psactl-scsi.1`.
    pub file: String,
    /// Its text, in roff.
    pub text: String,
}

/// The functions that generate.
#[derive(Debug, Clone, Copy)]
pub struct Generators {
    /// The parser, from which the completions of shells are made.
    pub command: fn() -> Command,
    /// The manual pages.
    pub pages: fn() -> Vec<Page>,
}
