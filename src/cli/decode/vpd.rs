//! Decodes vital product data pages (SPC-5, "Vital product data parameters").

use super::decoded::{Decoded, code, count, hex, said, structure};
use crate::cli::record::{Record, Value};
use crate::psa::identity;
use crate::scsi::vpd::{self, Designator, DesignatorType, DeviceIdentification, Page};
use crate::scsi::{ParseError, Partly, names, vpd_block};

/// Decodes a page into fields. Without a page code, the code in the header is used.
///
/// # Errors
/// The header is truncated, or the page has another code.
pub fn vpd(data: &[u8], page: Option<u8>) -> Result<Decoded, ParseError> {
    let page_code = page.or(vpd::page_code(data)).unwrap_or_default();
    let Partly {
        value,
        mut end,
        mut missing,
    } = vpd::page_partly(page_code, data)?;
    let after = value.after;
    let device_type = value.peripheral_device_type;
    let mut fields = header(page_code, &value);
    let mut descriptors = Vec::new();
    match page_code {
        vpd::SUPPORTED_PAGES => {
            let pages = value.body.rest().iter();
            let pages = pages.map(|page| {
                let name = names::vpd_page(*page, device_type);
                format!("{page:02X}h ({name})")
            });
            fields.push(("VPD PAGE LIST", Value::List(pages.collect())));
        }
        vpd::UNIT_SERIAL_NUMBER => {
            let text = vpd::serial_number(&value);
            fields.push(("PRODUCT SERIAL NUMBER", Value::Text(text)));
        }
        vpd::DEVICE_IDENTIFICATION => {
            fields.extend(identity(data));
            let page = DeviceIdentification::of_page(value);
            end = page.end;
            missing = missing.or(page.missing);
            let numbered = (1..).zip(&page.value.designators);
            descriptors.extend(numbered.map(|(number, it)| designator(number, it)));
        }
        vpd::BLOCK_LIMITS if is_block_device(&value) => {
            fields.extend(numbers(vpd_block::block_limits(value.body.rest())));
        }
        vpd::BLOCK_DEVICE_CHARACTERISTICS if is_block_device(&value) => {
            let read = vpd_block::block_device_characteristics(value.body.rest());
            fields.extend(numbers(read));
        }
        MANUFACTURER_SERIAL_NUMBER | AUTOMATION_SERIAL_NUMBER if is_tape(&value) => {
            let text = vpd::serial_number(&value);
            fields.push(("SERIAL NUMBER", Value::Text(text)));
        }
        LOGICAL_BLOCK_PROTECTION if is_tape(&value) => {
            descriptors.extend(protection(value.body.rest()));
        }
        _ => fields.push(("Bytes", Value::Text(hex(value.body.rest())))),
    }
    let name = names::vpd_page(page_code, device_type);
    let heading = format!("{name} VPD page");
    descriptors.insert(0, structure(heading, fields));
    let read = (end, missing);
    Ok(Decoded::new(descriptors, read, data, after))
}

/// Pages of sequential access devices (SSC-5).
const MANUFACTURER_SERIAL_NUMBER: u8 = 0xb1;
const AUTOMATION_SERIAL_NUMBER: u8 = 0xb3;
const LOGICAL_BLOCK_PROTECTION: u8 = 0xb5;

/// Sequential access device.
const TAPE: u8 = 0x01;

fn is_tape(page: &Page<'_>) -> bool {
    page.peripheral_device_type == TAPE
}

