//! A model of one dm-multipath map inside the kernel.
//!
//! Input: what user space can do to a map ([`Multipath::load`], [`Multipath::resume`], [`Multipath::message`]) and what
//! happens to it ([`Multipath::io`], [`Multipath::path_error`]). Output: errno, where I/O goes, and
//! [`Multipath::observe`], which prints the text of the kernel and parses it with the real parsers.
//!
//! The model has the state that decides the choice of groups: `current_pg`, `next_pg` and the bypass flags of
//! `dm-mpath.c`, which `dmsetup status` shows only in part. Left out: time (activation succeeds immediately; in the
//! kernel, an activation that is in progress while its group is disabled enables the group again when it ends), I/O in
//! flight, selectors (the paths of a group are used in turn). Compared with Linux 6.1, 6.12 and 7.2 by thousands of
//! random operations each.

use crate::psa::table::emit::{self, emit};
use crate::psa::table::model::{
    Features, GroupState, HardwareHandler, Map, Message, NO_TABLE, QueueMode, Table, TablePath,
};
use crate::psa::table::{parse, status};
use crate::psa::units::DevT;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// `errno` values that the model returns.
pub mod errno {
    /// No such device.
    pub(crate) const ENXIO: i32 = 6;
    /// Suspended.
    pub(crate) const EBUSY: i32 = 16;
    /// Invalid argument.
    pub(crate) const EINVAL: i32 = 22;
}

/// The kernel series that is modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// 6.1 and 6.12: an attached handler is used only if the table asks for it; the retain flag is printed.
    Linux6,
    /// 7.x: an attached handler is always used; the retain flag is not printed.
    Linux7,
}

/// Where an I/O went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Io {
    /// To this path.
    Path(DevT),
    /// Queued until there is a path.
    Held,
    /// Failed: the caller gets an error.
    Failed,
}

/// One map.
#[derive(Debug, Clone)]
pub struct Multipath {
    series: Series,
    /// Device handlers attached to SCSI devices.
    attached: BTreeMap<DevT, String>,
    name: String,
    uuid: String,
    dev: DevT,
    /// Number of users that have it open, not counting maps of partitions.
    pub open_count: u32,
    /// Maps of partitions on it: the number of users that have each open.
    pub partitions: Vec<u32>,
    event_nr: u32,
    suspended: bool,
    read_only: bool,
    live: Option<Live>,
    inactive: Option<Live>,
    /// Paths that were activated (`scsi_dh_activate`) since [`Multipath::take_activated`] was called last.
    activated: Vec<DevT>,
}

/// A live table with its state.
#[derive(Debug, Clone)]
struct Live {
    table: Table,
    read_only: bool,
    groups: Vec<LiveGroup>,
    /// Index of the group in use.
    current: Option<usize>,
    /// Index of the group that was requested.
    next: Option<usize>,
    /// I/O has to wait for an activation.
    pg_init_required: bool,
    pg_init_count: u32,
    held: bool,
}

#[derive(Debug, Clone)]
struct LiveGroup {
    bypassed: bool,
    paths: Vec<LivePath>,
    turn: usize,
}

#[derive(Debug, Clone)]
struct LivePath {
    dev: DevT,
    /// service-time with a relative throughput of 0: used only if no other path is left.
    spare: bool,
    active: bool,
    fail_count: u32,
}

impl Multipath {
    /// Gives it another name (`DM_DEV_RENAME`).
    pub(super) fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Creates a map as `DM_DEV_CREATE` does: without a table.
    #[must_use]
    pub fn new(series: Series, name: &str, uuid: &str, dev: DevT) -> Self {
        Multipath {
            series,
            attached: BTreeMap::new(),
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            dev,
            open_count: 0,
            partitions: vec![],
            event_nr: 0,
            // The kernel reports a new map as not suspended until its first table.
            suspended: false,
            read_only: false,
            live: None,
            inactive: None,
            activated: vec![],
        }
    }

