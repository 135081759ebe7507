//! Path selection plug-ins: from path states to ordered priority groups and a kernel selector.
//!
//! Input: the [`Candidate`] paths of a device. Output: an [`Arrangement`]. Invariants: every candidate is in exactly
//! one group; the groups are in order of preference; if a path fails or recovers, at most the order of the groups
//! changes, never which paths are in the same group, so that messages suffice and no reload is needed.

mod fixed;
mod interface;
mod mru;
mod round_robin;

pub use super::settings::PspKind;
pub(super) use interface::in_words;
pub use interface::{Arrangement, Candidate, Options, Psp, SelectorName, WantedGroup};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::adapter::RuntimeName;
    use crate::psa::evidence::{Class, PathState};
    use crate::psa::units::{DevT, Hctl};

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