/// The methods of logical block protection that a drive supports (SSC-5, "Logical Block Protection VPD page"): a list
/// of descriptors after four reserved bytes.
fn protection(body: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = body.get(4..).unwrap_or_default();
    while let [length, method, info, flags, ..] = rest {
        let name = match method {
            0 => "no protection",
            1 => "Reed-Solomon CRC",
            2 => "CRC32C",
            _ => "reserved or vendor specific",
        };
        let number = records.len().saturating_add(1);
        records.push(structure(
            format!("Logical block protection method {number}"),
            vec![
                ("LOGICAL BLOCK PROTECTION METHOD", code(*method, name)),
                (
                    "LOGICAL BLOCK PROTECTION INFORMATION LENGTH",
                    (info & 0x3f).into(),
                ),
                ("LBP_W_C", (flags & 0x80 != 0).into()),
                ("LBP_R_C", (flags & 0x40 != 0).into()),
                ("RBDP_C", (flags & 0x20 != 0).into()),
            ],
        ));
        // A descriptor has at least four bytes, even if its length field says less.
        let length = usize::from(*length).saturating_add(1).max(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    if !rest.is_empty() {
        let bytes = Value::Text(hex(rest));
        records.push(structure("After the last method", vec![("Bytes", bytes)]));
    }
    records
}

/// Pages B0h and above have a different meaning for each device type.
fn is_block_device(page: &Page<'_>) -> bool {
    matches!(page.peripheral_device_type, DISK | ZONED_DISK)
}

/// Direct access block device, and host managed zoned block device (SPC-5, PERIPHERAL DEVICE TYPE).
const DISK: u8 = 0x00;
const ZONED_DISK: u8 = 0x14;

fn numbers(fields: Vec<(&'static str, u64)>) -> impl Iterator<Item = (&'static str, Value)> {
    fields
        .into_iter()
        .map(|(name, number)| (name, number.into()))
}

fn header(page_code: u8, page: &Page<'_>) -> Vec<(&'static str, Value)> {
    let device_type = page.peripheral_device_type;
    vec![
        ("PERIPHERAL QUALIFIER", said(page.peripheral_qualifier)),
        (
            "PERIPHERAL DEVICE TYPE",
            code(device_type, names::peripheral_device_type(device_type)),
        ),
        (
            "PAGE CODE",
            code(page_code, names::vpd_page(page_code, device_type)),
        ),
        ("PAGE LENGTH", page.length.into()),
    ]
}

/// The logical unit that the agent identifies from the page.
fn identity(data: &[u8]) -> Vec<(&'static str, Value)> {
    match identity::identify(data) {
        Ok(unit) => vec![
            ("Device", Value::Text(unit.device_id.into())),
            ("WWID", Value::Text(unit.wwid.into())),
        ],
        Err(problem) => vec![("Device", Value::Text(format!("none: {problem}")))],
    }
}

fn designator(number: u32, designator: &Designator) -> Record {
    let mut fields = Vec::new();
    fields.push(("PIV", designator.protocol_identifier.is_some().into()));
    if let Some(protocol) = designator.protocol_identifier {
        let text = format!("{protocol:X}h ({})", names::protocol_identifier(protocol));
        fields.push(("PROTOCOL IDENTIFIER", Value::Text(text)));
    }
    fields.extend([
        ("CODE SET", said(designator.code_set)),
        ("ASSOCIATION", said(designator.association)),
        ("DESIGNATOR TYPE", said(designator.designator_type)),
        ("DESIGNATOR LENGTH", count(&designator.bytes)),
        ("DESIGNATOR", Value::Text(hex(&designator.bytes))),
    ]);
    if let Some(field) = meaning(designator) {
        fields.push(field);
    }
    structure(format!("Designation descriptor {number}"), fields)
}

/// The decoded bytes of a designator.
fn meaning(designator: &Designator) -> Option<(&'static str, Value)> {
    let digits: String = designator
        .bytes
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    if let Some(text) = designator.text() {
        return Some(("Text", Value::Text(text)));
    }
    let number = designator.number();
    match designator.designator_type {
        DesignatorType::Naa => {
            let kind = match designator.naa()? {
                2 => "IEEE Extended",
                3 => "Locally Assigned",
                5 => "IEEE Registered",
                6 => "IEEE Registered Extended",
                _ => "reserved",
            };
            Some(("Name", Value::Text(format!("naa.{digits} ({kind})"))))
        }
        DesignatorType::Eui64 => Some(("Name", Value::Text(format!("eui.{digits}")))),
        DesignatorType::RelativeTargetPort => {
            Some(("RELATIVE TARGET PORT IDENTIFIER", number?.into()))
        }
        DesignatorType::TargetPortGroup => Some(("TARGET PORT GROUP", number?.into())),
        DesignatorType::LogicalUnitGroup => Some(("LOGICAL UNIT GROUP", number?.into())),
        DesignatorType::Uuid => {
            let number = u128::from_be_bytes(designator.uuid()?);
            let digits = format!("{number:032x}");
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
            let parts = parts.map(|part| digits.get(part).unwrap_or_default());
            Some(("UUID", Value::Text(parts.join("-"))))
        }
        _ => None,
    }
}
