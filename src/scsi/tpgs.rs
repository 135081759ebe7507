//! Parses and builds the data of REPORT and SET TARGET PORT GROUPS (asymmetric logical unit access, SPC-5 6.36, 6.45).
//!
//! REPORT TARGET PORT GROUPS parameter data, length only header:
//!
//! ```text
//! 0..3  RETURN DATA LENGTH, of what follows
//! 4..   target port group descriptors
//! ```
//!
//! and with the extended header:
//!
//! ```text
//! 0..3  RETURN DATA LENGTH
//! 4     bits 6..4 FORMAT TYPE, 001b
//! 5     IMPLICIT TRANSITION TIME, seconds, 0 = not given
//! 6..7  reserved
//! 8..   target port group descriptors
//! ```
//!
//! A target port group descriptor: byte 0 has PREF in bit 7 and ASYMMETRIC ACCESS STATE in bits 3..0; byte 1 the states
//! that the group supports; 2..3 TARGET PORT GROUP; 4 reserved; 5 STATUS CODE; 6 vendor specific; 7 TARGET PORT COUNT;
//! then for each port two reserved bytes and its RELATIVE TARGET PORT IDENTIFIER.

use super::reader::{ParseError, ParseProblem, Partly, Reader};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Maximum number of groups accepted in one answer: [`super::cdb::RTPG_LENGTH`] has space for no more.
pub(crate) const MAX_GROUPS: usize = 1024;

/// ASYMMETRIC ACCESS STATE (SPC-5 table 180).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AccessState {
    /// 0h
    ActiveOptimized,
    /// 1h
    ActiveNonOptimized,
    /// 2h
    Standby,
    /// 3h
    Unavailable,
    /// 4h
    LogicalBlockDependent,
    /// Eh
    Offline,
    /// Fh
    Transitioning,
    /// Any other nibble.
    Reserved(u8),
}

impl AccessState {
    /// Reads the low nibble of `value`; the high nibble is ignored.
    #[must_use]
    pub fn from_nibble(value: u8) -> AccessState {
        match value & 0x0f {
            0x0 => AccessState::ActiveOptimized,
            0x1 => AccessState::ActiveNonOptimized,
            0x2 => AccessState::Standby,
            0x3 => AccessState::Unavailable,
            0x4 => AccessState::LogicalBlockDependent,
            0xe => AccessState::Offline,
            0xf => AccessState::Transitioning,
            other => AccessState::Reserved(other),
        }
    }

    /// The code, 0h to Fh.
    #[must_use]
    pub(crate) fn nibble(self) -> u8 {
        match self {
            AccessState::ActiveOptimized => 0x0,
            AccessState::ActiveNonOptimized => 0x1,
            AccessState::Standby => 0x2,
            AccessState::Unavailable => 0x3,
            AccessState::LogicalBlockDependent => 0x4,
            AccessState::Offline => 0xe,
            AccessState::Transitioning => 0xf,
            AccessState::Reserved(other) => other & 0x0f,
        }
    }

    /// The abbreviation that ESXi prints (`TPG_state = ANO`), if it has one.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            AccessState::ActiveOptimized => "AO",
            AccessState::ActiveNonOptimized => "ANO",
            AccessState::Standby => "STBY",
            AccessState::Unavailable => "UNAV",
            AccessState::LogicalBlockDependent => "LBD",
            AccessState::Offline => "OFFL",
            AccessState::Transitioning => "TRNS",
            AccessState::Reserved(_) => "RSVD",
        }
    }
}

impl fmt::Display for AccessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessState::ActiveOptimized => f.write_str("active/optimized"),
            AccessState::ActiveNonOptimized => f.write_str("active/non-optimized"),
            AccessState::Standby => f.write_str("standby"),
            AccessState::Unavailable => f.write_str("unavailable"),
            AccessState::LogicalBlockDependent => f.write_str("logical block dependent"),
            AccessState::Offline => f.write_str("offline"),
            AccessState::Transitioning => f.write_str("transitioning"),
            AccessState::Reserved(code) => write!(f, "reserved ({code:X}h)"),
        }
    }
}

/// The states that a group supports: byte 1 of its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct SupportedStates {
    /// T_SUP, bit 7: transitioning is reported.
    pub transitioning: bool,
    /// O_SUP, bit 6.
    pub offline: bool,
    /// LBD_SUP, bit 4.
    pub logical_block_dependent: bool,
    /// U_SUP, bit 3.
    pub unavailable: bool,
    /// S_SUP, bit 2.
    pub standby: bool,
    /// AN_SUP, bit 1.
    pub active_non_optimized: bool,
    /// AO_SUP, bit 0.
    pub active_optimized: bool,
}

