//! Parses the VPD pages of block devices for display: Block Limits (B0h) and Block Device Characteristics (B1h), SBC-4.
//!
//! Input: the body of a page. Output: the names and values of the fields that the page has bytes for; in SBC-2 these
//! pages were shorter.

/// A field of a page.
struct Field {
    name: &'static str,
    /// Its first byte, counted from the beginning of the page.
    first: usize,
    /// The number of bytes that contain it.
    bytes: usize,
    /// The number of its lowest bit in the last of these bytes.
    lowest_bit: u32,
    /// Its width in bits.
    bits: u32,
}

/// A field that consists of whole bytes.
const fn whole(name: &'static str, first: usize, bytes: usize) -> Field {
    Field {
        name,
        first,
        bytes,
        lowest_bit: 0,
        bits: 64,
    }
}

/// A field within a byte.
const fn part(name: &'static str, first: usize, lowest_bit: u32, bits: u32) -> Field {
    Field {
        name,
        first,
        bytes: 1,
        lowest_bit,
        bits,
    }
}

const BLOCK_LIMITS: &[Field] = &[
    part("WSNZ", 4, 0, 1),
    whole("MAXIMUM COMPARE AND WRITE LENGTH", 5, 1),
    whole("OPTIMAL TRANSFER LENGTH GRANULARITY", 6, 2),
    whole("MAXIMUM TRANSFER LENGTH", 8, 4),
    whole("OPTIMAL TRANSFER LENGTH", 12, 4),
    whole("MAXIMUM PREFETCH LENGTH", 16, 4),
    whole("MAXIMUM UNMAP LBA COUNT", 20, 4),
    whole("MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT", 24, 4),
    whole("OPTIMAL UNMAP GRANULARITY", 28, 4),
    part("UGAVALID", 32, 7, 1),
    Field {
        bits: 31,
        ..whole("UNMAP GRANULARITY ALIGNMENT", 32, 4)
    },
    whole("MAXIMUM WRITE SAME LENGTH", 36, 8),
    whole("MAXIMUM ATOMIC TRANSFER LENGTH", 44, 4),
    whole("ATOMIC ALIGNMENT", 48, 4),
    whole("ATOMIC TRANSFER LENGTH GRANULARITY", 52, 4),
    whole("MAXIMUM ATOMIC TRANSFER LENGTH WITH ATOMIC BOUNDARY", 56, 4),
    whole("MAXIMUM ATOMIC BOUNDARY SIZE", 60, 4),
];

const BLOCK_DEVICE_CHARACTERISTICS: &[Field] = &[
    whole("MEDIUM ROTATION RATE", 4, 2),
    whole("PRODUCT TYPE", 6, 1),
    part("WABEREQ", 7, 6, 2),
    part("WACEREQ", 7, 4, 2),
    part("NOMINAL FORM FACTOR", 7, 0, 4),
    part("ZONED", 8, 4, 2),
    part("BOCS", 8, 2, 1),
    part("FUAB", 8, 1, 1),
    part("VBULS", 8, 0, 1),
    whole("DEPOPULATION TIME", 12, 4),
];

/// Decodes the fields of the Block Limits page from its body.
#[must_use]
pub(crate) fn block_limits(body: &[u8]) -> Vec<(&'static str, u64)> {
    read(BLOCK_LIMITS, body)
}

/// Decodes the fields of the Block Device Characteristics page from its body.
#[must_use]
pub(crate) fn block_device_characteristics(body: &[u8]) -> Vec<(&'static str, u64)> {
    read(BLOCK_DEVICE_CHARACTERISTICS, body)
}

fn read(fields: &[Field], body: &[u8]) -> Vec<(&'static str, u64)> {
    let value = |field: &Field| Some((field.name, field.read(body)?));
    fields.iter().filter_map(value).collect()
}

/// Bytes before the body: device type, page code, PAGE LENGTH.
const HEADER: usize = 4;

impl Field {
    /// The value of the field; `None` if the page ends before it.
    fn read(&self, body: &[u8]) -> Option<u64> {
        let first = self.first.checked_sub(HEADER)?;
        let bytes = body.get(first..first.checked_add(self.bytes)?)?;
        let number = bytes
            .iter()
            .fold(0, |n: u64, byte| n << 8 | u64::from(*byte));
        let mask = 1u64
            .checked_shl(self.bits)
            .map_or(u64::MAX, |above| above.saturating_sub(1));
        Some(number >> self.lowest_bit & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_their_places() {
        let mut body = vec![0; 60];
        body[0] = 0x01;
        body[1] = 7;
        body[4..8].copy_from_slice(&[0, 1, 0, 0]);
        body[28..32].copy_from_slice(&[0x80, 0, 0, 9]);
        body[32..40].copy_from_slice(&u64::MAX.to_be_bytes());
        let fields = block_limits(&body);
        let value = |name: &str| fields.iter().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!(value("WSNZ"), 1);
        assert_eq!(value("MAXIMUM COMPARE AND WRITE LENGTH"), 7);
        assert_eq!(value("MAXIMUM TRANSFER LENGTH"), 65536);
        assert_eq!(value("UGAVALID"), 1);
        assert_eq!(value("UNMAP GRANULARITY ALIGNMENT"), 9);
        assert_eq!(value("MAXIMUM WRITE SAME LENGTH"), u64::MAX);
        assert_eq!(fields.len(), BLOCK_LIMITS.len());
    }

    #[test]
    fn a_short_page_has_fewer_fields() {
        // The page as SBC-2 defines it: up to OPTIMAL TRANSFER LENGTH.
        assert_eq!(block_limits(&[0; 12]).len(), 5);
        assert!(block_limits(&[]).is_empty());
        let fields = block_device_characteristics(&[0x1c, 0x20, 0, 0x95, 0x12]);
        assert_eq!(
            fields,
            [
                ("MEDIUM ROTATION RATE", 7200),
                ("PRODUCT TYPE", 0),
                ("WABEREQ", 2),
                ("WACEREQ", 1),
                ("NOMINAL FORM FACTOR", 5),
                ("ZONED", 1),
                ("BOCS", 0),
                ("FUAB", 1),
                ("VBULS", 0),
            ]
        );
    }
}
