//! Disks that are in the table of a map but belong to no path: what the kernel said about them, and when to ask it
//! again.

use crate::psa::facts::DiskKind;
use crate::psa::units::{DevT, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A disk whose lookups have not determined yet what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    first: Millis,
    last: Millis,
}

/// What to do about a disk that is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::psa) struct Inquiry {
    /// The kernel has to be asked now.
    pub(in crate::psa) is_due: bool,
    /// When the kernel is asked next.
    pub(in crate::psa) next: Millis,
    /// udev had enough time to process the disk.
    pub(in crate::psa) has_waited: bool,
}

/// The kernel's answers about members of maps that are not paths.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Lookups {
    found: BTreeMap<DevT, DiskKind>,
    asked: BTreeMap<DevT, Asked>,
}

/// The kernel is asked again after this time if it gave no answer, or named a SCSI disk that discovery has not
/// reported.
pub(in crate::psa) const ASK_AGAIN: Millis = Millis::from_secs(1);

/// For this long, a map with unknown members is not touched: within that time udev processes the disks of a large host.
/// After that the map is touched only in ways that cannot harm the unknown members.
pub(in crate::psa) const UDEV_WAIT: Millis = Millis::from_secs(30);

impl Lookups {
    /// The disk now belongs to a path.
    pub(in crate::psa) fn bound(&mut self, dev: DevT) {
        self.found.remove(&dev);
        self.asked.remove(&dev);
    }

    /// The path of a disk in some table was removed from the host.
    pub(in crate::psa) fn removed(&mut self, dev: DevT) {
        self.found.insert(dev, DiskKind::Absent);
    }

    /// Drops everything about disks for which `keep` returns `false`.
    pub(in crate::psa) fn retain(&mut self, keep: impl Fn(DevT) -> bool) {
        self.found.retain(|dev, _| keep(*dev));
        self.asked.retain(|dev, _| keep(*dev));
    }

    /// Whether members of maps are still waiting for udev to process them.
    pub(in crate::psa) fn waits(&self, now: Millis) -> bool {
        let mut asked = self.asked.values();
        asked.any(|asked| now.since(asked.first) < UDEV_WAIT)
    }

    /// The kernel's last answer about a disk that belongs to no path.
    pub(in crate::psa) fn found(&self, dev: DevT) -> Option<&DiskKind> {
        self.found.get(&dev)
    }

    /// Whether, and when, to ask the kernel about a disk that discovery has not reported.
    pub(in crate::psa) fn ask(&mut self, dev: DevT, now: Millis) -> Inquiry {
        let mut is_due = false;
        let asked = self.asked.entry(dev).or_insert_with(|| {
            is_due = true;
            Asked {
                first: now,
                last: now,
            }
        });
        if asked.last.after(ASK_AGAIN) <= now {
            asked.last = now;
            is_due = true;
        }
        Inquiry {
            is_due,
            next: asked.last.after(ASK_AGAIN),
            has_waited: now.since(asked.first) >= UDEV_WAIT,
        }
    }

    /// Records the kernel's answer about a disk. Returns whether it is final.
    pub(in crate::psa) fn answered(&mut self, dev: DevT, kind: DiskKind) -> bool {
        self.found.insert(dev, kind);
        let settles = self.is_settled(dev);
        if settles {
            self.asked.remove(&dev);
        }
        settles
    }

    /// Whether it is certain that no path will have the disk.
    pub(in crate::psa) fn is_settled(&self, dev: DevT) -> bool {
        matches!(
            self.found.get(&dev),
            Some(DiskKind::Absent | DiskKind::Other(_))
        )
    }
}
