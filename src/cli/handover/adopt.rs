//! From multipathd to the agent.

use super::files::{self, OUR_RULES, THEIR_RULES};
use super::{
    AGENT, Handover, MULTIPATHD, check_host, device_mapper, disks, harmed, hold_signals, is_active,
    keep_queueing, maps, retrigger, run, systemctl, table, wait_until,
};
use crate::api::requests::{GetStatus, ListEvents};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use crate::compat::client::ask_once;
use crate::kernel::sysfs::Sysfs;
use crate::psa::facts::DiskKind;
use crate::psa::table::model::Map;
use crate::psa::units::DevT;
use std::collections::BTreeSet;
use std::path::Path;

/// A unit of multipath-tools since 0.12. When it stops, it ends the queueing of all maps.
const QUEUEING_UNIT: &str = "multipathd-queueing.service";

/// Runs `psactl adopt`.
pub(crate) fn adopt(context: &mut Context, dry_run: bool) -> Result<Listing, Failure> {
    let host = context.host()?;
    check_host()?;
    let client = device_mapper()?;
    let before = maps(&client)?;
    let problems = problems(&host, &before);
    if dry_run {
        return Ok(Listing::lines(foreseen(&before, problems)));
    }
    if !problems.is_empty() {
        return Err(Failure::Refused(problems.join("\n")));
    }
    let root = Path::new("/");
    let failed = |why: std::io::Error| why.to_string();
    let start_multipathd = || {
        unmask_queueing_unit()?;
        let units = [["start"].as_slice(), &MULTIPATHD].concat();
        systemctl(&units).map(drop)
    };
    hold_signals();
    let mut handover = Handover::default();
    handover.step(
        context,
        "multipathd is stopped; maps and I/O go on, and I/O without a path stays queued",
        || {
            // Otherwise multipathd ends the queueing of all maps when it stops. It forgets this when it starts.
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
            if is_active(QUEUEING_UNIT) {
                systemctl(&["mask", "--runtime", QUEUEING_UNIT])?;
            }
            let units = [["stop"].as_slice(), &MULTIPATHD].concat();
            systemctl(&units)?;
            match MULTIPATHD.iter().find(|unit| is_active(unit)) {
                Some(unit) => Err(format!("{unit} is still active")),
                None => Ok(()),
            }
        },
        start_multipathd,
    )?;
    match keep_queueing(&client, &before) {
        Ok(lost) if lost.is_empty() => {}
        Ok(lost) => context.warn([format!(
            "queueing was off for a moment: {}",
            lost.join(", ")
        )]),
        Err(why) => return Err(handover.fail(&why.to_string())),
    }
    handover.step(
        context,
        "the udev rules of multipath-tools are masked",
        || {
            files::unmask(root, OUR_RULES).map_err(failed)?;
            files::mask(root, THEIR_RULES).map_err(failed)?;
            run("udevadm", &["control", "--reload"]).map(drop)
        },
        move || {
            files::unmask(root, THEIR_RULES).map_err(failed)?;
            run("udevadm", &["control", "--reload"]).map(drop)
        },
    )?;
    handover.step(
        context,
        "the agent is started",
        || systemctl(&["start", AGENT]).map(drop),
        || systemctl(&["stop", AGENT]).map(drop),
    )?;
    let is_settled = |context: &mut Context| {
        let status = context.ask(&GetStatus {}).map(|reply| reply.status);
        status.is_ok_and(|status| status.settled)
    };
    if !wait_until(|| is_settled(context)) {
        return Err(handover.fail("the agent has not judged all paths in time: `psactl status`"));
    }
    let after = maps(&client).map_err(|why| handover.fail(&why.to_string()))?;
    let harm = harmed(&before, &after);
    if !harm.is_empty() {
        return Err(handover.fail(&harm.join("; ")));
    }
    let members: BTreeSet<DevT> = after.iter().flat_map(disks).collect();
    let mut lines = vec![format!("{} maps are the agent's now", before.len())];
    if let Err(why) = retrigger(&members) {
        context.partly(format!("udev has not processed all disks: {why}"));
    }
    let units = [["disable"].as_slice(), &MULTIPATHD].concat();
    if let Err(why) = systemctl(&units).and_then(|_| systemctl(&["enable", AGENT])) {
        context.partly(format!("at the next boot, multipathd may start: {why}"));
    }
    match loads(context) {
        Ok(loads) => lines.extend(loads),
        Err(why) => context.partly(format!(
            "the agent does not say which tables it loaded: {why}"
        )),
    }
    lines.push(
        "at boot, dm-psa.service starts instead of multipathd; `psactl release` is the way back"
            .to_owned(),
    );
    Ok(Listing::lines(lines))
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

/// What would be done.
fn foreseen(maps: &[Map], problems: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> = maps
        .iter()
        .map(|map| {
            let wwid = map.uuid.strip_prefix("mpath-").unwrap_or(&map.uuid);
            format!(
                "{} ({wwid}): {} paths; keeps its name",
                map.name,
                disks(map).len()
            )
        })
        .collect();
    if problems.is_empty() {
        lines.push(
            "`psactl adopt` would stop multipathd, mask its udev rules, start dm-psa.service, and have it start at boot"
                .to_owned(),
        );
        lines.push("a table is loaded only where groups, paths or path selector differ from what the rules of dm-psa say".to_owned());
        if Path::new("/etc/multipath.conf").exists() {
            lines.push(
                "the agent does not read /etc/multipath.conf: `psactl import multipath` shows and takes over what is set there"
                    .to_owned(),
            );
        }
    }
    lines.extend(problems.into_iter().map(|why| format!("problem: {why}")));
    lines
}

/// Why the maps cannot be handed over.
fn problems(host: &Sysfs, maps: &[Map]) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_active("multipathd.service") {
        problems.push(
            "multipathd does not run: `systemctl enable --now dm-psa.service` starts the agent, which takes the maps as they are"
                .to_owned(),
        );
    }
    if systemctl(&["cat", AGENT]).is_err() {
        problems.push(format!("{AGENT} is not installed"));
    }
    if files::has_reservation_keys(Path::new("/")) {
        problems.push(
            "/etc/multipath/prkeys has keys of persistent reservations, which the agent does not handle yet"
                .to_owned(),
        );
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
