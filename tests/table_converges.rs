//! Whatever a map looks like, applying the difference to the wanted map removes it; a second look finds nothing to do;
//! and a mere change of order never costs a table.
//!
//! The kernel is the model in `sim::dm`; the lab runs the same against real kernels.

use dm_psa::psa::table::diff::{Difference, Wanted, diff};
use dm_psa::psa::table::model::{
    Features, Group, HardwareHandler, Message, QueueMode, Selector, Table, TablePath,
};
use dm_psa::psa::units::{DevT, Sectors};
use dm_psa::sim::dm::{Io, Multipath, Series, letters};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn dev(n: u32) -> DevT {
    DevT {
        major: 8,
        minor: n * 16,
    }
}

fn table(groups: &[Vec<u32>]) -> Table {
    let path = |n: &u32| TablePath {
        dev: dev(*n),
        args: vec![],
    };
    let group = |paths: &Vec<u32>| Group {
        selector: Selector {
            name: "service-time".into(),
            args: vec![],
        },
        paths: paths.iter().map(path).collect(),
    };
    Table {
        length: Sectors(2048),
        features: Features::default(),
        handler: None,
        groups: groups.iter().map(group).collect(),
        initial_group: u32::from(!groups.is_empty()),
    }
}

fn map(series: Series, table: &Table) -> Multipath {
    let mut map = Multipath::new(
        series,
        "naa.6",
        "mpath-36",
        DevT {
            major: 252,
            minor: 0,
        },
    );
    map.load(table, false).unwrap();
    map.resume().unwrap();
    map
}

fn wanted(groups: &[Vec<u32>], usable: &[u32], avoid: &[u32]) -> Wanted {
    Wanted {
        table: table(groups),
        usable: usable.iter().map(|&n| dev(n)).collect(),
        avoid: avoid.iter().copied().collect(),
    }
}

/// Applies the difference, with an I/O after each step if `io` is set.
fn carry_out(map: &mut Multipath, wanted: &Wanted, io: bool) -> Difference {
    let difference = diff(&map.observe(), wanted);
    match &difference {
        Difference::None => {}
        Difference::Messages(messages) => {
            for message in messages {
                map.message(message).unwrap();
                if io {
                    map.io();
                }
            }
        }
        Difference::Reload(_) => {
            map.load(&wanted.table_to_load(), false).unwrap();
            map.resume().unwrap();
            for message in wanted.messages_after_load() {
                map.message(&message).unwrap();
            }
        }
        Difference::Recreate(reason) => panic!("{reason}"),
    }
    difference
}

fn said(difference: &Difference) -> String {
    difference.to_string()
}

#[test]
fn a_preferred_group_is_switched_to_without_a_table() {
    let mut map = map(Series::Linux6, &table(&[vec![1], vec![2]]));
    map.io();
    let wanted = wanted(&[vec![2], vec![1]], &[1, 2], &[]);
    assert_eq!(
        said(&carry_out(&mut map, &wanted, false)),
        "messages: switch_group 2"
    );
    assert_eq!(map.io(), Io::Path(dev(2)));
    assert_eq!(diff(&map.observe(), &wanted), Difference::None);
}

#[test]
fn a_switch_that_the_kernel_makes_by_itself_gets_no_message() {
    let mut map = map(Series::Linux6, &table(&[vec![1], vec![2]]));
    map.io();
    let wanted = wanted(&[vec![1], vec![2]], &[2], &[]);
    assert_eq!(
        said(&carry_out(&mut map, &wanted, false)),
        "messages: fail_path 8:16"
    );
    assert_eq!(diff(&map.observe(), &wanted), Difference::None);
    assert_eq!(map.io(), Io::Path(dev(2)));
}

/// Standby comes first in the table; when the group in use fails, the kernel must use the third.
#[test]
fn a_group_to_avoid_is_disabled() {
    let mut map = map(Series::Linux6, &table(&[vec![1], vec![2], vec![3]]));
    map.io();
    let wanted = wanted(&[vec![2], vec![3], vec![1]], &[1, 2, 3], &[3]);
    assert_eq!(
        said(&carry_out(&mut map, &wanted, true)),
        "messages: switch_group 2, disable_group 1"
    );
    assert_eq!(letters(&map.observe()), "DAE");
    map.path_error(dev(2));
    assert_eq!(map.io(), Io::Path(dev(3)));
}

