//! Determines the effective value of a keyword for an array: the precedence in multipath.conf.
//!
//! `multipaths` takes precedence over `overrides`, then `devices`, then the table that is built into multipath-tools,
//! then `defaults`. Among the sections of `devices` that match an array, and among the lines of the table, the last one
//! that has a keyword counts for that keyword: sections are merged keyword by keyword. `multipaths` is for single
//! devices, and takes precedence over everything here as well ([`super::maps`]).
//!
//! A keyword that is set for every array becomes a setting that takes precedence over all rules, or one that comes
//! after them ([`Place`]). Only keywords that are set for some arrays need rules.

use super::conf::Section;
use super::hwtable::{self, Row};
use super::region::Region;
use super::said::Said;
use super::values::queues;
use crate::config::settings_file::Owner;

/// The keywords that become settings of devices.
pub(super) const SETTINGS: [&str; 5] = [
    "path_grouping_policy",
    "path_selector",
    "no_path_retry",
    "fast_io_fail_tmo",
    "dev_loss_tmo",
];

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Overrides,
    /// The number of the section in `devices`.
    Section(usize),
    Table,
    Defaults,
}

/// An effective value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) origin: Origin,
    /// The line that sets it; 0 for the table.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// A `device` section.
#[derive(Debug)]
pub(super) struct Device<'a> {
    pub(super) section: &'a Section,
    pub(super) own: Vec<Said<'a>>,
    /// The arrays that it is for, or why no rule can express them.
    pub(super) regions: Result<Vec<Region>, String>,
}

impl Device<'_> {
    pub(super) fn covers(&self, region: &Region) -> bool {
        let regions = self.regions.as_deref().unwrap_or_default();
        regions.iter().any(|own| own.covers(region))
    }

    /// Whether it applies to every array.
    pub(super) fn is_for_all(&self) -> bool {
        self.covers(&Region::default())
    }
}

/// The values for all devices and for arrays.
#[derive(Debug)]
pub(super) struct Levels<'a> {
    pub(super) overrides: Vec<Said<'a>>,
    pub(super) devices: Vec<Device<'a>>,
    pub(super) table: &'static [Row],
    pub(super) defaults: Vec<Said<'a>>,
    /// The number of seconds between two checks.
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

    /// The value in `overrides`.
    pub(super) fn overridden(&self, name: &str) -> Option<Value<'a>> {
        find(&self.overrides, name, Origin::Overrides)
    }

    /// The value in `defaults`.
    pub(super) fn default(&self, name: &str) -> Option<Value<'a>> {
        find(&self.defaults, name, Origin::Defaults)
    }

    /// The value in the table for the arrays of a region.
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

    /// The value in the sections for the arrays of a region.
    fn section(&self, region: &Region, name: &str) -> Option<Value<'a>> {
        let devices = self.devices.iter().enumerate().rev();
        let mut devices = devices.filter(|(_, device)| device.covers(region));
        devices.find_map(|(at, device)| find(&device.own, name, Origin::Section(at)))
    }

    /// The effective value for the arrays of a region.
    pub(super) fn of(&self, region: &Region, name: &str) -> Option<Value<'a>> {
        self.overridden(name)
            .or_else(|| self.section(region, name))
            .or_else(|| self.built_in(region, name))
            .or_else(|| self.default(name))
            .or_else(|| self.queue(region, name))
    }

    /// `no_path_retry` for arrays without an explicit value: `features` may request queueing.
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

    /// The value that is effective for every array: that of `overrides`, or of a section for all arrays that no later
    /// section contradicts.
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

    /// The value for arrays for which neither a section nor the table sets the keyword.
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

/// The place, in the order of settings and rules, of a value that `defaults` gives to a keyword.
///
/// The table of multipath-tools sets the grouping of paths and the queueing time for nearly every array, so `defaults`
/// is effective for the arrays that it does not list. It rarely sets the other keywords, so for these `defaults` is
/// effective for all arrays.
pub(super) fn place_of_defaults(name: &str) -> Option<Place> {
    Some(match name {
        "path_grouping_policy" | "no_path_retry" => Place::Unlisted,
        "path_selector" | "dev_loss_tmo" => Place::Behind,
        "fast_io_fail_tmo" | "user_friendly_names" => Place::Host,
        _ => return None,
    })
}

/// A table of dm-psa.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// For arrays that no rule lists.
    Unlisted,
    /// For every device, after its rule.
    Behind,
    /// A setting of the host, which comes after rules as well.
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
