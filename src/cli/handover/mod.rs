//! `psactl adopt` and `psactl release`: hand the multipath maps of a running host from multipathd to the agent, and
//! back.
//!
//! A map belongs to neither daemon: it is an object of the kernel, which both recognize by its UUID. So a handover stops
//! one daemon, exchanges the udev rules, and starts the other, while I/O goes on. Invariants: the two never run at the
//! same time; no map loses its queueing, its name or a path; a step that fails is undone together with those before it.
//! Test: `tests/lab/scenario/38-handover.sh`.

pub(crate) mod adopt;
mod files;
mod foresee;
pub(crate) mod release;

pub(crate) use files::DROP_IN;

use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use crate::compat::client::ask_once;
use crate::kernel::NoticeSink;
use crate::kernel::backstop::Backstop;
use crate::kernel::dm::client::Client;
use crate::kernel::dm::multipath_maps;
use crate::psa::action::MapStep;
use crate::psa::memory::Memory;
use crate::psa::rules::Rules;
use crate::psa::settings::Settings;
use crate::psa::table::model::{Map, MapId, Message, Table};
use crate::psa::units::DevT;
use nix::sys::signal::{SigSet, Signal};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The units of multipathd. The socket comes first: while it is active, any call of `multipath` starts the service.
const MULTIPATHD: [&str; 2] = ["multipathd.socket", "multipathd.service"];

/// By what an agent that starts decides.
pub(crate) struct Decisions {
    pub(crate) rules: Rules,
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
}

/// The unit of the agent.
const AGENT: &str = "dm-psa.service";

/// How long a daemon may take until it is ready, and udev until it has processed its events.
const READY: Duration = Duration::from_secs(120);

/// Runs a program without a shell. Its output is shown only if it fails.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        // Ctrl-C must not end it.
        .process_group(0)
        .output();
    let said = |what: String| format!("`{program} {}`: {what}", arguments.join(" "));
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(said(if why.is_empty() {
                output.status.to_string()
            } else {
                why
            }))
        }
        Err(why) => Err(said(why.to_string())),
    }
}

fn systemctl(arguments: &[&str]) -> Result<String, String> {
    run("systemctl", arguments)
}

/// Does this with both units of multipathd. A name that is ours is left out.
fn multipathd(verb: &str) -> Result<(), String> {
    let units = if is_name_ours() {
        &MULTIPATHD[..1]
    } else {
        &MULTIPATHD
    };
    systemctl(&[[verb].as_slice(), units].concat()).map(drop)
}

/// Puts the udev rules of one side into force and masks those of the other.
fn exchange_rules(in_force: &[&str], masked: &[&str]) -> Result<(), String> {
    let root = Path::new("/");
    files::unmask(root, in_force)
        .and_then(|()| files::mask(root, masked))
        .map_err(|why| why.to_string())?;
    run("udevadm", &["control", "--reload"]).map(drop)
}

fn is_active(unit: &str) -> bool {
    systemctl(&["is-active", "--quiet", unit]).is_ok()
}

/// Whether `multipathd.service` is another name of the unit of the package dm-psa-multipath.
fn is_name_ours() -> bool {
    let name = systemctl(&["show", "-p", "Id", "--value", "multipathd.service"]);
    name.as_deref() == Ok("dm-psa-multipath.service")
}

/// Whether there is a unit of multipathd of multipath-tools.
fn is_multipathd_installed() -> bool {
    !is_name_ours() && systemctl(&["cat", "multipathd.service"]).is_ok()
}

/// Whether multipathd of multipath-tools runs.
fn is_multipathd_active() -> bool {
    is_multipathd_installed() && is_active("multipathd.service")
}

/// What must be true of every host on which a handover is made.
fn check_host() -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::Refused(why.to_owned()));
    if !nix::unistd::geteuid().is_root() {
        return refused("only root can hand maps over: run this as root");
    }
    if !Path::new("/run/systemd/system").is_dir() {
        return refused(
            "this host does not run systemd, by whose units the daemons are stopped and started",
        );
    }
    Ok(())
}

