//! Detects typographic dashes and quotes that were copied from a document into a command line.
//!
//! `esxcli ... –d “naa.6001”` from a document looks correct but is not. Without this check it would cause an unrelated
//! error or, worse, store a rule with a quote in its vendor.

use std::ffi::OsString;

/// An argument with such a character.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "argument {argument}, character {character}: {name} (U+{code:04X}) in `{text}`, probably copied from a formatted document\nwrite: {corrected}"
)]
pub struct Typography {
    /// The argument, counted from 1.
    pub argument: usize,
    /// The character in the argument, counted from 1.
    pub character: usize,
    /// Its name.
    pub name: &'static str,
    /// Its code point.
    pub code: u32,
    /// The argument.
    pub text: String,
    /// The argument as it was probably intended.
    pub corrected: String,
}

/// Rejects the first argument with such a character.
///
/// # Errors
/// [`Typography`] with the position and the corrected argument.
pub fn check<'a>(args: impl Iterator<Item = &'a OsString>) -> Result<(), Typography> {
    for (index, arg) in args.enumerate() {
        let text = arg.to_string_lossy();
        let found = text
            .chars()
            .enumerate()
            .find_map(|(at, c)| Some((at, c, plain(c)?.0)));
        if let Some((at, c, name)) = found {
            return Err(Typography {
                argument: index.saturating_add(1),
                character: at.saturating_add(1),
                name,
                code: c.into(),
                corrected: correct(&text),
                text: text.into_owned(),
            });
        }
    }
    Ok(())
}

/// Describes the first such character in a text, if there is one.
#[must_use]
pub fn found(text: &str) -> Option<String> {
    let mut found = text.chars().filter_map(|c| Some((c, plain(c)?.0)));
    let (c, name) = found.next()?;
    let code = u32::from(c);
    Some(format!(
        "{name} (U+{code:04X}), probably copied from a formatted document"
    ))
}

/// The name of a character that does not belong in a command line, and its replacement.
fn plain(c: char) -> Option<(&'static str, &'static str)> {
    Some(match c {
        '\u{2010}' | '\u{2011}' => ("a typographic hyphen", "-"),
        '\u{2012}' | '\u{2013}' => ("an en dash", "-"),
        '\u{2014}' | '\u{2015}' => ("an em dash", "-"),
        '\u{2212}' => ("a minus sign", "-"),
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => ("a curly quote", "'"),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => ("a curly quote", "\""),
        '\u{a0}' | '\u{202f}' | '\u{2007}' => ("a no-break space", " "),
        '\u{200b}' | '\u{2060}' | '\u{feff}' => ("an invisible character", ""),
        _ => return None,
    })
}

fn correct(text: &str) -> String {
    let corrected: String = text
        .chars()
        .map(|c| plain(c).map_or_else(|| c.to_string(), |(_, plain)| plain.to_owned()))
        .collect();
    let dash = text.chars().next().and_then(plain).map(|(_, plain)| plain) == Some("-");
    // A text editor turns two dashes into one: `–device` was `--device`, while `–d` was `-d`.
    let word = corrected.trim_start_matches('-');
    let name = word.split('=').next().unwrap_or_default();
    if dash && name.chars().count() > 1 {
        format!("--{word}")
    } else {
        corrected
    }
}
