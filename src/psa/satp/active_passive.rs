//! Arrays with two controllers, one of which serves a logical unit. The other takes it over on command.
//!
//! The kernel sends that command: its device handler for the array (`hp_sw` by START STOP UNIT, `emc` and `rdac` by
//! MODE SELECT) activates a group of paths when dm-multipath switches to it. This module judges the paths: by the sense
//! data of TEST UNIT READY, and by the vendor's page that names the owning controller, if the array has one.

use super::interface::{Evidence, Satp, judge_link, kernel_handler};
use crate::psa::evidence::{Class, Judgement, Link, PathState};
use crate::psa::psp::PspKind;
use crate::psa::table::model::HardwareHandler;
use crate::scsi::ownership::{CLARIION_PAGE, Ownership, RDAC_PAGE};
use crate::scsi::sense::SenseMeaning;

/// A SATP for arrays whose passive controller has to be activated.
pub(super) struct ActivePassive {
    name: &'static str,
    description: &'static str,
    default_psp: PspKind,
    /// The VPD page that names the controller that owns the unit.
    page: Option<u8>,
    /// The kernel's handler that activates a controller.
    handler: &'static str,
}

/// VMW_SATP_DEFAULT_AP.
pub(super) static DEFAULT_AP: ActivePassive = ActivePassive {
    name: "VMW_SATP_DEFAULT_AP",
    description: "Supports non-specific active/passive arrays",
    default_psp: PspKind::Mru,
    page: None,
    handler: "hp_sw",
};

/// VMW_SATP_MSA.
pub(super) static MSA: ActivePassive = ActivePassive {
    name: "VMW_SATP_MSA",
    description: "Supports HP MSA",
    default_psp: PspKind::Mru,
    page: None,
    handler: "hp_sw",
};

/// VMW_SATP_EVA.
pub(super) static EVA: ActivePassive = ActivePassive {
    name: "VMW_SATP_EVA",
    description: "Supports HP EVA",
    default_psp: PspKind::Fixed,
    page: None,
    handler: "hp_sw",
};

/// VMW_SATP_CX.
pub(super) static CX: ActivePassive = ActivePassive {
    name: "VMW_SATP_CX",
    description: "Supports EMC CX that do not use the ALUA protocol",
    default_psp: PspKind::Mru,
    page: Some(CLARIION_PAGE),
    handler: "emc",
};

/// VMW_SATP_LSI.
pub(super) static LSI: ActivePassive = ActivePassive {
    name: "VMW_SATP_LSI",
    description: "Supports LSI and other arrays with RDAC controllers",
    default_psp: PspKind::Mru,
    page: Some(RDAC_PAGE),
    handler: "rdac",
};

impl Satp for ActivePassive {
    fn name(&self) -> &'static str {
        self.name
    }
    fn description(&self) -> &'static str {
        self.description
    }
    fn default_psp(&self) -> PspKind {
        self.default_psp
    }
    fn accepts(&self, _evidence: &Evidence<'_>) -> Result<(), String> {
        Ok(())
    }
    fn ownership_page(&self) -> Option<u8> {
        self.page
    }
    fn is_exclusive(&self) -> bool {
        true
    }
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement {
        let class = match evidence.link {
            Link::Up => match (self.page, evidence.ownership) {
                (None, _) | (_, Some(Ownership::Owner)) => Class::Optimized,
                (_, Some(Ownership::Forwards)) => Class::NonOptimized,
                (_, Some(Ownership::Peer)) => Class::Standby,
                (_, Some(Ownership::Unbound)) => {
                    return Judgement {
                        state: PathState::Dead,
                        reason: "no logical unit is bound to the LUN".to_owned(),
                        class: None,
                    };
                }
                (Some(page), None) => {
                    return Judgement {
                        state: PathState::Unknown,
                        reason: format!(
                            "VPD page {page:02X}h, which names the owning controller, was not read"
                        ),
                        class: None,
                    };
                }
            },
            // The passive controller reports that it has to be started, or requires manual intervention. In both cases
            // the host activates it.
            Link::NotReady(sense)
                if matches!(
                    sense.meaning(),
                    SenseMeaning::InitializingCommandRequired | SenseMeaning::ManualIntervention
                ) && evidence.ownership != Some(Ownership::Owner) =>
            {
                Class::Standby
            }
            // A path that is down keeps the class that it had.
            link => {
                return Judgement {
                    class: None,
                    ..judge_link(link)
                };
            }
        };
        Judgement {
            state: class.state(),
            reason: String::new(),
            class: Some(class),
        }
    }
    fn can_activate(&self, evidence: &Evidence<'_>) -> bool {
        self.handler(evidence).is_some()
    }
    fn device_handler(&self) -> Option<&'static str> {
        Some(self.handler)
    }

    fn handler(&self, evidence: &Evidence<'_>) -> Option<HardwareHandler> {
        kernel_handler(evidence, self.handler, &[])
    }
}
