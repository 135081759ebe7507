//! Standard INQUIRY data (SPC-5 6.7, "Standard INQUIRY data").

use super::reader::{ParseError, Partly, Reader, ascii};
use serde::{Deserialize, Serialize};

/// How much of the answer is kept for rules that look at single bytes (`inq_data[128]` and the like reach no
/// further than this, because no more is asked for): [`super::cdb::INQUIRY_LENGTH`], in bytes.
pub const KEPT: usize = super::cdb::INQUIRY_LENGTH as usize;

/// PERIPHERAL QUALIFIER (SPC-5 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeripheralQualifier {
    /// 000b: a logical unit is behind this LUN, as far as the device server can tell.
    Connected,
    /// 001b: the device server could serve one, and there is none.
    NotConnected,
    /// 011b: the device server cannot serve this LUN.
    NotCapable,
    /// Any other.
    Other(u8),
}

impl PeripheralQualifier {
    /// From byte 0 of any INQUIRY answer.
    #[must_use]
    pub fn from_byte(byte: u8) -> PeripheralQualifier {
        match byte >> 5 {
            0b000 => PeripheralQualifier::Connected,
            0b001 => PeripheralQualifier::NotConnected,
            0b011 => PeripheralQualifier::NotCapable,
            other => PeripheralQualifier::Other(other),
        }
    }

    /// The three bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            PeripheralQualifier::Connected => 0b000,
            PeripheralQualifier::NotConnected => 0b001,
            PeripheralQualifier::NotCapable => 0b011,
            PeripheralQualifier::Other(bits) => bits & 0b111,
        }
    }
}

/// TPGS (SPC-5 6.7): who may change asymmetric access states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tpgs {
    /// 00b: no asymmetric access, or not by the standard.
    None,
    /// 01b: the array itself; REPORT TARGET PORT GROUPS works.
    Implicit,
    /// 10b: hosts by SET TARGET PORT GROUPS; both commands work.
    Explicit,
    /// 11b: either.
    Both,
}

impl Tpgs {
    /// From byte 5 of standard INQUIRY data, bits 5 and 4.
    #[must_use]
    pub fn from_byte(byte: u8) -> Tpgs {
        match (byte & 0x20 != 0, byte & 0x10 != 0) {
            (false, false) => Tpgs::None,
            (false, true) => Tpgs::Implicit,
            (true, false) => Tpgs::Explicit,
            (true, true) => Tpgs::Both,
        }
    }

    /// Whether the array may change states by itself.
    #[must_use]
    pub fn implicit(self) -> bool {
        matches!(self, Tpgs::Implicit | Tpgs::Both)
    }

    /// Whether hosts may change states.
    #[must_use]
    pub fn explicit(self) -> bool {
        matches!(self, Tpgs::Explicit | Tpgs::Both)
    }
}

/// Single bits of standard INQUIRY data (SPC-5 6.7) that no decision is made of.
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
    /// Whether there is a logical unit at all.
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
    /// T10 VENDOR IDENTIFICATION, 8 characters with the blanks that pad it; unprintable bytes are `?`.
    pub vendor: String,
    /// PRODUCT IDENTIFICATION, 16 characters, likewise.
    pub product: String,
    /// PRODUCT REVISION LEVEL, 4 characters, likewise.
    pub revision: String,
    /// The answer as it came, at most [`KEPT`] bytes.
    pub raw: Vec<u8>,
}

impl StandardInquiry {
    /// Parses standard INQUIRY data.
    ///
    /// ADDITIONAL LENGTH is not looked at for the first 36 bytes: devices are about that give all of them and
    /// count too few (the kernel, too, reads 36 whatever the byte says). It does bound what is kept as
    /// [`StandardInquiry::raw`], so that a buffer's stale tail is not taken for vendor specific bytes.
    ///
    /// # Errors
    /// Fewer than 36 bytes, the least that SPC-5 allows.
    pub fn parse(data: &[u8]) -> Result<StandardInquiry, ParseError> {
        StandardInquiry::parse_partly(data)?.whole()
    }

    /// Parses as much of standard INQUIRY data as there is: of texts that are cut, what is left of them.
    ///
    /// # Errors
    /// Fewer than 8 bytes.
    pub fn parse_partly(data: &[u8]) -> Result<Partly<StandardInquiry>, ParseError> {
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

    /// ADDITIONAL LENGTH (byte 4): what follows byte 4, in bytes, as the device counts it.
    #[must_use]
    pub fn additional_length(&self) -> u8 {
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

    /// The vendor specific bytes 36 to 55, as many as came.
    #[must_use]
    pub fn vendor_specific(&self) -> &[u8] {
        let end = self.raw.len().min(56);
        self.raw.get(36..end).unwrap_or_default()
    }

    /// The VERSION DESCRIPTORs (bytes 58 to 73) that came whole, without those that are zero: not given.
    pub fn version_descriptors(&self) -> impl Iterator<Item = u16> {
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
    pub fn revision_trimmed(&self) -> &str {
        self.revision.trim_end_matches([' ', '?'])
    }

    /// Whether a disk is there: a logical unit that is connected and of type 00h.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        self.peripheral_qualifier == PeripheralQualifier::Connected
            && self.peripheral_device_type == 0
    }

    /// Builds 36 bytes of standard data as an SPC-4 disk would send them, for simulated arrays and tests. Texts are
    /// padded with blanks or cut to their fields.
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
        // DGC answers for LUN 0 of a storage group that has none: "LUNZ".
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
        // ADDITIONAL LENGTH 0: the stale tail of the buffer is not kept.
        assert_eq!(parsed.raw.len(), 36);
    }

    #[test]
    fn short_data_is_named() {
        let data = StandardInquiry::build(Tpgs::None, "VENDOR", "PRODUCT", "1");
        assert_eq!(
            StandardInquiry::parse(&data[..20]).unwrap_err().to_string(),
            "PRODUCT IDENTIFICATION, byte 16: truncated: 16 bytes wanted, 4 there"
        );
        assert!(StandardInquiry::parse(&[]).is_err());
    }

    #[test]
    fn what_is_built_is_parsed() {
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