/// The kernel uses a disabled group of last resort; its status looks as if no group had been chosen yet.
#[test]
fn io_leaves_a_disabled_group() {
    let mut map = map(Series::Linux6, &table(&[vec![1], vec![2]]));
    map.message(&Message::SwitchGroup(2)).unwrap();
    map.io();
    map.message(&Message::DisableGroup(1)).unwrap();
    map.path_error(dev(2));
    assert_eq!(map.io(), Io::Path(dev(1)));
    let wanted = wanted(&[vec![2], vec![1]], &[1, 2], &[2]);
    assert_eq!(
        said(&carry_out(&mut map, &wanted, true)),
        "messages: reinstate_path 8:32, switch_group 2"
    );
    assert_eq!(map.io(), Io::Path(dev(2)));
}

#[test]
fn queueing_begins_first_and_ends_last() {
    let mut plain = table(&[vec![1], vec![2]]);
    let mut map = map(Series::Linux7, &plain);
    plain.features.queue_if_no_path = true;
    let mut wanted = wanted(&[vec![1], vec![2]], &[], &[]);
    wanted.table = plain;
    assert_eq!(
        said(&carry_out(&mut map, &wanted, true)),
        "messages: queue_if_no_path, fail_path 8:32, fail_path 8:16"
    );
    assert_eq!(map.io(), Io::Held);
    wanted.table.features.queue_if_no_path = false;
    assert_eq!(
        said(&carry_out(&mut map, &wanted, true)),
        "messages: fail_if_no_path"
    );
    assert_eq!(map.io(), Io::Failed);
}

#[test]
fn reasons_for_a_table_are_named() {
    let map = map(Series::Linux6, &table(&[vec![1, 2], vec![3]]));
    let reason = |change: &dyn Fn(&mut Table)| {
        let mut wanted = wanted(&[vec![1, 2], vec![3]], &[1, 2, 3], &[]);
        change(&mut wanted.table);
        said(&diff(&map.observe(), &wanted))
    };
    assert_eq!(reason(&|_| ()), "nothing to do");
    assert_eq!(
        reason(&|t| t.length = Sectors(4096)),
        "new table: length 2048 -> 4096"
    );
    assert_eq!(
        reason(&|t| t.groups[1].paths[0].dev = dev(4)),
        "new table: path 8:64 added; path 8:48 removed"
    );
    assert_eq!(
        reason(&|t| {
            let moved = t.groups[0].paths.remove(1);
            t.groups[1].paths.push(moved);
        }),
        "new table: groups {8:16 8:32} {8:48} -> {8:16} {8:32 8:48}"
    );
    assert_eq!(
        reason(&|t| t.groups[0].selector.name = "round-robin".into()),
        "new table: selector of group {8:16 8:32} service-time -> round-robin"
    );
    assert_eq!(
        reason(&|t| for path in &mut t.groups[0].paths {
            path.args = vec!["1".into(), "50".into()];
        }),
        "new table: arguments of path 8:16 1 1 -> 1 50; arguments of path 8:32 1 1 -> 1 50"
    );
    assert_eq!(
        reason(&|t| t.features.queue_mode = Some(QueueMode::Bio)),
        "new map: queue mode request -> bio"
    );
    // How an activation is repeated is not worth a new table.
    assert_eq!(
        reason(&|t| t.features.pg_init_retries = Some(50)),
        "nothing to do"
    );
    assert_eq!(
        reason(&|t| t.features.pg_init_delay_msecs = Some(50)),
        "nothing to do"
    );
}

/// A handler that the kernel adopted, its lost arguments and the flag that new kernels do not print need no new table.
#[test]
fn handlers_that_the_kernel_changed_need_no_new_table() {
    for series in [Series::Linux6, Series::Linux7] {
        for asked in [None, Some("alua"), Some("emc")] {
            let mut map = map(series, &table(&[vec![1]]));
            map.attach(dev(1), "alua");
            let mut wanted = wanted(&[vec![1]], &[1], &[]);
            wanted.table.features.retain_attached_hw_handler = true;
            wanted.table.handler = asked.map(|name| HardwareHandler {
                name: name.into(),
                args: vec!["1".into()],
            });
            map.load(&wanted.table, false).unwrap();
            map.resume().unwrap();
            assert_eq!(
                diff(&map.observe(), &wanted),
                Difference::None,
                "{series:?} {asked:?}"
            );
        }
    }
}

