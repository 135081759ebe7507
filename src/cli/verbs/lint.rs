//! `psactl lint`: reports problems in the rules of this host.

use super::verb::Verb;
use crate::cli::layout::listing;
use crate::config::rules;
use crate::psa::report::lint::findings;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[Verb {
    words: &["lint"],
    about: "Report rules that are duplicate, shadowed, unreachable, not loaded or doubtful",
    arguments: &[],
    run: |context, _| {
        let files = rules::load(&context.places())?;
        Ok(listing(&findings(&files.lists, &files.satp_rules())))
    },
    legacy: false,
}];
