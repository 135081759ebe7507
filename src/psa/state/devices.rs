//! The devices of a host: found quickly by WWID, and iterated in the order of WWIDs.

use crate::psa::lookup::Lookup;
use crate::psa::state::device::Device;
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The devices, by WWID.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<String, Box<Device>>",
    into = "BTreeMap<String, Box<Device>>"
)]
pub(in crate::psa) struct Devices {
    /// Boxed, because up to half of the slots of a hash map are empty.
    found: Lookup<String, Box<Device>>,
    /// The keys of `found`.
    order: BTreeSet<String>,
}

impl Devices {
    pub(in crate::psa) fn get(&self, wwid: &str) -> Option<&Device> {
        self.found.get(wwid).map(|device| &**device)
    }

    pub(in crate::psa) fn get_mut(&mut self, wwid: &str) -> Option<&mut Device> {
        self.found.get_mut(wwid).map(|device| &mut **device)
    }

    /// The device of this WWID, which is added if it is not there.
    pub(in crate::psa) fn get_or_add(&mut self, wwid: &str, id: &str, now: Millis) -> &mut Device {
        let order = &mut self.order;
        self.found.get_or_insert_with(wwid.to_owned(), || {
            order.insert(wwid.to_owned());
            Box::new(Device::new(wwid, id, now))
        })
    }

    pub(in crate::psa) fn remove(&mut self, wwid: &str) {
        self.order.remove(wwid);
        self.found.remove(wwid);
    }

    pub(in crate::psa) fn keys(&self) -> impl Iterator<Item = &String> {
        self.order.iter()
    }

    pub(in crate::psa) fn values(&self) -> impl Iterator<Item = &Device> {
        self.order.iter().filter_map(|wwid| self.get(wwid))
    }
}

impl Extend<(String, Box<Device>)> for Devices {
    fn extend<I: IntoIterator<Item = (String, Box<Device>)>>(&mut self, devices: I) {
        for (wwid, device) in devices {
            self.order.insert(wwid.clone());
            self.found.insert(wwid, device);
        }
    }
}

impl From<BTreeMap<String, Box<Device>>> for Devices {
    fn from(devices: BTreeMap<String, Box<Device>>) -> Devices {
        let mut all = Devices::default();
        all.extend(devices);
        all
    }
}

impl From<Devices> for BTreeMap<String, Box<Device>> {
    fn from(devices: Devices) -> Self {
        let Devices { mut found, order } = devices;
        let each = order.into_iter();
        each.filter_map(|wwid| found.remove(&wwid).map(|device| (wwid, device)))
            .collect()
    }
}