/// A step in the history of a map: messages, failures and I/O.
#[derive(Debug, Clone)]
enum Step {
    Io,
    Error(u32),
    Message(u8, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Io),
        2 => (0..12u32).prop_map(Step::Error),
        4 => (0..7u8, 0..12u32).prop_map(|(kind, n)| Step::Message(kind, n)),
    ];
    prop::collection::vec(step, 0..24)
}

fn live(map: &mut Multipath, step: &Step) {
    let message = match step {
        Step::Io => {
            map.io();
            return;
        }
        Step::Error(n) => {
            map.path_error(dev(*n));
            return;
        }
        Step::Message(kind, n) => match kind {
            0 => Message::QueueIfNoPath,
            1 => Message::FailIfNoPath,
            2 => Message::FailPath(dev(*n)),
            3 => Message::ReinstatePath(dev(*n)),
            4 => Message::SwitchGroup(n % 6),
            5 => Message::DisableGroup(n % 6),
            _ => Message::EnableGroup(n % 6),
        },
    };
    // Refused if the path or group does not exist.
    let _ = map.message(&message);
}

type Groups = Vec<Vec<u32>>;

/// Paths in groups; a permutation of the groups; which paths are usable; whether to queue.
fn worlds() -> impl Strategy<Value = (Groups, Groups, Vec<u32>, bool)> {
    (1..8usize).prop_flat_map(|paths| {
        let numbers: Vec<u32> = (0..paths as u32).collect();
        let split = prop::collection::vec(0..4usize, paths);
        (Just(numbers), split).prop_flat_map(|(numbers, split)| {
            let mut groups = vec![vec![]; 4];
            for (n, g) in numbers.iter().zip(split) {
                groups[g].push(*n);
            }
            groups.retain(|group: &Vec<u32>| !group.is_empty());
            (
                Just(groups.clone()),
                Just(groups).prop_shuffle(),
                prop::sample::subsequence(numbers.clone(), 0..=numbers.len()),
                any::<bool>(),
            )
        })
    })
}