/// Holds signals back. A handover must not end in the middle, where no daemon runs: not by Ctrl-C, and not because the
/// connection of the terminal is lost. Programs that are started do not inherit this.
fn hold_signals() {
    let mut held = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        held.add(signal);
    }
    // It fails only if the operation is invalid.
    let _ = held.thread_block();
}

/// device-mapper, for what both daemons share.
fn device_mapper() -> Result<Client, Failure> {
    Client::open(NoticeSink::discard()).map_err(|why| Failure::Refused(why.to_string()))
}

fn maps(client: &Client) -> Result<Vec<Map>, Failure> {
    multipath_maps(client).map_err(|why| Failure::Refused(why.to_string()))
}

fn table(map: &Map) -> Option<&Table> {
    map.table.as_ref().ok()
}

fn queues(map: &Map) -> bool {
    table(map).is_some_and(|table| table.features.queue_if_no_path)
}

fn disks(map: &Map) -> BTreeSet<DevT> {
    let paths = table(map).into_iter().flat_map(Table::paths);
    paths.map(|path| path.dev).collect()
}

/// Stops multipathd. Maps keep queueing: without this order, multipathd ends the queueing of all maps when it stops. It
/// forgets the order when it starts.
fn stop_multipathd() -> Result<(), String> {
    match ask_once("forcequeueing daemon") {
        Ok(reply) if reply.trim() == "ok" => {}
        Ok(reply) => {
            return Err(format!(
                "multipathd refuses to keep queueing: {}",
                reply.trim()
            ));
        }
        Err(why) => return Err(format!("multipathd does not answer: {why}")),
    }
    multipathd("stop")?;
    match MULTIPATHD.iter().find(|unit| is_active(unit)) {
        Some(unit) => Err(format!("{unit} is still active")),
        None => Ok(()),
    }
}

/// Stops the agent. The kernel's limit of queueing was for maps that the agent handles.
fn stop_agent() -> Result<(), String> {
    systemctl(&["stop", AGENT])?;
    let limit = Backstop::below(Path::new("/"));
    match limit.want(None) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(format!(
            "the kernel's limit of queueing was not reset: {why}"
        )),
        _ => Ok(()),
    }
}

/// Has every map queue that queued before, and warns of those that did not.
fn keep_queueing(context: &mut Context, client: &Client, before: &[Map]) -> Result<(), Failure> {
    for map in maps(client)? {
        let queued = before.iter().any(|old| old.uuid == map.uuid && queues(old));
        if !queued || queues(&map) {
            continue;
        }
        let id = MapId {
            name: map.name.clone(),
            uuid: map.uuid,
        };
        let steps = [MapStep::Message(Message::QueueIfNoPath)];
        client
            .execute(&id, &steps)
            .map_err(|why| Failure::Refused(format!("{}: {why}", map.name)))?;
        context.warn([format!("{}: queueing was off for a moment", map.name)]);
    }
    Ok(())
}

/// What became worse for a map: it is gone, was renamed, or has lost a path.
fn harmed(before: &[Map], after: &[Map]) -> Vec<String> {
    let each = before.iter().filter_map(|old| {
        let Some(new) = after.iter().find(|new| new.uuid == old.uuid) else {
            return Some(format!("{} is gone", old.name));
        };
        if new.name != old.name {
            return Some(format!("{} was renamed to {}", old.name, new.name));
        }
        let (had, has) = (disks(old), disks(new));
        let lost: Vec<String> = had.difference(&has).map(DevT::to_string).collect();
        (!lost.is_empty()).then(|| format!("{} has lost {}", old.name, lost.join(", ")))
    });
    each.collect()
}

