//! Stories of the core: events, and the actions of the agent. Each is a file of `tests/golden/world/`, the worked
//! examples for the types in `event.rs` and `action.rs`. `UPDATE_GOLDEN=1 cargo test --test stories` rewrites them.
//!
//! A story has the time in seconds, an event, and below it the actions that the step for this event returned. It leaves
//! out events without an action, timers that only send checks, and lines that repeat an earlier line of their
//! paragraph. Identifiers are shortened: `naa.6001..01`.

mod san;
mod screen;

use dm_psa::config::rules::built_in;
use dm_psa::psa::action::{Action, MapStep};
use dm_psa::psa::change::Change;
use dm_psa::psa::claim::{Rule, Ruleset};
use dm_psa::psa::event::Event;
use dm_psa::psa::facts::PathFacts;
use dm_psa::psa::names::DeviceId;
use dm_psa::psa::psp::PspKind;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::table::model::Map;
use dm_psa::psa::table::parse::parse;
use dm_psa::psa::units::{Millis, Sectors};
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::outcome::Outcome;
use dm_psa::sim::array::Unit;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::kernel::Kernel;
use dm_psa::sim::run::{Entry, Simulation};
use san::{A1, A2, ANO, AO, B1, B2, add_unit, four_paths, notice, seconds, steady, unharmed};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A story that is being written.
struct Story {
    sim: Simulation,
    text: String,
    /// The number of journal entries that are already written.
    written: usize,
    /// The lines that this paragraph already has.
    paragraph: BTreeSet<String>,
}

impl Story {
    /// Starts an agent on a host.
    fn begin(title: &str, kernel: Kernel, settings: Settings) -> Story {
        let rules = built_in().in_force();
        Story {
            sim: Simulation::start_with_rules(kernel, settings, rules),
            text: format!("# {title}\n"),
            written: 0,
            paragraph: BTreeSet::new(),
        }
    }

    /// A comment.
    fn say(&mut self, text: &str) {
        let _ = write!(self.text, "\n# {text}\n");
        self.paragraph.clear();
    }

    /// Runs for this long, and writes what happens.
    fn run(&mut self, time: Millis) {
        self.sim.run_for(time);
        self.write_down();
    }

    /// Runs for this long without writing.
    fn skip(&mut self, time: Millis) {
        self.sim.run_for(time);
        self.written = self.sim.journal.len();
    }

    fn write_down(&mut self) {
        for entry in self.sim.journal.iter().skip(self.written) {
            let lines = lines(entry).replace("6001405a0000000000000000000000", "6001..");
            if !lines.is_empty() && self.paragraph.insert(lines.clone()) {
                let (at, rest) = (entry.at.0 / 1000, entry.at.0 % 1000);
                let _ = write!(self.text, "{at:>4}.{rest:03} {lines}");
            }
        }
        self.written = self.sim.journal.len();
    }

    /// Compares the story with its file, and asserts that it did no harm.
    fn end(self, name: &str) {
        unharmed(&self.sim);
        self.sim.replay().unwrap();
        screen::golden(&format!("world/{name}.txt"), &self.text);
    }
}

/// The lines for an entry of the journal; empty if it is not relevant.
fn lines(entry: &Entry) -> String {
    let actions: Vec<String> = entry.actions.iter().filter_map(action).collect();
    let checks = |action: &Action| matches!(action, Action::Examine(_));
    let routine = matches!(entry.event, Event::Timer) && entry.actions.iter().all(checks);
    if actions.is_empty() || routine {
        return String::new();
    }
    let mut text = format!("{}\n", event(&entry.event));
    for action in actions {
        let _ = writeln!(text, "           -> {action}");
    }
    text
}

