//! Parses and builds sense data (SPC-5, "Sense data").

use super::reader::{ParseError, ParseProblem, Reader};
use serde::{Deserialize, Serialize};
use std::fmt;

/// NO SENSE.
pub(crate) const NO_SENSE: u8 = 0x0;
/// RECOVERED ERROR: the command was carried out.
pub(crate) const RECOVERED_ERROR: u8 = 0x1;
/// NOT READY.
pub(crate) const NOT_READY: u8 = 0x2;
/// MEDIUM ERROR.
pub(crate) const MEDIUM_ERROR: u8 = 0x3;
/// HARDWARE ERROR.
pub const HARDWARE_ERROR: u8 = 0x4;
/// ILLEGAL REQUEST.
pub const ILLEGAL_REQUEST: u8 = 0x5;
/// UNIT ATTENTION.
pub(crate) const UNIT_ATTENTION: u8 = 0x6;
/// DATA PROTECT: writes are rejected.
pub(crate) const DATA_PROTECT: u8 = 0x7;
/// ABORTED COMMAND.
pub const ABORTED_COMMAND: u8 = 0xb;

/// The part of sense data that decisions are based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sense {
    /// SENSE KEY.
    pub key: u8,
    /// ADDITIONAL SENSE CODE.
    pub asc: u8,
    /// ADDITIONAL SENSE CODE QUALIFIER.
    pub ascq: u8,
}

/// What sense data mean for a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SenseMeaning {
    /// UNIT ATTENTION: something happened before this command. The command was not carried out; send it again.
    UnitAttention(UnitAttentionKind),
    /// NOT READY or UNIT ATTENTION 04/0A: the port group is changing its access state.
    AccessStateTransition,
    /// NOT READY 04/0B: the target port is in standby.
    TargetPortStandby,
    /// NOT READY 04/0C: the target port is in the unavailable state.
    TargetPortUnavailable,
    /// NOT READY 04/12: the target port is offline.
    TargetPortOffline,
    /// NOT READY 04/01: the unit is becoming ready; wait.
    BecomingReady,
    /// NOT READY 04/02: START STOP UNIT is needed; active/passive arrays return this on the passive side.
    InitializingCommandRequired,
    /// NOT READY 04/03: manual intervention is needed; active/passive arrays return this on the passive side.
    ManualIntervention,
    /// NOT READY with any other code.
    NotReady,
    /// The logical unit is permanently lost (PDL in ESXi): 5/25/00 not supported, 4/4C/00 failed self-configuration,
    /// 4/3E/01 failure, 4/3E/03 failed self-test.
    PermanentLoss,
    /// ILLEGAL REQUEST 20, 24, 26: the device does not support the command or a field of it.
    InvalidOpcodeOrField,
    /// ILLEGAL REQUEST 94/01 (vendor specific, RDAC): the other controller owns the logical unit.
    OwnershipError,
    /// Anything else.
    Other,
}

/// The cause of a unit attention: those for which the kernel raises uevents, and one for which it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnitAttentionKind {
    /// 3F/03.
    InquiryDataHasChanged,
    /// 3F/0E.
    ReportedLunsDataHasChanged,
    /// 29/xx.
    PowerOnResetOccurred,
    /// 2A/01.
    ModeParametersChanged,
    /// 2A/06.
    AsymmetricAccessStateChanged,
    /// 2A/07: no uevent.
    ImplicitTransitionFailed,
    /// 2A/09.
    CapacityDataHasChanged,
    /// 38/07.
    ThinProvisioningSoftThresholdReached,
    /// Any other.
    Other,
}

