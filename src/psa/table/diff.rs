//! Finds what has to be done so that a map becomes the wanted map: nothing, messages, a new table, or a new map.
//!
//! A new table is expensive. All paths become active again, their failure counts are lost, and the first I/O after it
//! activates the group again, which may move a logical unit on an array with explicit ALUA. So the order of paths and
//! groups is never a reason for a new table: messages can express the preferred group too.
//!
//! # The order of messages
//!
//! I/O continues between any two messages. When the kernel chooses a group it activates the group, which may move the
//! logical unit. So the order ensures that the kernel never chooses any group except the one in use and the wanted one,
//! and that the map never loses its last usable path.
//!
//! 1. `queue_if_no_path`, so that no I/O fails because of the following messages.
//! 2. `reinstate_path` in the wanted group. This comes first, because a map without a path uses the first path that
//!    returns, and with it the group of that path.
//! 3. `switch_group`, if the kernel would not use the wanted group without it.
//! 4. `reinstate_path` elsewhere. After the switch, because a path that returns to the group in use is activated
//!    immediately, even if that group is about to be left.
//! 5. `fail_path`, in the group in use last: when that group has no path left, the kernel chooses among the paths that
//!    are still in use.
//! 6. `disable_group`. The kernel drops the group in use on this message, and the next I/O chooses again among the
//!    groups that have a path left, in table order.
//! 7. `fail_if_no_path`.
//!
//! # Which groups get disabled
//!
//! When the group in use loses its last path, the kernel continues with the first other group in table order, with
//! disabled groups last. This happens long before the agent can act. If that would be a group to be avoided (standby)
//! although a better group has a path, groups are disabled:
//!
//! - `switch_group` enables all groups, so it comes first, and all wanted disables follow it.
//! - `disable_group` drops the group in use, and I/O between the messages has already used up the switch. So the group
//!   before the wanted one in table order is disabled too, and it is disabled first: then the kernel can only choose
//!   the wanted group.
//! - Not every preference can be expressed in this way. If two or more groups precede the wanted one, the kernel would
//!   choose the other one after the first disable. If the only better group precedes the wanted one and follows one to
//!   be avoided, disabling would not help. In these cases nothing is disabled, and if the wanted group fails, the next
//!   difference corrects the kernel's choice.
//! - If an activation was in progress when its group was disabled, the end of the activation enables the group again,
//!   and no event reports that. The next look at the map finds such a group.
//! - A disabled group that does no harm stays disabled. To enable it would drop the group in use, and would work
//!   against the kernel, which itself disables a group when a controller is busy.
//!
//! # What it does not do
//!
//! It fails the last usable path if `wanted` requires it; the caller has to decide whether that is right. A suspended
//! map accepts no messages; the caller resumes it first. The same messages twice in a row mean that the kernel or
//! another program undoes them; the caller then slows down.

use super::model::{Group, GroupState, Map, Message, QueueMode, Status, Table, TablePath};
use super::normal;
use crate::psa::units::DevT;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The wanted state of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The table, with its groups in the order of preference.
    pub table: Table,
    /// The paths that should be active in dm; every other path of the table should be failed.
    pub usable: BTreeSet<DevT>,
    /// Groups of `table`, numbered from 1, that must not be used while another group has a usable path.
    pub avoid: BTreeSet<u32>,
}

impl Wanted {
    /// The number, from 1, of the group to be used: the first in the order of preference that has a usable path and is
    /// not to be avoided, otherwise the first that has a usable path. `None` if no group has one.
    #[must_use]
    pub fn first_group(&self) -> Option<u32> {
        let usable = || {
            (1u32..)
                .zip(&self.table.groups)
                .filter(|(_, group)| {
                    group
                        .paths
                        .iter()
                        .any(|path| self.usable.contains(&path.dev))
                })
                .map(|(number, _)| number)
        };
        usable()
            .find(|number| !self.avoid.contains(number))
            .or_else(|| usable().next())
    }

    /// The table to load: the wanted table, starting with the group to be used.
    #[must_use]
    pub fn table_to_load(&self) -> Table {
        let mut table = self.table.clone();
        table.initial_group = self
            .first_group()
            .unwrap_or(u32::from(!table.groups.is_empty()));
        table
    }

