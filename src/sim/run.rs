//! Runs a simulated host and a [`World`] with a virtual clock.
//!
//! Time is counted in milliseconds from the start of the simulation. The clock of the world starts at 0 whenever the
//! agent starts, as in the daemon; the journal has the times of the world. [`Simulation::step`] advances to the next
//! time at which something is due, in the kernel or in the world. I/O is sent to all maps every
//! [`Simulation::io_every`]. The same seed and the same script give the same run.

use super::fault::Fault;
use super::kernel::Kernel;
use crate::psa::action::{Action, Notice};
use crate::psa::event::Event;
use crate::psa::memory::Memory;
use crate::psa::names::Wwid;
use crate::psa::rules::Rules;
use crate::psa::settings::Settings;
use crate::psa::state::initramfs::Scope;
use crate::psa::units::Millis;
use crate::psa::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// An event that the world got, with the actions that it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The time of the world.
    pub at: Millis,
    /// The event.
    pub event: Event,
    /// The actions that the world returned.
    pub actions: Vec<Action>,
}

/// Number of steps at one time after which a run counts as an endless loop.
const MOST_STEPS_AT_ONCE: u32 = 200_000;

/// A simulated host with an agent.
pub struct Simulation {
    /// The decision logic.
    pub world: World,
    /// The host that it controls.
    pub kernel: Kernel,
    /// The settings of the agent.
    pub settings: Settings,
    /// The rules that were loaded last; the next agent starts with them.
    rules: Rules,
    /// The rules that the current agent started with.
    rules_at_start: Rules,
    /// The interval at which every map gets an I/O; `None` means no I/O.
    pub io_every: Option<Millis>,
    /// Events and actions of the current agent, if [`Simulation::keep_journal`].
    pub journal: Vec<Entry>,
    /// Whether the journal is kept.
    pub keep_journal: bool,
    /// The memory that the current agent started with.
    pub remembered: Memory,
    /// The notices of all agents, if [`Simulation::keep_journal`].
    pub notices: Vec<(Millis, Notice)>,
    now: Millis,
    /// When the current agent started.
    origin: Millis,
    next_io: Millis,
    steps_at_once: u32,
    /// In an initramfs: what is expected, and until when.
    initramfs: Option<(BTreeSet<Wwid>, Option<Millis>)>,
}

impl Simulation {
    /// Starts an agent on a host, with the minimal rules that work.
    #[must_use]
    pub fn start(kernel: Kernel, settings: Settings) -> Simulation {
        Simulation::start_with_rules(kernel, settings, Rules::default())
    }

    /// Starts an agent on a host.
    #[must_use]
    pub fn start_with_rules(kernel: Kernel, settings: Settings, rules: Rules) -> Simulation {
        let mut simulation = Simulation::before_start(kernel, settings, rules);
        simulation.restart_agent();
        simulation
    }

    fn before_start(kernel: Kernel, settings: Settings, rules: Rules) -> Simulation {
        Simulation {
            initramfs: None,
            world: World::new(settings.clone(), kernel.memory.clone()),
            kernel,
            settings,
            rules_at_start: rules.clone(),
            rules,
            io_every: None,
            journal: Vec::new(),
            keep_journal: true,
            remembered: Memory::default(),
            notices: Vec::new(),
            now: Millis(0),
            origin: Millis(0),
            next_io: Millis(0),
            steps_at_once: 0,
        }
    }

    /// Starts an agent that decides only on devices that are expected or had a map before, as in an initramfs.
    #[must_use]
    pub fn start_in_initramfs(
        kernel: Kernel,
        settings: Settings,
        expected: BTreeSet<Wwid>,
        until: Option<Millis>,
    ) -> Simulation {
        let mut simulation = Simulation::before_start(kernel, settings, Rules::default());
        simulation.initramfs = Some((expected, until));
        simulation.restart_agent();
        simulation
    }

    /// The world of the current agent as it was at the start, before any event.
    #[must_use]
    pub fn new_world(&self) -> World {
        let (settings, memory) = (self.settings.clone(), self.remembered.clone());
        let mut world = World::with_rules(settings, memory, self.rules_at_start.clone());
        if let Some((expected, until)) = &self.initramfs {
            world.decide_on(Scope::Known, expected.clone(), *until);
        }
        world
    }

