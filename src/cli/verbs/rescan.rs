//! `storage core adapter rescan`: finds new devices, removes dead ones, and rereads the others.
//!
//! `psactl` itself writes to sysfs, not the agent, because a scan may take minutes. The agent reports which hosts an
//! adapter has and which paths are dead. Immediately before a dead path is removed, the kernel is queried for users of
//! it; in doubt the path stays.

use super::arguments::{flag, option, text};
use super::statistics::no_adapter;
use super::verb::Verb;
use crate::api::requests::{ListAdapters, ListCorePaths, ListNmpDevices, RunRules};
use crate::api::types::CorePath;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use crate::kernel::NoticeSink;
use crate::kernel::dm::client::Client;
use crate::kernel::openers::openers;
use crate::kernel::sysfs::Sysfs;
use crate::kernel::writes::{Write, Written, carry_out};
use crate::psa::report::takeover::may_reread;
use crate::psa::units::Hctl;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, value_parser};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[Verb {
    words: &["storage", "core", "adapter", "rescan"],
    about: "Scan adapters for new devices, remove dead paths, and read the others again",
    arguments: &[adapter, all, kind, skip_claim, skip_fs_scan, timeout],
    run: rescan,
    legacy: false,
}];

/// The purpose of a write.
enum Purpose {
    /// Runtime name of the path that is removed.
    Delete(String),
    Scan,
    Update,
}

/// The writes for one host, in order. Removals come first, because they were checked only a moment ago.
#[derive(Default)]
struct Plan {
    purposes: Vec<Purpose>,
    writes: Vec<Write>,
}

impl Plan {
    fn push(&mut self, purpose: Purpose, file: std::path::PathBuf, text: &'static str) {
        self.purposes.push(purpose);
        self.writes.push(Write { file, text });
    }
}

pub(super) fn rescan(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let host = context.host()?;
    let adapter = text(given, "adapter");
    if adapter.is_some() == given.get_flag("all") {
        return Err(Failure::Usage("use --adapter ADAPTER or --all".to_owned()));
    }
    let names = adapters(context);
    let hosts = match adapter {
        None => host.scsi_hosts(),
        Some(name) => hosts_of(context, &host, &name)?,
    };
    let kind = text(given, "type").unwrap_or_else(|| "all".to_owned());
    let is = |one: &str| kind == "all" || kind == one;
    let mut plans: BTreeMap<u32, Plan> =
        hosts.iter().map(|host| (*host, Plan::default())).collect();
    let paths = if is("delete") || is("update") {
        paths_of(context, &hosts)?
    } else {
        Vec::new()
    };
    if is("delete") {
        for (address, path) in paths.iter().filter(|(_, path)| path.state == "dead") {
            match why_kept(&host, *address, path) {
                Some(why) => {
                    context.warn([format!(
                        "{} is dead but was not removed: {why}",
                        path.runtime_name
                    )]);
                }
                None => plans.entry(address.host).or_default().push(
                    Purpose::Delete(path.runtime_name.clone()),
                    host.device_file(*address, "delete"),
                    "1",
                ),
            }
        }
    }
    if is("add") {
        for (number, plan) in &mut plans {
            plan.push(Purpose::Scan, host.scan_file(*number), "- - -");
        }
    }
    if is("update") {
        // A dead path would only delay the others; the agent checks it continuously anyway.
        let satps = satps(context, &paths)?;
        for (address, path) in paths.iter().filter(|(_, path)| path.state != "dead") {
            let device = path.device.as_ref();
            let satp = device.and_then(|device| satps.get(device));
            if !may_reread(&path.state, satp.map(String::as_str)) {
                context.warn([format!(
                    "{} is in standby and was not read again: the kernel would start the unit, and the array would move it",
                    path.runtime_name
                )]);
                continue;
            }
            plans.entry(address.host).or_default().push(
                Purpose::Update,
                host.device_file(*address, "rescan"),
                "1",
            );
        }
    }
    let seconds = given.get_one::<u64>("timeout").copied().unwrap_or(120);
    let listed = || {
        host.list_paths().map_err(|short| {
            Failure::Refused(format!("the paths of this host cannot be listed: {short}"))
        })
    };
    let before = listed()?;
    let (hosts, plans): (Vec<u32>, Vec<Plan>) = plans.into_iter().unzip();
    let jobs: Vec<Vec<Write>> = plans.iter().map(|plan| plan.writes.clone()).collect();
    let done = carry_out(&jobs, Duration::from_secs(seconds));
    let after = listed()?;
    let new: BTreeSet<Hctl> = after.difference(&before).copied().collect();
    let mut report = Report::default();
    for ((number, plan), done) in hosts.iter().zip(&plans).zip(done) {
        let name = names.get(number);
        let label = name.map_or_else(
            || format!("host{number}"),
            |name| format!("{name} (host{number})"),
        );
        report.host(&label, plan, done, &new, *number, seconds);
    }
    if let (0, Some(first)) = (report.done, report.failures.first()) {
        return Err(Failure::Refused(first.clone()));
    }
    for failure in report.failures {
        context.partly(failure);
    }
    if given.get_flag("skip-fs-scan") {
        context.warn([
            "--skip-fs-scan: without effect: a rescan on Linux does not look for file systems"
                .to_owned(),
        ]);
    }
    let mut lines = report.lines;
    if !given.get_flag("skip-claim") {
        match context.ask(&RunRules::default()) {
            Ok(changed) => lines.push(changed.effect),
            Err(why) => context.partly(format!("the claim rules were not run: {why}")),
        }
    }
    Ok(Listing::lines(lines))
}

