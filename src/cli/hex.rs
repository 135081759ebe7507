//! Parses the hex output of other tools into bytes: `sg_inq -H`, `sg_vpd -HHHH`, `sg_rtpg -H`, `xxd`, `hexdump -C`,
//! `od -A x -t x1`, the files that sg3_utils read with `--in=` and `--inhex=`, ESXi's `0x5 0x25 0x0`, and digits in any
//! grouping.
//!
//! The meaning of a digit depends on its position, and a wrong guess would silently give wrong bytes. Therefore:
//!
//! - There is a column of offsets if the first line looks like it: digits before a colon, at least four digits before
//!   groups of two, or a gap of three blanks after the first word. Then every line must have an offset, and it must be
//!   correct.
//! - With offsets, the next offset determines the number of bytes of a line. In the last line, the bytes end where the
//!   rest of the line equals their representation as text. Without offsets, text is recognized only where it cannot be
//!   hex.
//! - A single digit is a byte where it cannot be text: `5 25 0`.
//! - Anything else is an error. Only blank lines and headings are skipped. A heading ends with a colon, is in brackets,
//!   or begins with a word before the first line of bytes. `#` begins a comment, also after bytes.

use std::fmt;

/// The maximum length of the text, in bytes: far more than any answer to a SCSI command that is decoded here needs.
pub const LIMIT: usize = 1 << 20;

/// Why text could not be parsed as hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexError {
    /// The line, counted from 1; `None` if the error concerns the whole text.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// A word of a line.
struct Token<'a> {
    text: &'a str,
    /// Its first byte in the line.
    start: usize,
    /// The number of columns between it and the previous word.
    gap: usize,
}

/// A line that is not skipped.
struct Row<'a> {
    number: usize,
    line: &'a str,
    tokens: Vec<Token<'a>>,
    offset: Option<usize>,
}

impl Row<'_> {
    fn error(&self, what: impl Into<String>, remedy: &'static str) -> HexError {
        HexError {
            line: Some(self.number),
            what: what.into(),
            remedy,
        }
    }

    /// Whether this is the `*` that `hexdump -C` and `xxd -a` print for lines that repeat the previous one.
    fn is_repeat(&self) -> bool {
        matches!(self.tokens.as_slice(), [only] if only.text == "*")
    }

    /// The words after the offset.
    fn words(&self) -> &[Token<'_>] {
        let skipped = usize::from(self.offset.is_some());
        self.tokens.get(skipped..).unwrap_or_default()
    }
}

/// Parses the text into bytes.
///
/// # Errors
/// The first line that cannot be parsed.
pub fn parse(text: &str) -> Result<Vec<u8>, HexError> {
    let whole = |what: &str, remedy| HexError {
        line: None,
        what: what.to_owned(),
        remedy,
    };
    if text.len() > LIMIT {
        return Err(whole("more than 1 MiB of text", "give one response only"));
    }
    let mut rows = rows(text);
    offsets(&mut rows)?;
    let mut out = Vec::new();
    // The number of bytes in the last line, and whether they repeat.
    let mut last = 0;
    let mut repeat = false;
    for (index, row) in rows.iter().enumerate() {
        if row.is_repeat() {
            if last == 0 {
                return Err(row.error("`*` has no line to repeat", "give the lines before it"));
            }
            repeat = true;
            continue;
        }
        if let Some(offset) = row.offset {
            if repeat {
                fill(&mut out, last, row, offset)?;
            }
            if offset != out.len() {
                return Err(row.error(
                    format!("offset {offset:x}h instead of {:x}h", out.len()),
                    "give every line, in order, with offsets in hex (`od -A x`)",
                ));
            }
        }
        repeat = false;
        let next = rows.get(index.saturating_add(1)).and_then(|row| row.offset);
        let bytes = match (row.offset, next) {
            (Some(here), Some(next)) => exactly(row, next.checked_sub(here))?,
            _ => bytes(row)?,
        };
        last = bytes.len();
        out.extend(bytes);
    }
    if repeat {
        return Err(whole(
            "`*` at the end: the number of repeats is unknown",
            "give the last line, with its offset",
        ));
    }
    if out.is_empty() {
        return Err(whole(
            "no hex digits",
            "give the bytes of a response in hex",
        ));
    }
    Ok(out)
}

/// The lines, without those that are skipped.
fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    // Another answer may begin after blank lines.
    let mut may_begin = true;
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line);
        if line.trim().is_empty() {
            may_begin |= rows.is_empty();
            continue;
        }
        if is_marked(line) || (may_begin && is_title(line)) {
            continue;
        }
        may_begin = false;
        rows.push(Row {
            number: index.saturating_add(1),
            line,
            tokens: tokens(line),
            offset: None,
        });
    }
    rows
}

