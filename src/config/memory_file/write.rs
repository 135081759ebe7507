//! The file as it is written: what this version knows, and what it keeps for others.

use crate::psa::memory::{Memory, Unread};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

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
            (Node::Object(object), Some(own)) if object.get(own).is_none_or(Node::is_default) => {
                object.insert(own.clone(), text);
            }
            (Node::List(list), None) => list.push(text),
            _ => {}
        }
    }
}
