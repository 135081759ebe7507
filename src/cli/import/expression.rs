//! Translates regular expressions of multipath.conf into patterns of rules, where this is possible.
//!
//! multipath-tools matches INQUIRY strings and WWIDs with POSIX extended regular expressions, which match anywhere in
//! the string unless `^` and `$` anchor them. In practice they are nearly always a name, the beginning of a name, or
//! alternatives of these: `LUN.*`, `^OPEN-`, `(NETAPP|LSI)`, `MSA (10|20)[4-6]0 .*`. These are expanded into names.
//! Everything else is refused: a rule that matches unintended devices is worse than no rule.

use crate::psa::pattern::Pattern;

/// The maximum number of names in an expansion.
const MOST: usize = 16;

/// The maximum length of an expression. It is matched against a string of 16 characters, or a WWID of a hundred.
const LONGEST: usize = 1024;

/// What a regular expression matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Matches {
    /// Any string.
    Any,
    /// One of these names.
    Names(Vec<Name>),
}

/// A name, or the beginning or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// The text itself.
    pub text: String,
    /// Whether the string has to begin with it.
    pub begins: bool,
    /// Whether the string has to end with it.
    pub ends: bool,
    /// Whether it is followed by `.*`, so that more text may follow.
    pub more: bool,
}

/// An element of an expression that is expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Char(char),
    Begin,
    End,
    Anything,
}

/// Parses an expression.
///
/// # Errors
/// The part of it that no rule can express.
pub(super) fn parse(expression: &str) -> Result<Matches, String> {
    if expression.starts_with('!') {
        return Err("`!` matches everything else, which rules cannot do".to_owned());
    }
    // Not a valid POSIX expression, but widely used, and glibc accepts it with the intended meaning.
    if expression == "*" {
        return Ok(Matches::Any);
    }
    let chars: Vec<char> = expression.chars().take(LONGEST + 1).collect();
    if chars.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} characters"));
    }
    let mut parser = Parser {
        chars: &chars,
        at: 0,
    };
    let spelled = parser.choice(0)?;
    if parser.at < chars.len() {
        return Err("a `)` without a `(`".to_owned());
    }
    let mut names = Vec::new();
    for pieces in spelled {
        match name(&pieces)? {
            Some(name) if !names.contains(&name) => names.push(name),
            Some(_) => {}
            None => return Ok(Matches::Any),
        }
    }
    Ok(Matches::Names(names))
}

/// The name that the pieces spell; `None` if they match any string.
fn name(pieces: &[Piece]) -> Result<Option<Name>, String> {
    let mut pieces = pieces;
    let (mut begins, mut ends, mut more) = (false, false, false);
    let mut leading = false;
    loop {
        pieces = match pieces {
            [Piece::Begin, rest @ ..] if !leading => {
                begins = true;
                rest
            }
            [Piece::Anything, rest @ ..] => {
                leading = true;
                rest
            }
            _ => break,
        };
    }
    loop {
        pieces = match pieces {
            [rest @ .., Piece::End] if !more => {
                ends = true;
                rest
            }
            [rest @ .., Piece::Anything] => {
                more = true;
                rest
            }
            _ => break,
        };
    }
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Char(c) => text.push(*c),
            Piece::Begin | Piece::End => {
                return Err("`^` and `$` are supported only at the ends".to_owned());
            }
            Piece::Anything => {
                return Err("`.*` is supported only at the end".to_owned());
            }
        }
    }
    if text.is_empty() {
        let is_any = !(begins && ends) || leading || more;
        return is_any
            .then_some(None)
            .ok_or_else(|| "it matches only an empty string".to_owned());
    }
    if leading {
        return Err("`.*` at the start: a rule matches a whole string or its beginning".to_owned());
    }
    Ok(Some(Name {
        text,
        begins,
        ends: ends && !more,
        more,
    }))
}

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
}

