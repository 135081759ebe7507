//! The program `multipath`.

use super::VERSION;
use super::daemon::{Failure, flush, flush_all, make_map, turn_on_flushed};
use super::format::{PATH_FIELDS, Style, lines};
use super::host::{Agent, Host, is_up};
use super::status;
use super::topology::{Detail, topology};
use crate::api::requests::LoadRules;
use crate::api::types::{MultipathMap, MultipathPath};
use crate::config::wwids;
use crate::kernel::id;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// What the program was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Build maps: no option.
    Build,
    List(Detail),
    Flush,
    FlushAll,
    Reload,
    AddWwid,
    RemoveWwid,
    ResetWwids,
    IsPath,
    IsPathForUdev,
    IsUsable,
    Config,
    DryRun,
    Help,
}

#[derive(Debug)]
struct Asked {
    mode: Mode,
    verbosity: u32,
    retries: u32,
    device: Option<String>,
}

const USAGE: &str = "\
Usage:
  multipath [-v level] [-l|-ll|-f|-a|-w|-c|-C|-U] [device]
  multipath [-v level] -F|-r|-W|-t|-T
The maps of this host are made by dm-psad; this program asks it. See dm-psa-multipath(8).
";

/// Runs the program.
#[must_use]
pub fn run(agent: &Agent, args: &[String], is_root: bool, out: &mut impl Write) -> ExitCode {
    let asked = match parse(args) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("multipath: {why}\n{VERSION}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    if asked.mode == Mode::Help {
        eprintln!("{VERSION}\n{USAGE}");
        return ExitCode::SUCCESS;
    }
    match act(agent, &asked, is_root, out) {
        Ok(code) => code,
        Err(Failure(reason)) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> Result<Asked, String> {
    let mut asked = Asked {
        mode: Mode::Build,
        verbosity: 2,
        retries: 0,
        device: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            if asked.device.replace(arg.clone()).is_some() {
                return Err(format!("more than one device: {arg}"));
            }
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            asked.mode = match letter {
                'l' if matches!(asked.mode, Mode::List(_)) => Mode::List(Detail::Full),
                'l' => Mode::List(Detail::OfKernel),
                'f' => Mode::Flush,
                'F' => Mode::FlushAll,
                'r' => Mode::Reload,
                'a' => Mode::AddWwid,
                'w' => Mode::RemoveWwid,
                'W' => Mode::ResetWwids,
                'c' => Mode::IsPath,
                'u' => Mode::IsPathForUdev,
                'C' | 'U' => Mode::IsUsable,
                't' | 'T' => Mode::Config,
                'd' => Mode::DryRun,
                'h' => Mode::Help,
                // These change how multipathd's maps are made or where its files are.
                'B' | 'q' | 'i' | 'D' | 'e' => asked.mode,
                'v' | 'R' | 'b' | 'p' | 'j' => {
                    let rest: String = letters.by_ref().collect();
                    let value = if rest.is_empty() {
                        args.next().cloned()
                    } else {
                        Some(rest)
                    };
                    let value = value.ok_or_else(|| format!("-{letter} needs a value"))?;
                    let number = || {
                        value
                            .parse()
                            .map_err(|_| format!("-{letter} {value}: not a number"))
                    };
                    match letter {
                        'v' => asked.verbosity = number()?,
                        'R' => asked.retries = number()?,
                        _ => {}
                    }
                    asked.mode
                }
                other => return Err(format!("unknown option -{other}")),
            };
        }
    }
    Ok(asked)
}

fn act(
    agent: &Agent,
    asked: &Asked,
    is_root: bool,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let device = asked.device.as_deref();
    if let Some(device) = device {
        check_device(agent, device)?;
    }
    let needs_root = !matches!(
        asked.mode,
        Mode::List(_)
            | Mode::IsPath
            | Mode::IsPathForUdev
            | Mode::IsUsable
            | Mode::Config
            | Mode::DryRun
    );
    if needs_root && !is_root {
        return Err("need to be root".into());
    }
    // A reader that closed the pipe has what it wanted.
    let mut say = |text: &str| drop(out.write_all(text.as_bytes()));
    let done = Ok(ExitCode::SUCCESS);
    match asked.mode {
        Mode::Build => {
            say(&build(agent, asked, device)?);
            done
        }
        Mode::List(detail) => {
            let host = agent.host()?;
            say(&listing(
                &host,
                &chosen(agent, &host, device),
                asked,
                detail,
                None,
            ));
            done
        }
        Mode::Flush => {
            let map = device.ok_or("the -f option requires a map name to remove")?;
            remove(agent, map, asked.retries)?;
            done
        }
        Mode::FlushAll => {
            flush_all(agent)?;
            done
        }
        Mode::Reload => {
            agent.call(&LoadRules { claim_rules: None })?;
            turn_on_flushed(agent)?;
            done
        }
        Mode::AddWwid | Mode::RemoveWwid => {
            let wwid = wwid_of(agent, device.ok_or("a device or a WWID is missing")?)?;
            say(&change_wwid(agent, asked.mode, &wwid)?);
            done
        }
        Mode::ResetWwids => {
            let host = agent.host()?;
            let all: Vec<&str> = host.maps.iter().map(|map| map.wwid.as_str()).collect();
            wwids::reset(&agent.root, &all)
                .map_err(|error| Failure(format!("/etc/multipath/wwids: {error}")))?;
            say("successfully reset wwids\n");
            done
        }
        Mode::IsPath | Mode::IsPathForUdev => {
            let name = agent.spelled(device.ok_or("a device is missing")?);
            let is_path = id::decide(&agent.root, &name).is_ok_and(|decision| decision.path);
            say(&format!(
                "DM_MULTIPATH_DEVICE_PATH=\"{}\"\n",
                u8::from(is_path)
            ));
            Ok(if is_path || asked.mode == Mode::IsPathForUdev {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Mode::IsUsable => {
            let host = agent.host()?;
            let name = device.ok_or("a map is missing")?;
            let usable = host.map(&agent.spelled(name)).is_some_and(|map| {
                !map.suspended && host.paths_of(map).iter().any(|path| is_up(path))
            });
            if usable {
                return done;
            }
            if asked.verbosity >= 2 {
                eprintln!("{name}: no usable paths found");
            }
            Ok(ExitCode::FAILURE)
        }
        Mode::Config => {
            say(&status::config(agent));
            done
        }
        // The agent acts by itself, so there is nothing that would be done.
        Mode::DryRun | Mode::Help => done,
    }
}

/// A name without a slash may be that of a map. Anything else has to be a block device, or its number.
fn check_device(agent: &Agent, device: &str) -> Result<(), Failure> {
    let invalid = || Failure(format!("'{device}' is not a valid argument"));
    if device.is_empty() || device.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(invalid());
    }
    let Some(relative) = device.strip_prefix('/') else {
        return Ok(());
    };
    if device.starts_with("/dev/mapper/") || agent.root.join(relative).exists() {
        return Ok(());
    }
    Err(invalid())
}

/// The maps that are meant: all of them, one by its name, or that of a path.
fn chosen<'a>(agent: &Agent, host: &'a Host, device: Option<&str>) -> Vec<&'a MultipathMap> {
    let Some(device) = device else {
        return host.maps.iter().collect();
    };
    let name = agent.spelled(device);
    let by_path = || host.map(host.path(&name)?.map.as_ref()?);
    host.map(&name).or_else(by_path).into_iter().collect()
}

fn listing(
    host: &Host,
    maps: &[&MultipathMap],
    asked: &Asked,
    detail: Detail,
    action: Option<&str>,
) -> String {
    match asked.verbosity {
        0 => String::new(),
        1 => maps.iter().map(|map| format!("{}\n", map.name)).collect(),
        2 => topology(host, maps, detail, action),
        _ => paths_list(host) + &topology(host, maps, detail, action),
    }
}

/// What multipath prints first if it is to say much (`-v3`).
fn paths_list(host: &Host) -> String {
    let paths: Vec<&MultipathPath> = host.paths.iter().collect();
    let format = "%w %i %d %D %p %t %T %s %o";
    let lines = lines(host, &paths, PATH_FIELDS, format, Style::Columns);
    format!("===== paths list =====\n{lines}")
}

/// Has the agent make the maps that were flushed, and prints those that are new.
fn build(agent: &Agent, asked: &Asked, device: Option<&str>) -> Result<String, Failure> {
    let before = agent.host()?;
    match device {
        Some(device) => drop(make_map(agent, device)?),
        None => {
            turn_on_flushed(agent)?;
            // A moment for the first of them; the others follow without being waited for.
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    let after = agent.host()?;
    let new: Vec<&MultipathMap> = after
        .maps
        .iter()
        .filter(|map| before.map(&map.wwid).is_none())
        .collect();
    Ok(listing(&after, &new, asked, Detail::Full, Some("create")))
}

fn remove(agent: &Agent, name: &str, retries: u32) -> Result<(), Failure> {
    let mut left = retries.min(60);
    loop {
        match flush(agent, name) {
            Err(Failure(reason)) if left > 0 && reason.contains("in use") => {
                left -= 1;
                std::thread::sleep(Duration::from_secs(1));
            }
            result => {
                return result.map_err(|Failure(reason)| Failure(format!("{name}: {reason}")));
            }
        }
    }
}

/// The WWID of a path or a map, or the argument itself.
fn wwid_of(agent: &Agent, device: &str) -> Result<String, Failure> {
    let name = agent.spelled(device);
    // The file can be changed without the agent, if the WWID is given.
    let Ok(host) = agent.host() else {
        return if device.starts_with('/') {
            Err(Failure(format!(
                "{device}: its WWID is not known while dm-psad is not running"
            )))
        } else {
            Ok(name)
        };
    };
    let of_path = || host.path(&name)?.wwid.clone();
    let known = host.map(&name).map(|map| map.wwid.clone()).or_else(of_path);
    match known {
        Some(wwid) => Ok(wwid),
        None if device.starts_with('/') => Err(Failure(format!("{device}: its WWID is not known"))),
        None => Ok(name),
    }
}

fn change_wwid(agent: &Agent, mode: Mode, wwid: &str) -> Result<String, Failure> {
    if mode == Mode::AddWwid {
        return match wwids::add(&agent.root, wwid) {
            Ok(_) => Ok(format!("wwid '{wwid}' added\n")),
            Err(error) => Err(Failure(format!(
                "failed adding '{wwid}' to wwids file: {error}"
            ))),
        };
    }
    match wwids::remove(&agent.root, wwid) {
        Ok(true) => Ok(format!("wwid '{wwid}' removed\n")),
        Ok(false) => Ok(format!("wwid '{wwid}' not in wwids file\n")),
        Err(error) => Err(Failure(format!(
            "failed removing '{wwid}' from wwids file: {error}"
        ))),
    }
}
