//! The files of the journal: a ring of bounded size, written by one thread.

use crate::journal::{Header, SUFFIX, begin, end, snapshot, steps};
use crate::kernel::NoticeSink;
use crate::psa::action::Notice;
use crate::psa::codes;
use crate::psa::report::snapshot::Pieces;
use crate::psa::world::World;
use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

/// Number of segments in the ring, if the world is small enough.
const SEGMENTS: u64 = 8;

/// A part of the journal.
pub(super) enum Work {
    /// Begin a segment with this world.
    Begin(Box<(Header, World)>),
    /// Records, and the number of steps in them.
    Steps { records: Vec<u8>, steps: u64 },
    /// End the segment for this reason.
    End(&'static str),
}

impl Work {
    /// Its size in the queue, in bytes. A world counts little, because there is never more than one.
    pub(super) fn weight(&self) -> usize {
        match self {
            Work::Steps { records, .. } => records.len().saturating_add(64),
            Work::Begin(_) | Work::End(_) => 64,
        }
    }
}

/// State shared by the owner and the thread.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Bytes that wait to be written.
    pub queued: AtomicUsize,
    /// Space left in the segment, in bytes.
    pub left: AtomicI64,
    /// Writing failed; nothing is written until a new segment begins.
    pub failed: AtomicBool,
    /// Steps that were dropped because of a failure.
    pub dropped: AtomicU64,
    /// No journal can be written.
    pub off: AtomicBool,
    /// A test holds this lock to block the thread.
    #[cfg(test)]
    pub stuck: std::sync::Mutex<()>,
}

/// The segments in the folder.
pub(super) struct Ring {
    folder: PathBuf,
    budget: u64,
    /// The existing segments and their lengths, oldest first; the last is the one being written.
    there: VecDeque<(PathBuf, u64)>,
    open: Option<File>,
    next: u64,
    shared: Arc<Shared>,
    notice_sink: NoticeSink,
    reported: bool,
}

impl Ring {
    pub(super) fn new(
        folder: PathBuf,
        mib: u32,
        shared: Arc<Shared>,
        notice_sink: NoticeSink,
    ) -> Ring {
        Ring {
            folder,
            budget: u64::from(mib) << 20,
            there: VecDeque::new(),
            open: None,
            next: 0,
            shared,
            notice_sink,
            reported: false,
        }
    }

    /// Writes parts until the sender is gone.
    pub(super) fn serve(mut self, parts: &Receiver<Work>) {
        for work in parts {
            #[cfg(test)]
            drop(self.shared.stuck.lock());
            let weight = work.weight();
            let steps = match &work {
                Work::Steps { steps, .. } => *steps,
                Work::Begin(_) | Work::End(_) => 0,
            };
            if let Err(error) = self.write(work) {
                self.failed(&error);
                self.shared.dropped.fetch_add(steps, Ordering::AcqRel);
            }
            self.shared.queued.fetch_sub(weight, Ordering::AcqRel);
        }
    }

    fn failed(&mut self, error: &io::Error) {
        // What was written stays, and is readable up to this point.
        self.open = None;
        self.shared.failed.store(true, Ordering::Release);
        if !std::mem::replace(&mut self.reported, true) {
            let (folder, reason) = (self.folder.display().to_string(), error.to_string());
            let details = [("folder", folder.as_str()), ("reason", &reason)];
            self.notice_sink
                .notify(Notice::new(codes::JOURNAL_WRITE_FAILED, "agent", &details));
        }
    }

    fn write(&mut self, work: Work) -> io::Result<()> {
        match work {
            Work::Begin(begin) => {
                let (header, world) = *begin;
                self.begin(header, world)
            }
            Work::Steps { steps: count, .. } if self.open.is_none() => {
                self.shared.dropped.fetch_add(count, Ordering::AcqRel);
                Ok(())
            }
            Work::Steps { records, .. } => {
                let block = steps(&records);
                let length = i64::try_from(block.len()).unwrap_or(i64::MAX);
                self.shared.left.fetch_sub(length, Ordering::Relaxed);
                self.append(&block)
            }
            Work::End(why) => {
                self.append(&end(why))?;
                self.open = None;
                Ok(())
            }
        }
    }

    fn begin(&mut self, mut header: Header, world: World) -> io::Result<()> {
        self.open = None;
        if self.next == 0 {
            self.look()?;
        }
        header.number = self.next;
        self.next = self.next.saturating_add(1);
        let path = self.folder.join(format!("{:010}{SUFFIX}", header.number));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        self.there.push_back((path, 0));
        self.open = Some(file);
        self.append(&begin(&header))?;
        for piece in Pieces::of(world) {
            let block = snapshot(&piece);
            if self.length().saturating_add(block.len() as u64) > self.budget / 2 {
                return self.give_up(block.len());
            }
            self.append(&block)?;
        }
        // A segment is at least four times as large as its world, up to half the ring. Otherwise the ring would hold
        // mostly worlds, and writing worlds would cost more than recording the events.
        let taken = self.length();
        let target = (self.budget / SEGMENTS).max(4 * taken).min(self.budget / 2);
        let left = i64::try_from(target.saturating_sub(taken)).unwrap_or(i64::MAX);
        self.shared.left.store(left.max(1), Ordering::Relaxed);
        self.reported = false;
        Ok(())
    }

    /// Turns the journal off: the world does not fit into half of the ring. Reports a larger size to try.
    fn give_up(&mut self, block: usize) -> io::Result<()> {
        self.open = None;
        self.shared.off.store(true, Ordering::Relaxed);
        if let Some((path, _)) = self.there.pop_back() {
            fs::remove_file(path)?;
        }
        // The size needed is unknown, so suggest twice as much as was needed so far.
        let mib = (self.budget >> 20)
            .saturating_add((block as u64) >> 20)
            .saturating_mul(2);
        let (has, need) = ((self.budget >> 20).to_string(), mib.to_string());
        let details = [("journal_mib", has.as_str()), ("set_it_to", &need)];
        self.notice_sink
            .notify(Notice::new(codes::JOURNAL_TOO_SMALL, "agent", &details));
        Ok(())
    }

    /// Finds the segments of previous agents.
    fn look(&mut self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
                found.push((number, entry.path(), entry.metadata()?.len()));
            }
        }
        found.sort();
        self.next = found
            .last()
            .map_or(1, |(number, ..)| number.saturating_add(1));
        let found = found.into_iter().map(|(_, path, length)| (path, length));
        self.there = found.collect();
        Ok(())
    }

    /// Length of the segment being written.
    fn length(&self) -> u64 {
        self.there.back().map_or(0, |(_, length)| *length)
    }

    /// Removes the oldest segment; `false` if only the one being written is left.
    fn make_room(&mut self) -> io::Result<bool> {
        if self.there.len() < 2 {
            return Ok(false);
        }
        let Some((path, _)) = self.there.pop_front() else {
            return Ok(false);
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }

    /// Appends to the segment. Removes old segments to keep the ring within its size, and when the file system is full.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let total = |ring: &Ring| ring.there.iter().map(|(_, length)| length).sum::<u64>();
        while total(self).saturating_add(bytes.len() as u64) > self.budget {
            if !self.make_room()? {
                return Err(io::Error::other(
                    "one segment fills the whole journal: set a larger journal_mib",
                ));
            }
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(file) = &mut self.open else {
                return Ok(());
            };
            match file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    if let Some((_, length)) = self.there.back_mut() {
                        *length = length.saturating_add(count as u64);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    if !self.make_room()? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
