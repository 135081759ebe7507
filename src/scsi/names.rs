//! Human-readable names, from the standards, for the codes in SCSI fields.

use super::inquiry::{PeripheralQualifier, Tpgs};
use super::tpgs::StatusCode;
use super::vpd::{Association, CodeSet, DesignatorType};
use std::fmt;

impl fmt::Display for PeripheralQualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeripheralQualifier::Connected => f.write_str("000b (a logical unit may be here)"),
            PeripheralQualifier::NotConnected => {
                f.write_str("001b (no logical unit here, but there could be one)")
            }
            PeripheralQualifier::NotCapable => f.write_str("011b (no logical unit can be here)"),
            PeripheralQualifier::Other(bits @ 0..=3) => write!(f, "{bits:03b}b (reserved)"),
            PeripheralQualifier::Other(bits) => write!(f, "{bits:03b}b (vendor specific)"),
        }
    }
}

impl fmt::Display for Tpgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tpgs::None => "00b (no asymmetric access, or not by the standard)",
            Tpgs::Implicit => "01b (implicit)",
            Tpgs::Explicit => "10b (explicit)",
            Tpgs::Both => "11b (implicit and explicit)",
        })
    }
}

impl fmt::Display for CodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            CodeSet::Binary => "binary",
            CodeSet::Ascii => "ASCII",
            CodeSet::Utf8 => "UTF-8",
            CodeSet::Reserved(_) => "reserved",
        };
        write!(f, "{:X}h ({text})", self.nibble())
    }
}

impl fmt::Display for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Association::LogicalUnit => "logical unit",
            Association::TargetPort => "target port",
            Association::TargetDevice => "SCSI target device",
            Association::Reserved => "reserved",
        };
        write!(f, "{:02b}b ({text})", self.bits())
    }
}

impl fmt::Display for DesignatorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            DesignatorType::VendorSpecific => "vendor specific",
            DesignatorType::T10VendorId => "T10 vendor ID based",
            DesignatorType::Eui64 => "EUI-64 based",
            DesignatorType::Naa => "NAA",
            DesignatorType::RelativeTargetPort => "relative target port identifier",
            DesignatorType::TargetPortGroup => "target port group",
            DesignatorType::LogicalUnitGroup => "logical unit group",
            DesignatorType::Md5LogicalUnit => "MD5 logical unit identifier",
            DesignatorType::ScsiNameString => "SCSI name string",
            DesignatorType::ProtocolSpecificPort => "protocol specific port identifier",
            DesignatorType::Uuid => "UUID identifier",
            DesignatorType::Reserved(_) => "reserved",
        };
        write!(f, "{:X}h ({text})", self.nibble())
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            StatusCode::None => "no status available",
            StatusCode::ByStpg => "altered by SET TARGET PORT GROUPS",
            StatusCode::Implicit => "altered by implicit asymmetric logical unit access",
            StatusCode::Reserved(_) => "reserved",
        };
        write!(f, "{:02X}h ({text})", self.to_byte())
    }
}

/// The name of a PERIPHERAL DEVICE TYPE (SPC-5 6.7).
#[must_use]
pub(crate) fn peripheral_device_type(code: u8) -> &'static str {
    match code {
        0x00 => "direct access block device",
        0x01 => "sequential access device",
        0x02 => "printer device",
        0x03 => "processor device",
        0x04 => "write-once device",
        0x05 => "CD/DVD device",
        0x07 => "optical memory device",
        0x08 => "media changer device",
        0x0c => "storage array controller device",
        0x0d => "enclosure services device",
        0x0e => "simplified direct access device",
        0x0f => "optical card reader/writer device",
        0x11 => "object-based storage device",
        0x12 => "automation/drive interface",
        0x14 => "host managed zoned block device",
        0x1e => "well known logical unit",
        0x1f => "unknown or no device type",
        _ => "reserved or obsolete",
    }
}

/// The name of a VERSION of standard INQUIRY data (SPC-5 6.7).
#[must_use]
pub(crate) fn version(code: u8) -> &'static str {
    match code {
        0x00 => "no conformance claimed",
        0x02 => "SCSI-2",
        0x03 => "SPC",
        0x04 => "SPC-2",
        0x05 => "SPC-3",
        0x06 => "SPC-4",
        0x07 => "SPC-5",
        0x0d => "SPC-6",
        _ => "reserved or obsolete",
    }
}

