//! Arrays whose ports are all equivalent: VMW_SATP_DEFAULT_AA, and the arrays for which ESXi has separate SATPs.

use super::interface::{Evidence, Satp, judge_link};
use crate::psa::evidence::Judgement;
use crate::psa::psp::PspKind;

/// A SATP for arrays whose ports are all equivalent.
pub(super) struct ActiveActive {
    name: &'static str,
    description: &'static str,
    default_psp: PspKind,
    /// Whether ESXi shows a device config.
    configured: bool,
}

/// VMW_SATP_DEFAULT_AA.
pub(super) static DEFAULT_AA: ActiveActive = ActiveActive {
    name: "VMW_SATP_DEFAULT_AA",
    description: "Supports non-specific active/active arrays",
    default_psp: PspKind::Fixed,
    configured: true,
};

/// VMW_SATP_SVC.
pub(super) static SVC: ActiveActive = ActiveActive {
    name: "VMW_SATP_SVC",
    description: "Supports IBM SVC",
    default_psp: PspKind::Fixed,
    configured: true,
};

/// VMW_SATP_EQL.
pub(super) static EQL: ActiveActive = ActiveActive {
    name: "VMW_SATP_EQL",
    description: "Supports EqualLogic arrays",
    default_psp: PspKind::Fixed,
    configured: false,
};

/// VMW_SATP_INV.
pub(super) static INV: ActiveActive = ActiveActive {
    name: "VMW_SATP_INV",
    description: "Supports EMC Invista and VPLEX",
    default_psp: PspKind::Fixed,
    configured: true,
};

/// VMW_SATP_SYMM.
pub(super) static SYMM: ActiveActive = ActiveActive {
    name: "VMW_SATP_SYMM",
    description: "Supports EMC Symmetrix",
    default_psp: PspKind::RoundRobin,
    configured: true,
};

impl Satp for ActiveActive {
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
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement {
        judge_link(evidence.link)
    }
    fn device_config(&self, _evidence: &Evidence<'_>) -> String {
        if self.configured {
            "{action_OnRetryErrors=off}".to_owned()
        } else {
            self.no_device_config()
        }
    }
}
