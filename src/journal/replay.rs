//! Doing it again: the recorded world steps through the recorded events, and what it wants is held against what was
//! recorded.

use super::{Damage, Finish, Header, Segment, Step, json};
use crate::psa::action::Action;
use crate::psa::report::snapshot::Pieces;
use crate::psa::units::Millis;
use crate::psa::world::World;

/// A replay of segments, one after the other.
#[derive(Default)]
pub struct Replay {
    /// Events replayed.
    pub events: u64,
    /// Actions held against the recorded ones, all alike.
    pub actions: u64,
    /// The world where the last segment ended, with its header, if the next may go on from there.
    before: Option<(Header, World)>,
}

/// The first thing that is not as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Other actions.
    Actions {
        /// What the world was told, when, and what it wanted then.
        step: Box<Step>,
        /// What it wants now.
        now: Vec<Action>,
    },
    /// The world that a segment begins with is not the one with which the segment before it ended.
    World {
        /// When the segment begins.
        at: Millis,
        /// Which piece of it, from 0.
        piece: usize,
    },
}

/// Why a replay of a segment ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// It is not as recorded.
    Differs(Difference),
    /// It cannot be read further.
    Damaged(Damage),
}

impl From<Damage> for Stop {
    fn from(damage: Damage) -> Stop {
        Stop::Damaged(damage)
    }
}

/// Whether two lists of actions are the same, to the last byte of their text.
fn same(now: &[Action], step: &Step) -> bool {
    let now = if step.whole {
        now
    } else {
        now.get(..step.actions.len()).unwrap_or(now)
    };
    // Nearly all are examinations, and these have no two texts for one value.
    let plain = |action: &Action| matches!(action, Action::Examine { .. });
    now == step.actions && (now.iter().all(plain) || json(&now) == json(&step.actions))
}

impl Replay {
    /// Replays a segment; `see` is shown the world after each step.
    ///
    /// # Errors
    /// The first difference, or the first thing that cannot be read.
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

    /// Whether a segment goes on where the last one ended, if it says so.
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
