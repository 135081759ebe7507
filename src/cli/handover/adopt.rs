//! From multipathd to the agent.

use super::files::{self, OUR_RULES, THEIR_RULES};
use super::foresee;
use super::{
    AGENT, Decisions, Handover, check_host, device_mapper, disks, exchange_rules, harmed,
    hold_signals, is_active, is_multipathd_active, keep_queueing, maps, multipathd, retrigger,
    stop_agent, stop_multipathd, systemctl, table, wait_until,
};
use crate::api::requests::{GetStatus, ListEvents, ListMaps};
use crate::api::types::MultipathMap;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::compat::client::ask_once;
use crate::kernel::sysfs::Sysfs;
use crate::psa::facts::DiskKind;
use crate::psa::table::model::{Map, UUID_PREFIX};
use crate::psa::units::DevT;
use std::collections::BTreeSet;
use std::path::Path;

/// A unit of multipath-tools since 0.12. When it stops, it ends the queueing of all maps.
const QUEUEING_UNIT: &str = "multipathd-queueing.service";

/// Runs `psactl adopt --dry-run`.
pub(crate) fn dry_run(context: &mut Context, decisions: Decisions) -> Result<Vec<String>, Failure> {
    let host = context.host()?;
    check_host()?;
    let client = device_mapper()?;
    let before = maps(&client)?;
    let mut lines: Vec<String> = before.iter().map(described).collect();
    let foreseen = foresee::foresee(&host, &before, decisions)?;
    lines.extend(foresee::lines(&before, &foreseen));
    let problems = problems(&host, &before);
    if problems.is_empty() {
        lines.push(
            "`psactl adopt` would stop and mask multipathd and its udev rules, start dm-psa.service, and have it start at boot"
                .to_owned(),
        );
    }
    lines.extend(problems.into_iter().map(|why| format!("problem: {why}")));
    Ok(lines)
}

/// A map that would be taken over.
fn described(map: &Map) -> String {
    let wwid = map.uuid.strip_prefix(UUID_PREFIX).unwrap_or(&map.uuid);
    format!(
        "{} ({wwid}): {} paths; keeps its name",
        map.name,
        disks(map).len()
    )
}

/// Runs `psactl adopt`.
pub(crate) fn adopt(context: &mut Context) -> Result<Vec<String>, Failure> {
    let host = context.host()?;
    check_host()?;
    let client = device_mapper()?;
    let before = maps(&client)?;
    let problems = problems(&host, &before);
    if !problems.is_empty() {
        return Err(Failure::Refused(problems.join("\n")));
    }
    hold_signals();
    let mut handover = Handover::default();
    // After a handover that was cut off, for example by a loss of power, neither daemon runs.
    if is_multipathd_active() {
        handover.step(
            context,
            "multipathd is stopped; maps and I/O go on, and I/O without a path stays queued",
            || {
                if is_active(QUEUEING_UNIT) {
                    systemctl(&["mask", "--runtime", QUEUEING_UNIT])?;
                }
                stop_multipathd()
            },
            || {
                unmask_queueing_unit()?;
                multipathd("start")?;
                // If it was not stopped, it still has the order.
                ask_once("restorequeueing daemon").map_err(|why| why.to_string())?;
                Ok(())
            },
        )?;
    }
    keep_queueing(context, &client, &before).map_err(|why| handover.fail(&why.to_string()))?;
    let were_masked = files::is_masked(Path::new("/"), OUR_RULES);
    handover.step(
        context,
        "multipathd and its udev rules are masked, now and at the next boot",
        || {
            exchange_rules(OUR_RULES, THEIR_RULES)?;
            systemctl(&["enable", AGENT])?;
            // A call of `systemctl start multipathd` would stop the agent.
            multipathd("mask")
        },
        move || {
            multipathd("unmask")?;
            systemctl(&["disable", AGENT])?;
            exchange_rules(THEIR_RULES, if were_masked { OUR_RULES } else { &[] })
        },
    )?;
    handover.step(
        context,
        "the agent is started",
        || systemctl(&["start", AGENT]).map(drop),
        stop_agent,
    )?;
    let is_settled = |context: &mut Context| {
        let status = context.ask(&GetStatus {}).map(|reply| reply.status);
        status.is_ok_and(|status| status.settled)
    };
    if !wait_until(|| is_settled(context)) {
        return Err(handover.fail("the agent has not judged all paths in time: `psactl status`"));
    }
    let after = maps(&client).map_err(|why| handover.fail(&why.to_string()))?;
    let mut harm = harmed(&before, &after);
    match context.ask(&ListMaps {}) {
        Ok(known) => harm.extend(unmanaged(&before, &known.maps)),
        Err(why) => harm.push(why.to_string()),
    }
    if !harm.is_empty() {
        return Err(handover.fail(&harm.join("; ")));
    }
    let members: BTreeSet<DevT> = after.iter().flat_map(disks).collect();
    let mut lines = vec![format!("{} maps are the agent's now", before.len())];
    if let Err(why) = retrigger(&members) {
        context.partly(format!("udev has not processed all disks: {why}"));
    }
    match loads(context) {
        Ok(loads) => lines.extend(loads),
        Err(why) => context.partly(format!(
            "the agent does not say which tables it loaded: {why}"
        )),
    }
    lines.push("`psactl release` is the way back".to_owned());
    Ok(lines)
}

