//! Parses and builds standard INQUIRY data (SPC-5 6.7, "Standard INQUIRY data").

use super::reader::{ParseError, Partly, Reader, ascii};
use serde::{Deserialize, Serialize};

/// Maximum number of bytes kept for claim rules that look at single bytes, equal to [`super::cdb::INQUIRY_LENGTH`].
/// `inq_data[128]` and the like never match, because no more bytes are requested.
pub(crate) const KEPT: usize = super::cdb::INQUIRY_LENGTH as usize;

/// PERIPHERAL QUALIFIER (SPC-5 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeripheralQualifier {
    /// 000b: a logical unit is accessible through this LUN, as far as the device server knows.
    Connected,
    /// 001b: the device server supports a logical unit here, but none is connected.
    NotConnected,
    /// 011b: the device server does not support a logical unit at this LUN.
    NotCapable,
    /// Any other.
    Other(u8),
}

impl PeripheralQualifier {
    /// Reads byte 0 of any INQUIRY answer.
    #[must_use]
    pub fn from_byte(byte: u8) -> PeripheralQualifier {
        match byte >> 5 {
            0b000 => PeripheralQualifier::Connected,
            0b001 => PeripheralQualifier::NotConnected,
            0b011 => PeripheralQualifier::NotCapable,
            other => PeripheralQualifier::Other(other),
        }
    }

    /// The three bits of the field.
    #[must_use]
    pub(crate) fn bits(self) -> u8 {
        match self {
            PeripheralQualifier::Connected => 0b000,
            PeripheralQualifier::NotConnected => 0b001,
            PeripheralQualifier::NotCapable => 0b011,
            PeripheralQualifier::Other(bits) => bits & 0b111,
        }
    }
}

/// TPGS (SPC-5 6.7): who can change asymmetric access states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tpgs {
    /// 00b: no asymmetric access, or a method outside of the standard.
    None,
    /// 01b: only the array itself; REPORT TARGET PORT GROUPS works.
    Implicit,
    /// 10b: only hosts, by SET TARGET PORT GROUPS; both commands work.
    Explicit,
    /// 11b: the array and hosts.
    Both,
}

impl Tpgs {
    /// Reads byte 5 of standard INQUIRY data, bits 5 and 4.
    #[must_use]
    pub fn from_byte(byte: u8) -> Tpgs {
        match (byte & 0x20 != 0, byte & 0x10 != 0) {
            (false, false) => Tpgs::None,
            (false, true) => Tpgs::Implicit,
            (true, false) => Tpgs::Explicit,
            (true, true) => Tpgs::Both,
        }
    }

    /// Whether the array can change states by itself.
    #[must_use]
    pub fn implicit(self) -> bool {
        matches!(self, Tpgs::Implicit | Tpgs::Both)
    }

    /// Whether hosts can change states.
    #[must_use]
    pub fn explicit(self) -> bool {
        matches!(self, Tpgs::Explicit | Tpgs::Both)
    }
}

/// Single bits of standard INQUIRY data (SPC-5 6.7), for display only: no decision depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InquiryFlags {
    /// LU_CONG: part of a logical unit conglomerate.
    pub lu_cong: bool,
    /// NORMACA: NACA in CDBs is supported.
    pub normaca: bool,
    /// HISUP: LUNs are hierarchical.
    pub hisup: bool,
    /// SCCS: an embedded storage array controller component.
    pub sccs: bool,
    /// 3PC: third-party copy commands are supported.
    pub third_party_copy: bool,
    /// PROTECT: protection information is supported.
    pub protect: bool,
    /// ENCSERV: embedded enclosure services.
    pub encserv: bool,
    /// MULTIP: several SCSI target ports.
    pub multip: bool,
    /// CMDQUE: the task management model of SAM.
    pub cmdque: bool,
}

/// Standard INQUIRY data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandardInquiry {
    /// Whether there is a logical unit behind the LUN.
    pub peripheral_qualifier: PeripheralQualifier,
    /// PERIPHERAL DEVICE TYPE: 00h direct access block device, 0Ch storage array controller, 1Fh none.
    pub peripheral_device_type: u8,
    /// RMB: the medium is removable.
    pub rmb: bool,
    /// VERSION: 03h SPC, 04h SPC-2, 05h SPC-3, 06h SPC-4, 07h SPC-5.
    pub version: u8,
    /// RESPONSE DATA FORMAT: 2 since SCSI-2.
    pub response_data_format: u8,
    /// TPGS.
    pub tpgs: Tpgs,
    /// T10 VENDOR IDENTIFICATION, 8 characters including the blanks that pad it; unprintable bytes are `?`.
    pub vendor: String,
    /// PRODUCT IDENTIFICATION, 16 characters, in the same form.
    pub product: String,
    /// PRODUCT REVISION LEVEL, 4 characters, in the same form.
    pub revision: String,
    /// The bytes of the answer, at most `KEPT`.
    pub raw: Vec<u8>,
}

