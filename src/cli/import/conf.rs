//! The grammar of multipath.conf: sections in braces, a keyword and its value on a line.
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
//! Outside of quotes `#` and `!` begin a comment; inside, they stand for themselves, and `""` is a quote. A `{` ends
//! the line that names the section, a `}` has its line to itself. Where multipath-tools warns of a brace or a quote
//! and goes on with something else than what was meant, this is an error.

use crate::cli::typography;
use std::fmt;

/// Sections within sections: `devices` holds `device`, `overrides` holds `protocol`, and nothing goes deeper.
const DEEPEST: usize = 2;

/// The sections that stand in no other.
const OUTERMOST: [&str; 6] = [
    "defaults",
    "blacklist",
    "blacklist_exceptions",
    "devices",
    "multipaths",
    "overrides",
];

/// The most lines: one for each device of a host that has as many as Linux takes, and some.
const LINES: usize = 50_000;

/// A keyword with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyword {
    /// Its line, from 1.
    pub line: usize,
    /// Its name.
    pub name: String,
    /// Its value, without quotes; `None` if there is none.
    pub value: Option<String>,
    /// What stands behind the value, and counts for nothing.
    pub extra: Vec<String>,
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| {
            // An empty value would not be seen.
            let quote = if value.is_empty() { "\"\"" } else { "" };
            write!(f, " {quote}{value}")
        })
    }
}

/// A section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// The line that opens it, from 1.
    pub line: usize,
    /// Its name; empty for the whole file.
    pub name: String,
    /// Its keywords in order.
    pub keywords: Vec<Keyword>,
    /// The sections in it in order.
    pub sections: Vec<Section>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Wrong {
    /// In which line, from 1.
    pub line: usize,
    /// What, and the mend.
    pub what: String,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
}

/// Reads a file.
///
/// # Errors
/// The first brace or quote that is wrong.
pub fn parse(text: &str) -> Result<Section, Wrong> {
    // The sections that are open, the whole file first.
    let mut open = vec![Section::default()];
    for (at, text) in text.lines().enumerate() {
        let line = at + 1;
        let wrong = |what: &str| Wrong {
            line,
            what: what.to_owned(),
        };
        if line > LINES {
            return Err(wrong("no multipath.conf is as long as this one"));
        }
        let tokens = tokens(text).map_err(wrong)?;
        for token in &tokens {
            if let Token::Word(word) = token
                && let Some(found) = typography::found(word)
            {
                return Err(wrong(&format!("{found}, in `{word}`: write it anew")));
            }
        }
        match tokens.as_slice() {
            [] => {}
            [Token::Close] => {
                let closed = open.pop();
                match (closed, open.last_mut()) {
                    (Some(closed), Some(outer)) => outer.sections.push(closed),
                    _ => return Err(wrong("this `}` closes nothing: no section is open")),
                }
            }
            [Token::Close, ..] => return Err(wrong("`}` has to have its line to itself")),
            [Token::Word(name), Token::Open] => {
                let within = open.last().filter(|_| open.len() > 1);
                let missing = OUTERMOST.contains(&name.as_str()) || open.len() > DEEPEST;
                if let Some(outer) = within.filter(|_| missing) {
                    let (outer, at) = (&outer.name, outer.line);
                    return Err(wrong(&format!(
                        "section `{name}` begins within `{outer}` of line {at}: a `}}` is missing before it"
                    )));
                }
                open.push(Section {
                    line,
                    name: name.clone(),
                    ..Section::default()
                });
            }
            [Token::Open, ..] => {
                return Err(wrong("`{` has to stand behind the name of its section"));
            }
            [Token::Word(_), Token::Open, ..] => {
                return Err(wrong("`{` has to end its line: put the rest on the next"));
            }
            [Token::Word(name), rest @ ..] => {
                let mut words = Vec::new();
                for token in rest {
                    match token {
                        Token::Word(word) => words.push(word.clone()),
                        Token::Open | Token::Close => {
                            return Err(wrong(
                                "a brace behind a value: put it on a line of its own, or the value in quotes",
                            ));
                        }
                    }
                }
                let mut words = words.into_iter();
                if let Some(section) = open.last_mut() {
                    section.keywords.push(Keyword {
                        line,
                        name: name.clone(),
                        value: words.next(),
                        extra: words.collect(),
                    });
                }
            }
        }
    }
    let inner = open.pop().unwrap_or_default();
    if open.is_empty() {
        return Ok(inner);
    }
    Err(Wrong {
        line: inner.line,
        what: format!(
            "section `{}` is never closed: a `}}` is missing",
            inner.name
        ),
    })
}

/// The pieces of a line.
fn tokens(line: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '#' | '!' => break,
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            '"' => {
                let mut text = String::new();
                loop {
                    match chars.next() {
                        Some('"') if chars.next_if_eq(&'"').is_some() => text.push('"'),
                        Some('"') => break,
                        Some(c) => text.push(c),
                        None => return Err("this quote is not closed on its line"),
                    }
                }
                tokens.push(Token::Word(text));
            }
            c if c.is_whitespace() => {}
            c => {
                let mut word = c.to_string();
                let is_more = |c: &char| !c.is_whitespace() && !"\"#!{}".contains(*c);
                while let Some(c) = chars.next_if(is_more) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> Vec<String> {
        let parsed = parse(line).unwrap();
        let keyword = &parsed.keywords[0];
        let value = keyword.value.clone().into_iter();
        value.chain(keyword.extra.clone()).collect()
    }

    #[test]
    fn values_and_comments() {
        for (line, wanted) in [
            ("key value # c", vec!["value"]),
            ("key value!c", vec!["value"]),
            ("key \"a # b ! { }\"", vec!["a # b ! { }"]),
            ("key\"v\"", vec!["v"]),
            ("key \"2.5\"\" SSD\"", vec!["2.5\" SSD"]),
            ("key \"\"\"\"", vec!["\""]),
            ("key \"\"", vec![""]),
            ("key \" a \"", vec![" a "]),
            ("\tkey round-robin 0", vec!["round-robin", "0"]),
            ("key", vec![]),
        ] {
            assert_eq!(values(line), wanted, "{line}");
        }
        assert_eq!(parse("# x\n\n  ! y {\n").unwrap(), Section::default());
    }

    #[test]
    fn sections() {
        let text = "devices{\n device {\n  vendor X\n }\n}\ndefaults {\n}\n";
        let file = parse(text).unwrap();
        let names: Vec<&str> = file.sections.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["devices", "defaults"]);
        let device = &file.sections[0].sections[0];
        assert_eq!((device.line, device.keywords[0].line), (2, 3));
    }

    #[test]
    fn wrong_braces_and_quotes() {
        for (text, line, part) in [
            ("a {\n b c\n", 1, "never closed"),
            ("a {\n b {\n}\n", 1, "never closed"),
            ("a {\n}\n}\n", 3, "closes nothing"),
            ("a {\n b \"c\n}\n", 2, "not closed"),
            ("a\n{\n}\n", 2, "behind the name"),
            ("a { b c }\n", 1, "end its line"),
            ("a {\n b c }\n", 2, "line of its own"),
            ("a {\n} }\n", 2, "to itself"),
            ("a {\n b {\n c {\n", 3, "within `b` of line 2"),
            ("devices {\n blacklist {\n", 2, "within `devices` of line 1"),
            ("a {\n b “c”\n}\n", 2, "a curly quote (U+201C)"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.line, line, "{text}");
            assert!(wrong.what.contains(part), "{text}: {wrong}");
        }
    }
}
