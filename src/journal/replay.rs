//! Replays a journal: the recorded world steps through the recorded events, and its actions are compared with the
//! recorded ones.

use super::{Damage, Finish, Header, Segment, Step, json};
use crate::psa::action::Action;
use crate::psa::report::snapshot::Pieces;
use crate::psa::units::Millis;
use crate::psa::world::World;

/// A replay of consecutive segments.
#[derive(Default)]
pub struct Replay {
    /// Events replayed.
    pub events: u64,
    /// Actions that were the same as the recorded ones.
    pub actions: u64,
    /// Header and final world of the last segment, if the next segment may continue from there.
    before: Option<(Header, World)>,
}

/// The first difference from the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The actions differ.
    Actions {
        /// The recorded event with its time and its actions.
        step: Box<Step>,
        /// The actions that the world returns now.
        now: Vec<Action>,
    },
    /// The initial world of a segment is not the final world of the segment before it.
    World {
        /// When the segment begins.
        at: Millis,
        /// Index of the piece that differs, from 0.
        piece: usize,
    },
}

/// Why a replay of a segment ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The replay differs from the recording.
    Differs(Difference),
    /// The rest of the segment cannot be read.
    Damaged(Damage),
}

impl From<Damage> for Stop {
    fn from(damage: Damage) -> Stop {
        Stop::Damaged(damage)
    }
}

/// Whether two lists of actions are the same, down to the bytes of their JSON. If the step was cut, only the actions
/// that were recorded are compared.
fn same(now: &[Action], step: &Step) -> bool {
    let now = if step.whole {
        now
    } else {
        now.get(..step.actions.len()).unwrap_or(now)
    };
    // Nearly all actions are examinations. Equal examinations have equal JSON, so comparing the values is enough.
    let plain = |action: &Action| matches!(action, Action::Examine(_));
    now == step.actions && (now.iter().all(plain) || json(&now) == json(&step.actions))
}

impl Replay {
    /// Replays a segment and calls `see` with the world after each step.
    ///
    /// # Errors
    /// The first difference, or the first part that cannot be read.
    pub fn segment(
        &mut self,
        segment: Segment,
        mut see: impl FnMut(&Header, &World, &Step),
    ) -> Result<Finish, Stop> {
        let Segment {
            header,
            mut world,
            mut steps,
        } = segment;
        self.joins(&header, &world)?;
        while let Some(step) = steps.read()? {
            let now = world.step(step.at, step.event.clone());
            see(&header, &world, &step);
            if !same(&now, &step) {
                let step = Box::new(step);
                return Err(Stop::Differs(Difference::Actions { step, now }));
            }
            self.events = self.events.saturating_add(1);
            let actions = u64::try_from(step.actions.len()).unwrap_or(u64::MAX);
            self.actions = self.actions.saturating_add(actions);
        }
        let finish = steps.finish().cloned().unwrap_or(Finish::Open);
        if matches!(finish, Finish::Closed(_)) {
            self.before = Some((header, world));
        }
        Ok(finish)
    }

    /// Checks that a segment that claims to continue the last one begins with the world with which that one ended.
    fn joins(&mut self, header: &Header, world: &World) -> Result<(), Stop> {
        let Some((before, last)) = self.before.take() else {
            return Ok(());
        };
        let follows = header.continues
            && header.number == before.number.saturating_add(1)
            && header.agent_started_ms == before.agent_started_ms;
        if !follows {
            return Ok(());
        }
        let pairs = Pieces::of(last).zip(Pieces::of(world.clone()));
        for (piece, (was, is)) in pairs.enumerate() {
            if json(&was) != json(&is) {
                let at = header.at;
                return Err(Stop::Differs(Difference::World { at, piece }));
            }
        }
        Ok(())
    }
}