impl SupportedStates {
    /// Reads byte 1 of a descriptor; the reserved bit 5 is ignored.
    #[must_use]
    pub fn from_byte(byte: u8) -> SupportedStates {
        SupportedStates {
            transitioning: byte & 0x80 != 0,
            offline: byte & 0x40 != 0,
            logical_block_dependent: byte & 0x10 != 0,
            unavailable: byte & 0x08 != 0,
            standby: byte & 0x04 != 0,
            active_non_optimized: byte & 0x02 != 0,
            active_optimized: byte & 0x01 != 0,
        }
    }

    /// Byte 1 of a descriptor.
    #[must_use]
    pub(crate) fn to_byte(self) -> u8 {
        [
            (self.transitioning, 0x80),
            (self.offline, 0x40),
            (self.logical_block_dependent, 0x10),
            (self.unavailable, 0x08),
            (self.standby, 0x04),
            (self.active_non_optimized, 0x02),
            (self.active_optimized, 0x01),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .fold(0, |byte, (_, bit)| byte | bit)
    }
}

/// STATUS CODE (SPC-5 6.36): what changed the state of a group last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StatusCode {
    /// 0h: no information.
    None,
    /// 1h: a host, by SET TARGET PORT GROUPS.
    ByStpg,
    /// 2h: the array itself.
    Implicit,
    /// Any other.
    Reserved(u8),
}

impl StatusCode {
    /// Reads byte 5 of a descriptor.
    #[must_use]
    pub fn from_byte(byte: u8) -> StatusCode {
        match byte {
            0 => StatusCode::None,
            1 => StatusCode::ByStpg,
            2 => StatusCode::Implicit,
            other => StatusCode::Reserved(other),
        }
    }

    /// Byte 5 of a descriptor.
    #[must_use]
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            StatusCode::None => 0,
            StatusCode::ByStpg => 1,
            StatusCode::Implicit => 2,
            StatusCode::Reserved(other) => other,
        }
    }
}

/// A target port group: all of its ports have the same access state for this logical unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPortGroup {
    /// PREF: the group is a preferred one for this logical unit.
    pub preferred: bool,
    /// ASYMMETRIC ACCESS STATE.
    pub access_state: AccessState,
    /// The states that the group supports.
    pub supported: SupportedStates,
    /// TARGET PORT GROUP, the number that VPD page 83h of a path also contains.
    pub id: u16,
    /// STATUS CODE.
    pub status_code: StatusCode,
    /// Vendor specific byte.
    pub vendor_specific: u8,
    /// RELATIVE TARGET PORT IDENTIFIERs of its ports, in the order received.
    pub relative_target_ports: Vec<u16>,
}

/// The answer to REPORT TARGET PORT GROUPS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPortGroups {
    /// IMPLICIT TRANSITION TIME in seconds, 0 if the array does not give one; `None` with the length only header.
    pub implicit_transition_time: Option<u8>,
    /// The groups in the order received; group numbers are unique.
    pub groups: Vec<TargetPortGroup>,
}

impl TargetPortGroups {
    /// Parses parameter data with either header; bytes after RETURN DATA LENGTH are ignored.
    ///
    /// Bits 6..4 of byte 4 distinguish the headers: they are FORMAT TYPE 001b in the extended header, and reserved and
    /// zero in the first descriptor, which starts there otherwise. A target may answer a request for the extended
    /// header with the length only header (SPC-3 targets ignore the bits), so the header is taken from the answer, not
    /// from the request.
    ///
    /// # Errors
    /// - RETURN DATA LENGTH beyond the data: the answer was truncated by the allocation length or the transport;
    /// - another FORMAT TYPE, or a descriptor beyond RETURN DATA LENGTH;
    /// - a duplicate group number, or more than `MAX_GROUPS` groups.
    pub fn parse(data: &[u8]) -> Result<TargetPortGroups, ParseError> {
        let (groups, _) = TargetPortGroups::parse_all(data)?;
        groups.whole()
    }

    /// Like [`TargetPortGroups::parse`], but returns the groups before the first error. The port that LIO omits is
    /// reported as missing here; `parse` does not treat it as an error.
    ///
    /// # Errors
    /// No RETURN DATA LENGTH, another FORMAT TYPE, or a truncated extended header.
    pub(crate) fn parse_partly(data: &[u8]) -> Result<Partly<TargetPortGroups>, ParseError> {
        let (groups, left_out) = TargetPortGroups::parse_all(data)?;
        Ok(Partly {
            value: groups.value,
            end: groups.end,
            missing: groups.missing.or(left_out),
        })
    }

