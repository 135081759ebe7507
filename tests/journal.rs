//! The journal: what was recorded replays byte for byte, wherever a segment begins and wherever it is cut.

mod san;
mod screen;

use dm_psa::cli::Exit;
use dm_psa::journal::records::Encoder;
use dm_psa::journal::{self, Damage, Difference, Finish, Header, Replay, Segment, Step, Stop};
use dm_psa::psa::action::Action;
use dm_psa::psa::report::snapshot::Pieces;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::units::Millis;
use dm_psa::psa::world::World;
use dm_psa::sim::run::{Entry, Simulation};
use proptest::prelude::*;
use san::config;
use san::script::{Run, op, plan};

/// The entries of this many ms form one block, as in the agent.
const BLOCK: u64 = 100;

fn header(number: u64, at: Millis) -> Header {
    Header {
        format: journal::FORMAT,
        program: "0.1.0".to_owned(),
        agent_started_ms: 1_000,
        number,
        wall_ms: 1_000 + at.0,
        at,
        continues: number > 0,
        lost_events: 0,
    }
}

/// Records the input of a world, in segments of `length` steps.
fn record(mut world: World, entries: &[Entry], length: usize) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    let mut encoder = Encoder::default();
    let mut at = Millis(0);
    for entries in entries.chunks(length.max(1)) {
        let mut segment = journal::begin(&header(segments.len() as u64, at));
        for piece in Pieces::of(world.clone()) {
            segment.extend(journal::snapshot(&piece));
        }
        encoder.begin(at);
        for entries in entries.chunk_by(|a, b| a.at.0 / BLOCK == b.at.0 / BLOCK) {
            for entry in entries {
                encoder.event(entry.at, &entry.event);
                encoder.actions(&entry.actions);
                world.step(entry.at, entry.event.clone());
                at = entry.at;
            }
            segment.extend(journal::steps(&encoder.take()));
        }
        segment.extend(journal::end("full"));
        segments.push(segment);
    }
    segments
}

/// The readable steps, and how the segment ends.
fn read(segment: &[u8]) -> Result<(Vec<Step>, Finish), Damage> {
    let mut steps = Segment::open(segment)?.steps;
    let mut read = Vec::new();
    while let Some(step) = steps.read()? {
        read.push(step);
    }
    Ok((read, steps.finish().cloned().expect("an end")))
}

fn replay(segments: &[Vec<u8>]) -> Result<Replay, Stop> {
    let mut replay = Replay::default();
    for segment in segments {
        let segment = Segment::open(segment)?;
        let finish = replay.segment(segment, |_, _, _| ())?;
        assert_eq!(finish, Finish::Closed("full".to_owned()));
    }
    Ok(replay)
}

proptest! {
    #![proptest_config(config(60))]

    /// A run of a host with faults is read back unchanged, replays byte for byte from any segment on, and each segment
    /// begins with the world with which the previous one ended.
    #[test]
    fn a_random_run_replays(
        plan in plan(),
        ops in prop::collection::vec(op(), 0..30),
        length in 20_usize..400,
    ) {
        let mut run = Run::new(&plan);
        run.play(&ops);
        let entries = &run.sim.journal;
        let segments = record(run.sim.new_world(), entries, length);
        let mut read_back = Vec::new();
        for segment in &segments {
            let (steps, finish) = read(segment).unwrap();
            prop_assert_eq!(finish, Finish::Closed("full".to_owned()));
            read_back.extend(steps);
        }
        prop_assert_eq!(read_back.len(), entries.len());
        for (step, entry) in read_back.iter().zip(entries) {
            prop_assert!(step.whole);
            prop_assert_eq!((step.at, &step.event, &step.actions), (entry.at, &entry.event, &entry.actions));
        }
        for from in 0..segments.len() {
            let replayed = replay(&segments[from..]);
            let replayed = replayed.map_err(|stop| TestCaseError::fail(format!("{stop:?}")))?;
            prop_assert_eq!(replayed.events as usize, entries.len().saturating_sub(from * length));
        }
    }

    /// A segment that is cut anywhere has the steps before the cut, and replays.
    #[test]
    fn a_segment_that_is_cut_is_readable_up_to_the_cut(
        plan in plan(),
        ops in prop::collection::vec(op(), 0..10),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut run = Run::new(&plan);
        run.play(&ops);
        let entries = &run.sim.journal;
        let segment = record(run.sim.new_world(), entries, usize::MAX).remove(0);
        let cut = cut.index(segment.len());
        let segment = &segment[..cut];
        let Ok(opened) = Segment::open(segment) else {
            // Without the complete world nothing can be read.
            return Ok(());
        };
        drop(opened);
        let (steps, finish) = read(segment).unwrap();
        prop_assert!(matches!(finish, Finish::Open | Finish::Cut(_)), "{:?}", finish);
        for (n, (step, entry)) in steps.iter().zip(entries).enumerate() {
            prop_assert_eq!((step.at, &step.event), (entry.at, &entry.event));
            prop_assert!(step.whole || n + 1 == steps.len());
            prop_assert!(entry.actions.starts_with(&step.actions));
        }
        let replayed = Replay::default().segment(Segment::open(segment).unwrap(), |_, _, _| ());
        prop_assert_eq!(replayed, Ok(finish));
    }

    /// A segment with one changed byte is refused or read, and never replays as something else.
    #[test]
    fn a_damaged_segment_never_replays_as_another(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut segment = small();
        let at = at.index(segment.len());
        segment[at] ^= flip;
        // The head of a block has no checksum, but a wrong length makes the content wrong.
        if let Ok((steps, _)) = read(&segment) {
            let whole = read(&small()).unwrap().0;
            prop_assert!(whole.starts_with(&steps), "byte {}", at);
        }
    }
}

