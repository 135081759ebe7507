//! `adopt`, `release`: from multipathd to the agent, and back.

use super::arguments::flag;
use super::verb::Verb;
use crate::cli::handover::{adopt, release};
use clap::Arg;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["adopt"],
        about: "Take the maps of a running multipathd over to the agent, while I/O goes on",
        arguments: &[dry_run],
        run: |context, given| adopt::adopt(context, given.get_flag("dry-run")),
        legacy: false,
    },
    Verb {
        words: &["release"],
        about: "Hand the maps of the agent over to multipathd, while I/O goes on",
        arguments: &[dry_run],
        run: |context, given| release::release(context, given.get_flag("dry-run")),
        legacy: false,
    },
];

fn dry_run() -> Arg {
    flag("dry-run", None, "Print what would be done, and do nothing")
}
