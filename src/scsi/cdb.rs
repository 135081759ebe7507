//! Builds the SCSI commands that the agent sends.

use super::mode;
use super::tpgs::{self, AccessState};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Allocation length of INQUIRY for standard data, in bytes.
///
/// 96 covers everything that SPC-5 defines for standard INQUIRY data (bytes 0 to 95, version descriptors included) and
/// ends just before the vendor specific parameters. Devices that implement SPC-2 or later send what they have, which
/// may be less.
pub(crate) const INQUIRY_LENGTH: u16 = 96;

/// Allocation length of INQUIRY for a VPD page, in bytes.
///
/// A device identification page exceeds 255 bytes once an array lists the names of its ports, so the two byte
/// ALLOCATION LENGTH of SPC-3 and later is needed. SCSI-2 and SPC-2 devices read only its low byte (byte 3 was reserved
/// then): FCh asks them for 252 bytes, whereas 1000h would ask for none. 0FFCh and FCh are both multiples of four,
/// which some host adapters require of a transfer.
pub(crate) const VPD_LENGTH: u16 = 0x0ffc;

/// How much space an answer gets whose length varies. A short allocation length is cheaper, because the kernel
/// allocates a buffer of that size and copies all of it, however little the device fills. A longer answer reports its
/// length and is requested again ([`is_cut`]). Like [`VPD_LENGTH`], all are multiples of four with FCh as the low byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// 252 bytes, for a page that was not longer the last time.
    Short,
    /// 1,020 bytes: most answers fit.
    Usual,
    /// As much as the agent accepts.
    Longest,
}

/// Allocation lengths of [`Space::Short`] and [`Space::Usual`], in bytes.
pub(crate) const SHORT_LENGTH: u16 = 0x00fc;
const USUAL_LENGTH: u16 = 0x03fc;

/// Whether an answer fills the space that it got, and says that it is longer: PAGE LENGTH of a VPD page (SPC-5 7.7.1)
/// and RETURN DATA LENGTH of REPORT TARGET PORT GROUPS (SPC-5 6.36) count the bytes that follow the field.
#[must_use]
pub(crate) fn is_cut(command: &Command, data: &[u8]) -> bool {
    let announced = match (command, data) {
        (Command::Vpd(_), [_, _, a, b, ..]) => 4 + usize::from(u16::from_be_bytes([*a, *b])),
        (
            Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort,
            [a, b, c, d, ..],
        ) => usize::try_from(u32::from_be_bytes([*a, *b, *c, *d]))
            .unwrap_or(usize::MAX)
            .saturating_add(4),
        _ => 0,
    };
    let is_full = [SHORT_LENGTH, USUAL_LENGTH]
        .map(usize::from)
        .contains(&data.len());
    is_full && announced > data.len()
}

/// Length of READ CAPACITY (16) parameter data (SBC-4), in bytes.
pub(crate) const READ_CAPACITY_16_LENGTH: u32 = 32;

/// Allocation length of REPORT TARGET PORT GROUPS, in bytes.
///
/// A group takes 8 bytes, plus 4 for each port. This is enough for 64 groups of 30 ports, well above any array in the
/// field, and fits in the 32 KiB buffer that each `sg` file descriptor reserves anyway. A longer answer is rejected as
/// truncated; no part of it is used.
pub(crate) const RTPG_LENGTH: u32 = 8192;

/// A command to a logical unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// TEST UNIT READY (SPC-5 6.47).
    TestUnitReady,
    /// INQUIRY, standard data (SPC-5 6.7).
    Inquiry,
    /// INQUIRY with EVPD set and this page code.
    Vpd(u8),
    /// MODE SENSE (6) (SPC-5 6.14) of all pages, cut after the header: whether the unit is write-protected. Linux sends
    /// the same CDB whenever it scans a disk (`sd_read_write_protect_flag`), so devices handle it.
    ModeSense6,
    /// READ CAPACITY (16) (SBC-4).
    ReadCapacity16,
    /// REPORT TARGET PORT GROUPS with the extended header (SPC-5 6.36).
    ReportTargetPortGroups,
    /// REPORT TARGET PORT GROUPS with the length-only header, for targets that reject the extended one.
    ReportTargetPortGroupsShort,
    /// SET TARGET PORT GROUPS (SPC-5 6.45): pairs of group number and requested state.
    SetTargetPortGroups(Vec<(u16, AccessState)>),
}

