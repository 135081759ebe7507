//! A bounds-checked big-endian reader, used by every parser in this module.
//!
//! SCSI is big-endian throughout (SPC-5, "Bit and byte ordering"). A reader knows the name of the field that it reads
//! and its offset in the whole reply, so every error says what was expected and where.

use std::fmt;

/// Why some bytes could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}, byte {offset}: {problem}")]
pub struct ParseError {
    /// The structure or field, as the standard names it.
    pub what: &'static str,
    /// Offset in the whole reply, in bytes from 0.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: ParseProblem,
}

/// What is wrong at the offset of a [`ParseError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseProblem {
    /// The data end too early.
    Truncated {
        /// Number of bytes needed from this offset on.
        needed: usize,
        /// Number of bytes available from this offset on.
        available: usize,
    },
    /// A value that is not allowed here.
    Unexpected {
        /// The value.
        found: u64,
        /// The values that are allowed.
        expected: &'static str,
    },
    /// A value that must be unique appears twice.
    Duplicate {
        /// The value.
        value: u64,
    },
    /// More entries than any real device sends.
    TooMany {
        /// The maximum number of entries accepted.
        limit: usize,
    },
}

impl fmt::Display for ParseProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseProblem::Truncated { needed, available } => {
                write!(f, "truncated: {needed} bytes needed, {available} present")
            }
            ParseProblem::Unexpected { found, expected } => {
                write!(f, "found {found:#x}, expected {expected}")
            }
            ParseProblem::Duplicate { value } => write!(f, "{value:#x} appears twice"),
            ParseProblem::TooMany { limit } => write!(f, "more than {limit} entries"),
        }
    }
}

/// The part of a structure that could be parsed, for display. Decisions use complete structures only
/// ([`Partly::whole`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partly<T> {
    /// What was parsed before `missing`.
    pub value: T,
    /// Where the parsed part ends in the whole reply, in bytes from 0.
    pub end: usize,
    /// The first error, if there is one.
    pub missing: Option<ParseError>,
}

impl<T> Partly<T> {
    /// The structure, if it is complete.
    ///
    /// # Errors
    /// The first error, otherwise.
    pub fn whole(self) -> Result<T, ParseError> {
        match self.missing {
            None => Ok(self.value),
            Some(error) => Err(error),
        }
    }
}

