//! Prepares for the time when the agent is not running: keeps a list of its maps, for the commands that end their
//! queueing then ([`crate::kernel::dm::queueing`]), and sets the kernel's own limit ([`crate::kernel::backstop`]).
//!
//! It has its own thread, because it asks device-mapper whether there are other multipath maps. The owner hands over
//! what it knows; only the latest state counts.

use super::latest::{Latest, Worker};
use crate::config::store;
use crate::kernel::NoticeSink;
use crate::kernel::backstop::{Backstop, Outcome};
use crate::kernel::dm::client::Client;
use crate::kernel::dm::queueing::{LIST, has_others};
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::report::queueing::KeptMaps;
use crate::psa::units::Millis;
use std::collections::BTreeSet;
use std::path::Path;

/// The owner's side of the thread.
pub(super) struct Keeping(Worker<Option<KeptMaps>>);

impl Keeping {
    /// Starts the thread, for the host below `root`.
    ///
    /// # Errors
    /// The kernel has no more threads, or device-mapper cannot be opened.
    pub(super) fn start(root: &Path, notice_sink: NoticeSink) -> std::io::Result<Keeping> {
        let client = Client::open(notice_sink.clone())?;
        let mut keeper = Keeper {
            list: root.join(LIST),
            backstop: Backstop::below(root),
            listed: None,
            last_notice: String::new(),
            notice_sink,
        };
        Worker::start("backstop", move |latest: &Latest<Option<KeptMaps>>| {
            while let Some(kept) = latest.next(Option::take) {
                // First, because the query of device-mapper may take long.
                keeper.list(&kept.ours);
                let others = kept.others || has_others(&client);
                keeper.limit((!others).then_some(kept.longest));
            }
        })
        .map(Keeping)
    }

    /// Replaces what is kept. Never waits.
    pub(super) fn keep(&self, kept: KeptMaps) {
        self.0.change(|latest| *latest = Some(kept));
    }

    /// Waits until what was handed over last is kept.
    pub(super) fn finish(mut self) {
        self.0.finish();
    }
}

struct Keeper {
    list: std::path::PathBuf,
    backstop: Backstop,
    /// The current content of the list file, if known.
    listed: Option<BTreeSet<String>>,
    /// The last notice; a repetition of it is not reported.
    last_notice: String,
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
                    let effect = "queueing of these maps may not be ended at shutdown";
                    let details = [
                        ("file", &*file),
                        ("reason", &error.to_string()),
                        ("effect", effect),
                    ];
                    self.notify_once(Notice::new(codes::MAPS_NOT_LISTED, "agent", &details));
                }
            }
        }
    }

    /// Makes the kernel end queueing some time after the agent would; never, if `longest` is `None` because other
    /// multipath maps exist.
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
                self.notify_once(Notice::new(codes::QUEUEING_LIMITED, "agent", &details));
            }
            Ok(_) => {}
            Err(error) => {
                let effect = "while no agent runs, a map without paths queues forever";
                let details = [("reason", &*error.to_string()), ("effect", effect)];
                self.notify_once(Notice::new(codes::NO_BACKSTOP, "agent", &details));
            }
        }
    }

    fn notify_once(&mut self, notice: Notice) {
        let text = format!("{notice:?}");
        if self.last_notice != text {
            self.last_notice = text;
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
        let last_notice = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&last_notice);
        let mut keeper = Keeper {
            list: root.path().join(LIST),
            backstop: Backstop::below(root.path()),
            listed: None,
            last_notice: String::new(),
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
        // There is a map of another owner.
        keeper.limit(None);
        assert_eq!(fs::read_to_string(&parameter).unwrap(), "0");
        assert!(last_notice.lock().unwrap().is_empty());
        // The admin's own limit is below the APD timeout: this is reported once.
        fs::write(&parameter, "30\n").unwrap();
        for _ in 0..2 {
            keeper.list(&BTreeSet::new());
            keeper.limit(Some(Millis(140_000)));
        }
        assert_eq!(*last_notice.lock().unwrap(), ["QUEUEING_LIMITED"]);
        let list = fs::read_to_string(root.path().join(LIST)).unwrap();
        assert_eq!(list, "");
    }
}
