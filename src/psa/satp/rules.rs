//! Decides which SATP takes a device.
//!
//! Rules are tried in ESXi's order: by device, by driver, by vendor and model, by transport. Within each of these, the
//! admin's rules come before the system's, and rules that name vendor and model before those that name less. If a SATP
//! declines a device, or is not in this build, the next rule is tried. Invariant: there is always a result, and a trace
//! of how it was reached.

use crate::psa::mpp::Plugin;
use crate::psa::psp::PspKind;
use crate::psa::satp::options::{device_options, psp_options};
use crate::psa::satp::rule::{DeviceFacts, Mismatch};
use crate::psa::satp::{Evidence, Satp, by_name};
use crate::psa::settings::{DeviceSettings, Named};
use crate::psa::tried::Tried;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use super::rule::{Group, Lookup, SatpRule};

/// The result.
#[derive(Clone, Serialize, Deserialize)]
pub struct Selection {
    /// The plug-in that owns the device: NMP; or HPP, which uses the judgement of a SATP but not the PSP.
    pub plugin: Plugin,
    /// The SATP.
    #[serde(with = "super::in_text")]
    pub satp: &'static dyn Satp,
    /// The PSP by the rule, or else by the SATP's default.
    pub psp: PspKind,
    /// The SATP rule that decided, if any.
    pub rule: Option<SatpRule>,
    /// The settings of the device by the rule that decided, except for the PSP.
    pub settings: DeviceSettings,
}

impl Selection {
    /// Whether the deciding rule matches by more than a claim option, so not only by the report of target port groups.
    /// Always `true` for HPP.
    #[must_use]
    pub(crate) fn is_listed(&self) -> bool {
        self.plugin == Plugin::Hpp || self.rule.as_ref().is_some_and(SatpRule::names_something)
    }
}

/// The settings of a device by a SATP rule, except for the PSP.
fn settings_of(rule: &SatpRule) -> DeviceSettings {
    let options = psp_options(&rule.psp_options).unwrap_or_default();
    DeviceSettings {
        round_robin: options.round_robin,
        ..device_options(&rule.options).unwrap_or_default()
    }
}

/// All SATP rules in the order in which they are tried, and the admin's settings for SATPs as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SatpRules {
    rules: Vec<SatpRule>,
    default_psps: BTreeMap<String, Named<PspKind>>,
}

impl SatpRules {
    /// Sorts the rules. `default_psps` has the PSPs that the admin set, by SATP.
    #[must_use]
    pub fn new(mut rules: Vec<SatpRule>, default_psps: BTreeMap<String, PspKind>) -> SatpRules {
        // A stable sort: equal rules keep the order of their list.
        rules.sort_by_key(SatpRule::order);
        SatpRules {
            rules,
            default_psps: default_psps
                .into_iter()
                .map(|(satp, psp)| (satp, Named(psp)))
                .collect(),
        }
    }

    /// The minimum that works without any file: an array that reports target port groups is ALUA.
    #[must_use]
    pub fn basic() -> SatpRules {
        let any = SatpRule {
            satp: "VMW_SATP_ALUA".to_owned(),
            claim_options: "tpgs_on".to_owned(),
            description: "Any array with ALUA support".to_owned(),
            ..SatpRule::default()
        };
        SatpRules::new(vec![any], BTreeMap::new())
    }

    /// The rules in the order in which they are tried.
    #[must_use]
    pub fn rules(&self) -> &[SatpRule] {
        &self.rules
    }

    /// The PSP for devices of a SATP when their rule names none; `None` for an unknown SATP.
    #[must_use]
    pub(crate) fn default_psp(&self, satp: &str) -> Option<PspKind> {
        let set = self.default_psps.get(satp).map(|Named(psp)| *psp);
        set.or_else(|| Some(by_name(satp)?.default_psp()))
    }

    /// Chooses the SATP of a device.
    #[must_use]
    pub fn select(&self, device: &DeviceFacts<'_>, evidence: &Evidence<'_>) -> Selection {
        self.walk(device, evidence, |_| {})
    }

    /// The result, and a line for each rule that was tried, in order.
    #[must_use]
    pub fn trace(
        &self,
        device: &DeviceFacts<'_>,
        evidence: &Evidence<'_>,
    ) -> (Selection, Vec<String>) {
        let mut lines = Vec::new();
        let selection = self.walk(device, evidence, |tried| lines.push(tried.to_string()));
        (selection, lines)
    }

