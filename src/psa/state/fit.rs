//! Whether the disk of a path fits the other paths of its device: its size, its write protection, its LUN.

use crate::psa::units::{Millis, Sectors};
use serde::{Deserialize, Serialize};

/// What the comparison of a path with the others depends on, and its result.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Fit {
    /// Why the disk fits in no table of its device.
    mismatch: Option<String>,
    /// Its LUN reports the same identity as another LUN of the same target port.
    repeats: bool,
    /// Whether the unit is write-protected through this path, as MODE SENSE reported last.
    write_protected: Option<bool>,
    /// What READ CAPACITY through this path returned, if that is newer than the kernel's value.
    measured: Option<Sectors>,
    /// When the last examination that included READ CAPACITY was sent.
    measured_at: Option<Millis>,
    /// When its size last changed.
    sized_at: Millis,
}

impl Fit {
    pub(super) fn new(now: Millis) -> Fit {
        Fit {
            sized_at: now,
            ..Fit::default()
        }
    }

    /// Why the disk fits in no table of its device.
    #[must_use]
    pub(crate) fn mismatch(&self) -> Option<&str> {
        self.mismatch.as_deref()
    }

    /// The path was compared with the others.
    pub(in crate::psa) fn compared(&mut self, mismatch: Option<String>) {
        self.mismatch = mismatch;
    }

    /// Whether its LUN reports the same identity as another LUN of the same target port, which is used instead.
    pub(in crate::psa) fn repeats(&self) -> bool {
        self.repeats
    }

    /// The LUNs of its target port that report the same identity were compared.
    pub(in crate::psa) fn set_repeats(&mut self, repeats: bool) {
        self.repeats = repeats;
    }

    /// Whether the unit is write-protected through this path; `None` while it is not known.
    pub(in crate::psa) fn write_protected(&self) -> Option<bool> {
        self.write_protected
    }

    /// The path reported its write protection. Returns what was known before.
    pub(in crate::psa) fn set_write_protected(&mut self, is: bool) -> Option<bool> {
        self.write_protected.replace(is)
    }

    /// What READ CAPACITY returned, if that is newer than the kernel's value.
    pub(super) fn measured(&self) -> Option<Sectors> {
        self.measured
    }

    pub(super) fn set_measured(&mut self, size: Option<Sectors>) {
        self.measured = size;
    }

    /// An examination that included READ CAPACITY ended, with any result. It was sent at this time.
    pub(in crate::psa) fn asked_size(&mut self, sent: Millis) {
        self.measured_at = Some(sent);
    }

    /// Whether it was asked for its size at or after this time, with any result.
    pub(in crate::psa) fn is_measured(&self, since: Millis) -> bool {
        self.measured_at.is_some_and(|at| at >= since)
    }

    pub(super) fn size_changed(&mut self, now: Millis) {
        self.sized_at = now;
    }

    /// When its size last changed.
    pub(in crate::psa) fn sized_at(&self) -> Millis {
        self.sized_at
    }
}
