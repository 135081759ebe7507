//! Parses READ CAPACITY (16) parameter data (SBC-4, READ CAPACITY (16) command).

use super::reader::{ParseError, ParseProblem, Reader};
use serde::{Deserialize, Serialize};

/// The size of a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capacity {
    /// RETURNED LOGICAL BLOCK ADDRESS: the address of the last block, one less than the number of blocks.
    pub last_lba: u64,
    /// LOGICAL BLOCK LENGTH IN BYTES.
    pub block_length: u32,
    /// LBPME: the logical unit is thin provisioned (blocks are allocated when they are written).
    pub thin: bool,
}

impl Capacity {
    /// Parses the parameter data. SBC-2 devices send only the first twelve bytes; `thin` is `false` for them.
    ///
    /// # Errors
    /// Fewer than twelve bytes, or a block length of zero.
    pub fn parse(data: &[u8]) -> Result<Capacity, ParseError> {
        let mut r = Reader::new("RETURNED LOGICAL BLOCK ADDRESS", data);
        let last_lba = r.u64()?;
        r.entering("LOGICAL BLOCK LENGTH IN BYTES");
        let at_length = r.clone();
        let block_length = r.u32()?;
        if block_length == 0 {
            return Err(at_length.error(ParseProblem::Unexpected {
                found: 0,
                expected: "a length",
            }));
        }
        let thin = r.rest().get(2).is_some_and(|byte| byte & 0x80 != 0);
        Ok(Capacity {
            last_lba,
            block_length,
            thin,
        })
    }

    /// The size in sectors of 512 bytes. `None` if the block length is not a multiple of 512 (a disk formatted with 520
    /// byte blocks) or if the number of sectors exceeds 2^64 - 1.
    #[must_use]
    pub fn sectors_of_512(self) -> Option<u64> {
        let blocks = u128::from(self.last_lba).checked_add(1)?;
        let bytes = blocks.checked_mul(u128::from(self.block_length))?;
        if !self.block_length.is_multiple_of(512) {
            return None;
        }
        u64::try_from(bytes.checked_div(512)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(last: u64, length: u32, byte14: u8) -> Vec<u8> {
        let mut data = last.to_be_bytes().to_vec();
        data.extend(length.to_be_bytes());
        data.extend([0, 0, byte14]);
        data.resize(32, 0);
        data
    }

    #[test]
    fn sizes() {
        let of = |last, length| Capacity::parse(&data(last, length, 0)).unwrap();
        assert_eq!(of(131_071, 512).sectors_of_512(), Some(131_072));
        assert_eq!(of(131_071, 4096).sectors_of_512(), Some(1_048_576));
        assert_eq!(of(131_071, 520).sectors_of_512(), None);
        assert_eq!(of(u64::MAX, 512).sectors_of_512(), None);
        assert_eq!(of(u64::MAX, u32::MAX).sectors_of_512(), None);
        assert_eq!(of(u64::MAX - 1, 512).sectors_of_512(), Some(u64::MAX));
        assert!(!of(1, 512).thin);
        assert!(Capacity::parse(&data(1, 512, 0x80)).unwrap().thin);
    }

    #[test]
    fn short_and_senseless_data() {
        let whole = data(9, 512, 0x80);
        let twelve = Capacity::parse(&whole[..12]).unwrap();
        assert_eq!((twelve.last_lba, twelve.thin), (9, false));
        assert!(Capacity::parse(&whole[..11]).is_err());
        assert_eq!(
            Capacity::parse(&data(9, 0, 0)).unwrap_err().to_string(),
            "LOGICAL BLOCK LENGTH IN BYTES, byte 8: found 0x0, expected a length"
        );
    }
}
