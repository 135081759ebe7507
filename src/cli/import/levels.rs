//! Which value of a keyword holds for an array: the precedence of multipath.conf.
//!
//! `multipaths` goes before `overrides`, that before `devices`, that before the table that is built into
//! multipath-tools, and that before `defaults`. Among the sections of `devices` that hold for an array, and among the
//! lines of the table, the last one that says a keyword counts for it: sections are merged keyword by keyword. What
//! `multipaths` says is for single devices, and goes before everything here as well ([`super::maps`]).
//!
//! A keyword that is said for every array becomes a setting that goes before all rules, or one that stands behind
//! them ([`Place`]); only what is said for some of them needs rules.

use super::conf::Section;
use super::hwtable::{self, Row};
use super::multipath::Said;
use super::region::Region;
use super::values::queues;
use crate::config::settings_file::Owner;

/// The keywords of which settings of devices are made.
pub(super) const SETTINGS: [&str; 5] = [
    "path_grouping_policy",
    "path_selector",
    "no_path_retry",
    "fast_io_fail_tmo",
    "dev_loss_tmo",
];

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Overrides,
    /// Which of the sections of `devices`.
    Section(usize),
    Table,
    Defaults,
}

/// A value that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) origin: Origin,
    /// The line that says it; 0 for the table.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// A `device` section.
#[derive(Debug)]
pub(super) struct Device<'a> {
    pub(super) section: &'a Section,
    pub(super) own: Vec<Said<'a>>,
    /// The arrays that it is for, or why no rule can say which.
    pub(super) regions: Result<Vec<Region>, String>,
}

impl Device<'_> {
    pub(super) fn covers(&self, region: &Region) -> bool {
        let regions = self.regions.as_deref().unwrap_or_default();
        regions.iter().any(|own| own.covers(region))
    }

    /// Whether it is for every array.
    pub(super) fn is_for_all(&self) -> bool {
        self.covers(&Region::default())
    }
}

/// What is said of all devices, and of arrays.
#[derive(Debug)]
pub(super) struct Levels<'a> {
    pub(super) overrides: Vec<Said<'a>>,
    pub(super) devices: Vec<Device<'a>>,
    pub(super) table: &'static [Row],
    pub(super) defaults: Vec<Said<'a>>,
    /// Seconds between two checks.
    pub(super) polling: u32,
}

fn find<'a>(said: &[Said<'a>], name: &str, origin: Origin) -> Option<Value<'a>> {
    let said = said.iter().find(|said| said.name == name)?;
    Some(Value {
        origin,
        line: said.line,
        text: said.value,
    })
}

impl<'a> Levels<'a> {
    pub(super) fn new(
        overrides: Vec<Said<'a>>,
        devices: Vec<Device<'a>>,
        defaults: Vec<Said<'a>>,
    ) -> Levels<'a> {
        let polling = find(&defaults, "polling_interval", Origin::Defaults);
        let polling = polling.and_then(|value| value.text.parse().ok());
        Levels {
            overrides,
            devices,
            table: hwtable::table(),
            defaults,
            polling: polling.filter(|seconds| *seconds > 0).unwrap_or(5),
        }
    }

    /// What `overrides` says.
    pub(super) fn overridden(&self, name: &str) -> Option<Value<'a>> {
        find(&self.overrides, name, Origin::Overrides)
    }

    /// What `defaults` says.
    pub(super) fn default(&self, name: &str) -> Option<Value<'a>> {
        find(&self.defaults, name, Origin::Defaults)
    }

    /// What the table says of the arrays of a region.
    pub(super) fn built_in(&self, region: &Region, name: &str) -> Option<Value<'a>> {
        let is_for = |row: &&Row| row.regions.iter().any(|own| own.covers(region));
        let rows = self.table.iter().rev().filter(is_for);
        let text = rows.filter_map(|row| row.get(name)).next()?;
        Some(Value {
            origin: Origin::Table,
            line: 0,
            text,
        })
    }

    /// What the sections say of the arrays of a region.
    fn section(&self, region: &Region, name: &str) -> Option<Value<'a>> {
        let devices = self.devices.iter().enumerate().rev();
        let mut devices = devices.filter(|(_, device)| device.covers(region));
        devices.find_map(|(at, device)| find(&device.own, name, Origin::Section(at)))
    }

    /// The value that holds for the arrays of a region.
    pub(super) fn of(&self, region: &Region, name: &str) -> Option<Value<'a>> {
        self.overridden(name)
            .or_else(|| self.section(region, name))
            .or_else(|| self.built_in(region, name))
            .or_else(|| self.default(name))
            .or_else(|| self.queue(region, name))
    }

    /// `no_path_retry` of arrays of which nothing says it: `features` may ask for queueing.
    fn queue(&self, region: &Region, name: &str) -> Option<Value<'a>> {
        if name != "no_path_retry" {
            return None;
        }
        let features = self.of(region, "features")?;
        queues(features.text).then_some(Value {
            text: "queue",
            ..features
        })
    }

    /// What holds for every array, whatever else is said of it: what `overrides` says, or a section for all arrays
    /// that no later section contradicts.
    pub(super) fn everywhere(&self, name: &str) -> Option<Value<'a>> {
        self.overridden(name).or_else(|| {
            let devices = self.devices.iter().enumerate().rev();
            let mut says = devices.filter_map(|(at, device)| {
                let value = find(&device.own, name, Origin::Section(at))?;
                Some((device, value))
            });
            let (device, value) = says.next()?;
            device.is_for_all().then_some(value)
        })
    }

    /// What holds for arrays of which no section and no line of the table says a keyword.
    pub(super) fn otherwise(&self, name: &str) -> Option<Value<'a>> {
        self.default(name).or_else(|| {
            let features = self.everywhere("features");
            let features = features.or_else(|| self.default("features"))?;
            (name == "no_path_retry" && queues(features.text)).then_some(Value {
                text: "queue",
                ..features
            })
        })
    }
}

/// Where in the order of settings and rules the value of a keyword stands that `defaults` gives.
///
/// multipath-tools' table says of nearly every array how its paths are grouped and how long I/O waits; so `defaults`
/// is for the arrays that it does not list. Of the other keywords it says little; so `defaults` is for all arrays.
pub(super) fn place_of_defaults(name: &str) -> Option<Place> {
    Some(match name {
        "path_grouping_policy" | "no_path_retry" => Place::Unlisted,
        "path_selector" | "dev_loss_tmo" => Place::Behind,
        "fast_io_fail_tmo" => Place::Host,
        _ => return None,
    })
}

/// A table of dm-psa.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// For the arrays that no rule names.
    Unlisted,
    /// For every device, behind its rule.
    Behind,
    /// A setting of the host, which stands behind rules as well.
    Host,
}

impl Place {
    pub(super) fn owner(self) -> Owner {
        match self {
            Place::Unlisted => Owner::UnlistedDevice,
            Place::Behind => Owner::DefaultDevice,
            Place::Host => Owner::Host,
        }
    }
}
