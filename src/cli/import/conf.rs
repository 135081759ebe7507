//! Parses multipath.conf: sections in braces, and one keyword with its value per line.
//!
//! ```text
//! defaults {
//!     polling_interval 5        # or: "5"
//! }
//! devices {
//!     device {
//!         vendor "IBM"          ! a comment too
//! ```
//!
//! Outside of quotes `#` and `!` begin a comment, and any character outside of ASCII separates words. Inside quotes
//! these characters are literal, and `""` is a quote. Each line is parsed separately: a `{` belongs to the name of a
//! section, and anything after it on the line is ignored.
//!
//! A file is never rejected because of its braces and quotes. multipath-tools prints warnings and continues, and the
//! host runs with the result. Therefore each of its warnings is a [`Note`] here, and the sections and keywords are
//! those that multipath-tools gets. In particular, an unknown section does not count as a section: its lines belong to
//! the enclosing section, and its `}` ends the enclosing section.

use super::report::Outcome;
use crate::cli::typography;
use std::fmt;

/// The maximum number of lines: one for each device that Linux supports, and some more.
const LINES: usize = 50_000;

/// A keyword with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyword {
    /// Its line, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value, without quotes; `None` if there is none.
    pub value: Option<String>,
    /// Words after the value, which are ignored.
    pub extra: Vec<String>,
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| {
            // An empty value would be invisible.
            let quote = if value.is_empty() { "\"\"" } else { "" };
            write!(f, " {quote}{value}")
        })
    }
}

/// A section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Section {
    /// The line that opens it, from 1.
    pub line: usize,
    /// Its name; empty for the whole file.
    pub name: String,
    /// Its keywords in order.
    pub keywords: Vec<Keyword>,
    /// The sections in it in order.
    pub sections: Vec<Section>,
}

/// A warning of multipath-tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// Its line, from 1.
    pub line: usize,
    /// The text in the file.
    pub text: String,
    /// [`Outcome::Refused`] if a keyword or a section is lost, [`Outcome::LeftOut`] if nothing is lost.
    pub outcome: Outcome,
    /// How multipath-tools interprets it.
    pub what: String,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct File {
    /// The whole file as a section without a name.
    pub whole: Section,
    /// The warnings, in order.
    pub notes: Vec<Note>,
}

/// The sections that multipath-tools knows within a section. `devnode_blacklist` was the name of `blacklist` until
/// 2005; no release in use reads it, but its braces are balanced.
fn inner(section: &str) -> &'static [&'static str] {
    match section {
        "" => &[
            "defaults",
            "blacklist",
            "blacklist_exceptions",
            "devices",
            "multipaths",
            "overrides",
            "devnode_blacklist",
        ],
        "devices" | "blacklist" | "blacklist_exceptions" => &["device"],
        "multipaths" => &["multipath"],
        "overrides" => &["protocol"],
        _ => &[],
    }
}

/// Names that open a section with or without a brace after them, in any position.
const OPEN_ANYHOW: [&str; 7] = [
    "defaults",
    "blacklist",
    "blacklist_exceptions",
    "devices",
    "device",
    "multipaths",
    "multipath",
];

/// A token of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quote,
    Open,
    Close,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Token::Word(word) => word,
            Token::Quote => "\"",
            Token::Open => "{",
            Token::Close => "}",
        })
    }
}

fn words(tokens: &[Token]) -> String {
    let words: Vec<String> = tokens.iter().map(ToString::to_string).collect();
    words.join(" ")
}

/// Parses a file; its first line gets the number `first`.
///
/// # Errors
/// The file has more lines than any host needs.
pub(super) fn parse(text: &str, first: usize) -> Result<File, String> {
    let mut reader = Reader {
        open: vec![Section::default()],
        notes: Vec::new(),
    };
    for (at, text) in text.lines().enumerate() {
        if at >= LINES {
            return Err(format!(
                "line {}: a multipath.conf has at most {LINES} lines",
                at + 1
            ));
        }
        reader.line(first + at, text);
    }
    Ok(reader.finish())
}

struct Reader {
    /// The open sections, from the whole file inwards.
    open: Vec<Section>,
    notes: Vec<Note>,
}

impl Reader {
    fn note(&mut self, line: usize, text: &str, outcome: Outcome, what: impl Into<String>) {
        self.notes.push(Note {
            line,
            text: text.trim().to_owned(),
            outcome,
            what: what.into(),
        });
    }

