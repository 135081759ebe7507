//! VMW_SATP_DEFAULT_AA: arrays whose ports are all alike.

use super::{Evidence, Judgement, Satp, judge_link};
use crate::psa::psp::PspKind;

/// VMW_SATP_DEFAULT_AA.
pub struct DefaultAa;

impl Satp for DefaultAa {
    fn name(&self) -> &'static str {
        "VMW_SATP_DEFAULT_AA"
    }
    fn description(&self) -> &'static str {
        "Supports non-specific active/active arrays"
    }
    fn default_psp(&self) -> PspKind {
        PspKind::Fixed
    }
    fn accepts(&self, _evidence: &Evidence<'_>) -> Result<(), String> {
        Ok(())
    }
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement {
        judge_link(evidence.link)
    }
    fn device_config(&self, _evidence: &Evidence<'_>) -> String {
        "{action_OnRetryErrors=off}".to_owned()
    }
}
