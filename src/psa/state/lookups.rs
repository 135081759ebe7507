//! What the kernel said of disks that are in the table of a map and belong to no path, and what it is still to be asked.

use crate::psa::facts::DiskKind;
use crate::psa::units::{DevT, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A lookup that has not settled what a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    first: Millis,
    last: Millis,
}

/// What is to be done about a disk that is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::psa) struct Inquiry {
    /// The kernel is asked now.
    pub(in crate::psa) is_due: bool,
    /// When it is asked next.
    pub(in crate::psa) next: Millis,
    /// udev had its time.
    pub(in crate::psa) has_waited: bool,
}

/// The answers of the kernel about members of maps that are no paths.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Lookups {
    found: BTreeMap<DevT, DiskKind>,
    asked: BTreeMap<DevT, Asked>,
}

/// The kernel is asked again this long after it said nothing or named a SCSI disk that discovery has not reported.
pub(in crate::psa) const ASK_AGAIN: Millis = Millis::from_secs(1);

/// A map whose members are not all known is not touched for this long: udev processes the disks of a large host within
/// that time. After that the map is touched only in ways that cannot harm the unknown members.
pub(in crate::psa) const UDEV_WAIT: Millis = Millis::from_secs(30);

impl Lookups {
    /// The disk is one of a path from now on.
    pub(in crate::psa) fn bound(&mut self, dev: DevT) {
        self.found.remove(&dev);
        self.asked.remove(&dev);
    }

    /// The path of a disk in some table was removed from the host.
    pub(in crate::psa) fn removed(&mut self, dev: DevT) {
        self.found.insert(dev, DiskKind::Absent);
    }

    /// Keeps what is known of some disks.
    pub(in crate::psa) fn retain(&mut self, keep: impl Fn(DevT) -> bool) {
        self.found.retain(|dev, _| keep(*dev));
        self.asked.retain(|dev, _| keep(*dev));
    }

    /// Whether members of maps are waited for that udev has not processed yet.
    pub(in crate::psa) fn waits(&self, now: Millis) -> bool {
        let mut asked = self.asked.values();
        asked.any(|asked| now.since(asked.first) < UDEV_WAIT)
    }

    /// What the kernel said last of a disk that is no path's.
    pub(in crate::psa) fn found(&self, dev: DevT) -> Option<&DiskKind> {
        self.found.get(&dev)
    }

    /// Whether the kernel is to be asked now about a disk that discovery has not reported.
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

    /// Takes in what the kernel says of a disk. Whether that settles what it is.
    pub(in crate::psa) fn answered(&mut self, dev: DevT, kind: DiskKind) -> bool {
        self.found.insert(dev, kind);
        let settles = self.is_settled(dev);
        if settles {
            self.asked.remove(&dev);
        }
        settles
    }

    /// Whether it is known that no path will have the disk.
    pub(in crate::psa) fn is_settled(&self, dev: DevT) -> bool {
        matches!(
            self.found.get(&dev),
            Some(DiskKind::Absent | DiskKind::Other(_))
        )
    }
}
