//! A `multipath` section: settings of one device, `[device."naa.6001..."]` in dm-psa.toml.

use super::conf::Section;
use super::keywords::{self, MULTIPATH};
use super::multipath::{APD, Grouping, counting, features, grouping, queueing, selector};
use super::plan::Plan;
use super::report::Outcome;
use super::wwid;
use crate::config::settings_file::{Key, Setting};

/// Translates a section; `polling` is the seconds between two checks.
pub(super) fn translate(plan: &mut Plan, section: &Section, polling: u32) {
    let own = counting(plan, MULTIPATH, "multipath", section.keywords.iter());
    let wwid = own.iter().find(|said| said.name == "wwid");
    let device = match wwid.map(|said| wwid::device(said.value)) {
        Some(Ok(device)) => device,
        other => {
            let why = match other {
                Some(Err(why)) => why,
                _ => "it has no wwid".to_owned(),
            };
            plan.tell(section.line, "multipath", (Outcome::Refused, why));
            let told = (Outcome::LeftOut, "its section is refused".to_owned());
            for said in &own {
                plan.tell(said.line, said.subject("multipath"), told.clone());
            }
            return;
        }
    };
    let before = plan.settings.len();
    let has_retry = own.iter().any(|said| said.name == "no_path_retry");
    for said in &own {
        let key = |name| Key::of_device(&device, name);
        let told = match said.name {
            "wwid" => continue,
            "path_grouping_policy" => match grouping(said.value) {
                Err(told) => told,
                Ok(grouping) => {
                    let psp = match grouping {
                        Grouping::Together => "VMW_PSP_RR",
                        Grouping::Failover => "VMW_PSP_FIXED",
                    };
                    plan.set(key("psp"), Setting::Text(psp.to_owned()))
                }
            },
            "path_selector" => match selector(said.value) {
                Err(told) => told,
                Ok(("iops=1", what)) => {
                    let (outcome, set) = plan.set(key("round_robin.iops"), Setting::Number(1));
                    (outcome, format!("{set}: {what}"))
                }
                Ok((_, what)) => {
                    let latency = Setting::Text("latency".to_owned());
                    let (outcome, set) = plan.set(key("round_robin.limit_type"), latency);
                    (outcome, format!("{set}: {what}"))
                }
            },
            "no_path_retry" => queueing(plan, key(APD), said.value, polling),
            "features" => features(plan, said.value, |plan| {
                if has_retry {
                    let why = "no_path_retry goes before queue_if_no_path".to_owned();
                    (Outcome::LeftOut, why)
                } else {
                    queueing(plan, key(APD), "queue", polling)
                }
            }),
            name => keywords::told(name, said.value),
        };
        plan.tell(said.line, said.subject("multipath"), told);
    }
    let told = if plan.settings.len() > before {
        (Outcome::Imported, format!("[device.\"{device}\"]"))
    } else {
        let why = format!("{device} gets no setting by it");
        (Outcome::NoEquivalent, why)
    };
    plan.tell(section.line, "multipath", told.clone());
    if let Some(said) = wwid {
        plan.tell(said.line, said.subject("multipath"), (told.0, device));
    }
}
