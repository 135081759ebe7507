//! Decodes REPORT TARGET PORT GROUPS parameter data (SPC-5 6.36).

use super::decoded::{Decoded, said, structure};
use crate::cli::record::{Record, Value};
use crate::scsi::tpgs::{TargetPortGroup, TargetPortGroups};
use crate::scsi::{ParseError, Partly};

/// Decodes the answer to REPORT TARGET PORT GROUPS into fields.
///
/// # Errors
/// No RETURN DATA LENGTH, another FORMAT TYPE, or a truncated extended header.
pub fn rtpg(data: &[u8]) -> Result<Decoded, ParseError> {
    let Partly {
        value,
        end,
        missing,
    } = TargetPortGroups::parse_partly(data)?;
    let length = TargetPortGroups::return_data_length(data).unwrap_or_default();
    let mut fields = vec![("RETURN DATA LENGTH", length.into())];
    match value.implicit_transition_time {
        None => fields.push(("FORMAT TYPE", "000b (length only header)".into())),
        Some(seconds) => fields.extend([
            ("FORMAT TYPE", "001b (extended header)".into()),
            (
                "IMPLICIT TRANSITION TIME",
                Value::Text(match seconds {
                    0 => "not reported".to_owned(),
                    seconds => format!("{seconds} s"),
                }),
            ),
        ]),
    }
    let heading = "REPORT TARGET PORT GROUPS parameter data";
    let mut structures = vec![structure(heading, fields)];
    let numbered = (1..).zip(&value.groups);
    structures.extend(numbered.map(|(number, it)| group(number, it)));
    let whole = usize::try_from(length).map_or(usize::MAX, |length| length.saturating_add(4));
    let after = data.get(whole..).unwrap_or_default();
    Ok(Decoded::new(structures, (end, missing), data, after))
}

fn group(number: u32, group: &TargetPortGroup) -> Record {
    let state = group.access_state;
    let supported = group.supported;
    let ports = group.relative_target_ports.iter().map(u16::to_string);
    let fields = vec![
        ("PREF", group.preferred.into()),
        (
            "ASYMMETRIC ACCESS STATE",
            Value::Text(format!("{:X}h ({state})", state.nibble())),
        ),
        ("T_SUP", supported.transitioning.into()),
        ("O_SUP", supported.offline.into()),
        ("LBD_SUP", supported.logical_block_dependent.into()),
        ("U_SUP", supported.unavailable.into()),
        ("S_SUP", supported.standby.into()),
        ("AN_SUP", supported.active_non_optimized.into()),
        ("AO_SUP", supported.active_optimized.into()),
        ("TARGET PORT GROUP", group.id.into()),
        ("STATUS CODE", said(group.status_code)),
        (
            "Vendor specific",
            Value::Text(format!("{:02X}h", group.vendor_specific)),
        ),
        (
            "RELATIVE TARGET PORT IDENTIFIER",
            Value::List(ports.collect()),
        ),
    ];
    structure(format!("Target port group descriptor {number}"), fields)
}