/// Takes back the mask of multipathd's unit, if there is one.
pub(super) fn unmask_queueing_unit() -> Result<(), String> {
    match Path::new("/run/systemd/system")
        .join(QUEUEING_UNIT)
        .is_symlink()
    {
        true => systemctl(&["unmask", "--runtime", QUEUEING_UNIT]).map(drop),
        false => Ok(()),
    }
}

/// Why the maps cannot be handed over.
fn problems(host: &Sysfs, maps: &[Map]) -> Vec<String> {
    let mut problems = Vec::new();
    if is_active(AGENT) {
        problems.push("the agent runs already: `psactl status`".to_owned());
    }
    if systemctl(&["cat", AGENT]).is_err() {
        problems.push(format!("{AGENT} is not installed"));
    }
    if let Some(why) = reservations() {
        problems.push(why);
    }
    for file in files::in_the_way(Path::new("/"), THEIR_RULES) {
        problems.push(format!(
            "{file} is a file of your own: its rules must not act beside those of dm-psa; move it away"
        ));
    }
    for map in maps {
        let name = &map.name;
        if map.suspended {
            problems.push(format!(
                "{name} is suspended: wait for who suspended it, or `dmsetup resume {name}`"
            ));
        }
        if table(map).is_none() {
            let why = map.table.as_ref().err().map_or("", String::as_str);
            problems.push(format!("the table of {name} cannot be read: {why}"));
        }
        for dev in disks(map) {
            if let Some(DiskKind::Other(what)) = host.disk_kind(dev) {
                problems.push(format!(
                    "{name} contains {what}: the agent leaves such a map alone, and nobody would reinstate its paths"
                ));
            }
        }
    }
    problems
}

/// Why persistent reservations may be in use. The agent would not register their keys on paths that return.
fn reservations() -> Option<String> {
    let not_yet = "which the agent does not handle yet";
    match files::has_reservation_keys(Path::new("/")) {
        Ok(true) => {
            return Some(format!(
                "/etc/multipath/prkeys has keys of persistent reservations, {not_yet}"
            ));
        }
        Ok(false) => {}
        Err(why) => return Some(format!("/etc/multipath/prkeys: {why}")),
    }
    if !is_multipathd_active() {
        return None;
    }
    match ask_once("show config") {
        Ok(config) if config.contains("reservation_key") => Some(format!(
            "multipathd is configured with a reservation_key for persistent reservations, {not_yet}"
        )),
        Ok(_) => None,
        Err(why) => Some(format!("multipathd does not show its configuration: {why}")),
    }
}

/// The maps that the agent does not manage.
fn unmanaged(before: &[Map], known: &[MultipathMap]) -> Vec<String> {
    let each = before.iter().filter_map(|map| {
        let wwid = map.uuid.strip_prefix(UUID_PREFIX).unwrap_or_default();
        match known.iter().find(|known| known.wwid == wwid) {
            None => Some(format!("the agent does not know {}", map.name)),
            Some(known) => {
                let why = known.foreign.as_ref()?;
                Some(format!("the agent leaves {} alone: {why}", map.name))
            }
        }
    });
    each.collect()
}

/// Which tables the agent loaded, and why.
fn loads(context: &mut Context) -> Result<Vec<String>, Failure> {
    let loaded = context.ask(&GetStatus {})?.status.tables_loaded;
    let mut lines = vec![format!("tables loaded: {loaded}")];
    let request = ListEvents {
        after: Some(0),
        limit: None,
        device: None,
        severity: None,
    };
    for event in context.ask(&request)?.events {
        if event.code == "TABLE_RELOAD" {
            let details = event.details.iter().map(|detail| detail.value.as_str());
            lines.push(format!(
                "{}: {}",
                event.subject,
                details.collect::<Vec<&str>>().join(", ")
            ));
        }
    }
    Ok(lines)
}