    /// Attaches a device handler to a SCSI device, as a scan does.
    pub fn attach(&mut self, dev: DevT, handler: &str) {
        self.attached.insert(dev, handler.to_owned());
    }

    /// `DM_TABLE_LOAD`, with or without `DM_READONLY_FLAG`: fills the inactive slot; the live table stays in use.
    ///
    /// # Errors
    /// `EINVAL` for a table that the kernel rejects; the inactive slot is empty then.
    pub fn load(&mut self, table: &Table, read_only: bool) -> Result<(), i32> {
        self.inactive = None;
        emit::check(table).map_err(|_| errno::EINVAL)?;
        self.inactive = Some(Live::of(self.read_back(table), read_only));
        Ok(())
    }

    /// Resume: makes the inactive table live, if there is one.
    ///
    /// # Errors
    /// `EINVAL` if there is no table at all.
    pub fn resume(&mut self) -> Result<(), i32> {
        if let Some(table) = self.inactive.take() {
            self.read_only = table.read_only;
            self.live = Some(table);
        }
        if self.live.is_none() {
            return Err(errno::EINVAL);
        }
        self.suspended = false;
        Ok(())
    }

    /// Suspends the map, as another program may leave it.
    pub fn suspend(&mut self) {
        self.suspended = true;
    }

    /// `DM_TARGET_MSG`.
    ///
    /// # Errors
    /// `EBUSY` while suspended, `EINVAL` for a path or group that is not in the table, `ENXIO` without a table.
    pub fn message(&mut self, message: &Message) -> Result<(), i32> {
        let live = self.live.as_mut().ok_or(errno::ENXIO)?;
        if self.suspended {
            return Err(errno::EBUSY);
        }
        let group = |n: u32| {
            let index = (n as usize).checked_sub(1);
            index
                .filter(|&index| index < live.groups.len())
                .ok_or(errno::EINVAL)
        };
        let mut event = true;
        match message {
            Message::QueueIfNoPath | Message::FailIfNoPath => {
                live.table.features.queue_if_no_path = *message == Message::QueueIfNoPath;
                event = false;
            }
            Message::FailPath(dev) => event = live.path(*dev).ok_or(errno::EINVAL)?.fail(),
            Message::ReinstatePath(dev) => {
                let path = live.path(*dev).ok_or(errno::EINVAL)?;
                event = !path.active;
                path.active = true;
                // If the path that was reinstated belongs to the group in use, it is activated, and that enables the
                // group.
                let handler = live.table.handler.is_some();
                let in_use = live.current.map(|index| &mut live.groups[index]);
                if let Some(group) = in_use.filter(|group| event && handler && group.has(*dev)) {
                    group.bypassed = false;
                    self.activated.push(*dev);
                }
            }
            Message::SwitchGroup(n) => {
                let index = group(*n)?;
                for group in &mut live.groups {
                    group.bypassed = false;
                }
                live.current = None;
                live.next = Some(index);
            }
            Message::DisableGroup(n) | Message::EnableGroup(n) => {
                let index = group(*n)?;
                live.groups[index].bypassed = matches!(message, Message::DisableGroup(_));
                live.current = None;
            }
        }
        self.event_nr += u32::from(event);
        Ok(())
    }

    /// An I/O fails on a path, and the kernel fails the path.
    pub fn path_error(&mut self, dev: DevT) {
        let failed = self
            .live
            .as_mut()
            .and_then(|live| live.path(dev))
            .is_some_and(LivePath::fail);
        self.event_nr += u32::from(failed);
    }

    /// Sends one I/O to the map.
    pub fn io(&mut self) -> Io {
        if self.suspended {
            return Io::Held;
        }
        let live = self.live.as_mut();
        live.map_or(Io::Failed, |live| live.io(&mut self.activated))
    }

    /// Returns the paths that were activated (`scsi_dh_activate`) since the last call, in order. Each activation is an
    /// STPG if ALUA is explicit and the state is not active/optimized.
    pub fn take_activated(&mut self) -> Vec<DevT> {
        std::mem::take(&mut self.activated)
    }

