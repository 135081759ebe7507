//! Variable-length numbers: seven bits per byte, least significant first; the top bit says that another byte follows.

/// Writes a number.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front. Returns `None` if the bytes end before the number does.
///
/// # Errors
/// The number is longer than 64 bits.
pub(super) fn take(from: &mut &[u8]) -> Result<Option<u64>, &'static str> {
    let mut number = 0_u64;
    for (n, byte) in from.iter().enumerate() {
        if n > 9 || (n == 9 && *byte > 1) {
            return Err("a number is longer than 64 bits");
        }
        number |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            *from = &from[n + 1..];
            return Ok(Some(number));
        }
    }
    if from.len() > 9 {
        return Err("a number is longer than 64 bits");
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in [0, 1, 127, 128, 300, 1 << 32, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, number);
            let mut rest = out.as_slice();
            assert_eq!(take(&mut rest), Ok(Some(number)));
            assert!(rest.is_empty());
            let mut cut = &out[..out.len() - 1];
            assert_eq!(take(&mut cut), Ok(None));
        }
        assert!(take(&mut [0xff; 12].as_slice()).is_err());
    }
}
