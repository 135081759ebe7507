//! Stores outages, so that they outlive the agent: which devices have no usable path, and since when.
//!
//! They are kept in the runtime file `outages.json`, with times that count from the boot of the host. A separate thread
//! writes the file, because memory may be short until a path is back.

use super::persist::Writer;
use crate::config::{Places, store};
use crate::kernel::{NoticeSink, process};
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::names::Wwid;
use crate::psa::units::Millis;
use std::collections::BTreeMap;
use std::io;

/// Maximum number of entries that are loaded: no host has this many devices.
const MOST: usize = 65_536;

/// Starts the thread that stores them.
///
/// # Errors
/// The kernel has no more threads.
pub(super) fn writer(
    places: Places,
    notice_sink: NoticeSink,
) -> io::Result<Writer<BTreeMap<Wwid, Millis>>> {
    Writer::start("outages", move |outages: &BTreeMap<Wwid, Millis>| {
        let written = serde_json::to_vec_pretty(outages)
            .map_err(io::Error::other)
            .and_then(|text| store::replace(&places.outages(), &text));
        if let Err(error) = written {
            let (file, reason) = (places.outages().display().to_string(), error.to_string());
            let effect = "if the agent is restarted while all paths are down, I/O is queued for longer than the APD timeout";
            let details = [("file", &*file), ("reason", &reason), ("effect", effect)];
            notice_sink.notify(Notice::new(codes::OUTAGES_NOT_STORED, "agent", &details));
        }
    })
}

/// Converts durations of outages to their start times since the boot of the host.
pub(super) fn began(lasted: BTreeMap<Wwid, Millis>) -> BTreeMap<Wwid, Millis> {
    let now = process::since_boot();
    lasted.into_iter().map(|(w, t)| (w, now.since(t))).collect()
}

/// Returns how long the outages that a previous agent stored have lasted. Unreadable entries are left out; their wait
/// starts again.
pub(super) fn load(places: &Places) -> (BTreeMap<Wwid, Millis>, Option<Notice>) {
    let file = places.outages();
    let read = match std::fs::read(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
        read => read.map_err(|error| error.to_string()),
    };
    let parsed = read.and_then(|text| {
        let found: Result<BTreeMap<String, serde_json::Value>, _> = serde_json::from_slice(&text);
        found.map_err(|error| error.to_string())
    });
    let now = process::since_boot();
    match parsed {
        Ok(found) => {
            let lasted = found.into_iter().filter_map(|(wwid, since)| {
                // A start time in the future is from another boot.
                let since = Millis(since.as_u64()?);
                (since <= now).then(|| (Wwid::from(wwid), now.since(since)))
            });
            (lasted.take(MOST).collect(), None)
        }
        Err(reason) => {
            let file = file.display().to_string();
            let effect = "the APD timeout begins again for devices without a usable path";
            let details = [("file", &*file), ("reason", &reason), ("effect", effect)];
            let notice = Notice::new(codes::OUTAGES_REFUSED, "agent", &details);
            (BTreeMap::new(), Some(notice))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn stored_entries_are_read_and_damage_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        assert_eq!(load(&places), (BTreeMap::new(), None));
        let lasted = BTreeMap::from([("3600".into(), Millis(5))]);
        let notice_sink = NoticeSink::new(|notice| panic!("{notice:?}"));
        let writer = writer(places.clone(), notice_sink).unwrap();
        writer.store(began(lasted));
        drop(writer);
        let (found, notice) = load(&places);
        assert!(found["3600"] >= Millis(5) && found["3600"] < Millis(60_000));
        assert_eq!(notice, None);
        fs::write(
            places.outages(),
            r#"{"a": 1, "b": "x", "c": 99999999999999}"#,
        )
        .unwrap();
        assert_eq!(
            load(&places).0.into_keys().collect::<Vec<_>>(),
            ["a".into()]
        );
        fs::write(places.outages(), "{").unwrap();
        let (found, notice) = load(&places);
        assert_eq!(
            (found.len(), notice.unwrap().code.as_str()),
            (0, "OUTAGES_REFUSED")
        );
    }
}
