//! The owner's loop: takes inputs from the inbox, steps the world, and carries out its actions.

mod once;

pub use once::{Once, run_once};

use super::alone::{self, Role};
use super::answers::answer;
use super::changes::change;
use super::dispatch::Dispatcher;
use super::error::{AgentError, start};
use super::farewell;
use super::inbox::{self, Inbox, Input, Inputs, Question};
use super::logging::{self, start_logging};
use super::metrics::textfile::Textfile;
use super::metrics::{self, Dialect, Health, Picture};
use super::outages;
use super::planner::{Planner, Snapshot};
use super::record::Recorder;
use super::takeovers;
use crate::api::error::ApiError;
use crate::api::handler::{Handler, Limits, Peer, Pending};
use crate::api::listener::Listener;
use crate::api::requests::{ChangeRequest, LoadRules, MetricsReply, Request, RulesLoaded};
use crate::api::server::Server;
use crate::api::types::Explanation;
use crate::config::boot::{self, BootImage};
use crate::config::{self, ConfigError, Places};
use crate::kernel::process::{self, Usage};
use crate::kernel::signal::Stop;
use crate::kernel::sysfs::Sysfs;
use crate::kernel::{NoticeSink, privilege};
use crate::psa::action::Notice;
use crate::psa::claim::RuleClass;
use crate::psa::codes::{self, Code};
use crate::psa::event::Event;
use crate::psa::rules::Rules;
use crate::psa::settings::Settings;
use crate::psa::state::initramfs::Scope;
use crate::psa::state::outages::Apd;
use crate::psa::units::Millis;
use crate::psa::world::World;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Size of the owner's inbox; a sender waits while it is full. Answers come in batches, so it is large enough for those
/// of ten thousand paths, and small enough that a uevent does not wait behind a million other inputs.
const INBOX: usize = 1024;

/// Maximum number of questions that wait for the owner; further ones are refused. The API has fewer connections.
const QUESTIONS: usize = 256;

/// How long an API call waits for the owner. Clients wait 5 s. On a host that is short of processors, the owner may not run
/// for more than a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The latest time for the "ready" notification to systemd. It is sent when every device found at start has its map,
/// but no later than this: a disk that does not answer must not delay the boot.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Options of the daemon.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that contains `etc` and `run`; `/` except in tests.
    pub root: PathBuf,
    /// Socket of the API.
    pub socket: PathBuf,
    /// The agent runs in an initramfs: at first it decides only on devices that had a map, and those that the record of
    /// the initramfs expects.
    pub known_devices_first: bool,
}

/// Runs the agent until a signal stops it. Maps and their I/O are not disturbed.
///
/// # Errors
/// A part that the agent needs could not be started.
pub fn run(options: &Options) -> Result<(), AgentError> {
    prepared(privilege::prepare, |stop, notices| {
        serve(options, stop, notices)
    })
}

/// Prepares the process and starts the log, then runs `body`. Logs the error, if there is one.
fn prepared<T>(
    prepare: impl FnOnce() -> Vec<Notice>,
    body: impl FnOnce(Stop, Vec<Notice>) -> Result<T, AgentError>,
) -> Result<T, AgentError> {
    // Before the first thread: every thread but the one that waits for signals must block them, and all threads must
    // share one heap.
    let prepare = || {
        let stop = Stop::block().map_err(start("signal handling", "this should not happen"))?;
        let notices = prepare();
        let log =
            start_logging().map_err(start("the log thread", "raise TasksMax= of the service"))?;
        Ok((stop, notices, log))
    };
    let (stop, notices, _log) =
        // Logging has not started.
        prepare().inspect_err(|error: &AgentError| eprintln!("{}", logging::line(&failed(error))))?;
    // The owner that keeps the events for `psactl` has ended, or was never started.
    body(stop, notices).inspect_err(|error| logging::write_now(&failed(error)))
}

fn failed(error: &AgentError) -> Notice {
    let details = [("reason", &*error.to_string())];
    Notice::new(codes::AGENT_FAILED, "agent", &details)
}