type Spelled = Vec<Vec<Piece>>;

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied()?;
        self.at += 1;
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is = self.chars.get(self.at) == Some(&wanted);
        self.at += usize::from(is);
        is
    }

    /// `a|b|c`, up to a `)` or the end.
    fn choice(&mut self, depth: usize) -> Result<Spelled, String> {
        if depth > 8 {
            return Err("parentheses are nested too deeply".to_owned());
        }
        let mut all = self.sequence(depth)?;
        while self.take('|') {
            all.extend(self.sequence(depth)?);
            if all.len() > MOST {
                return Err(too_many());
            }
        }
        Ok(all)
    }

    fn sequence(&mut self, depth: usize) -> Result<Spelled, String> {
        let mut all: Spelled = vec![Vec::new()];
        while let Some(c) = self.chars.get(self.at).copied() {
            if matches!(c, '|' | ')') {
                break;
            }
            self.at += 1;
            let next = self.atom(c, depth)?;
            if let Some(repeat) = self.repeat() {
                return Err(format!("repetition by `{repeat}` is not supported"));
            }
            if all.len() * next.len() > MOST {
                return Err(too_many());
            }
            let all_with = |pieces: &Vec<Piece>| {
                let one = pieces.clone();
                next.iter()
                    .map(move |more| [one.clone(), more.clone()].concat())
                    .collect::<Spelled>()
            };
            all = all.iter().flat_map(all_with).collect();
        }
        Ok(all)
    }

    /// The repetition operator after an atom, if there is one.
    fn repeat(&self) -> Option<char> {
        let next = self.chars.get(self.at).copied();
        next.filter(|c| matches!(c, '*' | '+' | '?' | '{'))
    }

    fn atom(&mut self, c: char, depth: usize) -> Result<Spelled, String> {
        let one = |piece| Ok(vec![vec![piece]]);
        match c {
            '^' => one(Piece::Begin),
            '$' => one(Piece::End),
            '.' if self.take('*') => one(Piece::Anything),
            '.' => Err("`.` matches any character: write `\\.` for a dot".to_owned()),
            '*' | '+' | '?' | '{' => Err(format!("`{c}` has nothing to repeat")),
            '\\' => match self.next() {
                Some(c) if !c.is_alphanumeric() => one(Piece::Char(c)),
                _ => Err("the character after `\\` is not supported".to_owned()),
            },
            '(' => {
                let inner = self.choice(depth + 1)?;
                if self.take(')') {
                    Ok(inner)
                } else {
                    Err("a `(` is not closed".to_owned())
                }
            }
            '[' => self.set(),
            c => one(Piece::Char(c)),
        }
    }

    /// Parses the rest of a set of characters: `01]`, `4-6]`.
    fn set(&mut self) -> Result<Spelled, String> {
        let unclear = || "in `[...]` only plain characters and ranges are supported".to_owned();
        let mut chars = Vec::new();
        loop {
            let c = self.next().ok_or_else(unclear)?;
            match c {
                ']' if !chars.is_empty() => break,
                '^' | '[' | ']' | '\\' => return Err(unclear()),
                '-' => {
                    let (from, to) = (chars.pop(), self.next());
                    let (Some(from), Some(to)) = (from, to) else {
                        return Err(unclear());
                    };
                    if to < from || to == ']' || u32::from(to) - u32::from(from) > 64 {
                        return Err(unclear());
                    }
                    chars.extend(from..=to);
                }
                c => chars.push(c),
            }
        }
        let one = |c| vec![Piece::Char(c)];
        Ok(chars.into_iter().map(one).collect())
    }
}

fn too_many() -> String {
    format!("it expands to more than {MOST} names")
}

impl Name {
    /// The pattern of a vendor: the exact name, unless `^` or `.*` says that more may follow. INQUIRY vendors are
    /// registered names, so HP is meant to match only HP, whereas multipath-tools also finds it in HPE.
    ///
    /// # Errors
    /// The text would have a different meaning as a pattern.
    pub(super) fn vendor(&self) -> Result<Pattern, String> {
        if self.more || (self.begins && !self.ends) {
            self.beginning()
        } else {
            self.whole()
        }
    }

