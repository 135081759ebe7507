//! Parses and builds vital product data pages (SPC-5 and SBC-4, "Vital product data parameters").
//!
//! Every page begins with the same four bytes:
//!
//! ```text
//! 0     PERIPHERAL QUALIFIER, PERIPHERAL DEVICE TYPE
//! 1     PAGE CODE
//! 2..3  PAGE LENGTH, of what follows
//! ```

use super::inquiry::PeripheralQualifier;
use super::reader::{ParseError, ParseProblem, Partly, Reader, ascii};
use serde::{Deserialize, Serialize};

/// Supported VPD Pages.
pub(crate) const SUPPORTED_PAGES: u8 = 0x00;
/// Unit Serial Number.
pub(crate) const UNIT_SERIAL_NUMBER: u8 = 0x80;
/// Device Identification.
pub const DEVICE_IDENTIFICATION: u8 = 0x83;
/// Block Device Characteristics.
pub(crate) const BLOCK_DEVICE_CHARACTERISTICS: u8 = 0xb1;
/// Block Limits (SBC-4): the limits of a device for single commands, such as transfer lengths.
pub(crate) const BLOCK_LIMITS: u8 = 0xb0;

/// A VPD page with a header that was checked.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// Whether there is a logical unit behind the LUN.
    pub peripheral_qualifier: PeripheralQualifier,
    /// PERIPHERAL DEVICE TYPE.
    pub peripheral_device_type: u8,
    /// PAGE LENGTH.
    pub length: u16,
    /// The PAGE LENGTH bytes after the header.
    pub body: Reader<'a>,
    /// Bytes after the page, which do not belong to it: stale bytes at the end of the buffer.
    pub after: &'a [u8],
}

/// Checks the header of a VPD page.
///
/// # Errors
/// - PAGE CODE is not `code`: some devices answer a request for an unknown page with standard INQUIRY data;
/// - PAGE LENGTH beyond the data: the page was truncated by the allocation length or the transport.
pub fn page(code: u8, data: &[u8]) -> Result<Page<'_>, ParseError> {
    page_partly(code, data)?.whole()
}

/// Like [`page`], but returns as much of the body as there is.
///
/// # Errors
/// PAGE CODE is not `code`, or the header itself is truncated.
pub(crate) fn page_partly(code: u8, data: &[u8]) -> Result<Partly<Page<'_>>, ParseError> {
    let (name, expected) = match code {
        SUPPORTED_PAGES => ("Supported VPD Pages page", "PAGE CODE 00h"),
        UNIT_SERIAL_NUMBER => ("Unit Serial Number page", "PAGE CODE 80h"),
        DEVICE_IDENTIFICATION => ("Device Identification page", "PAGE CODE 83h"),
        BLOCK_DEVICE_CHARACTERISTICS => ("Block Device Characteristics page", "PAGE CODE B1h"),
        _ => ("VPD page", "the requested PAGE CODE"),
    };
    let mut r = Reader::new(name, data);
    let peripheral = r.u8()?;
    let at_code = r.clone();
    let found = r.u8()?;
    if found != code {
        return Err(at_code.error(ParseProblem::Unexpected {
            found: u64::from(found),
            expected,
        }));
    }
    let length = r.u16()?;
    let mut missing = None;
    let body = r.part_up_to(usize::from(length), &mut missing);
    Ok(Partly {
        value: Page {
            peripheral_qualifier: PeripheralQualifier::from_byte(peripheral),
            peripheral_device_type: peripheral & 0x1f,
            length,
            body,
            after: r.rest(),
        },
        end: r.offset(),
        missing,
    })
}

/// The PAGE CODE of a page; `None` if the data are too short to have one.
#[must_use]
pub(crate) fn page_code(data: &[u8]) -> Option<u8> {
    data.get(1).copied()
}

/// The page codes of the Supported VPD Pages page (00h, SPC-5), in the order received.
///
/// # Errors
/// Same as [`page`].
pub fn supported_pages(data: &[u8]) -> Result<Vec<u8>, ParseError> {
    Ok(page(SUPPORTED_PAGES, data)?.body.rest().to_vec())
}

