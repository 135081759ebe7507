//! Makes text from devices and from the agent safe for a terminal.
//!
//! A vendor string, an iSCSI name or an error text may contain any characters. Escape sequences could rewrite the
//! screen, and direction marks could change how the text reads.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character must not reach a terminal: C0 and C1 controls, DEL, line and paragraph separators, direction
/// marks, interlinear annotation, the byte order mark, and what XML forbids.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        )
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The text on one line, with `\x1b` or `\u{202e}` for each unsafe character.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().saturating_add(8));
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match u32::from(c) {
            _ if !is_unsafe(c) => write!(out, "{c}"),
            code @ 0..=0xff => write!(out, "\\x{code:02x}"),
            code => write!(out, "\\u{{{code:x}}}"),
        };
    }
    Cow::Owned(out)
}

/// Like [`printable`], but keeps line breaks.
#[must_use]
pub(crate) fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join("\n")
}