impl StandardInquiry {
    /// Parses standard INQUIRY data.
    ///
    /// ADDITIONAL LENGTH is ignored for the first 36 bytes: some devices send all 36 but report a smaller length (the
    /// kernel, too, always reads 36). It does limit what is kept as [`StandardInquiry::raw`], so that stale bytes at
    /// the end of the buffer are not taken for vendor specific bytes.
    ///
    /// # Errors
    /// Fewer than 36 bytes, the minimum in SPC-5.
    pub fn parse(data: &[u8]) -> Result<StandardInquiry, ParseError> {
        StandardInquiry::parse_partly(data)?.whole()
    }

    /// Parses as much of standard INQUIRY data as there is. A text field that is cut keeps the bytes that arrived.
    ///
    /// # Errors
    /// Fewer than 8 bytes.
    pub(crate) fn parse_partly(data: &[u8]) -> Result<Partly<StandardInquiry>, ParseError> {
        let mut r = Reader::new("standard INQUIRY data", data);
        let [
            peripheral,
            removable,
            version,
            format,
            additional,
            flags,
            _,
            _,
        ] = r.array()?;
        let mut missing = None;
        r.entering("T10 VENDOR IDENTIFICATION");
        let vendor = ascii(r.up_to(8, &mut missing));
        r.entering("PRODUCT IDENTIFICATION");
        let product = ascii(r.up_to(16, &mut missing));
        r.entering("PRODUCT REVISION LEVEL");
        let revision = ascii(r.up_to(4, &mut missing));
        let claimed = usize::from(additional).saturating_add(5).max(r.offset());
        Ok(Partly {
            value: StandardInquiry {
                peripheral_qualifier: PeripheralQualifier::from_byte(peripheral),
                peripheral_device_type: peripheral & 0x1f,
                rmb: removable & 0x80 != 0,
                version,
                response_data_format: format & 0x0f,
                tpgs: Tpgs::from_byte(flags),
                vendor,
                product,
                revision,
                raw: data.iter().take(claimed.min(KEPT)).copied().collect(),
            },
            end: r.offset(),
            missing,
        })
    }

    /// ADDITIONAL LENGTH (byte 4): the number of bytes after byte 4, as the device reports it.
    #[must_use]
    pub(crate) fn additional_length(&self) -> u8 {
        self.byte(4)
    }

    /// The flags of bytes 1, 3, 5, 6 and 7.
    #[must_use]
    pub fn flags(&self) -> InquiryFlags {
        let bit = |byte, bit: u8| self.byte(byte) & bit != 0;
        InquiryFlags {
            lu_cong: bit(1, 0x40),
            normaca: bit(3, 0x20),
            hisup: bit(3, 0x10),
            sccs: bit(5, 0x80),
            third_party_copy: bit(5, 0x08),
            protect: bit(5, 0x01),
            encserv: bit(6, 0x40),
            multip: bit(6, 0x10),
            cmdque: bit(7, 0x02),
        }
    }

    /// The vendor specific bytes 36 to 55; fewer if the data end before.
    #[must_use]
    pub fn vendor_specific(&self) -> &[u8] {
        let end = self.raw.len().min(56);
        self.raw.get(36..end).unwrap_or_default()
    }

    /// The VERSION DESCRIPTORs (bytes 58 to 73) that are complete. Zeros are skipped: they mean that no standard is
    /// given.
    pub(crate) fn version_descriptors(&self) -> impl Iterator<Item = u16> {
        let end = self.raw.len().min(74);
        let field = self.raw.get(58..end).unwrap_or_default();
        let (codes, _) = field.as_chunks::<2>();
        let codes = codes.iter().map(|code| u16::from_be_bytes(*code));
        codes.filter(|code| *code != 0)
    }

    fn byte(&self, at: usize) -> u8 {
        self.raw.get(at).copied().unwrap_or_default()
    }

    /// [`StandardInquiry::vendor`] without padding, as claim rules match it.
    #[must_use]
    pub fn vendor_trimmed(&self) -> &str {
        self.vendor.trim_end_matches([' ', '?'])
    }

    /// [`StandardInquiry::product`] without padding.
    #[must_use]
    pub fn product_trimmed(&self) -> &str {
        self.product.trim_end_matches([' ', '?'])
    }

    /// [`StandardInquiry::revision`] without padding.
    #[must_use]
    pub(crate) fn revision_trimmed(&self) -> &str {
        self.revision.trim_end_matches([' ', '?'])
    }

    /// Whether this is a disk: a connected logical unit of type 00h.
    #[cfg(test)]
    pub(crate) fn is_disk(&self) -> bool {
        self.peripheral_qualifier == PeripheralQualifier::Connected
            && self.peripheral_device_type == 0
    }

