//! The budget of one device, without the rest of the world: its transitions, one for each look at the device.

use crate::psa::units::{Hctl, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The first hold.
pub(in crate::psa) const FIRST: Millis = Millis::from_secs(10);

/// The longest hold, but for the share of it that differs between hosts.
pub(in crate::psa) const LONGEST: Millis = Millis::from_secs(60);

/// A hold is never shorter, however short the time is that I/O is queued for.
pub(in crate::psa) const SHORTEST: Millis = Millis::from_secs(5);

/// A hold ends this long before queued I/O would fail.
pub(in crate::psa) const LAST_CALL: Millis = Millis::from_secs(5);

/// After this long without a move the next hold is the first again.
const FORGET: Millis = Millis::from_secs(3600);

/// The first pause after an order that the array or the kernel did not carry out.
const REFUSED: Millis = Millis::from_secs(2);

/// Whether a move that was ordered has come about is asked this long after.
pub(in crate::psa) const ASK_AFTER: Millis = Millis::from_secs(1);

/// From this loss on an administrator has to act.
pub(in crate::psa) const CONTESTED: u32 = 3;

/// Which controller serves the unit, as far as this host sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum Owner {
    /// No path said so since the agent started.
    #[default]
    Unknown,
    /// One that a path of ours leads to.
    Here,
    /// Ours does not any more, and the waiting paths are being asked once more.
    Doubtful,
    /// None that a path of ours leads to.
    Elsewhere,
    /// A move was ordered, and has not been seen.
    Ordered,
}

/// Whether waiting paths may be given to the kernel, which has the array move the unit to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Grant {
    /// They may.
    #[default]
    Now,
    /// Not before this time.
    NotBefore(Millis),
    /// It is not known yet whether the unit has moved.
    Asking,
    /// They were, and the move has not been seen yet.
    Ordered,
    /// Nobody has the map open, so nothing is moved.
    Unused,
}

/// What waiting paths are worth while none serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::psa) enum Standing {
    /// What the kernel may use of them.
    Free,
    /// They are given to the kernel as soon as somebody opens the map.
    WhenOpened,
    /// It is not known yet.
    Asking,
    /// The last order did not come about: nothing, until a path serves.
    Refused,
}

/// What is stored of a budget for an agent that starts later, until the host boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredTakeover {
    /// Moves of ours and losses.
    pub level: u32,
    /// Losses of them.
    pub losses: u32,
    /// A path of this host led to the controller that serves.
    pub here: bool,
    /// How long the next order has to wait, from the moment at which this was stored.
    pub wait: Millis,
}

/// What a look at a device shows of its controllers.
#[derive(Debug, Clone, Copy)]
pub(in crate::psa) struct Sight {
    pub(in crate::psa) now: Millis,
    /// A path serves.
    pub(in crate::psa) serves: bool,
    /// Paths wait that the host can have activated.
    pub(in crate::psa) waits: bool,
    /// A path that served at the last look waits now.
    pub(in crate::psa) turned: bool,
    /// A check of a waiting path is under way.
    pub(in crate::psa) checking: bool,
    /// A check is under way of a path of which nothing is known.
    pub(in crate::psa) undecided: bool,
    /// The kernel has a waiting path in use.
    pub(in crate::psa) in_kernel: bool,
    /// Somebody has the map open.
    pub(in crate::psa) open: bool,
    /// The longest hold, and the share of a hold that is added on this host, in parts of 1024.
    pub(in crate::psa) longest: Millis,
    pub(in crate::psa) phase: u64,
    /// When I/O that is queued already fails.
    pub(in crate::psa) deadline: Option<Millis>,
}

/// What a look found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::psa) enum Finding {
    Nothing,
    /// The waiting paths have to be asked before anything is concluded.
    Ask,
    /// Somebody else had the unit moved away.
    Lost,
    /// What was ordered did not come about.
    Refused,
}

/// The budget of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Takeover {
    begun: bool,
    owner: Owner,
    /// The agent before had the unit served by a path of ours, and no look of this one has shown that yet.
    had: bool,
    /// The paths that served at the last look at which one did.
    carriers: BTreeSet<Hctl>,
    /// Moves of ours and losses since the last calm: each doubles the hold.
    level: u32,
    /// Losses of them.
    losses: u32,
    /// Orders in a row that did not come about.
    refusals: u32,
    /// The last move or loss.
    last: Millis,
    not_before: Millis,
    grant: Grant,
    /// Since the agent started: moves that this host had made, and moves by others.
    ordered: u64,
    seen: u64,
}

impl Takeover {
    /// Moves that this host had the array make since the agent started.
    #[must_use]
    pub fn ordered(&self) -> u64 {
        self.ordered
    }