fn event(event: &Event) -> String {
    let what = match event {
        Event::PathSeen(facts) => seen(facts),
        Event::PathGone(path) => path.to_string(),
        Event::PathsListed(paths) => format!("{} paths", paths.len()),
        Event::MapsListed(maps) => format!("{} maps", maps.len()),
        Event::UnitAttention { path, kind } => format!("{path} {kind:?}"),
        Event::Examined(examination) => {
            let replies = examination.replies.iter();
            let replies: Vec<String> = replies
                .map(|reply| {
                    let data = match reply.data.len() {
                        0 => String::new(),
                        bytes => format!(", {bytes} bytes"),
                    };
                    format!("{} {}{data}", reply.command, outcome(&reply.outcome))
                })
                .collect();
            format!("{} {}", examination.path, replies.join("; "))
        }
        Event::MapSeen(map) => state(map),
        Event::MapGone(name) => name.clone(),
        Event::MapDone {
            result, observed, ..
        } => {
            let result = match result {
                Ok(()) => "done".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            let map = observed.as_ref().map(|map| state(map)).unwrap_or_default();
            format!("{result}: {map}")
        }
        Event::IoTrouble { what, count } => format!("{what:?}, {count} times"),
        Event::DisksFound(disks) => format!("{disks:?}"),
        Event::OutagesRecalled(outages) => format!("{outages:?}"),
        Event::Change(change) => format!("{change:?}"),
        _ => String::new(),
    };
    format!("{} {what}", event.kind()).trim_end().to_owned()
}

fn seen(facts: &PathFacts) -> String {
    match &facts.block {
        Some(block) => format!(
            "{} {} {} {} sectors",
            facts.hctl, block.name, block.dev, block.size.0
        ),
        None => facts.hctl.to_string(),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Good => "good".to_owned(),
        other => other.to_string(),
    }
}

/// The state of a map: letters of groups and paths, as `dmsetup status` has them.
fn state(map: &Map) -> String {
    let line = san::line(map);
    let letters = line.rsplit('|').next().unwrap_or_default().trim();
    let queues = map
        .table
        .as_ref()
        .is_ok_and(|table| table.features.queue_if_no_path);
    let queues = if queues { "queues" } else { "does not queue" };
    format!("{} {letters}, {queues}", map.name)
}

fn action(action: &Action) -> Option<String> {
    Some(match action {
        Action::Examine(asked) => {
            let commands: Vec<String> = asked.commands.iter().map(Command::to_string).collect();
            format!("ask {}: {}", asked.path, commands.join(", "))
        }
        Action::Map { map, steps, .. } => {
            let steps: Vec<String> = steps.iter().map(step).collect();
            format!("map {}: {}", map.name, steps.join("; "))
        }
        Action::Notify(one) if one.code == "MAP_ACTION" => return None,
        Action::Notify(one) => format!("notify {:?} {}", one.severity, notice(one)),
        Action::MarkOwner { name, owned, .. } => {
            let owner = if *owned { "dm-psa's" } else { "the host's" };
            format!("mark {name} as {owner}")
        }
        Action::RefreshFacts(path) => format!("read the facts of {path} again"),
        Action::DeleteDevice { path, dev } => format!("delete {path}, if its disk is {dev}"),
        Action::RescanDevice(path) => format!("have the kernel read the capacity of {path} again"),
        Action::ScanFor(path) => format!("scan for {path}"),
        Action::LookUpDisks(disks) => {
            let disks: Vec<String> = disks.iter().map(ToString::to_string).collect();
            format!("look up the disks {}", disks.join(", "))
        }
        Action::SetPortTimers { path, timers } => {
            format!("set fast_io_fail_tmo {} behind {path}", timers.fast_io_fail)
        }
        Action::ForgetOwner(dev) => format!("forget the mark of {dev}"),
        Action::Remember(_) => "store the memory".to_owned(),
        Action::StoreOutages(outages) => format!("store the outages of {} devices", outages.len()),
        Action::StoreTakeovers(budgets) => format!("store {} takeover budgets", budgets.len()),
        Action::WatchClosely(span) => {
            format!("have failed commands reported for {} s", span.0 / 1000)
        }
    })
}

fn step(step: &MapStep) -> String {
    let text = |table| dm_psa::psa::table::emit::emit(table).unwrap();
    match step {
        MapStep::Create { table, .. } => format!("create {}", text(table)),
        MapStep::Reload { table, .. } => format!("reload {}", text(table)),
        MapStep::Resume => "resume".to_owned(),
        MapStep::Message(message) => format!("message {message}"),
        MapStep::Remove => "remove".to_owned(),
        MapStep::Observe => "observe".to_owned(),
    }
}

fn settings() -> Settings {
    Settings {
        apd_timeout_ms: seconds(20),
        ..Settings::default()
    }
}

/// A host in use: its one unit is under I/O.
fn in_use(title: &str) -> Story {
    let mut story = Story::begin(title, four_paths(), settings());
    story.sim.io_every = Some(Millis(100));
    story.skip(seconds(9));
    story
}

fn inject(story: &mut Story, faults: &[Fault]) {
    story.sim.inject_all(faults);
}

fn device(story: &Story) -> DeviceId {
    story.sim.world.devices().next().unwrap().id().to_owned()
}

fn change(story: &mut Story, change: Change) {
    story.sim.world.check(&change).unwrap();
    story.sim.deliver(Event::Change(Box::new(change)));
}

#[test]
fn a_lun_appears() {
    let mut kernel = steady();
    add_unit(&mut kernel, 0, &[(1, AO), (2, ANO)]);
    let mut story = Story::begin(
        "A LUN appears by four paths: two to the controller that serves it best, two to the other.",
        kernel,
        settings(),
    );
    story.say("Each path is asked for its identity. When all have answered, the map is created with one group for each access state.");
    story.run(seconds(3));
    story.end("lun-appears");
}

#[test]
fn a_controller_fails_and_returns() {
    let mut story = in_use("A controller fails and returns, under I/O.");
    story.say("Both paths to it fail: the kernel reports each with its first failed I/O. Nothing is loaded.");
    inject(&mut story, &[Fault::LinkDown(A1), Fault::LinkDown(A2)]);
    story.run(seconds(6));
    story.say("The controller is back. A path proves its identity before it carries I/O, and I/O returns to the better group by itself.");
    inject(&mut story, &[Fault::LinkUp(A1), Fault::LinkUp(A2)]);
    story.run(seconds(8));
    story.end("controller-fails");
}

#[test]
fn the_array_moves_the_lu() {
    let mut story = in_use("The array moves the logical unit to its other controller.");
    story.say("A unit attention announces it. The groups change places by a message. No command that moves the unit is sent to the array.");
    inject(&mut story, &[Fault::Access(0, vec![(1, ANO), (2, AO)])]);
    story.run(seconds(6));
    story.end("array-moves-lu");
}

#[test]
fn another_lun_is_behind_a_path() {
    let mut kernel = four_paths();
    let other = kernel.array.add(Unit::new(9, &[(1, AO), (2, ANO)]));
    let mut story = Story::begin(
        "A path comes back with another logical unit behind it.",
        kernel,
        settings(),
    );
    story.sim.io_every = Some(Millis(100));
    story.skip(seconds(9));
    story.say("The path goes down, and the array maps another unit at its LUN.");
    inject(&mut story, &[Fault::Open(0, 1), Fault::LinkDown(A1)]);
    story.run(seconds(2));
    inject(
        &mut story,
        &[Fault::Remap(A1, Some(other), false), Fault::LinkUp(A1)],
    );
    story.say(
        "It answers again, with another identity: it stays out of use, whatever else it answers.",
    );
    story.run(seconds(8));
    story.end("another-lun");
}

#[test]
fn all_paths_down() {
    let mut story = in_use("All paths go down, the time is over, and one returns.");
    story.say(
        "The kernel has no path that it can use, so I/O is queued. Here the APD timeout is 20 s.",
    );
    let all = [A1, A2, B1, B2];
    inject(&mut story, &all.map(Fault::LinkDown));
    story.run(seconds(15));
    story.say("The timeout is over: I/O fails until a path returns.");
    story.run(seconds(10));
    story.say("A path of the other controller returns.");
    inject(&mut story, &[Fault::LinkUp(B1)]);
    story.run(seconds(8));
    // I/O had to fail.
    story.sim.kernel.ledger.io_errors.clear();
    story.end("all-paths-down");
}

#[test]
fn permanent_loss() {
    let mut story = in_use("The array takes the logical unit away for good.");
    story.say("Every path reports that there is no logical unit. Waiting would be useless, so I/O fails immediately.");
    let gone = [A1, A2, B1, B2].map(|path| Fault::Remap(path, None, false));
    inject(&mut story, &gone);
    story.run(seconds(8));
    story.say("The last user has closed the map, so it is removed.");
    story.sim.io_every = None;
    story.run(seconds(10));
    story.sim.kernel.ledger.io_errors.clear();
    story.end("permanent-loss");
}

#[test]
fn a_foreign_map() {
    let mut kernel = four_paths();
    let disk = "259:0".parse().unwrap();
    kernel.add_other(disk, "nvme0n1, which is not a SCSI disk");
    let table = "1 queue_if_no_path 0 1 1 service-time 0 1 2 259:0 1 1";
    let table = parse(Sectors(204_800), table).unwrap();
    kernel
        .make_map("mpatha", "mpath-nvme.0001-aa", &table)
        .unwrap();
    let mut story = Story::begin(
        "A map whose UUID looks like ours holds a disk that is not a SCSI disk.",
        kernel,
        settings(),
    );
    story.say("The kernel is asked what the disk is. From then on the map is foreign, and the agent does not change it.");
    story.run(seconds(40));
    story.end("foreign-map");
}

#[test]
fn an_agent_before_udev() {
    let mut sim = san::running(four_paths());
    sim.kernel
        .open_map("naa.6001405a000000000000000000000001", 1);
    for path in [A1, A2, B1, B2] {
        sim.kernel
            .inject(Millis(0), &Fault::Unprocessed(path, true));
    }
    let mut story = Story::begin(
        "An agent starts before udev has processed the disks of a map that is in use.",
        sim.kernel,
        settings(),
    );
    story.say("Its members are unknown. Unknown is not gone: nothing is done to the map.");
    story.run(seconds(3));
    story.say(
        "udev has processed them: they are the paths of this unit, and the map is as it should be.",
    );
    let seen = [A1, A2, B1, B2].map(|path| Fault::Unprocessed(path, false));
    inject(&mut story, &seen);
    story.run(seconds(6));
    story.end("agent-before-udev");
}

#[test]
fn a_rule_is_loaded() {
    let mut story = in_use("A claim rule is loaded, and applied to a path in use.");
    story.say("Loading rules changes nothing for claimed paths.");
    let mut rules = built_in().in_force();
    let basic = rules.claim.rules().to_vec();
    let target = "adapter=vmhba0 channel=0 target=0 lun=0".parse().unwrap();
    let mask = Rule::new(200, target, "MASK_PATH");
    rules.claim = Ruleset::new(basic.into_iter().chain([mask]));
    story.sim.deliver(Event::RulesLoaded(Box::new(rules)));
    story.run(seconds(3));
    story.say("The device is reclaimed: the path leaves the table, and its SCSI device is removed from the host.");
    let device = device(&story);
    change(&mut story, Change::Reclaim { device });
    story.run(seconds(6));
    story.end("rule-is-loaded");
}

#[test]
fn a_psp_is_changed() {
    let mut story = in_use("An admin changes the PSP of a device under I/O.");
    story.say("FIXED uses one group per path, so the table is loaded again, once.");
    let psp = Some(PspKind::Fixed);
    let device = device(&story);
    change(&mut story, Change::Psp { device, psp });
    story.run(seconds(4));
    story.end("psp-is-changed");
}
