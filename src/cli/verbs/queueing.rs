//! `storage core device queueing end`: makes I/O that waits for a path fail now, with or without the agent.

use super::arguments::{flag, text};
use super::device;
use super::verb::Verb;
use crate::api::client::ClientError;
use crate::api::requests::{EndQueueing, GetTopology};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use crate::kernel::NoticeSink;
use crate::kernel::dm::client::Client;
use crate::kernel::dm::queueing::{LIST, Which, end, ours};
use clap::ArgMatches;
use std::path::Path;

/// The commands of this file, as a part of the table.
pub(super) const VERBS: &[Verb] = &[Verb {
    words: &["storage", "core", "device", "queueing", "end"],
    about: "Fail I/O that waits for a path now; works without the agent too",
    arguments: &[device::device, || {
        flag("all", None, "All devices without a working path")
    }],
    run: run_end,
    legacy: false,
}];

fn run_end(context: &mut Context, given: &ArgMatches) -> Result<Listing, Failure> {
    let device = text(given, "device");
    if device.is_some() == given.get_flag("all") {
        return Err(Failure::Usage("use --device DEVICE or --all".to_owned()));
    }
    let answer = match &device {
        Some(device) => by_agent(context, device),
        None => all_by_agent(context),
    };
    match answer {
        // A running agent must know about it, or it would enable queueing again. An agent that hangs must be stopped
        // first.
        Err(Failure::Agent(ClientError::NotRunning { .. })) => without_agent(context, device),
        answer => answer,
    }
}

fn by_agent(context: &mut Context, device: &str) -> Result<Listing, Failure> {
    context.change(&EndQueueing {
        device: device.to_owned(),
    })
}

fn all_by_agent(context: &mut Context) -> Result<Listing, Failure> {
    let devices = context.ask(&GetTopology { device: None })?.devices;
    let without_path = devices
        .into_iter()
        .filter(|device| device.map.is_some() && !device.paths.iter().any(|path| path.carries_io));
    let mut effects = Vec::new();
    for topology in without_path {
        let device = topology.device;
        match context.ask(&EndQueueing { device }) {
            Ok(changed) => effects.push(changed.effect),
            // The device does not queue I/O: its time has expired, or it never did.
            Err(Failure::Agent(ClientError::Refused(_))) if !topology.queueing => {}
            Err(why @ Failure::Agent(ClientError::Refused(_))) => context.partly(why.to_string()),
            Err(why) => return Err(why),
        }
    }
    Ok(said(effects))
}

fn without_agent(context: &mut Context, device: Option<String>) -> Result<Listing, Failure> {
    let refused = |why: String| Failure::Refused(why);
    let known = match &device {
        Some(_) => Default::default(),
        None => ours(Path::new("/")).map_err(|why| {
            refused(format!(
                "the agent is not running, and the list of its maps cannot be read: /{LIST}: {why}; name a map with --device"
            ))
        })?,
    };
    let which = match &device {
        Some(name) => Which::Named(name),
        None => Which::Ours(&known),
    };
    let client = Client::open(NoticeSink::discard()).map_err(|why| {
        refused(format!(
            "the agent is not running, and {why}: run this as root"
        ))
    })?;
    let ended = end(&client, which).map_err(|why| refused(why.to_string()))?;
    if let Some(name) = device.filter(|_| ended.is_empty()) {
        return Err(Failure::NotFound(format!(
            "{name} is not a multipath map; the agent is not running, so use the name of the map as `dmsetup ls --target multipath` shows it"
        )));
    }
    let mut effects = Vec::new();
    for (name, result) in ended {
        match result {
            Ok(()) => effects.push(format!(
                "{name}: I/O fails now while no path works; the agent is not running, so this was set in device-mapper"
            )),
            Err(why) if known.is_empty() => return Err(refused(format!("{name}: {why}"))),
            Err(why) => context.partly(format!("{name}: {why}")),
        }
    }
    Ok(said(effects))
}

fn said(effects: Vec<String>) -> Listing {
    if effects.is_empty() {
        return Listing::lines(["no device queues I/O without a path".to_owned()]);
    }
    Listing::lines(effects)
}
