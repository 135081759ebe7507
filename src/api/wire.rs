//! The varlink wire format: each message is one JSON object and a NUL byte, on a stream socket. Pure.
//!
//! Input may be any bytes. A message longer than the limit is refused before it is buffered; JSON nested deeper than
//! serde_json's 128 levels is refused by its parser.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;

/// Maximum length of a call that the agent accepts, in bytes without the NUL.
pub const MAX_CALL: usize = 1 << 20;

/// Maximum length of a reply that a client accepts and the agent sends, in bytes without the NUL.
pub const MAX_REPLY: usize = 16 << 20;

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Full name of the method.
    pub method: String,
    /// An object; empty if absent.
    #[serde(default = "empty_object")]
    pub parameters: Value,
    /// The client accepts several replies. A single one is always allowed, and the agent sends a single one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// The client wants no reply.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
    /// The client wants to switch to another protocol after this call: refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade: bool,
}

impl Call {
    /// Creates a call that expects one reply.
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
    /// Name of the error, if the reply is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// An object; empty if absent.
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
    /// It is not JSON, or has the wrong form.
    #[error("a message is invalid: {0}")]
    Json(#[from] serde_json::Error),
}

/// Encodes a message with its NUL.
///
/// # Errors
/// [`WireError::TooLong`] as soon as the text exceeds `limit`; no more than that is ever buffered.
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

/// Decodes one message, without its NUL.
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

/// Splits a stream of bytes into messages.
///
/// Holds at most one message of maximum length and the last pushed bytes: push only after [`Decoder::take`] returned
/// `None`.
#[derive(Debug)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// There is no NUL before this offset, so that a message in many small pieces is not searched again for each piece.
    searched: usize,
    limit: usize,
}

impl Decoder {
    /// Creates a decoder for messages of at most `limit` bytes, without the NUL.
    #[must_use]
    pub fn new(limit: usize) -> Decoder {
        Decoder {
            bytes: Vec::new(),
            searched: 0,
            limit,
        }
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next message, without its NUL; `None` if it is not complete yet.
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

    /// Whether [`Decoder::take`] would return a message or an error.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.end().is_some() || self.bytes.len() > self.limit
    }

    /// Whether no bytes are buffered.
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