/// Names of adapters by the number of their SCSI hosts, as far as the agent reports them.
fn adapters(context: &mut Context) -> BTreeMap<u32, String> {
    let adapters = context
        .ask_if_running(&ListAdapters {})
        .map(|reply| reply.adapters);
    let hosts = adapters.into_iter().flatten().flat_map(|adapter| {
        let hosts = adapter.hosts.into_iter();
        hosts.map(move |host| (host, adapter.name.clone()))
    });
    hosts
        .filter_map(|(host, name)| Some((host_number(&host)?, name)))
        .collect()
}

/// The SCSI hosts of an adapter. `hostN` is accepted as well, for an adapter that has no path and therefore no other
/// name yet.
fn hosts_of(context: &mut Context, host: &Sysfs, name: &str) -> Result<BTreeSet<u32>, Failure> {
    if let Some(number) = host_number(name) {
        let there = host.scsi_hosts().contains(&number);
        return if there {
            Ok([number].into())
        } else {
            Err(Failure::NotFound(format!(
                "{name}: there is no such SCSI host; /sys/class/scsi_host lists all of them"
            )))
        };
    }
    let adapters = context.ask(&ListAdapters {})?.adapters;
    let found = adapters.into_iter().find(|adapter| adapter.name == name);
    let hosts = found.ok_or_else(|| no_adapter(name))?.hosts;
    Ok(hosts.iter().filter_map(|host| host_number(host)).collect())
}

fn host_number(name: &str) -> Option<u32> {
    name.strip_prefix("host")?.parse().ok()
}

/// The paths of these hosts.
fn paths_of(
    context: &mut Context,
    hosts: &BTreeSet<u32>,
) -> Result<Vec<(Hctl, CorePath)>, Failure> {
    let every = ListCorePaths {
        device: None,
        path: None,
    };
    let paths = context.ask(&every)?.paths.into_iter();
    let paths = paths.filter_map(|path| Some((path.hctl.parse::<Hctl>().ok()?, path)));
    Ok(paths
        .filter(|(address, _)| hosts.contains(&address.host))
        .collect())
}

/// The SATP of each device. The agent is queried only if a path waits.
fn satps(
    context: &mut Context,
    paths: &[(Hctl, CorePath)],
) -> Result<BTreeMap<String, String>, Failure> {
    if paths.iter().all(|(_, path)| may_reread(&path.state, None)) {
        return Ok(BTreeMap::new());
    }
    let devices = context.ask(&ListNmpDevices { device: None })?.devices;
    let named = devices.into_iter();
    Ok(named.map(|device| (device.device, device.satp)).collect())
}

/// Why a dead path is not removed: its user, or what could not be determined. `None` if it can be removed.
fn why_kept(host: &Sysfs, address: Hctl, path: &CorePath) -> Option<String> {
    let disk = host.disk_of(address);
    if disk != path.disk {
        return Some("its disk is changing at this moment".to_owned());
    }
    // A path without a disk has no users.
    let disk = disk?;
    match host.users_of(&disk) {
        None => return Some(format!("the users of {disk} cannot be determined")),
        Some(users) => {
            if let Some(user) = users.first() {
                return Some(user.to_string());
            }
        }
    }
    for map in host.maps_over(&disk) {
        let name = host.map_name(&map);
        match open_count(&name) {
            Ok(0) => {}
            Ok(users) => return Some(format!("its map {name} is in use ({users} users)")),
            Err(why) => return Some(format!("its map {name} cannot be read: {why}")),
        }
    }
    let parts = host.partitions_of(&disk).into_iter();
    let parts = std::iter::once(disk.clone()).chain(parts);
    let numbers = parts
        .filter_map(|name| host.number_of(&name, false))
        .collect();
    let openers = openers(host, &numbers);
    // udev reads devices, repeatedly if they cannot be read, but it is not a user.
    let is_udev = |name: &str| matches!(name, "(udev-worker)" | "systemd-udevd");
    let mut users = openers.found.iter();
    if let Some(opener) = users.find(|opener| !is_udev(&opener.name)) {
        let (name, pid) = (&opener.name, opener.pid);
        return Some(format!("{name} (process {pid}) has {disk} open"));
    }
    (openers.hidden > 0).then(|| format!("only root can see who has {disk} open: try with sudo"))
}