fn serve(options: &Options, stop: Stop, notices: Vec<Notice>) -> Result<(), AgentError> {
    let places = Places::below(&options.root);
    // Refuses at once if another daemon has the socket.
    let listener = Listener::bind(&options.socket)?;
    // Before anything is read that the other agent may still write.
    let (_alone, other) = alone::take(&places, Role::Daemon)?;
    let (settings, problems) = config::read_settings(&places);
    let mut begun = begin(&places, &settings, problems, stop, notices)?;
    let stale = super::boot::compare(&places);
    let (inbox, notice_sink) = (begun.inbox, begun.notice_sink);
    let threads = "raise TasksMax= of the service";
    let textfile = textfile(&settings, &inbox, notice_sink)
        .map_err(start("the thread for metrics_textfile", threads))?;
    let planner = planner(&inbox, &places).map_err(start("the thread for plans", threads))?;
    let caller = Caller {
        rules: RulesReader(places.clone()),
        inbox,
        planner,
    };
    let server = Server::start(listener, Box::new(caller), Limits::default())
        .map_err(start("the API thread", threads))?;

    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let started = Notice::new(codes::AGENT_STARTED, "agent", &version);
    for notice in std::iter::once(started).chain(stale).chain(other) {
        begun.owner.dispatcher.notify(Millis(0), &notice);
    }
    if options.known_devices_first {
        // Without a record nothing is known.
        let image = BootImage::load(&places.boot_image()).ok().flatten();
        let expected = image.map(|image| image.wait_for).unwrap_or_default();
        if !expected.is_empty() {
            let (wait, _) = boot::wait(&Sysfs::new(&options.root).command_line());
            let until = begun.owner.now().after(Millis::from(wait));
            let world = &mut begun.owner.world;
            world.decide_on(Scope::Known, expected, Some(until));
        }
    }
    begun.owner.recall(begun.recalled);
    begun.owner.serve(begun.inputs);
    drop((server, textfile));
    Ok(())
}

/// The owner before its first input, and what belongs to it.
struct Begun {
    owner: Owner,
    inputs: Inputs,
    inbox: Inbox,
    notice_sink: NoticeSink,
    recalled: Vec<Event>,
}

/// Reads the files, and starts everything that carries out actions.
fn begin(
    places: &Places,
    settings: &Settings,
    problems: Vec<ConfigError>,
    stop: Stop,
    mut notices: Vec<Notice>,
) -> Result<Begun, AgentError> {
    let mut refused = |code: Code, problems: Vec<ConfigError>| {
        notices.extend(
            problems
                .into_iter()
                .map(|problem| Notice::new(code, "agent", &[("reason", &problem.to_string())])),
        );
    };
    refused(codes::SETTINGS_REFUSED, problems);
    let (memory, problems) = config::memory_file::load(places);
    refused(codes::MEMORY_REFUSED, problems);
    let (rules, problems) = config::rules::start(places);
    refused(codes::RULES_REFUSED, problems);

    let (outages, problem) = outages::load(places);
    notices.extend(problem);
    let (budgets, problem) = takeovers::load(places);
    notices.extend(problem);
    let outages = (!outages.is_empty()).then_some(Event::OutagesRecalled(outages));
    let budgets = (!budgets.is_empty()).then_some(Event::TakeoversRecalled(budgets));

    let threads = "raise TasksMax= of the service";
    let (inbox, inputs) = inbox::inbox(INBOX, QUESTIONS);
    let stopped = inbox.clone();
    stop.on_arrival(move || {
        // If nothing receives this, the owner has already stopped.
        let _ = stopped.send(Input::Stop);
    })
    .map_err(start("signal handling", threads))?;
    let notice_sink = notice_sink(&inbox);
    let mut dispatcher = Dispatcher::start(
        places,
        settings,
        memory.devices.clone(),
        &inbox,
        &notice_sink,
    )?;
    notices
        .iter()
        .for_each(|notice| dispatcher.notify(Millis(0), notice));
    let recorder = Recorder::start(places.journal(), settings.journal_mib, notice_sink.clone())
        .map_err(start("the journal thread", threads))?;
    let owner = Owner {
        world: World::with_rules(settings.clone(), memory, rules.in_force()),
        dispatcher,
        recorder,
        origin: Instant::now(),
        ready: false,
        reserve_at: Instant::now(),
        maps_changed: true,
        kept_at: None,
        root: places.root().to_owned(),
        health: Health::default(),
    };
    Ok(Begun {
        owner,
        inputs,
        inbox,
        notice_sink,
        recalled: outages.into_iter().chain(budgets).collect(),
    })
}

