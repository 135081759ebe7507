//! What udev does with a map: it reads from the map (blkid, lvm2) as soon as its rules consider the map usable.
//!
//! The decisions are those of `udev-rules/56-dm-psa-map.rules`. The read is the first I/O of a new map, so it activates
//! the group that the kernel chooses. Active only if [`Kernel::udev_reads`] is set.

use super::dm::Io;
use super::maps::Write;
use super::state::{Cookie, Kernel, Knowledge, MapEvent, Pending, SimMap};
use crate::psa::units::Millis;
use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;

impl Kernel {
    /// Handles the event of a table that became live.
    pub(super) fn cookie_goes(&mut self, now: Millis, name: &str, cookie: Cookie) {
        let event = MapEvent {
            news: !cookie.reload,
            unusable: !cookie.usable,
            ask: false,
            failed: false,
        };
        self.udev_hears(now, name, event);
    }

    /// Handles the event of a path that failed or recovered.
    pub(super) fn paths_changed(&mut self, now: Millis, name: &str, failed: bool) {
        let event = MapEvent {
            news: false,
            unusable: false,
            ask: false,
            failed,
        };
        self.udev_hears(now, name, event);
    }

    /// Handles `udevadm trigger`, as at the end of booting: all maps are processed again.
    pub fn coldplug(&mut self, now: Millis) {
        let event = MapEvent {
            news: true,
            unusable: false,
            ask: true,
            failed: false,
        };
        for name in self.maps.keys().cloned().collect::<Vec<_>>() {
            self.udev_hears(now, &name, event);
        }
    }

    fn udev_hears(&mut self, now: Millis, name: &str, event: MapEvent) {
        if self.udev_reads {
            let at = now.after(self.some(self.pace.event));
            self.later(at, Pending::Udev(name.to_owned(), event));
        }
    }

    /// Runs the rules.
    pub(super) fn udev_runs(&mut self, now: Millis, name: &str, event: MapEvent) {
        let Some((name, mut map)) = self.maps.remove_entry(name) else {
            return;
        };
        let has_path = map.dm.observe().status.is_ok_and(|status| {
            let mut paths = status.groups.iter().flat_map(|group| &group.paths);
            paths.any(|path| path.active)
        });
        let before = map.udev;
        let asks = event.ask || !before.ready || !has_path;
        let unusable = event.unusable || event.failed && !before.ready;
        let ready = !unusable && (!asks || has_path);
        map.udev = Knowledge {
            known: true,
            ready,
            owed: !ready,
        };
        if ready && (event.news || before.owed) {
            self.read(now, &name, &mut map);
        }
        self.maps.insert(name, map);
    }

    /// Reads once, without a retry of the read itself. The caller has removed the map from `self.maps` for that time.
    fn read(&mut self, now: Millis, name: &str, map: &mut SimMap) {
        // Each iteration fails a path, so the loop ends.
        while let Io::Path(dev) = map.dm.io() {
            let mut failed = false;
            for dev in map.dm.take_activated() {
                if let Write::Failed = self.activate(now, dev) {
                    failed = true;
                    self.path_error(now, name, map, dev);
                }
            }
            let path = self.path_of(dev).filter(|_| !failed);
            let Some(path) = path else {
                self.path_error(now, name, map, dev);
                continue;
            };
            let fit = self.disk(path).is_some_and(|disk| !disk.is_held_passive());
            if fit && self.array.execute(path, &Command::ReadCapacity16).outcome == Outcome::Good {
                return;
            }
            self.path_error(now, name, map, dev);
        }
    }
}
