//! Reads a line of the kernel word by word; used by the parsers of table and status.

use std::fmt;
use std::str::{FromStr, SplitAsciiWhitespace};

/// Why a line of the kernel could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("word {position}: expected {expected}, found {found}")]
pub struct ParseError {
    /// The number of the word, from 1.
    pub position: usize,
    /// What was expected.
    pub expected: &'static str,
    /// What was found.
    pub found: Found,
}

/// What was found at the position of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A word.
    Word(String),
    /// The end of the line.
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Word(word) => write!(f, "`{word}`"),
            Found::End => f.write_str("the end of the line"),
        }
    }
}

/// The words that are still to be read, and the number of words read.
pub(super) struct Words<'a> {
    rest: SplitAsciiWhitespace<'a>,
    read: usize,
}

impl<'a> Words<'a> {
    pub(super) fn of(line: &'a str) -> Self {
        Words {
            rest: line.split_ascii_whitespace(),
            read: 0,
        }
    }

    /// The next word; `expected` is used in the error.
    pub(super) fn word(&mut self, expected: &'static str) -> Result<&'a str, ParseError> {
        self.read = self.read.saturating_add(1);
        self.rest.next().ok_or(ParseError {
            position: self.read,
            expected,
            found: Found::End,
        })
    }

    /// The next word, parsed as a value.
    pub(super) fn value<T: FromStr>(&mut self, expected: &'static str) -> Result<T, ParseError> {
        let word = self.word(expected)?;
        word.parse().map_err(|_| self.wrong(expected, word))
    }

    /// The next `count` words.
    pub(super) fn take(
        &mut self,
        count: u32,
        expected: &'static str,
    ) -> Result<Vec<String>, ParseError> {
        (0..count)
            .map(|_| self.word(expected).map(str::to_owned))
            .collect()
    }

    /// A count, followed by that many words.
    pub(super) fn counted(
        &mut self,
        count: &'static str,
        each: &'static str,
    ) -> Result<Vec<String>, ParseError> {
        let n = self.value(count)?;
        self.take(n, each)
    }

    /// The error for the word that was read last.
    pub(super) fn wrong(&self, expected: &'static str, word: &str) -> ParseError {
        ParseError {
            position: self.read,
            expected,
            found: Found::Word(word.to_owned()),
        }
    }

    /// Checks that no words are left.
    pub(super) fn end(mut self) -> Result<(), ParseError> {
        match self.rest.next() {
            None => Ok(()),
            Some(word) => {
                self.read = self.read.saturating_add(1);
                Err(self.wrong("the end of the line", word))
            }
        }
    }
}
