//! Turns the bytes of `trace_pipe` into events of the world. Equal errors are counted, so that a path on which every
//! I/O fails costs the owner one event per kind of error and wake-up.
//!
//! Does no I/O except through the given reader. Bounds: [`MOST`] bytes per wake-up, [`LONGEST`] bytes per line.

use super::line::{self, Line};
use crate::psa::event::{Event, IoTrouble};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, ErrorKind, Read};

/// The most bytes that are read per wake-up. The kernel keeps about 11 KiB per processor, which as text is three times
/// as much. The rest is read at the next wake-up.
const MOST: usize = 128 << 10;
/// A longer line is not one of the agent's events: the longest of them has 500 bytes.
const LONGEST: usize = 4096;

/// What was read in one wake-up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// The kinds of errors with their counts, in the order in which each kind first occurred.
    pub(super) troubles: Vec<(IoTrouble, u64)>,
    /// How many events the kernel overwrote.
    pub(super) lost: u64,
    /// A line of one of the agent's events that lacks a field.
    pub(super) unreadable: Option<String>,
    places: HashMap<IoTrouble, usize>,
}

impl Batch {
    fn add(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        match line::read(&line) {
            Line::Trouble(trouble) => match self.places.entry(trouble) {
                Entry::Occupied(place) => {
                    if let Some((_, count)) = self.troubles.get_mut(*place.get()) {
                        *count = count.saturating_add(1);
                    }
                }
                Entry::Vacant(place) => {
                    self.troubles.push((place.key().clone(), 1));
                    place.insert(self.troubles.len() - 1);
                }
            },
            Line::Lost(count) => self.lost = self.lost.saturating_add(count),
            Line::Unreadable => self.unreadable = Some(line.into_owned()),
            Line::Other => {}
        }
    }

    /// Converts the batch to events of the world.
    pub(super) fn events(self) -> Vec<Event> {
        let troubles = self.troubles.into_iter();
        let mut events: Vec<Event> = troubles
            .map(|(what, count)| Event::IoTrouble { what, count })
            .collect();
        if self.lost > 0 {
            events.push(Event::IoTroubleLost(self.lost));
        }
        events
    }
}

/// Joins pieces of lines.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The beginning of an incomplete line.
    part: Vec<u8>,
}

impl Reports {
    /// Reads what is available, at most [`MOST`] bytes.
    ///
    /// # Errors
    /// Reading failed. Having nothing to read is not an error.
    pub(super) fn read(&mut self, from: &mut impl Read) -> io::Result<Batch> {
        let (mut batch, mut left) = (Batch::default(), MOST);
        let mut buffer = [0; 8192];
        while left > 0 {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.take(buffer.get(..count).unwrap_or(&buffer), &mut batch);
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(batch)
    }

    fn take(&mut self, bytes: &[u8], batch: &mut Batch) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.keep(piece);
            batch.add(&std::mem::take(&mut self.part));
        }
        self.keep(last);
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LONGEST.saturating_sub(self.part.len());
        self.part
            .extend_from_slice(piece.get(..room).unwrap_or(piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::units::DevT;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// Returns its pieces one by one, then `WouldBlock`.
    struct Pipe(VecDeque<Vec<u8>>);

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(mut piece) = self.0.pop_front() else {
                return Err(ErrorKind::WouldBlock.into());
            };
            let rest = piece.split_off(piece.len().min(buffer.len()));
            buffer[..piece.len()].copy_from_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
            Ok(piece.len())
        }
    }

    fn all(reports: &mut Reports, pipe: &mut Pipe) -> (HashMap<IoTrouble, u64>, u64, usize) {
        let (mut counts, mut lost, mut rounds) = (HashMap::new(), 0, 0);
        while !pipe.0.is_empty() {
            let batch = reports.read(pipe).unwrap();
            batch
                .troubles
                .iter()
                .for_each(|(what, count)| *counts.entry(what.clone()).or_insert(0) += count);
            lost += batch.lost;
            rounds += 1;
        }
        (counts, lost, rounds)
    }

    #[test]
    fn a_burst_is_counted_in_bounded_pieces() {
        let storm = "block_rq_error: 8,16 RS () 8 + 8 be,0,4 [-121]\n".repeat(20_000)
            + "CPU:1 [LOST 56 EVENTS]\nblock_rq_error: 8,32 RS () 8 + 8 be,0,4 [-5]\n";
        let mut pipe = Pipe(VecDeque::from([storm.clone().into_bytes()]));
        let (counts, lost, rounds) = all(&mut Reports::default(), &mut pipe);
        let of = |minor, errno| {
            let disk = DevT { major: 8, minor };
            counts[&IoTrouble::GivenUp { disk, errno }]
        };
        assert_eq!((of(16, 121), of(32, 5), lost), (20_000, 1, 56));
        assert!(rounds >= storm.len() / (MOST + 8192), "{rounds}");
    }

    #[test]
    fn a_batch_becomes_one_event_for_each_kind() {
        let text = "scsi_eh_wakeup: host_no=3\nscsi_eh_wakeup: host_no=3\nCPU:0 [LOST 2 EVENTS]\n";
        let mut pipe = Pipe(VecDeque::from([text.into()]));
        let events = Reports::default().read(&mut pipe).unwrap().events();
        let what = IoTrouble::HostRecovers(3);
        let wanted = [Event::IoTrouble { what, count: 2 }, Event::IoTroubleLost(2)];
        assert_eq!(events, wanted);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_the_same_reports(cuts in prop::collection::vec(1..200_usize, 1..60)) {
            let text = include_str!("testdata/pipe-6.12.txt");
            let mut whole = Pipe(VecDeque::from([text.into()]));
            let wanted = all(&mut Reports::default(), &mut whole);
            let mut rest = text.as_bytes();
            let mut pieces = VecDeque::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                if !piece.is_empty() {
                    pieces.push_back(piece.to_vec());
                }
                rest = after;
            }
            pieces.push_back([rest, b""].concat());
            pieces.retain(|piece| !piece.is_empty());
            let found = all(&mut Reports::default(), &mut Pipe(pieces));
            prop_assert_eq!((found.0, found.1), (wanted.0, wanted.1));
        }

        #[test]
        fn any_bytes_are_accepted(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
            let mut reports = Reports::default();
            let batch = reports.read(&mut Pipe(VecDeque::from([bytes]))).unwrap();
            prop_assert!(batch.troubles.is_empty());
            prop_assert!(reports.part.len() <= LONGEST);
        }
    }
}
