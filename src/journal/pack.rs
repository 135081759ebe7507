//! Packing: texts that repeat themselves, as the JSON of ten thousand alike paths does, become a tenth of their length.
//!
//! A packed text is a chain of: the count of bytes that follow as they are, these bytes, the count of bytes that are
//! copied from what is unpacked already, and how far back they begin. The last link of the chain has no copy. What is
//! cut off unpacks up to the cut.

use super::varint;

/// A copy is worth its three bytes from this length on.
const LEAST: usize = 6;
/// Slots that remember where text with a certain hash was seen last, as powers of two: one for each byte within these
/// bounds. Most texts are short, and to clear many slots would cost more than to pack.
const SLOTS_LEAST: u32 = 8;
const SLOTS_MOST: u32 = 15;

/// Where four bytes like these may have been seen before, in a table of 2^`log2` slots.
fn slot(four: [u8; 4], log2: u32) -> usize {
    // A multiplication by a large odd number mixes all bits into the upper ones.
    let hash = u32::from_le_bytes(four).wrapping_mul(0x9e37_79b1);
    (hash >> (32 - log2)) as usize
}

/// Packs a text.
#[must_use]
pub fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(text.len() / 4);
    let log2 = text.len().checked_ilog2().unwrap_or(0);
    let log2 = log2.clamp(SLOTS_LEAST, SLOTS_MOST);
    let mut seen = vec![0_u32; 1 << log2];
    let (mut at, mut done) = (0, 0);
    while let Some(&[a, b, c, d]) = text.get(at..at + 4) {
        let slot = &mut seen[slot([a, b, c, d], log2)];
        // Places are kept plus one: 0 is "never".
        let before = (*slot as usize).checked_sub(1);
        *slot = u32::try_from(at + 1).unwrap_or(0);
        let length = before.map_or(0, |before| alike(text, before, at));
        if length < LEAST {
            at += 1;
            continue;
        }
        varint::put(&mut packed, (at - done) as u64);
        packed.extend_from_slice(&text[done..at]);
        varint::put(&mut packed, length as u64);
        varint::put(&mut packed, (at - before.unwrap_or(0)) as u64);
        at += length;
        done = at;
    }
    varint::put(&mut packed, (text.len() - done) as u64);
    packed.extend_from_slice(&text[done..]);
    packed
}

/// How many bytes from `at` on are as those from `before` on.
fn alike(text: &[u8], before: usize, at: usize) -> usize {
    let pairs = text[before..].iter().zip(&text[at..]);
    pairs.take_while(|(a, b)| a == b).count()
}

/// Unpacks a text of `length` bytes, or as much of it as there is.
///
/// # Errors
/// These bytes are no packed text.
pub fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    // What is claimed is not believed: a megabyte at first, and more as it comes.
    let mut text = Vec::with_capacity(length.min(1 << 20));
    let mut rest = packed;
    while text.len() < length {
        let Some(literal) = varint::take(&mut rest)? else {
            break;
        };
        let literal = usize::try_from(literal).unwrap_or(usize::MAX);
        let present = rest.len().min(literal);
        if present > length - text.len() {
            return Err("it unpacks to more than it should");
        }
        text.extend_from_slice(&rest[..present]);
        rest = &rest[present..];
        if present < literal || rest.is_empty() {
            break;
        }
        let (Some(count), Some(back)) = (varint::take(&mut rest)?, varint::take(&mut rest)?) else {
            break;
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let from = usize::try_from(back)
            .ok()
            .filter(|back| *back > 0)
            .and_then(|back| text.len().checked_sub(back))
            .ok_or("it copies what is not there")?;
        if count > length - text.len() {
            return Err("it unpacks to more than it should");
        }
        // A copy may overlap what it makes.
        for place in from..from + count {
            text.push(text[place]);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn alike_records_pack_well() {
        let text: String = (0..256)
            .map(|n| format!("{{\"hctl\":\"2:0:{n}:1\",\"state\":\"running\",\"sg\":\"sg{n}\",\"size\":2097152}},"))
            .collect();
        let packed = pack(text.as_bytes());
        assert!(packed.len() * 4 < text.len(), "{}", packed.len());
        assert_eq!(unpack(&packed, text.len()).unwrap(), text.as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(text in prop::collection::vec(0_u8..4, 0..2000), cut in 0_usize..2000) {
            let packed = pack(&text);
            prop_assert_eq!(&unpack(&packed, text.len()).unwrap(), &text);
            let part = unpack(&packed[..cut.min(packed.len())], text.len()).unwrap();
            prop_assert!(text.starts_with(&part));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_usize..5000) {
            if let Ok(text) = unpack(&bytes, length) {
                prop_assert!(text.len() <= length);
            }
        }
    }
}
