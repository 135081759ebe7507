//! Whatever input arrives, the agent keeps running, and devices that the input does not concern are unharmed.
//!
//! Replies with any bytes and any outcome on the paths of one unit, next to another unit; and events of any kind in any
//! order, including events about things that do not exist. `PROPTEST_CASES` raises the number of cases.

mod san;

use dm_psa::psa::adapter::{AdapterFacts, TargetFacts, Transport};
use dm_psa::psa::event::{DmStep, Event, Examination, MapError, Reply, UnitAttention};
use dm_psa::psa::facts::{BlockFacts, Handler, PathFacts, Usage};
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::model::{
    Features, Group, GroupState, GroupStatus, HardwareHandler, Map, NO_TABLE, PathStatus, Selector,
    Status, Table, TablePath,
};
use dm_psa::psa::units::{DevT, Hctl, Millis, Sectors, Sg};
use dm_psa::psa::world::World;
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::outcome::Outcome;
use dm_psa::scsi::sense::Sense;
use dm_psa::scsi::vpd::DEVICE_IDENTIFICATION;
use dm_psa::sim::array::{Answer, Unit};
use dm_psa::sim::dm::Series;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::{Kernel, Pace};
use dm_psa::sim::run::Simulation;
use proptest::prelude::*;
use san::{ANO, AO, config, seconds};

// ---- replies --------------------------------------------------------------------------------------------------

fn outcome() -> impl Strategy<Value = Outcome> {
    let sense = prop_oneof![
        any::<(u8, u8, u8)>(),
        // Outcomes with a meaning.
        prop::sample::select(vec![
            (2, 4, 0x0a),
            (2, 4, 0x0b),
            (2, 4, 0x0c),
            (2, 4, 0x12),
            (2, 4, 1),
            (2, 4, 2),
            (2, 4, 3),
            (5, 0x20, 0),
            (5, 0x24, 0),
            (5, 0x25, 0),
            (5, 0x94, 1),
            (4, 0x4c, 0),
            (4, 0x3e, 1),
            (6, 0x2a, 6),
            (6, 0x29, 0),
            (6, 0x3f, 3),
            (6, 0x3f, 0x0e),
            (1, 0x17, 0),
        ]),
    ];
    prop_oneof![
        4 => Just(Outcome::Good),
        4 => sense.prop_map(|(key, asc, ascq)| Outcome::CheckCondition(Sense { key, asc, ascq })),
        1 => Just(Outcome::Busy),
        1 => Just(Outcome::ReservationConflict),
        1 => any::<u8>().prop_map(Outcome::Status),
        1 => any::<u8>().prop_map(Outcome::Host),
        1 => any::<u8>().prop_map(Outcome::NoConnect),
        1 => any::<u8>().prop_map(Outcome::Retry),
        1 => Just(Outcome::Timeout),
        1 => Just(Outcome::Overdue),
        1 => Just(Outcome::Gone),
        1 => any::<i32>().prop_map(Outcome::Errno),
    ]
}

/// The simulation repeats a false answer until it is removed, and the kernel would retry a command with a unit
/// attention for ever.
fn final_outcome() -> impl Strategy<Value = Outcome> {
    outcome().prop_filter(
        "a unit attention is cleared once it was reported",
        |outcome| outcome.sense().is_none_or(|sense| sense.key != 6),
    )
}

fn command() -> impl Strategy<Value = Command> {
    prop::sample::select(vec![
        Command::TestUnitReady,
        Command::Inquiry,
        Command::Vpd(DEVICE_IDENTIFICATION),
        Command::ReportTargetPortGroups,
        Command::ReportTargetPortGroupsShort,
    ])
}

/// Bytes unrelated to the answer, or the answer with a few bytes changed or cut off.
#[derive(Debug, Clone)]
enum Bytes {
    Any(Vec<u8>),
    Changed(Vec<(usize, u8)>),
    Cut(usize),
    Longer(Vec<u8>),
}

