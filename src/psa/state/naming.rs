//! Names that a restart does not change: runtime names, `vmhbaN:C:T:L`, and the names of new maps.
//!
//! Adapters and target ports are remembered by what identifies them, not by the kernel's numbers, which depend on the
//! order of discovery. What an admin stored by runtime name (paths turned off, preferred paths, ranks, masked
//! locations) must not apply to another port after a reboot. A port that was never seen before gets a number that no
//! remembered port has and that no stored name uses.

use crate::psa::adapter::{RuntimeName, Transport};
use crate::psa::claim::matching::Match;
use crate::psa::facts::PathFacts;
use crate::psa::identity;
use crate::psa::memory::RememberedAdapter;
use crate::psa::names::Wwid;
use crate::psa::plugin::hpp;
use crate::psa::settings::{DeviceSettings, MapNames};
use crate::psa::state::World;
use crate::psa::state::schedule::Key;
use std::collections::BTreeSet;

/// The most adapters, and target ports of one adapter, that are remembered while they are absent.
const MOST_REMEMBERED: usize = 1024;

/// What identifies the target port of a path where the kernel's target number does not. With Fibre Channel and SAS the
/// number depends on the order of discovery, and with software iSCSI each session has its own host. `None` where the
/// number is a place: a bus, a slot, a channel.
fn port_key(facts: &PathFacts) -> Option<String> {
    let identifier = &facts.target.identifier;
    match facts.transport {
        // Two sessions to the same portal group differ only in the portal.
        Transport::Iscsi => Some(match &facts.target.portal {
            Some(portal) => format!("{identifier} {portal}"),
            None => identifier.clone(),
        }),
        // `fc.NODE:PORT`: the port name alone is unique, and an array may change its node name.
        Transport::Fc | Transport::Fcoe => Some(match identifier.rsplit_once(':') {
            Some((_, port)) => port.to_owned(),
            None => identifier.clone(),
        }),
        Transport::Sas => Some(identifier.clone()),
        _ => None,
    }
}

/// The suffixes of `mpatha`, `mpathb`, ... in order: `a` to `z`, `aa`, `ab`, ... (numbers in base 26 without a zero).
fn suffix(number: usize) -> String {
    let (mut letters, mut rest) = (Vec::new(), number.saturating_add(1));
    while rest > 0 {
        let letter = u8::try_from(rest.saturating_sub(1) % 26).unwrap_or(0);
        letters.push(char::from(b'a'.saturating_add(letter)));
        rest = rest.saturating_sub(1) / 26;
    }
    letters.iter().rev().collect()
}

/// The first number from 0 that is not in `taken`.
fn first_free(taken: &BTreeSet<u32>) -> u32 {
    (0..).find(|n| !taken.contains(n)).unwrap_or(u32::MAX)
}

impl World {
    /// Stores the name for the map of a device that never had one, by the setting `map_names`. Nothing is stored for
    /// the id, which is the name where none is stored.
    pub(in crate::psa) fn name_new_map(&mut self, wwid: &Wwid) {
        if self.map_names.contains_key(wwid) || self.memory.names.contains_key(wwid) {
            return;
        }
        let name = match self.settings.map_names {
            MapNames::Naa => return,
            MapNames::Wwid => wwid.to_string(),
            MapNames::Mpath => self.first_free_map_name(),
        };
        if identity::is_usable_name(&name) {
            self.memory.names.insert(wwid.to_owned(), name);
            // Before the map is made: after a loss of power the name must not go to another device.
            self.schedule.no_later_than(Key::Memory, self.now);
        }
    }

    /// The first of `mpatha`, `mpathb`, ... that no map has, no stored name is, and the admin's file gives to no device.
    fn first_free_map_name(&self) -> String {
        let of_file = self.settings.device.values();
        let taken: BTreeSet<&str> = of_file
            .filter_map(|settings| settings.map_name.as_deref())
            .chain(self.memory.names.values().map(String::as_str))
            .chain(self.maps.keys().map(String::as_str))
            .collect();
        let mut names = (0..).map(|number| format!("mpath{}", suffix(number)));
        names
            .find(|name| !taken.contains(name.as_str()))
            .unwrap_or_default()
    }

