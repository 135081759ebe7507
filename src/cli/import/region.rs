//! Sets of arrays, given by patterns for INQUIRY vendor and product: a section of multipath.conf, a SATP rule or a line
//! of a table of arrays applies to such a set.
//!
//! A pattern is a complete name, the beginning of a name, or anything. Of two patterns, either one is within the other
//! or they are disjoint. So the intersection of two overlapping regions is a region, and a set of regions that also
//! contains all intersections has exactly one smallest region for every array.

use crate::psa::pattern::Pattern;
use std::collections::BTreeMap;

/// The maximum number of regions for a file. A listing of rules has no more.
const MOST: usize = 10_000;

/// Arrays by vendor and product; `None` matches any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Region {
    pub(super) vendor: Option<Pattern>,
    pub(super) model: Option<Pattern>,
}

impl Region {
    /// Creates the region of these patterns.
    pub(super) fn new(vendor: Option<Pattern>, model: Option<Pattern>) -> Region {
        let some = |pattern: Option<Pattern>| pattern.filter(|pattern| !pattern.is_any());
        Region {
            vendor: some(vendor),
            model: some(model),
        }
    }

    /// Whether it contains every array.
    pub(super) fn is_any(&self) -> bool {
        *self == Region::default()
    }

    /// Whether it contains all of another region.
    pub(super) fn covers(&self, other: &Region) -> bool {
        let covers = |mine: &Option<Pattern>, theirs: &Option<Pattern>| match (mine, theirs) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => mine.covers(theirs),
        };
        covers(&self.vendor, &other.vendor) && covers(&self.model, &other.model)
    }

    /// The intersection of two regions; `None` if they are disjoint.
    pub(super) fn meet(&self, other: &Region) -> Option<Region> {
        Some(Region {
            vendor: narrower(&self.vendor, &other.vendor)?,
            model: narrower(&self.model, &other.model)?,
        })
    }

    /// A measure of how narrow it is: a region within another one has a higher value.
    pub(super) fn depth(&self) -> usize {
        let depth = |pattern: &Option<Pattern>| {
            pattern.as_ref().map_or(0, |pattern| {
                let length = pattern.literal().unwrap_or_default().len();
                let whole = !pattern.as_str().ends_with('*');
                1 + 2 * length + usize::from(whole)
            })
        };
        depth(&self.vendor) + depth(&self.model)
    }

    fn key(&self) -> (String, String) {
        let text = |pattern: &Option<Pattern>| {
            let pattern = pattern.as_ref();
            pattern.map_or_else(String::new, |pattern| pattern.as_str().to_owned())
        };
        (text(&self.vendor), text(&self.model))
    }
}

fn narrower(one: &Option<Pattern>, other: &Option<Pattern>) -> Option<Option<Pattern>> {
    match (one, other) {
        (None, any) | (any, None) => Some(any.clone()),
        (Some(a), Some(b)) if a.covers(b) => Some(Some(b.clone())),
        (Some(a), Some(b)) if b.covers(a) => Some(Some(a.clone())),
        _ => None,
    }
}

/// A set of distinct regions, sorted by their patterns.
#[derive(Debug, Default)]
pub(super) struct Regions {
    by_key: BTreeMap<(String, String), Region>,
}

impl Regions {
    /// Adds a region; `false` if it is in the set already.
    fn add(&mut self, region: Region) -> bool {
        self.by_key.insert(region.key(), region).is_none()
    }

    /// These regions and all of their intersections.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn closed(regions: impl IntoIterator<Item = Region>) -> Result<Regions, String> {
        let mut all = Regions::default();
        for region in regions {
            all.join(region)?;
        }
        Ok(all)
    }

    /// Adds a region and its intersections with the others.
    pub(super) fn join(&mut self, region: Region) -> Result<(), String> {
        let meets: Vec<Region> = self.iter().filter_map(|own| own.meet(&region)).collect();
        self.add(region);
        self.add_all(meets)
    }

    /// Adds the intersections of a region with those in the set.
    pub(super) fn refine(&mut self, with: &Region) -> Result<(), String> {
        let meets: Vec<Region> = self.iter().filter_map(|own| own.meet(with)).collect();
        self.add_all(meets)
    }

    fn add_all(&mut self, regions: Vec<Region>) -> Result<(), String> {
        for region in regions {
            self.add(region);
        }
        if self.by_key.len() > MOST {
            return Err(format!(
                "its sections result in more than {MOST} combinations of vendor and product"
            ));
        }
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Region> {
        self.by_key.values()
    }

    /// The widest regions first: a region comes after those that contain it.
    pub(super) fn by_depth(&self) -> Vec<&Region> {
        let mut regions: Vec<&Region> = self.iter().collect();
        regions.sort_by_key(|region| region.depth());
        regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(vendor: &str, model: &str) -> Region {
        let pattern = |text: &str| Some(Pattern::parse(text).unwrap());
        Region::new(pattern(vendor), pattern(model))
    }

    #[test]
    fn regions_meet() {
        let dgc = region("DGC", "*");
        let vraid = region("*", "^VRAID*");
        assert_eq!(dgc.meet(&vraid), Some(region("DGC", "^VRAID*")));
        assert_eq!(dgc.meet(&region("IBM", "*")), None);
        assert_eq!(
            region("A", "^X*").meet(&region("A", "XY")),
            Some(region("A", "XY"))
        );
        assert!(region("*", "*").is_any() && region("*", "*").covers(&dgc));
        assert!(!dgc.covers(&vraid) && !vraid.covers(&dgc));
    }

    #[test]
    fn a_closed_set_has_what_meets() {
        let all = Regions::closed([
            region("^D*", "*"),
            region("*", "^V*"),
            region("DGC", "*"),
            region("*", "^VR*"),
        ]);
        let all = all.unwrap();
        for a in all.iter() {
            for b in all.iter() {
                let meet = a.meet(b);
                assert!(meet.is_none_or(|meet| all.iter().any(|one| *one == meet)));
            }
        }
        assert_eq!(all.iter().count(), 8);
        let depths: Vec<usize> = all.by_depth().iter().map(|region| region.depth()).collect();
        assert!(depths.is_sorted());
        for (at, region) in all.by_depth().iter().enumerate() {
            for later in &all.by_depth()[at + 1..] {
                assert!(!later.covers(region));
            }
        }
    }
}
