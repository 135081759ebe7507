//! VMW_SATP_ALUA_CX: CLARiiON, VNX and Unity in failover mode 4, which is ALUA.
//!
//! ESXi's plug-in also registers the host with the array (`navireg`) and hides its IP address (`ipfilter`). These have
//! no equivalent: on Linux, the array's own agent registers the host.

use super::alua::Alua;
use super::interface::{Evidence, Satp};
use crate::psa::evidence::Judgement;
use crate::psa::psp::PspKind;
use crate::psa::table::model::HardwareHandler;

/// VMW_SATP_ALUA_CX.
pub(super) struct AluaCx;

impl Satp for AluaCx {
    fn name(&self) -> &'static str {
        "VMW_SATP_ALUA_CX"
    }
    fn description(&self) -> &'static str {
        "Supports EMC CX that use the ALUA protocol"
    }
    fn default_psp(&self) -> PspKind {
        PspKind::RoundRobin
    }
    fn accepts(&self, evidence: &Evidence<'_>) -> Result<(), String> {
        Alua.accepts(evidence)
    }
    fn reports_port_groups(&self) -> bool {
        true
    }
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement {
        Alua.judge(evidence)
    }
    fn can_activate(&self, evidence: &Evidence<'_>) -> bool {
        Alua.can_activate(evidence)
    }
    fn device_handler(&self) -> Option<&'static str> {
        Alua.device_handler()
    }

    fn handler(&self, evidence: &Evidence<'_>) -> Option<HardwareHandler> {
        Alua.handler(evidence)
    }
    fn device_config(&self, evidence: &Evidence<'_>) -> String {
        format!(
            "{{navireg=off, ipfilter=off}}{}",
            Alua.device_config(evidence)
        )
    }
    fn path_config(&self, evidence: &Evidence<'_>) -> String {
        Alua.path_config(evidence)
    }
}
