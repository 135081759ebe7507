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
//! The format: a newer version adds fields and never changes the kind of one. [`MEMORY`] lists what this version knows.
//! Entries of a damaged file are told apart by the layout that [`write`] gives them: a line each, indented by depth.
//! Tests: `tests/memory.rs`, with the files of `tests/golden/memory`.

use super::{ConfigError, Places, store};
use crate::psa::adapter::Transport;
use crate::psa::memory::{Memory, Unread};
use crate::psa::path::{BlockFacts, Handler};
use crate::psa::plugin::hpp::Scheme;
use crate::psa::settings::LimitType;
use crate::psa::units::{Hctl, Sg};
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A file that is longer was not written by an agent: ten thousand masked paths take a sixth of it.
const MOST_BYTES: u64 = 64 << 20;

/// This many problems of one file are reported one by one.
const MOST_PROBLEMS: usize = 20;

/// This many copies of damaged files are kept.
const COPIES: usize = 3;

/// What a value has to look like.
enum Form {
    /// A value of one type, read as a whole.
    One(fn(&[u8]) -> Result<Value, String>),
    /// A list of texts.
    Texts,
    /// An object with any keys.
    Table(&'static Form),
    /// An object with these keys.
    Fields {
        known: &'static [(&'static str, Form)],
        /// Without these it means nothing.
        required: &'static [&'static str],
    },
}

/// A value of this type.
const fn one<T: DeserializeOwned>() -> Form {
    Form::One(|text| {
        serde_json::from_slice::<T>(text)
            .and_then(|_| serde_json::from_slice(text))
            .map_err(|error| reason(&error))
    })
}

/// An object with these keys.
const fn fields(known: &'static [(&'static str, Form)], required: &'static [&'static str]) -> Form {
    Form::Fields { known, required }
}

static MEMORY: Form = fields(
    &[
        (DEVICES, Form::Texts),
        ("settings", Form::Table(&DEVICE_SETTINGS)),
        ("paths_off", Form::Texts),
        ("devices_off", Form::Texts),
        ("autoclaim_off", one::<bool>()),
        ("masked", Form::Table(&MASKED_PATH)),
        ("adapters", Form::Table(&ADAPTER)),
    ],
    &[],
);

const DEVICES: &str = "devices";

static DEVICE_SETTINGS: Form = fields(
    &[
        ("psp", one::<Option<String>>()),
        ("scheme", one::<Option<Scheme>>()),
        ("preferred", one::<Option<String>>()),
        ("round_robin", ROUND_ROBIN),
        ("ranks", Form::Table(&RANK)),
        ("satp", Form::Table(&FLAG)),
        ("apd_timeout_ms", one::<Option<u64>>()),
        ("is_ssd", one::<Option<bool>>()),
        ("fast_io_fail_tmo", one::<Option<u32>>()),
        ("dev_loss_tmo", one::<Option<u32>>()),
        ("display_name", one::<Option<String>>()),
        ("perennially_reserved", one::<Option<bool>>()),
        ("shared_clusterwide", one::<Option<bool>>()),
    ],
    &[],
);

static RANK: Form = one::<i32>();

static FLAG: Form = one::<bool>();

const ROUND_ROBIN: Form = fields(
    &[
        ("limit_type", one::<Option<LimitType>>()),
        ("iops", one::<Option<u64>>()),
        ("bytes", one::<Option<u64>>()),
        ("use_ano", one::<Option<bool>>()),
        ("sampling_cycles", one::<Option<u32>>()),
        ("latency_eval_ms", one::<Option<u64>>()),
    ],
    &[],
);

static MASKED_PATH: Form = fields(
    &[
        ("facts", PATH_FACTS),
        ("inquiry", one::<Vec<u8>>()),
        ("device", one::<Option<String>>()),
        ("rule", one::<u32>()),
    ],
    &["facts", "inquiry", "rule"],
);

const PATH_FACTS: Form = fields(
    &[
        ("hctl", one::<Hctl>()),
        ("block", one::<Option<BlockFacts>>()),
        ("sg", one::<Option<Sg>>()),
        ("device_type", one::<u8>()),
        ("device_state", one::<String>()),
        ("handler", one::<Handler>()),
        ("transport", one::<Transport>()),
        ("adapter", ADAPTER_FACTS),
        ("target", TARGET_FACTS),
    ],
    &[
        "hctl",
        "device_type",
        "device_state",
        "handler",
        "transport",
        "adapter",
        "target",
    ],
);

const ADAPTER_FACTS: Form = fields(
    &[
        ("key", TEXT),
        ("identifier", TEXT),
        ("driver", TEXT),
        ("link_state", TEXT),
        ("description", TEXT),
    ],
    &["key", "identifier", "driver", "link_state", "description"],
);

const TARGET_FACTS: Form = fields(
    &[
        ("identifier", TEXT),
        ("details", TEXT),
        ("portal", one::<Option<String>>()),
        ("port_state", one::<Option<String>>()),
    ],
    &["identifier", "details"],
);

const TEXT: Form = one::<String>();

static ADAPTER: Form = fields(
    &[("number", one::<u32>()), ("targets", Form::Table(&NUMBER))],
    &["number"],
);

static NUMBER: Form = one::<u32>();

/// What serde says, without the place: that is counted from the begin of the entry.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

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

/// The texts of the members of an object or a list.
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

/// Key and text of a member of an object, or why it is none.
type Member<'a> = Result<(String, &'a [u8]), String>;

/// The members of an object that is so deep in the file.
fn members(text: &[u8], depth: usize) -> Result<Vec<Member<'_>>, String> {
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