fn series() -> impl Strategy<Value = Series> {
    prop::sample::select(vec![Series::Linux6, Series::Linux7])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_map_becomes_what_is_wanted(
        (groups, preferred, usable, queue) in worlds(),
        (others, ..) in worlds(),
        permuted in any::<bool>(),
        avoid in 0..4usize,
        history in steps(),
        busy in any::<bool>(),
        series in series(),
    ) {
        // Either the same groups in another order, or other groups.
        let before = if permuted { &groups } else { &others };
        let mut map = map(series, &table(before));
        history.iter().for_each(|step| live(&mut map, step));
        // Groups to be avoided come last in the order of preference, as a PSP orders them.
        let count = preferred.len();
        let avoid: Vec<u32> = (count.saturating_sub(avoid)..count).map(|i| i as u32 + 1).collect();
        let mut wanted = wanted(&preferred, &usable, &avoid);
        wanted.table.features.queue_if_no_path = queue;

        let first = carry_out(&mut map, &wanted, busy);
        if permuted {
            prop_assert!(!matches!(first, Difference::Reload(_)), "{}", first);
        }
        if busy {
            // I/O between the messages may have made the kernel choose a group in an intermediate state.
            carry_out(&mut map, &wanted, true);
        }
        prop_assert_eq!(diff(&map.observe(), &wanted), Difference::None);

        // The flags are as wanted, and I/O uses the wanted group, now and later.
        let observed = map.observe();
        let active: BTreeSet<DevT> = observed.status.unwrap().groups.iter().flat_map(|group| &group.paths)
            .filter(|path| path.active).map(|path| path.dev).collect();
        prop_assert_eq!(&active, &wanted.usable);
        for _ in 0..3 {
            match (map.io(), wanted.first_group()) {
                (Io::Path(dev), Some(n)) => {
                    let group = &wanted.table.groups[n as usize - 1];
                    prop_assert!(group.paths.iter().any(|path| path.dev == dev), "{dev} is not in group {n}");
                }
                (Io::Held, None) => prop_assert!(queue),
                (Io::Failed, None) => prop_assert!(!queue),
                (io, group) => prop_assert!(false, "{io:?} for group {group:?}"),
            }
        }
        prop_assert_eq!(diff(&map.observe(), &wanted), Difference::None);
    }

    /// While the messages are sent, a usable path that was in use stays in use.
    #[test]
    fn no_step_to_the_wanted_map_loses_a_usable_path(
        (groups, preferred, usable, _) in worlds(),
        history in steps(),
    ) {
        let mut map = map(Series::Linux6, &table(&groups));
        history.iter().for_each(|step| live(&mut map, step));
        let wanted = wanted(&preferred, &usable, &[]);
        let active = |map: &Multipath| -> BTreeSet<DevT> {
            map.observe().status.unwrap().groups.iter().flat_map(|group| &group.paths)
                .filter(|path| path.active && wanted.usable.contains(&path.dev)).map(|path| path.dev).collect()
        };
        let Difference::Messages(messages) = diff(&map.observe(), &wanted) else { return Ok(()); };
        let mut before = active(&map);
        for message in messages {
            map.message(&message).unwrap();
            let after = active(&map);
            prop_assert!(after.is_superset(&before), "{message} lost a path");
            before = after;
        }
    }

    /// With I/O between all messages, only the wanted group is activated: an activation may be an STPG, and the agent
    /// must not move an array back and forth.
    #[test]
    fn no_step_to_the_wanted_map_activates_another_group(
        (groups, preferred, usable, _) in worlds(),
        history in steps(),
        avoid in 0..4usize,
        series in series(),
    ) {
        let mut before = table(&groups);
        before.handler = Some(HardwareHandler { name: "alua".into(), args: vec![] });
        let mut map = map(series, &before);
        history.iter().for_each(|step| live(&mut map, step));
        map.io();
        map.take_activated();
        let count = preferred.len();
        let avoid: Vec<u32> = (count.saturating_sub(avoid)..count).map(|i| i as u32 + 1).collect();
        let mut wanted = wanted(&preferred, &usable, &avoid);
        wanted.table.handler = before.handler;
        let what = carry_out(&mut map, &wanted, true);
        map.io();
        let target = wanted.first_group().map_or(&[][..], |n| &preferred[n as usize - 1]);
        for activated in map.take_activated() {
            prop_assert!(target.iter().any(|&n| dev(n) == activated), "{what} activated {activated}");
        }
    }

    /// If the order of the table allows it, the group after the wanted one is not one to be avoided.
    #[test]
    fn standby_is_the_last_resort(
        (groups, preferred, usable, _) in worlds(),
        avoid in 1..4usize,
    ) {
        let mut map = map(Series::Linux6, &table(&groups));
        map.io();
        let count = preferred.len();
        let avoid: Vec<u32> = (count.saturating_sub(avoid)..count).map(|i| i as u32 + 1).collect();
        let wanted = wanted(&preferred, &usable, &avoid);
        carry_out(&mut map, &wanted, true);
        carry_out(&mut map, &wanted, false);
        map.io();
        let Some(first) = wanted.first_group() else { return Ok(()); };
        let target = &preferred[first as usize - 1];
        let good = |group: &Vec<u32>| {
            let n = preferred.iter().position(|g| g == group).unwrap() as u32 + 1;
            n != first && !avoid.contains(&n) && group.iter().any(|p| usable.contains(p))
        };
        let place = groups.iter().position(|group| group == target).unwrap();
        let before: Vec<_> = groups[..place].iter().filter(|group| group.iter().any(|p| usable.contains(p))).collect();
        let after = groups[place..].iter().any(good);
        let possible = before.first().map_or(after, |&group| good(group) || (after && before.len() == 1));
        for n in target { map.path_error(dev(*n)); }
        if let (true, Io::Path(dev_used)) = (possible, map.io()) {
            let group = groups.iter().find(|group| group.iter().any(|&n| dev(n) == dev_used)).unwrap();
            prop_assert!(good(group), "{group:?} was used");
        }
    }
}
