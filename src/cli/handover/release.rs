//! From the agent to multipathd.

use super::adopt::unmask_queueing_unit;
use super::files::{self, DROP_IN, OUR_RULES, THEIR_RULES};
use super::{
    AGENT, Handover, check_host, device_mapper, disks, exchange_rules, harmed, hold_signals,
    is_multipathd_active, is_multipathd_installed, keep_queueing, maps, multipathd, retrigger,
    stop_agent, stop_multipathd, systemctl, wait_until,
};
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use crate::compat::client::ask_once;
use crate::config::boot::recorded;
use crate::config::wwids;
use crate::psa::table::model::{Map, UUID_PREFIX};
use crate::psa::units::DevT;
use std::collections::BTreeSet;
use std::path::Path;

/// Serves multipathd's sockets while the agent runs.
const PROGRAMS: &str = "dm-psa-multipath.socket";

/// Runs `psactl release`.
pub(crate) fn release(context: &mut Context, dry_run: bool) -> Result<Listing, Failure> {
    context.host()?;
    check_host()?;
    let client = device_mapper()?;
    let before = maps(&client)?;
    let problems = problems(&before);
    let text = files::drop_in(&before);
    if dry_run {
        let mut lines = vec![format!("`psactl release` would write /{DROP_IN}:")];
        lines.extend(text.lines().map(str::to_owned));
        lines.push(
            "then add the WWIDs to /etc/multipath/wwids, stop the agent, mask its udev rules, start multipathd, and have it start at boot"
                .to_owned(),
        );
        lines.extend(problems.into_iter().map(|why| format!("problem: {why}")));
        return Ok(Listing::lines(lines));
    }
    if !problems.is_empty() {
        return Err(Failure::Refused(problems.join("\n")));
    }
    hold_signals();
    let root = Path::new("/");
    let failed = |why: std::io::Error| why.to_string();
    let mut handover = Handover::default();
    handover.step(
        context,
        "the names, the queueing and the features of the maps are written for multipathd",
        || {
            // First: multipathd flushes a map that it does not know, and ends its queueing.
            for map in &before {
                let wwid = map.uuid.strip_prefix(UUID_PREFIX).unwrap_or_default();
                wwids::add(root, wwid).map_err(|why| format!("/etc/multipath/wwids: {why}"))?;
            }
            let file = root.join(DROP_IN);
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            std::fs::write(&file, &text).map_err(|why| format!("/{DROP_IN}: {why}"))
        },
        move || match std::fs::remove_file(root.join(DROP_IN)) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why.to_string()),
            _ => Ok(()),
        },
    )?;
    handover.step(
        context,
        "the agent is stopped; maps and I/O go on",
        || {
            systemctl(&["stop", PROGRAMS, "dm-psa-multipath.service"])?;
            stop_agent()
        },
        || systemctl(&["start", AGENT]).map(drop),
    )?;
    handover.step(
        context,
        "the udev rules of dm-psa are masked, and multipathd starts at the next boot",
        || {
            exchange_rules(THEIR_RULES, OUR_RULES)?;
            systemctl(&["disable", AGENT])?;
            multipathd("unmask")?;
            multipathd("enable")?;
            unmask_queueing_unit()
        },
        move || {
            multipathd("mask")?;
            systemctl(&["enable", AGENT])?;
            exchange_rules(OUR_RULES, THEIR_RULES)
        },
    )?;
    handover.step(
        context,
        "multipathd is started",
        || {
            multipathd("start")?;
            let is_ready = || {
                let reply = ask_once("show daemon").unwrap_or_default();
                reply.contains(" idle") || reply.contains(" running")
            };
            match wait_until(is_ready) {
                true => Ok(()),
                false => Err("multipathd does not answer".to_owned()),
            }
        },
        stop_multipathd,
    )?;
    let after = maps(&client).map_err(|why| handover.fail(&why.to_string()))?;
    let mut harm = harmed(&before, &after);
    harm.extend(unmanaged(&before));
    if !harm.is_empty() {
        return Err(handover.fail(&harm.join("; ")));
    }
    if let Err(why) = keep_queueing(context, &client, &before) {
        context.partly(why.to_string());
    }
    // Only now: until multipathd's rules are in force, the agent's marks hide the disks from LVM and others.
    let _ = std::fs::remove_dir_all(root.join("run/dm-psa/paths"));
    let members: BTreeSet<DevT> = after.iter().flat_map(disks).collect();
    if let Err(why) = retrigger(&members) {
        context.partly(format!("udev has not processed all disks: {why}"));
    }
    let mut lines = vec![
        format!("{} maps are multipathd's now", before.len()),
        format!("/{DROP_IN} keeps their names: remove it only together with them"),
    ];
    if !recorded(&context.places()).is_empty() {
        lines.push(
            "the initramfs has dm-psa: replace dm-psa-boot by multipath-tools-boot, and make it again before the next boot"
                .to_owned(),
        );
    }
    Ok(Listing::lines(lines))
}

/// Why multipathd cannot take the maps.
fn problems(maps: &[Map]) -> Vec<String> {
    let mut problems = Vec::new();
    if !is_multipathd_installed() {
        problems.push("multipathd is not installed".to_owned());
    }
    if is_multipathd_active() {
        problems.push("multipathd runs already".to_owned());
    }
    for file in files::in_the_way(Path::new("/"), OUR_RULES) {
        problems.push(format!(
            "{file} is a file of your own: its rules must not act beside those of multipath-tools; move it away"
        ));
    }
    for map in maps {
        if map.suspended {
            problems.push(format!("{} is suspended", map.name));
        }
        if let Err(why) = &map.table {
            problems.push(format!("the table of {} cannot be read: {why}", map.name));
        }
    }
    problems
}

/// The maps that multipathd does not manage, because its configuration excludes them.
fn unmanaged(before: &[Map]) -> Vec<String> {
    let known = match ask_once("show maps raw format %w") {
        Ok(known) => known,
        Err(why) => return vec![format!("multipathd does not list its maps: {why}")],
    };
    let each = before.iter().filter_map(|map| {
        let wwid = map.uuid.strip_prefix(UUID_PREFIX).unwrap_or_default();
        let is_known = known.lines().any(|line| line.trim() == wwid);
        (!is_known).then(|| {
            format!(
                "multipathd does not take {}: see its configuration",
                map.name
            )
        })
    });
    each.collect()
}