impl Sense {
    /// Parses sense data in the fixed format (response codes 70h, 71h) or the descriptor format (72h, 73h). 71h and 73h
    /// are deferred errors, which belong to an earlier command; they are parsed in the same way.
    ///
    /// ADDITIONAL SENSE CODE and its qualifier are used only if both are within ADDITIONAL SENSE LENGTH, because the
    /// code without its qualifier has a different meaning. Otherwise both are zero.
    ///
    /// # Errors
    /// No bytes, another response code, or no SENSE KEY.
    pub fn parse(data: &[u8]) -> Result<Sense, ParseError> {
        let mut r = Reader::new("sense data", data);
        let start = r.clone();
        match r.u8()? & 0x7f {
            0x70 | 0x71 => {
                r.skip(1)?;
                r.entering("SENSE KEY");
                let key = r.u8()? & 0x0f;
                // Bytes 12 and 13 are valid only if ADDITIONAL SENSE LENGTH (byte 7) covers them.
                let (asc, ascq) = match data {
                    [_, _, _, _, _, _, _, length, _, _, _, _, asc, ascq, ..] if *length >= 6 => {
                        (*asc, *ascq)
                    }
                    _ => (0, 0),
                };
                Ok(Sense { key, asc, ascq })
            }
            0x72 | 0x73 => {
                r.entering("SENSE KEY");
                let key = r.u8()? & 0x0f;
                let (asc, ascq) = r.u16().map_or((0, 0), |code| {
                    let [asc, ascq] = code.to_be_bytes();
                    (asc, ascq)
                });
                Ok(Sense { key, asc, ascq })
            }
            other => Err(start.error(ParseProblem::Unexpected {
                found: u64::from(other),
                expected: "a RESPONSE CODE of 70h to 73h",
            })),
        }
    }

    /// Builds sense data in the fixed format, 18 bytes, for simulated arrays and tests.
    #[must_use]
    pub fn to_fixed(self) -> Vec<u8> {
        let mut out = vec![0; 18];
        for (slot, byte) in out.iter_mut().zip([
            0x70,
            0,
            self.key & 0x0f,
            0,
            0,
            0,
            0,
            10,
            0,
            0,
            0,
            0,
            self.asc,
            self.ascq,
        ]) {
            *slot = byte;
        }
        out
    }

    /// Builds sense data in the descriptor format without descriptors, 8 bytes, for simulated arrays and tests.
    #[must_use]
    pub fn to_descriptor(self) -> Vec<u8> {
        vec![0x72, self.key & 0x0f, self.asc, self.ascq, 0, 0, 0, 0]
    }

    /// Whether the command was carried out although there are sense data: NO SENSE, RECOVERED ERROR.
    #[must_use]
    pub fn carried_out(self) -> bool {
        matches!(self.key, NO_SENSE | RECOVERED_ERROR)
    }

    /// What the sense data mean for the path.
    #[must_use]
    pub fn meaning(self) -> SenseMeaning {
        match (self.key, self.asc, self.ascq) {
            (NOT_READY | UNIT_ATTENTION, 0x04, 0x0a) => SenseMeaning::AccessStateTransition,
            (NOT_READY, 0x04, 0x0b) => SenseMeaning::TargetPortStandby,
            (NOT_READY, 0x04, 0x0c) => SenseMeaning::TargetPortUnavailable,
            (NOT_READY, 0x04, 0x12) => SenseMeaning::TargetPortOffline,
            (NOT_READY, 0x04, 0x01) => SenseMeaning::BecomingReady,
            (NOT_READY, 0x04, 0x02) => SenseMeaning::InitializingCommandRequired,
            (NOT_READY, 0x04, 0x03) => SenseMeaning::ManualIntervention,
            (NOT_READY, _, _) => SenseMeaning::NotReady,
            (ILLEGAL_REQUEST, 0x25, 0x00)
            | (HARDWARE_ERROR, 0x4c, 0x00)
            | (HARDWARE_ERROR, 0x3e, 0x01 | 0x03) => SenseMeaning::PermanentLoss,
            (ILLEGAL_REQUEST, 0x20 | 0x24 | 0x26, _) => SenseMeaning::InvalidOpcodeOrField,
            (ILLEGAL_REQUEST, 0x94, 0x01) => SenseMeaning::OwnershipError,
            (UNIT_ATTENTION, asc, ascq) => {
                SenseMeaning::UnitAttention(UnitAttentionKind::of(asc, ascq))
            }
            _ => SenseMeaning::Other,
        }
    }