    /// Returns the groups that could be parsed with the first error, and where LIO omitted a port.
    fn parse_all(
        data: &[u8],
    ) -> Result<(Partly<TargetPortGroups>, Option<ParseError>), ParseError> {
        let mut whole = Reader::new("RETURN DATA LENGTH", data);
        let length = usize::try_from(whole.u32()?).unwrap_or(usize::MAX);
        let mut missing = None;
        let mut r = whole.part_up_to(length, &mut missing);

        r.entering("FORMAT TYPE");
        let header = match r.rest().first().map(|byte| byte & 0x70) {
            None | Some(0x00) => Ok(None),
            Some(0x10) => {
                r.entering("extended header");
                r.array().map(|[_, seconds, _, _]| Some(seconds))
            }
            Some(other) => Err(r.error(ParseProblem::Unexpected {
                found: u64::from(other >> 4),
                expected: "0 or 1",
            })),
        };
        // If the answer was truncated, that is the first error.
        let implicit_transition_time = header.map_err(|error| missing.clone().unwrap_or(error))?;

        let mut groups = Vec::new();
        let mut left_out = None;
        let mut end = r.offset();
        let extended = implicit_transition_time.is_some();
        if let Err(error) = parse_groups(&mut r, extended, &mut groups, &mut end, &mut left_out) {
            missing.get_or_insert(error);
        }
        let value = TargetPortGroups {
            implicit_transition_time,
            groups,
        };
        let groups = Partly {
            value,
            end,
            missing,
        };
        Ok((groups, left_out))
    }

    /// RETURN DATA LENGTH of parameter data: the number of bytes that follow it, as the device reports it.
    #[must_use]
    pub(crate) fn return_data_length(data: &[u8]) -> Option<u32> {
        data.first_chunk().map(|field| u32::from_be_bytes(*field))
    }

    /// Builds the parameter data that a target would send: the inverse of [`TargetPortGroups::parse`], for simulated
    /// arrays and tests. TARGET PORT COUNT is one byte, so ports of a group beyond the 255th are omitted.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(seconds) = self.implicit_transition_time {
            body.extend([0x10, seconds, 0, 0]);
        }
        for group in &self.groups {
            let count = u8::try_from(group.relative_target_ports.len()).unwrap_or(u8::MAX);
            let [id_high, id_low] = group.id.to_be_bytes();
            body.extend([
                u8::from(group.preferred) << 7 | group.access_state.nibble(),
                group.supported.to_byte(),
                id_high,
                id_low,
                0,
                group.status_code.to_byte(),
                group.vendor_specific,
                count,
            ]);
            for port in group.relative_target_ports.iter().take(usize::from(count)) {
                let [high, low] = port.to_be_bytes();
                body.extend([0, 0, high, low]);
            }
        }
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut out = length.to_be_bytes().to_vec();
        out.append(&mut body);
        out
    }

    /// The group with this number.
    #[must_use]
    pub fn find(&self, id: u16) -> Option<&TargetPortGroup> {
        self.groups.iter().find(|group| group.id == id)
    }
}

/// Parses descriptors up to the end or the first error; `end` is where the last complete one ends.
fn parse_groups(
    r: &mut Reader<'_>,
    extended: bool,
    groups: &mut Vec<TargetPortGroup>,
    end: &mut usize,
    left_out: &mut Option<ParseError>,
) -> Result<(), ParseError> {
    let mut seen = BTreeSet::new();
    while !r.is_empty() {
        r.entering("target port group descriptor");
        if groups.len() >= MAX_GROUPS {
            return Err(r.error(ParseProblem::TooMany { limit: MAX_GROUPS }));
        }
        let before = r.clone();
        let group = parse_group(r, extended, left_out)?;
        if !seen.insert(group.id) {
            return Err(before.error(ParseProblem::Duplicate {
                value: u64::from(group.id),
            }));
        }
        groups.push(group);
        *end = r.offset();
    }
    Ok(())
}

