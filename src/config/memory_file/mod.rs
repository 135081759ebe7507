//! `/etc/dm-psa/state/memory.json`: read entry by entry, and written with what was not understood.
//!
//! A file of another version, or a damaged one, costs no more than the entries that cannot be read:
//!
//! | what the file holds | what becomes of it |
//! |---|---|
//! | a field or an entry that this version does not know | stays in the file, byte by byte; no effect |
//! | a known field with a value of another kind | the same, until this version has a value for it |
//! | text that is not JSON, a file that was cut | what is whole counts; the file is copied aside before it is replaced |
//!
//! The format: a newer version adds fields and never changes the kind of one. `form` lists what this version knows.
//! Entries of a damaged file are told apart by the layout that [`write()`] gives them: a line each, indented by depth.
//! Tests: `tests/memory.rs`, with the files of `tests/golden/memory`.

mod copies;
mod form;
mod parts;
mod write;

pub use write::write;

use super::{ConfigError, Places};
use crate::psa::memory::{Memory, Unread};
use form::{DEVICES, Form, MEMORY};
use parts::{begin_of, elements, members, reason};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// A file that is longer was not written by an agent: ten thousand masked paths take a sixth of it.
const MOST_BYTES: u64 = 64 << 20;

/// This many problems of one file are reported one by one.
const MOST_PROBLEMS: usize = 20;

/// What becomes of something that was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This version does not know it: it stays in the file.
    Unknown,
    /// Its value is not what this version expects: it stays in the file until this version has a value for it.
    Unusable,
    /// It is damaged, and only the copy of the file still has it.
    Lost,
}

/// Something in a file that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The keys that lead to it; none for the file as a whole.
    pub place: Vec<String>,
    /// Why it was not understood.
    pub why: String,
    /// What becomes of it.
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

/// Reads what there is to understand in the content of the file.
#[must_use]
pub fn parse(content: &[u8]) -> (Memory, Vec<Problem>) {
    let mut reader = Reader::default();
    let content = without_mark(content);
    let damage = serde_json::from_slice::<&RawValue>(content).err();
    let understood = reader.read(&MEMORY, content);
    let whole = match (&understood, damage) {
        (Ok(_), None) => None,
        (Ok(_), Some(damage)) => Some(format!(
            "it is damaged ({damage}): entries that are whole count"
        )),
        (Err(_), Some(damage)) => Some(format!(
            "it is damaged ({damage}): nothing of it can be used"
        )),
        (Err(why), None) => Some(format!("{why}: nothing of it can be used")),
    };
    let whole = whole.map(|why| Problem {
        place: Vec::new(),
        why,
        fate: Fate::Lost,
    });
    // Each value was read as its type before, so this does not fail.
    let mut memory: Memory = understood
        .ok()
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default();
    reader.kept.sort();
    memory.not_understood = reader.kept;
    (memory, whole.into_iter().chain(reader.problems).collect())
}

/// The WWIDs that had a map, and nothing else: for `dm-psa-id`, which runs for every event of every disk.
#[must_use]
pub fn known_devices(content: &[u8]) -> BTreeSet<String> {
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

/// Some editors put a byte order mark before a text.
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

    /// Notes what was not understood at this place, and keeps it if it is a whole value.
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

    /// Reads a value; the reason if it means nothing as a whole.
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
            Form::Fields { known, required } => {
                let (kept, problems) = (self.kept.len(), self.problems.len());
                let form = |key: &str| known.iter().find(|(name, _)| *name == key);
                let object = self.object(text, |key| form(key).map(|(_, form)| form))?;
                let Some(missing) = required.iter().find(|name| !object.contains_key(**name))
                else {
                    return Ok(Value::Object(object));
                };
                // It is kept as a whole, so not in parts as well.
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
                        "it is there twice, and the first counts".to_owned(),
                        Fate::Lost,
                    );
                    None
                }
                None => {
                    let why = "this version does not know it".to_owned();
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

/// Reads what the agent remembers; nothing if there is no file. What was not understood is returned as well.
#[must_use]
pub fn load(places: &Places) -> (Memory, Vec<ConfigError>) {
    let file = places.memory();
    let content = match read(&file) {
        Ok(None) => return (Memory::default(), Vec::new()),
        Ok(Some(content)) => content,
        Err(source) => {
            // The next write would replace it.
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