/// The texts of the elements of a list that is so deep in the file.
fn elements(text: &[u8], depth: usize) -> Result<Vec<&[u8]>, String> {
    match serde_json::from_slice(text) {
        Ok(Parts::List(list)) => Ok(list.iter().map(|text| text.get().as_bytes()).collect()),
        Ok(Parts::Object(_)) => Err("it is an object where a list is expected".to_owned()),
        Err(error) if error.is_data() => Err(reason(&error)),
        Err(error) => chunks(text, b"[", depth).ok_or_else(|| reason(&error)),
    }
}

/// What is between the brackets of a damaged object or list, by the indentation that [`write`] gives each entry.
fn chunks<'a>(text: &'a [u8], bracket: &[u8], depth: usize) -> Option<Vec<&'a [u8]>> {
    let indentation = 2 * (depth + 1);
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next()?;
    if first.trim_ascii() != bracket {
        return None;
    }
    let mut chunks = Vec::new();
    // Where the entry begins that is being passed, and whether its bracket is still to come.
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

/// Takes the text of a member apart.
fn member(chunk: &[u8]) -> Member<'_> {
    let mut keys = serde_json::Deserializer::from_slice(chunk).into_iter::<String>();
    let key = keys.next().and_then(Result::ok);
    let rest = chunk.get(keys.byte_offset()..).unwrap_or_default();
    let value = rest.trim_ascii_start().strip_prefix(b":");
    key.zip(value.map(<[u8]>::trim_ascii))
        .ok_or_else(|| format!("`{}` is not an entry", begin_of(chunk)))
}

/// The begin of a text, for a message.
fn begin_of(text: &[u8]) -> String {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).chars().take(60).collect()
}

/// The content of the file for this memory.
#[must_use]
pub fn write(memory: &Memory) -> Vec<u8> {
    // Plain values, and maps with text keys: that does not fail.
    let mut value = serde_json::to_value(memory).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.remove("not_understood");
    }
    let mut file = Node::of(value);
    for unread in &memory.not_understood {
        if let Ok(text) = RawValue::from_string(unread.text.clone()) {
            file.put(unread, Node::Text(text));
        }
    }
    let mut content = serde_json::to_vec_pretty(&file).unwrap_or_default();
    content.push(b'\n');
    content
}

/// JSON of which parts are kept as they were written.
#[derive(Serialize)]
#[serde(untagged)]
enum Node {
    Object(BTreeMap<String, Node>),
    List(Vec<Node>),
    Value(Value),
    Text(Box<RawValue>),
}

impl Node {
    fn of(value: Value) -> Node {
        match value {
            Value::Object(object) => Node::Object(
                object
                    .into_iter()
                    .map(|(key, value)| (key, Node::of(value)))
                    .collect(),
            ),
            Value::Array(list) => Node::List(list.into_iter().map(Node::of).collect()),
            value => Node::Value(value),
        }
    }

    /// Whether it says no more than a file without it would.
    fn is_default(&self) -> bool {
        match self {
            Node::Object(object) => object.values().all(Node::is_default),
            Node::List(list) => list.is_empty(),
            Node::Value(value) => matches!(value, Value::Null | Value::Bool(false)),
            Node::Text(_) => false,
        }
    }

    /// Puts in what was not understood, unless its place is taken, or what it was a part of is gone.
    fn put(&mut self, unread: &Unread, text: Node) {
        let (above, own) = match unread.place.split_last() {
            Some((own, above)) if !unread.is_element => (above, Some(own)),
            _ => (unread.place.as_slice(), None),
        };
        let mut node = self;
        for key in above {
            let Node::Object(object) = node else {
                return;
            };
            let Some(next) = object.get_mut(key) else {
                return;
            };
            node = next;
        }
        match (node, own) {
            (Node::Object(object), Some(own)) => {
                if object.get(own).is_none_or(Node::is_default) {
                    object.insert(own.clone(), text);
                }
            }
            (Node::List(list), None) => list.push(text),
            _ => {}
        }
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
            let aside = aside(&file, |aside| std::fs::rename(&file, aside));
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
        .then(|| copy(&file, &content));
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

/// Keeps a copy of a file that was not understood, and says where.
fn copy(file: &Path, content: &[u8]) -> String {
    let newest = copies(file).into_iter().next();
    if let Some(newest) =
        newest.filter(|copy| std::fs::read(copy).is_ok_and(|text| text == content))
    {
        return format!("it is kept as {}", newest.display());
    }
    aside(file, |copy| store::replace(copy, content))
}

/// Puts a file among the copies, of which the oldest goes, and says where it is.
fn aside(file: &Path, put: impl Fn(&Path) -> io::Result<()>) -> String {
    let copies = copies(file);
    for pair in copies.windows(2).rev() {
        if let [newer, older] = pair {
            // There need not be so many yet.
            let _ = std::fs::rename(newer, older);
        }
    }
    let Some(copy) = copies.first() else {
        return String::new();
    };
    match put(copy) {
        Ok(()) => format!("it is kept as {}", copy.display()),
        Err(error) => format!("it could not be kept as {}: {error}", copy.display()),
    }
}

/// The copies of damaged files, the newest first: `memory.json.damaged`, `memory.json.damaged.1`.
fn copies(file: &Path) -> Vec<PathBuf> {
    let name = |n: usize| match n {
        0 => file.with_extension("json.damaged"),
        n => file.with_extension(format!("json.damaged.{n}")),
    };
    (0..COPIES).map(name).collect()
}
