//! The takeover budget of one device as a state machine, independent of the rest of the world. Each look at the device
//! is one transition.

use crate::psa::units::{Hctl, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The first hold.
pub(in crate::psa) const FIRST: Millis = Millis::from_secs(10);

/// The longest hold, not counting the extra share that differs between hosts.
pub(in crate::psa) const LONGEST: Millis = Millis::from_secs(60);

/// No hold is shorter, however short the time is for which I/O is queued.
pub(in crate::psa) const SHORTEST: Millis = Millis::from_secs(5);

/// A hold ends this long before queued I/O would fail.
pub(in crate::psa) const LAST_CALL: Millis = Millis::from_secs(5);

/// After this long without a move, holds start again with the first.
const FORGET: Millis = Millis::from_secs(3600);

/// The first pause after an order that the array or the kernel did not carry out.
const REFUSED: Millis = Millis::from_secs(2);

/// How long after an order the agent checks whether the unit has moved.
pub(in crate::psa) const ASK_AFTER: Millis = Millis::from_secs(1);

/// From this number of losses on, an admin has to act.
pub(in crate::psa) const CONTESTED: u32 = 3;

/// Which controller serves the unit, as far as this host can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Owner {
    /// No path has reported this since the agent started.
    #[default]
    Unknown,
    /// A controller that a path of this host leads to.
    Here,
    /// No longer the controller of this host; the waiting paths are being checked once more.
    Doubtful,
    /// A controller that no path of this host leads to.
    Elsewhere,
    /// A move was ordered, but has not been observed.
    Ordered,
}

/// Whether the kernel may use waiting paths. If it uses them, the array moves the unit to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Grant {
    /// It may.
    #[default]
    Now,
    /// Not before this time.
    NotBefore(Millis),
    /// It is not known yet whether the unit has moved.
    Asking,
    /// The kernel was given the paths, but the move has not been observed yet.
    Ordered,
    /// Nothing has the map open, so nothing is moved.
    Unused,
}

/// How the waiting paths count while no path serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::psa) enum Standing {
    /// As paths that the kernel may use.
    Free,
    /// The kernel gets them as soon as something opens the map.
    WhenOpened,
    /// Not known yet.
    Asking,
    /// The last order was not carried out: they count as nothing until a path serves.
    Refused,
}

/// The part of a budget that is stored for an agent that starts later, until the host boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredTakeover {
    /// Number of moves by this host, and of losses.
    pub level: u32,
    /// Number of losses among them.
    pub losses: u32,
    /// Whether a path of this host led to the controller that serves.
    pub here: bool,
    /// How long the next order has to wait, from the time of storing on.
    pub wait: Millis,
}

/// What a look at a device shows about its controllers.
#[derive(Debug, Clone, Copy)]
pub(in crate::psa) struct Sight {
    pub(in crate::psa) now: Millis,
    /// A path serves I/O.
    pub(in crate::psa) serves: bool,
    /// There are waiting paths that this host can have activated.
    pub(in crate::psa) waits: bool,
    /// A path that served at the last look is waiting now.
    pub(in crate::psa) turned: bool,
    /// A check of a waiting path is in progress.
    pub(in crate::psa) checking: bool,
    /// A check is in progress of a path of which nothing is known.
    pub(in crate::psa) undecided: bool,
    /// The kernel is using a waiting path.
    pub(in crate::psa) in_kernel: bool,
    /// Something has the map open.
    pub(in crate::psa) open: bool,
    /// The longest hold. `phase` is what this host adds to each hold, in 1024ths of an eighth of the hold.
    pub(in crate::psa) longest: Millis,
    pub(in crate::psa) phase: u64,
    /// When I/O that is already queued will fail.
    pub(in crate::psa) deadline: Option<Millis>,
}

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::psa) enum Finding {
    Nothing,
    /// The waiting paths have to be checked before anything is concluded.
    Ask,
    /// Another host, or the array, moved the unit away.
    Lost,
    /// An order was not carried out.
    Refused,
}

