//! Decodes standard INQUIRY data (SPC-5 6.7).

use super::decoded::{Decoded, code, hex, said, structure};
use crate::cli::record::Value;
use crate::scsi::inquiry::StandardInquiry;
use crate::scsi::{ParseError, Partly, names};

/// Decodes standard INQUIRY data into fields.
///
/// # Errors
/// Fewer than 8 bytes.
pub fn inquiry(data: &[u8]) -> Result<Decoded, ParseError> {
    let Partly {
        value,
        end,
        missing,
    } = StandardInquiry::parse_partly(data)?;
    let flags = value.flags();
    let versions = value.version_descriptors().map(|descriptor| {
        let name = names::version_descriptor(descriptor).unwrap_or("unknown standard");
        format!("{descriptor:04X}h ({name})")
    });
    let device_type = value.peripheral_device_type;
    let mut fields = vec![
        ("PERIPHERAL QUALIFIER", said(value.peripheral_qualifier)),
        (
            "PERIPHERAL DEVICE TYPE",
            code(device_type, names::peripheral_device_type(device_type)),
        ),
        ("RMB", value.rmb.into()),
        ("LU_CONG", flags.lu_cong.into()),
        (
            "VERSION",
            code(value.version, names::version(value.version)),
        ),
        ("NORMACA", flags.normaca.into()),
        ("HISUP", flags.hisup.into()),
        ("RESPONSE DATA FORMAT", value.response_data_format.into()),
        ("ADDITIONAL LENGTH", value.additional_length().into()),
        ("SCCS", flags.sccs.into()),
        ("TPGS", said(value.tpgs)),
        ("3PC", flags.third_party_copy.into()),
        ("PROTECT", flags.protect.into()),
        ("ENCSERV", flags.encserv.into()),
        ("MULTIP", flags.multip.into()),
        ("CMDQUE", flags.cmdque.into()),
    ];
    // The texts as rules match them. A truncated text is shown as far as it goes; the texts after it are left out.
    for (name, text, full) in [
        (
            "T10 VENDOR IDENTIFICATION",
            value.vendor_trimmed(),
            &value.vendor,
        ),
        (
            "PRODUCT IDENTIFICATION",
            value.product_trimmed(),
            &value.product,
        ),
        (
            "PRODUCT REVISION LEVEL",
            value.revision_trimmed(),
            &value.revision,
        ),
    ] {
        if !full.is_empty() {
            fields.push((name, text.into()));
        }
    }
    let vendor_specific = value.vendor_specific();
    if vendor_specific.iter().any(|byte| *byte != 0) {
        fields.push(("Vendor specific", Value::Text(hex(vendor_specific))));
    }
    fields.push(("VERSION DESCRIPTOR", Value::List(versions.collect())));
    let structures = vec![structure("Standard INQUIRY data", fields)];
    Ok(Decoded::new(structures, (end, missing), data, &[]))
}
