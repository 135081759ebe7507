//! `show status` and `show config`.

use super::host::{Agent, Host, checker_state};
use crate::api::requests::GetStatus;
use crate::api::types::{MultipathPath, Status};
use crate::psa::settings::MapNames;
use std::collections::BTreeMap;

/// The number of paths in each state, in the words of the checkers.
pub(super) fn status(host: &Host) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in host.paths.iter().filter(|path| path.hctl.is_some()) {
        let word = match checker_state(path) {
            "ready" => "up",
            "ghost" => "ghost",
            "faulty" => "down",
            _ => "unchecked",
        };
        *counts.entry(word).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let mut out = "path checker states:\n".to_owned();
    for (word, count) in counts {
        out += &format!("{word:<20}{count}\n");
    }
    let busy = if host.is_busy { "True" } else { "False" };
    out + &format!("\npaths: {total}\nbusy: {busy}\n")
}

/// The disks, and whether the agent checks them.
pub(super) fn devices(host: &Host) -> String {
    let line = |path: &MultipathPath| {
        let disk = path.disk.as_ref()?;
        let word = match path.state.as_str() {
            "masked" => "blacklisted, unmonitored",
            _ => "whitelisted, monitored",
        };
        Some(format!("    {disk} devnode {word}\n"))
    };
    let lines: String = host.paths.iter().filter_map(line).collect();
    format!("available block devices:\n{lines}")
}

/// Whether new maps have names as `user_friendly_names` makes them.
pub(super) fn has_friendly_names(status: &Status) -> bool {
    status.map_names == MapNames::Mpath.name()
}

/// What is true of this host in the keywords of multipath.conf. The agent is configured by `/etc/dm-psa`, and reads no
/// multipath.conf.
pub(super) fn config(agent: &Agent) -> String {
    let status = agent.call(&GetStatus {}).map(|reply| reply.status).ok();
    let friendly = status.as_ref().is_some_and(has_friendly_names);
    let mut defaults = vec![
        ("find_multipaths", "\"off\"".to_owned()),
        (
            "user_friendly_names",
            if friendly { "\"yes\"" } else { "\"no\"" }.to_owned(),
        ),
        ("path_checker", "\"tur\"".to_owned()),
    ];
    // An agent of an earlier version does not say it.
    if let Some(status) = status.filter(|status| status.check_interval_ms != 0) {
        let interval = status.check_interval_ms.div_ceil(1000).max(1);
        // In checks, as multipathd counts.
        let retries = status.apd_timeout_ms.div_ceil(1000).div_ceil(interval);
        defaults.push(("polling_interval", interval.to_string()));
        defaults.push(("max_polling_interval", interval.to_string()));
        defaults.push(("no_path_retry", retries.to_string()));
        if status.fast_io_fail_tmo != 0 {
            defaults.push(("fast_io_fail_tmo", status.fast_io_fail_tmo.to_string()));
        }
    }
    let lines = defaults
        .iter()
        .map(|(name, value)| format!("\t{name} {value}\n"));
    format!("defaults {{\n{}}}\n{SECTIONS}", lines.collect::<String>())
}

const SECTIONS: &str = "\
blacklist {
}
blacklist_exceptions {
}
devices {
}
overrides {
}
multipaths {
}
";
