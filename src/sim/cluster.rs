//! Several simulated hosts, each with an agent of its own, on one array and one clock.
//!
//! Input: hosts that are cabled with [`Cluster::cable`]; faults of one of them by [`Cluster::on`]. Output: the array with its
//! record of moves, and the ledger of each host. A nexus is an address of a path ([`Hctl`]), so hosts must not share numbers of
//! SCSI hosts.

use super::array::{Array, UnitId};
use super::kernel::Kernel;
use super::run::Simulation;
use crate::psa::units::{Hctl, Millis};
use std::collections::BTreeSet;

/// Hosts on one array.
pub struct Cluster {
    /// The hosts. The array of their kernels is the shared one while they take a step, and empty else.
    hosts: Vec<Simulation>,
    /// The array that they share.
    pub array: Array,
    now: Millis,
}

impl Cluster {
    /// An array without hosts.
    #[must_use]
    pub fn new(array: Array) -> Cluster {
        Cluster {
            hosts: Vec::new(),
            array,
            now: Millis(0),
        }
    }

    /// Starts a host now: `cable` gives its kernel disks, and `start` starts its agent.
    ///
    /// # Panics
    /// If it shares the number of a SCSI host with another.
    pub fn add(
        &mut self,
        mut kernel: Kernel,
        cable: impl FnOnce(&mut Kernel),
        start: impl FnOnce(Kernel) -> Simulation,
    ) -> usize {
        std::mem::swap(&mut kernel.array, &mut self.array);
        cable(&mut kernel);
        let mut host = start(kernel);
        std::mem::swap(&mut host.kernel.array, &mut self.array);
        let numbers = |sim: &Simulation| -> BTreeSet<u32> {
            sim.kernel.disks().map(|(path, _)| path.host).collect()
        };
        let own = numbers(&host);
        assert!(
            self.hosts.iter().all(|h| numbers(h).is_disjoint(&own)),
            "two hosts have the same address"
        );
        host.run_until(self.now);
        self.hosts.push(host);
        self.hosts.len() - 1
    }

    /// A host, to be looked at.
    ///
    /// # Panics
    /// If there is no such host.
    #[must_use]
    pub fn host(&self, host: usize) -> &Simulation {
        &self.hosts[host]
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &Simulation> {
        self.hosts.iter()
    }

    /// Does something on a host now, with the array in its place.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn on<T>(&mut self, host: usize, what: impl FnOnce(&mut Simulation) -> T) -> T {
        self.array.now = self.now;
        let sim = &mut self.hosts[host];
        std::mem::swap(&mut sim.kernel.array, &mut self.array);
        let result = what(sim);
        std::mem::swap(&mut sim.kernel.array, &mut self.array);
        result
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Runs all hosts until this time; what is due first happens first, whichever host it is on.
    pub fn run_until(&mut self, end: Millis) {
        loop {
            let times = self.hosts.iter().zip(0..);
            let next = times
                .filter_map(|(host, n)| Some((host.next_time()?, n)))
                .min()
                .filter(|(at, _)| *at <= end);
            let Some((at, host)) = next else {
                break;
            };
            self.now = self.now.max(at);
            self.on(host, |sim| sim.step(at));
        }
        self.now = self.now.max(end);
        for host in 0..self.hosts.len() {
            self.on(host, |sim| sim.run_until(end));
        }
    }

    /// Runs all hosts for this long.
    pub fn run_for(&mut self, time: Millis) {
        self.run_until(self.now.after(time));
    }

    /// How often a unit changed its controller since, and until before, these times.
    #[must_use]
    pub fn moves(&self, unit: UnitId, from: Millis, until: Millis) -> usize {
        let moves = self.array.moves.iter();
        moves
            .filter(|m| m.unit == unit && m.at >= from && m.at < until)
            .count()
    }

    /// Connects a path of a host that is to be added.
    pub fn cable(kernel: &mut Kernel, path: Hctl, unit: UnitId, group: u16) {
        let port = group * 100 + u16::try_from(path.host).unwrap_or(0);
        kernel.cable(path, crate::psa::adapter::Transport::Fc, unit, group, port);
    }
}
