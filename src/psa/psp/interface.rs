//! What a PSP is: its input, its output, and the trait that every PSP implements.

use crate::psa::adapter::RuntimeName;
use crate::psa::evidence::{Class, PathState};
use crate::psa::settings::RoundRobin;
use crate::psa::units::{DevT, Hctl};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// A path that may be in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The path.
    pub path: Hctl,
    /// Its disk.
    pub dev: DevT,
    /// Its runtime name.
    pub name: RuntimeName,
    /// Its state.
    pub state: PathState,
    /// Its class.
    pub class: Class,
    /// Rank set by the admin.
    pub rank: i32,
}

/// The name of a path selector of the kernel. (A type of its own, because serde would treat the plain type as text that
/// it may borrow.)
pub type SelectorName = &'static str;

/// The selectors used by the PSPs and schemes of this build.
const SELECTORS: [SelectorName; 3] = ["service-time", "round-robin", "queue-length"];

/// Deserializes a selector from its name.
fn selector<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SelectorName>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    let known = SELECTORS.into_iter().find(|known| *known == name);
    known
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("there is no selector {name}")))
}

/// What the admin set, and what the plug-in chose previously.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// FIXED: the path that the admin prefers.
    pub preferred: Option<RuntimeName>,
    /// FIXED: the previously chosen path, kept while it serves.
    pub chosen: Option<Hctl>,
    /// RR: what the admin set.
    pub round_robin: RoundRobin,
    /// RR: the kernel's selector, if something other than these settings chooses it.
    #[serde(deserialize_with = "selector")]
    pub selector: Option<SelectorName>,
}

/// A wanted priority group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedGroup {
    /// Kernel path selector.
    pub selector: &'static str,
    /// Its paths, sorted by runtime name.
    pub paths: Vec<DevT>,
    /// The paths among them that the selector uses only when no other path is left.
    pub spare: Vec<DevT>,
    /// The best class of its paths.
    pub class: Class,
}

/// The wanted groups in order of preference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// The groups.
    pub groups: Vec<WantedGroup>,
    /// FIXED: the chosen path, to be passed as [`Options::chosen`] the next time.
    pub chosen: Option<Hctl>,
}

/// A path selection plug-in.
pub trait Psp: Sync {
    /// The text of `psp list`.
    fn description(&self) -> &'static str;
    /// Arranges the paths.
    fn arrange(&self, candidates: &[Candidate], options: &Options) -> Arrangement;
    /// `Path Selection Policy Device Config`; `current` has the names of the paths in use.
    fn device_config(&self, options: &Options, current: &[RuntimeName]) -> String;
    /// `Path Selection Policy Path Config`.
    fn path_config(&self, candidate: &Candidate, options: &Options, is_current: bool) -> String;
}

/// How a selector of the kernel chooses a path, as text for the user.
pub(in crate::psa) fn in_words(selector: &str) -> &'static str {
    match selector {
        "service-time" => {
            "each I/O takes the path with the least data in flight: the kernel's service-time selector"
        }
        "queue-length" => {
            "each I/O takes the path with the fewest I/Os in flight: the kernel's queue-length selector"
        }
        _ => "one I/O per path in turn: the kernel's round-robin selector has no other limit",
    }
}

/// Groups candidates by a key. The groups are in ascending order of the key, the paths sorted by runtime name.
pub(super) fn group_by<K: Ord>(
    candidates: &[Candidate],
    selector: &'static str,
    key: impl Fn(&Candidate) -> K,
) -> Vec<WantedGroup> {
    let mut groups: std::collections::BTreeMap<K, Vec<&Candidate>> =
        std::collections::BTreeMap::new();
    for candidate in candidates {
        groups.entry(key(candidate)).or_default().push(candidate);
    }
    groups
        .into_values()
        .map(|mut members| {
            members.sort_by_key(|c| (c.name, c.path));
            WantedGroup {
                selector,
                class: members.iter().map(|c| c.class).min().unwrap_or(Class::Last),
                paths: members.iter().map(|c| c.dev).collect(),
                spare: Vec::new(),
            }
        })
        .collect()
}
