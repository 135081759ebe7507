//! VMW_PSP_MRU: paths of the same class and rank form a group. I/O leaves a group only for a better one.
//!
//! Two groups are never equal, so the rule "no failback to an equal path" needs no memory: within a group the kernel
//! continues with the paths that work.

use super::interface::{Arrangement, Candidate, Options, Psp, group_by};
use crate::psa::adapter::RuntimeName;
use std::cmp::Reverse;

/// VMW_PSP_MRU.
pub(super) struct Mru;

impl Psp for Mru {
    fn description(&self) -> &'static str {
        "Most Recently Used Path Selection"
    }
    fn arrange(&self, candidates: &[Candidate], _options: &Options) -> Arrangement {
        let groups = group_by(candidates, "service-time", |c| (c.class, Reverse(c.rank)));
        Arrangement {
            groups,
            chosen: None,
        }
    }
    fn device_config(&self, _options: &Options, current: &[RuntimeName]) -> String {
        let current = current
            .first()
            .map_or_else(|| "none".to_owned(), ToString::to_string);
        format!("Current Path={current}")
    }
    fn path_config(&self, candidate: &Candidate, _options: &Options, is_current: bool) -> String {
        let current = if is_current {
            "current path"
        } else {
            "non-current path"
        };
        format!("{{{current}; rank: {}}}", candidate.rank)
    }
}
