//! Reads a TOML file of the admin leniently: everything that is valid takes effect.
//!
//! A mistake is reported with its line and the reason, is blanked out of the text in memory, and the rest is parsed
//! again. Mistakes are: a line that is not TOML, a key that this version does not know, a value of the wrong type. A
//! `[[table]]`, which is one rule, is blanked as a whole: the meaning of a rule without one of its keys is unknown. The
//! file itself is not changed.

use serde::de::DeserializeOwned;
use std::fmt;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Maximum number of mistakes; with this many, the whole file is ignored.
const MOST_MISTAKES: usize = 100;

/// A part of a file that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// The text of a file, without its mistakes.
pub(super) struct Document {
    text: String,
    /// The mistakes that were blanked.
    pub(super) mistakes: Vec<Mistake>,
}

impl Document {
    pub(super) fn new(text: &str) -> Document {
        Document {
            text: text.to_owned(),
            mistakes: Vec::new(),
        }
    }

    /// Deserializes the text; parts that are not understood are blanked.
    pub(super) fn take<T: DeserializeOwned + Default>(&mut self) -> T {
        loop {
            let error = match toml::from_str(&self.text) {
                Ok(taken) => return taken,
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..self.text.len());
            if !self.refuse(&span, error.message().to_owned()) {
                return T::default();
            }
        }
    }

    /// Notes a mistake and blanks the part of the text that contains it; `false` if the whole file is ignored any
    /// more.
    pub(super) fn refuse(&mut self, span: &Range<usize>, what: String) -> bool {
        self.mistakes.push(Mistake {
            line: self.line(span.start),
            what,
        });
        let span = self.extent(span);
        let goes_on = self.mistakes.len() < MOST_MISTAKES && self.blank(&span);
        if !goes_on {
            self.text.clear();
            self.mistakes.push(Mistake {
                line: self.line(span.start),
                what: "the whole file is ignored".to_owned(),
            });
        }
        goes_on
    }

    /// The line number of a byte offset, from 1.
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    /// Finds a key by the path of keys that leads to it.
    pub(super) fn find(&self, place: &[String]) -> Option<Range<usize>> {
        fn find(table: &DeTable<'_>, place: &[String]) -> Option<Range<usize>> {
            let (first, rest) = place.split_first()?;
            let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
            match (rest, value.get_ref()) {
                ([], _) => Some(key.span()),
                (_, DeValue::Table(inner)) => find(inner, rest),
                _ => None,
            }
        }
        find(DeTable::parse(&self.text).ok()?.get_ref(), place)
    }

    /// The extent of a mistake. If the mistake is a key, its value is included.
    fn extent(&self, span: &Range<usize>) -> Range<usize> {
        fn value_of(table: &DeTable<'_>, key: &Range<usize>) -> Option<usize> {
            table
                .iter()
                .find_map(|(name, value)| match value.get_ref() {
                    _ if name.span() == *key => Some(value.span().end),
                    DeValue::Table(inner) => value_of(inner, key),
                    _ => None,
                })
        }
        let table = DeTable::parse(&self.text);
        let end = table.ok().and_then(|table| value_of(table.get_ref(), span));
        // A mistake at the end of the file belongs to its last nonempty line.
        let start = span.start.min(self.text.trim_end().len().saturating_sub(1));
        start..end.unwrap_or(span.end).max(span.end).max(start + 1)
    }

