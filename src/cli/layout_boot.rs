//! The columns of what `psactl` says about early boot. ESXi has nothing like it.

use super::layout::{Column, Layout};
use super::record::{Style, Value};
use crate::api::activation::ActivatedMap;

/// A record of `boot status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootImageLine {
    /// The kernel that the image is for.
    pub kernel: String,
    /// This boot used it, and it made the maps.
    pub booted: bool,
    /// The version of dm-psa in it.
    pub version: String,
    /// WWIDs of the devices that it waits for.
    pub wait_for: Vec<String>,
    /// How it differs from an image that is made now.
    pub differences: Vec<String>,
}

impl Layout for BootImageLine {
    const KIND: &'static str = "BootImage";
    const STYLE: Style = Style::List;
    const HEADING: Option<&'static str> = Some("Image");
    const COLUMNS: &'static [Column<Self>] = &[
        ("Kernel", |line| Value::from(&line.kernel)),
        ("This Boot", |line| Value::from(line.booted)),
        ("Version", |line| Value::from(&line.version)),
        ("Waits For", |line| Value::from(&line.wait_for)),
        ("State", |line| {
            let stale = !line.differences.is_empty();
            Value::State(if stale { "stale" } else { "up to date" }.to_owned())
        }),
        ("Differences", |line| Value::from(&line.differences)),
    ];
    fn heading(&self) -> Option<&str> {
        Some(if self.booted {
            "this boot"
        } else {
            &self.kernel
        })
    }
}

/// A record of `activate`.
impl Layout for ActivatedMap {
    const KIND: &'static str = "ActivatedMap";
    const STYLE: Style = Style::Table;
    const COLUMNS: &'static [Column<Self>] = &[
        ("Map", |map| Value::from(&map.name)),
        ("WWID", |map| Value::from(&map.wwid)),
        ("Paths", |map| {
            Value::Number(u64::try_from(map.paths).unwrap_or(u64::MAX))
        }),
    ];
}
