//! REPORT TARGET PORT GROUPS: what is parsed is emitted and parsed to the same value.
#![no_main]

use dm_psa::scsi::tpgs::{TargetPortGroups, parse_set_parameter_list, set_parameter_list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(parsed) = TargetPortGroups::parse(data) {
        assert_eq!(TargetPortGroups::parse(&parsed.to_bytes()), Ok(parsed));
    }
    if let Ok(parsed) = parse_set_parameter_list(data) {
        assert_eq!(
            parse_set_parameter_list(&set_parameter_list(&parsed)),
            Ok(parsed)
        );
    }
});