    /// Determines the runtime name of a path. Returns the name, and whether something new has to be stored.
    pub(in crate::psa) fn runtime_name(&mut self, facts: &PathFacts) -> (RuntimeName, bool) {
        let (adapter, new_adapter) = self.adapter_number(&facts.adapter.key);
        let (target, new_target) = match port_key(facts) {
            Some(port) => self.target_number(facts, adapter, port),
            None => (facts.hctl.target, false),
        };
        let name = RuntimeName {
            adapter,
            channel: facts.hctl.channel,
            target,
            lun: facts.hctl.lun,
        };
        (name, new_adapter || new_target)
    }

    /// `N` of `vmhbaN`.
    fn adapter_number(&mut self, key: &str) -> (u32, bool) {
        if let Some(adapter) = self.memory.adapters.get(key) {
            return (adapter.number, false);
        }
        if self.memory.adapters.len() >= MOST_REMEMBERED {
            self.forget_an_adapter();
        }
        let numbers = self.memory.adapters.values().map(|a| a.number);
        let number = first_free(&numbers.collect());
        let adapter = RememberedAdapter {
            number,
            ..Default::default()
        };
        self.memory.adapters.insert(key.to_owned(), adapter);
        (number, true)
    }

    /// `T` of `vmhbaN:C:T:L` for a target port of this adapter; `adapter` is the number of the adapter.
    fn target_number(&mut self, facts: &PathFacts, adapter: u32, port: String) -> (u32, bool) {
        let key = &facts.adapter.key;
        let Some(known) = self.memory.adapters.get(key) else {
            return (facts.hctl.target, false);
        };
        if let Some(number) = known.targets.get(&port) {
            return (*number, false);
        }
        if known.targets.is_empty() {
            self.newly_numbered.insert(key.clone());
        }
        if known.targets.len() >= MOST_REMEMBERED {
            self.forget_a_target(key, adapter);
        }
        let named = if self.newly_numbered.contains(key) {
            // An agent that did not store the ports of this adapter named them by the kernel's numbers, and these stay
            // the same until the next reboot. So stored names mean the ports that have these numbers now.
            BTreeSet::new()
        } else {
            self.named_targets(adapter)
        };
        let Some(known) = self.memory.adapters.get_mut(key) else {
            return (facts.hctl.target, false);
        };
        let taken: BTreeSet<u32> = known.targets.values().copied().chain(named).collect();
        let by_kernel = facts.transport != Transport::Iscsi && !taken.contains(&facts.hctl.target);
        let number = if by_kernel {
            facts.hctl.target
        } else {
            first_free(&taken)
        };
        known.targets.insert(port, number);
        (number, true)
    }

    /// The target numbers of an adapter that appear in stored names.
    fn named_targets(&self, adapter: u32) -> BTreeSet<u32> {
        let memory = &self.memory;
        let settings = memory
            .settings
            .values()
            .chain(self.settings.device.values());
        let of_device = |set: &DeviceSettings| {
            let ranks = set.ranks.keys().copied();
            ranks.chain(set.preferred).collect::<Vec<RuntimeName>>()
        };
        let rules = self.rules.claim.rules();
        // Invalid options were already refused when the rule was made.
        let options = rules
            .iter()
            .filter_map(|rule| hpp::config_string(&rule.config).ok());
        let names = memory.paths_off.iter().chain(memory.masked.keys());
        let names = names.filter_map(|name| name.parse::<RuntimeName>().ok());
        let names = names.chain(settings.flat_map(of_device));
        let names = names.chain(options.filter_map(|set| set.preferred));
        let named = names.filter_map(|name| (name.adapter == adapter).then_some(name.target));
        let located = rules.iter().filter_map(|rule| match &rule.matches {
            Match::Location {
                adapter: of,
                target,
                ..
            } if of.is_none_or(|of| of == adapter) => *target,
            _ => None,
        });
        named.chain(located).collect()
    }