/// The budget of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Takeover {
    begun: bool,
    owner: Owner,
    /// The previous agent had a path that served the unit, and this agent has not seen one yet.
    had: bool,
    /// The paths that served at the last look at which any did.
    carriers: BTreeSet<Hctl>,
    /// Number of moves by this host and of losses since the last calm; each doubles the hold.
    level: u32,
    /// Number of losses among them.
    losses: u32,
    /// Number of orders in a row that were not carried out.
    refusals: u32,
    /// Time of the last move or loss.
    last: Millis,
    not_before: Millis,
    grant: Grant,
    /// Since the agent started: moves that this host ordered, and moves by others.
    ordered: u64,
    seen: u64,
}

impl Takeover {
    /// Number of moves that this host had the array make since the agent started.
    #[must_use]
    pub(in crate::psa) fn ordered(&self) -> u64 {
        self.ordered
    }

    /// Number of moves by other hosts or by the array that were seen since the agent started.
    #[must_use]
    pub(in crate::psa) fn seen(&self) -> u64 {
        self.seen
    }

    /// How the waiting paths count while no path serves. Paths that are held back are not given to the kernel, and that
    /// is enough: they count as [`Standing::Free`].
    pub(in crate::psa) fn standing(&self) -> Standing {
        match self.grant {
            Grant::Unused => Standing::WhenOpened,
            Grant::Asking => Standing::Asking,
            _ if self.refusals > 0 => Standing::Refused,
            _ => Standing::Free,
        }
    }

    /// Whether the budget was ever needed.
    pub(in crate::psa) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether this path served at the last look at which any path did.
    pub(in crate::psa) fn was_served_by(&self, path: Hctl) -> bool {
        self.carriers.contains(&path)
    }

    /// Whether the kernel may use waiting paths.
    pub(in crate::psa) fn grant(&self) -> Grant {
        self.grant
    }

    /// How often the unit was taken away since the last calm.
    pub(in crate::psa) fn losses(&self) -> u32 {
        self.losses
    }

    /// How long the next order has to wait.
    pub(in crate::psa) fn wait(&self, now: Millis) -> Millis {
        self.not_before.since(now)
    }

    /// Processes a look, with the paths that serve. Returns the result, and whether something has to be stored.
    pub(in crate::psa) fn take_in(
        &mut self,
        sight: &Sight,
        carriers: BTreeSet<Hctl>,
        before: Option<(StoredTakeover, Millis)>,
    ) -> (Finding, bool) {
        self.begin(sight.now, before);
        // A hold that was stored, or that began while I/O was queued for longer, must not outlast the queueing.
        let most = Millis(sight.longest.0.saturating_add(sight.longest.0 / 8));
        self.not_before = self.not_before.min(sight.now.after(most));
        let counted = (self.level, self.not_before, self.owner);
        // As long as one of the earlier carriers still serves, nothing is concluded: the others may just have been
        // checked earlier.
        let other = sight.serves && sight.turned && self.carriers.is_disjoint(&carriers);
        if other && self.owner == Owner::Here {
            self.followed();
        }
        let finding = self.look(sight);
        self.had &= !sight.serves;
        if sight.serves && self.carriers != carriers {
            self.carriers = carriers;
        }
        let changed = counted != (self.level, self.not_before, self.owner);
        (finding, changed)
    }

    /// Continues with what the previous agent stored at `at`. Without that, it starts as if a move had just been
    /// ordered.
    fn begin(&mut self, now: Millis, before: Option<(StoredTakeover, Millis)>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.last = now;
        let Some((stored, at)) = before else {
            self.not_before = now.after(FIRST);
            return;
        };
        self.level = stored.level;
        self.losses = stored.losses;
        self.not_before = at.after(stored.wait);
        if stored.here {
            self.owner = Owner::Here;
            self.had = true;
        }
    }

