//! The paths of a host: found quickly by address, and iterated in the order of addresses.

use crate::psa::lookup::Lookup;
use crate::psa::state::path::Path;
use crate::psa::units::Hctl;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

/// The paths, by address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Hctl, Box<Path>>", into = "BTreeMap<Hctl, Box<Path>>")]
pub(in crate::psa) struct Paths {
    /// Boxed, because up to half of the slots of a hash map are empty.
    found: Lookup<Hctl, Box<Path>>,
    /// The keys of `found`.
    order: BTreeSet<Hctl>,
}

impl Paths {
    pub(in crate::psa) fn get(&self, id: &Hctl) -> Option<&Path> {
        self.found.get(id).map(|path| &**path)
    }

    pub(in crate::psa) fn get_mut(&mut self, id: &Hctl) -> Option<&mut Path> {
        self.found.get_mut(id).map(|path| &mut **path)
    }

    pub(in crate::psa) fn insert(&mut self, id: Hctl, path: Box<Path>) {
        self.order.insert(id);
        self.found.insert(id, path);
    }

    pub(in crate::psa) fn remove(&mut self, id: &Hctl) -> Option<Box<Path>> {
        self.order.remove(id);
        self.found.remove(id)
    }

    pub(in crate::psa) fn retain(&mut self, keep: impl Fn(&Path) -> bool) {
        self.order.retain(|id| {
            let kept = self.found.get(id).is_some_and(|path| keep(path));
            if !kept {
                self.found.remove(id);
            }
            kept
        });
    }

    pub(in crate::psa) fn len(&self) -> usize {
        self.found.len()
    }

    pub(in crate::psa) fn keys(&self) -> impl Iterator<Item = &Hctl> {
        self.order.iter()
    }

    pub(in crate::psa) fn values(&self) -> impl Iterator<Item = &Path> {
        self.iter().map(|(_, path)| path)
    }

    pub(in crate::psa) fn iter(&self) -> impl Iterator<Item = (&Hctl, &Path)> {
        self.among(self.order.iter())
    }

    /// The paths in a range of addresses.
    pub(in crate::psa) fn range(
        &self,
        ids: RangeInclusive<Hctl>,
    ) -> impl Iterator<Item = (&Hctl, &Path)> {
        self.among(self.order.range(ids))
    }

    fn among<'a>(
        &'a self,
        ids: impl Iterator<Item = &'a Hctl>,
    ) -> impl Iterator<Item = (&'a Hctl, &'a Path)> {
        ids.filter_map(|id| Some((id, self.get(id)?)))
    }
}

impl Extend<(Hctl, Box<Path>)> for Paths {
    fn extend<I: IntoIterator<Item = (Hctl, Box<Path>)>>(&mut self, paths: I) {
        for (id, path) in paths {
            self.insert(id, path);
        }
    }
}

impl From<BTreeMap<Hctl, Box<Path>>> for Paths {
    fn from(paths: BTreeMap<Hctl, Box<Path>>) -> Paths {
        let mut all = Paths::default();
        all.extend(paths);
        all
    }
}

impl From<Paths> for BTreeMap<Hctl, Box<Path>> {
    fn from(paths: Paths) -> Self {
        let Paths { mut found, order } = paths;
        let each = order.into_iter();
        each.filter_map(|id| Some((id, found.remove(&id)?)))
            .collect()
    }
}