impl Bytes {
    fn of(&self, mut honest: Vec<u8>) -> Vec<u8> {
        match self {
            Bytes::Any(bytes) => return bytes.clone(),
            Bytes::Changed(changes) => {
                for (at, byte) in changes {
                    let length = honest.len().max(1);
                    if let Some(slot) = honest.get_mut(at % length) {
                        *slot = *byte;
                    }
                }
            }
            Bytes::Cut(at) => honest.truncate(at % (honest.len() + 1)),
            Bytes::Longer(more) => honest.extend(more),
        }
        honest
    }
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::Any),
        prop::collection::vec((any::<usize>(), any::<u8>()), 1..4).prop_map(Bytes::Changed),
        any::<usize>().prop_map(Bytes::Cut),
        prop::collection::vec(any::<u8>(), 1..40).prop_map(Bytes::Longer),
    ]
}

#[derive(Debug, Clone)]
struct Lie {
    /// The index of a path of the first unit.
    path: usize,
    command: Command,
    outcome: Outcome,
    bytes: Bytes,
    /// The time until the next lie, in milliseconds.
    wait: u64,
    /// Whether the path is removed and found again, so that it is asked everything.
    anew: bool,
}

fn lie() -> impl Strategy<Value = Lie> {
    let wait = prop_oneof![0..50u64, 50..8000u64];
    (
        0..4usize,
        command(),
        final_outcome(),
        bytes(),
        wait,
        any::<bool>(),
    )
        .prop_map(|(path, command, outcome, bytes, wait, anew)| Lie {
            path,
            command,
            outcome,
            bytes,
            wait,
            anew,
        })
}

/// Two units whose names differ so much that a few changed bytes cannot turn one into the other.
fn two_units(seed: u64) -> Kernel {
    let mut kernel = Kernel::new(Series::Linux6, Pace::VARIED, seed);
    for (lun, number) in [(0, 0x1111_1111), (1, 0x2222_2222)] {
        let unit = kernel.array.add(Unit::new(number, &[(1, AO), (2, ANO)]));
        for n in 0..4 {
            let path = san::path(n as u32 % 2, n as u32 / 2, lun);
            kernel.cable(path, Transport::Fc, unit, n / 2 + 1, n);
        }
    }
    kernel
}

fn liar(n: usize) -> Hctl {
    san::path(n as u32 % 2, n as u32 / 2, 0)
}

/// The map of the second unit, whose answers are all true.
fn neighbour(sim: &Simulation) -> String {
    let maps = san::maps(sim);
    let found = maps.into_iter().find(|map| map.contains("22222222:"));
    found.unwrap_or_default()
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn any_reply_is_survived_and_harms_no_other_device(
        seed in any::<u64>(),
        from_the_start in any::<bool>(),
        lies in prop::collection::vec(lie(), 1..12),
    ) {
        let mut kernel = two_units(seed);
        if from_the_start {
            for lie in &lies {
                let data = lie.bytes.of(kernel.array.execute(liar(lie.path), &lie.command).data);
                let answer = Answer { outcome: lie.outcome.clone(), data };
                kernel.array.lie(liar(lie.path), lie.command.clone(), Some(answer));
            }
        }
        let mut sim = Simulation::start(kernel, Settings::default());
        sim.run_for(seconds(10));
        let before = neighbour(&sim);
        prop_assert!(before.ends_with(" AA AA"), "{before}");
        sim.io_every = Some(Millis(500));
        for lie in &lies {
            let path = liar(lie.path);
            sim.inject(&Fault::Lie(path, lie.command.clone(), None));
            let data = lie.bytes.of(sim.kernel.array.execute(path, &lie.command).data);
            let answer = Answer { outcome: lie.outcome.clone(), data };
            sim.inject(&Fault::Lie(path, lie.command.clone(), Some(answer)));
            if lie.anew {
                sim.inject_all(&[Fault::Delete(path), Fault::Add(path)]);
            }
            sim.run_for(Millis(lie.wait));
        }
        sim.run_for(seconds(20));
        let after = neighbour(&sim);
        prop_assert_eq!(before.split(" | ").next(), after.split(" | ").next());
        prop_assert!(after.ends_with(" AA AA"), "{after}");
        let notices: Vec<String> = san::notices(&sim, 0).into_iter().filter(|line| line.contains("APD")).collect();
        prop_assert!(notices.iter().all(|line| !line.contains("22222222")), "{notices:?}");
        prop_assert_eq!(&sim.kernel.ledger.violations, &Vec::<String>::new());
        // Whatever happened, a unit with true answers is served as soon as its paths are found again.
        for n in 0..4 {
            for command in [Command::TestUnitReady, Command::Inquiry, Command::Vpd(DEVICE_IDENTIFICATION),
                Command::ReportTargetPortGroups, Command::ReportTargetPortGroupsShort] {
                sim.inject(&Fault::Lie(liar(n), command, None));
            }
            sim.inject(&Fault::Delete(liar(n)));
        }
        sim.run_for(seconds(2));
        for n in 0..4 {
            sim.inject(&Fault::Add(liar(n)));
        }
        // A lie may have made it another unit. A map does not pass to another unit while it is in use, including use by
        // processes that wait for I/O.
        sim.run_for(seconds(160));
        let maps = san::maps(&sim);
        // A lie may have chosen the SATP: the device stays the same while its map is open.
        let served = |map: &String| map.contains("11111111:") && (map.ends_with(" AA AA") || map.ends_with(" A A A A"));
        prop_assert!(maps.iter().any(served), "{:#?}", maps);
        prop_assert!(sim.replay().is_ok());
    }
}

