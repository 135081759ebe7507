//! Translates `multipath` sections into settings of one device, `[device."naa.6001..."]` in dm-psa.toml. They take
//! precedence over everything else. Sections for the same WWID are merged keyword by keyword; the later one counts.

use super::conf::Section;
use super::keywords::{self, MULTIPATH};
use super::levels::Levels;
use super::plan::{Plan, Remark};
use super::report::Outcome;
use super::said::{Said, counting};
use super::values::{self, queues};
use super::wwid;
use crate::config::settings_file::{Key, Owner, Setting};

/// Translates the sections.
pub(super) fn translate(plan: &mut Plan, sections: &[&Section], levels: &Levels) {
    let polling = levels.polling;
    let name = "no_path_retry";
    let is_said = levels
        .overridden(name)
        .or_else(|| levels.default(name))
        .is_some();
    let all: Vec<(&Section, Vec<Said>)> = sections
        .iter()
        .map(|section| {
            let own = counting(plan, MULTIPATH, "multipath", section.keywords.iter());
            (*section, own)
        })
        .collect();
    for (at, (section, own)) in all.iter().enumerate() {
        let later = all.get(at + 1..).unwrap_or_default();
        let later = later
            .iter()
            .filter(|(_, other)| wwid_of(other) == wwid_of(own));
        let later: Vec<&[Said]> = later.map(|(_, other)| other.as_slice()).collect();
        let earlier = all.get(..at).unwrap_or_default();
        let earlier = earlier
            .iter()
            .filter(|(_, other)| wwid_of(other) == wwid_of(own));
        let has_retry = is_said
            || own
                .iter()
                .chain(later.iter().copied().flatten())
                .chain(earlier.flat_map(|(_, other)| other))
                .any(|said| said.name == "no_path_retry");
        one(plan, section, own, &later, has_retry, polling);
    }
}

/// Gives the map of a device a name. Of two devices with one name multipath-tools names only the first one so.
pub(super) fn named(plan: &mut Plan, device: &str, name: &str) -> Remark {
    let key = Key::of_device(device, "map_name");
    let name = Setting::Text(name.to_owned());
    let mut others = plan.settings.iter();
    match others.find(|(other, set)| other.name == key.name && **other != key && **set == name) {
        Some((other, _)) => (Outcome::Refused, format!("{other} is {name} already")),
        None => plan.set(key, name),
    }
}

/// The WWID of a section that has an `alias`.
pub(super) fn aliased(section: &Section) -> Option<&str> {
    let value = |name: &str| {
        let mut keywords = section.keywords.iter().rev();
        keywords
            .find(|keyword| keyword.name == name)?
            .value
            .as_deref()
    };
    value("alias").and_then(|_| value("wwid"))
}

fn wwid_of<'a>(own: &[Said<'a>]) -> Option<&'a str> {
    let said = own.iter().find(|said| said.name == "wwid");
    said.map(|said| said.value)
}

fn one(
    plan: &mut Plan,
    section: &Section,
    own: &[Said],
    later: &[&[Said]],
    has_retry: bool,
    polling: u32,
) {
    let device = match wwid_of(own).map(wwid::device) {
        Some(Ok(device)) => device,
        other => {
            let why = match other {
                Some(Err(why)) => why,
                _ => "it has no wwid".to_owned(),
            };
            plan.report(section.line, "multipath", (Outcome::Refused, why));
            let remark = (Outcome::LeftOut, "its section is refused".to_owned());
            for said in own {
                plan.report(said.line, said.subject("multipath"), remark.clone());
            }
            return;
        }
    };
    let owner = Owner::Device(device.clone());
    let mut made: Vec<Outcome> = Vec::new();
    for said in own.iter().filter(|said| said.name != "wwid") {
        let mut again = later.iter().copied().flatten();
        let again = again.rfind(|other| other.name == said.name);
        let remark: Remark = if let Some(again) = again {
            let why = format!("{} sets it again", plan.at(again.line));
            (Outcome::LeftOut, why)
        } else if said.name == "features" {
            let queue = if has_retry || !queues(said.value) {
                values::retry_goes_before()
            } else {
                let set = values::set(plan, &owner, "no_path_retry", "queue", polling);
                let remark = set.unwrap_or_else(values::retry_goes_before);
                made.push(remark.0);
                remark
            };
            values::features(said.value, &queue)
        } else if said.name == "alias" {
            let remark = named(plan, &device, said.value);
            made.push(remark.0);
            remark
        } else if let Some(remark) = values::set(plan, &owner, said.name, said.value, polling) {
            made.push(remark.0);
            remark
        } else {
            keywords::remark(said.name, said.value)
        };
        plan.report(said.line, said.subject("multipath"), remark);
    }
    let remark = if made.contains(&Outcome::Imported) {
        (Outcome::Imported, format!("[device.\"{device}\"]"))
    } else if made.contains(&Outcome::There) {
        (Outcome::There, format!("[device.\"{device}\"]"))
    } else {
        let why = format!("it results in no setting for {device}");
        (Outcome::NoEquivalent, why)
    };
    plan.report(section.line, "multipath", remark.clone());
    if let Some(said) = own.iter().find(|said| said.name == "wwid") {
        plan.report(said.line, said.subject("multipath"), (remark.0, device));
    }
}
