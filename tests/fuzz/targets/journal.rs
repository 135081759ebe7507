//! Any bytes as a journal: as a file, as an archive, and as the records of a segment that is otherwise good. Nothing may
//! panic, and what is read replays without harm.
#![no_main]

use dm_psa::journal::{self, FORMAT, Header, Replay, Segment, archive};
use dm_psa::psa::memory::Memory;
use dm_psa::psa::report::snapshot::Pieces;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::units::Millis;
use dm_psa::psa::world::World;
use libfuzzer_sys::fuzz_target;

fn replay(bytes: &[u8]) {
    if let Ok(segment) = Segment::open(bytes) {
        let _ = Replay::default().segment(segment, |_, _, _| ());
    }
}

fuzz_target!(|data: &[u8]| {
    replay(data);
    replay(&[journal::MAGIC, data].concat());
    for member in archive::members(&[&archive::begin(), data].concat()).unwrap_or_default() {
        replay(member.bytes);
    }
    let header = Header {
        format: FORMAT,
        program: String::new(),
        agent_started_ms: 0,
        number: 1,
        wall_ms: 0,
        at: Millis(0),
        continues: false,
        lost_events: 0,
    };
    let mut segment = journal::begin(&header);
    for piece in Pieces::of(World::new(Settings::default(), Memory::default())) {
        segment.extend(journal::snapshot(&piece));
    }
    segment.extend(journal::steps(data));
    replay(&segment);
});
