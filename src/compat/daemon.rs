//! Answers the commands of multipathd's socket.

use super::VERSION;
use super::format::{MAP_FIELDS, PATH_FIELDS, Style, lines, wildcards};
use super::grammar::{Command, HELP, Verb, Word};
use super::host::{Agent, Host, is_unknown};
use super::topology::{Detail, topology};
use super::{json, status};
use crate::api::client::ClientError;
use crate::api::requests::{
    EndQueueing, FlushMap, GetStatus, ListDetachedDevices, LoadRules, RefreshDevice,
    SetDeviceState, SetPathState,
};
use crate::api::types::{MultipathMap, MultipathPath};
use crate::kernel::writes::{Write, Written, carry_out};
use crate::psa::report::takeover::may_reread;
use crate::psa::units::Hctl;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a command may wait for its effect. Callers give up after ten seconds and more.
const EFFECT: Duration = Duration::from_secs(8);

/// How often to ask for the removal of a map, half a second apart. udev opens each map for a moment after it was made.
const CLOSES: u32 = 6;

/// The state of a device in `ListDetachedDevices` whose map was flushed.
const FLUSHED: &str = "flushed";

/// How often to look whether the effect is there.
const LOOK: Duration = Duration::from_millis(100);

/// Why a command failed: the reason that multipathd gives, or another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        if is_unknown(&error) {
            return Failure("device not found".to_owned());
        }
        Failure(error.to_string())
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Failure {
        Failure(reason.to_owned())
    }
}

/// The text of an answer.
pub type Answer = Result<String, Failure>;

/// The reply to a command. A success without text is `ok`.
#[must_use]
pub fn reply(agent: &Agent, text: &str, is_root: bool) -> String {
    match answer(agent, text, is_root) {
        Ok(text) if text.is_empty() => "ok\n".to_owned(),
        Ok(text) => text,
        Err(Failure(reason)) if reason.is_empty() => "fail\n".to_owned(),
        Err(Failure(reason)) => format!("fail\n{}\n", reason.trim_end()),
    }
}

/// Carries out a command.
///
/// # Errors
/// The reason for the caller.
pub fn answer(agent: &Agent, text: &str, is_root: bool) -> Answer {
    let command =
        Command::parse(text).map_err(|why| Failure(format!("{why}\n{VERSION}\n{HELP}")))?;
    if command.verb == Verb::Show {
        return show(agent, &command);
    }
    if !is_root {
        return Err("permission deny: need to be root".into());
    }
    change(agent, &command)
}

fn show(agent: &Agent, command: &Command) -> Answer {
    if command.has(&Word::Config) {
        return Ok(status::config(agent));
    }
    if command.has(&Word::Wildcards) {
        return Ok(format!(
            "multipath format wildcards:\n{}\npath format wildcards:\n{}",
            wildcards(MAP_FIELDS),
            wildcards(PATH_FIELDS)
        ));
    }
    if command.has(&Word::Blacklist) {
        return Ok("no rules: see `psactl storage core claimrule list`\n".to_owned());
    }
    // Without the agent, nothing that could be shown would be true: nothing judges the paths.
    let mut host = agent.host()?;
    if command.has(&Word::Status) {
        host.is_busy = !agent.call(&GetStatus {})?.status.settled;
    }
    let mut command = command.clone();
    for word in &mut command.words {
        if let Word::Map(name) | Word::Path(name) = word {
            *name = agent.spelled(name);
        }
    }
    host.show(&command)
}

impl Host {
    /// Shows maps, paths, or the state of the daemon.
    ///
    /// # Errors
    /// There is no such object, or nothing of this kind to show.
    pub fn show(&self, command: &Command) -> Answer {
        if command.has(&Word::Daemon) {
            return Ok(format!("pid {} idle\n", std::process::id()));
        }
        if let Some(name) = command.map() {
            let map = found(self.map(name))?;
            return Ok(show_maps(self, &[map], command, true));
        }
        if let Some(name) = command.path() {
            let path = found(self.path(name))?;
            return Ok(lines(
                self,
                &[path],
                PATH_FIELDS,
                command.format().unwrap_or("%o"),
                style(command, Style::Raw),
            ));
        }
        let maps: Vec<&MultipathMap> = self.maps.iter().collect();
        if command.has(&Word::Maps) {
            return Ok(show_maps(self, &maps, command, false));
        }
        if command.has(&Word::Paths) {
            let paths = self.paths.iter().filter(|path| path.hctl.is_some());
            let paths: Vec<&MultipathPath> = paths.collect();
            let format = command.format().unwrap_or("%i %d %D %p %t %T %o %C");
            let style = style(command, Style::Columns);
            return Ok(lines(self, &paths, PATH_FIELDS, format, style));
        }
        if command.has(&Word::Topology) {
            return Ok(topology(self, &maps, Detail::Full, None));
        }
        if command.has(&Word::Devices) {
            return Ok(status::devices(self));
        }
        if command.has(&Word::Status) {
            return Ok(status::status(self));
        }
        Err(Failure(format!("nothing to show\n{VERSION}\n{HELP}")))
    }
}

