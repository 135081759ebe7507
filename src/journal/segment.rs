//! Reads a segment.

use super::records::{Decoder, Record};
use super::{BLOCK_HEAD, FORMAT, Header, Kind, MAGIC, MOST_UNPACKED, pack, sum};
use crate::psa::action::Action;
use crate::psa::event::Event;
use crate::psa::report::snapshot::Piece;
use crate::psa::units::Millis;
use crate::psa::world::World;
use serde::de::DeserializeOwned;

/// An invalid part of a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {what}")]
pub struct Damage {
    /// Offset of the block from the start of the segment, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub what: String,
}

/// How a segment ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The agent closed it, for this reason.
    Closed(String),
    /// It ends after a complete block, for example because the agent was killed.
    Open,
    /// It ends within the block at this offset, for example because the file system was full.
    Cut(usize),
}

/// Iterates over the blocks of a segment.
struct Blocks<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A block, incomplete if the file was cut.
struct Block {
    kind: Kind,
    offset: usize,
    content: Vec<u8>,
    whole: bool,
}

impl Blocks<'_> {
    /// Returns the next block, or `None` at the end of the file. A block that was cut within its header has no content.
    fn next(&mut self) -> Result<Option<Block>, Damage> {
        let offset = self.at;
        let damage = |what: &str| Damage {
            offset,
            what: what.to_owned(),
        };
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let Some((byte, _)) = rest.split_first() else {
            return Ok(None);
        };
        let kind = Kind::ALL.into_iter().find(|kind| kind.byte() == *byte);
        let kind = kind.ok_or_else(|| damage("this is not the start of a block"))?;
        let number = |from: usize| {
            let bytes = rest.get(from..from + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let cut = || Block {
            kind,
            offset,
            content: Vec::new(),
            whole: false,
        };
        let (Some(unpacked), Some(length), Some(wanted)) = (number(1), number(5), number(9)) else {
            self.at = self.bytes.len();
            return Ok(Some(cut()));
        };
        if unpacked > MOST_UNPACKED {
            return Err(damage("the size of the block is larger than the maximum"));
        }
        let content = rest.get(BLOCK_HEAD..).unwrap_or_default();
        let whole = content.get(..length);
        if let Some(whole) = whole
            && sum(whole) as usize != wanted
        {
            return Err(damage("the block is damaged: wrong checksum"));
        }
        let content = whole.unwrap_or(content);
        let content = match unpacked {
            0 => content.to_vec(),
            _ => pack::unpack(content, unpacked).map_err(damage)?,
        };
        self.at = match whole {
            Some(whole) => offset + BLOCK_HEAD + whole.len(),
            None => self.bytes.len(),
        };
        Ok(Some(Block {
            kind,
            offset,
            content,
            whole: whole.is_some(),
        }))
    }
}

/// A segment whose header and world were read.
pub struct Segment<'a> {
    /// Its header.
    pub header: Header,
    /// The world when the segment begins.
    pub world: World,
    /// The steps that follow.
    pub steps: Steps<'a>,
}

/// An event and the actions that the world returned for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The world's time.
    pub at: Millis,
    /// The event.
    pub event: Event,
    /// The actions.
    pub actions: Vec<Action>,
    /// Whether all actions are present: those of the last step of a cut segment may be incomplete.
    pub whole: bool,
}