/// Returns a sink that puts notices of threads into the owner's inbox; if the inbox is full, it writes them only to the
/// log.
fn notice_sink(inbox: &Inbox) -> NoticeSink {
    let inbox = inbox.clone();
    NoticeSink::new(move |notice| {
        if inbox
            .try_send(Input::Notice(Box::new(notice.clone())))
            .is_err()
        {
            logging::write_now(&notice);
        }
    })
}

/// Asks the owner for the metrics; `None` if it does not answer in time.
fn picture(inbox: &Inbox) -> Option<Picture> {
    let (reply, answer) = sync_channel(1);
    inbox.ask(Question::Metrics(reply)).ok()?;
    answer.recv_timeout(ANSWER_WITHIN).ok()
}

/// Starts writing metrics to the file that the admin configured, if any.
fn textfile(
    settings: &Settings,
    inbox: &Inbox,
    notice_sink: NoticeSink,
) -> std::io::Result<Option<Textfile>> {
    if settings.metrics_textfile.is_empty() {
        return Ok(None);
    }
    let every = Duration::from_millis(settings.metrics_interval_ms.0);
    let (file, inbox) = (PathBuf::from(&settings.metrics_textfile), inbox.clone());
    Textfile::start(file, every, notice_sink, move || picture(&inbox)).map(Some)
}

/// Passes API calls to the owner and to the planner.
struct Caller {
    rules: RulesReader,
    inbox: Inbox,
    planner: Planner,
}

/// Starts the thread that makes plans.
fn planner(inbox: &Inbox, places: &Places) -> std::io::Result<Planner> {
    let (inbox, rules) = (inbox.clone(), RulesReader(places.clone()));
    Planner::start(move || {
        let mut took = Duration::ZERO;
        let mut plan = || {
            let all = LoadRules {
                claim_rules: Some("all".to_owned()),
            };
            let rules = rules.read(&all, false)?;
            let (reply, answer) = sync_channel(1);
            inbox.ask(Question::Snapshot(reply)).map_err(|_| busy())?;
            let snapshot = answer.recv_timeout(ANSWER_WITHIN).map_err(|_| busy())?;
            took = snapshot.took;
            let explanation = Explanation::of_plan(snapshot.world.into_plan(&rules));
            Ok(serde_json::json!({ "explanation": explanation }))
        };
        (plan(), took)
    })
}

fn busy() -> ApiError {
    ApiError::Unavailable {
        reason: "the agent is busy or stopping".to_owned(),
    }
}

/// Reads the rule files. This does not run on the owner's thread, which must never wait for a disk.
struct RulesReader(Places);

impl RulesReader {
    /// Reads all files and loads the requested class of claim rules. With `keep`, the loaded list is stored until
    /// reboot.
    fn read(&self, asked: &LoadRules, keep: bool) -> Result<Rules, ApiError> {
        let failed = |error: ConfigError| ApiError::Failed {
            reason: format!("{error}; the rules that were loaded last stay in force"),
        };
        let mut files = config::rules::load(&self.0).map_err(failed)?;
        if let Some(class) = &asked.claim_rules {
            let class =
                match class.as_str() {
                    "all" => None,
                    name => Some(RuleClass::by_name(name).map_err(|reason| {
                        ApiError::InvalidParameter {
                            parameter: "claim_rules".to_owned(),
                            value: name.to_owned(),
                            reason,
                        }
                    })?),
                };
            files.lists.load(class);
            if keep {
                config::rules::save_loaded(&self.0, &files.lists).map_err(failed)?;
            }
        }
        Ok(files.in_force())
    }
}