    /// As [`SatpRules::trace`], but successive system rules for arrays of other vendors share a line, because there are
    /// a hundred of them.
    #[must_use]
    pub(crate) fn summarize(
        &self,
        device: &DeviceFacts<'_>,
        evidence: &Evidence<'_>,
    ) -> (Selection, Vec<String>) {
        let mut lines = Vec::new();
        let mut foreign = 0_usize;
        let selection = self.walk(device, evidence, |tried| {
            let is_foreign = matches!(&tried, Tried::No(rule, Mismatch::Is("vendor", _)) if rule.group == Group::System);
            foreign = if is_foreign { foreign.saturating_add(1) } else { 0 };
            if foreign > 1 {
                lines.pop();
                let vendor = device.vendor;
                lines.push(format!("{foreign} system rules of other vendors: no, vendor is `{vendor}`"));
            } else {
                lines.push(tried.to_string());
            }
        });
        (selection, lines)
    }

    /// Tries the rules in order and reports each to `report`. What `report` drops is never formatted.
    fn walk(
        &self,
        device: &DeviceFacts<'_>,
        evidence: &Evidence<'_>,
        mut report: impl FnMut(Tried<'_, SatpRule, Mismatch<'_>>),
    ) -> Selection {
        for rule in &self.rules {
            if let Err(why) = rule.test(device, evidence) {
                report(Tried::No(rule, why));
                continue;
            }
            let Some(satp) = by_name(&rule.satp) else {
                report(Tried::Said(format_args!(
                    "{rule}: matches, but this build has no such SATP"
                )));
                continue;
            };
            if let Err(why) = satp.accepts(evidence) {
                report(Tried::Said(format_args!(
                    "{rule}: matches, but the SATP declines: {why}"
                )));
                continue;
            }
            report(Tried::Said(format_args!("{rule}: matches")));
            let psp = match rule.psp.as_deref().map(PspKind::by_name) {
                Some(Some(psp)) => psp,
                Some(None) => {
                    let name = rule.psp.as_deref().unwrap_or_default();
                    report(Tried::Said(format_args!(
                        "this build has no {name}: the SATP's default"
                    )));
                    self.psp_of(satp)
                }
                None => self.psp_of(satp),
            };
            return Selection {
                plugin: Plugin::Nmp,
                satp,
                psp,
                rule: Some(rule.clone()),
                settings: settings_of(rule),
            };
        }
        let (satp, why) = by_transport(device);
        report(Tried::Said(format_args!(
            "no rule: {} ({why})",
            satp.name()
        )));
        Selection {
            plugin: Plugin::Nmp,
            satp,
            psp: self.psp_of(satp),
            rule: None,
            settings: DeviceSettings::default(),
        }
    }

    /// The PSP that the admin set for a SATP, or the SATP's own.
    fn psp_of(&self, satp: &dyn Satp) -> PspKind {
        self.default_psps
            .get(satp.name())
            .map_or_else(|| satp.default_psp(), |Named(psp)| *psp)
    }
}