/// The PRODUCT SERIAL NUMBER of the Unit Serial Number page (80h, SPC-5), without surrounding blanks. Unprintable bytes
/// are `?`; NULs at the end are removed, because some devices pad with them.
///
/// # Errors
/// Same as [`page`].
pub fn unit_serial_number(data: &[u8]) -> Result<String, ParseError> {
    Ok(serial_number(&page(UNIT_SERIAL_NUMBER, data)?))
}

/// Like [`unit_serial_number`], for a page with a header that was checked.
#[must_use]
pub(crate) fn serial_number(page: &Page<'_>) -> String {
    let field = page.body.rest();
    let end = field
        .iter()
        .rposition(|&b| b != 0 && b != b' ')
        .map_or(0, |last| last.saturating_add(1));
    let text = ascii(field.get(..end).unwrap_or(field));
    text.trim().to_owned()
}

/// The Block Device Characteristics page (B1h, SBC-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockDeviceCharacteristics {
    /// MEDIUM ROTATION RATE: 0 means not reported, 1 not rotating; from 0401h on, revolutions per minute.
    pub medium_rotation_rate: u16,
}

impl BlockDeviceCharacteristics {
    /// Parses the page.
    ///
    /// # Errors
    /// Same as [`page`], or the page ends before the field.
    pub fn parse(data: &[u8]) -> Result<BlockDeviceCharacteristics, ParseError> {
        let mut body = page(BLOCK_DEVICE_CHARACTERISTICS, data)?.body;
        body.entering("MEDIUM ROTATION RATE");
        Ok(BlockDeviceCharacteristics {
            medium_rotation_rate: body.u16()?,
        })
    }

    /// Whether the medium is solid state (`Is SSD` in ESXi).
    #[must_use]
    pub fn is_ssd(self) -> bool {
        self.medium_rotation_rate == 1
    }
}

/// CODE SET (SPC-5, "Designation descriptor").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CodeSet {
    /// 1h
    Binary,
    /// 2h
    Ascii,
    /// 3h
    Utf8,
    /// Any other nibble.
    Reserved(u8),
}

impl CodeSet {
    fn from_nibble(nibble: u8) -> CodeSet {
        match nibble {
            1 => CodeSet::Binary,
            2 => CodeSet::Ascii,
            3 => CodeSet::Utf8,
            other => CodeSet::Reserved(other),
        }
    }

    /// The code, 0h to Fh.
    #[must_use]
    pub(crate) fn nibble(self) -> u8 {
        match self {
            CodeSet::Binary => 1,
            CodeSet::Ascii => 2,
            CodeSet::Utf8 => 3,
            CodeSet::Reserved(other) => other & 0x0f,
        }
    }
}

/// ASSOCIATION (SPC-5, "Designation descriptor"): what a designator identifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Association {
    /// 00b: the addressed logical unit.
    LogicalUnit,
    /// 01b: the target port that received the command.
    TargetPort,
    /// 10b: the target device that contains the logical unit.
    TargetDevice,
    /// 11b
    Reserved,
}

impl Association {
    fn from_bits(bits: u8) -> Association {
        match bits & 0b11 {
            0b00 => Association::LogicalUnit,
            0b01 => Association::TargetPort,
            0b10 => Association::TargetDevice,
            _ => Association::Reserved,
        }
    }

    /// The code, 00b to 11b.
    #[must_use]
    pub(crate) fn bits(self) -> u8 {
        match self {
            Association::LogicalUnit => 0b00,
            Association::TargetPort => 0b01,
            Association::TargetDevice => 0b10,
            Association::Reserved => 0b11,
        }
    }
}

