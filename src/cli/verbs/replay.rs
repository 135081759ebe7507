//! `replay` and `journal save`: show or save what the agent of a host received and did, from its journal. No agent is
//! needed.

use super::arguments::{flag, option, text};
use super::events;
use super::verb::Verb;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::layout::listing;
use crate::cli::layout_events::ReplayLine;
use crate::cli::record::Listing;
use crate::journal::{
    Damage, Difference, Finish, Header, Replay, SUFFIX, Segment, Step, Stop, archive,
};
use crate::psa::action::{Action, MapStep};
use crate::psa::event::{Event, IoTrouble};
use crate::psa::table::emit::emit;
use crate::psa::table::model::Table;
use crate::psa::units::Hctl;
use crate::psa::world::World;
use clap::{Arg, ArgMatches, value_parser};
use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The maximum size of a file. The largest journal that can be configured is four times as long, in several files.
const LIMIT: u64 = 1 << 30;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        words: &["journal", "save"],
        about: "Copy the journal of the agent into one file, for a bug report",
        arguments: &[file],
        run: save,
        legacy: false,
    },
    Verb {
        words: &["replay"],
        about: "Show the recorded input and actions of an agent, and check whether this build would decide the same",
        arguments: &[source, device, from, to, verbose],
        run: replay,
        legacy: false,
    },
];

fn file() -> Arg {
    Arg::new("file")
        .required(true)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("A new file. It will contain names, addresses and serial numbers of disks and arrays, settings and rules, but no data and no passwords")
}

fn source() -> Arg {
    Arg::new("source")
        .value_name("FILE|DIR")
        .value_parser(value_parser!(PathBuf))
        .help("A file of `psactl journal save`, one segment of a journal, or a directory of segments [default: the journal of this host]")
}

fn device() -> Arg {
    option(
        "device",
        Some('d'),
        "DEVICE",
        "Show only this device and its paths; everything is replayed",
    )
}

fn from() -> Arg {
    option(
        "from",
        None,
        "TIME",
        "Show only what happened since then, as --since of `psactl events`",
    )
}

fn to() -> Arg {
    option("to", None, "TIME", "Show only what happened up to then")
}

fn verbose() -> Arg {
    flag(
        "verbose",
        Some('v'),
        "Show every event and every action, including checks",
    )
}

fn refused(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Refused(format!("{}: {why}", path.display()))
}

/// Reads a file of a journal.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|why| refused(path, why))?;
    let read = file.take(LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|why| refused(path, why))?;
    if bytes.len() as u64 > LIMIT {
        return Err(refused(
            path,
            format!("the file is longer than {LIMIT} bytes, so it is not a journal"),
        ));
    }
    Ok(bytes)
}

/// The segments in a directory, oldest first.
fn segments(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(folder).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => refused(
            folder,
            "there is no journal: the agent did not run, or `journal_mib` is 0",
        ),
        _ => refused(folder, why),
    })?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|why| refused(folder, why))?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            found.push(path);
        }
    }
    // Their names are numbers of ten digits.
    found.sort();
    if found.is_empty() {
        return Err(refused(folder, "it contains no segment of a journal"));
    }
    Ok(found)
}

fn save(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let target = given
        .get_one::<PathBuf>("file")
        .cloned()
        .unwrap_or_default();
    let folder = context.places().journal();
    let found = segments(&folder)?;
    let failed = |why: io::Error| refused(&target, why);
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&target)
        .map_err(failed)?;
    let (mut count, mut bytes) = (0_u64, 0_u64);
    out.write_all(&archive::begin()).map_err(failed)?;
    for path in &found {
        // The agent may remove the oldest segment meanwhile.
        let Ok(segment) = read(path) else {
            context.partly(format!(
                "{} was removed while the journal was copied",
                path.display()
            ));
            continue;
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        out.write_all(archive::head(&name, segment.len()).as_bytes())
            .map_err(failed)?;
        out.write_all(&segment).map_err(failed)?;
        count += 1;
        bytes += segment.len() as u64;
    }
    out.sync_all().map_err(failed)?;
    Ok(Listing::lines([
        format!(
            "{} contains {count} segments ({bytes} bytes): names, addresses and serial numbers of disks and arrays,",
            target.display()
        ),
        "settings and rules, but no data and no passwords. `psactl replay` shows it.".to_owned(),
    ]))
}

