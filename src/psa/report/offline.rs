//! Runs a world on a clock of its own, for what it would decide: without the threads of an agent.

use crate::psa::action::Action;
use crate::psa::event::Event;
use crate::psa::state::World;
use crate::psa::units::Millis;
use std::collections::VecDeque;

/// Feeds a world these events, and what `answer` makes of its actions, until nothing is due before `end`. Time passes only
/// while there is nothing else to do.
pub(crate) fn run(
    world: &mut World,
    mut events: VecDeque<Event>,
    end: Millis,
    mut answer: impl FnMut(Action) -> Option<Event>,
) {
    let mut now = Millis(0);
    loop {
        while let Some(event) = events.pop_front() {
            let actions = world.step(now, event);
            events.extend(actions.into_iter().filter_map(&mut answer));
        }
        match world.next_deadline() {
            Some(at) if at <= end => now = at.max(now.after(Millis(1))),
            _ => return,
        }
        events.push_back(Event::Timer);
    }
}