    /// Blanks the lines of a mistake. Blanks the whole table if these lines contain its header, or if the table is a
    /// rule. Returns `false` if there was nothing to blank.
    fn blank(&mut self, span: &Range<usize>) -> bool {
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let is_head = |line: &str| line.trim_start().starts_with('[');
        let is_rule = |line: &str| line.trim_start().starts_with("[[");
        let mut hit = vec![false; lines.len()];
        let mut begin = 0;
        for (line, hit) in lines.iter().zip(&mut hit) {
            let end = begin + line.len();
            *hit = begin < span.end && span.start < end;
            begin = end;
        }
        // A table extends from its header to the next one.
        let heads = (0..lines.len()).filter(|n| lines.get(*n).is_some_and(|line| is_head(line)));
        let heads: Vec<usize> = heads.collect();
        for (n, head) in heads.iter().enumerate() {
            let next = heads.get(n + 1).copied().unwrap_or(lines.len());
            let Some(table) = hit.get_mut(*head..next) else {
                continue;
            };
            let rule = lines.get(*head).is_some_and(|line| is_rule(line));
            if table.first() == Some(&true) || rule && table.contains(&true) {
                table.fill(true);
            }
        }
        let mut any = false;
        let text = lines.iter().zip(&hit).map(|(line, hit)| {
            let bare = line.trim_end_matches(['\n', '\r']);
            if !hit {
                return (*line).to_owned();
            }
            any |= !bare.trim().is_empty();
            // Offsets of the following text must not change.
            let end = line.strip_prefix(bare).unwrap_or_default();
            " ".repeat(bare.len()) + end
        });
        self.text = text.collect();
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Example {
        number: u32,
        other: u32,
        table: BTreeMap<String, u32>,
        rule: Vec<BTreeMap<String, u32>>,
    }

    fn read(text: &str) -> (Example, Vec<String>) {
        let mut document = Document::new(text);
        let example = document.take();
        let mistakes = document.mistakes.iter().map(ToString::to_string).collect();
        (example, mistakes)
    }

    #[test]
    fn a_mistake_affects_nothing_else() {
        let rest = "\nother = 7\n[table]\na = 1\n[[rule]]\nb = 2\n[[rule]]\nc = 3\n";
        for first in [
            "number = = 5",
            "number = \"x\"",
            "number = -1",
            "number = 5 6",
            "number",
            "unknown = 1",
            "unknown = [\n 1,\n 2 ]",
            "unknown = { a = \"x\",\n b = 2 }",
            "number = \"\"\"\nx\ny\"\"\"",
            "\u{0} = 1",
            "[unknown]\na = 1\nb = 2\n[unknown.more]\nc = 1\n[other_table]",
        ] {
            let (first, rest) = match first.starts_with('[') {
                true => (
                    "other = 7".to_owned(),
                    format!("\n{first}{}", rest.trim_start_matches("\nother = 7")),
                ),
                false => (first.to_owned(), rest.to_owned()),
            };
            let (example, mistakes) = read(&(first.clone() + &rest));
            assert_eq!(example.other, 7, "{first:?}: {mistakes:?}");
            assert_eq!(example.table.len(), 1, "{first:?}: {mistakes:?}");
            assert_eq!(example.rule.len(), 2, "{first:?}: {mistakes:?}");
            assert!((1..=3).contains(&mistakes.len()), "{first:?}: {mistakes:?}");
        }
    }

    #[test]
    fn a_rule_is_dropped_as_a_whole() {
        let text = "[[rule]]\nb = 2\nx = \"new\"\n\n[[rule]]\nc = 3\n[[rule]]\nd = ]\n";
        let (example, mistakes) = read(text);
        let rule = |key: &str, value| BTreeMap::from([(key.to_owned(), value)]);
        assert_eq!(example.rule, [rule("c", 3)]);
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        assert!(
            mistakes.iter().any(|m| m.starts_with("line 3: ")),
            "{mistakes:?}"
        );
        assert!(
            mistakes.iter().any(|m| m.starts_with("line 8: ")),
            "{mistakes:?}"
        );
    }

    #[test]
    fn any_text_is_accepted() {
        for text in [
            "[",
            "]",
            "\"",
            "'''",
            "a = \"\"\"\nb = 1",
            "=\n=\n=",
            "\u{feff}",
            "[[[[",
            "[a]\n[a]\n[a]",
        ] {
            read(text);
        }
        let (example, mistakes) = read(&"= 1\n".repeat(10_000));
        assert_eq!(example, Example::default());
        assert!(mistakes.len() <= MOST_MISTAKES + 1);
    }
}