/// ESXi's defaults by transport, with the reason. A local device with two paths is not treated as a plain local disk:
/// without a map, the host would be offered two disks. Nor is one that had a map before: it lost a path, and the host may
/// have to boot from it by the name of its map.
pub(crate) fn by_transport(device: &DeviceFacts<'_>) -> (&'static dyn Satp, String) {
    let (transport, paths) = (device.transport.as_str(), device.paths);
    if device.transport.is_san() {
        let why = format!("default of transport {transport}");
        (&super::active_active::DEFAULT_AA, why)
    } else if paths > 1 {
        let why = format!("{paths} paths lead to it");
        (&super::active_active::DEFAULT_AA, why)
    } else if device.had_map {
        let why = format!("transport {transport} with one path, but it had a map before");
        (&super::active_active::DEFAULT_AA, why)
    } else {
        let why = format!("default of transport {transport} with one path");
        (&super::local::Local, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psa::adapter::Transport;
    use crate::psa::evidence::Link;
    use crate::psa::facts::Handler;
    use crate::psa::pattern::Pattern;
    use crate::scsi::inquiry::Tpgs;

    fn rule(satp: &str, vendor: &str, model: &str, claim: &str, group: Group) -> SatpRule {
        let pattern = |text: &str| (!text.is_empty()).then(|| Pattern::parse(text).unwrap());
        SatpRule {
            satp: format!("VMW_SATP_{satp}"),
            vendor: pattern(vendor),
            model: pattern(model),
            claim_options: claim.to_owned(),
            group,
            ..SatpRule::default()
        }
    }

    fn select(
        rules: &SatpRules,
        vendor: &str,
        model: &str,
        tpgs: Tpgs,
    ) -> (Selection, Vec<String>) {
        let groups = BTreeMap::new();
        let evidence = Evidence {
            tpgs,
            port_group: Some(1),
            relative_port: Some(1),
            groups: &groups,
            link: &Link::Up,
            ownership: None,
            handler: &Handler::Unsupported,
        };
        let facts = DeviceFacts {
            device: &"naa.6001".into(),
            vendor,
            model,
            inquiry: &[],
            driver: "qla2xxx",
            transport: Transport::Fc,
            paths: 4,
            had_map: true,
        };
        rules.summarize(&facts, &evidence)
    }

    #[test]
    fn the_order_of_lookup() {
        use Group::{System, User};
        let device = SatpRule {
            device: Some("naa.6001".into()),
            ..rule("LOCAL", "", "", "", System)
        };
        let driver = SatpRule {
            driver: Some("qla2xxx".to_owned()),
            ..rule("LOCAL", "", "", "", User)
        };
        let transport = SatpRule {
            transport: Some(Transport::Fc),
            ..rule("LOCAL", "", "", "", User)
        };
        let ordered = vec![
            device,
            driver,
            rule("DEFAULT_AA", "A", "B", "", User),
            rule("DEFAULT_AA", "A", "", "", User),
            rule("ALUA", "", "", "tpgs_on", User),
            rule("ALUA", "A", "B", "tpgs_on", System),
            rule("ALUA", "A", "^B*", "", System),
            rule("ALUA", "A", "", "", System),
            rule("ALUA", "", "", "tpgs_on", System),
            transport,
        ];
        let mut mixed = ordered.clone();
        mixed.rotate_left(7);
        mixed.swap(0, 2);
        // The two system rules for A and B are equal in rank, so they keep the order of the list.
        mixed.sort_by_key(|r| usize::from(r.model.as_ref().is_some_and(|m| m.as_str() == "^B*")));
        assert_eq!(SatpRules::new(mixed, BTreeMap::new()).rules(), ordered);
    }

    #[test]
    fn rules_of_other_vendors_share_a_line() {
        let rules = SatpRules::new(
            vec![
                rule("ALUA", "A", "1", "", Group::System),
                rule("ALUA", "B", "1", "", Group::System),
                rule("ALUA", "C", "1", "", Group::User),
                rule("ALUA", "IBM", "1", "", Group::System),
                rule("ALUA", "E", "1", "", Group::System),
                rule("DEFAULT_AA", "IBM", "2", "", Group::System),
            ],
            BTreeMap::new(),
        );
        let (_, lines) = select(&rules, "IBM", "2", Tpgs::None);
        assert_eq!(
            lines,
            [
                "user rule VMW_SATP_ALUA (vendor=C model=1): no, vendor is `IBM`",
                "2 system rules of other vendors: no, vendor is `IBM`",
                "system rule VMW_SATP_ALUA (vendor=IBM model=1): no, model is `2`",
                "system rule VMW_SATP_ALUA (vendor=E model=1): no, vendor is `IBM`",
                "system rule VMW_SATP_DEFAULT_AA (vendor=IBM model=2): matches",
            ]
        );
    }

    #[test]
    fn a_rule_of_the_admin_wins_and_tpgs_is_part_of_the_match() {
        let rules = SatpRules::new(
            vec![
                rule("ALUA", "3PARdata", "VV", "tpgs_on", Group::System),
                SatpRule {
                    psp: Some("VMW_PSP_RR".to_owned()),
                    ..rule("DEFAULT_AA", "3PARdata", "VV", "tpgs_off", Group::User)
                },
                rule("ACME", "IBM", "1814", "", Group::System),
            ],
            BTreeMap::from([("VMW_SATP_ALUA".to_owned(), PspKind::RoundRobin)]),
        );
        let (alua, lines) = select(&rules, "3PARdata", "VV", Tpgs::Implicit);
        assert_eq!(
            (alua.satp.name(), alua.psp),
            ("VMW_SATP_ALUA", PspKind::RoundRobin)
        );
        assert_eq!(
            lines[0],
            "user rule VMW_SATP_DEFAULT_AA (vendor=3PARdata model=VV tpgs_off): no, INQUIRY TPGS is not 0"
        );
        let (other, _) = select(&rules, "3PARdata", "VV", Tpgs::None);
        assert_eq!(
            (other.satp.name(), other.psp),
            ("VMW_SATP_DEFAULT_AA", PspKind::RoundRobin)
        );
        let (absent, lines) = select(&rules, "IBM", "1814", Tpgs::None);
        assert_eq!(absent.satp.name(), "VMW_SATP_DEFAULT_AA");
        assert!(
            lines
                .iter()
                .any(|l| l.contains("this build has no such SATP")),
            "{lines:?}"
        );
        assert!(lines.last().unwrap().contains("default of transport fc"));
    }
}
