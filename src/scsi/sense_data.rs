//! Parses complete sense data (SPC-5, "Sense data") for display. Decisions use [`Sense`] only.

use super::reader::{ParseError, Partly, Reader};
use super::sense::{self, Sense};

/// Sense data in either format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SenseData {
    /// RESPONSE CODE: 70h, 72h for current errors; 71h, 73h for deferred errors, which belong to an earlier command.
    pub response_code: u8,
    /// SENSE KEY, ADDITIONAL SENSE CODE and its qualifier.
    pub sense: Sense,
    /// ADDITIONAL SENSE LENGTH (byte 7), if present: the number of bytes that follow it.
    pub additional_length: Option<u8>,
    /// The fields that only this format has.
    pub format: SenseFormat,
    /// Bytes beyond ADDITIONAL SENSE LENGTH: stale bytes at the end of the buffer.
    pub after: Vec<u8>,
}

/// The part of sense data that depends on the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SenseFormat {
    /// 70h, 71h.
    Fixed(FixedFormat),
    /// 72h, 73h.
    Descriptor {
        /// SDAT_OVFL: sense data were truncated.
        sdat_ovfl: bool,
        /// The sense data descriptors, in the order received.
        descriptors: Vec<SenseDescriptor>,
    },
}

/// Fixed format sense data (SPC-5, "Fixed format sense data"). Fields beyond the end of the data are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FixedFormat {
    /// VALID: INFORMATION is defined.
    pub valid: bool,
    /// FILEMARK.
    pub filemark: bool,
    /// EOM: end of medium.
    pub eom: bool,
    /// ILI: incorrect length.
    pub ili: bool,
    /// SDAT_OVFL: sense data were truncated.
    pub sdat_ovfl: bool,
    /// INFORMATION.
    pub information: Option<u32>,
    /// COMMAND-SPECIFIC INFORMATION.
    pub command_specific: Option<u32>,
    /// FIELD REPLACEABLE UNIT CODE.
    pub field_replaceable_unit: Option<u8>,
    /// Bytes 15 to 17: SKSV and SENSE KEY SPECIFIC.
    pub sense_key_specific: Option<SenseKeySpecific>,
    /// Bytes from 18 on.
    pub additional: Vec<u8>,
}

/// SENSE KEY SPECIFIC with the bit that says whether it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SenseKeySpecific {
    /// SKSV.
    pub valid: bool,
    /// The three bytes, SKSV included.
    pub bytes: [u8; 3],
}

impl SenseKeySpecific {
    fn of(bytes: [u8; 3]) -> SenseKeySpecific {
        let [first, ..] = bytes;
        SenseKeySpecific {
            valid: first & 0x80 != 0,
            bytes,
        }
    }
}

/// The meaning of SENSE KEY SPECIFIC, which depends on the sense key (SPC-5, "Sense key specific sense data").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SenseKeyContent {
    /// ILLEGAL REQUEST: which field is in error.
    FieldPointer {
        /// C/D: the field is in the CDB, otherwise in the parameter data.
        in_cdb: bool,
        /// BIT POINTER, if BPV says that it is valid.
        bit: Option<u8>,
        /// FIELD POINTER, in bytes.
        byte: u16,
    },
    /// RECOVERED ERROR, MEDIUM ERROR, HARDWARE ERROR: ACTUAL RETRY COUNT.
    RetryCount(u16),
    /// NO SENSE, NOT READY: PROGRESS INDICATION, in units of 1/65536.
    Progress(u16),
}

