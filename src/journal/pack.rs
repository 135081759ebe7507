//! Compresses repetitive text: the JSON of ten thousand similar paths shrinks to a tenth of its length.
//!
//! Packed text is a sequence of: the number of literal bytes, these bytes, the number of bytes to copy from the text
//! unpacked so far, and the distance back to where the copy begins. The last element has no copy. Truncated input
//! unpacks up to the cut.

use super::varint;

/// Minimum length of a copy; a shorter one does not save enough to pay for its encoding of about three bytes.
const LEAST: usize = 6;
/// Bounds on the size of the hash table that remembers where four bytes were last seen, as powers of two. Within these
/// bounds there is one slot for each byte of the text. Most texts are short, and clearing many slots would cost more
/// than packing.
const SLOTS_LEAST: u32 = 8;
const SLOTS_MOST: u32 = 15;

/// Returns the slot for these four bytes in a hash table of 2^`log2` slots.
fn slot(four: [u8; 4], log2: u32) -> usize {
    // A multiplication by a large odd number mixes all bits into the upper ones.
    let hash = u32::from_le_bytes(four).wrapping_mul(0x9e37_79b1);
    (hash >> (32 - log2)) as usize
}

/// Packs a text.
#[must_use]
pub(super) fn pack(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(text.len() / 4);
    let log2 = text.len().checked_ilog2().unwrap_or(0);
    let log2 = log2.clamp(SLOTS_LEAST, SLOTS_MOST);
    let mut seen = vec![0_u32; 1 << log2];
    let (mut at, mut done) = (0, 0);
    while let Some(&[a, b, c, d]) = text.get(at..at + 4) {
        let slot = &mut seen[slot([a, b, c, d], log2)];
        // Positions are stored plus one: 0 means "never seen".
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

/// Returns the length of the common prefix of the text at `before` and the text at `at`.
fn alike(text: &[u8], before: usize, at: usize) -> usize {
    let pairs = text[before..].iter().zip(&text[at..]);
    pairs.take_while(|(a, b)| a == b).count()
}

/// Unpacks a text of `length` bytes, or as much of it as the input holds.
///
/// # Errors
/// These bytes are not packed text.
pub(super) fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    // The claimed length is not trusted: reserve at most 1 MiB first, and grow as data arrives.
    let mut text = Vec::with_capacity(length.min(1 << 20));
    let mut rest = packed;
    while text.len() < length {
        let Some(literal) = varint::take(&mut rest)? else {
            break;
        };
        let literal = usize::try_from(literal).unwrap_or(usize::MAX);
        let present = rest.len().min(literal);
        if present > length - text.len() {
            return Err("it unpacks to more bytes than its header says");
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
            .ok_or("it copies bytes that do not exist")?;
        if count > length - text.len() {
            return Err("it unpacks to more bytes than its header says");
        }
        // The source of a copy may overlap its destination.
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
    fn similar_records_pack_well() {
        let text: String = (0..256)
            .map(|n| format!("{{\"hctl\":\"2:0:{n}:1\",\"state\":\"running\",\"sg\":\"sg{n}\",\"size\":2097152}},"))
            .collect();
        let packed = pack(text.as_bytes());
        assert!(packed.len() * 4 < text.len(), "{}", packed.len());
        assert_eq!(unpack(&packed, text.len()).unwrap(), text.as_bytes());
    }

    proptest! {
        #[test]
        fn packed_data_unpacks(text in prop::collection::vec(0_u8..4, 0..2000), cut in 0_usize..2000) {
            let packed = pack(&text);
            prop_assert_eq!(&unpack(&packed, text.len()).unwrap(), &text);
            let part = unpack(&packed[..cut.min(packed.len())], text.len()).unwrap();
            prop_assert!(text.starts_with(&part));
        }

        #[test]
        fn any_bytes_are_accepted(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0_usize..5000) {
            if let Ok(text) = unpack(&bytes, length) {
                prop_assert!(text.len() <= length);
            }
        }
    }
}
