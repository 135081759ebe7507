//! Keeps recent events for `psactl events`.

use super::answers::{device_named, not_found};
use crate::api::error::ApiError;
use crate::api::requests::{Events, ListEvents};
use crate::api::types::{Detail, Event};
use crate::psa::action::{Notice, Severity};
use crate::psa::units::Millis;
use crate::psa::world::World;
use std::collections::{BTreeSet, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

/// Maximum number of events that are kept: they take locked memory, and the journal has more.
const KEPT: usize = 1024;
/// Events in one reply, unless fewer are requested.
const PAGE: usize = 512;
/// Characters of a detail that are kept. A table of a hundred paths is longer; the log has it in full.
const DETAIL: usize = 2048;

/// Returns the time of day, in ms since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| Millis::from(since).0)
}

/// Recent events, numbered from 1.
pub(super) struct RecentEvents {
    started_ms: u64,
    events: VecDeque<Kept>,
    last: u64,
}

/// An event as JSON: one allocation instead of about ten for its texts.
struct Kept {
    number: u64,
    severity: Severity,
    json: Box<[u8]>,
}

impl Kept {
    fn of(event: &Event, severity: Severity) -> Option<Kept> {
        Some(Kept {
            number: event.number,
            severity,
            json: serde_json::to_vec(event).ok()?.into_boxed_slice(),
        })
    }

    /// Decodes the event.
    fn event(&self) -> Option<Event> {
        serde_json::from_slice(&self.json).ok()
    }
}

impl RecentEvents {
    /// Creates an empty list for an agent that starts now.
    pub(super) fn new() -> RecentEvents {
        RecentEvents {
            started_ms: wall_ms(),
            events: VecDeque::new(),
            last: 0,
        }
    }

    /// Keeps a notice; drops the oldest event if there are too many.
    pub(super) fn keep(&mut self, notice: &Notice) {
        self.last = self.last.saturating_add(1);
        let cut = |text: &str| text.chars().take(DETAIL).collect();
        let details = notice.details.iter().map(|(name, value)| Detail {
            name: name.clone(),
            value: cut(value),
        });
        let event = Event {
            number: self.last,
            time_ms: wall_ms(),
            severity: notice.severity.as_str().to_owned(),
            code: notice.code.clone(),
            subject: cut(&notice.subject),
            details: details.collect(),
        };
        if self.events.len() >= KEPT {
            self.events.pop_front();
        }
        self.events.extend(Kept::of(&event, notice.severity));
    }

    /// Answers `ListEvents`.
    ///
    /// # Errors
    /// The severity is invalid, or the device is unknown and there are no events about it.
    pub(super) fn list(&self, world: &World, asked: &ListEvents) -> Result<Events, ApiError> {
        let least = match &asked.severity {
            None => Severity::Info,
            Some(name) => Severity::by_name(name).ok_or_else(|| ApiError::InvalidParameter {
                parameter: "severity".to_owned(),
                value: name.clone(),
                reason: "use error, warning or info".to_owned(),
            })?,
        };
        let names = match &asked.device {
            None => None,
            Some(name) => Some(self.names(world, name)?),
        };
        // `Severity` orders the most severe first.
        let wanted = |kept: &Kept| {
            let event = kept.event().filter(|_| kept.severity <= least)?;
            let about = names.as_ref().is_none_or(|names| is_about(&event, names));
            about.then_some(event)
        };
        let most = asked.limit.map_or(PAGE, |limit| {
            usize::try_from(limit).unwrap_or(PAGE).min(PAGE)
        });
        let events: Vec<Event> = match asked.after {
            Some(after) => {
                let later = self.events.iter().filter(|kept| kept.number > after);
                later.filter_map(wanted).take(most).collect()
            }
            None => {
                let last = self.events.iter().rev().filter_map(wanted).take(most);
                let mut events: Vec<Event> = last.collect();
                events.reverse();
                events
            }
        };
        // If the page is not full, all events up to the last one were examined.
        let last = match events.last() {
            Some(event) if events.len() == most => event.number,
            _ => self.last.max(asked.after.unwrap_or(0)),
        };
        Ok(Events {
            events,
            last,
            started_ms: self.started_ms,
        })
    }