    /// Makes space for another target port: forgets one that is absent and that no stored name mentions.
    fn forget_a_target(&mut self, key: &str, adapter: u32) {
        let named = self.named_targets(adapter);
        let of_adapter = self.paths.values().chain(self.withdrawn.values());
        let present: BTreeSet<u32> = of_adapter
            .filter(|path| path.name().adapter == adapter)
            .map(|path| path.name().target)
            .collect();
        let Some(known) = self.memory.adapters.get_mut(key) else {
            return;
        };
        let away = known
            .targets
            .iter()
            .find(|(_, number)| !named.contains(number) && !present.contains(number))
            .map(|(port, _)| port.clone());
        if let Some(port) = away {
            known.targets.remove(&port);
        }
    }

    /// Makes space for another adapter, in the same way.
    fn forget_an_adapter(&mut self) {
        let of_paths = self.paths.values().chain(self.withdrawn.values());
        let present: BTreeSet<u32> = of_paths.map(|path| path.name().adapter).collect();
        let located = |number: u32| {
            let rules = self.rules.claim.rules().iter();
            let mut locations = rules.filter_map(|rule| match &rule.matches {
                Match::Location { adapter, .. } => *adapter,
                _ => None,
            });
            locations.any(|adapter| adapter == number)
        };
        let mut adapters = self.memory.adapters.iter();
        let away = adapters.find(|(_, adapter)| {
            let number = adapter.number;
            !present.contains(&number) && !located(number) && self.named_targets(number).is_empty()
        });
        if let Some(key) = away.map(|(key, _)| key.clone()) {
            self.memory.adapters.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::memory::Memory;
    use crate::psa::settings::Settings;
    use crate::psa::test_support::facts;

    fn world(memory: &Memory) -> World {
        World::new(Settings::default(), memory.clone())
    }

    /// A path to this port of the array; `kernel` is the kernel's target number.
    fn path(transport: Transport, port: u32, kernel: u32) -> PathFacts {
        let mut facts = facts(&format!("3:0:{kernel}:1"), "sda");
        facts.transport = transport;
        facts.target.identifier = match transport {
            Transport::Sas => format!("sas.5000c500{port:08x}"),
            Transport::Iscsi => format!("iqn.2003-01.org.example:{port},t,1"),
            _ => format!("{}.5006016000000000:50060160{port:08x}", transport.as_str()),
        };
        facts
    }

    /// The target numbers given to ports that are found in this order; each comes with the kernel's number.
    fn numbers(world: &mut World, transport: Transport, found: &[(u32, u32)]) -> Vec<u32> {
        let number = |(port, kernel): &(u32, u32)| {
            let facts = path(transport, *port, *kernel);
            world.runtime_name(&facts).0.target
        };
        found.iter().map(number).collect()
    }

    #[test]
    fn names_round_trip_through_text() {
        let name = RuntimeName {
            adapter: 64,
            channel: 1,
            target: 20,
            lun: 16_383,
        };
        assert_eq!(name.to_string().parse(), Ok(name));
        for wrong in [
            "",
            "vmhba1",
            "vmhba1:C0:T0:L0:",
            "vmhba1:T0:C0:L0",
            "vmhbax:C0:T0:L0",
        ] {
            assert!(wrong.parse::<RuntimeName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_port_keeps_its_number_whatever_the_order_of_discovery() {
        for transport in [Transport::Fc, Transport::Fcoe, Transport::Sas] {
            let mut first = world(&Memory::default());
            // A new host: the kernel's numbers are used.
            let found = [(0xa, 0), (0xb, 1), (0xc, 2)];
            assert_eq!(numbers(&mut first, transport, &found), [0, 1, 2]);
            // After a reboot, and with a port that was never seen before.
            let mut second = world(&first.memory);
            let found = [(0xd, 0), (0xc, 1), (0xb, 2), (0xa, 3)];
            assert_eq!(numbers(&mut second, transport, &found), [3, 2, 1, 0]);
            assert_eq!(numbers(&mut second, transport, &[(0xe, 7)]), [7]);
        }
        // An array changes its node name.
        let mut world = world(&Memory::default());
        let mut facts = path(Transport::Fc, 0xa, 4);
        let before = world.runtime_name(&facts).0;
        facts.target.identifier = "fc.ffff016000000000:500601600000000a".to_owned();
        facts.hctl.target = 9;
        assert_eq!(world.runtime_name(&facts), (before, false));
    }

    #[test]
    fn targets_without_a_port_keep_the_number_of_the_kernel() {
        for transport in [
            Transport::Sata,
            Transport::Usb,
            Transport::Block,
            Transport::Parallel,
        ] {
            let mut world = world(&Memory::default());
            assert_eq!(numbers(&mut world, transport, &[(1, 5), (1, 2)]), [5, 2]);
            assert!(world.memory.adapters.values().all(|a| a.targets.is_empty()));
        }
    }

    /// Names that an older version stored; it used the kernel's numbers.
    fn upgraded() -> Memory {
        let mut memory = Memory::default();
        let adapter = RememberedAdapter::default();
        let key = path(Transport::Fc, 0, 0).adapter.key;
        memory.adapters.insert(key, adapter);
        memory.paths_off.insert("vmhba0:C0:T1:L1".to_owned());
        let settings = memory.settings.entry("naa.6".into()).or_default();
        settings.preferred = Some("vmhba0:C0:T2:L1".parse().unwrap());
        for path in ["vmhba0:C0:T3:L1", "vmhba1:C0:T9:L1"] {
            settings.ranks.insert(path.parse().unwrap(), 5);
        }
        memory
    }

    #[test]
    fn the_first_start_after_an_upgrade_keeps_the_numbers() {
        let mut first = world(&upgraded());
        let found = [(0xa, 2), (0xb, 1)];
        assert_eq!(numbers(&mut first, Transport::Fc, &found), [2, 1]);
        // A port that stored names mention was absent: no other port gets its number later.
        let mut second = world(&first.memory);
        let found = [(0xc, 3), (0xd, 0), (0xe, 9)];
        assert_eq!(numbers(&mut second, Transport::Fc, &found), [0, 4, 9]);
        // As long as the first agent runs, the kernel's numbers are still the old ones.
        assert_eq!(numbers(&mut first, Transport::Fc, &[(0xc, 3)]), [3]);
    }

    #[test]
    fn a_masked_location_gets_no_new_port() {
        use crate::psa::claim::{Rule, Ruleset};
        use crate::psa::rules::Rules;
        let mut first = world(&Memory::default());
        numbers(&mut first, Transport::Fc, &[(0xa, 0)]);
        let location = Match::Location {
            adapter: Some(0),
            channel: Some(0),
            target: Some(1),
            lun: Some(1),
        };
        let rules = Rules {
            claim: Ruleset::new([Rule::new(200, location, "MASK_PATH")]),
            ..Rules::default()
        };
        let mut second = World::with_rules(Settings::default(), first.memory, rules);
        assert_eq!(numbers(&mut second, Transport::Fc, &[(0xb, 1)]), [2]);
    }

    #[test]
    fn absent_ports_are_forgotten_eventually() {
        let mut memory = Memory::default();
        memory.paths_off.insert("vmhba0:C0:T0:L1".to_owned());
        let mut world = world(&memory);
        for port in 0..5_000 {
            let found = [(port, port)];
            numbers(&mut world, Transport::Fc, &found);
        }
        let targets = &world.memory.adapters.values().next().unwrap().targets;
        assert_eq!(targets.len(), MOST_REMEMBERED);
        // A port that a stored name mentions stays.
        assert_eq!(targets.get("5006016000000000"), Some(&0));
        let different: BTreeSet<&u32> = targets.values().collect();
        assert_eq!(different.len(), targets.len());
    }

    #[test]
    fn absent_adapters_are_forgotten_eventually() {
        let mut world = world(&Memory::default());
        for adapter in 0..3_000 {
            let mut facts = path(Transport::Fc, 1, 0);
            facts.adapter.key = format!("fc:{adapter:016x}");
            world.runtime_name(&facts);
        }
        assert_eq!(world.memory.adapters.len(), MOST_REMEMBERED);
    }
}
