//! The guarantees of `scsi/` and of `psa::identity` for arbitrary bytes: no parser panics, emitted values parse to the
//! same value, and a reply that was cut is an error or a correct prefix, never another value.

use dm_psa::psa::identity::{self, Listing, LogicalUnit};
use dm_psa::psa::state::proof::Proof;
use dm_psa::psa::units::Millis;
use dm_psa::scsi::capacity::Capacity;
use dm_psa::scsi::cdb::Command;
use dm_psa::scsi::inquiry::{PeripheralQualifier, StandardInquiry, Tpgs};
use dm_psa::scsi::outcome::Outcome;
use dm_psa::scsi::sense::Sense;
use dm_psa::scsi::tpgs::{
    self, AccessState, StatusCode, SupportedStates, TargetPortGroup, TargetPortGroups,
};
use dm_psa::scsi::vpd::{
    self, Association, BlockDeviceCharacteristics, CodeSet, Designator, DesignatorType,
    DeviceIdentification,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Random bytes, half of them with a valid beginning, so that parsers get beyond their first check.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let page = |code: u8| {
        vec(any::<u8>(), 0..300).prop_map(move |mut body| {
            let length = body.len() as u16;
            let mut data = vec![0, code];
            data.extend(length.to_be_bytes());
            data.append(&mut body);
            data
        })
    };
    prop_oneof![
        2 => vec(any::<u8>(), 0..300),
        2 => page(0x83),
        1 => page(0x80),
        1 => page(0xb1),
        1 => page(0x00),
        2 => vec(0u8..8, 0..300).prop_map(|mut body| {
            let mut data = (body.len() as u32).to_be_bytes().to_vec();
            data.append(&mut body);
            data
        }),
        1 => (0x70u8..0x74, vec(any::<u8>(), 0..40)).prop_map(|(code, mut body)| {
            body.insert(0, code);
            body
        }),
    ]
}

fn access_state() -> impl Strategy<Value = AccessState> {
    (0u8..16).prop_map(AccessState::from_nibble)
}

fn groups() -> impl Strategy<Value = TargetPortGroups> {
    let group = (
        any::<bool>(),
        access_state(),
        any::<u8>(),
        any::<u8>(),
        any::<u8>(),
        vec(any::<u16>(), 0..6),
    );
    (
        option::of(any::<u8>()),
        btree_map(any::<u16>(), group, 0..8),
    )
        .prop_map(|(time, groups)| TargetPortGroups {
            implicit_transition_time: time,
            groups: groups
                .into_iter()
                .map(
                    |(id, (preferred, access_state, supported, status, vendor, ports))| {
                        TargetPortGroup {
                            preferred,
                            access_state,
                            supported: SupportedStates::from_byte(supported),
                            id,
                            status_code: StatusCode::from_byte(status),
                            vendor_specific: vendor,
                            relative_target_ports: ports,
                        }
                    },
                )
                .collect(),
        })
}

fn designator() -> impl Strategy<Value = Designator> {
    let code_set = prop_oneof![
        Just(CodeSet::Binary),
        Just(CodeSet::Ascii),
        Just(CodeSet::Utf8),
        (4u8..16).prop_map(CodeSet::Reserved),
    ];
    let association = prop_oneof![
        4 => Just(Association::LogicalUnit),
        2 => Just(Association::TargetPort),
        1 => Just(Association::TargetDevice),
        1 => Just(Association::Reserved),
    ];
    let designator_type = prop_oneof![
        Just(DesignatorType::VendorSpecific),
        Just(DesignatorType::T10VendorId),
        Just(DesignatorType::Eui64),
        Just(DesignatorType::Naa),
        Just(DesignatorType::RelativeTargetPort),
        Just(DesignatorType::TargetPortGroup),
        Just(DesignatorType::LogicalUnitGroup),
        Just(DesignatorType::Md5LogicalUnit),
        Just(DesignatorType::ScsiNameString),
        Just(DesignatorType::ProtocolSpecificPort),
        Just(DesignatorType::Uuid),
        (11u8..16).prop_map(DesignatorType::Reserved),
    ];
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..=255),
        vec(any::<u8>(), 4),
        vec(any::<u8>(), 8),
        vec(any::<u8>(), 16),
        vec(0x20u8..0x7f, 0..=255),
        "iqn\\.[a-z0-9/ :]{0,220}".prop_map(String::into_bytes),
    ];
    (
        option::of(0u8..16),
        code_set,
        association,
        designator_type,
        bytes,
    )
        .prop_map(
            |(protocol_identifier, code_set, association, designator_type, bytes)| Designator {
                protocol_identifier,
                code_set,
                association,
                designator_type,
                bytes,
            },
        )
}

