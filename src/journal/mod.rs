//! What an agent was told and what it wanted, written down so that it can be done again.
//!
//! [`crate::psa::world::World`] is pure: the same events give the same actions. So a world written down once, and the
//! events from there on, are all that is needed to see on any machine why a host's agent did what it did; the actions
//! are written down too, to be held against.
//!
//! A *segment* is a file that can be read without any other: [`MAGIC`], then blocks.
//!
//! ```text
//! block    kind (1 byte), unpacked length or 0 (4), length (4), FNV-1a of the content (4), content. Little endian.
//!          An unpacked length that is not 0 says that the content is packed, as `pack` does it.
//! kind H   JSON of a `Header`: first, once
//!      S   JSON of a `Piece` of the world as it is when the segment begins: once or more, the first is `Piece::Rest`
//!      E   records of whole steps, see `records`
//!      Z   JSON of why the segment ends; missing if the agent was killed
//! ```
//!
//! A file that was cut anywhere is readable up to its last whole record. [`archive`] is a file of several segments.
//! Writer: the thread of `agent/record.rs`. Readers: `psactl replay`, `tests/journal.rs`, `tests/fuzz`.
//! Invariants: no bytes make the reader panic, loop, or take more memory than [`MOST_UNPACKED`] at a time for what a
//! block holds. Tests: here, and `tests/journal.rs`.

#![forbid(unsafe_code)]

pub mod archive;
mod pack;
pub mod records;
mod replay;
mod segment;
mod varint;

pub use replay::{Difference, Replay, Stop};
pub use segment::{Damage, Finish, Segment, Step, Steps};

use crate::psa::report::snapshot::Piece;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};

/// What a segment begins with.
pub const MAGIC: &[u8] = b"dm-psa journal 1\n";

/// The version of the format.
pub const FORMAT: u32 = 4;

/// How the names of segments end.
pub const SUFFIX: &str = ".journal";

/// The most that a block may hold, unpacked, in bytes.
pub const MOST_UNPACKED: usize = 256 << 20;

/// What is shorter is not packed.
const WORTH_PACKING: usize = 1024;

/// Bytes of a block before its content.
const BLOCK_HEAD: usize = 13;

/// What a segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the agent.
    pub program: String,
    /// When this agent started, in ms since 1970: all its segments have the same.
    pub agent_started_ms: u64,
    /// Number of the segment; counts on from one agent to the next.
    pub number: u64,
    /// The time of day at [`Header::at`], in ms since 1970.
    pub wall_ms: u64,
    /// The world's time when the segment begins.
    pub at: Millis,
    /// Whether the segment goes on where the one before it ends.
    pub continues: bool,
    /// Events that this agent did not write down, because the writer did not keep up, up to here.
    pub lost_events: u64,
}

impl Header {
    /// The time of day at a time of the world, in ms since 1970.
    #[must_use]
    pub fn wall(&self, at: Millis) -> u64 {
        self.wall_ms.saturating_add(at.since(self.at).0)
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Header = b'H',
    Snapshot = b'S',
    Events = b'E',
    End = b'Z',
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Header, Kind::Snapshot, Kind::Events, Kind::End];

    fn byte(self) -> u8 {
        self as u8
    }
}

/// FNV-1a with 32 bits: it finds what went wrong on the way, and is no protection against a person.
fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn block(kind: Kind, content: &[u8]) -> Vec<u8> {
    let packed = (content.len() >= WORTH_PACKING).then(|| pack::pack(content));
    let unpacked = if packed.is_some() { content.len() } else { 0 };
    let content = packed.as_deref().unwrap_or(content);
    let mut out = Vec::with_capacity(BLOCK_HEAD + content.len());
    out.push(kind.byte());
    for number in [unpacked, content.len()] {
        // A block of 4 GiB is never made: the agent would have to have been told as much in a tenth of a second.
        out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend_from_slice(&sum(content).to_le_bytes());
    out.extend_from_slice(content);
    out
}

/// JSON of what is made of plain values and maps with text keys; that never fails.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// The begin of a segment.
#[must_use]
pub fn begin(header: &Header) -> Vec<u8> {
    [MAGIC, &block(Kind::Header, &json(header))].concat()
}

/// A piece of the world at the begin of a segment, as it is written.
#[must_use]
pub fn snapshot(piece: &Piece) -> Vec<u8> {
    block(Kind::Snapshot, &json(piece))
}

/// Records of whole steps, as they are written.
#[must_use]
pub fn steps(records: &[u8]) -> Vec<u8> {
    block(Kind::Events, records)
}

/// The end of a segment.
#[must_use]
pub fn end(why: &str) -> Vec<u8> {
    block(Kind::End, &json(&why))
}