    /// Builds 36 bytes of standard data as an SPC-4 disk would send them, for simulated arrays and tests. Texts are
    /// padded with blanks or truncated to the size of their fields.
    #[must_use]
    pub fn build(tpgs: Tpgs, vendor: &str, product: &str, revision: &str) -> Vec<u8> {
        let tpgs = match tpgs {
            Tpgs::None => 0x00,
            Tpgs::Implicit => 0x10,
            Tpgs::Explicit => 0x20,
            Tpgs::Both => 0x30,
        };
        // RESPONSE DATA FORMAT 2 with HISUP; ADDITIONAL LENGTH 31; CMDQUE.
        let mut out = vec![0x00, 0x00, 0x06, 0x12, 31, tpgs, 0x00, 0x02];
        for (text, width) in [(vendor, 8), (product, 16), (revision, 4)] {
            out.extend(text.bytes().chain(std::iter::repeat(b' ')).take(width));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(head: [u8; 8], texts: &[u8; 28], rest: usize) -> Vec<u8> {
        let mut data = head.to_vec();
        data.extend(texts);
        data.resize(data.len() + rest, 0);
        data
    }

    #[test]
    fn lio_disk_with_both_kinds_of_alua() {
        let data = fixture(
            [0x00, 0x00, 0x06, 0x02, 0x5b, 0x30, 0x00, 0x02],
            b"LIO-ORG disk1           4.0 ",
            60,
        );
        let parsed = StandardInquiry::parse(&data).unwrap();
        assert!(parsed.is_disk());
        assert_eq!(parsed.version, 6);
        assert_eq!(parsed.response_data_format, 2);
        assert_eq!(parsed.tpgs, Tpgs::Both);
        assert!(parsed.tpgs.implicit() && parsed.tpgs.explicit());
        assert_eq!(parsed.vendor, "LIO-ORG ");
        assert_eq!(parsed.product, "disk1           ");
        assert_eq!(
            (
                parsed.vendor_trimmed(),
                parsed.product_trimmed(),
                parsed.revision_trimmed()
            ),
            ("LIO-ORG", "disk1", "4.0")
        );
        assert_eq!(parsed.raw, data);
    }

    #[test]
    fn netapp_lun_with_implicit_alua() {
        let data = fixture(
            [0x00, 0x00, 0x05, 0x12, 0x8b, 0x10, 0x10, 0x02],
            b"NETAPP  LUN C-Mode      9131",
            108,
        );
        let parsed = StandardInquiry::parse(&data).unwrap();
        assert_eq!(parsed.tpgs, Tpgs::Implicit);
        assert!(!parsed.tpgs.explicit());
        assert_eq!(parsed.product_trimmed(), "LUN C-Mode");
        assert_eq!(parsed.raw.len(), 96);
    }

    #[test]
    fn no_logical_unit_behind_this_lun() {
        // DGC returns "LUNZ" for LUN 0 if the storage group has no LUN 0.
        let lunz = fixture(
            [0x20, 0x00, 0x04, 0x12, 0x1f, 0x00, 0x00, 0x02],
            b"DGC     LUNZ            0533",
            0,
        );
        let parsed = StandardInquiry::parse(&lunz).unwrap();
        assert_eq!(
            parsed.peripheral_qualifier,
            PeripheralQualifier::NotConnected
        );
        assert!(!parsed.is_disk());
        let none = fixture(
            [0x7f, 0, 5, 2, 31, 0, 0, 0],
            b"X       Y               1   ",
            0,
        );
        let parsed = StandardInquiry::parse(&none).unwrap();
        assert_eq!(parsed.peripheral_qualifier, PeripheralQualifier::NotCapable);
        assert_eq!(parsed.peripheral_device_type, 0x1f);
    }

    #[test]
    fn texts_that_are_not_text() {
        let data = fixture(
            [0, 0x80, 0, 1, 0, 0, 0, 0],
            b"AB\x1b[31m\0  \t\xff            \0\0\0\0",
            20,
        );
        let parsed = StandardInquiry::parse(&data).unwrap();
        assert!(parsed.rmb);
        assert_eq!(parsed.vendor, "AB?[31m?");
        assert_eq!(parsed.vendor_trimmed(), "AB?[31m");
        assert_eq!(parsed.product, "  ??            ");
        assert_eq!(parsed.revision_trimmed(), "");
        // ADDITIONAL LENGTH 0: stale bytes at the end of the buffer are not kept.
        assert_eq!(parsed.raw.len(), 36);
    }

    #[test]
    fn short_data_is_named() {
        let data = StandardInquiry::build(Tpgs::None, "VENDOR", "PRODUCT", "1");
        assert_eq!(
            StandardInquiry::parse(&data[..20]).unwrap_err().to_string(),
            "PRODUCT IDENTIFICATION, byte 16: truncated: 16 bytes needed, 4 present"
        );
        assert!(StandardInquiry::parse(&[]).is_err());
    }

    #[test]
    fn built_data_is_parsed_back() {
        for tpgs in [Tpgs::None, Tpgs::Implicit, Tpgs::Explicit, Tpgs::Both] {
            let data = StandardInquiry::build(tpgs, "COMPELNT", "Compellent Vol", "0704+");
            let parsed = StandardInquiry::parse(&data).unwrap();
            assert_eq!(parsed.tpgs, tpgs);
            assert_eq!(parsed.vendor, "COMPELNT");
            assert_eq!(parsed.product_trimmed(), "Compellent Vol");
            assert_eq!(parsed.revision, "0704");
            assert!(parsed.is_disk());
        }
    }
}
