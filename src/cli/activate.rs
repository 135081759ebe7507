//! `psactl activate`: has `dm-psad --once` make the maps of this host, within a bounded time.
//!
//! The agent runs as a process of its own. If one of its threads hangs in the kernel, on a disk that does not answer,
//! that process cannot end, but this one can: no boot waits for it.

use super::context::Context;
use super::exit::Failure;
use super::layout::listing;
use super::record::Listing;
use crate::api::activation::Activation;
use crate::api::client::{Client, socket_path};
use crate::kernel::id;
use crate::kernel::sysfs::Sysfs;
use crate::psa::names::Wwid;
use crate::psa::state::initramfs::Scope;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What the agent needs of the kernel, and the device handlers of arrays. All but the first three may be missing.
const MODULES: &[&str] = &[
    "dm_multipath",
    "sg",
    "sd_mod",
    "dm_round_robin",
    "dm_queue_length",
    "dm_service_time",
    "scsi_dh_alua",
    "scsi_dh_rdac",
    "scsi_dh_emc",
    "scsi_dh_hp_sw",
];

/// How long after its time the agent may take to finish the map that it is changing, and to start on a slow machine.
const GRACE: Duration = Duration::from_secs(15);

/// How long modprobe may take. A module that is being loaded may wait for a disk.
const MODPROBE: Duration = Duration::from_secs(20);

/// How long the agent may take to end after it printed its result.
const ENDS: Duration = Duration::from_secs(5);

/// How long the second run may take, if the first did not find what it was to find.
const AGAIN: Duration = Duration::from_secs(10);

/// How long to wait in silence, before the console shows what the boot waits for.
const SILENT: Duration = Duration::from_secs(3);

/// What is to be activated.
pub(super) struct Request {
    /// The devices to wait for.
    pub wait_for: BTreeSet<Wwid>,
    /// What is decided on; the agent of the root file system decides on other devices.
    pub scope: Scope,
    /// The root file system was looked for and not found.
    pub root_is_missing: bool,
    /// The longest time to wait.
    pub within: Duration,
    /// Where the messages of the agent go, instead of standard error.
    pub log: Option<PathBuf>,
}

impl Request {
    /// A second run, which waits for nothing.
    fn again(&self, scope: Scope) -> Request {
        Request {
            wait_for: BTreeSet::new(),
            scope,
            root_is_missing: false,
            within: AGAIN,
            log: self.log.clone(),
        }
    }
}

/// Makes the maps of this host.
pub(super) fn activate(context: &mut Context, request: &Request) -> Result<Listing, Failure> {
    let host = context.host()?;
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::Refused(
            "only root can make maps: run this as root".to_owned(),
        ));
    }
    if let Some(word) = turned_off(&host) {
        return Ok(nothing(&format!(
            "`{word}` on the kernel command line turns multipathing off. No map was made"
        )));
    }
    if Client::connect(&socket_path(None), Duration::from_secs(5)).is_ok() {
        return Ok(nothing("dm-psad is running and makes the maps"));
    }
    if is_multipathd_running(&host) {
        return Err(Failure::Refused(
            "multipathd is running, and both must not manage the same maps: stop it first, or take its maps over with \
             `psactl adopt`"
                .to_owned(),
        ));
    }
    // A module that is built in, or that this kernel does not have, is not an error. If a required one is missing, the
    // agent says so.
    let modprobe = Command::new("modprobe")
        .args(["-q", "-a"])
        .args(MODULES)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    // Without the program the modules may be there.
    if let Ok(mut modprobe) = modprobe {
        ends(&mut modprobe, MODPROBE);
    }
    let mut activation = run(request).inspect_err(|_| {
        // No agent decides on the disks of this boot, so they must not stay hidden.
        match id::show_undecided(Path::new("/")) {
            Ok(what) => eprint!("{what}"),
            Err(why) => eprintln!("psactl: {why}"),
        }
    })?;
    let is_known_only = request.scope == Scope::Known;
    if is_known_only && activation.missing.len() == request.wait_for.len() {
        context.warn([
            "none of the devices that the initramfs expects is there: the root file system may be on another one now, so all \
             devices get their maps. Make a new initramfs afterwards"
                .to_owned(),
        ]);
        activation.maps = run(&request.again(Scope::All))?.maps;
    } else if is_known_only && request.root_is_missing && activation.missing.is_empty() {
        // A disk without a map may be a part of it: of its volume group, or of an array.
        run(&request.again(Scope::KnownAndUnmapped))?;
    }
    for wwid in &activation.missing {
        context.partly(format!(
            "{wwid} has no map: none of its paths was found within {} s, or no rule lets the agent have it. \
             `psactl explain` says more once the agent runs",
            request.within.as_secs()
        ));
    }
    if !activation.settled {
        context.warn([format!(
            "not everything was decided within {} s: a disk does not answer, or the host is slow",
            request.within.as_secs()
        )]);
    }
    if activation.maps.is_empty() {
        return Ok(nothing("no device of this host gets a map"));
    }
    Ok(listing(&activation.maps))
}