fn page83() -> impl Strategy<Value = DeviceIdentification> {
    let qualifier = prop_oneof![
        8 => Just(PeripheralQualifier::Connected),
        1 => Just(PeripheralQualifier::NotConnected),
        1 => Just(PeripheralQualifier::NotCapable),
    ];
    (qualifier, vec(designator(), 0..8)).prop_map(|(peripheral_qualifier, designators)| {
        DeviceIdentification {
            peripheral_qualifier,
            designators,
        }
    })
}

/// Whether a path that named this unit by `first` still leads to it when it answers `then`, again and again.
fn proves(unit: &LogicalUnit, first: &[u8], then: &[u8]) -> bool {
    let mut proof = Proof::default();
    proof.answered(Ok(first), false, Millis(1));
    assert_eq!(proof.unit(), Some(unit));
    for time in [2, 3] {
        proof.answered(Ok(then), false, Millis(time));
    }
    proof.may_carry_io() && proof.unit() == Some(unit)
}

/// Whether device-mapper, libdm and udev use the name unchanged.
fn is_good_name(unit: &LogicalUnit) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"#+-.:=@_".contains(&b);
    let id = unit.device_id.as_str().as_bytes();
    let wwid = unit.wwid.as_str().as_bytes();
    (1..=127).contains(&id.len())
        && id.iter().all(|&b| plain(b))
        && (2..=122).contains(&wwid.len())
        && wwid.iter().all(|&b| plain(b) || b == b'\\')
        && unit.dm_uuid().len() <= 128
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(data in bytes(), status: u8, host: u8, driver: u8) {
        let _ = StandardInquiry::parse(&data);
        let _ = vpd::supported_pages(&data);
        let _ = vpd::unit_serial_number(&data);
        let _ = BlockDeviceCharacteristics::parse(&data);
        let _ = Capacity::parse(&data).map(Capacity::sectors_of_512);
        let _ = Sense::parse(&data).map(|sense| (sense.meaning(), sense.to_string()));
        let _ = Outcome::from_sg(status, host, driver, &data).to_string();
        let _ = tpgs::parse_set_parameter_list(&data);
        if let Ok(parsed) = TargetPortGroups::parse(&data) {
            let again = TargetPortGroups::parse(&parsed.to_bytes());
            prop_assert_eq!(again, Ok(parsed));
        }
        if let Ok(parsed) = DeviceIdentification::parse(&data) {
            let _ = (parsed.target_port_group(), parsed.relative_target_port());
        }
        if let Ok(unit) = identity::identify(&data) {
            prop_assert!(is_good_name(&unit), "{:?}", unit);
            prop_assert!(proves(&unit, &data, &data));
        }
    }

    #[test]
    fn texts_contain_no_control_characters(data in vec(any::<u8>(), 36..100)) {
        let parsed = StandardInquiry::parse(&data).unwrap();
        for (text, length) in [(&parsed.vendor, 8), (&parsed.product, 16), (&parsed.revision, 4)] {
            prop_assert_eq!(text.len(), length);
            prop_assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
        let mut page = vec![0, 0x80, 0, data.len() as u8];
        page.extend(&data);
        let serial = vpd::unit_serial_number(&page).unwrap();
        prop_assert!(serial.bytes().all(|b| (0x20..0x7f).contains(&b)));
    }

    #[test]
    fn port_groups_round_trip_and_are_never_partial(groups in groups(), slack in vec(any::<u8>(), 0..16)) {
        let mut data = groups.to_bytes();
        for cut in 0..data.len() {
            prop_assert!(TargetPortGroups::parse(&data[..cut]).is_err(), "cut at {}", cut);
        }
        data.extend(slack);
        prop_assert_eq!(TargetPortGroups::parse(&data), Ok(groups));
    }

    #[test]
    fn set_target_port_groups_round_trips(groups in vec((any::<u16>(), access_state()), 0..20)) {
        let command = Command::SetTargetPortGroups(groups.clone());
        let list = command.data_out();
        let claimed = command.cdb().as_slice()[6..10].iter().fold(0, |n, &b| n << 8 | usize::from(b));
        prop_assert_eq!(claimed, list.len());
        for cut in 0..list.len() {
            let prefix = tpgs::parse_set_parameter_list(&list[..cut]);
            // The list has no length field, so a prefix of whole descriptors is a valid list.
            prop_assert!(prefix.is_err() || prefix.as_deref() == Ok(&groups[..cut / 4 - 1]));
        }
        prop_assert_eq!(tpgs::parse_set_parameter_list(&list), Ok(groups));
    }

    #[test]
    fn device_identification_round_trips_and_is_never_partial(page in page83(), slack in vec(any::<u8>(), 0..16)) {
        let mut data = page.to_bytes();
        for cut in 0..data.len() {
            prop_assert!(DeviceIdentification::parse(&data[..cut]).is_err(), "cut at {}", cut);
            prop_assert!(identity::identify(&data[..cut]).is_err());
        }
        data.extend(slack);
        prop_assert_eq!(DeviceIdentification::parse(&data), Ok(page));
    }

    #[test]
    fn an_identity_is_a_valid_name_and_proves_only_itself(one in page83(), other in page83()) {
        let (one, other) = (one.to_bytes(), other.to_bytes());
        if let Ok(unit) = identity::identify(&one) {
            prop_assert!(is_good_name(&unit), "{:?}", unit);
            prop_assert!(proves(&unit, &one, &one));
            let listed = Listing::parse(&other).is_ok_and(|listing| listing.find(&unit.wwid).is_some());
            let proven = proves(&unit, &one, &other);
            prop_assert!(listed || !proven);
            // A listed name is rejected for one reason only: a better name changed.
            let best = identity::identify(&other).is_ok_and(|best| best == unit);
            prop_assert!(proven || !best);
        }
    }

    #[test]
    fn sense_round_trips_and_is_never_partial(key in 0u8..16, asc: u8, ascq: u8) {
        let sense = Sense { key, asc, ascq };
        let key_only = Sense { key, asc: 0, ascq: 0 };
        for data in [sense.to_fixed(), sense.to_descriptor()] {
            prop_assert_eq!(Sense::parse(&data), Ok(sense));
            for cut in 0..data.len() {
                let prefix = Sense::parse(&data[..cut]);
                prop_assert!(
                    prefix.is_err() || prefix == Ok(key_only) || prefix == Ok(sense),
                    "{:?} cut at {}", prefix, cut
                );
            }
        }
    }

    #[test]
    fn inquiry_round_trips_and_is_never_partial(vendor in "[ -~]{8}", product in "[ -~]{16}", revision in "[ -~]{4}") {
        let data = StandardInquiry::build(Tpgs::Both, &vendor, &product, &revision);
        for cut in 0..data.len() {
            prop_assert!(StandardInquiry::parse(&data[..cut]).is_err());
        }
        let parsed = StandardInquiry::parse(&data).unwrap();
        prop_assert_eq!((parsed.vendor, parsed.product, parsed.revision), (vendor, product, revision));
    }

    #[test]
    fn safe_names_are_safe_and_stable(id in ".{0,200}") {
        let name = identity::safe_name(&id);
        prop_assert!((1..=127).contains(&name.len()));
        prop_assert!(!name.contains(|c: char| c == '/' || c.is_control()));
        prop_assert_eq!(identity::safe_name(&name), name);
    }
}
