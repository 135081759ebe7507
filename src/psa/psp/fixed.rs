//! VMW_PSP_FIXED: one path carries the I/O, and I/O returns to it as soon as it works.
//!
//! Every path has its own group, so that a change of the preferred path only switches groups and needs no reload.

use super::interface::{Arrangement, Candidate, Options, Psp, WantedGroup};
use crate::psa::adapter::RuntimeName;

/// VMW_PSP_FIXED.
pub(super) struct Fixed;

impl Psp for Fixed {
    fn description(&self) -> &'static str {
        "Fixed Path Selection"
    }
    fn arrange(&self, candidates: &[Candidate], options: &Options) -> Arrangement {
        let serving = |c: &&Candidate| c.state.serves_io();
        let best = candidates.iter().filter(serving).map(|c| c.class).min();
        let preferred = candidates
            .iter()
            .filter(serving)
            .find(|c| Some(c.name) == options.preferred);
        // Without a preference by the admin: the previously chosen path while no other is better, otherwise the best.
        let kept = candidates
            .iter()
            .filter(serving)
            .find(|c| Some(c.path) == options.chosen && Some(c.class) == best);
        let first = candidates
            .iter()
            .filter(serving)
            .filter(|c| Some(c.class) == best)
            .min_by_key(|c| (c.name, c.path));
        let choice = preferred.or(kept).or(first).map(|c| c.path);
        let mut ordered: Vec<&Candidate> = candidates.iter().collect();
        ordered.sort_by_key(|c| (Some(c.path) != choice, c.class, c.name, c.path));
        let groups = ordered
            .into_iter()
            .map(|c| WantedGroup {
                selector: "service-time",
                paths: vec![c.dev],
                spare: Vec::new(),
                class: c.class,
            })
            .collect();
        Arrangement {
            groups,
            chosen: choice.or(options.chosen),
        }
    }
    fn device_config(&self, options: &Options, current: &[RuntimeName]) -> String {
        let name = |n: Option<RuntimeName>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
        let current = current.first().copied();
        format!(
            "{{preferred={};current={}}}",
            name(options.preferred.or(current)),
            name(current)
        )
    }
    fn path_config(&self, candidate: &Candidate, options: &Options, is_current: bool) -> String {
        let word = |b: bool| if b { "yes" } else { "no" };
        let preferred = match options.preferred {
            Some(name) => name == candidate.name,
            None => Some(candidate.path) == options.chosen,
        };
        format!(
            "{{current: {}; preferred: {}}}",
            word(is_current),
            word(preferred)
        )
    }
}
