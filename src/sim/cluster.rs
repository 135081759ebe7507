//! Simulates several hosts, each with its own agent, on one array and one clock.
//!
//! Input: hosts that are cabled with [`Cluster::cable`]; faults of one host by [`Cluster::on`]. Output: the array with
//! its record of moves, and the ledger of each host. A nexus is identified by the address of a path ([`Hctl`]), so each
//! host must use different SCSI host numbers.

use super::array::{Array, UnitId};
use super::kernel::Kernel;
use super::run::Simulation;
use crate::psa::units::{Hctl, Millis};
use std::collections::BTreeSet;

/// Hosts on one array.
pub struct Cluster {
    /// The hosts. While a host takes a step, the array of its kernel is the shared one; otherwise it is empty.
    hosts: Vec<Simulation>,
    /// The shared array.
    pub array: Array,
    now: Millis,
}

impl Cluster {
    /// Creates a cluster of an array without hosts.
    #[must_use]
    pub fn new(array: Array) -> Cluster {
        Cluster {
            hosts: Vec::new(),
            array,
            now: Millis(0),
        }
    }

    /// Adds a host that starts now and returns its index: `cable` gives its kernel disks, and `start` starts its agent.
    ///
    /// # Panics
    /// If it has the number of a SCSI host in common with another host.
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

    /// A host, for inspection.
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

    /// Runs `what` on a host now, with the shared array in place.
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

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Runs all hosts until this time, in order of time across all hosts.
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

    /// The number of times that a unit changed its controller, from `from` (inclusive) to `until` (exclusive).
    #[must_use]
    pub fn moves(&self, unit: UnitId, from: Millis, until: Millis) -> usize {
        let moves = self.array.moves.iter();
        moves
            .filter(|m| m.unit == unit && m.at >= from && m.at < until)
            .count()
    }

    /// Connects a path of a host that is about to be added.
    pub fn cable(kernel: &mut Kernel, path: Hctl, unit: UnitId, group: u16) {
        let port = group * 100 + u16::try_from(path.host).unwrap_or(0);
        kernel.cable(path, crate::psa::adapter::Transport::Fc, unit, group, port);
    }
}