    /// The text from the standard (SPC-5, "ASC and ASCQ assignments", shortened) for the codes that matter here,
    /// otherwise the name of the sense key.
    #[must_use]
    pub fn text(self) -> &'static str {
        match (self.key, self.asc, self.ascq) {
            (_, 0x04, 0x00) => "not ready, cause not reportable",
            (_, 0x04, 0x01) => "becoming ready",
            (_, 0x04, 0x02) => "initializing command required",
            (_, 0x04, 0x03) => "manual intervention required",
            (_, 0x04, 0x0a) => "asymmetric access state transition",
            (_, 0x04, 0x0b) => "target port in standby state",
            (_, 0x04, 0x0c) => "target port in unavailable state",
            (_, 0x04, 0x12) => "logical unit offline",
            (_, 0x20, 0x00) => "invalid command operation code",
            (_, 0x24, 0x00) => "invalid field in CDB",
            (_, 0x25, 0x00) => "logical unit not supported",
            (_, 0x26, 0x00) => "invalid field in parameter list",
            (_, 0x29, 0x07) => "I_T nexus loss",
            (_, 0x29, _) => "power on or reset",
            (_, 0x2a, 0x01) => "mode parameters changed",
            (_, 0x2a, 0x06) => "asymmetric access state changed",
            (_, 0x2a, 0x07) => "implicit access state transition failed",
            (_, 0x2a, 0x09) => "capacity data has changed",
            (_, 0x38, 0x07) => "thin provisioning soft threshold reached",
            (_, 0x3a, _) => "medium not present",
            (_, 0x3e, 0x01) => "logical unit failure",
            (_, 0x3e, 0x03) => "logical unit failed self-test",
            (_, 0x3f, 0x03) => "INQUIRY data has changed",
            (_, 0x3f, 0x0e) => "reported LUNs data has changed",
            (_, 0x4c, 0x00) => "logical unit failed self-configuration",
            (ILLEGAL_REQUEST, 0x94, 0x01) => "owned by the other controller",
            (key, _, _) => key_text(key),
        }
    }
}

impl UnitAttentionKind {
    fn of(asc: u8, ascq: u8) -> UnitAttentionKind {
        match (asc, ascq) {
            (0x3f, 0x03) => UnitAttentionKind::InquiryDataHasChanged,
            (0x3f, 0x0e) => UnitAttentionKind::ReportedLunsDataHasChanged,
            (0x29, _) => UnitAttentionKind::PowerOnResetOccurred,
            (0x2a, 0x01) => UnitAttentionKind::ModeParametersChanged,
            (0x2a, 0x06) => UnitAttentionKind::AsymmetricAccessStateChanged,
            (0x2a, 0x07) => UnitAttentionKind::ImplicitTransitionFailed,
            (0x2a, 0x09) => UnitAttentionKind::CapacityDataHasChanged,
            (0x38, 0x07) => UnitAttentionKind::ThinProvisioningSoftThresholdReached,
            _ => UnitAttentionKind::Other,
        }
    }
}