    fn line(&mut self, line: usize, whole: &str) {
        // For multipath-tools, a line ends at the first carriage return or line feed.
        let (text, rest) = whole.split_once('\r').unwrap_or((whole, ""));
        if !rest.trim().is_empty() {
            let what = "multipath-tools reads a line only up to a carriage return";
            self.note(line, rest, Outcome::Refused, what);
        }
        let tokens = tokens(text);
        if let Some(character) = separating(text) {
            let what = format!("{character} outside quotes separates words");
            self.note(line, text, Outcome::LeftOut, what);
        }
        match tokens.as_slice() {
            [] => {}
            [Token::Close, rest @ ..] => {
                self.ignored(line, rest, "`}`");
                self.close(line);
            }
            [Token::Open, rest @ ..] => {
                let what = "multipath-tools ignores a line that begins with `{`";
                // A section that opens without a brace is open already.
                let outcome = if rest.is_empty() {
                    Outcome::LeftOut
                } else {
                    Outcome::Refused
                };
                self.note(line, text, outcome, what);
            }
            [Token::Word(name), rest @ ..] => self.named(line, name, rest, text),
            [Token::Quote, ..] => {
                let what =
                    "the name of a keyword must not be quoted: multipath-tools ignores the line";
                self.note(line, text, Outcome::Refused, what);
            }
        }
    }

    /// Adds a note about text after the meaningful part of a line.
    fn ignored(&mut self, line: usize, rest: &[Token], behind: &str) {
        if !rest.is_empty() {
            // An extra brace is only layout, not a keyword.
            let is_layout = rest.iter().all(|token| *token == Token::Close);
            let outcome = if is_layout {
                Outcome::LeftOut
            } else {
                Outcome::Refused
            };
            let what = format!("multipath-tools ignores text after {behind} on a line");
            self.note(line, &words(rest), outcome, what);
        }
    }

    fn close(&mut self, line: usize) {
        if self.open.len() > 1 {
            if let Some(closed) = self.open.pop()
                && let Some(outer) = self.open.last_mut()
            {
                outer.sections.push(closed);
            }
        } else {
            let what = "no section is open: multipath-tools ignores it";
            self.note(line, "}", Outcome::LeftOut, what);
        }
    }

    fn named(&mut self, line: usize, name: &str, rest: &[Token], text: &str) {
        let outer = self.open.last().map_or("", |section| section.name.as_str());
        let outer = outer.to_owned();
        let anyhow = OPEN_ANYHOW.contains(&name);
        let has_brace = rest.first() == Some(&Token::Open);
        if inner(&outer).contains(&name) && (anyhow || has_brace) {
            match rest {
                [] => {
                    let what = "`{` is missing after it: multipath-tools opens the section anyway";
                    self.note(line, text, Outcome::LeftOut, what);
                }
                [Token::Open, rest @ ..] => self.ignored(line, rest, "`{`"),
                rest => {
                    let what = format!(
                        "expected `{{`, found `{}`: multipath-tools opens the section and ignores the text",
                        words(rest)
                    );
                    self.note(line, text, Outcome::Refused, what);
                }
            }
            self.open.push(Section {
                line,
                name: name.to_owned(),
                ..Section::default()
            });
            return;
        }
        if inner(&outer).contains(&name) {
            let what = "multipath-tools opens this section only if `{` is on the same line; otherwise it reads the content as keywords of the enclosing section";
            self.note(line, text, Outcome::Refused, what);
            return;
        }
        if anyhow || has_brace {
            let what = match (outer.as_str(), anyhow) {
                ("", _) => "multipath-tools has no such section: it reads the content as keywords outside any section, which it ignores".to_owned(),
                (outer, true) => format!("it is not allowed in section {outer}, whose `}}` is missing: multipath-tools reads the content as keywords of {outer}"),
                (outer, false) => format!("it is not allowed in section {outer}: multipath-tools reads the content as keywords of {outer}, and its `}}` ends {outer}"),
            };
            self.note(line, text, Outcome::Refused, what);
            return;
        }
        self.keyword(line, name, rest, text);
    }

