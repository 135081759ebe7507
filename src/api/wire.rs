//! The varlink wire: one JSON object and a NUL byte for each message, over a stream socket. Pure.
//!
//! Any bytes may come in. A message longer than the limit is refused before it is kept; JSON nested deeper than
//! serde_json's 128 levels is refused by its parser.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;

/// Longest call that the agent accepts, in bytes without the NUL.
pub const MAX_CALL: usize = 1 << 20;

/// Longest reply that a client accepts and the agent sends, in bytes without the NUL.
pub const MAX_REPLY: usize = 16 << 20;

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Full name of the method.
    pub method: String,
    /// An object; left out means empty.
    #[serde(default = "empty_object")]
    pub parameters: Value,
    /// The client accepts several replies. One is always allowed, and the agent gives one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// The client wants no reply.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
    /// The client wants to leave varlink after this call: refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade: bool,
}

impl Call {
    /// A plain call.
    #[must_use]
    pub fn new(method: &str, parameters: Value) -> Call {
        Call {
            method: method.to_owned(),
            parameters,
            more: false,
            oneway: false,
            upgrade: false,
        }
    }
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Name of the error, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// An object; left out means empty.
    #[serde(default = "empty_object")]
    pub parameters: Value,
    /// Another reply follows.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it with a reference
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// It is longer than the limit.
    #[error("a message is longer than {limit} bytes")]
    TooLong {
        /// The limit, bytes.
        limit: usize,
    },
    /// It is not JSON, or not of the wanted form.
    #[error("a message is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// The bytes of a message with its NUL.
///
/// # Errors
/// [`WireError::TooLong`] as soon as the text passes `limit`; no more than that is ever kept.
pub fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, WireError> {
    let mut out = Capped {
        bytes: Vec::new(),
        limit,
    };
    match serde_json::to_writer(&mut out, message) {
        Ok(()) => {
            out.bytes.push(0);
            Ok(out.bytes)
        }
        Err(why) if why.is_io() => Err(WireError::TooLong { limit }),
        Err(why) => Err(why.into()),
    }
}

/// Understands one message, without its NUL.
///
/// # Errors
/// [`WireError::Json`].
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, WireError> {
    Ok(serde_json::from_slice(frame)?)
}

/// A buffer that refuses to grow past its limit.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit.saturating_sub(self.bytes.len()) {
            return Err(io::Error::other("limit reached"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts a stream of bytes into messages.
///
/// Holds at most one message of the limit and what was pushed last: push only after [`Decoder::take`] gave `None`.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// Up to here there is no NUL, so that a message in many small pieces is not searched again for each.
    searched: usize,
    limit: usize,
}

impl Decoder {
    /// For messages of at most `limit` bytes, without the NUL.
    #[must_use]
    pub fn new(limit: usize) -> Decoder {
        Decoder {
            bytes: Vec::new(),
            searched: 0,
            limit,
        }
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next whole message out, without its NUL; `None` if it is not whole yet.
    ///
    /// # Errors
    /// [`WireError::TooLong`]: the stream cannot be used any more.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let end = self.end();
        if end.unwrap_or(self.bytes.len()) > self.limit {
            return Err(WireError::TooLong { limit: self.limit });
        }
        let Some(end) = end else {
            self.searched = self.bytes.len();
            return Ok(None);
        };
        let rest = self.bytes.split_off(end.saturating_add(1));
        let mut frame = std::mem::replace(&mut self.bytes, rest);
        frame.pop();
        self.searched = 0;
        Ok(Some(frame))
    }

    /// Whether [`Decoder::take`] has something to say.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.end().is_some() || self.bytes.len() > self.limit
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn end(&self) -> Option<usize> {
        let rest = self.bytes.get(self.searched..)?;
        let at = rest.iter().position(|byte| *byte == 0)?;
        Some(self.searched.saturating_add(at))
    }
}
