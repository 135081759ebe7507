//! Decodes sense data (SPC-5, "Sense data").

use super::decoded::{Decoded, code, count, hex, structure};
use crate::cli::record::{Record, Value};
use crate::scsi::outcome::Outcome;
use crate::scsi::sense::{self, Sense, SenseMeaning, UnitAttentionKind};
use crate::scsi::sense_data::{
    FixedFormat, SenseContent, SenseData, SenseDescriptor, SenseFormat, SenseKeyContent,
    SenseKeySpecific,
};
use crate::scsi::{ParseError, Partly, names};

type Fields = Vec<(&'static str, Value)>;

/// Decodes sense data into fields.
///
/// # Errors
/// Another RESPONSE CODE, or no SENSE KEY.
pub fn sense(data: &[u8]) -> Result<Decoded, ParseError> {
    let Partly {
        value,
        end,
        missing,
    } = SenseData::parse_partly(data)?;
    let key = value.sense.key;
    let mut fields = head(&value);
    let mut descriptors = Vec::new();
    match &value.format {
        SenseFormat::Fixed(fixed) => fields.extend(of_fixed(fixed, key)),
        SenseFormat::Descriptor {
            sdat_ovfl,
            descriptors: list,
        } => {
            fields.push(("SDAT_OVFL", (*sdat_ovfl).into()));
            let numbered = (1..).zip(list);
            descriptors.extend(numbered.map(|(number, it)| of_descriptor(number, it, key)));
        }
    }
    descriptors.insert(0, structure("Sense data", fields));
    let read = (end, missing);
    Ok(Decoded::new(descriptors, read, data, &value.after))
}

/// Decodes the three numbers of sense data that logs show: `0x5 0x25 0x0` in ESXi, `5/25/00`.
///
/// # Errors
/// There are not exactly three, or the first is not a SENSE KEY.
pub(crate) fn sense_numbers(data: &[u8]) -> Result<Decoded, ParseError> {
    match data {
        [key @ 0..=15, asc, ascq] => {
            let sense = Sense {
                key: *key,
                asc: *asc,
                ascq: *ascq,
            };
            let record = structure("Sense data", numbers(sense));
            Ok(Decoded::new(vec![record], (data.len(), None), data, &[]))
        }
        _ => sense(data),
    }
}

fn numbers(sense: Sense) -> Fields {
    vec![
        (
            "SENSE KEY",
            Value::Text(format!("{:X}h ({})", sense.key, sense::key_text(sense.key))),
        ),
        (
            "ADDITIONAL SENSE CODE",
            Value::Text(format!("{:02X}h", sense.asc)),
        ),
        (
            "ADDITIONAL SENSE CODE QUALIFIER",
            Value::Text(format!("{:02X}h", sense.ascq)),
        ),
        ("Text", sense.text().into()),
        ("Meaning for the path", meaning(sense.meaning()).into()),
    ]
}

fn head(value: &SenseData) -> Fields {
    let when = if value.deferred() {
        "deferred error"
    } else {
        "current error"
    };
    let format = match value.format {
        SenseFormat::Fixed(_) => "fixed format",
        SenseFormat::Descriptor { .. } => "descriptor format",
    };
    let sense = value.sense;
    let mut fields = vec![(
        "RESPONSE CODE",
        code(value.response_code, &format!("{when}, {format}")),
    )];
    fields.extend(numbers(sense));
    if let Some(length) = value.additional_length {
        fields.push(("ADDITIONAL SENSE LENGTH", length.into()));
    }
    fields
}

fn of_fixed(fixed: &FixedFormat, key: u8) -> Fields {
    let mut fields: Fields = vec![
        ("VALID", fixed.valid.into()),
        ("FILEMARK", fixed.filemark.into()),
        ("EOM", fixed.eom.into()),
        ("ILI", fixed.ili.into()),
        ("SDAT_OVFL", fixed.sdat_ovfl.into()),
    ];
    let word = |number: u32| Value::Text(format!("{number:08X}h"));
    if let Some(information) = fixed.information {
        fields.push(("INFORMATION", word(information)));
    }
    if let Some(information) = fixed.command_specific {
        fields.push(("COMMAND-SPECIFIC INFORMATION", word(information)));
    }
    if let Some(unit) = fixed.field_replaceable_unit {
        fields.push(("FIELD REPLACEABLE UNIT CODE", replaceable(unit)));
    }
    if let Some(specific) = fixed.sense_key_specific {
        fields.extend(of_specific(specific, key));
    }
    if !fixed.additional.is_empty() {
        fields.push((
            "Additional sense bytes",
            Value::Text(hex(&fixed.additional)),
        ));
    }
    fields
}

fn of_descriptor(number: u32, descriptor: &SenseDescriptor, key: u8) -> Record {
    let kind = descriptor.descriptor_type;
    let mut fields = vec![
        ("DESCRIPTOR TYPE", code(kind, names::sense_descriptor(kind))),
        ("ADDITIONAL LENGTH", count(&descriptor.body)),
    ];
    match descriptor.content {
        SenseContent::Information { valid, information } => fields.extend([
            ("VALID", valid.into()),
            ("INFORMATION", Value::Text(format!("{information:016X}h"))),
        ]),
        SenseContent::CommandSpecific(information) => fields.push((
            "COMMAND-SPECIFIC INFORMATION",
            Value::Text(format!("{information:016X}h")),
        )),
        SenseContent::SenseKeySpecific(specific) => fields.extend(of_specific(specific, key)),
        SenseContent::FieldReplaceableUnit(unit) => {
            fields.push(("FIELD REPLACEABLE UNIT CODE", replaceable(unit)));
        }
        SenseContent::Other => fields.push(("Bytes", Value::Text(hex(&descriptor.body)))),
    }
    structure(format!("Sense data descriptor {number}"), fields)
}

fn replaceable(code: u8) -> Value {
    Value::Text(match code {
        0 => "00h (none)".to_owned(),
        code => format!("{code:02X}h"),
    })
}

fn of_specific(specific: SenseKeySpecific, key: u8) -> Fields {
    let mut fields: Fields = vec![
        ("SKSV", specific.valid.into()),
        ("SENSE KEY SPECIFIC", Value::Text(hex(&specific.bytes))),
    ];
    match specific.content(key) {
        Some(SenseKeyContent::FieldPointer { in_cdb, bit, byte }) => {
            let place = if in_cdb { "CDB" } else { "parameter data" };
            let bit = bit.map_or(String::new(), |bit| format!(", bit {bit}"));
            let text = format!("byte {byte} of the {place}{bit}");
            fields.push(("FIELD POINTER", Value::Text(text)));
        }
        Some(SenseKeyContent::RetryCount(count)) => {
            fields.push(("ACTUAL RETRY COUNT", count.into()));
        }
        Some(SenseKeyContent::Progress(part)) => {
            let percent = u32::from(part).saturating_mul(100) / 65536;
            fields.push(("PROGRESS INDICATION", Value::Text(format!("{percent} %"))));
        }
        None => {}
    }
    fields
}

/// What the outcome of a command means for the user who sent it.
#[must_use]
pub(crate) fn advice(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Good => "",
        Outcome::CheckCondition(sense) => match meaning(sense.meaning()) {
            "none" => "the device rejected the command",
            meaning => meaning,
        },
        Outcome::Timeout => "no answer in time: use a longer --timeout",
        Outcome::NoConnect(_) => "the path is down",
        Outcome::Busy => "the device is busy: try again",
        Outcome::ReservationConflict => "another host has reserved the device",
        _ => "see the kernel log (dmesg)",
    }
}

