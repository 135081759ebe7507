//! Takeover budgets that outlive the agent, so that one that restarts again and again has no more of them.
//!
//! They are in a file of the run time, `takeovers.json`, with the time of writing by the clock that counts from the boot of
//! the host.

use super::persist::Writer;
use crate::config::{Places, store};
use crate::kernel::{NoticeSink, process};
use crate::psa::action::Notice;
use crate::psa::takeover::StoredTakeover;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// A file with more devices than any host has is not ours.
const MOST: usize = 65_536;

/// The file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Stored {
    /// Time since the boot of the host.
    at: Millis,
    budgets: BTreeMap<String, StoredTakeover>,
}

impl Stored {
    /// Budgets as they are now.
    pub fn now(budgets: BTreeMap<String, StoredTakeover>) -> Stored {
        Stored {
            at: process::since_boot(),
            budgets,
        }
    }
}

/// Starts the thread that stores them.
///
/// # Errors
/// The kernel has no more threads.
pub fn writer(places: Places, notice_sink: NoticeSink) -> io::Result<Writer<Stored>> {
    Writer::start("takeovers", move |stored: &Stored| {
        let written = serde_json::to_vec_pretty(stored)
            .map_err(io::Error::other)
            .and_then(|text| store::replace(&places.takeovers(), &text));
        if let Err(error) = written {
            let file = places.takeovers().display().to_string();
            let reason = error.to_string();
            let effect = "an agent that is restarted may have the array move units sooner";
            let details = [("file", &*file), ("reason", &reason), ("effect", effect)];
            notice_sink.notify(Notice::new("TAKEOVERS_NOT_STORED", "agent", &details));
        }
    })
}

/// The budgets of the agent before, with the waits that are left. What cannot be read, or is of another boot, is left out:
/// then each device waits for the first interval.
pub fn load(places: &Places) -> BTreeMap<String, StoredTakeover> {
    let text = std::fs::read(places.takeovers()).unwrap_or_default();
    let Stored { at, mut budgets } = serde_json::from_slice(&text).unwrap_or_default();
    let now = process::since_boot();
    if at > now || budgets.len() > MOST {
        return BTreeMap::new();
    }
    for budget in budgets.values_mut() {
        budget.wait = budget.wait.since(now.since(at));
    }
    budgets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_and_damage_is_no_budget() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        assert_eq!(load(&places), BTreeMap::new());
        let budget = StoredTakeover {
            level: 3,
            wait: Millis(3_600_000),
            ..StoredTakeover::default()
        };
        let notice_sink = NoticeSink::new(|notice| panic!("{notice:?}"));
        let writer = writer(places.clone(), notice_sink).unwrap();
        writer.store(Stored::now(BTreeMap::from([("3600".to_owned(), budget)])));
        drop(writer);
        let found = load(&places);
        assert_eq!(found["3600"].level, 3);
        assert!(found["3600"].wait <= Millis(3_600_000) && found["3600"].wait > Millis(3_500_000));
        for damaged in ["{", r#"{"at": 99999999999999, "budgets": {"a": {}}}"#, "7"] {
            std::fs::write(places.takeovers(), damaged).unwrap();
            assert_eq!(load(&places), BTreeMap::new(), "{damaged}");
        }
    }
}