    fn keyword(&mut self, line: usize, name: &str, rest: &[Token], text: &str) {
        let unclosed =
            "the quote is not closed: the value extends to the end of the line, comments included";
        let (value, extra): (Option<String>, &[Token]) = match rest {
            [] => (None, &[]),
            [Token::Quote] => {
                self.note(line, text, Outcome::LeftOut, unclosed);
                (Some(String::new()), &[])
            }
            [Token::Quote, Token::Quote, extra @ ..] => (Some(String::new()), extra),
            [Token::Quote, Token::Word(value), rest @ ..] => {
                if rest.is_empty() {
                    self.note(line, text, Outcome::LeftOut, unclosed);
                }
                (Some(value.clone()), rest.get(1..).unwrap_or_default())
            }
            [value, extra @ ..] => (Some(value.to_string()), extra),
        };
        if let Some(section) = self.open.last_mut() {
            section.keywords.push(Keyword {
                line,
                name: name.to_owned(),
                value,
                extra: extra.iter().map(ToString::to_string).collect(),
            });
        }
    }

    fn finish(mut self) -> File {
        while let [_, .., inner] = self.open.as_slice() {
            let (line, name) = (inner.line, inner.name.clone());
            let what = "its `}` is missing: it ends with the file";
            self.note(line, &name, Outcome::LeftOut, what);
            self.close(line);
        }
        File {
            whole: self.open.pop().unwrap_or_default(),
            notes: self.notes,
        }
    }
}

/// The tokens of a line.
fn tokens(line: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '#' | '!' => break,
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            '"' => {
                tokens.push(Token::Quote);
                let mut text = String::new();
                let mut closed = false;
                while let Some(c) = chars.next() {
                    if c == '"' && chars.next_if_eq(&'"').is_none() {
                        closed = true;
                        break;
                    }
                    text.push(c);
                }
                if !text.is_empty() {
                    tokens.push(Token::Word(text));
                }
                if closed {
                    tokens.push(Token::Quote);
                }
            }
            c if is_blank(c) => {}
            c => {
                let mut word = c.to_string();
                let is_more = |c: &char| !is_blank(*c) && !"\"#!{}".contains(*c);
                while let Some(c) = chars.next_if(is_more) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}

/// Whether a character separates words.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || !c.is_ascii()
}