/// A host with one unit on four paths, for ten seconds.
fn small() -> Vec<u8> {
    let (world, entries) = host(1, 10_000);
    record(world, &entries, usize::MAX).remove(0)
}

fn host(units: u32, time: u64) -> (World, Vec<Entry>) {
    let mut kernel = san::steady();
    for lun in 0..units {
        san::add_unit(&mut kernel, lun, &[(1, san::AO), (2, san::ANO)]);
    }
    let mut sim = Simulation::start(kernel, Settings::default());
    sim.run_for(Millis(time));
    (sim.new_world(), std::mem::take(&mut sim.journal))
}

/// Checks with repeated answers take few bytes.
#[test]
fn an_idle_host_writes_little() {
    let (mut world, entries) = host(100, 60_000);
    let (first, later): (Vec<Entry>, Vec<Entry>) = entries
        .into_iter()
        .partition(|entry| entry.at < Millis(30_000));
    for entry in &first {
        world.step(entry.at, entry.event.clone());
    }
    let segment = record(world.clone(), &later, usize::MAX).remove(0);
    let empty: usize = Pieces::of(world)
        .map(|piece| journal::snapshot(&piece).len())
        .sum();
    let checks = later
        .iter()
        .filter(|entry| matches!(entry.event, dm_psa::psa::event::Event::Examined(_)))
        .count();
    let each = (segment.len() - empty) / checks;
    assert!(
        checks > 1000 && each < 48,
        "{each} bytes for each of {checks} checks"
    );
}

/// The answers of a path's identification are not stored again when the path proves itself, whatever else is asked with
/// them.
#[test]
fn an_unchanged_answer_is_stored_once_whatever_else_is_asked() {
    let (_, entries) = host(100, 330_000);
    let mut encoder = Encoder::default();
    let mut write = |entries: &[Entry]| {
        for entry in entries {
            encoder.event(entry.at, &entry.event);
            encoder.actions(&entry.actions);
        }
        encoder.take().len()
    };
    let (start, later) = entries.split_at(entries.partition_point(|e| e.at < Millis(30_000)));
    let full = write(start);
    // Five minutes: every path has proven itself five times, and reported at least once whether it accepts writes.
    let repeated = write(later);
    let each = repeated / later.len();
    assert!(
        full > 100_000 && each < 10,
        "{full} bytes, then {each} each"
    );
}

/// The differences are shown: the step, and what the world does now.
#[test]
fn changed_decisions_are_found() {
    let (world, mut entries) = host(1, 10_000);
    let changed = entries
        .iter()
        .position(|entry| {
            entry
                .actions
                .iter()
                .any(|action| matches!(action, Action::Map { .. }))
        })
        .expect("a map is created");
    let wanted = std::mem::take(&mut entries[changed].actions);
    let segments = record(world, &entries, usize::MAX);
    let Err(Stop::Differs(Difference::Actions { step, now })) = replay(&segments) else {
        panic!("no difference was found");
    };
    assert_eq!(
        (step.at, &step.event, now),
        (entries[changed].at, &entries[changed].event, wanted)
    );
}

/// A segment that does not begin with the world of the previous one is detected, though each is valid by itself.
#[test]
fn a_gap_between_segments_is_found() {
    let (world, entries) = host(1, 10_000);
    let segments = record(world, &entries, entries.len() / 3);
    assert!(replay(&segments).is_ok());
    let mut gap = segments.clone();
    // The second segment claims to follow the first, but the first lacks its last steps.
    let (steps, _) = read(&segments[0]).unwrap();
    let short: Vec<Entry> = entries[..steps.len() - 3].to_vec();
    gap[0] = record(
        Segment::open(&segments[0]).unwrap().world,
        &short,
        usize::MAX,
    )
    .remove(0);
    let found = replay(&gap);
    assert!(
        matches!(found, Err(Stop::Differs(Difference::World { .. }))),
        "{:?}",
        found.err()
    );
}

