//! `show status` and `show config`.

use super::host::{Host, checker_state};
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
    out + &format!("\npaths: {total}\nbusy: False\n")
}

/// What is true of this host in the keywords of multipath.conf. The agent is configured by `/etc/dm-psa`, and reads no
/// multipath.conf.
pub(super) const CONFIG: &str = "\
defaults {
\tfind_multipaths \"off\"
\tuser_friendly_names \"no\"
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