    /// What has to be stored; `None` for a device that no other host contends for.
    pub(in crate::psa) fn to_store(&self, now: Millis) -> Option<StoredTakeover> {
        let calm = self.level == 0 || now.since(self.last) >= FORGET;
        (!calm).then(|| StoredTakeover {
            level: self.level,
            losses: self.losses,
            here: matches!(self.owner, Owner::Here | Owner::Doubtful),
            wait: self.not_before.since(now),
        })
    }

    /// Processes a look: makes the transition, then sets the grant.
    fn look(&mut self, sight: &Sight) -> Finding {
        let finding = self.transition(sight);
        self.grant = if sight.serves || !sight.waits {
            self.in_time(sight)
        } else if self.owner == Owner::Doubtful {
            Grant::Asking
        } else if self.owner == Owner::Ordered {
            Grant::Ordered
        } else if !sight.open {
            Grant::Unused
        } else {
            self.in_time(sight)
        };
        finding
    }

    fn in_time(&self, sight: &Sight) -> Grant {
        // The outage may have begun long before the hold, so the hold ends before queued I/O fails. Two exceptions:
        // where I/O is hardly queued at all, the hold takes precedence; and after an order that was not carried out,
        // another one would hardly do better.
        let tried = self.refusals > 0 || sight.longest < FIRST;
        let last = sight.deadline.filter(|_| !tried);
        let last = last.map(|at| at.since(LAST_CALL));
        let at = last.map_or(self.not_before, |last| last.min(self.not_before));
        if at > sight.now {
            Grant::NotBefore(at)
        } else {
            Grant::Now
        }
    }

    fn transition(&mut self, sight: &Sight) -> Finding {
        match (self.owner, sight.serves, sight.waits) {
            (Owner::Ordered, true, _) => {
                self.owner = Owner::Here;
                self.refusals = 0;
                // The next order has its interval from here on: a move may take seconds.
                self.hold(sight);
            }
            // Not by an order: either the kernel of this host had a path that it could activate, or the array or
            // another host moved the unit to a controller of this host. It is counted as a move by this host, which
            // errs on the side of fewer moves.
            (Owner::Elsewhere, true, _) => {
                self.owner = Owner::Here;
                self.refusals = 0;
                self.moved(sight);
            }
            (_, true, _) => self.owner = Owner::Here,
            (Owner::Here, false, true) => {
                self.owner = Owner::Doubtful;
                return Finding::Ask;
            }
            (Owner::Doubtful, false, true) if !sight.checking && !sight.undecided => {
                self.owner = Owner::Elsewhere;
                // If the path of this host is down, nobody took the unit away.
                if sight.turned || std::mem::take(&mut self.had) {
                    self.lost(sight);
                    return Finding::Lost;
                }
            }
            (Owner::Ordered, false, true) if !sight.in_kernel && !sight.checking => {
                self.owner = Owner::Elsewhere;
                self.refusals = self.refusals.saturating_add(1);
                let doubled = REFUSED.0.saturating_mul(1 << self.refusals.min(10));
                let pause = Millis(doubled.min(sight.longest.0));
                self.not_before = self.not_before.max(sight.now.after(pause));
                return Finding::Refused;
            }
            (Owner::Unknown, false, true) if !sight.undecided => self.owner = Owner::Elsewhere,
            _ => {}
        }
        Finding::Nothing
    }

    /// Counts a move that this host caused.
    fn moved(&mut self, sight: &Sight) {
        self.ordered = self.ordered.saturating_add(1);
        self.count(sight);
    }

    /// Counts a loss of the unit.
    fn lost(&mut self, sight: &Sight) {
        self.seen = self.seen.saturating_add(1);
        self.count(sight);
        self.losses = self.losses.saturating_add(1);
    }