    /// The number of users; maps of partitions count only if they are open.
    #[must_use]
    pub fn users(&self) -> u32 {
        let busy = self.partitions.iter().filter(|users| **users > 0).count();
        self.open_count + busy as u32
    }

    /// Its UUID.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Whether it is read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Its event counter.
    #[must_use]
    pub fn event_nr(&self) -> u32 {
        self.event_nr
    }

    /// Whether a table is loaded but not live yet.
    #[must_use]
    pub(crate) fn has_inactive(&self) -> bool {
        self.inactive.is_some()
    }

    /// Whether the live table queues I/O while there is no path; `None` without a table.
    #[must_use]
    pub fn queues(&self) -> Option<bool> {
        let live = self.live.as_ref()?;
        Some(live.table.features.queue_if_no_path)
    }

    /// The paths of the live table.
    #[must_use]
    pub fn devs(&self) -> BTreeSet<DevT> {
        let tables = self.live.iter().flat_map(|live| live.table.paths());
        tables.map(|path| path.dev).collect()
    }

    /// What the ioctls report, printed as text and parsed again.
    #[must_use]
    pub fn observe(&self) -> Map {
        let none = || NO_TABLE.to_owned();
        let live = self.live.as_ref();
        Map {
            name: self.name.clone(),
            uuid: self.uuid.clone(),
            dev: self.dev,
            event_nr: self.event_nr,
            open_count: self.users(),
            suspended: self.suspended,
            read_only: self.read_only,
            table: live.ok_or_else(none).and_then(|live| {
                parse::parse(live.table.length, &self.table_text(live)?).map_err(|e| e.to_string())
            }),
            status: live.ok_or_else(none).and_then(|live| {
                status::parse(&live.status_text(self.series)).map_err(|e| e.to_string())
            }),
        }
    }

    fn table_text(&self, live: &Live) -> Result<String, String> {
        let mut table = live.table.clone();
        table.initial_group = live.group_now(self.series);
        emit(&table).map_err(|e| e.to_string())
    }

    /// The table as the kernel prints it.
    fn read_back(&self, table: &Table) -> Table {
        let mut out = table.clone();
        let bio = table.features.queue_mode == Some(QueueMode::Bio);
        let retain = table.features.retain_attached_hw_handler;
        out.features = Features {
            retain_attached_hw_handler: retain && self.series == Series::Linux6,
            queue_mode: table.features.queue_mode.filter(|_| bio),
            ..table.features.clone()
        };
        let adopts = table.handler.is_some() || retain || self.series == Series::Linux7;
        let attached = out
            .paths()
            .filter_map(|path| self.attached.get(&path.dev))
            .last();
        let handler = attached
            .filter(|_| adopts)
            .or(table.handler.as_ref().map(|handler| &handler.name));
        out.handler = handler.filter(|_| !bio).map(|name| HardwareHandler {
            name: name.clone(),
            args: vec![],
        });
        for group in &mut out.groups {
            let printed = match group.selector.name.as_str() {
                "round-robin" | "queue-length" => 1,
                "service-time" => 2,
                _ => continue,
            };
            group.selector.args.clear();
            for path in &mut group.paths {
                path.args.resize(printed, "1".to_owned());
                if let Some(repeat) = path.args.first_mut().filter(|repeat| *repeat != "0") {
                    "1".clone_into(repeat);
                }
            }
        }
        out
    }
}

impl LiveGroup {
    fn has(&self, dev: DevT) -> bool {
        self.paths.iter().any(|path| path.dev == dev)
    }
}

impl LivePath {
    /// Fails the path; returns whether it was active before.
    fn fail(&mut self) -> bool {
        let news = self.active;
        self.active = false;
        self.fail_count += u32::from(news);
        news
    }
}