    /// Moves by other hosts or by the array that were seen since the agent started.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What the waiting paths are worth while none serves. Those that are held back are not given to the kernel, which
    /// says it all.
    pub(in crate::psa) fn standing(&self) -> Standing {
        match self.grant {
            Grant::Unused => Standing::WhenOpened,
            Grant::Asking => Standing::Asking,
            _ if self.refusals > 0 => Standing::Refused,
            _ => Standing::Free,
        }
    }

    /// Whether it was ever needed.
    pub(in crate::psa) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether a path served at the last look at which one did.
    pub(in crate::psa) fn was_served_by(&self, path: Hctl) -> bool {
        self.carriers.contains(&path)
    }

    /// Whether waiting paths may be given to the kernel.
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

    /// Takes in a look, with the paths that serve; what it found out, and whether something has to be stored.
    pub(in crate::psa) fn take_in(
        &mut self,
        sight: &Sight,
        carriers: BTreeSet<Hctl>,
        before: Option<(StoredTakeover, Millis)>,
    ) -> (Finding, bool) {
        self.begin(sight.now, before);
        // What was stored, or begun while I/O was queued for longer, must not outlast the queueing.
        let most = Millis(sight.longest.0.saturating_add(sight.longest.0 / 8));
        self.not_before = self.not_before.min(sight.now.after(most));
        let counted = (self.level, self.not_before, self.owner);
        // As long as one of them serves, the others were only asked sooner.
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

    /// Goes on with what an agent before had stored at `at`; without that, as if a move had been ordered just now.
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

    /// What is to be stored; nothing of a device that nobody contends for.
    pub(in crate::psa) fn to_store(&self, now: Millis) -> Option<StoredTakeover> {
        let calm = self.level == 0 || now.since(self.last) >= FORGET;
        (!calm).then(|| StoredTakeover {
            level: self.level,
            losses: self.losses,
            here: matches!(self.owner, Owner::Here | Owner::Doubtful),
            wait: self.not_before.since(now),
        })
    }

    /// Takes in a look.
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
        // The outage may have begun long before the hold. Where I/O is hardly queued at all the hold comes first, and an
        // order that did not come about is no better the second time.
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
                // The next one has its interval from here: a move may take seconds.
                self.hold(sight);
            }
            // Not by an order: our kernel had a path that it could activate, or the array or another host moved the unit
            // to where we are. It is taken for ours, which errs on the quiet side.
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
                // Where our own path is down nobody took anything from us.
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

    /// A move that this host had made.
    fn moved(&mut self, sight: &Sight) {
        self.ordered = self.ordered.saturating_add(1);
        self.count(sight);
    }

    /// The unit was taken away.
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

    /// Somebody moved the unit between two controllers that both are reached.
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

    /// The next order waits from now on.
    fn hold(&mut self, sight: &Sight) {
        let doubled = FIRST
            .0
            .saturating_mul(1 << self.level.saturating_sub(1).min(10));
        let hold = doubled.min(sight.longest.0);
        // Up to an eighth more, or two hosts that lost the unit at the same time would take it at the same time.
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

    /// The unit is lost at this time; when it may be taken back.
    fn loss(budget: &mut Takeover, at: u64) -> u64 {
        assert_eq!(look(budget, sight(at, false)), Finding::Ask);
        assert_eq!(budget.grant(), Grant::Asking);
        assert_eq!(look(budget, sight(at, false)), Finding::Lost);
        match budget.grant() {
            Grant::NotBefore(then) => then.0 / 1000,
            other => panic!("{other:?}"),
        }
    }

    /// The unit is taken at this time.
    fn take(budget: &mut Takeover, at: u64) {
        assert_eq!(look(budget, sight(at, false)), Finding::Nothing);
        assert_eq!(budget.grant(), Grant::Now);
        budget.order(Millis::from_secs(at), LONGEST, 0);
        assert_eq!(look(budget, sight(at, true)), Finding::Nothing);
    }

    /// A file of another version, or one from before the time to queue was made shorter.
    #[test]
    fn a_hold_that_was_stored_does_not_outlast_the_queueing() {
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

    /// All paths were down for a while when one came back that waits.
    #[test]
    fn a_hold_ends_before_the_io_that_is_queued_fails() {
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
    fn an_agent_that_starts_goes_on_with_the_hold_and_notices_a_loss() {
        let mut before = Takeover::default();
        look(&mut before, sight(0, true));
        let then = loss(&mut before, 100);
        take(&mut before, then);
        let stored = before.to_store(Millis::from_secs(then + 5)).unwrap();
        assert!(stored.here && stored.level == 2);
        // It starts when the unit has gone again.
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
    fn an_own_path_that_is_down_is_no_loss() {
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
    fn an_order_that_does_not_come_about_is_repeated_ever_more_slowly() {
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
