//! VMW_SATP_ALUA: arrays that report target port groups (SPC-5 5.18, asymmetric logical unit access).
//!
//! The kernel activates paths wherever it was built with device handlers, because failover of I/O must work even when
//! the agent is dead. The handler gets the argument `1` (optimize): with it `scsi_dh_alua` sends no SET TARGET PORT
//! GROUPS to a group that is active/non-optimized and whose array also moves logical units by itself. Such a group
//! serves I/O, and another host may have had a reason to move the logical unit. This is ESXi's follow-over.

use super::interface::{Evidence, Satp, kernel_handler};
use crate::psa::evidence::{Class, Judgement, Link, PathState, PortGroup};
use crate::psa::psp::PspKind;
use crate::psa::table::model::HardwareHandler;
use crate::scsi::inquiry::Tpgs;
use crate::scsi::tpgs::AccessState;

/// VMW_SATP_ALUA.
pub(crate) struct Alua;

/// The class of paths through a group in this state; `None` for transitioning, which has no class of its own.
fn class_of(access: AccessState) -> Option<Class> {
    match access {
        AccessState::ActiveOptimized => Some(Class::Optimized),
        AccessState::ActiveNonOptimized | AccessState::LogicalBlockDependent => {
            Some(Class::NonOptimized)
        }
        AccessState::Standby => Some(Class::Standby),
        AccessState::Unavailable | AccessState::Offline | AccessState::Reserved(_) => {
            Some(Class::Last)
        }
        AccessState::Transitioning => None,
    }
}

impl Alua {
    /// The group of the path.
    fn group<'a>(evidence: &Evidence<'a>) -> Option<&'a PortGroup> {
        evidence.groups.get(&evidence.port_group?)
    }
}

impl Satp for Alua {
    fn name(&self) -> &'static str {
        "VMW_SATP_ALUA"
    }
    fn description(&self) -> &'static str {
        "Supports non-specific arrays that use the ALUA protocol"
    }
    fn default_psp(&self) -> PspKind {
        PspKind::Mru
    }
    fn accepts(&self, evidence: &Evidence<'_>) -> Result<(), String> {
        if evidence.tpgs == Tpgs::None {
            return Err(
                "INQUIRY TPGS is 0: the device does not report target port groups".to_owned(),
            );
        }
        if evidence.port_group.is_none() {
            return Err("VPD page 83h does not name a target port group".to_owned());
        }
        Ok(())
    }
    fn reports_port_groups(&self) -> bool {
        true
    }
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement {
        let group = Self::group(evidence);
        let reported = group.and_then(|g| g.settled).and_then(class_of);
        // The refusal is more recent than the last report of the groups.
        let refused = match evidence.link {
            Link::Refused(access, _) => class_of(*access),
            _ => None,
        };
        let class = refused.or(reported);
        let dead = |reason: String| Judgement {
            state: PathState::Dead,
            reason,
            class: reported,
        };
        match evidence.link {
            Link::Down(why) => dead(why.clone()),
            Link::PermanentLoss(sense) => dead(format!("permanent loss: {sense}")),
            Link::NotReady(sense) => dead(format!("TEST UNIT READY: {sense}")),
            Link::Unchecked(why) | Link::NoAnswer(why) => Judgement {
                state: PathState::Unknown,
                reason: why.clone(),
                class: reported,
            },
            Link::Up | Link::Refused(..) => match (class, group) {
                (None, Some(_)) => Judgement {
                    state: PathState::Unknown,
                    reason: "its target port group is transitioning".to_owned(),
                    class: None,
                },
                (None, None) => Judgement {
                    state: PathState::Unknown,
                    reason: "the state of its target port group is not known yet".to_owned(),
                    class: None,
                },
                (Some(class), _) => {
                    let transitioning =
                        group.is_some_and(|g| g.access == AccessState::Transitioning);
                    let reason = match (class, transitioning) {
                        (_, true) => "its target port group is transitioning".to_owned(),
                        (Class::Last, _) => {
                            "its target port group is unavailable or offline".to_owned()
                        }
                        _ => String::new(),
                    };
                    Judgement {
                        state: class.state(),
                        reason,
                        class: Some(class),
                    }
                }
            },
        }
    }
    fn can_activate(&self, evidence: &Evidence<'_>) -> bool {
        evidence.tpgs.explicit()
    }
    fn device_handler(&self) -> Option<&'static str> {
        Some("alua")
    }

    fn handler(&self, evidence: &Evidence<'_>) -> Option<HardwareHandler> {
        kernel_handler(evidence, "alua", &["1"])
    }
    fn device_config(&self, evidence: &Evidence<'_>) -> String {
        let on = |b: bool| if b { "on" } else { "off" };
        let groups: String = evidence
            .groups
            .iter()
            .map(|(id, group)| format!("{{TPG_id={id},TPG_state={}}}", group.access.short()))
            .collect();
        format!(
            "{{implicit_support={}; explicit_support={}; explicit_allow=on; alua_followover=on; action_OnRetryErrors=off; {groups}}}",
            on(evidence.tpgs.implicit()),
            on(evidence.tpgs.explicit()),
        )
    }
    fn path_config(&self, evidence: &Evidence<'_>) -> String {
        let number = |n: Option<u16>| n.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
        let access = Self::group(evidence).map_or("unknown", |g| g.access.short());
        let health = if matches!(evidence.link, Link::Up | Link::Refused(..)) {
            "UP"
        } else {
            "DOWN"
        };
        format!(
            "{{TPG_id={},TPG_state={access},RTP_id={},RTP_health={health}}}",
            number(evidence.port_group),
            number(evidence.relative_port),
        )
    }
}