impl Handler for Caller {
    fn call(
        &self,
        method: &str,
        parameters: &serde_json::Value,
        peer: Peer,
    ) -> Result<serde_json::Value, ApiError> {
        let request = Request::parse(method, parameters)?;
        if matches!(request, Request::Change(_)) && peer.uid != 0 {
            let method = method.to_owned();
            return Err(ApiError::PermissionDenied { method });
        }
        if let Request::GetMetrics(_) = request {
            let picture = picture(&self.inbox).ok_or_else(busy)?;
            let metrics = metrics::text(&picture, &Usage::of_self(), Dialect::OpenMetrics);
            return Ok(serde_json::json!(MetricsReply { metrics }));
        }
        let (reply, answer) = sync_channel(1);
        let question = match &request {
            Request::Change(ChangeRequest::LoadRules(asked)) => {
                Question::Rules(Box::new(self.rules.read(asked, true)?), reply)
            }
            _ => Question::Call(Box::new(request), reply),
        };
        self.inbox.ask(question).map_err(|_| busy())?;
        answer.recv_timeout(ANSWER_WITHIN).map_err(|_| busy())?
    }

    fn begin(&self, method: &str, parameters: &serde_json::Value, peer: Peer) -> Option<Pending> {
        let Ok(Request::Plan(_)) = Request::parse(method, parameters) else {
            return None;
        };
        Some(self.planner.ask(peer.uid == 0).unwrap_or_else(|refused| {
            let (reply, answer) = sync_channel(1);
            let _ = reply.try_send(Err(refused));
            answer
        }))
    }
}

/// How often the memory reserve is refilled, and how soon to try again if that had to be put off.
const RESERVE: Duration = Duration::from_secs(600);
const RESERVE_LATER: Duration = Duration::from_secs(10);

/// How long after the last time the state for `backstop` is handed over again: when maps changed, and in any
/// case. The second is needed because a multipath map that is not for a SCSI disk raises no event.
const KEEP_AGAIN: Duration = Duration::from_secs(1);
const KEEP_ANYWAY: Duration = Duration::from_secs(60);

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Turn {
    Handled,
    /// The agent was asked to stop.
    Last,
}

struct Owner {
    world: World,
    dispatcher: Dispatcher,
    recorder: Recorder,
    origin: Instant,
    ready: bool,
    /// When the memory reserve is refilled next, once the agent is ready.
    reserve_at: Instant,
    /// Whether maps may have changed since the state for the backstop was handed over.
    maps_changed: bool,
    /// When it was handed over last.
    kept_at: Option<Instant>,
    root: PathBuf,
    health: Health,
}

impl Owner {
    fn now(&self) -> Millis {
        Millis::from(self.origin.elapsed())
    }

    /// Starts the journal, and tells the world what was stored for it.
    fn recall(&mut self, recalled: Vec<Event>) {
        self.recorder.begin(self.now(), &self.world);
        for event in recalled {
            self.step(event);
        }
    }

