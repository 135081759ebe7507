//! What a SATP is: its evidence, the trait that every SATP implements, and what several of them do alike.

use crate::psa::evidence::{Class, Judgement, Link, PathState, PortGroup};
use crate::psa::facts::Handler;
use crate::psa::psp::PspKind;
use crate::psa::table::model::HardwareHandler;
use crate::scsi::inquiry::Tpgs;
use crate::scsi::ownership::Ownership;
use std::collections::BTreeMap;

/// All evidence on which a SATP may base its judgement of a path.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// INQUIRY TPGS.
    pub tpgs: Tpgs,
    /// Target port group of the path, from VPD 83.
    pub port_group: Option<u16>,
    /// Relative target port of the path, from VPD 83.
    pub relative_port: Option<u16>,
    /// The port groups of the device as they were last reported.
    pub groups: &'a BTreeMap<u16, PortGroup>,
    /// The state of the link.
    pub link: &'a Link,
    /// What the array's own page says about the controller behind the path.
    pub ownership: Option<Ownership>,
    /// The kernel's device handler.
    pub handler: &'a Handler,
}

/// A storage array type plug-in.
pub trait Satp: Sync {
    /// `VMW_SATP_ALUA`
    fn name(&self) -> &'static str;
    /// The text of `satp list`.
    fn description(&self) -> &'static str;
    /// The PSP of its devices, unless a rule or the admin sets another.
    fn default_psp(&self) -> PspKind;
    /// Whether the SATP accepts the device. If not, the next rule is tried.
    ///
    /// # Errors
    /// The reason, as text for the user.
    fn accepts(&self, evidence: &Evidence<'_>) -> Result<(), String>;
    /// Whether its devices get a map.
    fn is_stacked(&self) -> bool {
        true
    }
    /// Whether REPORT TARGET PORT GROUPS is part of a check.
    fn reports_port_groups(&self) -> bool {
        false
    }
    /// The array's VPD page that is part of a check: it names the controller that serves the logical unit.
    fn ownership_page(&self) -> Option<u8> {
        None
    }
    /// Whether only one controller serves a logical unit at a time: if a standby path starts to serve, the paths of the
    /// other controller are in standby.
    fn is_exclusive(&self) -> bool {
        false
    }
    /// The state of a path.
    fn judge(&self, evidence: &Evidence<'_>) -> Judgement;
    /// Whether this host can activate a standby path.
    fn can_activate(&self, _evidence: &Evidence<'_>) -> bool {
        false
    }
    /// The kernel's device handler for these arrays, if they need one.
    fn device_handler(&self) -> Option<&'static str> {
        None
    }

    /// Hardware handler for the table.
    fn handler(&self, _evidence: &Evidence<'_>) -> Option<HardwareHandler> {
        None
    }
    /// `Storage Array Type Device Config`.
    fn device_config(&self, _evidence: &Evidence<'_>) -> String {
        self.no_device_config()
    }
    /// ESXi's text for a SATP without device config.
    fn no_device_config(&self) -> String {
        format!(
            "SATP {} does not support device configuration.",
            self.name()
        )
    }
    /// `Storage Array Type Path Config`.
    fn path_config(&self, _evidence: &Evidence<'_>) -> String {
        format!("SATP {} does not support path configuration.", self.name())
    }
}

/// The handler for the table: the one that is already attached, because it cannot be detached; otherwise this one.
/// `None` on a kernel that was built without handlers.
pub(super) fn kernel_handler(
    evidence: &Evidence<'_>,
    name: &str,
    args: &[&str],
) -> Option<HardwareHandler> {
    let handler = |name: &str, args: &[&str]| HardwareHandler {
        name: name.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
    };
    match evidence.handler {
        Handler::Unsupported => None,
        Handler::Attached(other) if other != name => Some(handler(other, &[])),
        Handler::Detached | Handler::Attached(_) => Some(handler(name, args)),
    }
}

/// A judgement based on the link alone, for arrays whose ports are all equivalent.
pub(super) fn judge_link(link: &Link) -> Judgement {
    let (state, reason) = match link {
        Link::Up => (PathState::Active, String::new()),
        Link::Unchecked(why) | Link::NoAnswer(why) => (PathState::Unknown, why.clone()),
        Link::Refused(_, sense) | Link::NotReady(sense) => {
            (PathState::Dead, format!("TEST UNIT READY: {sense}"))
        }
        Link::PermanentLoss(sense) => (PathState::Dead, format!("permanent loss: {sense}")),
        Link::Down(why) => (PathState::Dead, why.clone()),
    };
    Judgement {
        state,
        reason,
        class: Some(Class::Optimized),
    }
}
