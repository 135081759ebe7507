//! The cost of decisions and parsers: `cargo bench --bench micro`, or `make bench-micro`.
//!
//! Nanoseconds are the least of several rounds. Instructions are counted by valgrind, if it is installed: the count is
//! the same on a noisy machine, and it is the difference between two runs of a case, so that preparation does not
//! count.
//!
//!     cargo bench --bench micro [-- CASE...]      cases whose names have one of the words

use dm_psa::config::{Places, rules, store};
use dm_psa::journal::{self, records::Encoder};
use dm_psa::psa::adapter::{RuntimeName, Transport};
use dm_psa::psa::claim::{Rule, Ruleset};
use dm_psa::psa::event::Event;
use dm_psa::psa::facts::Subject;
use dm_psa::psa::report::snapshot::Pieces;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::{emit, parse, status};
use dm_psa::psa::units::{Hctl, Millis, Sectors};
use dm_psa::psa::world::World;
use dm_psa::scsi::inquiry::{StandardInquiry, Tpgs};
use dm_psa::scsi::sense::Sense;
use dm_psa::scsi::tpgs::{AccessState, TargetPortGroups};
use dm_psa::scsi::vpd::DeviceIdentification;
use dm_psa::sim::array::Unit;
use dm_psa::sim::dm::Series;
use dm_psa::sim::kernel::{Kernel, Pace};
use dm_psa::sim::run::{Entry, Simulation};
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

/// One turn of a case: the number of operations in it, and the function.
type Turn = (u64, Box<dyn FnMut()>);

struct Case {
    name: &'static str,
    prepare: fn() -> Turn,
}

const CASES: &[Case] = &[
    Case {
        name: "parse INQUIRY",
        prepare: inquiry,
    },
    Case {
        name: "parse VPD 83h",
        prepare: page83,
    },
    Case {
        name: "parse RTPG of 4 groups",
        prepare: rtpg,
    },
    Case {
        name: "parse sense",
        prepare: sense,
    },
    Case {
        name: "parse a table of 8 paths",
        prepare: table,
    },
    Case {
        name: "emit a table of 8 paths",
        prepare: emitted,
    },
    Case {
        name: "parse a status of 8 paths",
        prepare: status_line,
    },
    Case {
        name: "step, per check of 400 paths",
        prepare: || checks(100),
    },
    Case {
        name: "step, per check of 4000 paths",
        prepare: || checks(1_000),
    },
    Case {
        name: "step, per check of 10000 paths",
        prepare: || checks(2_500),
    },
    Case {
        name: "journal, per check of 400 paths",
        prepare: || journalled(100),
    },
    Case {
        name: "journal, per check of 10000 paths",
        prepare: || journalled(2_500),
    },
    Case {
        name: "clone and drop of a world of 10000 paths",
        prepare: || cloned(2_500),
    },
    Case {
        name: "clone of a world of 10000 paths",
        prepare: || only_cloned(2_500),
    },
    Case {
        name: "plan of 10000 paths, with the clone",
        prepare: || planned(2_500),
    },
    Case {
        name: "snapshot of 10000 paths",
        prepare: || snapshot(2_500),
    },
    Case {
        name: "discovery, per path of 400",
        prepare: || discovery(100),
    },
    Case {
        name: "discovery, per path of 4000",
        prepare: || discovery(1_000),
    },
    Case {
        name: "claim, per path by 10000 rules",
        prepare: claim,
    },
    Case {
        name: "claimrule list of 10000 rules",
        prepare: claimrule_list,
    },
];

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [flag, name, turns] = words.as_slice()
        && flag == "--turns"
    {
        let case = CASES.iter().find(|case| case.name == name).expect("a case");
        let (_, mut turn) = (case.prepare)();
        (0..turns.parse().expect("a number")).for_each(|_: u32| turn());
        return;
    }
    println!("{:<34} {:>14} {:>14}", "case", "ns", "instructions");
    for case in CASES {
        if words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str())) {
            let time = nanoseconds(case);
            let count = instructions(case, time);
            let count = count.map_or_else(|| "n/a".to_owned(), |count| count.to_string());
            println!("{:<34} {time:>14} {count:>14}", case.name);
        }
    }
}

/// The least time of an operation over ten rounds, each long enough to be measured.
fn nanoseconds(case: &Case) -> u128 {
    let (operations, mut turn) = (case.prepare)();
    let mut turns = 1u32;
    let mut time = |turns: u32| {
        let start = Instant::now();
        (0..turns).for_each(|_| turn());
        start.elapsed()
    };
    while time(turns) < Duration::from_millis(20) && turns < 1 << 24 {
        turns *= 2;
    }
    let least = (0..10).map(|_| time(turns)).min().unwrap_or_default();
    least.as_nanos() / u128::from(turns) / u128::from(operations)
}