/// Journals as written by `psactl journal save`: each replays byte for byte. After an intended change of decisions,
/// `UPDATE_GOLDEN=1` records the one of the simulation again; `tests/lab/run tests/lab/scenario/17-journal.sh` leaves
/// one of a real kernel in its share.
#[test]
fn recorded_runs_replay() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/journal");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let (world, entries) = host(1, 200_000);
        let mut archive = journal::archive::begin();
        for (n, segment) in record(world, &entries, entries.len() / 2 + 1)
            .iter()
            .enumerate()
        {
            let name = format!("{n:010}.journal");
            archive.extend_from_slice(journal::archive::head(&name, segment.len()).as_bytes());
            archive.extend_from_slice(segment);
        }
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(format!("{folder}/simulated.journal"), archive).unwrap();
    }
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let archive = std::fs::read(&path).unwrap();
        let members = journal::archive::members(&archive).unwrap();
        let mut replay = Replay::default();
        for member in &members {
            let segment = Segment::open(member.bytes).unwrap();
            let replayed = replay.segment(segment, |_, _, _| ());
            assert!(
                replayed.is_ok(),
                "{}, {}: {replayed:?}",
                path.display(),
                member.name
            );
        }
        assert!(
            replay.events > 100 && replay.actions > 100,
            "{}",
            path.display()
        );
        let screen = screen::psactl(["replay".into(), path.into_os_string()]);
        assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""));
        let verdict = format!(
            "identical: {} events gave the {} actions",
            replay.events, replay.actions
        );
        assert!(screen.out.contains(&verdict), "{}", screen.out);
        count += 1;
    }
    assert!(count > 0);
}

/// `psactl replay` over files: its output and its exit code.
#[test]
fn a_replay_prints_a_timeline_and_a_verdict() {
    let root = tempfile::tempdir().unwrap();
    let (world, mut entries) = host(1, 10_000);
    let run = |entries: &[Entry], name: &str| {
        let folder = root.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        for (n, segment) in record(world.clone(), entries, entries.len() / 2 + 1)
            .iter()
            .enumerate()
        {
            std::fs::write(folder.join(format!("{n:010}.journal")), segment).unwrap();
        }
        folder
    };
    let replay = |folder: &std::path::Path, words: &[&str]| {
        let mut all = vec!["replay".into(), folder.as_os_str().to_owned()];
        all.extend(words.iter().map(Into::into));
        screen::psactl::<std::ffi::OsString>(all)
    };
    let good = run(&entries, "good");
    let screen = replay(&good, &[]);
    assert_eq!((screen.exit, screen.err.as_str()), (Exit::Ok, ""));
    for text in [
        "DEVICE_CLAIMED",
        "queue_if_no_path",
        "ends: full",
        "identical: ",
    ] {
        assert!(screen.out.contains(text), "no {text} in {}", screen.out);
    }
    assert!(!screen.out.contains("TEST UNIT READY"));
    assert!(
        replay(&good, &["--verbose"])
            .out
            .contains("TEST UNIT READY: GOOD")
    );
    let nothing = replay(&good, &["--device", "naa.none"]);
    assert!(nothing.err.contains("contain naa.none") && !nothing.out.contains("DEVICE_CLAIMED"));
    assert!(
        !replay(&good, &["--from", "2026-01-01"])
            .out
            .contains("DEVICE_CLAIMED")
    );
    let json = replay(&good, &["--formatter=json"]).out;
    assert!(
        json.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );

    // Damage in the first segment leaves the second one readable.
    let damaged = run(&entries, "damaged");
    let first = damaged.join("0000000000.journal");
    let mut bytes = std::fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&first, bytes).unwrap();
    let screen = replay(&damaged, &[]);
    assert_eq!(screen.exit, Exit::Partly);
    assert!(
        screen.err.contains("cannot be read from byte"),
        "{}",
        screen.err
    );
    assert!(
        screen
            .out
            .contains("identical as far as the journal can be read"),
        "{}",
        screen.out
    );

    // A different decision.
    let changed = entries
        .iter()
        .rposition(|entry| !entry.actions.is_empty())
        .unwrap();
    entries[changed].actions.clear();
    let screen = replay(&run(&entries, "different"), &[]);
    assert_eq!(screen.exit, Exit::Failed);
    assert!(
        screen.out.contains("different at ") && screen.out.contains("recorded: nothing"),
        "{}",
        screen.out
    );
    assert!(!screen.out.contains("identical"));

    let screen = replay(&root.path().join("none"), &[]);
    assert_eq!(screen.exit, Exit::Failed);
    assert!(screen.err.contains("none"), "{}", screen.err);

    // A journal of another format: nothing was compared, so nothing is identical.
    let older = root.path().join("older.journal");
    let header = Header {
        format: journal::FORMAT - 1,
        ..header(0, Millis(0))
    };
    std::fs::write(&older, journal::begin(&header)).unwrap();
    let screen = replay(&older, &[]);
    assert_eq!(screen.exit, Exit::Failed);
    let reason = "no event of the journal can be read, so nothing was compared";
    assert!(screen.err.contains(reason), "{}", screen.err);
    assert!(!screen.out.contains("identical"), "{}", screen.out);
}
