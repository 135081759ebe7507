//! VMW_SATP_LOCAL: direct attached disks. They are claimed, listed and checked, but get no map: a local disk stays
//! `/dev/sdX`.

use super::interface::{Evidence, Satp, judge_link};
use crate::psa::evidence::Judgement;
use crate::psa::psp::PspKind;

/// VMW_SATP_LOCAL.
pub(super) struct Local;

impl Satp for Local {
    fn name(&self) -> &'static str {
        "VMW_SATP_LOCAL"
    }
    fn description(&self) -> &'static str {
        "Supports direct attached devices"
    }
    fn default_psp(&self) -> PspKind {
        PspKind::Fixed
    }
    fn accepts(&self, _evidence: &Evidence<'_>) -> Result<(), String> {
        Ok(())
    }
    fn is_stacked(&self) -> bool {
        false
    }
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement {
        judge_link(evidence.link)
    }
}
