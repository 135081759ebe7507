//! Path selection plug-ins: from path states to ordered priority groups and a kernel selector.
//!
//! Input: the [`Candidate`] paths of a device. Output: an [`Arrangement`]. Invariants: every candidate is in exactly
//! one group; the groups are in order of preference; if a path fails or recovers, at most the order of the groups
//! changes, never which paths are in the same group, so that messages suffice and no reload is needed.

mod fixed;
mod mru;
mod round_robin;

use super::adapter::RuntimeName;
pub use super::settings::PspKind;
use super::settings::RoundRobin;
use super::units::{DevT, Hctl};
use crate::psa::evidence::{Class, PathState};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

impl PspKind {
    /// The plug-in itself.
    #[must_use]
    pub fn plugin(self) -> &'static dyn Psp {
        match self {
            PspKind::Fixed => &fixed::Fixed,
            PspKind::Mru => &mru::Mru,
            PspKind::RoundRobin => &round_robin::RoundRobin,
        }
    }
}

/// A path that may be in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The path.
    pub path: Hctl,
    /// Its disk.
    pub dev: DevT,
    /// Its runtime name.
    pub name: RuntimeName,
    /// Its state.
    pub state: PathState,
    /// Its class.
    pub class: Class,
    /// Rank set by the admin.
    pub rank: i32,
}

/// The name of a path selector of the kernel. (A type of its own, because serde would treat the plain type as text that
/// it may borrow.)
pub type SelectorName = &'static str;

/// The selectors used by the PSPs and schemes of this build.
const SELECTORS: [SelectorName; 3] = ["service-time", "round-robin", "queue-length"];

/// Deserializes a selector from its name.
fn selector<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SelectorName>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    let known = SELECTORS.into_iter().find(|known| *known == name);
    known
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("there is no selector {name}")))
}

/// What the admin set, and what the plug-in chose previously.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// FIXED: the path that the admin prefers.
    pub preferred: Option<RuntimeName>,
    /// FIXED: the previously chosen path, kept while it serves.
    pub chosen: Option<Hctl>,
    /// RR: what the admin set.
    pub round_robin: RoundRobin,
    /// RR: the kernel's selector, if something other than these settings chooses it.
    #[serde(deserialize_with = "selector")]
    pub selector: Option<SelectorName>,
}

/// A wanted priority group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedGroup {
    /// Kernel path selector.
    pub selector: &'static str,
    /// Its paths, sorted by runtime name.
    pub paths: Vec<DevT>,
    /// The paths among them that the selector uses only when no other path is left.
    pub spare: Vec<DevT>,
    /// The best class of its paths.
    pub class: Class,
}

/// The wanted groups in order of preference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// The groups.
    pub groups: Vec<WantedGroup>,
    /// FIXED: the chosen path, to be passed as [`Options::chosen`] the next time.
    pub chosen: Option<Hctl>,
}

/// A path selection plug-in.
pub trait Psp: Sync {
    /// The text of `psp list`.
    fn description(&self) -> &'static str;
    /// Arranges the paths.
    fn arrange(&self, candidates: &[Candidate], options: &Options) -> Arrangement;
    /// `Path Selection Policy Device Config`; `current` has the names of the paths in use.
    fn device_config(&self, options: &Options, current: &[RuntimeName]) -> String;
    /// `Path Selection Policy Path Config`.
    fn path_config(&self, candidate: &Candidate, options: &Options, is_current: bool) -> String;
}

/// How a selector of the kernel chooses a path, as text for the user.
pub(super) fn in_words(selector: &str) -> &'static str {
    match selector {
        "service-time" => {
            "each I/O takes the path with the least data in flight: the kernel's service-time selector"
        }
        "queue-length" => {
            "each I/O takes the path with the fewest I/Os in flight: the kernel's queue-length selector"
        }
        _ => "one I/O per path in turn: the kernel's round-robin selector has no other limit",
    }
}