/// The source of a segment.
enum Source {
    File(PathBuf),
    Bytes(String, Vec<u8>),
}

/// The segments to replay.
fn sources(path: &Path) -> Result<VecDeque<Source>, Failure> {
    if path.is_dir() {
        return Ok(segments(path)?.into_iter().map(Source::File).collect());
    }
    let bytes = read(path)?;
    if !bytes.starts_with(archive::MAGIC) {
        return Ok([Source::Bytes(path.display().to_string(), bytes)].into());
    }
    let members = archive::members(&bytes).map_err(|at| {
        refused(
            path,
            format!("at byte {at}: no segment begins here; the file is damaged, or was changed"),
        )
    })?;
    if members.is_empty() {
        return Err(refused(path, "it contains no segment of a journal"));
    }
    let members = members.into_iter();
    Ok(members
        .map(|one| Source::Bytes(one.name.to_owned(), one.bytes.to_vec()))
        .collect())
}

/// The lines to show, and how they are selected.
struct View {
    device: Option<String>,
    from_ms: u64,
    to_ms: u64,
    verbose: bool,
    /// Names of the device and its paths, as the world has them.
    names: BTreeSet<String>,
    /// Whether the device was known at any time.
    found: bool,
    lines: Vec<ReplayLine>,
    /// The current time of the replay, in ms since 1970.
    now_ms: u64,
}

fn replay(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let own = context.places().journal();
    let mut sources = sources(given.get_one::<PathBuf>("source").unwrap_or(&own))?;
    let at = |name: &str| {
        text(given, name)
            .map(|text| events::time(&text))
            .transpose()
    };
    let mut view = View {
        device: text(given, "device"),
        from_ms: at("from")?.unwrap_or(0),
        to_ms: at("to")?.unwrap_or(u64::MAX),
        verbose: given.get_flag("verbose"),
        names: BTreeSet::new(),
        found: false,
        lines: Vec::new(),
        now_ms: 0,
    };
    let mut replay = Replay::default();
    let (mut ended, mut damaged) = (false, false);
    // One segment at a time, because a journal may contain a million events.
    context.go_on(Box::new(move |context| {
        if ended {
            return Ok(None);
        }
        let Some(source) = sources.pop_front() else {
            ended = true;
            if let Some(device) = view.device.as_ref().filter(|_| !view.found) {
                context.warn([format!(
                    "the journal does not contain {device}: nothing was shown for it"
                )]);
            }
            if damaged && replay.events == 0 {
                return Err(Failure::Refused(
                    "no event of the journal can be read, so nothing was compared".to_owned(),
                ));
            }
            let verdict = format!(
                "identical{}: {} events gave the {} actions that were recorded",
                if damaged {
                    " as far as the journal can be read"
                } else {
                    ""
                },
                replay.events,
                replay.actions
            );
            return Ok(Some(Listing::lines([verdict])));
        };
        let (name, bytes) = match source {
            Source::Bytes(name, bytes) => (name, bytes),
            Source::File(path) => match read(&path) {
                Ok(bytes) => (path.display().to_string(), bytes),
                Err(why) => {
                    context.partly(why.to_string());
                    return Ok(Some(Listing::lines([])));
                }
            },
        };
        let stop = one(&mut replay, &bytes, &mut view, &name).err();
        if let Some(stop) = stop {
            // The content of a damaged segment is lost; the segments after it begin with a world of their own.
            let differs = matches!(stop, Stop::Differs(_));
            ended = differs;
            damaged |= !differs;
            let said = said(&replay, stop);
            match said.first().filter(|_| !differs) {
                Some(first) => context.partly(format!("{name}: {first}")),
                None => context.says_no(),
            }
            let time_ms = view.now_ms;
            view.lines.extend(said.into_iter().map(|text| ReplayLine {
                time_ms,
                kind: "journal",
                subject: name.clone(),
                text,
            }));
        }
        let shown = listing(&std::mem::take(&mut view.lines));
        Ok(Some(shown))
    }));
    Ok(Listing::lines([]))
}