/// DESIGNATOR TYPE (SPC-5, "Designation descriptor").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DesignatorType {
    /// 0h
    VendorSpecific,
    /// 1h: T10 vendor identification, then a vendor specific identifier.
    T10VendorId,
    /// 2h: EUI-64 based.
    Eui64,
    /// 3h: NAA (Name Address Authority).
    Naa,
    /// 4h
    RelativeTargetPort,
    /// 5h
    TargetPortGroup,
    /// 6h
    LogicalUnitGroup,
    /// 7h
    Md5LogicalUnit,
    /// 8h: SCSI name string, UTF-8 and NUL padded: `iqn.`, `naa.` or `eui.`.
    ScsiNameString,
    /// 9h
    ProtocolSpecificPort,
    /// Ah
    Uuid,
    /// Any other nibble.
    Reserved(u8),
}

impl DesignatorType {
    fn from_nibble(nibble: u8) -> DesignatorType {
        match nibble {
            0x0 => DesignatorType::VendorSpecific,
            0x1 => DesignatorType::T10VendorId,
            0x2 => DesignatorType::Eui64,
            0x3 => DesignatorType::Naa,
            0x4 => DesignatorType::RelativeTargetPort,
            0x5 => DesignatorType::TargetPortGroup,
            0x6 => DesignatorType::LogicalUnitGroup,
            0x7 => DesignatorType::Md5LogicalUnit,
            0x8 => DesignatorType::ScsiNameString,
            0x9 => DesignatorType::ProtocolSpecificPort,
            0xa => DesignatorType::Uuid,
            other => DesignatorType::Reserved(other),
        }
    }

    /// The code, 0h to Fh.
    #[must_use]
    pub(crate) fn nibble(self) -> u8 {
        match self {
            DesignatorType::VendorSpecific => 0x0,
            DesignatorType::T10VendorId => 0x1,
            DesignatorType::Eui64 => 0x2,
            DesignatorType::Naa => 0x3,
            DesignatorType::RelativeTargetPort => 0x4,
            DesignatorType::TargetPortGroup => 0x5,
            DesignatorType::LogicalUnitGroup => 0x6,
            DesignatorType::Md5LogicalUnit => 0x7,
            DesignatorType::ScsiNameString => 0x8,
            DesignatorType::ProtocolSpecificPort => 0x9,
            DesignatorType::Uuid => 0xa,
            DesignatorType::Reserved(other) => other & 0x0f,
        }
    }
}

/// A designation descriptor (SPC-5, "Device Identification VPD page").
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Designator {
    /// PROTOCOL IDENTIFIER, if PIV says that it is valid: 0 FC, 5 iSCSI, 6 SAS.
    pub protocol_identifier: Option<u8>,
    /// How to read the bytes.
    pub code_set: CodeSet,
    /// What the designator identifies.
    pub association: Association,
    /// The scheme of the identifier.
    pub designator_type: DesignatorType,
    /// DESIGNATOR, with the length that was received (at most 255 bytes).
    pub bytes: Vec<u8>,
}

impl Designator {
    /// NAA, the first nibble of an NAA identifier. `None` for other types of designators.
    #[must_use]
    pub fn naa(&self) -> Option<u8> {
        let first = self.bytes.first()?;
        (self.designator_type == DesignatorType::Naa).then_some(first >> 4)
    }

    /// The number in the last two of four bytes: RELATIVE TARGET PORT IDENTIFIER, TARGET PORT GROUP or LOGICAL UNIT
    /// GROUP.
    #[must_use]
    pub fn number(&self) -> Option<u16> {
        match (self.designator_type, self.bytes.as_slice()) {
            (
                DesignatorType::RelativeTargetPort
                | DesignatorType::TargetPortGroup
                | DesignatorType::LogicalUnitGroup,
                [_, _, high, low],
            ) => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    /// The RFC 4122 UUID of a UUID identifier: UUID TYPE 1h, a reserved byte, 16 bytes.
    #[must_use]
    pub fn uuid(&self) -> Option<[u8; 16]> {
        match (self.designator_type, self.bytes.as_slice()) {
            (DesignatorType::Uuid, [kind, _, uuid @ ..]) if kind >> 4 == 1 => uuid.try_into().ok(),
            _ => None,
        }
    }

    /// The text of a designator in ASCII or UTF-8, without the NULs that pad it. Bytes outside of ASCII become `?`.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let end = self.bytes.iter().rposition(|&b| b != 0)?;
        let text = self.bytes.get(..=end)?;
        matches!(self.code_set, CodeSet::Ascii | CodeSet::Utf8).then(|| ascii(text))
    }
}

/// The Device Identification page (83h, SPC-5, "Device Identification VPD page").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceIdentification {
    /// Whether there is a logical unit behind the LUN.
    pub peripheral_qualifier: PeripheralQualifier,
    /// The designators in the order received.
    pub designators: Vec<Designator>,
}

