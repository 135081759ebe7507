//! Imports the PSPs that an admin of ESXi chose: `satp list` shows the default PSP of each SATP, `nmp device list` the
//! PSP of each device.
//!
//! Neither listing shows whether a PSP was chosen by an admin. If dm-psa uses the same one without a setting, no
//! setting is created.

use super::plan::{Plan, Remark, together};
use super::report::Outcome;
use super::rows::Row;
use crate::config::settings_file::{Key, Setting};
use crate::psa::psp::PspKind;
use crate::psa::satp;
use crate::psa::satp::options::psp_options;
use crate::psa::settings::{LimitType, RoundRobin};

/// Imports a line of `satp list`; returns its name in the report, and the result.
pub(super) fn satp(plan: &mut Plan, row: &Row) -> (String, Remark) {
    let (name, psp) = (row.get("Name").trim(), row.get("Default PSP").trim());
    let subject = format!("{name}, default PSP {psp}");
    let remark = if satp::by_name(name).is_none() {
        let why = format!("there is no SATP {name} here");
        (Outcome::Refused, why)
    } else if let Some(psp) = PspKind::by_name(psp) {
        plan.set_default_psp(name, psp)
    } else {
        let why = format!("there is no PSP {psp} here: {name} keeps its default PSP");
        (Outcome::Refused, why)
    };
    (subject, remark)
}

/// Imports a device of `nmp device list`; returns its name in the report, and the result.
pub(super) fn device(plan: &mut Plan, row: &Row) -> (String, Remark) {
    let word = |column| row.get(column).trim();
    let device = word("Device");
    let (satp, psp) = (word("Storage Array Type"), word("Path Selection Policy"));
    let subject = format!("{device}, {satp}, {psp}");
    let named = ["naa.", "eui.", "t10.", "iqn."];
    if !named.iter().any(|kind| device.starts_with(kind)) || device.contains(['"', '\\', ' ']) {
        let why = "the device has no identifier that is the same on every host".to_owned();
        return (subject, (Outcome::LeftOut, why));
    }
    if satp == "VMW_SATP_LOCAL" {
        let why = "a local disk gets no map".to_owned();
        return (subject, (Outcome::Same, why));
    }
    let Some(kind) = PspKind::by_name(psp) else {
        let why = format!("there is no PSP {psp} here");
        return (subject, (Outcome::Refused, why));
    };
    let mut remark: Vec<Remark> = Vec::new();
    if plan.default_psp(satp) == Some(kind) {
        remark.push((Outcome::Same, format!("{psp} is the default PSP of {satp}")));
    } else {
        let key = Key::of_device(device, "psp");
        remark.push(plan.set(key, Setting::Text(psp.to_owned())));
    }
    let config = word("Path Selection Policy Device Config");
    match kind {
        PspKind::RoundRobin => remark.extend(round_robin(plan, device, config)),
        PspKind::Fixed => remark.extend(preferred(config)),
        PspKind::Mru => {}
    }
    (subject, together(remark))
}

/// Imports `{policy=iops,iops=1,bytes=10485760,useANO=0; lastPathIndex=1: ...}` where it differs from the default of
/// ESXi.
fn round_robin(plan: &mut Plan, device: &str, config: &str) -> Vec<Remark> {
    let inner = config.trim_start_matches('{');
    let policy = inner.split([';', '}']).next().unwrap_or_default();
    let set = match psp_options(policy) {
        Ok(options) => options.round_robin,
        Err(why) => return vec![(Outcome::Refused, why)],
    };
    let default = RoundRobin::default();
    let mut settings: Vec<(&'static str, Setting)> = Vec::new();
    let number = |n: u64| Setting::Number(u32::try_from(n).unwrap_or(u32::MAX));
    if set.limit_type() != LimitType::Default {
        let word = set.limit_type().name().to_ascii_lowercase();
        settings.push(("round_robin.limit_type", Setting::Text(word)));
    }
    if set.iops() != default.iops() {
        settings.push(("round_robin.iops", number(set.iops())));
    }
    if set.bytes() != default.bytes() {
        settings.push(("round_robin.bytes", number(set.bytes())));
    }
    if set.use_ano() {
        settings.push(("round_robin.use_ano", Setting::Bool(true)));
    }
    if set.sampling_cycles() != default.sampling_cycles() {
        settings.push((
            "round_robin.sampling_cycles",
            Setting::Number(set.sampling_cycles()),
        ));
    }
    if set.latency_eval_ms() != default.latency_eval_ms() {
        settings.push((
            "round_robin.latency_eval_ms",
            number(set.latency_eval_ms().0),
        ));
    }
    let set = |(name, setting)| plan.set(Key::of_device(device, name), setting);
    settings.into_iter().map(set).collect()
}

/// The remark on `{preferred=vmhba1:C0:T0:L1;current=...}`: ESXi shows a path here whether or not an admin chose it.
fn preferred(config: &str) -> Option<Remark> {
    let path = config.split("preferred=").nth(1)?;
    let path = path.split([';', '}', ',']).next()?.trim();
    let why = format!(
        "the preferred path {path} is left out, because vmhba numbers differ on this host: choose one with `psactl storage nmp psp fixed deviceconfig set`"
    );
    (!path.is_empty() && path != "none").then_some((Outcome::LeftOut, why))
}
