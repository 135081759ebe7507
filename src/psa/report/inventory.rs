//! An inventory: what the devices of a host reported, in a file that suffices for the same decisions on another
//! machine.
//!
//! [`World::inventory`] makes it. [`Inventory::revive`] makes a world from it that has seen these devices and no map.
//! That sends no command and touches nothing. `psactl explain` and `psactl plan` work on such a world.

use crate::psa::action::Action;
use crate::psa::event::{Event, Examination, Reply};
use crate::psa::facts::PathFacts;
use crate::psa::memory::Memory;
use crate::psa::report::offline;
use crate::psa::rules::Rules;
use crate::psa::settings::Settings;
use crate::psa::state::World;
use crate::psa::state::path::Path;
use crate::psa::units::{Hctl, Millis};
use crate::scsi::cdb::Command;
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::{ILLEGAL_REQUEST, Sense};
use crate::scsi::vpd::DEVICE_IDENTIFICATION;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The version of the format that this build writes and reads.
pub(crate) const VERSION: u32 = 1;

/// How long a revived world runs: long enough for paths to settle.
const LIFE: Millis = Millis(5_000);

/// Bytes, written as hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hex(pub Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hex, D::Error> {
        let text = String::deserialize(from)?;
        let pair = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(text, 16)
                .ok()
                .filter(|_| pair.len() == 2)
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
        bytes
            .map(Hex)
            .ok_or_else(|| serde::de::Error::custom("bytes are written as pairs of hex digits"))
    }
}

/// The devices of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// `VERSION`.
    pub version: u32,
    /// What was stored, including settings of devices and names of adapters.
    pub memory: Memory,
    /// The admin's settings.
    pub settings: Settings,
    /// The rules in force; `None` if the host had a release that did not include them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Rules>,
    /// The paths by address.
    pub paths: Vec<CapturedPath>,
}

/// What is known about a path, and its last answers. An answer is empty if the path was not asked, or did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedPath {
    /// What sysfs said.
    pub facts: PathFacts,
    /// How TEST UNIT READY ended.
    pub ready: Option<Outcome>,
    /// Standard INQUIRY data.
    pub inquiry: Hex,
    /// VPD page 83h.
    #[serde(default)]
    pub identification: Hex,
    /// REPORT TARGET PORT GROUPS.
    #[serde(default)]
    pub port_groups: Hex,
    /// The vendor's page that names the controller that owns the unit.
    #[serde(default)]
    pub owner: Hex,
}

impl CapturedPath {
    fn answer(&self, command: &Command) -> Reply {
        let data = match command {
            Command::Inquiry => &self.inquiry.0,
            Command::Vpd(DEVICE_IDENTIFICATION) => &self.identification.0,
            Command::Vpd(_) => &self.owner.0,
            Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort => {
                &self.port_groups.0
            }
            _ => &Vec::new(),
        };
        let refused = Outcome::CheckCondition(Sense {
            key: ILLEGAL_REQUEST,
            asc: 0x24,
            ascq: 0,
        });
        let outcome = match command {
            Command::TestUnitReady => self.ready.clone().unwrap_or(Outcome::Gone),
            _ if data.is_empty() => refused,
            _ => Outcome::Good,
        };
        Reply {
            command: command.clone(),
            outcome,
            data: data.clone(),
        }
    }
}

impl Inventory {
    /// A world that has seen these devices, and decides by these rules.
    #[must_use]
    pub fn revive(&self, rules: Rules) -> World {
        let mut world = World::with_rules(self.settings.clone(), self.memory.clone(), rules);
        let paths: BTreeMap<Hctl, &CapturedPath> = self
            .paths
            .iter()
            .map(|path| (path.facts.hctl, path))
            .collect();
        let mut events: VecDeque<Event> = paths
            .values()
            .map(|path| Event::PathSeen(Box::new(path.facts.clone())))
            .collect();
        events.push_back(Event::PathsListed(paths.keys().copied().collect()));
        events.push_back(Event::MapsListed(BTreeSet::new()));
        offline::run(&mut world, events, LIFE, |action| {
            let Action::Examine(asked) = action else {
                return None;
            };
            let captured = paths.get(&asked.path)?;
            let replies = asked.commands.iter().map(|c| captured.answer(c)).collect();
            Some(Event::Examined(Examination {
                path: asked.path,
                ticket: asked.ticket,
                replies,
            }))
        });
        world
    }
}

impl World {
    /// The inventory of at most `most` paths, beginning with number `from` by address.
    #[must_use]
    pub fn inventory(&self, from: usize, most: usize) -> Inventory {
        let captured = |path: &Path| CapturedPath {
            facts: path.facts().clone(),
            ready: path.answers.ready.clone(),
            inquiry: Hex(path
                .inquiry
                .as_ref()
                .map_or_else(Vec::new, |i| i.raw.clone())),
            identification: Hex(path.proof.page().to_vec()),
            port_groups: Hex(self
                .device_of(path)
                .map_or_else(Vec::new, |device| device.ports.report().to_vec())),
            owner: Hex(path.answers.owner.clone()),
        };
        Inventory {
            version: VERSION,
            memory: self.memory.clone(),
            settings: self.settings.clone(),
            // The first part of the inventory has the rules; once is enough.
            rules: (from == 0).then(|| self.rules.clone()),
            paths: self
                .paths
                .values()
                .skip(from)
                .take(most)
                .map(captured)
                .collect(),
        }
    }
}