/// The standard that a VERSION DESCRIPTOR names, whatever its revision (SPC-5, "Version descriptor values"; T10
/// reserves 32 codes for each standard). `None` for standards that arrays do not claim.
#[must_use]
pub(crate) fn version_descriptor(code: u16) -> Option<&'static str> {
    Some(match code & 0xffe0 {
        0x0020 => "SAM",
        0x0040 => "SAM-2",
        0x0060 => "SAM-3",
        0x0080 => "SAM-4",
        0x00a0 => "SAM-5",
        0x00c0 => "SAM-6",
        0x0120 => "SPC",
        0x0260 => "SPC-2",
        0x0300 => "SPC-3",
        0x0460 => "SPC-4",
        0x05c0 => "SPC-5",
        0x06e0 => "SPC-6",
        0x0180 => "SBC",
        0x0320 => "SBC-2",
        0x04c0 => "SBC-3",
        0x0600 => "SBC-4",
        0x06c0 => "SBC-5",
        0x08c0 => "FCP",
        0x0900 => "FCP-2",
        0x0a00 => "FCP-3",
        0x0a40 => "FCP-4",
        0x0a80 => "FCP-5",
        0x0940 => "SRP",
        0x0960 => "iSCSI",
        _ => return None,
    })
}

/// The name of a PROTOCOL IDENTIFIER (SPC-5, "Protocol identifier").
#[must_use]
pub(crate) fn protocol_identifier(code: u8) -> &'static str {
    match code {
        0x0 => "Fibre Channel",
        0x1 => "SPI",
        0x2 => "SSA",
        0x3 => "IEEE 1394",
        0x4 => "SCSI RDMA",
        0x5 => "iSCSI",
        0x6 => "SAS",
        0x7 => "ADT",
        0x8 => "ATA",
        0x9 => "UAS",
        0xa => "SCSI over PCI Express",
        0xb => "PCI Express",
        0xf => "no specific protocol",
        _ => "reserved",
    }
}

/// The name of a VPD page (SPC-5, "Vital product data parameters"). The PERIPHERAL DEVICE TYPE is needed because the
/// meaning of pages B0h to BFh depends on it (SBC-4, SSC-5, ADC-4, OSD-2).
#[must_use]
pub(crate) fn vpd_page(code: u8, device_type: u8) -> &'static str {
    match (code, device_type) {
        (0x00, _) => "Supported VPD Pages",
        (0x80, _) => "Unit Serial Number",
        (0x83, _) => "Device Identification",
        (0x84, _) => "Software Interface Identification",
        (0x85, _) => "Management Network Addresses",
        (0x86, _) => "Extended INQUIRY Data",
        (0x87, _) => "Mode Page Policy",
        (0x88, _) => "SCSI Ports",
        (0x89, _) => "ATA Information",
        (0x8a, _) => "Power Condition",
        (0x8b, _) => "Device Constituents",
        (0x8c, _) => "CFA Profile Information",
        (0x8d, _) => "Power Consumption",
        (0x8f, _) => "Third-party Copy",
        (0x90, _) => "Protocol Specific Logical Unit Information",
        (0x91, _) => "Protocol Specific Port Information",
        (0x92, _) => "SCSI Feature Sets",
        (0xb0, 0x00 | 0x04 | 0x07 | 0x14) => "Block Limits",
        (0xb1, 0x00 | 0x04 | 0x07 | 0x14) => "Block Device Characteristics",
        (0xb2, 0x00 | 0x04 | 0x07 | 0x14) => "Logical Block Provisioning",
        (0xb3, 0x00 | 0x04 | 0x07 | 0x14) => "Referrals",
        (0xb4, 0x00 | 0x04 | 0x07 | 0x14) => "Supported Block Lengths and Protection Types",
        (0xb5, 0x00 | 0x04 | 0x07 | 0x14) => "Block Device Characteristics Extension",
        (0xb6, 0x00 | 0x04 | 0x07 | 0x14) => "Zoned Block Device Characteristics",
        (0xb7, 0x00 | 0x04 | 0x07 | 0x14) => "Block Limits Extension",
        (0xb0, 0x01 | 0x08) => "Sequential-access Device Capabilities",
        (0xb1, 0x01 | 0x08 | 0x12) => "Manufacturer-assigned Serial Number",
        (0xb2, 0x01 | 0x08) => "TapeAlert Supported Flags",
        (0xb3, 0x01 | 0x08) => "Automation Device Serial Number",
        (0xb4, 0x01 | 0x08) => "Data Transfer Device Element Address",
        (0xb5, 0x01) => "Logical Block Protection",
        (0xb0, 0x11) => "OSD Information",
        (0xb1, 0x11) => "Security Token",
        (0x01..=0x7f, _) => "ASCII Information",
        (0xb0..=0xbf, _) => "of the device type",
        (0xc0..=0xff, _) => "vendor specific",
        _ => "reserved or obsolete",
    }
}

/// The name of a sense data descriptor (SPC-5, "Descriptor format sense data").
#[must_use]
pub(crate) fn sense_descriptor(code: u8) -> &'static str {
    match code {
        0x00 => "information",
        0x01 => "command specific information",
        0x02 => "sense key specific",
        0x03 => "field replaceable unit",
        0x04 => "stream commands",
        0x05 => "block commands",
        0x08 => "OSD attribute identification",
        0x09 => "ATA status return",
        0x0a => "another progress indication",
        0x0b => "user data segment referral",
        0x0c => "forwarded sense data",
        0x0d => "direct access block device",
        0x80..=0xff => "vendor specific",
        _ => "reserved",
    }
}
