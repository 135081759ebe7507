//! Finds disks that udev does not know although it runs and is idle: their uevents came while it did not run.
//!
//! The agent uses a disk only after udev's rules have run for it, and for these disks they would never run. So the
//! uevent is raised again, as `udevadm trigger --action=add` does. Not while udev is busy: at boot it has hundreds of
//! disks to process first.

use crate::psa::units::Hctl;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an idle udev may take before it processes a disk.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause after raising the uevent again; it doubles each time, up to `LONGEST`.
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);

/// Disks that udev has not processed.
#[derive(Debug, Default)]
pub(super) struct Missed {
    waiting: BTreeMap<Hctl, Wait>,
}

#[derive(Debug)]
struct Wait {
    due: Instant,
    pause: Duration,
}

impl Missed {
    /// Records whether the disk of a path waits for udev, as it was just read.
    pub(super) fn waits(&mut self, path: Hctl, waits: bool, now: Instant) {
        if waits {
            self.waiting.entry(path).or_insert(Wait {
                due: now + PATIENCE,
                pause: PAUSE,
            });
        } else {
            self.waiting.remove(&path);
        }
    }

    /// When to call [`Missed::due`] next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|wait| wait.due).min()
    }

    /// The paths whose uevent is to be raised again now, each with whether that is the first time. None while udev is
    /// busy; the paths are then checked again later.
    pub(super) fn due(&mut self, now: Instant, busy: bool) -> Vec<(Hctl, bool)> {
        let mut due = Vec::new();
        for (path, wait) in self.waiting.iter_mut().filter(|(_, wait)| wait.due <= now) {
            if busy {
                wait.due = now + PATIENCE;
                continue;
            }
            due.push((*path, wait.pause == PAUSE));
            wait.due = now + wait.pause;
            wait.pause = (wait.pause * 2).min(LONGEST);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udev_is_triggered_when_idle_and_ever_more_rarely() {
        let path: Hctl = "7:0:0:1".parse().unwrap();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut missed = Missed::default();
        missed.waits(path, true, start);
        missed.waits(path, true, at(2));
        assert!(missed.due(at(2), false).is_empty());
        assert!(missed.due(at(3), true).is_empty());
        assert_eq!(missed.next(), Some(at(6)));
        assert_eq!(missed.due(at(6), false), [(path, true)]);
        assert!(missed.due(at(15), false).is_empty());
        assert_eq!(missed.due(at(16), false), [(path, false)]);
        assert_eq!(missed.next(), Some(at(36)));
        missed.waits(path, false, at(17));
        assert_eq!(missed.next(), None);
    }
}
