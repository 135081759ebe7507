//! Ends queueing when the host shuts down.
//!
//! systemd stops the agent last, after all other units. So every unmount had its chance while paths could still return.
//! After the agent stops, no path is reinstated: a map that still queued would hang the last unmounts and the last sync
//! forever. So queueing ends for all maps of the agent, including those that have a usable path now.

use super::inbox::Input;
use super::logging::write_now;
use crate::psa::action::MapStep;
use crate::psa::event::Event;
use crate::psa::report::queueing::QueueingMap;
use crate::psa::table::model::{MapId, Message};
use std::collections::BTreeSet;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// The ticket of these steps. The world's own tickets start at 1.
const TICKET: u64 = u64::MAX;

/// How long the kernel may take for all maps. systemd kills what is left after 90 s. Waiting longer does not help a map
/// that hangs in an earlier step.
pub(super) const WITHIN: Duration = Duration::from_secs(5);

/// Ends the queueing of these maps with `submit`, and waits up to `within` for the answers that `next` returns. Returns
/// the names of the maps that were not confirmed.
pub(super) fn end_queueing(
    maps: Vec<QueueingMap>,
    submit: impl Fn(MapId, u64, Vec<MapStep>),
    next: impl Fn(Duration) -> Result<Input, RecvTimeoutError>,
    within: Duration,
) -> BTreeSet<String> {
    let mut waiting = BTreeSet::new();
    for QueueingMap { id, suspended } in maps {
        waiting.insert(id.name.clone());
        let mut steps = vec![MapStep::Message(Message::FailIfNoPath)];
        if suspended {
            // A suspended map accepts no messages, and also holds I/O back.
            steps.insert(0, MapStep::Resume);
        }
        submit(id, TICKET, steps);
    }
    let deadline = Instant::now() + within;
    while !waiting.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match next(left) {
            Ok(Input::Events(events)) => {
                for event in events {
                    if let Event::MapDone {
                        map,
                        ticket: TICKET,
                        result: Ok(()),
                        ..
                    } = event
                    {
                        waiting.remove(&map);
                    }
                }
            }
            Ok(Input::Notice(notice)) => write_now(&notice),
            Ok(Input::Asked | Input::Stop) => {}
            Err(_) => break,
        }
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::event::{DmStep, MapError};
    use std::cell::RefCell;
    use std::sync::mpsc::channel;

    fn map(name: &str, suspended: bool) -> QueueingMap {
        QueueingMap {
            id: MapId {
                name: name.to_owned(),
                uuid: format!("mpath-{name}"),
            },
            suspended,
        }
    }

    fn done(name: &str, ticket: u64, result: Result<(), MapError>) -> Event {
        Event::MapDone {
            map: name.to_owned(),
            ticket,
            result,
            observed: None,
        }
    }

    #[test]
    fn all_maps_get_the_message_and_are_waited_for() {
        let (sender, receiver) = channel();
        let submitted = RefCell::new(Vec::new());
        let left = end_queueing(
            vec![map("a", false), map("b", true)],
            |map, ticket, steps| {
                submitted.borrow_mut().push((map.uuid, steps));
                // An older step of the map ends first; this is not the answer.
                let events = vec![done(&map.name, 7, Ok(())), done(&map.name, ticket, Ok(()))];
                sender.send(Input::Events(events)).unwrap();
            },
            |wait| receiver.recv_timeout(wait),
            Duration::from_secs(60),
        );
        assert!(left.is_empty(), "{left:?}");
        let fail = MapStep::Message(Message::FailIfNoPath);
        assert_eq!(
            submitted.into_inner(),
            [
                ("mpath-a".to_owned(), vec![fail.clone()]),
                ("mpath-b".to_owned(), vec![MapStep::Resume, fail]),
            ]
        );
    }

    #[test]
    fn a_map_that_hangs_or_refuses_is_named_in_time() {
        let (sender, receiver) = channel();
        let refused = MapError {
            step: DmStep::Message("fail_if_no_path".to_owned()),
            errno: None,
            reason: "suspended".to_owned(),
        };
        let began = Instant::now();
        let left = end_queueing(
            vec![map("hung", false), map("no", false), map("yes", false)],
            |map, ticket, _| {
                let result = match map.name.as_str() {
                    "hung" => return,
                    "no" => Err(refused.clone()),
                    _ => Ok(()),
                };
                let events = vec![done(&map.name, ticket, result)];
                sender.send(Input::Events(events)).unwrap();
            },
            |wait| receiver.recv_timeout(wait),
            Duration::from_millis(100),
        );
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(left, BTreeSet::from(["hung".to_owned(), "no".to_owned()]));
    }
}
