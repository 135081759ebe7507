//! Standard INQUIRY data, the small VPD pages and READ CAPACITY (16): no panic, and no control character gets out.
#![no_main]

use dm_psa::scsi::capacity::Capacity;
use dm_psa::scsi::inquiry::StandardInquiry;
use dm_psa::scsi::vpd::{self, BlockDeviceCharacteristics};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(parsed) = StandardInquiry::parse(data) {
        for text in [&parsed.vendor, &parsed.product, &parsed.revision] {
            assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
        assert!(data.starts_with(&parsed.raw));
    }
    if let Ok(serial) = vpd::unit_serial_number(data) {
        assert!(serial.bytes().all(|b| (0x20..0x7f).contains(&b)));
    }
    let _ = vpd::supported_pages(data);
    let _ = BlockDeviceCharacteristics::parse(data);
    let _ = Capacity::parse(data).map(Capacity::sectors_of_512);
});
