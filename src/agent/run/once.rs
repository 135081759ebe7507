//! One run of the agent that ends by itself: makes the maps of this host and exits. Used in the initramfs and on rescue
//! systems, where no daemon stays.
//!
//! The world, its rules and its actions are those of the daemon, so the daemon that starts later finds the maps as it
//! would have made them. There is no API, no journal and no locked memory.

use super::{Begun, Owner, Turn, begin, prepared};
use crate::agent::alone::{self, Role};
use crate::agent::error::AgentError;
use crate::api::activation::{ActivatedMap, Activation};
use crate::config::{self, Places};
use crate::kernel::privilege;
use crate::psa::names::Wwid;
use crate::psa::settings::WatchSetting;
use crate::psa::state::initramfs::Scope;
use crate::psa::units::Millis;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// What a single run is asked for.
#[derive(Debug, Clone)]
pub struct Once {
    /// The directory that contains `etc` and `run`; `/` except in tests.
    pub root: PathBuf,
    /// The devices whose maps must exist before the run ends early.
    pub wait_for: BTreeSet<Wwid>,
    /// The devices that it decides on.
    pub scope: Scope,
    /// The longest time that the run may take until it stops to wait.
    pub within: Duration,
}

/// The pause between two looks at whether the run may end.
const LOOK: Duration = Duration::from_millis(100);

/// How long a run waits for a map that is being changed when its time is over: a map must not stay suspended.
const CHANGES_END: Duration = Duration::from_secs(5);

/// Makes the maps of this host. Ends when everything found has its map and the maps of `wait_for` exist, or when the
/// time is over. `report` gets the result before the run ends, because a thread that hangs in the kernel can delay that.
///
/// # Errors
/// A part that the agent needs could not be started.
pub fn run_once(once: &Once, report: impl FnOnce(&Activation)) -> Result<(), AgentError> {
    prepared(privilege::prepare_once, |stop, notices| {
        let places = Places::below(&once.root);
        let (_alone, other) = alone::take(&places, Role::Once)?;
        let (mut settings, problems) = config::read_settings(&places);
        settings.journal_mib = 0;
        settings.watch_io = WatchSetting::Off;
        let Begun {
            mut owner,
            inputs,
            recalled,
            ..
        } = begin(&places, &settings, problems, stop, notices)?;
        if let Some(notice) = other {
            owner.dispatcher.notify(Millis(0), &notice);
        }
        let expected = once.wait_for.clone();
        owner.world.decide_on(once.scope, expected, None);
        owner.recall(recalled);
        let within = Millis::from(once.within);
        while owner.turn(&inputs, LOOK) == Turn::Handled {
            owner.run_timers();
            let late = owner.now().since(within);
            let changes = owner.world.is_changing_maps();
            let done = owner.world.is_settled() && owner.missing(once).is_empty();
            if done || owner.now() >= within && (!changes || late >= Millis::from(CHANGES_END)) {
                break;
            }
        }
        report(&owner.activation(once));
        drop(inputs);
        owner.dispatcher.finish(owner.world.kept_maps());
        Ok(())
    })
}

impl Owner {
    /// The devices to wait for that have no map yet by which I/O can run.
    fn missing(&self, once: &Once) -> Vec<Wwid> {
        let is_missing = |wwid: &&Wwid| {
            let map = self.world.map_of(wwid);
            !map.is_some_and(|map| !map.suspended && map.table.is_ok())
        };
        once.wait_for.iter().filter(is_missing).cloned().collect()
    }

    fn activation(&self, once: &Once) -> Activation {
        let maps = self.world.devices().filter_map(|device| {
            let map = self.world.map_of(device.wwid())?;
            Some(ActivatedMap {
                name: map.name.clone(),
                wwid: device.wwid().to_string(),
                paths: map.table.as_ref().map_or(0, |table| table.paths().count()),
            })
        });
        Activation {
            maps: maps.collect(),
            missing: self.missing(once).iter().map(Wwid::to_string).collect(),
            settled: self.world.is_settled(),
            tables_loaded: self.world.counters().tables_loaded,
            took_ms: self.now().0,
        }
    }
}
