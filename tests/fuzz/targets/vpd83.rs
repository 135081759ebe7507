//! The Device Identification page and the identity made of it: a name that device-mapper takes, and proof of itself.
#![no_main]

use dm_psa::psa::identity::{self, Listing};
use dm_psa::psa::state::proof::Proof;
use dm_psa::psa::units::Millis;
use dm_psa::scsi::vpd::DeviceIdentification;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(parsed) = DeviceIdentification::parse(data) {
        let _ = (parsed.target_port_group(), parsed.relative_target_port());
        let emitted = parsed.to_bytes();
        // The page of an old Symmetrix gains a descriptor when it is emitted, and so has another length.
        assert_eq!(
            DeviceIdentification::parse(&emitted).map(|page| page.designators),
            Ok(parsed.designators)
        );
    }
    if let Ok(listing) = Listing::parse(data) {
        let mut proof = Proof::default();
        proof.assume(&listing.best.wwid);
        for time in [1, 2] {
            proof.answered(Ok(data), false, Millis(time));
            assert_eq!(proof.unit(), Some(&listing.best));
        }
        for unit in listing.names() {
            let id = unit.device_id.as_str();
            assert!((1..=127).contains(&id.len()));
            assert_eq!(identity::safe_name(id), id);
            assert!(unit.dm_uuid().len() <= 128);
            assert!(
                unit.wwid
                    .as_str()
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && b != b'/')
            );
        }
    }
});
