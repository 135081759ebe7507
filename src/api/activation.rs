//! What `dm-psad --once` prints for `psactl activate`: one line of JSON.

use serde::{Deserialize, Serialize};

/// The result of a single run of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The maps of this host that belong to the agent.
    pub maps: Vec<ActivatedMap>,
    /// The WWIDs of devices that were waited for and have no map.
    pub missing: Vec<String>,
    /// Whether everything that was found has been acted upon. Otherwise the time was over before.
    pub settled: bool,
    /// How many tables were loaded. 0 if every map was as it has to be.
    pub tables_loaded: u64,
    /// How long the run took.
    pub took_ms: u64,
}

/// A map after the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivatedMap {
    /// Its dm name.
    pub name: String,
    /// The WWID of its device.
    pub wwid: String,
    /// The number of paths in its table.
    pub paths: usize,
}
