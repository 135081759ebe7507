//! Reads the facts of paths in batches: what is kept between two reads.

use super::tree::Sysfs;
use super::usage::Users;
use crate::psa::adapter::{AdapterFacts, TargetFacts, Transport};
use crate::psa::units::{DevT, Hctl};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Reads the facts of paths in batches.
///
/// What paths share is read at most once between two calls of [`Survey::begin`].
#[derive(Debug)]
pub struct Survey {
    pub(super) sysfs: Sysfs,
    pub(super) batch: Batch,
    pub(super) limits: HashMap<Hctl, Limits>,
    /// The users at the last comparison by [`Survey::usage_changes`].
    pub(super) compared: Users,
}

/// What the paths of one batch have in common.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) udev_runs: Option<bool>,
    pub(super) users: Option<Users>,
    pub(super) hosts: HashMap<u32, Host>,
    pub(super) targets: HashMap<TargetKey, TargetFacts>,
    pub(super) ordinals: Option<HashMap<u32, u32>>,
    pub(super) tcm_loop: Option<TcmLoop>,
}

impl Survey {
    /// Creates a survey that has read nothing.
    #[must_use]
    pub fn new(sysfs: Sysfs) -> Survey {
        Survey {
            sysfs,
            batch: Batch::default(),
            limits: HashMap::new(),
            compared: Users::default(),
        }
    }

    /// The file trees that it reads.
    #[must_use]
    pub fn sysfs(&self) -> &Sysfs {
        &self.sysfs
    }

    /// Begins a new batch: adapters, target ports, mounts and swaps are read again.
    pub fn begin(&mut self) {
        self.batch = Batch::default();
    }

    /// Forgets what is read only once per disk (its queue limits). To be called when the disk is removed.
    pub fn forget(&mut self, path: Hctl) {
        self.limits.remove(&path);
    }

    /// The paths whose mounts or swap use have changed since the last call; in the first call, the paths that have any.
    #[must_use]
    pub fn usage_changes(&mut self) -> BTreeSet<Hctl> {
        let now = Users::read(&self.sysfs);
        let changed = now.changes_since(&self.compared, &self.sysfs);
        self.compared = now;
        changed
    }

    pub(super) fn users(&mut self) -> &Users {
        self.batch
            .users
            .get_or_insert_with(|| Users::read(&self.sysfs))
    }

    pub(super) fn udev_runs(&mut self) -> bool {
        *self
            .batch
            .udev_runs
            .get_or_insert_with(|| self.sysfs.udev_runs())
    }
}

/// What all paths below one SCSI host have in common.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) transport: Transport,
    pub(super) adapter: AdapterFacts,
}

/// Host, channel and target number.
pub(super) type TargetKey = (u32, u32, u32);

/// WWN and target portal group of tcm_loop's ports, by host and target number.
pub(super) type TcmLoop = BTreeMap<(u32, u32), (String, u32)>;

/// The limits of a disk's request queue that do not change while the disk exists.
///
/// They are read only once: showing `queue/*` takes the `sysfs_lock` of the queue. Up to Linux 6.10 a change of the I/O
/// scheduler holds this lock while it waits for all I/O to end (`elv_iosched_store`), on a hung path forever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) dev: DevT,
    pub(super) max_io_bytes: u64,
    pub(super) rotational: bool,
}