/// Names of sense keys (SPC-5, "Sense key descriptions").
#[must_use]
pub(crate) fn key_text(key: u8) -> &'static str {
    match key {
        0x0 => "no sense",
        0x1 => "recovered error",
        0x2 => "not ready",
        0x3 => "medium error",
        0x4 => "hardware error",
        0x5 => "illegal request",
        0x6 => "unit attention",
        0x7 => "data protect",
        0x8 => "blank check",
        0x9 => "vendor specific",
        0xa => "copy aborted",
        0xb => "aborted command",
        0xd => "volume overflow",
        0xe => "miscompare",
        0xf => "completed",
        _ => "reserved",
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:X}/{:02X}/{:02X} ({})",
            self.key,
            self.asc,
            self.ascq,
            self.text()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sense(key: u8, asc: u8, ascq: u8) -> Sense {
        Sense { key, asc, ascq }
    }

    #[test]
    fn both_formats_current_and_deferred() {
        let wanted = sense(2, 0x04, 0x0b);
        // LIO sends the fixed format, 18 bytes, with more bytes after them.
        let mut fixed = wanted.to_fixed();
        fixed.resize(96, 0);
        assert_eq!(Sense::parse(&fixed), Ok(wanted));
        fixed[0] = 0xf1; // VALID, deferred
        assert_eq!(Sense::parse(&fixed), Ok(wanted));
        let mut descriptor = wanted.to_descriptor();
        assert_eq!(Sense::parse(&descriptor), Ok(wanted));
        descriptor[0] = 0x73;
        assert_eq!(Sense::parse(&descriptor), Ok(wanted));
    }

    #[test]
    fn half_a_code_is_not_a_code() {
        let fixed = sense(5, 0x25, 0x01).to_fixed();
        assert_eq!(Sense::parse(&fixed[..13]), Ok(sense(5, 0, 0)));
        let mut short = fixed.clone();
        short[7] = 5;
        assert_eq!(Sense::parse(&short), Ok(sense(5, 0, 0)));
        short[7] = 6;
        assert_eq!(Sense::parse(&short), Ok(sense(5, 0x25, 1)));
        let descriptor = sense(5, 0x25, 0x01).to_descriptor();
        assert_eq!(Sense::parse(&descriptor[..3]), Ok(sense(5, 0, 0)));
    }

    #[test]
    fn no_sense_data_at_all() {
        assert!(Sense::parse(&[]).is_err());
        assert!(Sense::parse(&[0x70, 0]).is_err());
        assert!(Sense::parse(&[0x72]).is_err());
        assert_eq!(
            Sense::parse(&[0; 18]).unwrap_err().to_string(),
            "sense data, byte 0: found 0x0, expected a RESPONSE CODE of 70h to 73h"
        );
    }

    #[test]
    fn meanings() {
        use SenseMeaning as M;
        use UnitAttentionKind as U;
        for ((key, asc, ascq), meaning) in [
            ((2, 0x04, 0x0a), M::AccessStateTransition),
            ((6, 0x04, 0x0a), M::AccessStateTransition),
            ((2, 0x04, 0x0b), M::TargetPortStandby),
            ((2, 0x04, 0x0c), M::TargetPortUnavailable),
            ((2, 0x04, 0x12), M::TargetPortOffline),
            ((2, 0x04, 0x01), M::BecomingReady),
            ((2, 0x04, 0x02), M::InitializingCommandRequired),
            ((2, 0x04, 0x03), M::ManualIntervention),
            ((2, 0x3a, 0x00), M::NotReady),
            ((5, 0x25, 0x00), M::PermanentLoss),
            ((4, 0x4c, 0x00), M::PermanentLoss),
            ((4, 0x3e, 0x01), M::PermanentLoss),
            ((4, 0x3e, 0x03), M::PermanentLoss),
            ((4, 0x3e, 0x02), M::Other),
            ((5, 0x20, 0x00), M::InvalidOpcodeOrField),
            ((5, 0x24, 0x00), M::InvalidOpcodeOrField),
            ((5, 0x26, 0x02), M::InvalidOpcodeOrField),
            ((5, 0x94, 0x01), M::OwnershipError),
            ((3, 0x11, 0x00), M::Other),
            ((6, 0x3f, 0x03), M::UnitAttention(U::InquiryDataHasChanged)),
            (
                (6, 0x3f, 0x0e),
                M::UnitAttention(U::ReportedLunsDataHasChanged),
            ),
            ((6, 0x29, 0x00), M::UnitAttention(U::PowerOnResetOccurred)),
            ((6, 0x29, 0x07), M::UnitAttention(U::PowerOnResetOccurred)),
            ((6, 0x2a, 0x01), M::UnitAttention(U::ModeParametersChanged)),
            (
                (6, 0x2a, 0x06),
                M::UnitAttention(U::AsymmetricAccessStateChanged),
            ),
            (
                (6, 0x2a, 0x07),
                M::UnitAttention(U::ImplicitTransitionFailed),
            ),
            ((6, 0x2a, 0x09), M::UnitAttention(U::CapacityDataHasChanged)),
            (
                (6, 0x38, 0x07),
                M::UnitAttention(U::ThinProvisioningSoftThresholdReached),
            ),
            ((6, 0x2a, 0x03), M::UnitAttention(U::Other)),
        ] {
            assert_eq!(
                sense(key, asc, ascq).meaning(),
                meaning,
                "{key:x} {asc:x} {ascq:x}"
            );
        }
        assert!(sense(1, 0x17, 0).carried_out() && !sense(2, 4, 1).carried_out());
    }

    #[test]
    fn texts() {
        assert_eq!(
            sense(5, 0x25, 0).to_string(),
            "5/25/00 (logical unit not supported)"
        );
        assert_eq!(sense(3, 0x11, 0x0b).to_string(), "3/11/0B (medium error)");
        assert_eq!(sense(11, 0, 0).to_string(), "B/00/00 (aborted command)");
    }
}
