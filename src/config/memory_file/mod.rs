//! `/etc/dm-psa/state/memory.json`: read entry by entry, and written back including the entries that were not
//! understood.
//!
//! In a file of another version, or in a damaged one, only the entries that cannot be read are affected:
//!
//! | content of the file | effect |
//! |---|---|
//! | a field or an entry that this version does not know | it has no effect and stays in the file, byte by byte |
//! | a known field with a value of another type | the same, until this version has a value for it |
//! | text that is not JSON, a truncated file | complete entries take effect; the file is copied before it is replaced |
//!
//! The format: a newer version may add fields, but never changes the type of a field. `form` lists what this version
//! knows. The entries of a damaged file are recognized by the layout of [`write()`]: one per line, indented by depth.
//! Tests: `tests/memory.rs`, with the files of `tests/golden/memory`.

mod copies;
mod form;
mod parts;
mod write;

pub use write::write;

use super::{ConfigError, Places};
use crate::psa::adapter::RuntimeName;
use crate::psa::memory::{Memory, Unread};
use crate::psa::names::Wwid;
use form::{DEVICES, Form, MEMORY};
use parts::{begin_of, elements, members, reason};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Maximum file size. A longer file was not written by an agent: ten thousand masked paths take a sixth of it.
const MOST_BYTES: u64 = 64 << 20;

/// Maximum number of problems of one file that are reported individually.
const MOST_PROBLEMS: usize = 20;

/// What happens to an entry that was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This version does not know it; it stays in the file.
    Unknown,
    /// Its value is invalid for this version; it stays in the file until this version has a value for it.
    Unusable,
    /// It is damaged; only the copy of the file still contains it.
    Lost,
}

/// A part of a file that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The keys that lead to it; empty for the file as a whole.
    pub place: Vec<String>,
    /// Why it was not understood.
    pub why: String,
    /// What happens to it.
    pub fate: Fate,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            return f.write_str(&self.why);
        }
        let effect = match self.fate {
            Fate::Unknown | Fate::Unusable => "it has no effect and stays in the file",
            Fate::Lost => "it has no effect",
        };
        let place = self.place.join("` > `");
        write!(f, "entry `{place}`: {}; {effect}", self.why)
    }
}

/// Parses the content of the file. Returns everything that was understood, and the problems.
#[must_use]
pub fn parse(content: &[u8]) -> (Memory, Vec<Problem>) {
    let mut reader = Reader::default();
    let content = without_mark(content);
    let damage = serde_json::from_slice::<&RawValue>(content).err();
    let understood = reader.read(&MEMORY, content);
    let whole = match (&understood, damage) {
        (Ok(_), None) => None,
        (Ok(_), Some(damage)) => Some(format!("it is damaged ({damage}): intact entries are used")),
        (Err(_), Some(damage)) => Some(format!(
            "it is damaged ({damage}): the whole file is ignored"
        )),
        (Err(why), None) => Some(format!("{why}: the whole file is ignored")),
    };
    let whole = whole.map(|why| Problem {
        place: Vec::new(),
        why,
        fate: Fate::Lost,
    });
    // Each value was parsed as its type before, so this does not fail.
    let mut memory: Memory = understood
        .ok()
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default();
    reader.kept.sort();
    memory.not_understood = reader.kept;
    (memory, whole.into_iter().chain(reader.problems).collect())
}

/// Returns only the WWIDs of devices that had a map: for `dm-psa-id`, which runs on every event of every disk.
#[must_use]
pub fn known_devices(content: &[u8]) -> BTreeSet<Wwid> {
    let members = members(without_mark(content), 0).unwrap_or_default();
    let devices = members
        .into_iter()
        .flatten()
        .find(|(key, _)| key == DEVICES);
    let list = devices.and_then(|(_, text)| elements(text, 1).ok());
    list.into_iter()
        .flatten()
        .filter_map(|text| serde_json::from_slice(text).ok())
        .collect()
}

/// Removes a byte order mark, which some editors put before the text.
fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content)
}