/// Commands for one path, sent one after the other: each waits for the answer to the one before. Borrowed because most
/// checks send the same commands, which then need no allocation.
pub type Commands = Cow<'static, [Command]>;

/// A command descriptor block of 6, 12 or 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cdb {
    bytes: [u8; 16],
    length: usize,
}

impl Cdb {
    /// `N` is 6, 10, 12 or 16; bytes beyond 16 would be dropped.
    fn new<const N: usize>(cdb: [u8; N]) -> Cdb {
        let mut bytes = [0; 16];
        for (slot, byte) in bytes.iter_mut().zip(cdb) {
            *slot = byte;
        }
        Cdb {
            bytes,
            length: N.min(16),
        }
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

impl Command {
    /// The command descriptor block with the maximum allocation length.
    #[must_use]
    pub fn cdb(&self) -> Cdb {
        self.cdb_for(VPD_LENGTH, RTPG_LENGTH)
    }

    /// The command descriptor block that gives the answer this much space.
    #[must_use]
    pub(crate) fn cdb_with(&self, space: Space) -> Cdb {
        match space {
            Space::Short => self.cdb_for(SHORT_LENGTH, u32::from(SHORT_LENGTH)),
            Space::Usual => self.cdb_for(USUAL_LENGTH, u32::from(USUAL_LENGTH)),
            Space::Longest => self.cdb(),
        }
    }

    fn cdb_for(&self, vpd_length: u16, rtpg_length: u32) -> Cdb {
        match self {
            Command::TestUnitReady => Cdb::new([0x00, 0, 0, 0, 0, 0]),
            Command::Inquiry => inquiry(false, 0, INQUIRY_LENGTH),
            Command::Vpd(page) => inquiry(true, *page, vpd_length),
            // PAGE CODE 3Fh: all pages.
            Command::ModeSense6 => Cdb::new([0x1a, 0, 0x3f, 0, mode::HEADER_LENGTH, 0]),
            Command::ReadCapacity16 => {
                let [a, b, c, d] = READ_CAPACITY_16_LENGTH.to_be_bytes();
                // SERVICE ACTION IN (16) with service action 10h.
                Cdb::new([0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, 0, 0])
            }
            // MAINTENANCE IN; PARAMETER DATA FORMAT in bits 7 to 5 of byte 1: 001b is the extended header.
            Command::ReportTargetPortGroups => maintenance(0xa3, 0x20 | 0x0a, rtpg_length),
            Command::ReportTargetPortGroupsShort => maintenance(0xa3, 0x0a, rtpg_length),
            // MAINTENANCE OUT.
            Command::SetTargetPortGroups(groups) => {
                maintenance(0xa4, 0x0a, tpgs::set_parameter_list_length(groups.len()))
            }
        }
    }

    /// The maximum number of bytes that the device may send: the size of its buffer.
    #[must_use]
    pub(crate) fn data_in_length(&self) -> usize {
        match self {
            Command::TestUnitReady | Command::SetTargetPortGroups(_) => 0,
            Command::Inquiry => usize::from(INQUIRY_LENGTH),
            Command::Vpd(_) => usize::from(VPD_LENGTH),
            Command::ModeSense6 => usize::from(mode::HEADER_LENGTH),
            Command::ReadCapacity16 => usize::try_from(READ_CAPACITY_16_LENGTH).unwrap_or(0),
            Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort => {
                usize::try_from(RTPG_LENGTH).unwrap_or(0)
            }
        }
    }

    /// The length of the buffer for the answer to [`Command::cdb_with`], in bytes.
    #[must_use]
    pub(crate) fn length_with(&self, space: Space) -> usize {
        let most = match space {
            Space::Short => usize::from(SHORT_LENGTH),
            Space::Usual => usize::from(USUAL_LENGTH),
            Space::Longest => usize::MAX,
        };
        self.data_in_length().min(most)
    }

    /// The data that the host sends with the command; empty except for SET TARGET PORT GROUPS.
    #[must_use]
    pub fn data_out(&self) -> Vec<u8> {
        match self {
            Command::SetTargetPortGroups(groups) => tpgs::set_parameter_list(groups),
            _ => Vec::new(),
        }
    }

    /// The name of the command in the standard, for logs. [`fmt::Display`] adds the VPD page or the groups.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Command::TestUnitReady => "TEST UNIT READY",
            Command::Inquiry | Command::Vpd(_) => "INQUIRY",
            Command::ModeSense6 => "MODE SENSE (6)",
            Command::ReadCapacity16 => "READ CAPACITY (16)",
            Command::ReportTargetPortGroups | Command::ReportTargetPortGroupsShort => {
                "REPORT TARGET PORT GROUPS"
            }
            Command::SetTargetPortGroups(_) => "SET TARGET PORT GROUPS",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Command::Vpd(page) => write!(f, " page {page:02X}h"),
            Command::SetTargetPortGroups(groups) => groups
                .iter()
                .try_for_each(|(group, state)| write!(f, " {group}={}", state.short())),
            _ => Ok(()),
        }
    }
}