    /// The pattern of a product: anything that begins with the text, unless `$` says that it ends there. `LUN` matches
    /// `LUN C-Mode` in multipath-tools, and a rule for exactly `LUN` would not.
    ///
    /// # Errors
    /// The text would have a different meaning as a pattern.
    pub(super) fn model(&self) -> Result<Pattern, String> {
        // The INQUIRY field has 16 characters, so nothing can follow.
        if self.ends || self.text.len() >= 16 {
            self.whole()
        } else {
            self.beginning()
        }
    }

    fn whole(&self) -> Result<Pattern, String> {
        if self.text.ends_with('*') || self.text.starts_with("inq_data[") {
            return Err(format!("a rule would not match `{}` literally", self.text));
        }
        Pattern::parse(&self.text)
    }

    fn beginning(&self) -> Result<Pattern, String> {
        Pattern::parse(&format!("^{}*", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The patterns as vendors and as products.
    fn patterns(expression: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let Matches::Names(names) = parse(expression)? else {
            return Ok((vec!["*".to_owned()], vec!["*".to_owned()]));
        };
        let text = |pattern: Result<Pattern, String>| pattern.map(|pattern| pattern.to_string());
        let vendors: Result<_, _> = names.iter().map(|name| text(name.vendor())).collect();
        let models: Result<_, _> = names.iter().map(|name| text(name.model())).collect();
        Ok((vendors?, models?))
    }

    #[test]
    fn expressions_expand_to_names() {
        for (expression, vendors, models) in [
            ("NETAPP", "NETAPP", "^NETAPP*"),
            ("^NETAPP", "^NETAPP*", "^NETAPP*"),
            ("^NETAPP$", "NETAPP", "NETAPP"),
            ("LUN.*", "^LUN*", "^LUN*"),
            ("^LUN.*$", "^LUN*", "^LUN*"),
            ("(HP|HPE)", "HP,HPE", "^HP*,^HPE*"),
            ("^A|^B", "^A*,^B*", "^A*,^B*"),
            ("P2000 ?", "-", "-"),
            ("HSV[12]1|X", "HSV11,HSV21,X", "^HSV11*,^HSV21*,^X*"),
            (
                "MSA (10|20)[4-5]0 .*",
                "^MSA 1040 *,^MSA 1050 *,^MSA 2040 *,^MSA 2050 *",
                "^MSA 1040 *,^MSA 1050 *,^MSA 2040 *,^MSA 2050 *",
            ),
            ("a\\.b\\(c", "a.b(c", "^a.b(c*"),
            ("0123456789abcdef", "0123456789abcdef", "0123456789abcdef"),
            (".*", "*", "*"),
            ("", "*", "*"),
            ("*", "*", "*"),
            ("^.*$", "*", "*"),
        ] {
            let (v, m) = patterns(expression).unwrap_or((vec!["-".into()], vec!["-".into()]));
            assert_eq!(
                (v.join(","), m.join(",")),
                (vendors.into(), models.into()),
                "{expression}"
            );
        }
    }

    #[test]
    fn unsupported_expressions_are_refused() {
        for (expression, part) in [
            ("!^sd", "everything else"),
            (".*LUN", "`.*` at the start"),
            ("A.*B", "only at the end"),
            ("A.B", "any character"),
            ("A+", "repetition"),
            ("A*", "repetition"),
            ("(A|B", "not closed"),
            ("A)", "without a `(`"),
            ("[^a]", "plain characters"),
            ("[a", "plain characters"),
            ("[[:digit:]]", "plain characters"),
            ("a^b", "only at the ends"),
            ("^$", "empty string"),
            ("[0-9][0-9]", "more than 16"),
            ("\\", "after `\\`"),
            ("a\\*", "literally"),
        ] {
            let why = patterns(expression).unwrap_err();
            assert!(why.contains(part), "{expression}: {why}");
        }
        assert!(parse(&"(".repeat(100)).unwrap_err().contains("too deep"));
        assert!(
            parse(&"a".repeat(2000))
                .unwrap_err()
                .contains("more than 1024")
        );
    }
}