impl DeviceIdentification {
    /// Parses the page.
    ///
    /// The format of older EMC Symmetrix models is accepted, too. Before SPC-2 the 16 bytes of an NAA identifier
    /// followed the header without a descriptor around them. Byte 6 distinguishes the formats: it is reserved and zero in
    /// a descriptor, and part of the identifier in the old format. The identifier becomes one NAA designator.
    /// (`scsi_id`, `sg_inq` and multipath-tools use the same heuristic. Here the first nibble must also be a known NAA
    /// and the length must be that of its identifier.)
    ///
    /// # Errors
    /// Same as [`page`], or a designator beyond PAGE LENGTH.
    pub fn parse(data: &[u8]) -> Result<DeviceIdentification, ParseError> {
        let Partly { value, missing, .. } = page_partly(DEVICE_IDENTIFICATION, data)?;
        // The body of a truncated page is not parsed: the truncation is its first error.
        match missing {
            Some(error) => Err(error),
            None => DeviceIdentification::of_page(value).whole(),
        }
    }

    /// The designators of a page with a header that was checked, up to the first incomplete one.
    #[must_use]
    pub(crate) fn of_page(mut page: Page<'_>) -> Partly<DeviceIdentification> {
        let mut designators = Vec::new();
        let mut missing = None;
        let mut end = page.body.offset();
        if let Some(designator) = old_format(page.body.rest()) {
            end = end.saturating_add(designator.bytes.len());
            designators.push(designator);
        } else {
            while !page.body.is_empty() {
                match parse_designator(&mut page.body) {
                    Ok(designator) => {
                        end = page.body.offset();
                        designators.push(designator);
                    }
                    Err(error) => {
                        missing = Some(error);
                        break;
                    }
                }
            }
        }
        Partly {
            value: DeviceIdentification {
                peripheral_qualifier: page.peripheral_qualifier,
                designators,
            },
            end,
            missing,
        }
    }

    /// Builds the page that a device would send: the inverse of [`DeviceIdentification::parse`], for simulated arrays
    /// and tests. DESIGNATOR LENGTH is one byte, so bytes of a designator beyond the 255th are omitted.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for designator in &self.designators {
            let length = u8::try_from(designator.bytes.len()).unwrap_or(u8::MAX);
            let (piv, protocol) = match designator.protocol_identifier {
                Some(protocol) => (0x80, (protocol & 0x0f) << 4),
                None => (0, 0),
            };
            body.extend([
                protocol | designator.code_set.nibble(),
                piv | designator.association.bits() << 4 | designator.designator_type.nibble(),
                0,
                length,
            ]);
            body.extend(designator.bytes.iter().take(usize::from(length)));
        }
        let peripheral = match self.peripheral_qualifier {
            PeripheralQualifier::Connected => 0x00,
            PeripheralQualifier::NotConnected => 0x20,
            PeripheralQualifier::NotCapable => 0x7f,
            PeripheralQualifier::Other(bits) => bits << 5,
        };
        body.truncate(usize::from(u16::MAX));
        let [high, low] = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut out = vec![peripheral, DEVICE_IDENTIFICATION, high, low];
        out.append(&mut body);
        out
    }

    /// The designators that identify the logical unit.
    pub(crate) fn logical_unit(&self) -> impl Iterator<Item = &Designator> {
        self.with(Association::LogicalUnit)
    }

    /// The designators that identify the target port of the path.
    pub(crate) fn target_port(&self) -> impl Iterator<Item = &Designator> {
        self.with(Association::TargetPort)
    }

    /// The TARGET PORT GROUP of the path (designator type 5h).
    #[must_use]
    pub fn target_port_group(&self) -> Option<u16> {
        self.port_number(DesignatorType::TargetPortGroup)
    }

    /// The RELATIVE TARGET PORT IDENTIFIER of the path (designator type 4h).
    #[must_use]
    pub fn relative_target_port(&self) -> Option<u16> {
        self.port_number(DesignatorType::RelativeTargetPort)
    }

    fn with(&self, association: Association) -> impl Iterator<Item = &Designator> {
        self.designators
            .iter()
            .filter(move |designator| designator.association == association)
    }

    /// The number in the last two of four bytes of a designator. Both types that have one are binary and belong to the
    /// target port.
    fn port_number(&self, designator_type: DesignatorType) -> Option<u16> {
        self.target_port()
            .filter(|d| d.designator_type == designator_type)
            .find_map(Designator::number)
    }
}