#[derive(Default)]
struct Reader {
    place: Vec<String>,
    kept: Vec<Unread>,
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&mut self, why: String, fate: Fate) {
        self.problems.push(Problem {
            place: self.place.clone(),
            why,
            fate,
        });
    }

    /// Notes a problem at this place, and keeps the text if it is a complete value.
    fn keep(&mut self, text: &[u8], is_element: bool, why: String, fate: Fate) {
        match serde_json::from_slice::<&RawValue>(text) {
            Ok(text) => {
                self.kept.push(Unread {
                    place: self.place.clone(),
                    is_element,
                    text: text.get().to_owned(),
                });
                self.problem(why, fate);
            }
            Err(_) => self.problem(why, Fate::Lost),
        }
    }

    /// Reads a value; the error is the reason why the value as a whole is invalid.
    fn read(&mut self, form: &Form, text: &[u8]) -> Result<Value, String> {
        match form {
            Form::One(read) => read(text),
            Form::Texts => {
                let mut list = Vec::new();
                for text in elements(text, self.place.len())? {
                    match serde_json::from_slice::<String>(text) {
                        Ok(element) => list.push(Value::String(element)),
                        Err(error) => {
                            let why = format!("`{}`: {}", begin_of(text), reason(&error));
                            self.keep(text, true, why, Fate::Unusable);
                        }
                    }
                }
                Ok(Value::Array(list))
            }
            Form::Table(each) => self.object(text, |_| Some(*each)).map(Value::Object),
            Form::Paths(each) => {
                let is_path = |key: &str| key.parse::<RuntimeName>().is_ok();
                let object = self.object(text, |key| is_path(key).then_some(*each))?;
                Ok(Value::Object(object))
            }
            Form::Fields { known, required } => {
                let (kept, problems) = (self.kept.len(), self.problems.len());
                let form = |key: &str| known.iter().find(|(name, _)| *name == key);
                let object = self.object(text, |key| form(key).map(|(_, form)| form))?;
                let Some(missing) = required.iter().find(|name| !object.contains_key(**name))
                else {
                    return Ok(Value::Object(object));
                };
                // The whole object will be kept, so do not keep its parts as well.
                self.kept.truncate(kept);
                let depth = self.place.len();
                let part = self
                    .problems
                    .drain(problems..)
                    .find(|part| part.place.get(depth).is_some_and(|key| key == missing));
                Err(match part {
                    Some(part) => format!("`{missing}`: {}", part.why),
                    None => format!("`{missing}` is missing"),
                })
            }
        }
    }

    fn object(
        &mut self,
        text: &[u8],
        form: impl Fn(&str) -> Option<&'static Form>,
    ) -> Result<Map<String, Value>, String> {
        let mut object = Map::new();
        for member in members(text, self.place.len())? {
            let (key, text) = match member {
                Ok(member) => member,
                Err(why) => {
                    self.problem(why, Fate::Lost);
                    continue;
                }
            };
            let (form, again) = (form(&key), object.contains_key(&key));
            self.place.push(key);
            let value = match form {
                _ if again => {
                    self.problem(
                        "it appears twice; the first one is used".to_owned(),
                        Fate::Lost,
                    );
                    None
                }
                None => {
                    let why = "this version does not support it".to_owned();
                    self.keep(text, false, why, Fate::Unknown);
                    None
                }
                Some(form) => match self.read(form, text) {
                    Ok(value) => Some(value),
                    Err(why) => {
                        self.keep(text, false, why, Fate::Unusable);
                        None
                    }
                },
            };
            let key = self.place.pop().unwrap_or_default();
            object.extend(value.map(|value| (key, value)));
        }
        Ok(object)
    }
}

/// Reads the memory of the agent; empty if there is no file. Also returns the problems.
#[must_use]
pub fn load(places: &Places) -> (Memory, Vec<ConfigError>) {
    let file = places.memory();
    let content = match read(&file) {
        Ok(None) => return (Memory::default(), Vec::new()),
        Ok(Some(content)) => content,
        Err(source) => {
            // The next write would replace the file, so move it aside.
            let aside = copies::aside(&file, |aside| std::fs::rename(&file, aside));
            let source = io::Error::new(source.kind(), format!("{source}; {aside}"));
            let problem = ConfigError::Read { file, source };
            return (Memory::default(), vec![problem]);
        }
    };
    let (memory, problems) = parse(&content);
    let count = problems.len();
    let copied = problems
        .iter()
        .any(|problem| problem.fate != Fate::Unknown)
        .then(|| copies::copy(&file, &content));
    let mut texts: Vec<String> = problems
        .iter()
        .take(MOST_PROBLEMS)
        .map(ToString::to_string)
        .collect();
    if count > MOST_PROBLEMS {
        texts.push(format!(
            "{} more entries were not understood",
            count - MOST_PROBLEMS
        ));
    }
    if let (Some(first), Some(copied)) = (texts.first_mut(), copied) {
        *first = format!("{first}; {copied}");
    }
    let invalid = |problem| ConfigError::Invalid {
        file: file.clone(),
        problem,
    };
    (memory, texts.into_iter().map(invalid).collect())
}

fn read(file: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    let open = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        open => open?,
    };
    open.take(MOST_BYTES + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > MOST_BYTES) {
        let why = format!("it is longer than {MOST_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Some(content))
}