/// Parses one descriptor with its ports.
fn parse_group(
    r: &mut Reader<'_>,
    extended: bool,
    left_out: &mut Option<ParseError>,
) -> Result<TargetPortGroup, ParseError> {
    let [
        state,
        supported,
        id_high,
        id_low,
        _,
        status,
        vendor_specific,
        count,
    ] = r.array()?;
    r.entering("target port descriptor");
    let mut relative_target_ports = Vec::new();
    for number in 1..=count {
        // LIO (6.1 to 7.3) does not count the four bytes of the extended header in RETURN DATA LENGTH and sends only
        // the counted bytes, so the last port of its last group is missing. The state of that group comes earlier in
        // the descriptor and is valid.
        if extended && number == count && r.is_empty() {
            *left_out = Some(r.error(ParseProblem::Truncated {
                needed: 4,
                available: 0,
            }));
            break;
        }
        let [_, _, high, low] = r.array()?;
        relative_target_ports.push(u16::from_be_bytes([high, low]));
    }
    Ok(TargetPortGroup {
        preferred: state & 0x80 != 0,
        access_state: AccessState::from_nibble(state),
        supported: SupportedStates::from_byte(supported),
        id: u16::from_be_bytes([id_high, id_low]),
        status_code: StatusCode::from_byte(status),
        vendor_specific,
        relative_target_ports,
    })
}

/// Length of [`set_parameter_list`] for this number of groups, in bytes.
#[must_use]
pub(crate) fn set_parameter_list_length(groups: usize) -> u32 {
    u32::try_from(groups)
        .unwrap_or(u32::MAX)
        .saturating_add(1)
        .saturating_mul(4)
}

/// Builds the parameter list of SET TARGET PORT GROUPS (SPC-5 6.45): four reserved bytes, then for each group the
/// requested state, a reserved byte and the group number.
#[must_use]
pub fn set_parameter_list(groups: &[(u16, AccessState)]) -> Vec<u8> {
    let mut out = vec![0; 4];
    for (id, state) in groups {
        let [high, low] = id.to_be_bytes();
        out.extend([state.nibble(), 0, high, low]);
    }
    out
}