/// How the agent interprets sense data.
fn meaning(meaning: SenseMeaning) -> &'static str {
    use UnitAttentionKind as U;
    match meaning {
        SenseMeaning::UnitAttention(U::AsymmetricAccessStateChanged) => {
            "access states changed: read them again"
        }
        SenseMeaning::UnitAttention(U::ImplicitTransitionFailed) => {
            "a change of access states failed: read them again"
        }
        SenseMeaning::UnitAttention(U::InquiryDataHasChanged) => {
            "this may be another logical unit: prove its identity again"
        }
        SenseMeaning::UnitAttention(_) => "a unit attention: send the command again",
        SenseMeaning::AccessStateTransition => "in transition between two access states",
        SenseMeaning::TargetPortStandby => "the target port is in standby",
        SenseMeaning::TargetPortUnavailable => "the target port is unavailable",
        SenseMeaning::TargetPortOffline => "the target port is offline",
        SenseMeaning::BecomingReady => "becoming ready: wait",
        SenseMeaning::InitializingCommandRequired => {
            "must be started: the passive side of some arrays"
        }
        SenseMeaning::ManualIntervention => {
            "manual intervention required: the passive side of some arrays"
        }
        SenseMeaning::NotReady => "not ready",
        SenseMeaning::PermanentLoss => "permanent device loss (PDL)",
        SenseMeaning::InvalidOpcodeOrField => {
            "the device does not support the command or a field in it"
        }
        SenseMeaning::OwnershipError => "the other controller owns the logical unit",
        SenseMeaning::Other => "none",
    }
}
