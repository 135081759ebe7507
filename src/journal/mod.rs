//! The journal: a recording of the events an agent received and the actions it returned, which can be replayed.
//!
//! [`crate::psa::world::World`] is pure: the same events give the same actions. A snapshot of the world and the events
//! that follow it are therefore enough to reproduce, on any machine, why an agent did what it did. The actions are
//! recorded too, so that a replay can be compared with them.
//!
//! A *segment* is a self-contained file: [`MAGIC`], then blocks.
//!
//! ```text
//! block    kind (1 byte), unpacked length or 0 (4), length (4), FNV-1a of the content (4), content. Little endian.
//!          A nonzero unpacked length means that the content is packed, see `pack`.
//! kind H   JSON of a `Header`: first, once
//!      S   JSON of a `Piece` of the world when the segment begins: once or more, the first is `Piece::Rest`
//!      E   records of whole steps, see `records`
//!      Z   JSON of the reason why the segment ends; missing if the agent was killed
//! ```
//!
//! A file that was cut anywhere is readable up to its last complete record. An [`archive`] is one file that holds
//! several segments.
//! Writer: the thread of `agent/record.rs`. Readers: `psactl replay`, `tests/journal.rs`, `tests/fuzz`.
//! Invariants: on any input, the reader neither panics nor loops, and allocates at most `MOST_UNPACKED` bytes at a
//! time for the content of a block. Tests: here, and `tests/journal.rs`.

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

/// The first bytes of a segment.
pub const MAGIC: &[u8] = b"dm-psa journal 1\n";

/// The version of the format.
pub const FORMAT: u32 = 5;

/// The file name suffix of segments.
pub(crate) const SUFFIX: &str = ".journal";

/// The maximum unpacked size of a block, in bytes.
pub(crate) const MOST_UNPACKED: usize = 256 << 20;

/// Shorter content is not packed.
const WORTH_PACKING: usize = 1024;

/// Size of a block's header, in bytes.
const BLOCK_HEAD: usize = 13;

/// The header of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format: [`FORMAT`] when written.
    pub format: u32,
    /// Version of the agent.
    pub program: String,
    /// When this agent started, in ms since 1970; the same in all its segments.
    pub agent_started_ms: u64,
    /// Number of the segment; the numbering continues across restarts of the agent.
    pub number: u64,
    /// The time of day at [`Header::at`], in ms since 1970.
    pub wall_ms: u64,
    /// The world's time when the segment begins.
    pub at: Millis,
    /// Whether the segment continues exactly where the previous one ends.
    pub continues: bool,
    /// Events since the previous segment that were not recorded, because the writer did not keep up or failed.
    pub lost_events: u64,
}

impl Header {
    /// Converts a time of the world to a time of day, in ms since 1970.
    #[must_use]
    pub(crate) fn wall(&self, at: Millis) -> u64 {
        self.wall_ms.saturating_add(at.since(self.at).0)
    }
}

/// Type of a block.
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

/// 32-bit FNV-1a: it detects accidental corruption, but does not protect against deliberate changes.
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
        // A block never reaches 4 GiB: the agent would have to receive that much within a tenth of a second.
        out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend_from_slice(&sum(content).to_le_bytes());
    out.extend_from_slice(content);
    out
}

/// Serializes a value that consists of plain values and maps with text keys; this never fails.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Returns the start of a segment: [`MAGIC`] and the header block.
#[must_use]
pub fn begin(header: &Header) -> Vec<u8> {
    [MAGIC, &block(Kind::Header, &json(header))].concat()
}

/// Returns the block for a piece of the world at the start of a segment.
#[must_use]
pub fn snapshot(piece: &Piece) -> Vec<u8> {
    block(Kind::Snapshot, &json(piece))
}

/// Returns the block for the records of whole steps.
#[must_use]
pub fn steps(records: &[u8]) -> Vec<u8> {
    block(Kind::Events, records)
}

/// Returns the block that ends a segment, with the reason.
#[must_use]
pub fn end(why: &str) -> Vec<u8> {
    block(Kind::End, &json(&why))
}