/// The line without its comment. A comment follows a blank, and is not the text representation of the bytes.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    let Some(at) = line.find(" #").or_else(|| line.find("\t#")) else {
        return line;
    };
    let (bytes, comment) = line.split_at(at);
    let words = tokens(bytes);
    let all: Option<Vec<Vec<u8>>> = words.iter().map(|word| token_bytes(word.text)).collect();
    let Some(all) = all else { return line };
    // The bytes before it, including an offset, as text: hexdump and similar tools print this after the bytes.
    let shown = shown(&all.concat());
    let is_text = shown.contains(comment.trim());
    if is_text { line } else { bytes }
}

/// Bytes as ASCII text, with a dot for each unprintable byte.
fn shown(bytes: &[u8]) -> String {
    let plain = |b: &u8| match b {
        0x20..=0x7e => char::from(*b),
        _ => '.',
    };
    bytes.iter().map(plain).collect()
}

/// Whether the line is a heading by its colon or brackets.
fn is_marked(line: &str) -> bool {
    let line = line.trim();
    let heading = || {
        let word = line.split_whitespace().next().unwrap_or_default();
        let digits = word.trim_end_matches(':');
        line.ends_with(':') && !digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let bracketed = line.starts_with('[') && line.ends_with(']');
    bracketed || heading()
}

/// Whether the line is a heading without a colon, such as `Report target port groups` or `VPD page 83h`: it begins with
/// an English word.
fn is_title(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let is_word = first.len() >= 3
        && first
            .bytes()
            .all(|b| b.is_ascii_alphabetic() || b"-_".contains(&b));
    // A line that looks like bytes with a wrong first word is not a heading.
    let bytes = words.filter(|word| word.len() == 2 && token_bytes(word).is_some());
    is_word && !first.bytes().all(|b| b.is_ascii_hexdigit()) && bytes.count() < 2
}

fn tokens(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut gap: usize = 0;
    let mut start = None;
    for (at, c) in line.char_indices() {
        if !c.is_whitespace() {
            start.get_or_insert(at);
            continue;
        }
        if let Some(start) = start.take() {
            let text = line.get(start..at).unwrap_or_default();
            tokens.push(Token { text, start, gap });
            gap = 0;
        }
        gap = gap.saturating_add(if c == '\t' { 4 } else { 1 });
    }
    if let Some(start) = start {
        let text = line.get(start..).unwrap_or_default();
        tokens.push(Token { text, start, gap });
    }
    tokens
}

/// Finds the column of offsets, if there is one.
fn offsets(rows: &mut [Row<'_>]) -> Result<(), HexError> {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let colon = first.tokens.first().is_some_and(|t| t.text.ends_with(':'));
    if !colon && !has_offset(first)? {
        return Ok(());
    }
    for row in rows.iter_mut().filter(|row| !row.is_repeat()) {
        let word = row.tokens.first().map_or("", |token| token.text);
        let digits = if colon {
            word.strip_suffix(':')
        } else {
            Some(word)
        };
        row.offset = digits.and_then(offset);
        if row.offset.is_none() {
            return Err(row.error(
                format!("`{word}` is not an offset, but the first line has one"),
                "give every line an offset, or no line",
            ));
        }
    }
    Ok(())
}

fn offset(digits: &str) -> Option<usize> {
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    // `from_str_radix` accepts `+1`.
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    usize::from_str_radix(digits, 16).ok().filter(|_| hex)
}

/// Whether the first line begins with an offset that has no colon.
fn has_offset(row: &Row<'_>) -> Result<bool, HexError> {
    let [offset, first, rest @ ..] = row.tokens.as_slice() else {
        return Ok(false);
    };
    let digits = offset.text.strip_prefix("0x").unwrap_or(offset.text);
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(false);
    }
    let is_long = |token: &Token| token.text.len() == 4;
    if digits.len() >= 6 && digits.bytes().all(|b| b == b'0') && is_long(first) {
        // Only the offset distinguishes these words from bytes in groups of two.
        return Err(row.error(
            "two-byte words in the byte order of the host, as `hexdump` and `od -x` print them",
            "use `hexdump -C`, `od -A x -t x1` or `xxd`",
        ));
    }
    let grouped = rest.first().is_some_and(|next| next.gap == first.gap);
    let narrow = first.text.len() == 2 && digits.len() >= 4;
    Ok(narrow || (first.gap >= 3 && !grouped))
}

/// Repeats the last `length` bytes up to the offset of a line.
fn fill(out: &mut Vec<u8>, length: usize, row: &Row<'_>, offset: usize) -> Result<(), HexError> {
    let missing = offset.checked_sub(out.len()).filter(|gap| *gap <= LIMIT);
    let whole = missing.filter(|gap| gap.checked_rem(length) == Some(0));
    let Some(missing) = whole else {
        return Err(row.error(
            format!("offset {offset:x}h does not fit a `*` that repeats {length} bytes"),
            "give the lines that `*` stands for (`hexdump -v`)",
        ));
    };
    let start = out.len().saturating_sub(length);
    let pattern = out.get(start..).unwrap_or_default().to_vec();
    out.extend(pattern.into_iter().cycle().take(missing));
    Ok(())
}

/// The bytes of a line whose number the next offset determines; text may follow.
fn exactly(row: &Row<'_>, count: Option<usize>) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::new();
    let mut words = row.words().iter();
    let mut rest = words.next();
    while let Some(word) = rest
        && Some(bytes.len()) < count
        && let Some(more) = token_bytes(word.text)
    {
        bytes.extend(more);
        rest = words.next();
    }
    // Text is at most as long as the bytes; anything longer must be more bytes.
    let is_text = rest.is_none_or(|word| {
        let text = row.line.get(word.start..).unwrap_or_default().trim();
        let width = text.trim_matches('|').chars().count();
        word.gap >= 2 && width <= bytes.len()
    });
    if Some(bytes.len()) == count && is_text {
        return Ok(bytes);
    }
    let wanted = count.map_or("no bytes".to_owned(), |count| format!("{count} bytes"));
    Err(row.error(
        format!("by the next offset, this line must have {wanted}, but it does not"),
        "give every line, complete and in order",
    ))
}

/// The bytes of a line that is not followed by an offset.
fn bytes(row: &Row<'_>) -> Result<Vec<u8>, HexError> {
    let words = row.words();
    let all = |words: &[Token]| -> Option<Vec<u8>> {
        let parts: Option<Vec<_>> = words.iter().map(|word| token_bytes(word.text)).collect();
        parts.map(|parts| parts.concat())
    };
    let is_single = |word: &Token| word.text.trim_end_matches(',').len() == 1;
    if row.offset.is_none()
        && !words.iter().any(is_single)
        && let Some(bytes) = all(words)
    {
        return Ok(bytes);
    }
    if let Some(bytes) = before_text(row.line, words) {
        return Ok(bytes);
    }
    let bar = words.iter().position(|word| word.text.starts_with('|'));
    if let Some(bytes) = all(words.get(..bar.unwrap_or(words.len())).unwrap_or_default()) {
        return Ok(bytes);
    }
    let bad = words.iter().find(|word| token_bytes(word.text).is_none());
    let bad = bad.map_or("", |word| word.text.trim_end_matches(','));
    if bad.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(row.error(
            format!("`{bad}` has an odd number of digits"),
            "write two digits for each byte",
        ));
    }
    Err(row.error(
        format!("`{bad}` is not hex"),
        "leave out lines and text that are not bytes",
    ))
}