/// Replays a segment.
fn one(replay: &mut Replay, bytes: &[u8], view: &mut View, name: &str) -> Result<(), Stop> {
    let segment = Segment::open(bytes)?;
    view.begins(name, &segment);
    let header = segment.header.clone();
    let mut last = header.at;
    let finish = replay.segment(segment, |header, world, step| {
        last = step.at;
        view.step(header, world, step);
    })?;
    let text = match finish {
        Finish::Closed(why) => format!("ends: {why}"),
        Finish::Open => "has no end record: the agent was killed or is still writing it".to_owned(),
        Finish::Cut(offset) => {
            format!("is truncated in the block at byte {offset}; everything before it was replayed")
        }
    };
    view.line(header.wall(last), "journal", name, text, true);
    Ok(())
}

/// Describes what went wrong, for the user.
fn said(replay: &Replay, stop: Stop) -> Vec<String> {
    let before = format!(
        "{} events before it gave the {} actions that were recorded",
        replay.events, replay.actions
    );
    match stop {
        Stop::Damaged(Damage { offset, what }) => vec![
            format!("cannot be read from byte {offset} on: {what}"),
            before,
        ],
        Stop::Differs(Difference::World { at, piece }) => vec![
            format!(
                "different: at {} ms the segment begins with another state than the previous segment ended with (piece {piece})",
                at.0
            ),
            before,
        ],
        Stop::Differs(Difference::Actions { step, now }) => {
            let at = format!(
                "different at {} ms, at the event {}",
                step.at.0,
                json(&step.event)
            );
            let mut lines = vec![at];
            let pairs = step.actions.len().max(now.len());
            if let Some(n) = (0..pairs).find(|n| step.actions.get(*n) != now.get(*n)) {
                let none = || "nothing".to_owned();
                lines.push(format!(
                    "recorded: {}",
                    step.actions.get(n).map_or_else(none, json)
                ));
                lines.push(format!("now:      {}", now.get(n).map_or_else(none, json)));
            }
            lines.push(before);
            lines
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|why| why.to_string())
}

impl View {
    fn line(
        &mut self,
        time_ms: u64,
        kind: &'static str,
        subject: &str,
        text: String,
        wanted: bool,
    ) {
        if wanted && (self.from_ms..=self.to_ms).contains(&time_ms) {
            let subject = subject.to_owned();
            self.lines.push(ReplayLine {
                time_ms,
                kind,
                subject,
                text,
            });
        }
    }

    fn begins(&mut self, name: &str, segment: &Segment) {
        let (header, world) = (&segment.header, &segment.world);
        let mut text = format!(
            "segment {} of dm-psad {}, started {}: {} paths, {} devices",
            header.number,
            header.program,
            crate::cli::when::text(header.agent_started_ms),
            world.paths().count(),
            world.devices().count()
        );
        if header.lost_events > 0 {
            text += &format!(
                "; {} events before it were not recorded",
                header.lost_events
            );
        }
        self.line(header.wall_ms, "journal", name, text, true);
        self.names.clear();
        self.now_ms = header.wall_ms;
        self.learn(world);
    }

    /// Adds the names that the device and its paths have now.
    fn learn(&mut self, world: &World) {
        let Some(name) = &self.device else {
            return;
        };
        let by_path = || world.device_of(world.find_path(name)?);
        if let Some(device) = world.find_device(name).or_else(by_path) {
            self.names.extend(world.names_of(device));
            self.found = true;
        }
    }

    fn is_about(&self, subjects: &[&str]) -> bool {
        self.device.is_none() || subjects.iter().any(|subject| self.names.contains(*subject))
    }

    fn step(&mut self, header: &Header, world: &World, step: &Step) {
        self.now_ms = header.wall(step.at);
        let quiet = |action: &Action| matches!(action, Action::Examine(_));
        let is_quiet = step.actions.iter().all(quiet)
            && matches!(step.event, Event::Examined(_) | Event::Timer);
        if !is_quiet {
            self.learn(world);
        } else if !self.verbose {
            return;
        }
        let time_ms = self.now_ms;
        if self.verbose {
            let (subject, text) = event(&step.event);
            let wanted = self.is_about(&[&subject]);
            self.line(time_ms, "event", &subject, text, wanted);
        }
        for action in &step.actions {
            match action {
                Action::Notify(notice) => {
                    let details = notice.details.iter();
                    let text = details.map(|(name, value)| format!(" {name}={value}"));
                    let text = format!(
                        "{} {}{}",
                        notice.severity.as_str(),
                        notice.code,
                        text.collect::<String>()
                    );
                    let mut subjects = vec![notice.subject.as_str()];
                    let of = |name: &&(String, String)| name.0 == "device" || name.0 == "map";
                    subjects.extend(
                        notice
                            .details
                            .iter()
                            .filter(of)
                            .map(|(_, value)| value.as_str()),
                    );
                    let wanted = self.is_about(&subjects);
                    self.line(time_ms, "notice", &notice.subject, text, wanted);
                }
                Action::Map { map, steps, .. } => {
                    let name = map.name.as_str();
                    let wanted = self.is_about(&[name])
                        && (self.verbose || steps.iter().any(|step| *step != MapStep::Observe));
                    let text = steps.iter().map(map_step).collect::<Vec<_>>().join("; ");
                    self.line(time_ms, "map", name, text, wanted);
                }
                other if self.verbose => {
                    let (subject, text) = quiet_action(other);
                    let wanted = self.is_about(&[&subject]);
                    self.line(time_ms, "action", &subject, text, wanted);
                }
                _ => {}
            }
        }
    }
}

fn map_step(step: &MapStep) -> String {
    let table = |table: &Table| emit(table).unwrap_or_else(|why| format!("no table: {why}"));
    let load = |verb: &str, next: &Table, read_only: bool| {
        let how = if read_only { "-read-only" } else { "" };
        format!("{verb}{how} {}", table(next))
    };
    match step {
        MapStep::Create {
            table, read_only, ..
        } => load("create", table, *read_only),
        MapStep::Reload {
            table, read_only, ..
        } => load("reload", table, *read_only),
        MapStep::Resume => "resume".to_owned(),
        MapStep::Message(message) => format!("message {message}"),
        MapStep::Remove => "remove".to_owned(),
        MapStep::Observe => "observe".to_owned(),
    }
}

/// The subject of an event, and its text.
fn event(event: &Event) -> (String, String) {
    let path = |path: &Hctl| path.to_string();
    match event {
        Event::Timer => (String::new(), "timer".to_owned()),
        Event::Examined(examination) => {
            let replies = examination.replies.iter();
            let replies = replies.map(|reply| {
                format!(
                    "{}: {}, {} bytes",
                    reply.command,
                    reply.outcome,
                    reply.data.len()
                )
            });
            let text = format!(
                "answer {}: {}",
                examination.ticket,
                replies.collect::<Vec<_>>().join("; ")
            );
            (path(&examination.path), text)
        }
        Event::PathSeen(facts) => (path(&facts.hctl), json(event)),
        Event::PathGone(hctl) | Event::UnitAttention { path: hctl, .. } => {
            (path(hctl), json(event))
        }
        Event::IoTrouble { what, .. } => (place(what), json(event)),
        Event::MapSeen(map) => (map.name.clone(), json(event)),
        Event::MapGone(name) | Event::MapDone { map: name, .. } => (name.clone(), json(event)),
        Event::FabricNotification { .. }
        | Event::PathsListed(_)
        | Event::IoTroubleLost(_)
        | Event::MapsListed(_)
        | Event::DisksFound(_)
        | Event::OutagesRecalled(_)
        | Event::TakeoversRecalled(_)
        | Event::RulesLoaded(_)
        | Event::Change(_) => (String::new(), json(event)),
    }
}

/// The subject of an error of ordinary I/O.
fn place(what: &IoTrouble) -> String {
    match what {
        IoTrouble::GivenUp { disk, .. } => disk.to_string(),
        IoTrouble::Ended { path, .. } | IoTrouble::TimedOut(path) | IoTrouble::NotTaken(path) => {
            path.to_string()
        }
        IoTrouble::HostRecovers(host) => format!("host{host}"),
    }
}

/// The subject and text of an action that is neither a notice nor a change of a map.
fn quiet_action(action: &Action) -> (String, String) {
    match action {
        Action::Examine(asked) => {
            let commands: Vec<String> = asked.commands.iter().map(ToString::to_string).collect();
            (
                asked.path.to_string(),
                format!("ask {}: {}", asked.ticket, commands.join("; ")),
            )
        }
        Action::RefreshFacts(path)
        | Action::RescanDevice(path)
        | Action::ScanFor(path)
        | Action::DeleteDevice { path, .. }
        | Action::SetPortTimers { path, .. } => (path.to_string(), json(action)),
        Action::MarkOwner { name, .. } => (name.clone(), json(action)),
        _ => (String::new(), json(action)),
    }
}
