//! The maps and paths of this host in the words of multipath-tools.

use crate::api::ApiError;
use crate::api::client::{Client, ClientError};
use crate::api::requests::{ListMaps, Maps, Method};
use crate::api::types::{MultipathMap, MultipathPath};
use crate::kernel::sysfs::Sysfs;
use crate::psa::satp;
use crate::scsi::reader::ascii;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long the agent may take to answer. Callers give up after ten seconds and more.
const WITHIN: Duration = Duration::from_secs(5);

/// A connection to the agent, and the files of the host.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Socket of the agent.
    pub socket: PathBuf,
    /// The directory that contains `dev`, `etc` and `sys`; `/` except in tests.
    pub root: PathBuf,
}

impl Agent {
    /// Calls a method of the agent.
    ///
    /// # Errors
    /// The agent does not run, or it refused the call.
    pub(crate) fn call<M: Method>(&self, request: &M) -> Result<M::Reply, ClientError> {
        Client::connect(&self.socket, WITHIN)?.call(request)
    }

    /// The maps and paths as they are now.
    ///
    /// # Errors
    /// The agent does not run.
    pub fn host(&self) -> Result<Host, ClientError> {
        let Maps {
            mut maps,
            mut paths,
        } = self.call(&ListMaps {})?;
        for map in &mut maps {
            make_printable(&mut map.name);
        }
        for path in &mut paths {
            for text in [
                &mut path.vendor,
                &mut path.model,
                &mut path.revision,
                &mut path.target_identifier,
            ] {
                make_printable(text);
            }
            path.map.iter_mut().for_each(make_printable);
        }
        Ok(Host {
            sysfs: Some(self.sysfs()),
            ..Host::new(maps, paths)
        })
    }

    /// The kernel's files about devices.
    pub(crate) fn sysfs(&self) -> Sysfs {
        Sysfs::new(&self.root)
    }

    /// A name without the directories of `/dev`: callers pass `sdc`, `/dev/sdc`, `/dev/mapper/NAME`, `/dev/dm-3`, or
    /// any link to one of these.
    #[must_use]
    pub(crate) fn spelled(&self, name: &str) -> String {
        if !name.starts_with('/') {
            return name.to_owned();
        }
        if let Some(map) = name.strip_prefix("/dev/mapper/") {
            return map.to_owned();
        }
        let file = self.root.join(name.trim_start_matches('/'));
        let real = std::fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(name));
        let last = real.file_name().and_then(|name| name.to_str());
        last.map_or_else(|| name.to_owned(), str::to_owned)
    }
}

/// Replaces control characters: with a line break in its product name, an array could forge lines of a listing.
fn make_printable(text: &mut String) {
    if text.contains(char::is_control) {
        *text = text.replace(char::is_control, " ");
    }
}

/// Whether the agent does not know what was named.
pub(crate) fn is_unknown(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(ApiError::NotFound { .. }))
}

/// All maps and paths.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Ordered by name.
    pub maps: Vec<MultipathMap>,
    /// In the order of their addresses.
    pub paths: Vec<MultipathPath>,
    /// Indices of the paths in the table of each map, in the order of their groups.
    by_map: BTreeMap<String, Vec<usize>>,
    /// The agent has not identified all paths, or made all maps, that it found.
    pub is_busy: bool,
    /// The kernel's files about devices; `None` if they are not to be read.
    pub sysfs: Option<Sysfs>,
}