    fn serve(mut self, inputs: Inputs) {
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 3);
        let mut pinged = Instant::now();
        loop {
            let longest = [
                watchdog,
                self.maps_changed.then_some(KEEP_AGAIN),
                (!self.ready).then_some(Duration::from_millis(100)),
            ];
            let longest = longest.into_iter().flatten().min();
            if self.turn(&inputs, longest.unwrap_or(Duration::from_secs(3600))) == Turn::Last {
                break;
            }
            if let Some(question) = inputs.question() {
                self.reply_to(question, inputs.waiting());
            }
            self.run_timers();
            self.notify_systemd(watchdog, &mut pinged);
            self.reserve_memory();
            self.keep_maps();
        }
        let effect = if process::host_ends(&self.root) {
            self.end_queueing(&inputs);
            "the host shuts down: I/O fails if no path works"
        } else {
            "maps and their I/O continue"
        };
        let stopped = Notice::new(codes::AGENT_STOPPED, "agent", &[("effect", effect)]);
        self.dispatcher.notify(self.now(), &stopped);
        // Before `dispatcher` is dropped, so that a thread of it that waits for space in the inbox sees that it is closed.
        drop(inputs);
    }

    /// Waits for an input, until a timer of the world or of the journal is due, but not longer than `longest`, and
    /// handles the input.
    fn turn(&mut self, inputs: &Inputs, longest: Duration) -> Turn {
        let due = self.world.next_deadline();
        let due = due.map(|at| Duration::from_millis(at.since(self.now()).0));
        let wait = [due, self.recorder.due(), Some(longest)];
        match inputs.recv_timeout(wait.into_iter().flatten().min().unwrap_or(longest)) {
            Ok(Input::Events(events)) => self.take_in(events, inputs),
            Ok(Input::Notice(notice)) => self.dispatcher.notify(self.now(), &notice),
            Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return Turn::Last,
            Ok(Input::Asked) | Err(RecvTimeoutError::Timeout) => {}
        }
        Turn::Handled
    }

    fn run_timers(&mut self) {
        let due = self.world.next_deadline();
        if due.is_some_and(|at| at <= self.now()) {
            self.step(Event::Timer);
        }
        self.recorder.settle(self.now(), &self.world);
    }

    /// Handles events that arrived together. Answers a question after each of them: the paths of a whole host may have
    /// failed.
    fn take_in(&mut self, events: Vec<Event>, inputs: &Inputs) {
        let (mut began, mut now) = (Instant::now(), self.now());
        for event in events {
            self.act_on(now, event);
            // A question always wakes the owner, so an empty inbox means that there is none; this check is cheaper.
            if inputs.waiting() > 0
                && let Some(question) = inputs.question()
            {
                self.acted(began);
                self.reply_to(question, inputs.waiting());
                (began, now) = (Instant::now(), self.now());
            }
        }
        self.acted(began);
    }

    /// Answers a question; `waiting` is the number of inputs in the inbox.
    fn reply_to(&mut self, question: Question, waiting: usize) {
        // A caller that gave up does not take the answer; this is not an error.
        match question {
            Question::Call(request, reply) => {
                let answer = self.answer(&request);
                let _ = reply.try_send(answer);
            }
            Question::Rules(rules, reply) => {
                let loaded = RulesLoaded::from(self.world.check_rules(&rules));
                self.step(Event::RulesLoaded(rules));
                let _ = reply.try_send(Ok(serde_json::json!(loaded)));
            }
            Question::Snapshot(reply) => {
                let began = Instant::now();
                let world = Box::new(self.world.clone());
                let took = began.elapsed();
                self.health.busy += took;
                self.health.longest_step = self.health.longest_step.max(took);
                let _ = reply.try_send(Snapshot { world, took });
            }
            Question::Metrics(reply) => {
                let uptime = self.now();
                let _ = reply.try_send(Picture {
                    figures: self.world.figures(uptime),
                    health: Health {
                        uptime,
                        waiting,
                        ..self.health
                    },
                });
            }
        }
    }

    fn answer(&mut self, request: &Request) -> Result<serde_json::Value, ApiError> {
        match request {
            Request::Change(request) => {
                let (change, answer) = change(&self.world, request)?;
                self.step(Event::Change(Box::new(change)));
                Ok(answer)
            }
            Request::ListEvents(asked) => {
                let events = self.dispatcher.recent_events.list(&self.world, asked)?;
                serde_json::to_value(events).map_err(|error| ApiError::Failed {
                    reason: error.to_string(),
                })
            }
            question => {
                let sources = (self.dispatcher.transport(), self.dispatcher.watching());
                answer(&self.world, self.now(), &sources, question)
            }
        }
    }

    /// Handles one event and everything that follows from it immediately.
    fn step(&mut self, event: Event) {
        let began = Instant::now();
        self.act_on(self.now(), event);
        self.acted(began);
    }

    fn act_on(&mut self, now: Millis, event: Event) {
        let (mut next, mut queue) = (Some(event), VecDeque::new());
        while let Some(event) = next {
            self.maps_changed |= matches!(
                event,
                Event::MapSeen(_)
                    | Event::MapGone(_)
                    | Event::MapsListed(_)
                    | Event::MapDone { .. }
                    | Event::Change(_)
                    | Event::RulesLoaded(_)
            );
            self.recorder.event(now, &event);
            let actions = self.world.step(now, event);
            self.recorder.actions(&actions);
            for action in actions {
                // An answer that is known immediately (a path whose last command is still out) is handled next.
                queue.extend(self.dispatcher.carry_out(now, action));
            }
            next = queue.pop_front();
        }
    }

    /// Finishes the step that began at `began`: sends all commands that it queued together.
    fn acted(&mut self, began: Instant) {
        self.dispatcher.flush();
        let took = began.elapsed();
        self.health.steps += 1;
        self.health.busy += took;
        self.health.longest_step = self.health.longest_step.max(took);
    }

    /// Hands over the state for the backstop: soon after maps changed, and periodically.
    fn keep_maps(&mut self) {
        let since = self.kept_at.map(|at| at.elapsed());
        let pause = if self.maps_changed {
            KEEP_AGAIN
        } else {
            KEEP_ANYWAY
        };
        if !self.world.has_started() || since.is_some_and(|since| since < pause) {
            return;
        }
        self.maps_changed = false;
        self.kept_at = Some(Instant::now());
        self.dispatcher.keep(self.world.kept_maps());
    }

    fn end_queueing(&mut self, inputs: &Inputs) {
        let left = farewell::end_queueing(
            self.world.queueing_maps(),
            |map, ticket, steps| self.dispatcher.submit(map, ticket, steps),
            |wait| inputs.recv_timeout(wait),
            farewell::WITHIN,
        );
        for map in left {
            let effect = [(
                "effect",
                "I/O that waits for its paths may hang the shutdown",
            )];
            let notice = Notice::new(codes::QUEUEING_NOT_ENDED, map, &effect);
            self.dispatcher.notify(self.now(), &notice);
        }
    }

    /// Refills the memory reserve while no device is without paths and nothing is pending. Once paths are lost, memory
    /// may not be available any more.
    fn reserve_memory(&mut self) {
        if !self.ready || Instant::now() < self.reserve_at {
            return;
        }
        let all_serve = self.world.devices().all(|device| device.apd() == Apd::No);
        if !all_serve || !self.world.is_settled() {
            self.reserve_at = Instant::now() + RESERVE_LATER;
            return;
        }
        self.reserve_at = Instant::now() + RESERVE;
        if let Some(notice) = privilege::reserve(self.world.paths().count()) {
            self.dispatcher.notify(self.now(), &notice);
        }
    }

    fn notify_systemd(&mut self, watchdog: Option<Duration>, pinged: &mut Instant) {
        use sd_notify::NotifyState;
        if !self.ready && (self.world.is_settled() || self.origin.elapsed() > READY_WITHIN) {
            self.ready = true;
            self.dispatcher.decided();
            let maps = self
                .world
                .devices()
                .filter(|d| self.world.map_of(d.wwid()).is_some())
                .count();
            let took = self.now();
            let loaded = self.world.counters().tables_loaded.to_string();
            let (maps, took) = (maps.to_string(), took.0.to_string());
            let details = [
                ("maps", maps.as_str()),
                ("tables_loaded", &loaded),
                ("after_ms", &took),
            ];
            self.dispatcher.notify(
                self.now(),
                &Notice::new(codes::AGENT_READY, "agent", &details),
            );
            // Fails without systemd, which is not an error.
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
        if watchdog.is_some_and(|interval| pinged.elapsed() >= interval) {
            *pinged = Instant::now();
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }
}
