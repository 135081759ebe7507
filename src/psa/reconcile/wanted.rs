//! From an arrangement of paths to the wanted table. Where nothing better is known, the content of the kernel's table
//! is kept.

use crate::psa::evidence::Class;
use crate::psa::psp::{Arrangement, Candidate, PspKind, WantedGroup};
use crate::psa::reconcile::view::View;
use crate::psa::state::device::Device;
use crate::psa::table::model::{Features, Group, Selector, Table, TablePath};
use crate::psa::units::DevT;
use std::collections::{BTreeMap, BTreeSet};

/// How often the kernel retries activation before it gives up a path. Its default is no retry, but arrays answer
/// "retry" while they move a logical unit; 50 is the maximum that it accepts.
const PG_INIT_RETRIES: u32 = 50;

/// The table for an arrangement.
pub(in crate::psa) fn table_of(view: &View, arrangement: &Arrangement, queue: bool) -> Table {
    let groups: Vec<Group> = arrangement
        .groups
        .iter()
        .map(|group| Group {
            selector: Selector {
                name: group.selector.to_owned(),
                args: Vec::new(),
            },
            paths: group
                .paths
                .iter()
                .map(|dev| TablePath {
                    dev: *dev,
                    args: arguments(group, *dev),
                })
                .collect(),
        })
        .collect();
    Table {
        length: view.length,
        features: Features {
            queue_if_no_path: queue,
            pg_init_retries: view.handler.is_some().then_some(PG_INIT_RETRIES),
            queue_mode: view.queue_mode,
            ..Features::default()
        },
        handler: view.handler.clone(),
        initial_group: u32::from(!groups.is_empty()),
        groups,
    }
}

/// The selector arguments of a path. The repeat count is 1, because the kernel clamps any other value to it.
/// service-time uses a path with a relative throughput of 0 only when no other path is left.
fn arguments(group: &WantedGroup, dev: DevT) -> Vec<String> {
    let count = "1".to_owned();
    if group.spare.is_empty() {
        return vec![count];
    }
    // All paths of a group must have the same number of arguments.
    let throughput = if group.spare.contains(&dev) { "0" } else { "1" };
    vec![count, throughput.to_owned()]
}

/// The numbers, from 1, of the groups to which I/O must not go while another group has a path: groups that have to be
/// activated first, and groups that the array keeps out of use.
pub(in crate::psa) fn avoided(table: &Table, view: &View) -> BTreeSet<u32> {
    let class = |dev: DevT| {
        view.candidates
            .iter()
            .find(|c| c.dev == dev)
            .map_or(Class::Last, |c| c.class)
    };
    let best = |group: &Group| {
        group
            .paths
            .iter()
            .map(|path| class(path.dev))
            .min()
            .unwrap_or(Class::Last)
    };
    (1..)
        .zip(&table.groups)
        .filter(|(_, group)| best(group) >= Class::Standby)
        .map(|(n, _)| n)
        .collect()
}

/// The kernel's own table, with its groups in the order that the arrangement prefers: what messages can achieve.
pub(in crate::psa) fn within(table: &Table, arrangement: &Arrangement, queue: bool) -> Table {
    let position: BTreeMap<DevT, usize> = arrangement
        .groups
        .iter()
        .zip(0..)
        .flat_map(|(group, position)| group.paths.iter().map(move |dev| (*dev, position)))
        .collect();
    let mut groups = table.groups.clone();
    groups.sort_by_key(|group| {
        group
            .paths
            .iter()
            .filter_map(|path| position.get(&path.dev))
            .min()
            .copied()
            .unwrap_or(usize::MAX)
    });
    let features = Features {
        queue_if_no_path: queue,
        ..table.features.clone()
    };
    Table {
        features,
        groups,
        ..table.clone()
    }
}

/// If only one controller serves a unit at a time, the paths of one controller form one group. The kernel activates
/// each group to which it switches. With groups of one path each, a unit that another host moved would be taken back
/// once for each of them. Within the group, the selector chooses the path.
fn join_controllers(arrangement: &mut Arrangement, view: &View) {
    let mut joined: Vec<WantedGroup> = Vec::new();
    let mut several = BTreeSet::new();
    for group in std::mem::take(&mut arrangement.groups) {
        match joined.iter_mut().find(|one| one.class == group.class) {
            Some(one) => {
                one.paths.extend(group.paths);
                several.insert(group.class);
            }
            None => joined.push(group),
        }
    }
    for group in joined
        .iter_mut()
        .filter(|group| several.contains(&group.class))
    {
        let mut members: Vec<&Candidate> = view
            .candidates
            .iter()
            .filter(|c| group.paths.contains(&c.dev))
            .collect();
        members.sort_by_key(|c| (c.name, c.path));
        // The choice depends on nothing that a failure changes, because otherwise each failure would require a new
        // table.
        let preferred = members
            .iter()
            .find(|c| Some(c.name) == view.options.preferred);
        let fixed = preferred.or(members.first()).map(|c| c.path);
        let rank = members.iter().map(|c| c.rank).max();
        let is_spare = |c: &&&Candidate| match view.psp {
            PspKind::Fixed => Some(c.path) != fixed,
            PspKind::Mru | PspKind::RoundRobin => Some(c.rank) != rank,
        };
        group.paths = members.iter().map(|c| c.dev).collect();
        group.spare = members.iter().filter(is_spare).map(|c| c.dev).collect();
    }
    arrangement.groups = joined;
}

/// Leaves groups about which nothing is known as they are in the kernel's table, behind the others: their paths share a
/// class with others only because their own is unknown.
fn keep_apart(arrangement: &mut Arrangement, unplaced: &[Vec<DevT>]) {
    for members in unplaced {
        let mut selector = None;
        for group in &mut arrangement.groups {
            let (mut left, mut own) = (Vec::new(), false);
            for dev in std::mem::take(&mut group.paths) {
                if members.contains(&dev) {
                    own = true;
                } else {
                    left.push(dev);
                }
            }
            group.paths = left;
            if own {
                selector = selector.or(Some(group.selector));
            }
        }
        arrangement.groups.retain(|group| !group.paths.is_empty());
        if let Some(selector) = selector {
            arrangement.groups.push(WantedGroup {
                selector,
                paths: members.clone(),
                spare: Vec::new(),
                class: Class::Last,
            });
        }
    }
}

/// How the paths of a device are to be arranged.
pub(in crate::psa) fn arrangement(device: &Device, view: &View) -> Arrangement {
    let mut arrangement = view.psp.plugin().arrange(&view.candidates, &view.options);
    let selection = device.selection.as_ref();
    if selection.is_some_and(|selection| selection.satp.is_exclusive()) {
        join_controllers(&mut arrangement, view);
    }
    keep_apart(&mut arrangement, &view.unplaced);
    arrangement
}