/// INQUIRY (SPC-5 6.7): EVPD in byte 1 bit 0, page code, allocation length in bytes 3 and 4.
fn inquiry(evpd: bool, page: u8, length: u16) -> Cdb {
    let [high, low] = length.to_be_bytes();
    Cdb::new([0x12, u8::from(evpd), page, high, low, 0])
}

/// MAINTENANCE IN or OUT: bytes 6 to 9 hold the length of the data (SPC-5 6.36, 6.45).
fn maintenance(opcode: u8, action: u8, length: u32) -> Cdb {
    let [a, b, c, d] = length.to_be_bytes();
    Cdb::new([opcode, action, 0, 0, 0, 0, a, b, c, d, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cdb_follows_the_standard() {
        let cases: &[(Command, &[u8])] = &[
            (Command::TestUnitReady, &[0, 0, 0, 0, 0, 0]),
            (Command::Inquiry, &[0x12, 0, 0, 0, 96, 0]),
            (Command::Vpd(0x83), &[0x12, 1, 0x83, 0x0f, 0xfc, 0]),
            (Command::ModeSense6, &[0x1a, 0, 0x3f, 0, 4, 0]),
            (
                Command::ReadCapacity16,
                &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
            ),
            (
                Command::ReportTargetPortGroups,
                &[0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0],
            ),
            (
                Command::ReportTargetPortGroupsShort,
                &[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0],
            ),
            (
                Command::SetTargetPortGroups(vec![
                    (2, AccessState::ActiveOptimized),
                    (1, AccessState::ActiveNonOptimized),
                ]),
                &[0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0],
            ),
        ];
        for (command, wanted) in cases {
            assert_eq!(command.cdb().as_slice(), *wanted, "{command}");
        }
    }

    #[test]
    fn the_allocation_length_is_the_size_of_the_buffer() {
        let at = |command: Command, from: usize, to: usize| {
            for space in [Space::Short, Space::Usual, Space::Longest] {
                let field = command.cdb_with(space).as_slice()[from..to]
                    .iter()
                    .fold(0usize, |n, &b| n << 8 | usize::from(b));
                assert_eq!(field, command.length_with(space), "{command} {space:?}");
            }
            assert_eq!(
                command.length_with(Space::Longest),
                command.data_in_length()
            );
        };
        at(Command::Inquiry, 3, 5);
        at(Command::Vpd(0x80), 3, 5);
        at(Command::ModeSense6, 4, 5);
        at(Command::ReadCapacity16, 10, 14);
        at(Command::ReportTargetPortGroups, 6, 10);
        at(Command::ReportTargetPortGroupsShort, 6, 10);
        assert_eq!(Command::TestUnitReady.data_in_length(), 0);
    }

    #[test]
    fn set_target_port_groups_carries_its_parameter_list() {
        let command = Command::SetTargetPortGroups(vec![(0x0102, AccessState::Standby)]);
        assert_eq!(command.data_out(), [0, 0, 0, 0, 2, 0, 1, 2]);
        assert!(Command::TestUnitReady.data_out().is_empty());
        assert_eq!(command.to_string(), "SET TARGET PORT GROUPS 258=STBY");
        assert_eq!(Command::Vpd(0x83).to_string(), "INQUIRY page 83h");
    }
}