/// Reads fields from the front of a byte slice and never beyond its end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Creates a reader over a whole reply; `what` is the name that errors carry.
    #[must_use]
    pub fn new(what: &'static str, data: &'a [u8]) -> Reader<'a> {
        Reader {
            what,
            rest: data,
            offset: 0,
        }
    }

    /// The current offset in the whole reply, in bytes.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The bytes left to read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether no bytes are left to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Sets the name that errors carry from now on.
    pub(crate) fn entering(&mut self, what: &'static str) {
        self.what = what;
    }

    /// An error at the current offset.
    #[must_use]
    pub fn error(&self, problem: ParseProblem) -> ParseError {
        ParseError {
            what: self.what,
            offset: self.offset,
            problem,
        }
    }

    /// Reads the next `n` bytes.
    ///
    /// # Errors
    /// [`ParseProblem::Truncated`] if fewer are left; nothing is consumed then.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], ParseError> {
        match self.rest.split_at_checked(n) {
            Some((head, tail)) => {
                self.rest = tail;
                self.offset = self.offset.saturating_add(n);
                Ok(head)
            }
            None => Err(self.error(ParseProblem::Truncated {
                needed: n,
                available: self.rest.len(),
            })),
        }
    }

    /// Reads the next `N` bytes as an array.
    ///
    /// # Errors
    /// Same as [`Reader::bytes`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let mut out = [0; N];
        for (slot, byte) in out.iter_mut().zip(self.bytes(N)?) {
            *slot = *byte;
        }
        Ok(out)
    }

    /// Reads the next `n` bytes, or all that are left if there are fewer. In that case the error is stored in
    /// `missing`, unless it already holds an earlier one.
    pub(crate) fn up_to(&mut self, n: usize, missing: &mut Option<ParseError>) -> &'a [u8] {
        match self.bytes(n) {
            Ok(bytes) => bytes,
            Err(error) => {
                missing.get_or_insert(error);
                let left = self.rest;
                self.offset = self.offset.saturating_add(left.len());
                self.rest = &[];
                left
            }
        }
    }

    /// Like [`Reader::part`], but takes all bytes that are left if there are fewer than `n`, as [`Reader::up_to`] does.
    pub(crate) fn part_up_to(&mut self, n: usize, missing: &mut Option<ParseError>) -> Reader<'a> {
        let offset = self.offset;
        Reader {
            what: self.what,
            rest: self.up_to(n, missing),
            offset,
        }
    }

    /// Skips `n` bytes.
    ///
    /// # Errors
    /// Same as [`Reader::bytes`].
    pub fn skip(&mut self, n: usize) -> Result<(), ParseError> {
        self.bytes(n).map(|_| ())
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// Same as [`Reader::bytes`].
    pub fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Reads two bytes, most significant first.
    ///
    /// # Errors
    /// Same as [`Reader::bytes`].
    pub fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads four bytes, most significant first.
    ///
    /// # Errors
    /// Same as [`Reader::bytes`].
    pub fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads eight bytes, most significant first.
    ///
    /// # Errors
    /// Same as [`Reader::bytes`].
    pub fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Returns a reader limited to the next `n` bytes and skips them in this one: for a part that has a length field of
    /// its own. Offsets in the new reader still count from the start of the whole reply.
    ///
    /// # Errors
    /// Same as [`Reader::bytes`].
    pub fn part(&mut self, n: usize) -> Result<Reader<'a>, ParseError> {
        let offset = self.offset;
        Ok(Reader {
            what: self.what,
            rest: self.bytes(n)?,
            offset,
        })
    }
}

/// The text of an ASCII data field (SPC-5), safe to log and to compare: bytes outside of 20h..7Eh become `?`, so that
/// no control characters and no invalid UTF-8 pass. The text is as long as the field.
#[must_use]
pub(crate) fn ascii(field: &[u8]) -> String {
    field
        .iter()
        .map(|&b| match b {
            0x20..=0x7e => char::from(b),
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_big_endian_and_counts() {
        let mut r = Reader::new("X", &[1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 9]);
        assert_eq!(r.u8(), Ok(1));
        assert_eq!(r.u16(), Ok(2));
        assert_eq!(r.u32(), Ok(3));
        assert_eq!(r.u64(), Ok(4));
        assert_eq!((r.offset(), r.rest()), (15, &[9][..]));
        assert!(!r.is_empty());
    }

    #[test]
    fn a_short_field_is_named_and_nothing_is_consumed() {
        let mut r = Reader::new("HEADER", &[1, 2, 3]);
        r.skip(1).unwrap();
        r.entering("LENGTH");
        let error = r.u32().unwrap_err();
        assert_eq!(
            error.to_string(),
            "LENGTH, byte 1: truncated: 4 bytes needed, 2 present"
        );
        assert_eq!(r.u16(), Ok(0x0203));
    }

    #[test]
    fn a_part_ends_where_its_length_says() {
        let mut r = Reader::new("WHOLE", &[0, 1, 2, 3, 4]);
        r.skip(1).unwrap();
        let mut part = r.part(2).unwrap();
        assert_eq!(part.u16(), Ok(0x0102));
        assert_eq!(part.u8().unwrap_err().offset, 3);
        assert_eq!(r.u8(), Ok(3));
        assert!(r.part(2).is_err());
    }

    #[test]
    fn ascii_replaces_control_characters() {
        assert_eq!(ascii(b"A b\x1b[2J\0\xc3\xa9"), "A b?[2J???");
    }
}