/// Groups candidates by a key. The groups are in ascending order of the key, the paths sorted by runtime name.
fn group_by<K: Ord>(
    candidates: &[Candidate],
    selector: &'static str,
    key: impl Fn(&Candidate) -> K,
) -> Vec<WantedGroup> {
    let mut groups: std::collections::BTreeMap<K, Vec<&Candidate>> =
        std::collections::BTreeMap::new();
    for candidate in candidates {
        groups.entry(key(candidate)).or_default().push(candidate);
    }
    groups
        .into_values()
        .map(|mut members| {
            members.sort_by_key(|c| (c.name, c.path));
            WantedGroup {
                selector,
                class: members.iter().map(|c| c.class).min().unwrap_or(Class::Last),
                paths: members.iter().map(|c| c.dev).collect(),
                spare: Vec::new(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path `vmhba0:C0:T0:L<n>` on 8:<n>.
    fn path(n: u32, state: PathState, class: Class, rank: i32) -> Candidate {
        Candidate {
            path: Hctl {
                host: 0,
                channel: 0,
                target: 0,
                lun: u64::from(n),
            },
            dev: DevT { major: 8, minor: n },
            name: RuntimeName {
                adapter: 0,
                channel: 0,
                target: 0,
                lun: u64::from(n),
            },
            state,
            class,
            rank,
        }
    }

    fn shape(arrangement: &Arrangement) -> Vec<Vec<u32>> {
        arrangement
            .groups
            .iter()
            .map(|g| g.paths.iter().map(|d| d.minor).collect())
            .collect()
    }

    const AO: (PathState, Class) = (PathState::Active, Class::Optimized);
    const ANO: (PathState, Class) = (PathState::ActiveUnoptimized, Class::NonOptimized);
    const DEAD_AO: (PathState, Class) = (PathState::Dead, Class::Optimized);
    const STANDBY: (PathState, Class) = (PathState::Standby, Class::Standby);

    fn paths(of: &[(PathState, Class)]) -> Vec<Candidate> {
        of.iter()
            .zip(1..)
            .map(|((state, class), n)| path(n, *state, *class, 0))
            .collect()
    }

    #[test]
    fn mru_groups_by_state_then_rank() {
        let mut all = paths(&[STANDBY, ANO, AO, ANO, AO]);
        let none = Options::default();
        assert_eq!(
            shape(&PspKind::Mru.plugin().arrange(&all, &none)),
            [vec![3, 5], vec![2, 4], vec![1]]
        );
        all[4].rank = 7;
        assert_eq!(
            shape(&PspKind::Mru.plugin().arrange(&all, &none)),
            [vec![5], vec![3], vec![2, 4], vec![1]]
        );
    }

    #[test]
    fn round_robin_uses_ano_only_if_set() {
        let all = paths(&[ANO, AO, STANDBY, AO]);
        let mut options = Options::default();
        assert_eq!(
            shape(&PspKind::RoundRobin.plugin().arrange(&all, &options)),
            [vec![2, 4], vec![1], vec![3]]
        );
        options.round_robin.use_ano = Some(true);
        assert_eq!(
            shape(&PspKind::RoundRobin.plugin().arrange(&all, &options)),
            [vec![1, 2, 4], vec![3]]
        );
    }

    #[test]
    fn a_failure_never_regroups() {
        for kind in [PspKind::Mru, PspKind::RoundRobin] {
            let before = kind
                .plugin()
                .arrange(&paths(&[AO, AO, ANO, ANO]), &Options::default());
            let after = kind
                .plugin()
                .arrange(&paths(&[DEAD_AO, AO, ANO, ANO]), &Options::default());
            assert_eq!(shape(&before), shape(&after));
        }
    }

    #[test]
    fn fixed_keeps_its_choice_and_returns_to_the_preferred_path() {
        let psp = PspKind::Fixed.plugin();
        let first = psp.arrange(&paths(&[ANO, AO, AO]), &Options::default());
        assert_eq!(shape(&first), [vec![2], vec![3], vec![1]]);
        // Path 2 dies, 3 is chosen; 2 returns, 3 is kept.
        let mut options = Options {
            chosen: first.chosen,
            ..Options::default()
        };
        let second = psp.arrange(&paths(&[ANO, DEAD_AO, AO]), &options);
        assert_eq!(shape(&second)[0], [3]);
        options.chosen = second.chosen;
        assert_eq!(
            shape(&psp.arrange(&paths(&[ANO, AO, AO]), &options))[0],
            [3]
        );
        // The admin's preference is used whenever it serves, optimized or not, and is remembered while it is dead.
        options.preferred = Some(path(1, PathState::Active, Class::Optimized, 0).name);
        assert_eq!(
            shape(&psp.arrange(&paths(&[ANO, AO, AO]), &options))[0],
            [1]
        );
        assert_eq!(
            shape(&psp.arrange(
                &paths(&[(PathState::Dead, Class::NonOptimized), AO, AO]),
                &options
            ))[0],
            [3]
        );
    }
}
