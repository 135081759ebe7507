//! Stores takeover budgets, so that they outlive the agent: an agent that restarts repeatedly does not get new ones.
//!
//! They are kept in the runtime file `takeovers.json`, with the time of writing since the boot of the host.

use super::persist::Writer;
use crate::config::{Places, store};
use crate::kernel::{NoticeSink, process};
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::names::Wwid;
use crate::psa::takeover::StoredTakeover;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// Maximum number of entries that are loaded: no host has this many devices.
const MOST: usize = 65_536;

/// Content of the file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Stored {
    /// When it was written: time since the boot of the host.
    at: Millis,
    budgets: BTreeMap<Wwid, StoredTakeover>,
}

impl Stored {
    /// Stamps budgets with the current time.
    pub(super) fn now(budgets: BTreeMap<Wwid, StoredTakeover>) -> Stored {
        Stored {
            at: process::since_boot(),
            budgets,
        }
    }
}

/// Starts the thread that stores budgets.
///
/// # Errors
/// The kernel has no more threads.
pub(super) fn writer(places: Places, notice_sink: NoticeSink) -> io::Result<Writer<Stored>> {
    Writer::start("takeovers", move |stored: &Stored| {
        let written = serde_json::to_vec_pretty(stored)
            .map_err(io::Error::other)
            .and_then(|text| store::replace(&places.takeovers(), &text));
        if let Err(error) = written {
            let file = places.takeovers().display().to_string();
            let reason = error.to_string();
            let effect = "after a restart the agent may have the array move units sooner";
            let details = [("file", &*file), ("reason", &reason), ("effect", effect)];
            notice_sink.notify(Notice::new(codes::TAKEOVERS_NOT_STORED, "agent", &details));
        }
    })
}

/// Returns the budgets that a previous agent stored, with the remaining waits. Unreadable entries are left out, and so
/// is a file from another boot; a device without an entry waits for the first hold. A file that cannot be read at all
/// is reported.
pub(super) fn load(places: &Places) -> (BTreeMap<Wwid, StoredTakeover>, Option<Notice>) {
    #[derive(Deserialize)]
    struct Entries {
        at: Millis,
        budgets: BTreeMap<String, serde_json::Value>,
    }
    let file = places.takeovers();
    let read = match std::fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
        read => read.map_err(|error| error.to_string()),
    };
    let parsed =
        read.and_then(|text| serde_json::from_slice::<Entries>(&text).map_err(|e| e.to_string()));
    let now = process::since_boot();
    match parsed {
        Ok(Entries { at, .. }) if at > now => Default::default(),
        Ok(Entries { at, budgets }) => {
            let whole = budgets.into_iter().filter_map(|(wwid, budget)| {
                let mut budget: StoredTakeover = serde_json::from_value(budget).ok()?;
                budget.wait = budget.wait.since(now.since(at));
                Some((Wwid::from(wwid), budget))
            });
            (whole.take(MOST).collect(), None)
        }
        Err(reason) => {
            let file = file.display().to_string();
            let effect = "for each unit the wait before a takeover starts again from the shortest";
            let details = [("file", &*file), ("reason", &reason), ("effect", effect)];
            let notice = Notice::new(codes::TAKEOVERS_REFUSED, "agent", &details);
            (BTreeMap::new(), Some(notice))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_entries_are_read_and_damage_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        assert_eq!(load(&places), (BTreeMap::new(), None));
        let budget = StoredTakeover {
            level: 3,
            wait: Millis(3_600_000),
            ..StoredTakeover::default()
        };
        let notice_sink = NoticeSink::new(|notice| panic!("{notice:?}"));
        let writer = writer(places.clone(), notice_sink).unwrap();
        writer.store(Stored::now(BTreeMap::from([("3600".into(), budget)])));
        drop(writer);
        let (found, _) = load(&places);
        assert_eq!(found["3600"].level, 3);
        assert!(found["3600"].wait <= Millis(3_600_000) && found["3600"].wait > Millis(3_500_000));
        // One entry of another version does not affect the others.
        let mixed = r#"{"at": 1, "new": 1, "budgets": {"a": {"level": 2, "new": 1}, "b": "x", "c": {"level": "x"}}}"#;
        std::fs::write(places.takeovers(), mixed).unwrap();
        let (found, notice) = load(&places);
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["a".into()]);
        assert_eq!(notice, None);
        let other_boot = r#"{"at": 99999999999999, "budgets": {"a": {}}}"#;
        std::fs::write(places.takeovers(), other_boot).unwrap();
        assert_eq!(load(&places), (BTreeMap::new(), None));
        for damaged in ["{", "7"] {
            std::fs::write(places.takeovers(), damaged).unwrap();
            let (found, notice) = load(&places);
            assert_eq!(found, BTreeMap::new(), "{damaged}");
            assert_eq!(notice.unwrap().code, "TAKEOVERS_REFUSED");
        }
    }
}
