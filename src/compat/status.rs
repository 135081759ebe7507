//! `show status` and `show config`.

use super::host::{Agent, Host, checker_state};
use crate::api::requests::GetStatus;
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

/// What is true of this host in the keywords of multipath.conf. The agent is configured by `/etc/dm-psa`, and reads no
/// multipath.conf.
pub(super) fn config(agent: &Agent) -> String {
    let status = agent.call(&GetStatus {}).map(|reply| reply.status);
    let friendly = status.is_ok_and(|status| status.map_names == MapNames::Mpath.name());
    CONFIG.replace("USER_FRIENDLY", if friendly { "yes" } else { "no" })
}

const CONFIG: &str = "\
defaults {
\tfind_multipaths \"off\"
\tuser_friendly_names \"USER_FRIENDLY\"
\tpath_checker \"tur\"
}
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