impl Host {
    /// All maps and paths.
    #[must_use]
    pub fn new(maps: Vec<MultipathMap>, paths: Vec<MultipathPath>) -> Host {
        let mut by_map: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, path) in paths.iter().enumerate() {
            if let Some(map) = &path.map {
                by_map.entry(map.clone()).or_default().push(index);
            }
        }
        for members in by_map.values_mut() {
            members.sort_by_key(|index| paths.get(*index).map(|path| path.group));
        }
        Host {
            is_busy: false,
            sysfs: None,
            maps,
            paths,
            by_map,
        }
    }

    /// PRODUCT SERIAL NUMBER of the unit serial number VPD page (SPC-5 7.7.18), which the kernel read when it found the
    /// disk; empty if there is none.
    #[must_use]
    pub(crate) fn serial(&self, path: &MultipathPath) -> String {
        let hctl = path.hctl.as_ref().and_then(|hctl| hctl.parse().ok());
        let (Some(sysfs), Some(hctl)) = (&self.sysfs, hctl) else {
            return String::new();
        };
        // sysfs has at most one page of memory for it.
        let page = std::fs::read(sysfs.device_file(hctl, "vpd_pg80")).unwrap_or_default();
        let text = page.get(4..).map_or_else(String::new, ascii);
        text.trim_matches([' ', '?']).to_owned()
    }

    /// The map with this dm name, kernel name, or WWID.
    #[must_use]
    pub(crate) fn map(&self, name: &str) -> Option<&MultipathMap> {
        let by = |of: fn(&MultipathMap) -> &str| self.maps.iter().find(|map| of(map) == name);
        by(|map| &map.name)
            .or_else(|| by(|map| &map.kernel_name))
            .or_else(|| by(|map| &map.wwid))
    }

    /// The path whose disk has this name or number.
    #[must_use]
    pub(crate) fn path(&self, name: &str) -> Option<&MultipathPath> {
        let is = |of: &Option<String>| of.as_deref() == Some(name);
        let mut paths = self.paths.iter();
        paths.find(|path| is(&path.disk) || is(&path.device_number))
    }

    /// The paths in the table of a map, with the number of their group, in the order of the table.
    #[must_use]
    pub(crate) fn paths_of(&self, map: &MultipathMap) -> Vec<&MultipathPath> {
        let members = self.by_map.get(&map.name).into_iter().flatten();
        members.filter_map(|index| self.paths.get(*index)).collect()
    }

    /// The paths of a group, which is numbered from 1.
    pub(crate) fn paths_in(&self, map: &MultipathMap, group: u32) -> Vec<&MultipathPath> {
        let mut paths = self.paths_of(map);
        paths.retain(|path| path.group == Some(group));
        paths
    }

    /// The first path of a map of which vendor and product are known.
    pub(crate) fn model(&self, map: &MultipathMap) -> Option<&MultipathPath> {
        let mut paths = self.paths_of(map).into_iter();
        paths.find(|path| !path.vendor.is_empty() || !path.model.is_empty())
    }

    /// How many paths of a map the kernel uses.
    pub(crate) fn active_paths(&self, map: &MultipathMap) -> usize {
        let paths = self.paths_of(map);
        paths.iter().filter(|p| p.in_use == Some(true)).count()
    }
}

/// Whether a path works: the state in which its checker would say "up".
#[must_use]
pub(crate) fn is_up(path: &MultipathPath) -> bool {
    matches!(path.state.as_str(), "active" | "active unoptimized")
}

/// The checker's word for the state of a path. "undef" is also the word for a path that no checker has judged.
#[must_use]
pub(crate) fn checker_state(path: &MultipathPath) -> &'static str {
    match path.state.as_str() {
        "active" | "active unoptimized" => "ready",
        "standby" => "ghost",
        "dead" | "off" => "faulty",
        _ => "undef",
    }
}

/// device-mapper's word for the state of a path.
#[must_use]
pub(crate) fn dm_state(path: &MultipathPath) -> &'static str {
    match path.in_use {
        Some(true) => "active",
        Some(false) => "failed",
        None => "undef",
    }
}

/// The word for the state of the SCSI device.
#[must_use]
pub(crate) fn device_state(path: &MultipathPath) -> &'static str {
    match path.device_state.as_str() {
        "" => "unknown",
        "offline" | "transport-offline" => "offline",
        _ => "running",
    }
}

/// The priority of a path. The numbers are those that multipath-tools gives to the access states of ALUA.
#[must_use]
pub(crate) fn priority(path: &MultipathPath) -> u32 {
    let of_state = match path.state.as_str() {
        "active" => 50,
        "active unoptimized" => 10,
        "standby" => 1,
        _ => return 0,
    };
    of_state + if path.is_preferred { 80 } else { 0 }
}

/// The priority of a group: the mean of its paths that work.
#[must_use]
pub(crate) fn group_priority(paths: &[&MultipathPath]) -> u32 {
    let priorities = paths.iter().map(|path| priority(path));
    let working: Vec<u32> = priorities.filter(|priority| *priority > 0).collect();
    let count = u32::try_from(working.len()).unwrap_or(u32::MAX);
    working.iter().sum::<u32>().checked_div(count).unwrap_or(0)
}

/// The checker of multipath-tools that asks what the SATP of the path asks.
#[must_use]
pub(crate) fn checker(path: &MultipathPath) -> &'static str {
    let satp = satp::by_name(&path.satp);
    match satp.and_then(|satp| satp.device_handler()) {
        Some("rdac") => "rdac",
        Some("emc") => "emc_clariion",
        Some("hp_sw") => "hp_sw",
        _ => "tur",
    }
}

/// A size in units of 1024: one digit after the point below 10, none from there on.
#[must_use]
pub(crate) fn size(sectors: u64) -> String {
    // Of a size, five digits are shown at most, so the rounding of f64 does not matter.
    #[allow(clippy::cast_precision_loss)]
    let mut size = sectors as f64 / 2.0;
    let mut units = ["K", "M", "G", "T", "P"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if size < 10.0 {
        format!("{size:.1}{unit}")
    } else {
        format!("{size:.0}{unit}")
    }
}
