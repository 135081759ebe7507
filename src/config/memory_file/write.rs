//! Writes the file: the entries that this version knows, and those that it keeps for other versions.

use crate::psa::memory::{Memory, Unread};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Returns the content of the file for this memory.
#[must_use]
pub fn write(memory: &Memory) -> Vec<u8> {
    // Plain values and maps with text keys: this does not fail.
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

/// JSON in which some parts keep their original text.
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

    /// Whether the file means the same without this value.
    fn is_default(&self) -> bool {
        match self {
            Node::Object(object) => object.values().all(Node::is_default),
            Node::List(list) => list.is_empty(),
            Node::Value(value) => matches!(value, Value::Null | Value::Bool(false)),
            Node::Text(_) => false,
        }
    }

    /// Inserts an entry that was not understood, unless its place is taken or the object that contained it is gone.
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
