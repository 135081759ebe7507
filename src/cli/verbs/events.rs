//! `events`: lists events or follows them, and explains their codes.

use super::arguments::{flag, option, text};
use super::host;
use super::verb::Verb;
use crate::api::client::ClientError;
use crate::api::requests::{Events, ListEvents};
use crate::api::types::Event;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::record::Listing;
use crate::cli::when;
use crate::kernel::wait::Patience;
use crate::psa::codes::CODES;
use crate::psa::units::Millis;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, value_parser};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The pause between two requests of `--follow`.
const PAUSE: Duration = Duration::from_millis(500);

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["events"],
        about: "List the events since the agent started",
        arguments: &[follow, host::device, since, severity, limit],
        run: list,
        legacy: false,
    },
    Verb {
        words: &["events", "codes"],
        about: "List the codes of events: what they mean, and what to do",
        arguments: &[],
        run: |_, _| Ok(listing(CODES)),
        legacy: false,
    },
];

fn follow() -> Arg {
    flag(
        "follow",
        Some('f'),
        "Continue and print new events as they arrive, also after a restart of the agent. With --formatter=json, one object per line",
    )
}

fn since() -> Arg {
    option(
        "since",
        None,
        "NUMBER|TIME",
        "Events after this number, or since a time: 2026-03-01T12:00:00 (UTC), or an age: 90s, 10m, 2h, 1d",
    )
}

fn severity() -> Arg {
    option(
        "severity",
        None,
        "SEVERITY",
        "Events of this severity or higher",
    )
    .value_parser(PossibleValuesParser::new(["error", "warning", "info"]))
}

fn limit() -> Arg {
    option("limit", Some('n'), "N", "Only the last N events").value_parser(value_parser!(usize))
}

/// The request, and how far it was answered.
struct Reader {
    asked: ListEvents,
    from_ms: u64,
    started_ms: Option<u64>,
}

impl Reader {
    /// All events since the last request.
    fn read(&mut self, context: &mut Context) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        loop {
            let Events {
                events: page,
                last,
                started_ms,
            } = context.ask(&self.asked)?;
            if self
                .started_ms
                .replace(started_ms)
                .is_some_and(|before| before != started_ms)
            {
                // The agent was restarted. The answer begins after an event number of the previous agent, so it is
                // requested again from the first event.
                self.asked.after = Some(0);
                continue;
            }
            let more = !page.is_empty();
            events.extend(
                page.into_iter()
                    .filter(|event| event.time_ms >= self.from_ms),
            );
            self.asked.after = Some(last);
            if !more {
                return Ok(events);
            }
        }
    }
}

fn list(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let (mut after, mut from_ms) = (0, 0);
    if let Some(since) = text(given, "since") {
        match since.parse() {
            Ok(number) => after = number,
            Err(_) => from_ms = time(&since)?,
        }
    }
    let mut reader = Reader {
        asked: ListEvents {
            after: Some(after),
            limit: None,
            device: text(given, "device"),
            severity: text(given, "severity"),
        },
        from_ms,
        started_ms: None,
    };
    let mut events = reader.read(context)?;
    if let Some(limit) = given.get_one::<usize>("limit") {
        events.drain(..events.len().saturating_sub(*limit));
    }
    if given.get_flag("follow") {
        let patience = Patience::new()
            .map_err(|why| Failure::Refused(format!("signals cannot be handled: {why}")))?;
        context.go_on(Box::new(move |context| {
            let waited = patience.wait(PAUSE).map_err(Failure::Write)?;
            if !waited {
                return Ok(None);
            }
            match reader.read(context) {
                Ok(events) => Ok(Some(listing(&events))),
                Err(Failure::Agent(ClientError::Refused(why))) => {
                    Err(Failure::Agent(ClientError::Refused(why)))
                }
                // The agent is stopping or restarting, so following continues.
                Err(Failure::Agent(_)) => {
                    context.hang_up();
                    Ok(Some(listing::<Event>(&[])))
                }
                Err(other) => Err(other),
            }
        }));
    }
    Ok(listing(&events))
}

/// Parses the value of an option into ms since 1970.
pub(super) fn time(text: &str) -> Result<u64, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| Millis::from(now).0);
    when::parse(text, now).map_err(Failure::Usage)
}
