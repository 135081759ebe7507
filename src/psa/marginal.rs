//! Marginal paths: one that fails and returns again and again costs more than it carries. After so many failures in so
//! long a time (settings `marginal_failures`, `marginal_window_ms`) it goes to a group of last resort, and comes back
//! when it has worked for `marginal_recovery_ms`. A Fibre Channel port that the kernel holds as `Marginal` is taken for
//! the same, for as long as it is, and one that the fabric complains of by FPIN, until it has not for that time.

use super::action::Severity;
use super::path::Path;
use super::satp::Link;
use super::schedule::Key;
use super::units::{Hctl, Millis};
use super::world::World;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a path came to be marginal, and since when it has worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marginal {
    /// Why, for a person.
    pub reason: String,
    /// When it was seen to be down last; for a port that is held as marginal, when that was seen last.
    pub last: Millis,
}

/// A marginal path that failed is not reinstated before it has worked for so long, while others serve: it would fail and
/// return by a message each as often as it flaps.
const HELD_BACK: Millis = Millis::from_secs(5);

impl Path {
    /// Whether it is marginal because it fails and returns, and is looked at for that.
    pub(super) fn is_on_trial(&self) -> bool {
        self.marginal.is_some() && !self.failures.is_empty()
    }

    /// Not to be reinstated before, while others serve.
    pub(super) fn held_until(&self) -> Millis {
        self.tried_until().max(self.hold_until)
    }

    /// What of that is because it is marginal.
    fn tried_until(&self) -> Millis {
        let trial = self.marginal.as_ref().filter(|_| self.is_on_trial());
        trial.map_or(Millis(0), |marginal| marginal.last.after(HELD_BACK))
    }
}

impl World {
    /// A path that served does not any more, by no will of the array or an administrator.
    pub(super) fn failed(&mut self, id: Hctl) {
        let (now, most) = (self.now, self.settings.marginal_failures);
        let window = self.settings.marginal_window_ms;
        let Some(path) = self.paths.get_mut(&id).filter(|_| most > 0) else {
            return;
        };
        path.failures.retain(|at| now.since(*at) < window);
        path.failures.push(now);
        let count = path.failures.len();
        if count < usize::try_from(most).unwrap_or(usize::MAX) {
            return;
        }
        path.failures.remove(0);
        self.is_marginal(
            id,
            format!("it failed {count} times within {} s", window.0 / 1000),
        );
    }

    /// The fabric complains of ports: of a target's, or of the HBA's own and so of all its paths.
    pub(super) fn fabric_notified(&mut self, host: u32, ports: &BTreeSet<u64>, what: &str) {
        // `fc.WWNN:WWPN`
        let is_one = |identifier: &str| {
            let name = identifier.rsplit_once(':').map(|(_, port)| port);
            let number = name.and_then(|name| u64::from_str_radix(name, 16).ok());
            number.is_some_and(|number| ports.contains(&number))
        };
        let hit: Vec<Hctl> = self
            .paths
            .iter()
            .filter(|(id, path)| {
                let facts = &path.facts;
                id.host == host
                    && (is_one(&facts.target.identifier) || is_one(&facts.adapter.identifier))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in hit {
            self.is_marginal(id, format!("the fabric reports {what} (FPIN)"));
        }
    }

    /// What its port says, and whether it has worked for long enough; after each check.
    pub(super) fn review_marginal(&mut self, id: Hctl) {
        let Some(path) = self.paths.get(&id) else {
            return;
        };
        if path.facts.target.port_state.as_deref() == Some("Marginal") {
            self.is_marginal(id, "its remote port is marginal".to_owned());
            return;
        }
        let (now, recovery) = (self.now, self.settings.marginal_recovery_ms);
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        let Some(marginal) = &mut path.marginal else {
            return;
        };
        if path.link.is_broken() {
            // It may not have been believed to be back since it failed the last time, and so it has not failed again.
            marginal.last = now;
        }
        if path.link != Link::Up || marginal.last.after(recovery) > now {
            return;
        }
        let name = path.name.to_string();
        if let Some(path) = self.paths.get_mut(&id) {
            path.marginal = None;
            path.failures.clear();
        }
        let lasted = format!("{} s", recovery.0 / 1000);
        self.notify(
            Severity::Info,
            "PATH_MARGINAL_ENDED",
            name,
            &[("worked_for", &lasted)],
        );
        self.mark_dirty(id);
    }

    fn is_marginal(&mut self, id: Hctl, reason: String) {
        let now = self.now;
        // Where nothing better serves there is nothing to spare the path for, and to load a table would be a risk.
        let better = self.paths.get(&id).and_then(|path| self.device_of(path));
        let better = better.is_some_and(|device| {
            self.paths_of(device).any(|other| {
                other.facts.hctl != id && other.marginal.is_none() && other.state().serves_io()
            })
        });
        let Some(path) = self.paths.get_mut(&id) else {
            return;
        };
        if let Some(marginal) = &mut path.marginal {
            marginal.last = now;
            return;
        }
        if !better {
            return;
        }
        let name = path.name.to_string();
        let told = reason.clone();
        path.marginal = Some(Marginal { reason, last: now });
        let effect = "it carries I/O only if no other path does";
        self.notify(
            Severity::Warning,
            "PATH_MARGINAL",
            name,
            &[("reason", &told), ("effect", effect)],
        );
        self.mark_dirty(id);
        self.schedule.no_later_than(Key::Path(id), now);
    }

    /// A marginal path in words.
    pub(super) fn marginal_line(&self, path: &Path) -> Option<String> {
        let marginal = path.marginal.as_ref()?;
        let left = marginal
            .last
            .after(self.settings.marginal_recovery_ms)
            .since(self.now);
        let held = path.tried_until().since(self.now);
        let held = match held {
            Millis(0) => String::new(),
            Millis(ms) => format!(", and not reinstated for {ms} ms more while others serve"),
        };
        Some(format!(
            "marginal: {}; it is in a group of last resort until it has worked for {} s more{held}",
            marginal.reason,
            left.0 / 1000
        ))
    }
}
