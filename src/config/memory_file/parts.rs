//! Splits JSON one level at a time and keeps each value as its original text. Damaged JSON is split by its layout.

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// The message of a serde error without its position, which counts from the start of the entry and not of the file.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

/// The original texts of the members of an object or a list.
enum Parts<'a> {
    Object(Vec<(String, &'a RawValue)>),
    List(Vec<&'a RawValue>),
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Parts<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Parts::Object(members))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Parts::List(elements))
            }
        }
        from.deserialize_any(Members)
    }
}

/// Key and text of a member of an object, or why it is not a valid member.
pub(super) type Member<'a> = Result<(String, &'a [u8]), String>;

/// The members of an object at this depth in the file.
pub(super) fn members(text: &[u8], depth: usize) -> Result<Vec<Member<'_>>, String> {
    match serde_json::from_slice(text) {
        Ok(Parts::Object(members)) => Ok(members
            .into_iter()
            .map(|(key, value)| Ok((key, value.get().as_bytes())))
            .collect()),
        Ok(Parts::List(_)) => Err("it is a list where an object is expected".to_owned()),
        Err(error) if error.is_data() => Err(reason(&error)),
        Err(error) => {
            let chunks = chunks(text, b"{", depth).ok_or_else(|| reason(&error))?;
            Ok(chunks.into_iter().map(member).collect())
        }
    }
}

/// The texts of the elements of a list at this depth in the file.
pub(super) fn elements(text: &[u8], depth: usize) -> Result<Vec<&[u8]>, String> {
    match serde_json::from_slice(text) {
        Ok(Parts::List(list)) => Ok(list.iter().map(|text| text.get().as_bytes()).collect()),
        Ok(Parts::Object(_)) => Err("it is an object where a list is expected".to_owned()),
        Err(error) if error.is_data() => Err(reason(&error)),
        Err(error) => chunks(text, b"[", depth).ok_or_else(|| reason(&error)),
    }
}

/// The entries of a damaged object or list, found by the indentation that [`write`] gives each entry.
fn chunks<'a>(text: &'a [u8], bracket: &[u8], depth: usize) -> Option<Vec<&'a [u8]>> {
    let indentation = 2 * (depth + 1);
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next()?;
    if first.trim_ascii() != bracket {
        return None;
    }
    let mut chunks = Vec::new();
    // Start of the current entry, and whether its closing bracket is still to come.
    let (mut at, mut begin, mut is_open) = (first.len(), None, false);
    for line in lines {
        let indented = line.iter().take_while(|byte| **byte == b' ').count();
        let line_text = line.trim_ascii();
        let closes = line_text.starts_with(b"}") || line_text.starts_with(b"]");
        if closes && indented < indentation {
            break;
        }
        if indented == indentation {
            if closes && is_open {
                is_open = false;
            } else {
                chunks.extend(begin.and_then(|begin| text.get(begin..at)));
                begin = Some(at);
                is_open = line_text.ends_with(b"{") || line_text.ends_with(b"[");
            }
        }
        at += line.len();
    }
    chunks.extend(begin.and_then(|begin| text.get(begin..at)));
    let bare = |chunk: &'a [u8]| {
        let chunk = chunk.trim_ascii();
        chunk.strip_suffix(b",").unwrap_or(chunk)
    };
    Some(chunks.into_iter().map(bare).collect())
}

/// Splits the text of a member into key and value.
fn member(chunk: &[u8]) -> Member<'_> {
    let mut keys = serde_json::Deserializer::from_slice(chunk).into_iter::<String>();
    let key = keys.next().and_then(Result::ok);
    let rest = chunk.get(keys.byte_offset()..).unwrap_or_default();
    let value = rest.trim_ascii_start().strip_prefix(b":");
    key.zip(value.map(<[u8]>::trim_ascii))
        .ok_or_else(|| format!("`{}` is not an entry", begin_of(chunk)))
}

/// The start of a text, for a message.
pub(super) fn begin_of(text: &[u8]) -> String {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).chars().take(60).collect()
}