    /// The messages that must follow immediately after [`Wanted::table_to_load`] has become live: all paths of a new
    /// table are active, including dead ones.
    #[must_use]
    pub fn messages_after_load(&self) -> Vec<Message> {
        let paths = self.table.paths().map(|path| path.dev);
        paths
            .filter(|dev| !self.usable.contains(dev))
            .map(Message::FailPath)
            .collect()
    }
}

/// The difference between a map and the wanted map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Difference {
    /// Nothing.
    None,
    /// These messages, in this order.
    Messages(Vec<Message>),
    /// A new table; the text is the reason.
    Reload(String),
    /// A difference that no table can remove: the map must be removed and created again, which requires that nothing
    /// uses it. The text is the reason.
    Recreate(String),
}

/// One line for the log.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::None => f.write_str("nothing to do"),
            Difference::Reload(reason) => write!(f, "new table: {reason}"),
            Difference::Recreate(reason) => write!(f, "new map: {reason}"),
            Difference::Messages(messages) => {
                f.write_str("messages: ")?;
                for (n, message) in messages.iter().enumerate() {
                    write!(f, "{}{message}", if n == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// Compares a map with the wanted one.
///
/// A map whose status cannot be read, or does not belong to its table, gets no messages, because each would be a guess.
#[must_use]
pub fn diff(observed: &Map, wanted: &Wanted) -> Difference {
    let table = match &observed.table {
        Ok(table) => table,
        Err(why) => return Difference::Reload(format!("the live table is not ours: {why}")),
    };
    let (is, should) = (queue_mode(table), queue_mode(&wanted.table));
    if is != should {
        // The queue mode cannot change after the first table ("can't change device type").
        return Difference::Recreate(format!("queue mode {is} -> {should}"));
    }
    let reasons = reload_reasons(table, &wanted.table);
    if !reasons.is_empty() {
        return Difference::Reload(reasons.join("; "));
    }
    match &observed.status {
        Ok(status) if status.belongs_to(table) => {
            let messages = messages(table, status, wanted);
            if messages.is_empty() {
                Difference::None
            } else {
                Difference::Messages(messages)
            }
        }
        _ => Difference::None,
    }
}

/// `rq` and `mq` mean the same.
fn queue_mode(table: &Table) -> &'static str {
    match table.features.queue_mode {
        Some(QueueMode::Bio) => "bio",
        None | Some(QueueMode::Rq | QueueMode::Mq) => "request",
    }
}

/// All differences that no message can remove.
fn reload_reasons(is: &Table, wanted: &Table) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut differ = |what: &str, is: &dyn fmt::Display, wanted: &dyn fmt::Display| {
        let (is, wanted) = (is.to_string(), wanted.to_string());
        if is != wanted {
            reasons.push(format!("{what} {is} -> {wanted}"));
        }
    };
    differ("length", &is.length.0, &wanted.length.0);
    // How often and how soon an activation is repeated (`pg_init_retries`, `pg_init_delay_msecs`) is not worth a new
    // table. A map that multipathd made is taken over as it is, and the next table has what is wanted.
    // The kernel prints the attached handler, whatever was requested, and kernels from 7.0 on use it without being
    // asked. No handler can be detached, so a new table would read back the same. Bio-based maps have no handler.
    if let (None, Some(handler), "request") = (&is.handler, &wanted.handler, queue_mode(wanted)) {
        reasons.push(format!("handler none -> {}", handler.name));
    }
    reasons.extend(partition_reasons(is, wanted));
    reasons
}

/// Whether groups and paths have the same order and the same selectors. This is the likely case, and cheaper to detect.
fn is_alike(is: &Table, wanted: &Table) -> bool {
    let same_group = |(is, wanted): (&Group, &Group)| {
        let name = is.selector.name.as_str();
        let same_path = |(is, wanted): (&TablePath, &TablePath)| {
            let args = |path: &TablePath| normal::path_args(name, &path.args);
            is.dev == wanted.dev && (is.args == wanted.args || args(is) == args(wanted))
        };
        (is.selector == wanted.selector
            || normal::selector(&is.selector) == normal::selector(&wanted.selector))
            && is.paths.len() == wanted.paths.len()
            && is.paths.iter().zip(&wanted.paths).all(same_path)
    };
    is.groups.len() == wanted.groups.len() && is.groups.iter().zip(&wanted.groups).all(same_group)
}

/// Groups by their members. The order of paths and of groups is not part of the comparison.
type Partition = BTreeMap<Vec<DevT>, (String, BTreeMap<DevT, Vec<String>>)>;

fn partition(table: &Table) -> Partition {
    let group = |group: &Group| {
        let selector = normal::selector(&group.selector);
        let mut name = selector.name.clone();
        for arg in &selector.args {
            name.push(' ');
            name.push_str(arg);
        }
        let mut devs: Vec<DevT> = group.paths.iter().map(|path| path.dev).collect();
        devs.sort_unstable();
        let args = group
            .paths
            .iter()
            .map(|path| (path.dev, normal::path_args(&selector.name, &path.args)));
        (devs, (name, args.collect()))
    };
    table.groups.iter().map(group).collect()
}

fn partition_reasons(is: &Table, wanted: &Table) -> Vec<String> {
    if is_alike(is, wanted) {
        return Vec::new();
    }
    let devs = |table: &Table| -> BTreeSet<DevT> { table.paths().map(|path| path.dev).collect() };
    let (have, want) = (devs(is), devs(wanted));
    let mut reasons = Vec::new();
    reasons.extend(
        want.difference(&have)
            .map(|dev| format!("path {dev} added")),
    );
    reasons.extend(
        have.difference(&want)
            .map(|dev| format!("path {dev} removed")),
    );
    if !reasons.is_empty() {
        return reasons;
    }
    let (have, want) = (partition(is), partition(wanted));
    if !have.keys().eq(want.keys()) || is.groups.len() != wanted.groups.len() {
        let groups = |partition: &Partition| {
            let each: Vec<String> = partition.keys().map(|devs| members(devs)).collect();
            each.join(" ")
        };
        return vec![format!("groups {} -> {}", groups(&have), groups(&want))];
    }
    for ((devs, (selector, args)), (wanted_selector, wanted_args)) in have.iter().zip(want.values())
    {
        if selector != wanted_selector {
            let group = members(devs);
            reasons.push(format!(
                "selector of group {group} {selector} -> {wanted_selector}"
            ));
            continue;
        }
        let pairs = args.iter().zip(wanted_args.values());
        reasons.extend(pairs.filter(|((_, is), wanted)| is != wanted).map(
            |((dev, is), wanted)| {
                format!(
                    "arguments of path {dev} {} -> {}",
                    is.join(" "),
                    wanted.join(" ")
                )
            },
        ));
    }
    reasons
}

/// `{8:16 8:32}`
fn members(devs: &[DevT]) -> String {
    let devs: Vec<String> = devs.iter().map(DevT::to_string).collect();
    format!("{{{}}}", devs.join(" "))
}

fn messages(table: &Table, status: &Status, wanted: &Wanted) -> Vec<Message> {
    let mut out = Vec::new();
    let queue = wanted.table.features.queue_if_no_path;
    if queue && !table.features.queue_if_no_path {
        out.push(Message::QueueIfNoPath);
    }
    let target = first_group_paths(wanted);
    let (now, usable) = (group_in_use(status), |dev: &DevT| {
        wanted.usable.contains(dev)
    });
    // All paths with the number of their group.
    let paths = || {
        let groups = (1u32..).zip(&status.groups);
        groups.flat_map(|(number, group)| group.paths.iter().map(move |path| (number, path)))
    };
    let reinstated = |in_target: bool| {
        paths()
            .map(|(_, path)| path)
            .filter(move |path| !path.active && usable(&path.dev))
            .map(|path| path.dev)
            .filter(|dev| target.contains(dev) == in_target)
            .map(Message::ReinstatePath)
            .collect::<Vec<_>>()
    };
    let failed = |in_use: bool| {
        paths()
            .filter(move |(number, path)| {
                path.active && !usable(&path.dev) && (*number == now) == in_use
            })
            .map(|(_, path)| Message::FailPath(path.dev))
            .collect::<Vec<_>>()
    };
    let (switch, disables) = steering(table, status, wanted);
    out.extend(reinstated(true));
    out.extend(switch);
    out.extend(reinstated(false));
    out.extend(failed(false));
    out.extend(failed(true));
    out.extend(disables);
    if !queue && table.features.queue_if_no_path {
        out.push(Message::FailIfNoPath);
    }
    out
}

/// The paths of the group to be used.
fn first_group_paths(wanted: &Wanted) -> BTreeSet<DevT> {
    let index = wanted.first_group().and_then(|n| n.checked_sub(1));
    let group = index.and_then(|index| wanted.table.groups.get(index as usize));
    let paths = group.into_iter().flat_map(|group| &group.paths);
    paths.map(|path| path.dev).collect()
}

/// The group in use, or requested; also 1 if the kernel has not chosen a group yet.
fn group_in_use(status: &Status) -> u32 {
    let active = (1u32..)
        .zip(&status.groups)
        .find(|(_, group)| group.state == GroupState::Active);
    active.map_or(status.group_now, |(number, _)| number)
}

/// A group of the live table that has a usable path.
struct Candidate {
    /// Number, from 1, in table order.
    number: u32,
    /// Rank, from 1, in the order of preference.
    rank: u32,
    avoid: bool,
    disabled: bool,
}

/// How to make the kernel use the wanted group, and avoid the groups to be avoided if it fails.
fn steering(table: &Table, status: &Status, wanted: &Wanted) -> (Option<Message>, Vec<Message>) {
    let candidates = candidates(table, status, wanted);
    let Some(rank) = wanted.first_group() else {
        return (None, vec![]);
    };
    let Some(target) = candidates.iter().find(|group| group.rank == rank) else {
        return (None, vec![]);
    };
    // There are two ways: enable all groups, or disable the groups to be avoided and the group before the target.
    let before = |group: &Candidate| group.number < target.number;
    let to_disable: BTreeSet<u32> = candidates
        .iter()
        .filter(|group| group.number != target.number && (group.avoid || before(group)))
        .map(|group| group.number)
        .collect();
    let expressible = candidates.iter().filter(|group| before(group)).count() <= 1;
    let as_it_is = good_choices(&candidates, target, |group| group.disabled);
    let all_enabled = good_choices(&candidates, target, |_| false);
    let some_disabled = good_choices(&candidates, target, |group| {
        expressible && to_disable.contains(&group.number)
    });
    let settled = will_use(&candidates, status) == Some(target.number);
    if settled && as_it_is >= all_enabled.max(some_disabled) {
        return (None, vec![]);
    }
    // In table order, so that the group before the target comes first.
    let disables = if some_disabled > all_enabled {
        to_disable.into_iter().map(Message::DisableGroup).collect()
    } else {
        vec![]
    };
    (Some(Message::SwitchGroup(target.number)), disables)
}

fn candidates(table: &Table, status: &Status, wanted: &Wanted) -> Vec<Candidate> {
    let devs =
        |group: &Group| -> BTreeSet<DevT> { group.paths.iter().map(|path| path.dev).collect() };
    let ranks: BTreeMap<BTreeSet<DevT>, u32> =
        wanted.table.groups.iter().map(devs).zip(1..).collect();
    let groups = (1u32..).zip(&table.groups).zip(&status.groups);
    groups
        .filter_map(|((number, group), group_status)| {
            let devs = devs(group);
            let rank = *ranks.get(&devs)?;
            devs.iter()
                .any(|dev| wanted.usable.contains(dev))
                .then_some(Candidate {
                    number,
                    rank,
                    avoid: wanted.avoid.contains(&rank),
                    disabled: group_status.state == GroupState::Disabled,
                })
        })
        .collect()
}

/// The group to which the kernel will send the next I/O, once the paths are active or failed as wanted; `None` if that
/// cannot be determined.
fn will_use(candidates: &[Candidate], status: &Status) -> Option<u32> {
    let candidate = |number: u32| candidates.iter().find(|group| group.number == number);
    let by_itself = || {
        let first = candidates
            .iter()
            .min_by_key(|group| (group.disabled, group.number));
        first.map(|group| group.number)
    };
    // The kernel leaves this group only when it has no path left.
    let now = group_in_use(status);
    match candidate(now) {
        None => by_itself(),
        // The kernel also reports group 1 if it has not chosen yet; then it will not choose this one.
        Some(group) if now == 1 && group.disabled && by_itself() != Some(1) => None,
        Some(group) => Some(group.number),
    }
}

/// If `target` failed: the number of groups, not to be avoided, that the kernel would use one after the other before it
/// uses one to be avoided.
fn good_choices(
    candidates: &[Candidate],
    target: &Candidate,
    disabled: impl Fn(&Candidate) -> bool,
) -> usize {
    let mut others: Vec<&Candidate> = candidates
        .iter()
        .filter(|group| group.number != target.number)
        .collect();
    others.sort_by_key(|group| (disabled(group), group.number));
    others.iter().take_while(|group| !group.avoid).count()
}