/// The number of users that have a map open; 0 if the map no longer exists.
fn open_count(map: &str) -> Result<u32, String> {
    let client = Client::open(NoticeSink::discard()).map_err(|why| why.to_string())?;
    let map = client.observe(map).map_err(|why| why.to_string())?;
    Ok(map.map_or(0, |map| map.open_count))
}

/// The results, as text.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    failures: Vec<String>,
    /// Number of successful writes.
    done: usize,
}

impl Report {
    fn host(
        &mut self,
        label: &str,
        plan: &Plan,
        done: io::Result<Vec<Written>>,
        new: &BTreeSet<Hctl>,
        number: u32,
        seconds: u64,
    ) {
        let done = match done {
            Ok(done) => done,
            Err(why) => {
                self.failures.push(format!(
                    "{label}: the process for the scan could not be started: {why}; try again"
                ));
                return;
            }
        };
        let (mut removed, mut updated, mut scanned) = (Vec::new(), 0_usize, false);
        for ((purpose, write), done) in plan.purposes.iter().zip(&plan.writes).zip(done) {
            let file = write.file.display();
            match (done, purpose) {
                (Written::Done, purpose) => {
                    self.done = self.done.saturating_add(1);
                    match purpose {
                        Purpose::Delete(path) => removed.push(path.clone()),
                        Purpose::Scan => scanned = true,
                        Purpose::Update => updated = updated.saturating_add(1),
                    }
                }
                // It was removed in the meantime, by another program or by this scan.
                (Written::Failed(why), Purpose::Update | Purpose::Delete(_))
                    if why.kind() == io::ErrorKind::NotFound => {}
                (Written::Failed(why), _) => {
                    let remedy = match why.kind() {
                        io::ErrorKind::PermissionDenied => "only root can do this: try with sudo",
                        _ => "see the kernel log (dmesg)",
                    };
                    self.failures
                        .push(format!("{label}: {file} cannot be written: {why}; {remedy}"));
                }
                (Written::Overdue, _) => self.failures.push(format!(
                    "{label}: {file} was not done after {seconds} s; the kernel continues with it, and the remaining steps for this host were skipped"
                )),
                (Written::NotBegun, _) => {}
            }
        }
        let mut parts = Vec::new();
        if !removed.is_empty() {
            parts.push(format!("removed {}", removed.join(", ")));
        }
        if scanned {
            let found = new.iter().filter(|path| path.host == number);
            let found: Vec<String> = found.map(ToString::to_string).collect();
            parts.push(if found.is_empty() {
                "scanned, nothing new".to_owned()
            } else {
                format!("scanned, new: {}", found.join(", "))
            });
        }
        if updated > 0 {
            parts.push(format!("{updated} paths read again"));
        }
        if !parts.is_empty() {
            self.lines.push(format!("{label}: {}", parts.join("; ")));
        }
    }
}

fn adapter() -> Arg {
    option(
        "adapter",
        Some('A'),
        "ADAPTER",
        "This adapter: vmhba2; or a SCSI host of Linux: host3",
    )
}

fn all() -> Arg {
    flag(
        "all",
        Some('a'),
        "All adapters, including those without paths",
    )
}

pub(super) fn kind() -> Arg {
    option(
        "type",
        Some('t'),
        "TYPE",
        "add: scan for new devices; delete: remove dead paths that nobody uses; update: read the others again; all [default]",
    )
    .value_parser(PossibleValuesParser::new(["add", "all", "delete", "update"]))
}

pub(super) fn skip_claim() -> Arg {
    flag("skip-claim", Some('S'), "Do not run the claim rules")
}

pub(super) fn skip_fs_scan() -> Arg {
    flag(
        "skip-fs-scan",
        Some('F'),
        "Accepted, without effect: a rescan on Linux does not look for file systems",
    )
}

pub(super) fn timeout() -> Arg {
    option(
        "timeout",
        None,
        "S",
        "Seconds to wait for the kernel [default: 120]; it continues after that",
    )
    .value_parser(value_parser!(u64).range(1..=86400))
}
