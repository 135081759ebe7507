//! What an agent in an initramfs decides on.

use crate::psa::names::Wwid;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The devices that an agent decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scope {
    /// Those that had a map before, and those that the system runs from.
    Known,
    /// Also disks that get no map.
    KnownAndUnmapped,
    /// All.
    #[default]
    All,
}

impl Scope {
    /// The scopes by the words of `dm-psad --decide-on`.
    pub const WORDS: [(&str, Scope); 3] = [
        ("known", Scope::Known),
        ("known-and-unmapped", Scope::KnownAndUnmapped),
        ("all", Scope::All),
    ];
}

/// What an agent in an initramfs decides on, and until when.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::psa) struct Initramfs {
    pub(in crate::psa) scope: Scope,
    /// The devices that the system runs from.
    pub(in crate::psa) expected: BTreeSet<Wwid>,
    /// When the agent stops waiting for them; `None` for a run that ends by itself.
    pub(in crate::psa) until: Option<Millis>,
    /// Whether all of them had a map at the last look.
    pub(in crate::psa) were_complete: bool,
}

impl Initramfs {
    /// Whether this is the state of an agent outside an initramfs, which the journal does not record.
    pub(in crate::psa) fn is_none(&self) -> bool {
        self.scope == Scope::All
    }
}