// ---- events ---------------------------------------------------------------------------------------------------

fn hctl() -> impl Strategy<Value = Hctl> {
    (0..3u32, 0..3u32, prop_oneof![0..3u64, Just(u64::MAX)])
        .prop_map(|(h, t, l)| san::path(h, t, l))
}

fn dev() -> impl Strategy<Value = DevT> {
    (0..12u32).prop_map(|n| DevT {
        major: 8,
        minor: n * 16,
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("alua".to_owned()), ".{0,12}"]
}

fn sectors() -> impl Strategy<Value = Sectors> {
    prop::sample::select(vec![0, 1, 1 << 21, u64::MAX]).prop_map(Sectors)
}

fn facts() -> impl Strategy<Value = PathFacts> {
    let transport = prop::sample::select(vec![
        Transport::Fc,
        Transport::Iscsi,
        Transport::Sas,
        Transport::Sata,
        Transport::Usb,
        Transport::Block,
        Transport::Unknown,
    ]);
    let usage = prop_oneof![
        3 => Just(vec![]),
        1 => text().prop_map(|device| vec![Usage::Swap { device }]),
    ];
    let block = (text(), dev(), sectors(), usage).prop_map(|(name, dev, size, usage)| BlockFacts {
        name,
        dev,
        size,
        read_only: false,
        max_io_bytes: 0,
        queue_depth: 0,
        rotational: true,
        usage,
    });
    let handler = prop_oneof![
        Just(Handler::Unsupported),
        Just(Handler::Detached),
        text().prop_map(Handler::Attached),
    ];
    let parts = (
        hctl(),
        prop::option::weighted(0.8, block),
        prop::option::weighted(0.8, any::<u32>().prop_map(Sg)),
    );
    (
        parts,
        prop::sample::select(vec![0, 0, 0, 5, 0x0d, 0x1f]),
        handler,
        transport,
        text(),
    )
        .prop_map(
            |((hctl, block, sg), device_type, handler, transport, word)| PathFacts {
                hctl,
                block,
                sg,
                device_type,
                vendor: word.clone(),
                model: word.clone(),
                device_state: word.clone(),
                handler,
                transport,
                adapter: AdapterFacts {
                    key: word.clone(),
                    identifier: word.clone(),
                    driver: word.clone(),
                    link_state: word.clone(),
                    description: word.clone(),
                },
                target: TargetFacts {
                    identifier: word.clone(),
                    details: word.clone(),
                    portal: None,
                    port_state: Some(word),
                },
            },
        )
}

fn table() -> impl Strategy<Value = Table> {
    let path = (dev(), prop::collection::vec(text(), 0..3))
        .prop_map(|(dev, args)| TablePath { dev, args });
    let group = (text(), prop::collection::vec(path, 0..4)).prop_map(|(name, paths)| Group {
        selector: Selector { name, args: vec![] },
        paths,
    });
    let groups = prop::collection::vec(group, 0..4);
    (
        sectors(),
        groups,
        any::<u32>(),
        any::<bool>(),
        prop::option::of(text()),
    )
        .prop_map(|(length, groups, initial_group, queue, handler)| Table {
            length,
            features: Features {
                queue_if_no_path: queue,
                ..Features::default()
            },
            handler: handler.map(|name| HardwareHandler { name, args: vec![] }),
            groups,
            initial_group,
        })
}

fn status() -> impl Strategy<Value = Status> {
    let path =
        (dev(), any::<bool>(), any::<u32>()).prop_map(|(dev, active, fail_count)| PathStatus {
            dev,
            active,
            fail_count,
        });
    let letter = prop::sample::select(vec![
        GroupState::Active,
        GroupState::Enabled,
        GroupState::Disabled,
    ]);
    let group = (letter, prop::collection::vec(path, 0..4))
        .prop_map(|(state, paths)| GroupStatus { state, paths });
    let groups = prop::collection::vec(group, 0..4);
    (any::<bool>(), any::<u32>(), any::<u32>(), groups).prop_map(
        |(queue_io, count, group_now, groups)| Status {
            queue_io,
            pg_init_count: count,
            group_now,
            groups,
        },
    )
}

const NAMES: &[&str] = &["naa.6001405a000000000000000011111111", "mpatha", "", "x y"];
const UUIDS: &[&str] = &[
    "mpath-36001405a000000000000000011111111",
    "mpath-36001405a000000000000000022222222",
    "mpath-",
    "LVM-abc",
    "",
];

fn map() -> impl Strategy<Value = Map> {
    let names = (
        prop::sample::select(NAMES),
        prop::sample::select(UUIDS),
        dev(),
    );
    let numbers = (any::<u32>(), 0..3u32, any::<bool>(), any::<bool>());
    let no_table = prop::sample::select(vec![NO_TABLE, "it is a map of type linear", ""]);
    let table = prop_oneof![
        4 => table().prop_map(Ok),
        1 => no_table.prop_map(|why| Err(why.to_owned())),
    ];
    let status = prop_oneof![
        4 => status().prop_map(Some),
        1 => Just(None),
        // A status that fits the table.
        4 => Just(None),
    ];
    (names, numbers, table, status, any::<bool>()).prop_map(
        |(
            (name, uuid, dev),
            (event_nr, open_count, suspended, read_only),
            table,
            status,
            fitting,
        )| {
            let fits = |table: &Table| Status {
                queue_io: false,
                pg_init_count: 0,
                group_now: u32::from(!table.groups.is_empty()),
                groups: table
                    .groups
                    .iter()
                    .map(|group| GroupStatus {
                        state: GroupState::Enabled,
                        paths: group
                            .paths
                            .iter()
                            .map(|path| PathStatus {
                                dev: path.dev,
                                active: fitting,
                                fail_count: 1,
                            })
                            .collect(),
                    })
                    .collect(),
            };
            let status = status.or_else(|| table.as_ref().ok().map(fits));
            Map {
                name: name.to_owned(),
                uuid: uuid.to_owned(),
                dev,
                event_nr,
                open_count,
                suspended,
                read_only,
                table,
                status: status.ok_or_else(|| "unreadable".to_owned()),
            }
        },
    )
}

/// Tickets count from 1, so one of these may be a ticket that is outstanding.
fn ticket() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..60u64, 1 => any::<u64>()]
}