    /// A move is ordered.
    pub(in crate::psa) fn order(&mut self, now: Millis, longest: Millis, phase: u64) {
        self.owner = Owner::Ordered;
        let sight = Sight {
            now,
            serves: false,
            waits: true,
            turned: false,
            checking: false,
            undecided: false,
            in_kernel: true,
            open: true,
            longest,
            phase,
            deadline: None,
        };
        self.moved(&sight);
        self.grant = Grant::Ordered;
    }

    /// Another host, or the array, moved the unit between two controllers that this host reaches.
    fn followed(&mut self) {
        self.seen = self.seen.saturating_add(1);
    }

    fn count(&mut self, sight: &Sight) {
        if sight.now.since(self.last) >= FORGET {
            self.level = 0;
            self.losses = 0;
        }
        self.last = sight.now;
        self.level = self.level.saturating_add(1);
        self.hold(sight);
    }

    /// The next order has to wait for a hold from now on.
    fn hold(&mut self, sight: &Sight) {
        let doubled = FIRST
            .0
            .saturating_mul(1 << self.level.saturating_sub(1).min(10));
        let hold = doubled.min(sight.longest.0);
        // Up to an eighth more, or two hosts that lost the unit at the same time would take it back at the same time.
        let own = hold.saturating_mul(sight.phase) / (8 * 1024);
        let at = sight.now.after(Millis(hold.saturating_add(own)));
        self.not_before = self.not_before.max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: Hctl = Hctl {
        host: 1,
        channel: 0,
        target: 0,
        lun: 0,
    };

    fn sight(at: u64, serves: bool) -> Sight {
        Sight {
            now: Millis::from_secs(at),
            serves,
            waits: !serves,
            turned: !serves,
            checking: false,
            undecided: false,
            in_kernel: false,
            open: true,
            longest: LONGEST,
            phase: 0,
            deadline: None,
        }
    }

    fn look(budget: &mut Takeover, sight: Sight) -> Finding {
        let carriers = sight.serves.then_some(PATH).into_iter().collect();
        budget.take_in(&sight, carriers, None).0
    }

    /// The unit is lost at this time. Returns when it may be taken back.
    fn loss(budget: &mut Takeover, at: u64) -> u64 {
        assert_eq!(look(budget, sight(at, false)), Finding::Ask);
        assert_eq!(budget.grant(), Grant::Asking);
        assert_eq!(look(budget, sight(at, false)), Finding::Lost);
        match budget.grant() {
            Grant::NotBefore(then) => then.0 / 1000,
            other => panic!("{other:?}"),
        }
    }

    /// The unit is taken over at this time.
    fn take(budget: &mut Takeover, at: u64) {
        assert_eq!(look(budget, sight(at, false)), Finding::Nothing);
        assert_eq!(budget.grant(), Grant::Now);
        budget.order(Millis::from_secs(at), LONGEST, 0);
        assert_eq!(look(budget, sight(at, true)), Finding::Nothing);
    }

    /// A file of another version, or one from before the queueing time was made shorter.
    #[test]
    fn a_stored_hold_does_not_outlast_the_queueing() {
        let stored = StoredTakeover {
            level: 3,
            wait: Millis::from_secs(86_400),
            ..StoredTakeover::default()
        };
        let mut budget = Takeover::default();
        let now = sight(0, false);
        let longest = Millis::from_secs(16);
        let before = Some((stored, now.now));
        budget.take_in(&Sight { longest, ..now }, BTreeSet::new(), before);
        assert_eq!(budget.grant(), Grant::NotBefore(Millis::from_secs(18)));
    }

    /// All paths were down for a while, then one came back that is waiting.
    #[test]
    fn a_hold_ends_before_queued_io_fails() {
        for (longest, granted) in [(60, 15), (16, 15), (5, 22)] {
            let stored = StoredTakeover {
                level: 2,
                wait: Millis::from_secs(22),
                ..StoredTakeover::default()
            };
            let at = |seconds| Sight {
                deadline: Some(Millis::from_secs(20)),
                longest: Millis::from_secs(longest),
                ..sight(seconds, false)
            };
            let mut budget = Takeover::default();
            let before = Some((stored, Millis(0)));
            budget.take_in(&at(17), BTreeSet::new(), before);
            let now = Grant::Now;
            let expected = if granted == 15 {
                now
            } else {
                Grant::NotBefore(Millis::from_secs(granted))
            };
            assert_eq!(budget.grant(), expected, "{longest}");
        }
    }

    #[test]
    fn the_hold_doubles_up_to_a_minute_and_is_forgotten_after_an_hour() {
        let mut budget = Takeover::default();
        look(&mut budget, sight(0, true));
        let mut holds = Vec::new();
        let mut at = 100;
        for _ in 0..4 {
            let then = loss(&mut budget, at);
            holds.push(then - at);
            take(&mut budget, then);
            at = then + 100;
        }
        assert_eq!(holds, [10, 40, 60, 60]);
        assert_eq!((budget.ordered(), budget.seen()), (4, 4));
        assert_eq!(loss(&mut budget, at + 7200), at + 7200 + 10);
    }

    #[test]
    fn the_first_interval_is_used_when_nothing_is_known() {
        let mut budget = Takeover::default();
        look(&mut budget, sight(5, false));
        assert_eq!(budget.grant(), Grant::NotBefore(Millis::from_secs(15)));
    }

    #[test]
    fn a_starting_agent_continues_the_hold_and_notices_a_loss() {
        let mut before = Takeover::default();
        look(&mut before, sight(0, true));
        let then = loss(&mut before, 100);
        take(&mut before, then);
        let stored = before.to_store(Millis::from_secs(then + 5)).unwrap();
        assert!(stored.here && stored.level == 2);
        // The new agent starts when the unit is already gone again.
        let mut after = Takeover::default();
        let mut gone = sight(0, false);
        gone.turned = false;
        let recalled = Some((stored, Millis(0)));
        let none = BTreeSet::new();
        assert_eq!(after.take_in(&gone, none.clone(), recalled).0, Finding::Ask);
        assert_eq!(after.take_in(&gone, none, recalled).0, Finding::Lost);
        assert_eq!(after.grant(), Grant::NotBefore(Millis::from_secs(40)));
    }

    #[test]
    fn an_own_path_that_is_down_is_not_a_loss() {
        let mut budget = Takeover::default();
        look(&mut budget, sight(0, true));
        let mut down = sight(100, false);
        down.turned = false;
        assert_eq!(look(&mut budget, down), Finding::Ask);
        assert_eq!(look(&mut budget, down), Finding::Nothing);
        assert_eq!(budget.grant(), Grant::Now);
        assert_eq!(budget.seen(), 0);
    }

    #[test]
    fn nothing_is_granted_for_a_map_that_nobody_has_open() {
        let mut budget = Takeover::default();
        let mut idle = sight(100, false);
        idle.open = false;
        look(&mut budget, idle);
        assert_eq!(budget.grant(), Grant::Unused);
        assert_eq!(budget.standing(), Standing::WhenOpened);
    }

    #[test]
    fn an_order_without_effect_is_repeated_ever_more_slowly() {
        let mut budget = Takeover::default();
        look(&mut budget, sight(0, false));
        let mut at = 10;
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(look(&mut budget, sight(at, false)), Finding::Nothing);
            assert_eq!(budget.grant(), Grant::Now);
            budget.order(Millis::from_secs(at), LONGEST, 0);
            assert_eq!(look(&mut budget, sight(at, false)), Finding::Refused);
            assert_eq!(budget.standing(), Standing::Refused);
            let Grant::NotBefore(then) = budget.grant() else {
                panic!("{:?}", budget.grant());
            };
            pauses.push(then.0 / 1000 - at);
            at = then.0 / 1000;
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60, 60]);
    }
}
