//! Patterns for INQUIRY strings: the grammar that claim rules and SATP rules share.
//!
//! ```text
//! *                          anything
//! ^120*   Pure*              begins with
//! inq_data[110]={0x70 0x6a}  these bytes at this offset of the standard INQUIRY data
//! anything else              equal
//! ```
//!
//! INQUIRY fields are padded with blanks at the end. The padding is not compared, on either side. Case matters.

use serde::Deserialize;
use serde::Serialize;
use std::fmt;

/// The longest vendor and product that fit into INQUIRY data, in bytes.
const LENGTHS: [(&str, usize); 2] = [("vendor", 8), ("model", 16)];

/// Remarks on patterns that no INQUIRY field can match because they are too long.
pub(crate) fn length_remarks(vendor: Option<&Pattern>, model: Option<&Pattern>) -> Vec<String> {
    LENGTHS
        .iter()
        .zip([vendor, model])
        .filter_map(|((what, limit), pattern)| {
            let text = pattern?.literal()?;
            (text.len() > *limit).then(|| {
                format!(
                    "{what} `{text}` has {} characters, but INQUIRY has only {limit}: it never matches; arrays report `{}`",
                    text.len(),
                    text.chars().take(*limit).collect::<String>()
                )
            })
        })
        .collect()
}

/// A pattern, with the text from which it was parsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Any,
    Equal,
    Beginning(String),
    Bytes { offset: usize, bytes: Vec<u8> },
}

impl Pattern {
    /// Matches anything.
    #[must_use]
    pub fn any() -> Pattern {
        Pattern {
            text: "*".to_owned(),
            kind: Kind::Any,
        }
    }

    /// Matches only this text.
    #[must_use]
    pub(crate) fn literally(text: &str) -> Pattern {
        Pattern {
            text: text.to_owned(),
            kind: Kind::Equal,
        }
    }

    /// Parses a pattern.
    ///
    /// # Errors
    /// What is wrong with the text, and how a pattern is written, as text for the user.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let text = text.trim_end_matches(' ');
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(format!(
                "`{}` contains the control character U+{:04X}, which no INQUIRY string contains",
                text.escape_debug(),
                u32::from(c)
            ));
        }
        let kind = if text == "*" {
            Kind::Any
        } else if let Some(rest) = text.strip_prefix("inq_data[") {
            bytes(rest).ok_or_else(|| {
                format!("`{text}` is not understood: write inq_data[110]={{0x70 0x6a}}")
            })?
        } else if let Some(beginning) = text.strip_suffix('*') {
            Kind::Beginning(beginning.strip_prefix('^').unwrap_or(beginning).to_owned())
        } else {
            Kind::Equal
        };
        Ok(Pattern {
            text: text.to_owned(),
            kind,
        })
    }

    /// Whether it matches everything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        match &self.kind {
            Kind::Any => true,
            Kind::Beginning(beginning) => beginning.is_empty(),
            _ => false,
        }
    }

    /// Whether the pattern matches `text`, which has no padding; `inquiry` is the standard INQUIRY data.
    #[must_use]
    pub fn fits(&self, text: &str, inquiry: &[u8]) -> bool {
        match &self.kind {
            Kind::Any => true,
            Kind::Equal => self.text == text,
            Kind::Beginning(beginning) => text.starts_with(beginning.as_str()),
            Kind::Bytes { offset, bytes } => inquiry
                .get(*offset..)
                .is_some_and(|rest| rest.starts_with(bytes)),
        }
    }

    /// Whether this pattern matches everything that `other` matches. `false` where that cannot be decided.
    #[must_use]
    pub fn covers(&self, other: &Pattern) -> bool {
        match (&self.kind, &other.kind) {
            _ if self.is_any() => true,
            (Kind::Equal, Kind::Equal) => self.text == other.text,
            (Kind::Beginning(mine), Kind::Equal) => other.text.starts_with(mine.as_str()),
            (Kind::Beginning(mine), Kind::Beginning(theirs)) => theirs.starts_with(mine.as_str()),
            (Kind::Bytes { .. }, Kind::Bytes { .. }) => self.kind == other.kind,
            _ => false,
        }
    }

    /// The text that has to be equal, or to be the beginning: the part with a limited length. `None` for bytes.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &self.kind {
            Kind::Any => Some(""),
            Kind::Equal => Some(&self.text),
            Kind::Beginning(beginning) => Some(beginning),
            Kind::Bytes { .. } => None,
        }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// `110]={0x70 0x6a}`
fn bytes(rest: &str) -> Option<Kind> {
    let (offset, rest) = rest.split_once(']')?;
    let list = rest.strip_prefix("={")?.strip_suffix('}')?;
    let bytes: Option<Vec<u8>> = list
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(|word| u8::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    let bytes = bytes.filter(|bytes| !bytes.is_empty())?;
    let offset: usize = offset.parse().ok()?;
    Some(Kind::Bytes { offset, bytes })
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Pattern, String> {
        Pattern::parse(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern).unwrap().fits(text, b"..pj")
    }

    #[test]
    fn patterns_match() {
        for (pattern, text) in [
            ("*", "anything"),
            ("*", ""),
            ("Pure*", "Pure Storage"),
            ("^120*", "1203"),
            ("^120*", "120"),
            ("VV", "VV"),
            ("VV   ", "VV"),
            ("inq_data[2]={0x70 0x6a}", "whatever"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("VV", "VVX"),
            ("vv", "VV"),
            ("^120*", "x120"),
            ("Pure*", "pure"),
            ("", "VV"),
            ("inq_data[3]={0x70}", ""),
            ("inq_data[9999]={0x70}", ""),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn invalid_patterns_are_refused() {
        for text in [
            "inq_data[x]={0x70}",
            "inq_data[1]={}",
            "inq_data[1]",
            "inq_data[1]={0x170}",
            "a\nb",
            "\x1b",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_cover_narrower_ones() {
        let covers = |a: &str, b: &str| {
            Pattern::parse(a)
                .unwrap()
                .covers(&Pattern::parse(b).unwrap())
        };
        assert!(covers("*", "x") && covers("^a*", "abc") && covers("a*", "^ab*"));
        assert!(!covers("x", "*") && !covers("ab*", "a*") && !covers("a", "b"));
    }
}
