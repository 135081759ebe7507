//! Which SATP takes a device.
//!
//! Rules are tried in ESXi's order; a SATP may decline a device that a rule gives it, then the next
//! rule is tried. Invariant: there is always an answer, and a trace of how it came about.

use super::{Evidence, Satp, by_name};
use crate::psa::adapter::Transport;
use crate::psa::psp::PspKind;
use serde::{Deserialize, Serialize};

/// A SATP rule. Absent attributes match anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SatpRule {
    /// `VMW_SATP_ALUA`
    pub satp: String,
    /// INQUIRY vendor.
    pub vendor: Option<String>,
    /// INQUIRY product.
    pub model: Option<String>,
    /// Claim option `tpgs_on` (`true`), `tpgs_off` (`false`).
    pub tpgs: Option<bool>,
    /// Default PSP of the devices that it matches.
    pub psp: Option<String>,
    /// For a person.
    pub description: String,
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFacts<'a> {
    /// INQUIRY vendor, trimmed.
    pub vendor: &'a str,
    /// INQUIRY product, trimmed.
    pub model: &'a str,
    /// Transport of its paths.
    pub transport: Transport,
    /// How many paths it has.
    pub paths: usize,
}

/// The answer.
#[derive(Clone)]
pub struct Selection {
    /// The SATP.
    pub satp: &'static dyn Satp,
    /// The PSP by rule or by the SATP's default.
    pub psp: PspKind,
    /// Every rule that was tried, with its result, in order.
    pub trace: Vec<String>,
}

/// The rules that come with the product: any array that reports target port groups is ALUA.
#[must_use]
pub fn builtin_rules() -> Vec<SatpRule> {
    vec![SatpRule {
        satp: "VMW_SATP_ALUA".to_owned(),
        tpgs: Some(true),
        description: "Any array with ALUA support".to_owned(),
        ..SatpRule::default()
    }]
}

impl SatpRule {
    /// Whether the rule matches; if not, why not.
    fn test(&self, device: DeviceFacts<'_>, evidence: &Evidence<'_>) -> Result<(), String> {
        let on = evidence.tpgs != crate::scsi::inquiry::Tpgs::None;
        match (&self.vendor, &self.model, self.tpgs) {
            (Some(vendor), _, _) if vendor != device.vendor => {
                Err(format!("vendor is `{}`", device.vendor))
            }
            (_, Some(model), _) if model != device.model => {
                Err(format!("model is `{}`", device.model))
            }
            (_, _, Some(wanted)) if wanted != on => Err(format!(
                "INQUIRY TPGS is {}",
                if on { "not 0" } else { "0" }
            )),
            _ => Ok(()),
        }
    }

    /// The attributes of the rule, for the trace.
    fn describe(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.vendor.iter().map(|v| format!("vendor={v}")));
        words.extend(self.model.iter().map(|m| format!("model={m}")));
        words.extend(
            self.tpgs
                .map(|on| (if on { "tpgs_on" } else { "tpgs_off" }).to_owned()),
        );
        words.join(" ")
    }
}

/// Chooses the SATP of a device.
#[must_use]
pub fn select(rules: &[SatpRule], device: DeviceFacts<'_>, evidence: &Evidence<'_>) -> Selection {
    let mut trace = Vec::new();
    for rule in rules {
        let label = format!("rule {} ({})", rule.satp, rule.describe());
        if let Err(why) = rule.test(device, evidence) {
            trace.push(format!("{label}: no, {why}"));
            continue;
        }
        let Some(satp) = by_name(&rule.satp) else {
            trace.push(format!("{label}: matches, but this build has no such SATP"));
            continue;
        };
        if let Err(why) = satp.accepts(evidence) {
            trace.push(format!("{label}: matches, but the SATP declines: {why}"));
            continue;
        }
        trace.push(format!("{label}: matches"));
        let psp = rule
            .psp
            .as_deref()
            .and_then(PspKind::by_name)
            .unwrap_or_else(|| satp.default_psp());
        return Selection { satp, psp, trace };
    }
    // ESXi's defaults by transport. A local device that two paths lead to is no plain local disk: without a map
    // both its disks would be offered to the host.
    let (satp, why): (&'static dyn Satp, String) = if device.transport.is_san() {
        (
            &super::default_aa::DefaultAa,
            format!("default of transport {}", device.transport.as_str()),
        )
    } else if device.paths > 1 {
        (
            &super::default_aa::DefaultAa,
            format!("{} paths lead to it", device.paths),
        )
    } else {
        (
            &super::local::Local,
            format!(
                "default of transport {} with one path",
                device.transport.as_str()
            ),
        )
    };
    trace.push(format!("no rule: {} ({why})", satp.name()));
    Selection {
        satp,
        psp: satp.default_psp(),
        trace,
    }
}