/// Describes the first character outside of quotes and comments that separates words unintentionally.
fn separating(line: &str) -> Option<String> {
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' | '!' if !quoted => return None,
            c if !quoted && !c.is_ascii() && !c.is_whitespace() => {
                let text = c.to_string();
                let name = typography::found(&text);
                return Some(name.unwrap_or_else(|| format!("`{c}`, which is not ASCII,")));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> Vec<String> {
        let parsed = parse(line, 1).unwrap();
        assert_eq!(parsed.notes, [], "{line}");
        let keyword = &parsed.whole.keywords[0];
        let value = keyword.value.clone().into_iter();
        value.chain(keyword.extra.clone()).collect()
    }

    #[test]
    fn values_and_comments() {
        for (line, wanted) in [
            ("key value # c", vec!["value"]),
            ("key value!c", vec!["value"]),
            ("key value\r\n", vec!["value"]),
            ("key \"a # b ! { }\"", vec!["a # b ! { }"]),
            ("key\"v\"", vec!["v"]),
            ("key \"2.5\"\" SSD\"", vec!["2.5\" SSD"]),
            ("key \"\"\"\"", vec!["\""]),
            ("key \"\"", vec![""]),
            ("key \" a \"", vec![" a "]),
            ("key \"ä\" # ü", vec!["ä"]),
            ("\tkey round-robin 0", vec!["round-robin", "0"]),
            ("key \"a\" \"b\"", vec!["a", "\"", "b", "\""]),
            ("key }", vec!["}"]),
            ("key", vec![]),
        ] {
            assert_eq!(values(line), wanted, "{line}");
        }
        assert_eq!(parse("# x\n\n  ! y {\n", 1).unwrap(), File::default());
    }

    #[test]
    fn sections() {
        let text = "devices{\n device {\n  vendor X\n }\n}\ndefaults {\n}\n";
        let file = parse(text, 1).unwrap().whole;
        let names: Vec<&str> = file.sections.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["devices", "defaults"]);
        let device = &file.sections[0].sections[0];
        assert_eq!((device.line, device.keywords[0].line), (2, 3));
    }

    /// The sections and keywords as one line: `defaults(polling_interval) blacklist()`.
    fn shape(section: &Section) -> String {
        let keywords = section.keywords.iter().map(ToString::to_string);
        let sections = section.sections.iter();
        let sections = sections.map(|inner| format!("{}({})", inner.name, shape(inner)));
        keywords.chain(sections).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_that_multipath_tools_warns_about_are_read_like_there() {
        use Outcome::{LeftOut, Refused};
        for (text, wanted, notes) in [
            (
                "defaults\n{\n a 1\n}\n",
                "defaults(a 1)",
                &[(1, LeftOut, "`{` is missing"), (2, LeftOut, "begins with")][..],
            ),
            (
                "defaults {\n a 1\n}\n}\nblacklist {\n wwid 3\n}\n",
                "defaults(a 1) blacklist(wwid 3)",
                &[(4, LeftOut, "no section is open")],
            ),
            (
                "defaults { a 1 }\n",
                "defaults()",
                &[
                    (1, Refused, "after `{`"),
                    (1, LeftOut, "ends with the file"),
                ],
            ),
            (
                "defaults { a 1 }\nb 2\n}\nblacklist {\n}\n",
                "defaults(b 2) blacklist()",
                &[(1, Refused, "after `{`")],
            ),
            ("defaults {\n a 1 }\n b 2\n}\n", "defaults(a 1 b 2)", &[]),
            (
                "defaults {\n a 1\nblacklist {\n wwid 3\n}\n}\n",
                "defaults(a 1 wwid 3)",
                &[
                    (3, Refused, "whose `}` is missing"),
                    (6, LeftOut, "no section is open"),
                ],
            ),
            (
                "devices {\n device {\n  vendor A\n device {\n  vendor B\n }\n}\n",
                "devices(device(vendor A vendor B))",
                &[(4, Refused, "whose `}` is missing")],
            ),
            (
                "defaults {\n foo {\n  x 1\n }\n a 1\n}\n",
                "a 1 defaults(x 1)",
                &[
                    (2, Refused, "its `}` ends defaults"),
                    (6, LeftOut, "no section is open"),
                ],
            ),
            (
                "default {\n a 1\n}\n",
                "a 1",
                &[
                    (1, Refused, "no such section"),
                    (3, LeftOut, "no section is open"),
                ],
            ),
            (
                "overrides\n{\n a 1\n}\n",
                "a 1",
                &[
                    (1, Refused, "on the same line"),
                    (2, LeftOut, "begins with"),
                    (4, LeftOut, "no section is open"),
                ],
            ),
            (
                "defaults {\n a \"b # c\n}\n",
                "defaults(a b # c)",
                &[(2, LeftOut, "quote is not closed")],
            ),
            (
                "defaults {\n a \"\n}\n",
                "defaults(a \"\")",
                &[(2, LeftOut, "quote is not closed")],
            ),
            (
                "defaults {\n a “b”\n}\n",
                "defaults(a b)",
                &[(2, LeftOut, "a curly quote (U+201C)")],
            ),
            (
                "defaults {\n \"a\" b\n} }\n",
                "defaults()",
                &[
                    (2, Refused, "must not be quoted"),
                    (3, LeftOut, "after `}`"),
                ],
            ),
            (
                "defaults = {\n a 1\n}\n",
                "defaults(a 1)",
                &[(1, Refused, "`= {`")],
            ),
            (
                "defaults {\n a 1\rb 2\n}\n",
                "defaults(a 1)",
                &[(2, Refused, "carriage return")],
            ),
            (
                "defaults {\n a 1\n",
                "defaults(a 1)",
                &[(1, LeftOut, "ends with the file")],
            ),
            (
                "devnode_blacklist {\n devnode sda\n}\n",
                "devnode_blacklist(devnode sda)",
                &[],
            ),
        ] {
            let file = parse(text, 1).unwrap();
            assert_eq!(shape(&file.whole), wanted, "{text}");
            let remark: Vec<_> = file.notes.iter().map(|n| (n.line, n.outcome)).collect();
            let lines: Vec<_> = notes.iter().map(|(line, o, _)| (*line, *o)).collect();
            assert_eq!(remark, lines, "{text}: {:#?}", file.notes);
            for (note, (_, _, part)) in file.notes.iter().zip(notes) {
                assert!(note.what.contains(part), "{text}: {note:?}");
            }
        }
        assert!(parse(&"\n".repeat(LINES + 1), 1).is_err());
    }
}
