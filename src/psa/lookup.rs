//! A hash map that cannot be iterated, and one that is iterated in the order of its keys.
//!
//! A check looks its path up a dozen times, and searching trees for it took a sixth of the owner's time. A hash map is
//! faster, but its order differs between runs. It is therefore wrapped here so that no caller can observe the order.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::RangeInclusive;

/// Values by key, without iteration.
#[derive(Clone)]
pub(crate) struct Lookup<K, V>(HashMap<K, V, BuildHasherDefault<Polynomial>>);

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Lookup(HashMap::default())
    }
}

impl<K, V> fmt::Debug for Lookup<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries", self.0.len())
    }
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key)
    }

    /// The value of a key, which is made if it is not there.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(make)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the previous value of the key.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Frees memory, but keeps space for this many entries, and for those present.
    pub(crate) fn shrink_to(&mut self, entries: usize) {
        self.0.shrink_to(entries);
    }
}

/// Values that are found by hash and iterated in the order of their keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<K, Box<V>>",
    into = "BTreeMap<K, Box<V>>",
    bound(
        serialize = "K: Ord + Hash + Clone + Serialize, V: Clone + Serialize",
        deserialize = "K: Ord + Hash + Clone + Deserialize<'de>, V: Deserialize<'de>"
    )
)]
pub(crate) struct OrderedLookup<K, V> {
    /// Boxed, because up to half of the slots of a hash map are empty.
    found: Lookup<K, Box<V>>,
    /// The keys of `found`.
    order: BTreeSet<K>,
}

impl<K, V> Default for OrderedLookup<K, V> {
    fn default() -> Self {
        OrderedLookup {
            found: Lookup::default(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Hash + Clone, V> OrderedLookup<K, V> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.found.get(key).map(|value| &**value)
    }

    pub(crate) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.found.get_mut(key).map(|value| &mut **value)
    }

    /// The value of a key, which is made if it is not there.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (order, added) = (&mut self.order, key.clone());
        self.found.get_or_insert_with(key, || {
            order.insert(added);
            Box::new(make())
        })
    }

    pub(crate) fn insert(&mut self, key: K, value: Box<V>) {
        self.order.insert(key.clone());
        self.found.insert(key, value);
    }

    pub(crate) fn remove<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> Option<Box<V>>
    where
        K: Borrow<Q>,
    {
        self.order.remove(key);
        self.found.remove(key)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        let found = &mut self.found;
        self.order.retain(|key| {
            let kept = found.get(key).is_some_and(|value| keep(value));
            if !kept {
                found.remove(key);
            }
            kept
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.order.iter()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.among(self.order.iter())
    }

    /// The entries whose keys are in a range.
    pub(crate) fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = (&K, &V)> {
        self.among(self.order.range(keys))
    }

    fn among<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a K>,
    ) -> impl Iterator<Item = (&'a K, &'a V)> {
        keys.filter_map(|key| Some((key, self.get(key)?)))
    }
}

impl<K: Ord + Hash + Clone, V> Extend<(K, Box<V>)> for OrderedLookup<K, V> {
    fn extend<I: IntoIterator<Item = (K, Box<V>)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Hash + Clone, V> From<BTreeMap<K, Box<V>>> for OrderedLookup<K, V> {
    fn from(entries: BTreeMap<K, Box<V>>) -> Self {
        let mut all = OrderedLookup::default();
        all.extend(entries);
        all
    }
}

impl<K: Ord + Hash + Clone, V> From<OrderedLookup<K, V>> for BTreeMap<K, Box<V>> {
    fn from(all: OrderedLookup<K, V>) -> Self {
        let OrderedLookup { mut found, order } = all;
        let each = order.into_iter();
        each.filter_map(|key| found.remove(&key).map(|value| (key, value)))
            .collect()
    }
}

/// A polynomial over the words of a key. It is cheap and the same in every run. It does not resist chosen keys: the
/// kernel and the array, which name the paths, gain nothing from collisions.
#[derive(Debug, Clone, Default)]
struct Polynomial(u64);

impl Polynomial {
    /// 2^64 divided by the golden ratio: odd, with bits set all over the word.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
}

impl Hasher for Polynomial {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.wrapping_add(number).wrapping_mul(Self::FACTOR);
    }

    /// The upper bits depend on all bits of a word, the lower ones on few; the hash map takes the slot from the lower
    /// ones.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::units::Hctl;
    use std::collections::BTreeSet;

    fn hash(key: &impl Hash) -> u64 {
        let mut hasher = Polynomial::default();
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// The hash map takes the slot of a key from the lower bits and a tag from the upper seven.
    #[test]
    fn addresses_hash_to_different_places() {
        let addresses = (0..4).flat_map(|host| {
            (0..4).flat_map(move |target| {
                (0..256).map(move |lun| Hctl {
                    host,
                    channel: 0,
                    target,
                    lun,
                })
            })
        });
        let hashes: Vec<u64> = addresses.map(|path| hash(&path)).collect();
        let places: BTreeSet<u64> = hashes.iter().map(|hash| hash % 8192).collect();
        let marks: BTreeSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        // 4096 random keys fill 3223 of 8192 slots on average.
        assert!(places.len() > 3000, "{}", places.len());
        assert_eq!(marks.len(), 128);
    }

    #[test]
    fn every_byte_of_a_text_changes_its_hash() {
        let texts = [
            "",
            "a",
            "b",
            "aa",
            "naa.600140500000000a",
            "naa.600140500000000b",
        ];
        let hashes: BTreeSet<u64> = texts.iter().map(hash).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