/// Has udev process the disks again, because other rules give them other properties.
fn retrigger(disks: &BTreeSet<DevT>) -> Result<(), String> {
    let names = disks.iter().filter_map(|dev| {
        let link = std::fs::read_link(format!("/sys/dev/block/{dev}")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    });
    let names: Vec<String> = names
        .map(|name| format!("--sysname-match={name}"))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["trigger", "--action=change", "--subsystem-match=block"];
    arguments.extend(names.iter().map(String::as_str));
    run("udevadm", &arguments)?;
    run("udevadm", &["settle", "--timeout=120"]).map(drop)
}

/// Waits until something is true.
fn wait_until(mut is_true: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + READY;
    while !is_true() {
        if Instant::now() >= until {
            return false;
        }
        sleep(Duration::from_millis(200));
    }
    true
}

/// Undoes a step.
type Undo = Box<dyn Fn() -> Result<(), String>>;

/// The steps of a handover, with what undoes each of them.
#[derive(Default)]
struct Handover {
    undo: Vec<(&'static str, Undo)>,
}

impl Handover {
    /// Makes a step, and says so. If it fails, all steps are undone, this one too, as far as it was made.
    fn step(
        &mut self,
        context: &Context,
        what: &'static str,
        make: impl FnOnce() -> Result<(), String>,
        undo: impl Fn() -> Result<(), String> + 'static,
    ) -> Result<(), Failure> {
        // The terminal may be gone, which must not stop the handover.
        let _ = context.print(&Listing::lines([what.to_owned()]));
        self.undo.push((what, Box::new(undo)));
        make().map_err(|why| self.fail(&why))
    }

    /// Undoes everything, last step first. Returns the failure for the admin.
    fn fail(&mut self, why: &str) -> Failure {
        let mut left = String::new();
        while let Some((what, undo)) = self.undo.pop() {
            if let Err(why) = undo() {
                left += &format!("\nnot undone: {what}: {why}");
            }
        }
        Failure::Refused(if left.is_empty() {
            format!("{why}\nthe steps before were undone")
        } else {
            format!("{why}{left}\nmake sure that one of multipathd.service and dm-psa.service runs")
        })
    }
}

/// A map with this table, for tests.
#[cfg(test)]
fn map(name: &str, uuid: &str, params: &str) -> Map {
    let length = crate::psa::units::Sectors(8);
    let table = crate::psa::table::parse::parse(length, params);
    Map::sample(name, uuid, table.map_err(|why| why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn harm_to_a_map_is_named() {
        let two = "0 0 1 1 service-time 0 2 0 8:0 8:16";
        let before = [
            map("a", "mpath-1", two),
            map("b", "mpath-2", two),
            map("c", "mpath-3", two),
        ];
        assert_eq!(harmed(&before, &before), Vec::<String>::new());
        let more = "0 0 1 1 service-time 0 3 0 8:16 8:0 8:32";
        let after = [
            map("a", "mpath-1", more),
            map("z", "mpath-2", two),
            map("new", "mpath-9", two),
        ];
        assert_eq!(harmed(&before, &after), ["b was renamed to z", "c is gone"]);
        let less = map("a", "mpath-1", "0 0 1 1 service-time 0 1 0 8:0");
        assert_eq!(harmed(&before[..1], &[less]), ["a has lost 8:16"]);
    }

    #[test]
    fn a_failed_step_undoes_those_before_it() {
        use std::cell::RefCell;
        use std::rc::Rc;
        let undone = Rc::new(RefCell::new(Vec::new()));
        let mut handover = Handover::default();
        for n in [1, 2] {
            let undone = Rc::clone(&undone);
            handover.undo.push((
                "a step",
                Box::new(move || {
                    undone.borrow_mut().push(n);
                    if n == 1 {
                        Err("why".to_owned())
                    } else {
                        Ok(())
                    }
                }),
            ));
        }
        let Failure::Refused(text) = handover.fail("it broke") else {
            panic!("another failure");
        };
        assert_eq!(*undone.borrow(), [2, 1]);
        assert!(
            text.starts_with("it broke\nnot undone: a step: why\n"),
            "{text}"
        );
    }
}
