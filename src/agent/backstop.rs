//! What is left for the time after the agent: the list of its maps, for the commands that end their queueing then
//! ([`crate::kernel::dm::queueing`]), and the kernel's own limit ([`crate::kernel::backstop`]).
//!
//! On a thread of its own, because device-mapper is asked whether there are other multipath maps. The owner hands over
//! what it knows; only the latest counts.

use super::latest::Latest;
use crate::config::store;
use crate::kernel::NoticeSink;
use crate::kernel::backstop::{Backstop, Outcome};
use crate::kernel::dm::client::Client;
use crate::kernel::dm::queueing::{LIST, has_others};
use crate::psa::action::Notice;
use crate::psa::report::queueing::KeptMaps;
use crate::psa::units::Millis;
use std::collections::BTreeSet;
use std::path::Path;

/// The owner's side of the thread.
pub struct Keeping(Latest<Option<KeptMaps>>);

impl Keeping {
    /// Starts the thread, for the host below `root`.
    ///
    /// # Errors
    /// The kernel has no more threads, or device-mapper cannot be opened.
    pub fn start(root: &Path, notice_sink: NoticeSink) -> std::io::Result<Keeping> {
        let latest = Latest::<Option<KeptMaps>>::new();
        let (theirs, client) = (latest.clone(), Client::open()?);
        let mut keeper = Keeper {
            list: root.join(LIST),
            backstop: Backstop::below(root),
            listed: None,
            told: String::new(),
            notice_sink,
        };
        crate::kernel::thread("backstop").spawn(move || {
            while let Some(kept) = theirs.next(Option::take) {
                // First: the question may take its time.
                keeper.list(&kept.ours);
                let others = kept.others || has_others(&client);
                keeper.limit((!others).then_some(kept.longest));
            }
        })?;
        Ok(Keeping(latest))
    }

    /// Keeps this from now on. Never waits.
    pub fn keep(&self, kept: KeptMaps) {
        self.0.change(|latest| *latest = Some(kept));
    }
}

impl Drop for Keeping {
    /// Waits for no thread.
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Keeper {
    list: std::path::PathBuf,
    backstop: Backstop,
    /// What the list says.
    listed: Option<BTreeSet<String>>,
    /// What was reported last: the same again is not.
    told: String,
    notice_sink: NoticeSink,
}

impl Keeper {
    /// Writes the list of the agent's maps.
    fn list(&mut self, ours: &BTreeSet<String>) {
        if self.listed.as_ref() != Some(ours) {
            let text: String = ours.iter().map(|uuid| format!("{uuid}\n")).collect();
            match store::replace(&self.list, text.as_bytes()) {
                Ok(()) => self.listed = Some(ours.clone()),
                Err(error) => {
                    let file = self.list.display().to_string();
                    let effect = "at shutdown queueing of these maps may not be ended";
                    let details = [
                        ("file", &*file),
                        ("reason", &error.to_string()),
                        ("effect", effect),
                    ];
                    self.tell_once(Notice::new("MAPS_NOT_LISTED", "agent", &details));
                }
            }
        }
    }

    /// Has the kernel end queueing some time after the agent would; not at all if there are maps of others.
    fn limit(&mut self, longest: Option<Millis>) {
        let undercuts = |seconds: u64| {
            let limit = Millis::from_secs(seconds);
            seconds > 0 && longest.is_some_and(|longest| limit < longest)
        };
        match self.backstop.want(longest) {
            Ok(Outcome::Foreign(seconds)) if undercuts(seconds) => {
                let seconds = format!("{seconds} s");
                let effect = "the kernel ends queueing before the APD timeout";
                let details = [
                    ("queue_if_no_path_timeout_secs", &*seconds),
                    ("effect", effect),
                ];
                self.tell_once(Notice::new("QUEUEING_LIMITED", "agent", &details));
            }
            Ok(_) => {}
            Err(error) => {
                let effect = "without the agent a map without paths queues for ever";
                let details = [("reason", &*error.to_string()), ("effect", effect)];
                self.tell_once(Notice::new("NO_BACKSTOP", "agent", &details));
            }
        }
    }

    fn tell_once(&mut self, notice: Notice) {
        let text = format!("{notice:?}");
        if self.told != text {
            self.told = text;
            self.notice_sink.notify(notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_maps_are_listed_and_the_limit_is_set() {
        let root = tempfile::tempdir().unwrap();
        let parameter = root
            .path()
            .join("sys/module/dm_multipath/parameters/queue_if_no_path_timeout_secs");
        fs::create_dir_all(parameter.parent().unwrap()).unwrap();
        fs::create_dir_all(root.path().join("run/dm-psa")).unwrap();
        fs::write(&parameter, "0\n").unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&told);
        let mut keeper = Keeper {
            list: root.path().join(LIST),
            backstop: Backstop::below(root.path()),
            listed: None,
            told: String::new(),
            notice_sink: NoticeSink::new(move |notice| theirs.lock().unwrap().push(notice.code)),
        };
        let ours = BTreeSet::from(["mpath-36".to_owned()]);
        keeper.list(&ours);
        keeper.limit(Some(Millis(140_000)));
        assert_eq!(
            crate::kernel::dm::queueing::ours(root.path()).unwrap(),
            ours
        );
        assert_eq!(fs::read_to_string(&parameter).unwrap(), "200");
        // A map of somebody else.
        keeper.limit(None);
        assert_eq!(fs::read_to_string(&parameter).unwrap(), "0");
        assert!(told.lock().unwrap().is_empty());
        // The admin's own limit is below the APD timeout: that is reported, and once.
        fs::write(&parameter, "30\n").unwrap();
        for _ in 0..2 {
            keeper.list(&BTreeSet::new());
            keeper.limit(Some(Millis(140_000)));
        }
        assert_eq!(*told.lock().unwrap(), ["QUEUEING_LIMITED"]);
        let list = fs::read_to_string(root.path().join(LIST)).unwrap();
        assert_eq!(list, "");
    }
}