/// Parses one designation descriptor.
fn parse_designator(r: &mut Reader<'_>) -> Result<Designator, ParseError> {
    r.entering("designation descriptor");
    let [protocol_and_code, kind, _, length] = r.array()?;
    r.entering("DESIGNATOR");
    let bytes = r.bytes(usize::from(length))?.to_vec();
    Ok(Designator {
        protocol_identifier: (kind & 0x80 != 0).then_some(protocol_and_code >> 4),
        code_set: CodeSet::from_nibble(protocol_and_code & 0x0f),
        association: Association::from_bits(kind >> 4),
        designator_type: DesignatorType::from_nibble(kind & 0x0f),
        bytes,
    })
}

/// The identifier of a page without descriptors; see [`DeviceIdentification::parse`].
fn old_format(body: &[u8]) -> Option<Designator> {
    let reserved = *body.get(2)?;
    let naa = body.first()? >> 4;
    let fits = matches!((naa, body.len()), (6, 16) | (2 | 5, 8));
    (reserved != 0 && fits).then(|| Designator {
        protocol_identifier: None,
        code_set: CodeSet::Binary,
        association: Association::LogicalUnit,
        designator_type: DesignatorType::Naa,
        bytes: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that LIO sends: NAA 6, T10 vendor identification, relative target port, target port group, names.
    fn lio() -> Vec<u8> {
        let mut data = vec![0x00, 0x83, 0x00, 0x00];
        data.extend([0x01, 0x03, 0, 16]);
        data.extend([
            0x60, 0x01, 0x40, 0x50, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x12, 0x34,
            0x56, 0x78,
        ]);
        data.extend([0x02, 0x01, 0, 16]);
        data.extend(b"LIO-ORG disk1:x\0");
        data.extend([0x61, 0x94, 0, 4, 0, 0, 0, 3]);
        data.extend([0x61, 0x95, 0, 4, 0, 0, 0, 2]);
        data.extend([0x53, 0xa8, 0, 8]);
        data.extend(b"iqn.x:y\0");
        data[3] = (data.len() - 4) as u8;
        data
    }

    #[test]
    fn device_identification_of_lio() {
        let data = lio();
        let parsed = DeviceIdentification::parse(&data).unwrap();
        assert_eq!(parsed.designators.len(), 5);
        assert_eq!(parsed.logical_unit().count(), 2);
        assert_eq!(parsed.relative_target_port(), Some(3));
        assert_eq!(parsed.target_port_group(), Some(2));
        let naa = parsed.logical_unit().next().unwrap();
        assert_eq!(naa.designator_type, DesignatorType::Naa);
        assert_eq!(naa.code_set, CodeSet::Binary);
        assert_eq!(naa.protocol_identifier, None);
        let port = parsed.target_port().next().unwrap();
        assert_eq!(port.protocol_identifier, Some(6));
        assert_eq!(parsed.designators[4].association, Association::TargetDevice);
        assert_eq!(parsed.designators[4].bytes, b"iqn.x:y\0");
        assert_eq!(parsed.to_bytes(), data);
    }

    #[test]
    fn a_page_longer_than_255_bytes() {
        let page = DeviceIdentification {
            peripheral_qualifier: PeripheralQualifier::Connected,
            designators: (0..3)
                .map(|n| Designator {
                    protocol_identifier: None,
                    code_set: CodeSet::Utf8,
                    association: Association::LogicalUnit,
                    designator_type: DesignatorType::ScsiNameString,
                    bytes: vec![b'a' + n; 200],
                })
                .collect(),
        };
        let data = page.to_bytes();
        assert_eq!(data[2..4], [2, 100]);
        assert_eq!(DeviceIdentification::parse(&data).unwrap(), page);
    }

    #[test]
    fn the_page_of_an_old_symmetrix() {
        let mut data = vec![0x00, 0x83, 0x00, 0x10];
        data.extend(b"\x60\x06\x04\x80\x00\x01\x90\x10\x12\x34\x53\x30\x30\x31\x32\x33");
        let parsed = DeviceIdentification::parse(&data).unwrap();
        assert_eq!(parsed.designators.len(), 1);
        assert_eq!(parsed.designators[0].designator_type, DesignatorType::Naa);
        assert_eq!(parsed.designators[0].bytes, data[4..]);
    }

    #[test]
    fn pages_with_wrong_lengths_are_refused() {
        let message = |data: &[u8]| DeviceIdentification::parse(data).unwrap_err().to_string();
        let data = lio();
        assert_eq!(
            message(&data[..60]),
            "Device Identification page, byte 4: truncated: 68 bytes needed, 56 present"
        );
        let mut wrong = data.clone();
        wrong[1] = 0x80;
        assert_eq!(
            message(&wrong),
            "Device Identification page, byte 1: found 0x80, expected PAGE CODE 83h"
        );
        let mut long = data.clone();
        long[27] = 200;
        assert_eq!(
            message(&long),
            "DESIGNATOR, byte 28: truncated: 200 bytes needed, 44 present"
        );
        let mut padded = data.clone();
        padded.extend([0, 0]);
        padded[3] += 2;
        assert_eq!(
            message(&padded),
            "designation descriptor, byte 72: truncated: 4 bytes needed, 2 present"
        );
        assert!(DeviceIdentification::parse(&[]).is_err());
    }

    #[test]
    fn a_malformed_port_number_is_ignored() {
        let mut data = lio();
        let at = data.len() - 12 - 8 - 4;
        assert_eq!(data[at - 4..at - 1], [0x61, 0x94, 0]);
        data[at - 4 + 9] = 0x85; // the group now names the logical unit
        assert_eq!(
            DeviceIdentification::parse(&data)
                .unwrap()
                .target_port_group(),
            None
        );
    }

    #[test]
    fn supported_pages_and_serial_number() {
        assert_eq!(
            supported_pages(&[0, 0, 0, 4, 0x00, 0x80, 0x83, 0xb1]),
            Ok(vec![0x00, 0x80, 0x83, 0xb1])
        );
        assert!(supported_pages(&[0, 0, 0, 4, 0x00, 0x80]).is_err());
        assert_eq!(
            unit_serial_number(b"\0\x80\0\x0c  80A1-\x07 9 \0\0"),
            Ok("80A1-? 9".to_owned())
        );
        assert_eq!(unit_serial_number(b"\0\x80\0\x04    "), Ok(String::new()));
        assert!(unit_serial_number(b"\0\x80\0\x05abcd").is_err());
        // Standard INQUIRY data of a removable device instead of the page.
        assert!(unit_serial_number(b"\0\x00\x05\x02abcd").is_err());
    }

    #[test]
    fn block_device_characteristics() {
        let rate = |rate: [u8; 2]| {
            let mut data = vec![0, 0xb1, 0, 0x3c, rate[0], rate[1]];
            data.resize(64, 0);
            BlockDeviceCharacteristics::parse(&data).unwrap()
        };
        assert!(rate([0, 1]).is_ssd());
        assert!(!rate([0, 0]).is_ssd());
        assert_eq!(rate([0x1c, 0x20]).medium_rotation_rate, 7200);
        assert!(BlockDeviceCharacteristics::parse(&[0, 0xb1, 0, 1, 0]).is_err());
    }
}