impl SenseKeySpecific {
    /// The decoded content. `None` if SKSV is not set or if the sense key defines no meaning.
    #[must_use]
    pub(crate) fn content(self, key: u8) -> Option<SenseKeyContent> {
        let [flags, high, low] = self.bytes;
        let number = u16::from_be_bytes([high, low]);
        match key {
            _ if !self.valid => None,
            sense::ILLEGAL_REQUEST => Some(SenseKeyContent::FieldPointer {
                in_cdb: flags & 0x40 != 0,
                bit: (flags & 0x08 != 0).then_some(flags & 0x07),
                byte: number,
            }),
            sense::RECOVERED_ERROR | 0x3 | sense::HARDWARE_ERROR => {
                Some(SenseKeyContent::RetryCount(number))
            }
            sense::NO_SENSE | sense::NOT_READY => Some(SenseKeyContent::Progress(number)),
            _ => None,
        }
    }
}

/// A sense data descriptor (SPC-5, "Descriptor format sense data").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SenseDescriptor {
    /// DESCRIPTOR TYPE.
    pub descriptor_type: u8,
    /// The bytes that follow ADDITIONAL LENGTH.
    pub body: Vec<u8>,
    /// The decoded body.
    pub content: SenseContent,
}

/// The content of a sense data descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SenseContent {
    /// 00h: INFORMATION, and VALID.
    Information {
        /// VALID.
        valid: bool,
        /// INFORMATION.
        information: u64,
    },
    /// 01h: COMMAND-SPECIFIC INFORMATION.
    CommandSpecific(u64),
    /// 02h: SENSE KEY SPECIFIC.
    SenseKeySpecific(SenseKeySpecific),
    /// 03h: FIELD REPLACEABLE UNIT CODE.
    FieldReplaceableUnit(u8),
    /// Another type, or a body that is too short for its type.
    Other,
}

impl SenseContent {
    fn of(descriptor_type: u8, body: &[u8]) -> SenseContent {
        match (descriptor_type, body) {
            (0x00, [flags, _, information @ ..]) => match information.first_chunk() {
                Some(information) => SenseContent::Information {
                    valid: flags & 0x80 != 0,
                    information: u64::from_be_bytes(*information),
                },
                None => SenseContent::Other,
            },
            (0x01, [_, _, information @ ..]) => match information.first_chunk() {
                Some(information) => {
                    SenseContent::CommandSpecific(u64::from_be_bytes(*information))
                }
                None => SenseContent::Other,
            },
            (0x02, [_, _, a, b, c, ..]) => {
                SenseContent::SenseKeySpecific(SenseKeySpecific::of([*a, *b, *c]))
            }
            (0x03, [_, code, ..]) => SenseContent::FieldReplaceableUnit(*code),
            _ => SenseContent::Other,
        }
    }
}

impl SenseData {
    /// Parses as much of the sense data as there is. Fields that ADDITIONAL SENSE LENGTH does not cover are absent,
    /// which is not an error. It is an error if fields that it covers are not in the data.
    ///
    /// # Errors
    /// Same as [`Sense::parse`].
    pub(crate) fn parse_partly(data: &[u8]) -> Result<Partly<SenseData>, ParseError> {
        let sense = Sense::parse(data)?;
        let mut missing = None;
        let mut r = Reader::new("sense data", data);
        let head = r.up_to(7, &mut missing);
        let byte = |at: usize| head.get(at).copied();
        r.entering("ADDITIONAL SENSE LENGTH");
        let additional_length = match r.up_to(1, &mut missing) {
            [length] => Some(*length),
            _ => None,
        };
        r.entering("additional sense bytes");
        let counted = usize::from(additional_length.unwrap_or_default());
        let start = r.offset();
        let mut body = r.part_up_to(counted, &mut missing);
        let mut end = r.offset();
        let first = byte(0).unwrap_or_default();
        let response_code = first & 0x7f;
        let format = if matches!(response_code, 0x70 | 0x71) {
            SenseFormat::Fixed(fixed(head, body.rest()))
        } else {
            let mut descriptors = Vec::new();
            if let Err(error) = parse_descriptors(&mut body, &mut descriptors) {
                missing.get_or_insert(error);
            }
            let described = descriptors.iter().map(|d| d.body.len().saturating_add(2));
            end = described.fold(start, usize::saturating_add);
            SenseFormat::Descriptor {
                sdat_ovfl: byte(4).is_some_and(|b| b & 0x80 != 0),
                descriptors,
            }
        };
        Ok(Partly {
            value: SenseData {
                response_code,
                sense,
                additional_length,
                format,
                after: r.rest().to_vec(),
            },
            end,
            missing,
        })
    }