/// The bytes before a column that shows them as text, if there is such a column.
fn before_text(line: &str, words: &[Token<'_>]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut text_of = String::new();
    for word in words {
        let text = line.get(word.start..).unwrap_or_default().trim();
        let text = text.strip_prefix('|').map_or(text, |inner| {
            let inner = inner.strip_suffix('|').unwrap_or(inner);
            inner.trim()
        });
        if word.gap >= 2 && !bytes.is_empty() && text_of.trim() == text {
            return Some(bytes);
        }
        let more = token_bytes(word.text)?;
        text_of.push_str(&shown(&more));
        bytes.extend(more);
    }
    None
}

/// The bytes of one word: `00`, `0083`, `5`, `0x00,0x83,`, `5h`.
fn token_bytes(word: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in word.split([',', ';']).filter(|part| !part.is_empty()) {
        let part = part.strip_suffix(['h', 'H']).unwrap_or(part);
        let prefixed = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
        if let [digit] = prefixed.unwrap_or(part).as_bytes() {
            bytes.push(nibble(*digit)?);
            continue;
        }
        let (pairs, []) = prefixed.unwrap_or(part).as_bytes().as_chunks::<2>() else {
            return None;
        };
        for pair in pairs {
            bytes.push(nibble(pair[0])? << 4 | nibble(pair[1])?);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}