/// A format has a header unless `raw` is given. Without a format, one object has none.
fn style(command: &Command, without_format: Style) -> Style {
    match (command.has(&Word::Raw), command.format()) {
        (true, _) => Style::Raw,
        (false, Some(_)) => Style::Columns,
        (false, None) => without_format,
    }
}

fn show_maps(host: &Host, maps: &[&MultipathMap], command: &Command, one: bool) -> String {
    if command.has(&Word::Json) {
        return match maps {
            [map] if one => json::map(host, map),
            maps => json::maps(host, maps),
        };
    }
    if command.has(&Word::Topology) {
        return topology(host, maps, Detail::Full, None);
    }
    if maps.is_empty() {
        return String::new();
    }
    let default = match (command.has(&Word::Status), command.has(&Word::Stats)) {
        (true, _) => "%n %F %Q %N %t %r",
        (false, true) => "%n %0 %1 %2 %3 %4",
        (false, false) => "%n %d %w",
    };
    let format = command.format().unwrap_or(default);
    lines(
        host,
        maps,
        MAP_FIELDS,
        format,
        style(command, Style::Columns),
    )
}

fn found<T>(object: Option<T>) -> Result<T, Failure> {
    object.ok_or_else(|| "device not found".into())
}

fn change(agent: &Agent, command: &Command) -> Answer {
    let done = |()| String::new();
    match (command.verb, command.map(), command.path()) {
        (Verb::Resize, Some(map), _) => resize(agent, map).map(done),
        (Verb::Remove, Some(map), _) => flush(agent, map).map(done),
        (Verb::Remove, None, None) if command.has(&Word::Maps) => flush_all(agent).map(done),
        (Verb::Add | Verb::Reload, Some(name), _) => Ok(match make_map(agent, name)? {
            true => String::new(),
            false => "blacklisted\n".to_owned(),
        }),
        (Verb::Add, None, Some(path)) => add_path(agent, path),
        // The agent sees when a path is removed from the host, and takes it out of the table then.
        (Verb::Remove, None, Some(path)) => {
            let host = agent.host()?;
            found(host.path(&agent.spelled(path)))?;
            Ok(String::new())
        }
        // A later LUN at the address of the path must not be off.
        (Verb::Fail | Verb::Reinstate, None, Some(path)) => {
            let host = agent.host()?;
            let path = found(host.path(&agent.spelled(path)))?;
            let request = SetPathState {
                path: path.hctl.clone().ok_or("it is no path of the agent")?,
                off: command.verb == Verb::Fail,
                persist: Some(false),
            };
            agent.call(&request)?;
            Ok(String::new())
        }
        (Verb::Reconfigure, None, None) => {
            agent.call(&LoadRules { claim_rules: None })?;
            turn_on_flushed(agent).map(done)
        }
        (Verb::DisableQueueing, Some(map), _) => disable_queueing(agent, map).map(done),
        (Verb::DisableQueueing, None, None) if command.has(&Word::Maps) => {
            for map in agent
                .host()?
                .maps
                .iter()
                .filter(|map| map.queues_for.is_some())
            {
                disable_queueing(agent, &map.name)?;
            }
            Ok(String::new())
        }
        // The agent restores queueing by itself when a path works, and its end does not disable queueing.
        (Verb::RestoreQueueing, Some(map), _) => {
            let host = agent.host()?;
            found(host.map(&agent.spelled(map)))?;
            Ok(String::new())
        }
        (Verb::RestoreQueueing | Verb::ForceQueueing, None, None) => Ok(String::new()),
        _ => Err("dm-psa does not have this command: `psactl --help` lists what it has".into()),
    }
}

/// Turns a flushed device on again.
fn turn_on(agent: &Agent, device: &str) -> Result<(), Failure> {
    let request = SetDeviceState {
        device: device.to_owned(),
        off: false,
        persist: Some(false),
    };
    agent.call(&request)?;
    Ok(())
}

/// Turns on the devices that were flushed. A device that an admin turned off by `psactl` stays off.
pub(super) fn turn_on_flushed(agent: &Agent) -> Result<(), Failure> {
    let off = agent.call(&ListDetachedDevices { device: None })?.devices;
    let mut flushed = off.iter().filter(|device| device.state == FLUSHED);
    flushed.try_for_each(|device| turn_on(agent, &device.device))
}