fn nothing(why: &str) -> Listing {
    Listing::lines([why.to_owned()])
}

/// The word on the kernel command line that turns multipathing off, as for the incumbent. The udev rule and the units heed the
/// same words.
fn turned_off(host: &Sysfs) -> Option<String> {
    let line = host.command_line();
    let is_dracut = host.is_initramfs_of_dracut();
    let is_off = |word: &&str| {
        *word == "nompath"
            || word.starts_with("nompath=")
            || *word == "multipath=off"
            || is_dracut && *word == "rd.multipath=0"
    };
    line.split_whitespace().find(is_off).map(str::to_owned)
}

fn is_multipathd_running(host: &Sysfs) -> bool {
    let mut processes = host.processes().into_iter();
    processes.any(|pid| {
        // The process of dm-psa-multipath has the same name.
        let program = fs::read_link(host.process(pid).join("exe")).unwrap_or_default();
        host.process_name(pid) == "multipathd" && !program.ends_with("dm-psa-multipath")
    })
}

/// The agent's program, next to this one.
fn program() -> PathBuf {
    let here = std::env::current_exe().ok();
    let beside = here.and_then(|here| Some(here.parent()?.join("dm-psad")));
    beside
        .filter(|file| file.exists())
        .unwrap_or_else(|| Path::new("/usr/sbin/dm-psad").to_owned())
}

/// Runs the agent once.
fn run(request: &Request) -> Result<Activation, Failure> {
    let program = program();
    let (wait_for, within, log) = (&request.wait_for, request.within, &request.log);
    let messages = log
        .as_ref()
        .map_or("above".to_owned(), |log| format!("in {}", log.display()));
    let failed = |what: &str| {
        Failure::Refused(format!(
            "`{} --once` {what}: see its messages {messages}",
            program.display()
        ))
    };
    let mut command = Command::new(&program);
    command.args(["--once", "--within", &within.as_secs().to_string()]);
    let mut words = Scope::WORDS.iter();
    if let Some((word, _)) = words.find(|(_, scope)| *scope == request.scope) {
        command.args(["--decide-on", word]);
    }
    for wwid in wait_for {
        command.args(["--wait-for", wwid.as_str()]);
    }
    let opened = log.as_ref().map(|log| {
        fs::create_dir_all(log.parent().unwrap_or(Path::new("/")))?;
        OpenOptions::new().create(true).append(true).open(log)
    });
    // Without the file the messages are better on the console than lost.
    if let Some(Ok(log)) = opened {
        command.stderr(log);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| Failure::Refused(format!("cannot run {}: {why}", program.display())))?;
    let lines = child.stdout.take().map(first_line);
    let lines = lines.ok_or_else(|| failed("has no output"))?;
    let silent = SILENT.min(within);
    let mut line = lines.recv_timeout(silent);
    if line == Err(RecvTimeoutError::Timeout) {
        let names: Vec<&str> = wait_for.iter().map(Wwid::as_str).collect();
        let what = match &*names {
            [] => "the disks to be identified".to_owned(),
            names => format!("the paths of {}", names.join(", ")),
        };
        eprintln!("psactl: waiting up to {} s for {what}", within.as_secs());
        line = lines.recv_timeout(within.saturating_sub(silent).saturating_add(GRACE));
    }
    let ended = ends(&mut child, ENDS);
    let line = line.map_err(|why| {
        failed(match why {
            RecvTimeoutError::Timeout => "does not end, and was given up",
            RecvTimeoutError::Disconnected => "failed",
        })
    })?;
    let activation =
        serde_json::from_str(&line).map_err(|why| failed(&format!("printed nonsense ({why})")))?;
    if !ended {
        eprintln!("psactl: the agent made the maps but does not end: a disk does not answer");
    }
    Ok(activation)
}

/// The first line that a process prints.
fn first_line(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(stdout)
            .read_line(&mut line)
            .is_ok_and(|read| read > 0)
        {
            // The receiver has given up, if this fails.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Waits for the end of a process, and kills it if that takes too long. Whether it has ended.
fn ends(child: &mut Child, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // It ends when the kernel lets it. Nobody waits for that.
    let _ = child.kill();
    false
}
