//! From the agent to multipathd.

use super::adopt::unmask_queueing_unit;
use super::files::{self, DROP_IN, OUR_RULES, THEIR_RULES};
use super::{
    AGENT, Handover, MULTIPATHD, check_host, device_mapper, disks, harmed, hold_signals, is_active,
    keep_queueing, maps, retrigger, run, systemctl, wait_until,
};
use crate::api::requests::ListMaps;
use crate::api::types::MultipathMap;
use crate::cli::context::Context;
use crate::cli::exit::Failure;
use crate::cli::record::Listing;
use crate::compat::client::ask_once;
use crate::compat::wwids;
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
    let known = context.ask(&ListMaps {})?.maps;
    if let Some(why) = problem(&known) {
        return Err(Failure::Refused(why));
    }
    let text = files::drop_in(&known);
    if dry_run {
        let mut lines = vec![format!("`psactl release` would write /{DROP_IN}:")];
        lines.extend(text.lines().map(str::to_owned));
        lines.push(
            "then add the WWIDs to /etc/multipath/wwids, stop the agent, mask its udev rules, start multipathd, and have it start at boot"
                .to_owned(),
        );
        return Ok(Listing::lines(lines));
    }
    let before = maps(&client)?;
    hold_signals();
    let root = Path::new("/");
    let failed = |why: std::io::Error| why.to_string();
    let mut handover = Handover::default();
    handover.step(
        context,
        "multipathd is told the names and the features of the maps",
        || {
            // First: multipathd flushes a map that it does not know, and ends its queueing.
            for map in &known {
                wwids::add(root, &map.wwid)
                    .map_err(|why| format!("/etc/multipath/wwids: {why}"))?;
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
            if is_active(PROGRAMS) {
                systemctl(&["stop", PROGRAMS, "dm-psa-multipath.service"])?;
            }
            systemctl(&["stop", AGENT]).map(drop)
        },
        || systemctl(&["start", AGENT]).map(drop),
    )?;
    handover.step(
        context,
        "the udev rules of dm-psa are masked, and those of multipath-tools are in force",
        || {
            files::unmask(root, THEIR_RULES).map_err(failed)?;
            files::mask(root, OUR_RULES).map_err(failed)?;
            run("udevadm", &["control", "--reload"]).map(drop)
        },
        move || {
            files::unmask(root, OUR_RULES).map_err(failed)?;
            files::mask(root, THEIR_RULES).map_err(failed)?;
            run("udevadm", &["control", "--reload"]).map(drop)
        },
    )?;
    handover.step(
        context,
        "multipathd is started",
        || {
            unmask_queueing_unit()?;
            let units = [["start"].as_slice(), &MULTIPATHD].concat();
            systemctl(&units)?;
            let is_ready = || {
                let reply = ask_once("show daemon").unwrap_or_default();
                reply.contains(" idle") || reply.contains(" running")
            };
            match wait_until(is_ready) {
                true => Ok(()),
                false => Err("multipathd does not answer".to_owned()),
            }
        },
        || {
            let units = [["stop"].as_slice(), &MULTIPATHD].concat();
            systemctl(&units).map(drop)
        },
    )?;
    let after = maps(&client).map_err(|why| handover.fail(&why.to_string()))?;
    let harm = harmed(&before, &after);
    if !harm.is_empty() {
        return Err(handover.fail(&harm.join("; ")));
    }
    match keep_queueing(&client, &before) {
        Ok(lost) if lost.is_empty() => {}
        Ok(lost) => context.warn([format!(
            "queueing was off for a moment: {}",
            lost.join(", ")
        )]),
        Err(why) => context.partly(why.to_string()),
    }
    // Only now: until multipathd's rules are in force, the agent's marks hide the disks from LVM and others.
    let _ = std::fs::remove_dir_all(root.join("run/dm-psa/paths"));
    let members: BTreeSet<DevT> = after.iter().flat_map(disks).collect();
    if let Err(why) = retrigger(&members) {
        context.partly(format!("udev has not processed all disks: {why}"));
    }
    let units = [["enable"].as_slice(), &MULTIPATHD].concat();
    let at_boot = systemctl(&["disable", AGENT, PROGRAMS]).and_then(|_| systemctl(&units));
    if let Err(why) = at_boot {
        context.partly(format!("at the next boot, dm-psa may start: {why}"));
    }
    Ok(Listing::lines([
        format!("{} maps are multipathd's now", before.len()),
        format!("/{DROP_IN} keeps their names: remove it only together with them"),
    ]))
}

/// Why multipathd cannot take the maps.
fn problem(maps: &[MultipathMap]) -> Option<String> {
    if systemctl(&["cat", "multipathd.service"]).is_err() {
        return Some("multipathd is not installed".to_owned());
    }
    let suspended = maps.iter().find(|map| map.suspended)?;
    Some(format!("{} is suspended", suspended.name))
}