/// Rereads the sizes of the paths, and waits until the map has the size of the smallest.
fn resize(agent: &Agent, name: &str) -> Result<(), Failure> {
    let host = agent.host()?;
    let map = found(host.map(&agent.spelled(name)))?;
    let paths = host.paths_of(map);
    let rereadable = paths
        .iter()
        .filter(|path| may_reread(&path.state, Some(&path.satp)));
    let sysfs = agent.sysfs();
    let (mut disks, mut addresses, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for path in rereadable.filter(|path| path.state != "dead") {
        let address = path
            .hctl
            .as_ref()
            .and_then(|hctl| hctl.parse::<Hctl>().ok());
        let (Some(address), Some(disk)) = (address, &path.disk) else {
            continue;
        };
        disks.push(disk.clone());
        let write = Write {
            file: sysfs.device_file(address, "rescan"),
            text: "1",
        };
        addresses.push(address);
        jobs.push(vec![write]);
    }
    for (hctl, written) in addresses.iter().zip(carry_out(&jobs, EFFECT)) {
        let failed = |why: &dyn std::fmt::Display| Failure(format!("cannot reread {hctl}: {why}"));
        for one in written.map_err(|error| failed(&error))? {
            match one {
                Written::Done => {}
                Written::Failed(error) => return Err(failed(&error)),
                Written::Overdue | Written::NotBegun => return Err("timeout".into()),
            }
        }
    }
    let size = |disk: &String| sysfs.extent_of(disk).map(|(_, sectors)| sectors);
    let Some(wanted) = disks.iter().filter_map(size).min() else {
        return Err("the size of no path can be read".into());
    };
    // The kernel has the new sizes; udev may tell the agent later.
    agent.call(&RefreshDevice {
        device: map.device.clone(),
    })?;
    let wwid = map.wwid.clone();
    wait_for(agent, EFFECT, |host| {
        host.map(&wwid).is_some_and(|map| map.sectors == wanted)
    })
}

/// Waits until something is true of the host.
fn wait_for(
    agent: &Agent,
    within: Duration,
    is_true: impl Fn(&Host) -> bool,
) -> Result<(), Failure> {
    let until = Instant::now() + within;
    loop {
        if is_true(&agent.host()?) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err("timeout".into());
        }
        sleep(LOOK);
    }
}

/// Removes a map that is not open.
pub(super) fn flush(agent: &Agent, name: &str) -> Result<(), Failure> {
    let host = agent.host()?;
    let map = found(host.map(&agent.spelled(name)))?;
    let wwid = map.wwid.clone();
    let request = FlushMap {
        device: map.device.clone(),
    };
    // Each request has the agent look again whether the map is open.
    for _ in 0..CLOSES {
        agent.call(&request)?;
        if wait_for(agent, LOOK * 5, |host| host.map(&wwid).is_none()).is_ok() {
            return Ok(());
        }
    }
    // The agent must not remove the map later, when nobody expects it.
    turn_on(agent, &request.device)?;
    Err("map or partition in use".into())
}

/// Removes all maps that are not open.
pub(super) fn flush_all(agent: &Agent) -> Result<(), Failure> {
    let host = agent.host()?;
    let (unused, used): (Vec<&MultipathMap>, Vec<&MultipathMap>) = host
        .maps
        .iter()
        .filter(|map| map.foreign.is_none())
        .partition(|map| map.users == 0);
    let failed: Vec<Failure> = unused
        .into_iter()
        .filter_map(|map| flush(agent, &map.name).err())
        .collect();
    match failed.into_iter().next() {
        Some(failure) => Err(failure),
        None if used.is_empty() => Ok(()),
        None => Err("map or partition in use".into()),
    }
}

/// Has the agent make the map of a device, or of the device of a path, if it was flushed. Waits until the map is there,
/// or the agent has decided that there is none. Returns whether there is one.
pub(super) fn make_map(agent: &Agent, name: &str) -> Result<bool, Failure> {
    let name = agent.spelled(name);
    let host = agent.host()?;
    if host.map(&name).is_some() {
        return Ok(true);
    }
    let path = host.path(&name);
    let wwid = path.and_then(|path| path.wwid.clone()).unwrap_or(name);
    let request = ListDetachedDevices {
        device: Some(wwid.clone()),
    };
    match agent.call(&request)?.devices.first() {
        Some(device) if device.state == FLUSHED => turn_on(agent, &device.device)?,
        Some(device) => {
            return Err(Failure(format!(
                "the device is off: `psactl storage core device set -d {} --state on` turns it on",
                device.device
            )));
        }
        None => {}
    }
    let until = Instant::now() + EFFECT;
    loop {
        let settled = agent.call(&GetStatus {})?.status.settled;
        let is_there = agent.host()?.map(&wwid).is_some();
        if is_there || settled {
            return Ok(is_there);
        }
        if Instant::now() >= until {
            return Err("timeout".into());
        }
        sleep(LOOK);
    }
}

/// Waits until the agent has put a path into a map, or has decided that it gets none.
fn add_path(agent: &Agent, name: &str) -> Answer {
    let name = agent.spelled(name);
    let is_known = |host: &Host| host.path(&name).is_some_and(|path| path.wwid.is_some());
    wait_for(agent, EFFECT, is_known)?;
    Ok(match make_map(agent, &name)? {
        true => String::new(),
        false => "blacklisted\n".to_owned(),
    })
}

fn disable_queueing(agent: &Agent, name: &str) -> Result<(), Failure> {
    let host = agent.host()?;
    let map = found(host.map(&agent.spelled(name)))?;
    agent.call(&EndQueueing {
        device: map.device.clone(),
    })?;
    Ok(())
}