/// The instructions per operation: the difference between many turns and few. `None` without valgrind.
fn instructions(case: &Case, nanoseconds: u128) -> Option<u64> {
    let collected = |turns: u32| {
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args(["--turns", case.name, &turns.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&run.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("Collected"))?;
        line.rsplit(' ').next()?.parse::<u64>().ok()
    };
    // Enough turns for a millisecond, because the rest of the program varies by some thousand instructions.
    let (operations, _) = (case.prepare)();
    let turn = nanoseconds.max(1) * u128::from(operations);
    if turn > 50_000_000 {
        return None; // Its preparation would take valgrind minutes.
    }
    let turns = u32::try_from(1_000_000 / turn).ok()?.max(1);
    let (fewer, more) = (collected(turns)?, collected(3 * turns)?);
    Some(more.saturating_sub(fewer) / 2 / u64::from(turns) / operations)
}

fn once(turn: impl FnMut() + 'static) -> Turn {
    (1, Box::new(turn))
}

fn inquiry() -> Turn {
    let data = StandardInquiry::build(Tpgs::Implicit, "NETAPP", "LUN C-Mode", "9000");
    once(move || drop(black_box(StandardInquiry::parse(black_box(&data)))))
}

/// The answers of a simulated array.
fn answers() -> dm_psa::psa::report::inventory::CapturedPath {
    let mut sim = host(1);
    sim.run_for(Millis(5_000));
    sim.world.inventory(0, 1).paths.remove(0)
}

fn page83() -> Turn {
    let data = answers().identification.0;
    once(move || drop(black_box(DeviceIdentification::parse(black_box(&data)))))
}

fn rtpg() -> Turn {
    let data = answers().port_groups.0;
    once(move || drop(black_box(TargetPortGroups::parse(black_box(&data)))))
}

fn sense() -> Turn {
    let data = [0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 6, 0, 0, 0, 0];
    once(move || drop(black_box(Sense::parse(black_box(&data)))))
}

const TABLE: &str = "3 queue_if_no_path pg_init_retries 50 1 alua 2 1 service-time 0 4 2 8:16 1 1 8:32 1 1 8:48 1 1 \
                     8:64 1 1 service-time 0 4 2 8:80 1 1 8:96 1 1 8:112 1 1 8:128 1 1";
const STATUS: &str = "2 0 0 0 2 1 A 0 4 2 8:16 A 0 0 1 8:32 A 0 0 1 8:48 A 0 0 1 8:64 A 0 0 1 \
                      E 0 4 2 8:80 A 0 0 1 8:96 A 0 0 1 8:112 A 0 0 1 8:128 A 0 0 1";

fn table() -> Turn {
    once(|| {
        drop(black_box(parse::parse(
            Sectors(2_097_152),
            black_box(TABLE),
        )))
    })
}

fn emitted() -> Turn {
    let table = parse::parse(Sectors(2_097_152), TABLE).expect("a table");
    once(move || drop(black_box(emit::emit(black_box(&table)))))
}

fn status_line() -> Turn {
    status::parse(STATUS).expect("a status");
    once(|| drop(black_box(status::parse(black_box(STATUS)))))
}

/// A host with this many units, each on four paths to two controllers.
fn host(units: u32) -> Simulation {
    use AccessState::{ActiveNonOptimized as ANO, ActiveOptimized as AO, Standby};
    let mut kernel = Kernel::new(Series::Linux6, Pace::STEADY, 1);
    for lun in 0..units {
        let groups = [(1, AO), (2, ANO), (3, Standby), (4, Standby)];
        let unit = kernel.array.add(Unit::new(lun + 1, &groups));
        for (host, target, group) in [(1, 0, 1), (2, 0, 1), (1, 1, 2), (2, 1, 2)] {
            let path = Hctl {
                host,
                channel: 0,
                target,
                lun: lun.into(),
            };
            kernel.cable(
                path,
                Transport::Fc,
                unit,
                group,
                group * 10 + u16::from(host == 2),
            );
        }
    }
    Simulation::start(kernel, Settings::default())
}

/// A minute of checks on a host where nothing happens.
fn checks(units: u32) -> Turn {
    let mut sim = host(units);
    sim.run_for(Millis(20_000));
    sim.journal.clear();
    let world = sim.world.clone();
    sim.run_for(Millis(60_000));
    let journal: Vec<(Millis, Event)> = sim
        .journal
        .into_iter()
        .map(|entry| (entry.at, entry.event))
        .collect();
    let count = journal
        .iter()
        .filter(|(_, event)| matches!(event, Event::Examined(_)))
        .count();
    let turn = move || {
        let mut world = world.clone();
        for (at, event) in &journal {
            black_box(world.step(*at, event.clone()));
        }
    };
    (u64::try_from(count).expect("a count"), Box::new(turn))
}

/// The cost of recording a minute of checks in the journal: the owner's share, without the thread that packs and
/// writes. Prints the size of the record.
fn journalled(units: u32) -> Turn {
    let mut sim = host(units);
    sim.run_for(Millis(20_000));
    sim.journal.clear();
    sim.run_for(Millis(126_000));
    let entries = std::mem::take(&mut sim.journal);
    let checks = |from: usize| {
        let later = entries.iter().skip(from);
        later
            .filter(|entry| matches!(entry.event, Event::Examined(_)))
            .count()
    };
    // In the first minute each path proves its identity; the second minute repeats that.
    let at = entries
        .first()
        .map_or(Millis(0), |entry| entry.at)
        .after(Millis(66_000));
    let first = entries.partition_point(|entry| entry.at < at);
    let mut known = Encoder::default();
    let write = |encoder: &mut Encoder, entries: &[Entry]| {
        for entry in entries {
            encoder.event(entry.at, &entry.event);
            encoder.actions(&entry.actions);
        }
        encoder.take()
    };
    write(&mut known, &entries[..first]);
    let count = checks(first);
    let (records, mut blocks) = (write(&mut known.clone(), &entries[first..]), 0);
    for batch in records.chunks(16 << 10) {
        blocks += journal::steps(batch).len();
    }
    println!(
        "  {} bytes per check as records, {} as written",
        records.len() / count,
        blocks / count
    );
    let turn = move || drop(black_box(write(&mut known.clone(), &entries[first..])));
    (u64::try_from(count).expect("a count"), Box::new(turn))
}

/// How long the owner is blocked when a segment begins, and how long the thread takes to drop the copy.
fn cloned(units: u32) -> Turn {
    let mut sim = host(units);
    sim.run_for(Millis(20_000));
    once(move || drop(black_box(sim.world.clone())))
}

/// The cost of a plan for the owner; the copy is dropped elsewhere.
fn only_cloned(units: u32) -> Turn {
    let mut sim = host(units);
    sim.run_for(Millis(20_000));
    let (copies, dropped) = std::sync::mpsc::sync_channel::<World>(0);
    std::thread::spawn(move || dropped.into_iter().for_each(drop));
    once(move || {
        copies
            .send(black_box(sim.world.clone()))
            .unwrap_or_default()
    })
}

/// The cost of a plan for its thread.
fn planned(units: u32) -> Turn {
    let mut sim = host(units);
    sim.run_for(Millis(20_000));
    let rules = dm_psa::psa::rules::Rules::default();
    once(move || drop(black_box(sim.world.plan(&rules))))
}

/// The work of the thread after that; prints the length of the snapshot.
fn snapshot(units: u32) -> Turn {
    let mut sim = host(units);
    sim.run_for(Millis(20_000));
    let world = sim.world.clone();
    let write = move || -> usize {
        let pieces = Pieces::of(world.clone());
        pieces.map(|piece| journal::snapshot(&piece).len()).sum()
    };
    println!("  {} bytes", write());
    once(move || {
        black_box(write());
    })
}

/// From the first path found until all maps are made.
fn discovery(units: u32) -> Turn {
    let mut sim = host(units);
    sim.run_for(Millis(5_000));
    let journal: Vec<(Millis, Event)> = sim
        .journal
        .into_iter()
        .map(|entry| (entry.at, entry.event))
        .collect();
    let turn = move || {
        let mut world = World::new(Settings::default(), Default::default());
        for (at, event) in &journal {
            black_box(world.step(*at, event.clone()));
        }
    };
    (u64::from(units) * 4, Box::new(turn))
}

fn many_rules() -> Ruleset {
    let rule = |n: u32| {
        let matches = match n % 4 {
            0 => format!("vendor=VENDOR{} model=MODEL{n}", n % 97),
            1 => format!("vendor=VENDOR{} model=^MODEL{n}*", n % 97),
            2 => format!(
                "adapter=vmhba{} channel=0 target={} lun={n}",
                n % 16,
                n % 200
            ),
            _ => format!("device=naa.6001405{n:025}"),
        };
        Rule::new(101 + n, matches.parse().expect("a match"), "MASK_PATH")
    };
    Ruleset::new((0..10_000).map(rule))
}

/// All rules are tried, and only the last one matches.
fn claim() -> Turn {
    let rules = many_rules();
    let facts = answers().facts;
    let name = RuntimeName {
        adapter: 17,
        channel: 0,
        target: 0,
        lun: 3,
    };
    let device = "naa.60014050000000000000000000000".into();
    once(move || {
        black_box(rules.decide(&Subject {
            vendor: "VENDOR1",
            model: "OTHER",
            inquiry: &[],
            facts: &facts,
            name,
            device: Some(&device),
        }));
    })
}

fn claimrule_list() -> Turn {
    let root = tempfile::tempdir().expect("a directory");
    let all = many_rules();
    let text = rules::schema::write_claim_rules(all.rules().iter().filter(|r| r.number != 65535));
    let file = Places::below(root.path()).admin_rules();
    store::replace(&file, text.as_bytes()).expect("a file");
    once(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = dm_psa::cli::Console {
            out: &mut out,
            err: &mut err,
            colour_out: false,
            colour_err: false,
        };
        let root = root.path().display().to_string();
        let words = ["psactl", "--root", &root, "core", "claimrule", "list"];
        black_box(dm_psa::cli::run(words.map(Into::into), &mut console));
        assert!(out.len() > 100_000);
    })
}