fn event() -> impl Strategy<Value = Event> {
    let attention = prop::sample::select(vec![
        UnitAttention::InquiryDataHasChanged,
        UnitAttention::ReportedLunsDataHasChanged,
        UnitAttention::PowerOnResetOccurred,
        UnitAttention::ModeParametersChanged,
        UnitAttention::AsymmetricAccessStateChanged,
        UnitAttention::CapacityDataHasChanged,
        UnitAttention::ThinProvisioningSoftThresholdReached,
    ]);
    let data = prop::collection::vec(any::<u8>(), 0..120);
    let reply = (command(), outcome(), data).prop_map(|(command, outcome, data)| Reply {
        command,
        outcome,
        data,
    });
    let examination = (hctl(), ticket(), prop::collection::vec(reply, 0..4)).prop_map(
        |(path, ticket, replies)| Examination {
            path,
            ticket,
            replies,
        },
    );
    let step = prop_oneof![
        Just(DmStep::Start),
        Just(DmStep::Create),
        Just(DmStep::Load),
        Just(DmStep::Resume),
        text().prop_map(DmStep::Message),
        Just(DmStep::Remove),
    ];
    let error =
        (step, prop::option::of(any::<i32>()), text()).prop_map(|(step, errno, reason)| MapError {
            step,
            errno,
            reason,
        });
    let result = prop_oneof![Just(Ok(())), error.prop_map(Err)];
    let name = prop::sample::select(NAMES).prop_map(str::to_owned);
    let done = (name.clone(), ticket(), result, prop::option::of(map())).prop_map(
        |(map, ticket, result, observed)| Event::MapDone {
            map,
            ticket,
            result,
            observed: observed.map(Box::new),
        },
    );
    prop_oneof![
        6 => facts().prop_map(|facts| Event::PathSeen(Box::new(facts))),
        2 => hctl().prop_map(Event::PathGone),
        1 => prop::collection::btree_set(hctl(), 0..8).prop_map(Event::PathsListed),
        2 => (hctl(), attention).prop_map(|(path, kind)| Event::UnitAttention { path, kind }),
        6 => examination.prop_map(Event::Examined),
        4 => map().prop_map(|map| Event::MapSeen(Box::new(map))),
        1 => name.clone().prop_map(Event::MapGone),
        1 => prop::collection::btree_set(name, 0..3).prop_map(Event::MapsListed),
        4 => done,
        3 => Just(Event::Timer),
    ]
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn any_events_in_any_order_are_survived(
        events in prop::collection::vec((0..20_000u64, event()), 0..80),
        backwards in any::<bool>(),
    ) {
        let mut world = World::new(Settings::default(), Default::default());
        let mut now = 0u64;
        for (time, event) in events {
            now = if backwards && time % 7 == 0 { now.saturating_sub(time) } else { now + time };
            world.step(Millis(now), event);
            for (id, _) in world.paths() {
                let _ = world.explain(&id.to_string());
            }
        }
        for _ in 0..200 {
            let Some(next) = world.next_deadline() else { break };
            now = now.max(next.0);
            world.step(Millis(now), Event::Timer);
            // Time advances, or the timer would fire for ever.
            prop_assert!(world.next_deadline().is_none_or(|next| next.0 > now), "a deadline in the past");
        }
    }

    /// The same on a working host: afterwards it works again.
    #[test]
    fn a_working_host_recovers_from_any_events(
        seed in any::<u64>(),
        events in prop::collection::vec((0..3000u64, event()), 0..30),
    ) {
        let mut sim = Simulation::start(two_units(seed), Settings::default());
        sim.io_every = Some(Millis(500));
        for (time, event) in events {
            sim.deliver(event);
            sim.run_for(Millis(time));
        }
        sim.run_for(seconds(10));
        prop_assert!(sim.replay().is_ok());
        sim.inject(&Fault::RestartAgent);
        sim.run_for(seconds(150));
        for unit in 0..2 {
            // Under any name: the agent keeps a name that another program gave a map.
            let map = sim.kernel.map_of(unit).and_then(|name| sim.kernel.map(&name));
            let line = map.map(|map| san::line(&map)).unwrap_or_default();
            prop_assert!(line.ends_with(" AA AA"), "unit {unit}: {line}");
        }
    }
}