impl<'a> Segment<'a> {
    /// Reads the header and the world of a segment.
    ///
    /// # Errors
    /// It is not a segment, has another version of the format, or is cut or damaged before the first step.
    pub fn open(bytes: &'a [u8]) -> Result<Segment<'a>, Damage> {
        let at_begin = |what: String| Damage { offset: 0, what };
        if !bytes.starts_with(MAGIC) {
            return Err(at_begin(
                "this is not a segment of a dm-psa journal".to_owned(),
            ));
        }
        let mut blocks = Blocks {
            bytes,
            at: MAGIC.len(),
        };
        let first = blocks.next()?.filter(|block| block.whole);
        let first = first.filter(|block| block.kind == Kind::Header);
        let first = first.ok_or_else(|| at_begin("it has no header".to_owned()))?;
        let header: Header = understand(&first)?;
        if header.format != FORMAT {
            return Err(at_begin(format!(
                "it has format {}, and this build reads format {FORMAT}: use the psactl that was installed with the agent that wrote it (dm-psa {})",
                header.format, header.program
            )));
        }
        let mut world: Option<World> = None;
        let mut held = None;
        while let Some(block) = blocks.next()? {
            if block.kind != Kind::Snapshot {
                held = Some(block);
                break;
            }
            if !block.whole {
                return Err(Damage {
                    offset: block.offset,
                    what: "it ends before the initial state is complete: it cannot be replayed"
                        .to_owned(),
                });
            }
            match (understand(&block)?, &mut world) {
                (Piece::Rest(rest), none) => *none = Some(*rest),
                (piece, Some(world)) => world.put(piece),
                (_, None) => {
                    return Err(Damage {
                        offset: block.offset,
                        what: "a part of the initial state without its beginning".to_owned(),
                    });
                }
            }
        }
        let world = world.ok_or_else(|| at_begin("it has no initial state".to_owned()))?;
        let decoder = Decoder::new(header.at);
        Ok(Segment {
            header,
            world,
            steps: Steps {
                blocks,
                held,
                decoder,
                block: None,
                done: 0,
                next: None,
                finish: None,
            },
        })
    }
}

fn understand<T: DeserializeOwned>(block: &Block) -> Result<T, Damage> {
    serde_json::from_slice(&block.content).map_err(|why| Damage {
        offset: block.offset,
        what: format!("this build cannot read it: {why}"),
    })
}

/// The steps of a segment.
pub struct Steps<'a> {
    blocks: Blocks<'a>,
    /// The block after the world, read while looking for the end of the world.
    held: Option<Block>,
    decoder: Decoder,
    /// The block whose records are being read, and how many of its bytes were read.
    block: Option<Block>,
    done: usize,
    /// The event of the next step, read while looking for the end of the last step.
    next: Option<(Millis, Event)>,
    finish: Option<Finish>,
}

impl Steps<'_> {
    /// How the segment ends; `None` until all steps were read.
    #[must_use]
    pub fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// Offset of the block that is being read, from the start of the segment, in bytes.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.block
            .as_ref()
            .map_or(self.blocks.at, |block| block.offset)
    }

    /// Returns the next step, or `None` at the end.
    ///
    /// # Errors
    /// The next step cannot be read; those returned before are valid.
    pub fn read(&mut self) -> Result<Option<Step>, Damage> {
        loop {
            // Blocks hold whole steps, so a step never continues in the next block.
            if let Some(step) = self.step_of_block()? {
                return Ok(Some(step));
            }
            if self.finish.is_some() {
                return Ok(None);
            }
            let block = match self.held.take() {
                Some(block) => Some(block),
                None => self.blocks.next()?,
            };
            match block {
                None => self.finish = Some(Finish::Open),
                Some(block) if block.kind == Kind::Events => {
                    (self.block, self.done) = (Some(block), 0)
                }
                Some(block) if !block.whole => self.finish = Some(Finish::Cut(block.offset)),
                Some(block) if block.kind == Kind::End => {
                    self.finish = Some(Finish::Closed(understand(&block)?));
                }
                Some(block) => {
                    return Err(Damage {
                        offset: block.offset,
                        what: "a block that is only valid at the start of a segment".to_owned(),
                    });
                }
            }
        }
    }

    /// Returns the next step of the current block, or `None` if there are no more.
    fn step_of_block(&mut self) -> Result<Option<Step>, Damage> {
        let Some(block) = &self.block else {
            return Ok(None);
        };
        let offset = block.offset;
        let damage = |what: String| Damage { offset, what };
        let content = &block.content;
        let mut rest = content.get(self.done..).unwrap_or_default();
        let mut event = self.next.take();
        let mut actions = Vec::new();
        let whole = loop {
            match self.decoder.take(&mut rest).map_err(damage)? {
                Some(Record::Event(at, next)) => {
                    if event.is_some() {
                        self.next = Some((at, next));
                        break true;
                    }
                    event = Some((at, next));
                }
                Some(Record::Action(action)) if event.is_some() => actions.push(action),
                Some(Record::Action(_)) => {
                    return Err(damage("an action without an event before it".to_owned()));
                }
                None if block.whole && !rest.is_empty() => {
                    return Err(damage("its last record is incomplete".to_owned()));
                }
                None => break block.whole,
            }
        };
        self.done = content.len() - rest.len();
        if self.next.is_none() {
            if !block.whole {
                self.finish = Some(Finish::Cut(offset));
            }
            self.block = None;
        }
        Ok(event.map(|(at, event)| Step {
            at,
            event,
            actions,
            whole,
        }))
    }
}