    /// The time since the start of the simulation.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Kills the agent and starts another one immediately, with the stored memory. The journal is cleared.
    pub fn restart_agent(&mut self) {
        self.origin = self.now;
        self.remembered = self.kernel.memory.clone();
        self.rules_at_start = self.rules.clone();
        self.world = self.new_world();
        self.journal.clear();
        let began = self.kernel.outages.iter();
        let lasted = began.map(|(wwid, since)| (wwid.clone(), self.now.since(*since)));
        let outages: BTreeMap<Wwid, Millis> = lasted.collect();
        if !outages.is_empty() {
            self.deliver(Event::OutagesRecalled(outages));
        }
        let (stored_at, mut budgets) = self.kernel.takeovers.clone();
        for budget in budgets.values_mut() {
            budget.wait = budget.wait.since(self.now.since(stored_at));
        }
        if !budgets.is_empty() {
            self.deliver(Event::TakeoversRecalled(budgets));
        }
        for event in self.kernel.enumerate() {
            self.deliver(event);
        }
    }

    /// Carries out a line of a script now.
    pub fn inject(&mut self, fault: &Fault) {
        if *fault == Fault::RestartAgent {
            self.restart_agent();
        } else {
            self.kernel.inject(self.now, fault);
        }
    }

    /// Carries out lines of a script, all at the current time.
    pub fn inject_all(&mut self, faults: &[Fault]) {
        faults.iter().for_each(|fault| self.inject(fault));
    }

    /// Passes an event to the world now, and carries out the actions that it returns.
    pub fn deliver(&mut self, event: Event) {
        let at = self.now.since(self.origin);
        let copy = self.keep_journal.then(|| event.clone());
        if let Event::RulesLoaded(rules) = &event {
            self.rules = rules.as_ref().clone();
        }
        let actions = self.world.step(at, event);
        if let Some(event) = copy {
            self.journal.push(Entry {
                at,
                event,
                actions: actions.clone(),
            });
        }
        for action in actions {
            let notice = self.kernel.carry_out(self.now, action);
            if let (Some(notice), true) = (notice, self.keep_journal) {
                self.notices.push((self.now, notice));
            }
        }
    }

    /// The next time at which something is due.
    #[must_use]
    pub(crate) fn next_time(&self) -> Option<Millis> {
        let world = self
            .world
            .next_deadline()
            .map(|at| self.origin.after(at).max(self.now));
        let io = self.io_every.map(|_| self.next_io.max(self.now));
        [self.kernel.next_time(), world, io]
            .into_iter()
            .flatten()
            .min()
    }

    /// Advances to the next time at which something is due and does one thing; `false` if nothing is due until `end`.
    ///
    /// # Panics
    /// If time does not advance because the world requests a timer again and again.
    pub fn step(&mut self, end: Millis) -> bool {
        let Some(next) = self.next_time().filter(|next| *next <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.steps_at_once = if next > self.now {
            0
        } else {
            self.steps_at_once + 1
        };
        assert!(
            self.steps_at_once < MOST_STEPS_AT_ONCE,
            "the clock stands still at {next:?}"
        );
        self.now = self.now.max(next);
        if let Some(event) = self.kernel.pop(self.now) {
            if let Some(event) = event {
                self.deliver(event);
            }
        } else if let Some(every) = self.io_every.filter(|_| self.next_io <= self.now) {
            self.next_io = self.now.after(Millis(every.0.max(1)));
            self.kernel.io_on_all(self.now);
        } else {
            self.deliver(Event::Timer);
        }
        true
    }

    /// Runs until this time.
    pub fn run_until(&mut self, end: Millis) {
        while self.step(end) {}
    }

    /// Runs for this time.
    pub fn run_for(&mut self, time: Millis) {
        self.run_until(self.now.after(time));
    }

    /// Replays the journal to a new world and compares the actions with those of the journal, byte for byte.
    ///
    /// # Errors
    /// The first entry with different actions, and the actions that the new world returned.
    pub fn replay(&self) -> Result<(), Box<(Entry, Vec<Action>)>> {
        let mut world = self.new_world();
        for entry in &self.journal {
            let actions = world.step(entry.at, entry.event.clone());
            let text = |actions: &[Action]| serde_json::to_string(actions).unwrap_or_default();
            if actions != entry.actions || text(&actions) != text(&entry.actions) {
                return Err(Box::new((entry.clone(), actions)));
            }
        }
        Ok(())
    }

    /// Runs until the world has settled, at most for the time `most`; returns whether it has settled.
    pub fn run_until_settled(&mut self, most: Millis) -> bool {
        let end = self.now.after(most);
        loop {
            if self.world.is_settled() {
                return true;
            }
            if !self.step(end) {
                return false;
            }
        }
    }
}