    /// Whether the error belongs to an earlier command.
    #[must_use]
    pub(crate) fn deferred(&self) -> bool {
        self.response_code & 1 != 0
    }
}

/// Parses the fixed format: `head` is bytes 0 to 6, `body` is bytes 8 and later.
fn fixed(head: &[u8], body: &[u8]) -> FixedFormat {
    let first = head.first().copied().unwrap_or_default();
    let flags = head.get(2).copied().unwrap_or_default();
    let number = |bytes: Option<&[u8]>| {
        let field = bytes?.first_chunk()?;
        Some(u32::from_be_bytes(*field))
    };
    FixedFormat {
        valid: first & 0x80 != 0,
        filemark: flags & 0x80 != 0,
        eom: flags & 0x40 != 0,
        ili: flags & 0x20 != 0,
        sdat_ovfl: flags & 0x10 != 0,
        information: number(head.get(3..)),
        command_specific: number(Some(body)),
        field_replaceable_unit: body.get(6).copied(),
        sense_key_specific: body
            .get(7..)
            .and_then(|field| field.first_chunk())
            .map(|field| SenseKeySpecific::of(*field)),
        additional: body.get(10..).unwrap_or_default().to_vec(),
    }
}

fn parse_descriptors(
    r: &mut Reader<'_>,
    descriptors: &mut Vec<SenseDescriptor>,
) -> Result<(), ParseError> {
    while !r.is_empty() {
        r.entering("sense data descriptor");
        let [descriptor_type, length] = r.array()?;
        let body = r.bytes(usize::from(length))?;
        descriptors.push(SenseDescriptor {
            descriptor_type,
            body: body.to_vec(),
            content: SenseContent::of(descriptor_type, body),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_format() {
        let mut data = vec![0xf0, 0, 0x23, 0, 0, 0x10, 0, 10, 0, 0, 0, 5, 0x11, 0x0b, 7];
        data.extend([0x80, 0, 9, 0xee]);
        let Partly { value, missing, .. } = SenseData::parse_partly(&data).unwrap();
        assert_eq!(missing, None);
        assert_eq!((value.sense.key, value.deferred()), (3, false));
        assert_eq!(value.after, [0xee]);
        let SenseFormat::Fixed(fixed) = value.format else {
            panic!("not fixed");
        };
        assert!(fixed.valid && fixed.ili && !fixed.eom);
        assert_eq!(fixed.information, Some(0x1000));
        assert_eq!(fixed.command_specific, Some(5));
        assert_eq!(fixed.field_replaceable_unit, Some(7));
        assert_eq!(fixed.sense_key_specific.unwrap().bytes, [0x80, 0, 9]);
    }

    #[test]
    fn descriptor_format() {
        let mut data = vec![0x72, 5, 0x24, 0, 0, 0, 0, 20];
        data.extend([0, 0x0a, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        data.extend([2, 6, 0, 0, 0xc0, 0, 2, 0]);
        let Partly { value, missing, .. } = SenseData::parse_partly(&data).unwrap();
        assert_eq!(missing, None);
        let SenseFormat::Descriptor { descriptors, .. } = value.format else {
            panic!("not of descriptors");
        };
        assert_eq!(
            descriptors[0].content,
            SenseContent::Information {
                valid: true,
                information: 256
            }
        );
        assert!(matches!(
            descriptors[1].content,
            SenseContent::SenseKeySpecific(SenseKeySpecific { valid: true, .. })
        ));
        for cut in 2..data.len() {
            assert!(
                SenseData::parse_partly(&data[..cut])
                    .unwrap()
                    .missing
                    .is_some()
            );
        }
    }
}
