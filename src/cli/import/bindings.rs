//! Translates a bindings file of multipath-tools: a line `mpatha 36001...` for each name that was given to a device.
//!
//! multipath-tools reads it for the devices with `user_friendly_names yes`. The name of a map that exists needs no
//! import, because the agent keeps it; this is for devices that are not there at the moment.

use super::levels::Levels;
use super::maps;
use super::plan::{Plan, Remark};
use super::report::Outcome;
use super::{values, wwid};

/// Translates the file. `aliased` are the WWIDs that have an `alias` in multipath.conf, which takes precedence.
pub(super) fn translate(
    plan: &mut Plan,
    name: &str,
    text: &str,
    levels: &Levels,
    aliased: &[&str],
) {
    let first = plan.add_source(name, text.lines().count());
    let are_read = levels
        .overridden("user_friendly_names")
        .or_else(|| levels.default("user_friendly_names"))
        .is_some_and(|value| values::is_yes(value.text));
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (subject, remark) = match words.as_slice() {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [alias, wwid, ..] => (
                format!("binding {alias}"),
                match are_read {
                    true => binding(plan, alias, wwid, aliased),
                    false => {
                        let why = "multipath-tools does not read it without user_friendly_names yes for all devices";
                        (Outcome::LeftOut, why.to_owned())
                    }
                },
            ),
            [word] => {
                let why = "multipath-tools ignores a line that is not a name and a WWID";
                (
                    format!("binding {word}"),
                    (Outcome::LeftOut, why.to_owned()),
                )
            }
        };
        plan.report(first.saturating_add(number), subject, remark);
    }
}

fn binding(plan: &mut Plan, alias: &str, wwid: &str, aliased: &[&str]) -> Remark {
    if aliased.contains(&wwid) {
        let why = "its `alias` in multipaths takes precedence".to_owned();
        return (Outcome::LeftOut, why);
    }
    match wwid::device(wwid) {
        Ok(device) => maps::named(plan, &device, alias),
        Err(why) => (Outcome::Refused, why),
    }
}