/// Parses the parameter list of SET TARGET PORT GROUPS, as a target does.
///
/// # Errors
/// Fewer than four bytes, or a last descriptor that is truncated.
pub fn parse_set_parameter_list(data: &[u8]) -> Result<Vec<(u16, AccessState)>, ParseError> {
    let mut r = Reader::new("SET TARGET PORT GROUPS parameter list", data);
    r.skip(4)?;
    r.entering("set target port group descriptor");
    let mut groups = Vec::new();
    while !r.is_empty() {
        let [state, _, high, low] = r.array()?;
        groups.push((
            u16::from_be_bytes([high, low]),
            AccessState::from_nibble(state),
        ));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LIO with two controllers; all states except logical block dependent are supported.
    const LIO: [u8; 40] = [
        0, 0, 0, 32, 0x10, 30, 0, 0, // extended header, 30 s
        0x80, 0xcf, 0, 1, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0,
        2, // group 1: AO, preferred, by STPG, ports 1 2
        0x01, 0xcf, 0, 2, 0, 2, 0, 1, 0, 0, 0, 3, // group 2: ANO, implicit, port 3
        0, 0, 0, 0, // the rest of the allocation length
    ];

    fn lio() -> TargetPortGroups {
        TargetPortGroups {
            implicit_transition_time: Some(30),
            groups: vec![
                TargetPortGroup {
                    preferred: true,
                    access_state: AccessState::ActiveOptimized,
                    supported: SupportedStates::from_byte(0xcf),
                    id: 1,
                    status_code: StatusCode::ByStpg,
                    vendor_specific: 0,
                    relative_target_ports: vec![1, 2],
                },
                TargetPortGroup {
                    preferred: false,
                    access_state: AccessState::ActiveNonOptimized,
                    supported: SupportedStates::from_byte(0xcf),
                    id: 2,
                    status_code: StatusCode::Implicit,
                    vendor_specific: 0,
                    relative_target_ports: vec![3],
                },
            ],
        }
    }

    #[test]
    fn extended_header() {
        assert_eq!(TargetPortGroups::parse(&LIO).unwrap(), lio());
        assert_eq!(lio().to_bytes(), LIO[..36]);
        assert_eq!(lio().find(2).unwrap().relative_target_ports, [3]);
        assert_eq!(lio().find(3), None);
    }

    #[test]
    fn half_a_descriptor_at_the_end() {
        let mut data = LIO;
        data[3] = 36;
        assert_eq!(
            TargetPortGroups::parse(&data).unwrap_err().to_string(),
            "target port group descriptor, byte 36: truncated: 8 bytes needed, 4 present"
        );
    }

    #[test]
    fn length_only_header_with_a_preferred_first_group() {
        // scsi_debug: its own group is standby, the group that it makes up is unavailable. PREF must not be taken for
        // FORMAT TYPE.
        let data = [
            0, 0, 0, 24, 0x82, 0x0f, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x03, 0x08, 1, 0x80, 0, 0, 0, 1,
            0, 0, 0, 2,
        ];
        let parsed = TargetPortGroups::parse(&data).unwrap();
        assert_eq!(parsed.implicit_transition_time, None);
        assert_eq!(
            parsed.find(0x100).unwrap().access_state,
            AccessState::Standby
        );
        assert!(parsed.find(0x100).unwrap().preferred);
        assert_eq!(
            parsed.find(0x180).unwrap().access_state,
            AccessState::Unavailable
        );
        assert_eq!(parsed.to_bytes(), data);
    }

    #[test]
    fn no_groups_at_all() {
        for data in [&[0, 0, 0, 0][..], &[0, 0, 0, 4, 0x10, 0, 0, 0]] {
            assert!(TargetPortGroups::parse(data).unwrap().groups.is_empty());
        }
    }

    #[test]
    fn the_port_that_lio_leaves_out() {
        // The answer of Linux 6.12 with two ports in each of two groups.
        let sent = [
            0, 0, 0, 0x20, 0x10, 0, 0, 0, 0x00, 0xcf, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2,
            0x01, 0xcf, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3,
        ];
        let report = TargetPortGroups::parse(&sent).unwrap();
        assert_eq!(report.groups.len(), 2);
        assert_eq!(report.groups[0].relative_target_ports, [1, 2]);
        assert_eq!(report.groups[1].relative_target_ports, [3]);
        assert_eq!(
            report.groups[1].access_state,
            AccessState::ActiveNonOptimized
        );
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let message = |data: &[u8]| TargetPortGroups::parse(data).unwrap_err().to_string();
        assert_eq!(
            message(&[0, 0]),
            "RETURN DATA LENGTH, byte 0: truncated: 4 bytes needed, 2 present"
        );
        assert_eq!(
            message(&LIO[..32]),
            "RETURN DATA LENGTH, byte 4: truncated: 32 bytes needed, 28 present"
        );
        let mut ports = LIO;
        ports[15] = 200;
        assert_eq!(
            message(&ports),
            "target port descriptor, byte 36: truncated: 4 bytes needed, 0 present"
        );
        assert_eq!(
            message(&[0xff, 0xff, 0xff, 0xff, 0, 0]),
            "RETURN DATA LENGTH, byte 4: truncated: 4294967295 bytes needed, 2 present"
        );
    }

    #[test]
    fn contradictory_reports_are_refused() {
        assert_eq!(
            TargetPortGroups::parse(&[0, 0, 0, 4, 0x20, 0, 0, 0])
                .unwrap_err()
                .to_string(),
            "FORMAT TYPE, byte 4: found 0x2, expected 0 or 1"
        );
        let mut twice = lio();
        twice.groups[1].id = 1;
        assert_eq!(
            TargetPortGroups::parse(&twice.to_bytes())
                .unwrap_err()
                .to_string(),
            "target port group descriptor, byte 24: 0x1 appears twice"
        );
        let many = TargetPortGroups {
            implicit_transition_time: None,
            groups: (0..=1024)
                .map(|id| TargetPortGroup {
                    id,
                    relative_target_ports: Vec::new(),
                    ..lio().groups[0].clone()
                })
                .collect(),
        };
        assert_eq!(
            TargetPortGroups::parse(&many.to_bytes())
                .unwrap_err()
                .problem,
            ParseProblem::TooMany { limit: 1024 }
        );
    }

    #[test]
    fn every_nibble_and_byte_survives() {
        for nibble in 0..16 {
            assert_eq!(AccessState::from_nibble(nibble | 0xa0).nibble(), nibble);
        }
        for byte in 0..=255 {
            assert_eq!(StatusCode::from_byte(byte).to_byte(), byte);
            assert_eq!(SupportedStates::from_byte(byte).to_byte(), byte & 0xdf);
        }
        assert_eq!(AccessState::from_nibble(5).to_string(), "reserved (5h)");
    }

    #[test]
    fn set_parameter_list_both_ways() {
        let groups = [
            (2, AccessState::ActiveOptimized),
            (0xfffe, AccessState::ActiveNonOptimized),
        ];
        let list = set_parameter_list(&groups);
        assert_eq!(list, [0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0xff, 0xfe]);
        assert_eq!(list.len(), set_parameter_list_length(2) as usize);
        assert_eq!(parse_set_parameter_list(&list).unwrap(), groups);
        assert!(parse_set_parameter_list(&list[..10]).is_err());
        assert!(parse_set_parameter_list(&[]).is_err());
    }
}