    /// Returns all names under which a device and its paths have events.
    fn names(&self, world: &World, name: &str) -> Result<BTreeSet<String>, ApiError> {
        let mut names = BTreeSet::from([name.to_owned()]);
        match device_named(world, name) {
            Ok(device) => {
                names.extend(world.names_of(device));
            }
            Err(_) if self.subjects(&names).next().is_none() => return Err(not_found(name)),
            Err(_) => {}
        }
        // A path that is gone is found by an event that names its device.
        let of_it: Vec<String> = self.subjects(&names).collect();
        names.extend(of_it);
        Ok(names)
    }

    /// Returns the subjects of the events that are about one of these names.
    fn subjects<'a>(&'a self, names: &'a BTreeSet<String>) -> impl Iterator<Item = String> + 'a {
        let events = self.events.iter().filter_map(Kept::event);
        let about = events.filter(|event| is_about(event, names));
        about.map(|event| event.subject)
    }
}

fn is_about(event: &Event, names: &BTreeSet<String>) -> bool {
    let recent_events = |detail: &Detail| {
        matches!(detail.name.as_str(), "device" | "map") && names.contains(&detail.value)
    };
    names.contains(&event.subject) || event.details.iter().any(recent_events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::codes;
    use crate::psa::memory::Memory;
    use crate::psa::settings::Settings;

    fn recent_events(count: usize) -> RecentEvents {
        let mut recent_events = RecentEvents::new();
        for n in 0..count {
            let path = format!("vmhba{}:C0:T0:L1", n % 2);
            let details = [("device", if n % 2 == 0 { "naa.6a" } else { "naa.6b" })];
            recent_events.keep(&Notice::new(
                if n % 3 == 0 {
                    codes::PATH_CLAIMED
                } else {
                    codes::PATH_REMOVED
                },
                path,
                &details,
            ));
        }
        recent_events
    }

    fn list(recent_events: &RecentEvents, asked: &ListEvents) -> Result<Vec<u64>, ApiError> {
        let world = World::new(Settings::default(), Memory::default());
        let events = recent_events.list(&world, asked)?.events;
        Ok(events.iter().map(|event| event.number).collect())
    }

    #[test]
    fn kept_events_and_pages_are_bounded() {
        let recent_events = recent_events(KEPT + 10);
        let asked = ListEvents {
            after: Some(0),
            ..ListEvents::default()
        };
        let page = list(&recent_events, &asked).unwrap();
        assert_eq!((page[0], page.len()), (11, PAGE));
        let last = list(
            &recent_events,
            &ListEvents {
                limit: Some(2),
                ..ListEvents::default()
            },
        )
        .unwrap();
        assert_eq!(last, [KEPT as u64 + 9, KEPT as u64 + 10]);
    }

    #[test]
    fn events_are_filtered() {
        let recent_events = recent_events(6);
        let of = |device: &str| ListEvents {
            device: Some(device.to_owned()),
            ..ListEvents::default()
        };
        assert_eq!(list(&recent_events, &of("naa.6a")), Ok(vec![1, 3, 5]));
        assert_eq!(
            list(&recent_events, &of("vmhba1:C0:T0:L1")),
            Ok(vec![2, 4, 6])
        );
        assert!(matches!(
            list(&recent_events, &of("sdx")),
            Err(ApiError::NotFound { .. })
        ));
        let severity = |name: &str| ListEvents {
            severity: Some(name.to_owned()),
            ..ListEvents::default()
        };
        assert_eq!(
            list(&recent_events, &severity("warning")),
            Ok(vec![2, 3, 5, 6])
        );
        assert!(list(&recent_events, &severity("bad")).is_err());
    }

    #[test]
    fn a_follower_misses_nothing_and_sees_nothing_twice() {
        let mut recent_events = recent_events(5);
        let world = World::new(Settings::default(), Memory::default());
        let mut after = 0;
        let mut seen = Vec::new();
        for _ in 0..4 {
            let asked = ListEvents {
                after: Some(after),
                limit: Some(2),
                severity: Some("warning".to_owned()),
                device: None,
            };
            let reply = recent_events.list(&world, &asked).unwrap();
            after = reply.last;
            seen.extend(reply.events.iter().map(|event| event.number));
            recent_events.keep(&Notice::new(codes::PATH_CLAIMED, "p", &[]));
        }
        assert_eq!(seen, [2, 3, 5]);
        assert_eq!(after, 8);
    }
}