impl Live {
    fn of(table: Table, read_only: bool) -> Self {
        let path = |path: &TablePath, selector: &str| LivePath {
            dev: path.dev,
            spare: selector == "service-time" && path.args.get(1).is_some_and(|arg| arg == "0"),
            active: true,
            fail_count: 0,
        };
        let groups = table
            .groups
            .iter()
            .map(|group| LiveGroup {
                bypassed: false,
                paths: {
                    let selector = group.selector.name.as_str();
                    group.paths.iter().map(|p| path(p, selector)).collect()
                },
                turn: 0,
            })
            .collect();
        Live {
            next: (table.initial_group as usize).checked_sub(1),
            groups,
            current: None,
            pg_init_required: false,
            pg_init_count: 0,
            held: true,
            table,
            read_only,
        }
    }

    fn path(&mut self, dev: DevT) -> Option<&mut LivePath> {
        let mut paths = self.groups.iter_mut().flat_map(|group| &mut group.paths);
        paths.find(|path| path.dev == dev)
    }

    fn io(&mut self, activated: &mut Vec<DevT>) -> Io {
        let Some(group) = self.choose() else {
            self.current = None;
            self.held = false;
            return if self.table.features.queue_if_no_path {
                Io::Held
            } else {
                Io::Failed
            };
        };
        if self.current != Some(group) {
            self.current = Some(group);
            self.pg_init_required = self.table.handler.is_some();
        }
        self.held = false;
        let chosen = &mut self.groups[group];
        let active: Vec<DevT> = chosen
            .paths
            .iter()
            .filter(|path| path.active)
            .map(|path| path.dev)
            .collect();
        if std::mem::take(&mut self.pg_init_required) {
            // A successful activation clears the bypass.
            chosen.bypassed = false;
            self.pg_init_count += 1;
            activated.extend(&active);
        }
        let usable = |path: &&LivePath| path.active;
        let first = chosen
            .paths
            .iter()
            .filter(usable)
            .filter(|path| !path.spare);
        let mut choice: Vec<DevT> = first.map(|path| path.dev).collect();
        if choice.is_empty() {
            choice = active;
        }
        chosen.turn = (chosen.turn + 1) % choice.len();
        Io::Path(choice[chosen.turn])
    }

    /// Chooses a group, in the order of the kernel. A group that was requested is forgotten once it has been
    /// considered.
    fn choose(&mut self) -> Option<usize> {
        let usable = |&index: &usize| self.groups[index].paths.iter().any(|path| path.active);
        let all = || (0..self.groups.len()).filter(usable);
        all().next()?;
        let chosen = self
            .next
            .filter(usable)
            .or(self.current.filter(usable))
            .or_else(|| all().find(|&index| !self.groups[index].bypassed))
            .or_else(|| all().next());
        self.next = None;
        chosen
    }

    fn group_now(&self, series: Series) -> u32 {
        let index = match series {
            Series::Linux6 => self.next.or(self.current),
            Series::Linux7 => self.current.or(self.next),
        };
        match index {
            Some(index) => index as u32 + 1,
            None => u32::from(!self.groups.is_empty()),
        }
    }

    fn status_text(&self, series: Series) -> String {
        let mut text = format!(
            "2 {} {} 0 {} {} ",
            u32::from(self.held),
            self.pg_init_count,
            self.groups.len(),
            self.group_now(series)
        );
        for (index, group) in self.groups.iter().enumerate() {
            let letter = if group.bypassed {
                'D'
            } else if self.current == Some(index) {
                'A'
            } else {
                'E'
            };
            let _ = write!(text, "{letter} 0 {} 0 ", group.paths.len());
            for path in &group.paths {
                let letter = if path.active { 'A' } else { 'F' };
                let _ = write!(text, "{} {letter} {} ", path.dev, path.fail_count);
            }
        }
        text
    }
}

/// The letters that the groups of a map show, for tests of the model.
#[must_use]
pub fn letters(map: &Map) -> String {
    let letter = |state| match state {
        GroupState::Active => 'A',
        GroupState::Enabled => 'E',
        GroupState::Disabled => 'D',
    };
    map.status
        .as_ref()
        .map(|status| {
            status
                .groups
                .iter()
                .map(|group| letter(group.state))
                .collect()
        })
        .unwrap_or_default()
}
