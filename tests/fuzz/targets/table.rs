//! What the kernel prints of a multipath map: table and status.
#![no_main]

use dm_psa::psa::table::{emit, parse, status};
use dm_psa::psa::units::Sectors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(table) = parse::parse(Sectors(1), text)
        && let Ok(params) = emit::emit(&table)
    {
        assert_eq!(parse::parse(Sectors(1), &params), Ok(table));
    }
    let _ = status::parse(text);
});
